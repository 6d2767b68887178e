"""Random action overrides (Rand-Act)."""

from __future__ import annotations

import torch
from torch import Tensor

from ibal_lightning.attack import Attack, Threat
from ibal_lightning.functional.masking import random_legal
from ibal_lightning.functional.options import check_range
from ibal_lightning.functional.random import branch
from ibal_lightning.types import EnvSpec, VictimView


class RandomAction(Attack):
    """Each agent-step executes a uniform legal action with probability p (ALGORITHMS 3.2).

    Every rollout has a stream of its own: who is struck when does not depend on how long former games lasted, so that
    one seed strikes alike whatever else is done to the team.

    Args:
        p: probability per agent and step.

    Raises:
        ValueError: p is no probability.
    """

    acts = True

    def __init__(self, spec: EnvSpec, threat: Threat, *, p: float = 0.1) -> None:
        super().__init__(spec, threat)
        check_range("attack.p", p, 0, 1)
        self.p = p

    def reset(self, num_envs: int, generator: torch.Generator) -> None:
        """Begin the stream of B new episodes."""
        del num_envs
        self.stream = branch(generator, "strikes")

    def perturb_actions(self, view: VictimView, actions: Tensor, generator: torch.Generator) -> Tensor:
        """(B, N) i64 with some actions replaced."""
        del generator
        hit = torch.rand(actions.shape, generator=self.stream, device=actions.device) < self.p
        replacement = random_legal(view.avail_actions, self.stream)
        return torch.where(hit & view.alive, replacement, actions)
