"""Draws actions from a known distribution now and then, so that their effects can be measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ibal_lightning.attack import Attack, Threat
from ibal_lightning.attacks.ibal.groups import draw_groups
from ibal_lightning.attacks.ibal.reference import Reference
from ibal_lightning.estimators.transitions import Transitions, transitions_at
from ibal_lightning.types import EnvSpec, EpisodeBatch, TensorFields, VictimView

T = TypeVar("T")


@dataclass(frozen=True)
class Drawn(TensorFields):
    """M steps at which everybody's action was drawn from a known distribution."""

    rows: Transitions
    p: Tensor  # (M, N, A) of each agent, given its history
    group: Tensor  # (M, N) i8, drawn afterwards: the game knew nothing of it
    episode: Tensor  # (M,) i64


class Probe(Attack):
    """At every ``every``-th step all agents act by their reference distribution; it remembers which that was.

    Actions are then independent given the history and their distribution is known: what observations tell about them
    can only have come through the game.
    """

    acts = True

    def __init__(self, spec: EnvSpec, threat: Threat, reference: Reference, *, every: int = 3) -> None:
        super().__init__(spec, threat)
        self.reference, self.every = reference, every
        self.draws: dict[int, Tensor] = {}  # step -> (B, N, A)

    def reset(self, num_envs: int, generator: torch.Generator) -> None:
        """Forget the draws of the last episodes; the first step of each cycle is drawn."""
        self.draws = {}

    def perturb_actions(self, view: VictimView, actions: Tensor, generator: torch.Generator) -> Tensor:
        """(B, N) i64 drawn from the reference distribution, or as intended."""
        if view.step % self.every:
            return actions
        p = self.reference(view)
        p = torch.where(p.sum(-1, keepdim=True) > 0, p, 1.0)  # games that are over have no legal action
        self.draws[view.step] = p
        drawn = torch.multinomial(p.flatten(0, 1), 1, generator=generator).view_as(actions)
        return torch.where(view.alive, drawn, actions)

    def drawn(self, batch: EpisodeBatch, kept: Tensor, K: int, generator: torch.Generator) -> Drawn:
        """The drawn steps of the episodes just played, each with groups of its own, k = K.

        Args:
            batch: M episodes.
            kept: (M,) i64 the games that they are of, as ``Recorder.kept`` has it.
            K: size of G1.
            generator: of the groups.
        """
        steps = torch.tensor([step for step in self.draws if step < batch.mask.shape[1]])
        b, which = batch.mask[:, steps].nonzero(as_tuple=True)
        t = steps[which]
        p = torch.stack([self.draws[int(step)] for step in steps])[which, kept[b]]
        group = draw_groups(torch.full((len(b),), K), self.spec.n_agents, generator)
        return Drawn(transitions_at(batch, b, t, self.spec.episode_limit), p, group, b)


def combine(parts: Sequence[Drawn]) -> Drawn:
    """One after the other; episodes stay apart."""
    shifted, offset = [], 0
    for part in parts:
        shifted.append(replace(part, episode=part.episode + offset))
        offset += int(part.episode.max()) + 1
    return per_tensor(lambda *tensors: torch.cat(tensors), *shifted)


def take(drawn: Drawn, index: Tensor) -> Drawn:
    """The steps of these numbers (Q,) i64, or where true (M,) bool."""
    return drawn.map(lambda x: x[index])


def redrawn(drawn: Drawn, generator: torch.Generator) -> Drawn:
    """The same steps with executed and intended actions drawn anew: nothing can tell them. For the null.

    Executed ones by their distribution; intended ones, each agent's on its own, by how often it meant each of the
    legal ones.
    """
    rows = drawn.rows
    often = F.one_hot(rows.intended, drawn.p.shape[-1]).sum(0) * rows.avail_actions + 1e-9 * rows.avail_actions
    often = torch.where(often.sum(-1, keepdim=True) > 0, often, 1.0)
    actions, intended = (
        torch.where(rows.now.alive, torch.multinomial(p.flatten(0, 1), 1, generator=generator).view_as(old), old)
        for p, old in ((drawn.p, rows.now.actions), (often, rows.intended))
    )
    return replace(drawn, rows=replace(rows, intended=intended, now=replace(rows.now, actions=actions)))


def per_tensor(fn: Callable[..., Tensor], *data: T) -> T:
    """Apply ``fn`` to the tensors that stand in the same place of equal dataclasses, however deep."""
    first = data[0]
    if isinstance(first, Tensor):
        return fn(*data)  # type: ignore[return-value]
    names = [field.name for field in fields(first)]  # type: ignore[arg-type]
    return type(first)(**{name: per_tensor(fn, *(getattr(x, name) for x in data)) for name in names})
