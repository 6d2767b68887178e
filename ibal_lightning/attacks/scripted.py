"""Scripted overrides: stop, run away, random, min-Q; the baselines of every guided override."""

from __future__ import annotations

import torch
from torch import Tensor

from ibal_lightning.attack import Attack, Threat
from ibal_lightning.functional.masking import greedy, random_legal
from ibal_lightning.functional.options import check_choice, check_range
from ibal_lightning.functional.random import branch
from ibal_lightning.functional.subsets import random_subset
from ibal_lightning.types import EnvSpec, VictimView

RULES = ("inert", "random", "min_q")


class Scripted(Attack):
    """A few agents, drawn per episode, act by a rule at some steps (IBAL_STUDY 3).

    As with ``RandomAction`` every rollout has a stream of its own.

    Args:
        rule: "inert" (stop), "random" (uniform legal), "min_q" (what the victim's own scores like least; for policy
            gradients the least likely action), or the name of an action such as "move west" (run away). Where the
            action is not legal the agent does what it intended.
        count: agents per episode.
        p: probability of a step at which the rule acts, thrown once for all agents of a game.

    Raises:
        ValueError: an unknown rule, more agents than the team has, or p is no probability.
    """

    acts = True

    def __init__(self, spec: EnvSpec, threat: Threat, *, rule: str = "min_q", count: int = 1, p: float = 1.0) -> None:
        super().__init__(spec, threat)
        check_choice("attack.rule", rule, rules(spec))
        check_range("attack.count", count, 0, spec.n_agents)
        check_range("attack.p", p, 0, 1)
        self.rule, self.count, self.p = rule, count, p

    def reset(self, num_envs: int, generator: torch.Generator) -> None:
        """Draw the agents of B new episodes."""
        sizes = torch.full((num_envs,), self.count, device=generator.device)
        self.chosen = random_subset(sizes, self.spec.n_agents, generator)
        self.stream = branch(generator, "strikes")

    def perturb_actions(self, view: VictimView, actions: Tensor, generator: torch.Generator) -> Tensor:
        """(B, N) i64: the rule's action for the chosen at the steps it acts."""
        del generator
        now = torch.rand(len(actions), 1, generator=self.stream, device=actions.device) < self.p
        return torch.where(self.chosen & now, propose(self.rule, self.spec, view, actions, self.stream), actions)


def propose(rule: str, spec: EnvSpec, view: VictimView, actions: Tensor, generator: torch.Generator) -> Tensor:
    """(B, N) i64 what everyone would do by the rule; the dead, and those who may not, do as intended (B, N)."""
    if rule == "random":
        proposal = random_legal(view.avail_actions, generator)
    elif rule == "min_q":
        proposal = greedy(-view.scores(view.obs_seen), view.avail_actions)
    else:
        action = spec.inert_action if rule == "inert" else spec.action_names.index(rule)
        proposal = torch.full_like(actions, action)
    can = view.avail_actions.gather(-1, proposal[..., None])[..., 0]
    return torch.where(view.alive & can, proposal, actions)


def rules(spec: EnvSpec) -> tuple[str, ...]:
    """The rules there are in a game: the general ones and the names of its actions."""
    return (*RULES, *spec.action_names)
