"""Stuck controls: an agent now and then repeats what it executed one step ago, as with a jammed lever."""

from __future__ import annotations

import torch
from torch import Tensor

from ibal_lightning.attack import Attack, Threat
from ibal_lightning.types import EnvSpec, VictimView


class StickyActions(Attack):
    """Each agent repeats its last executed action with a fixed probability, redrawn each step (Machado et al. 2018).

    Args:
        probability: chance per agent and step.

    Raises:
        ValueError: a probability outside [0, 1].
    """

    acts = True

    def __init__(self, spec: EnvSpec, threat: Threat, *, probability: float = 0.25) -> None:
        super().__init__(spec, threat)
        if not 0 <= probability <= 1:
            raise ValueError(f"attack.probability must be between 0 and 1, got {probability}")
        self.probability = probability

    def perturb_actions(self, view: VictimView, actions: Tensor, generator: torch.Generator) -> Tensor:
        """(B, N) i64; what is no longer legal is refused by the threat, so nothing is checked here."""
        last = view.last_actions_taken
        stuck = torch.rand(actions.shape, generator=generator, device=actions.device) < self.probability
        return torch.where(stuck & (last >= 0), last, actions)
