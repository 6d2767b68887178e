"""Gradient-sign observation attack (FGSM, PGD)."""

from __future__ import annotations

import torch
from torch import Tensor

from ibal_lightning.attack import Attack, Threat
from ibal_lightning.functional.gradient_sign import gradient_sign
from ibal_lightning.functional.options import check_range
from ibal_lightning.types import EnvSpec, VictimView


class Fgsm(Attack):
    """Living agents read the observation in the epsilon-ball that hurts their greedy action most, to first order.

    The policy's memory is held fixed: the gradient goes through one step (ALGORITHMS 3.3). Unlike there nothing is
    clipped to a range of observations: the contract of environments names none, and LBF's are coordinates.

    Args:
        steps: 1 for FGSM; more for projected gradient descent.
        respect_support: leave dims alone that read the fill value, so that nothing invisible appears.

    Raises:
        ValueError: steps < 1.
    """

    obs_surface = "noise"

    def __init__(self, spec: EnvSpec, threat: Threat, *, steps: int = 1, respect_support: bool = False) -> None:
        super().__init__(spec, threat)
        check_range("attack.steps", steps, 1)
        self.steps, self.respect_support = steps, respect_support
        self.fill: Tensor
        self.register_buffer("fill", threat.fill_obs(spec), persistent=False)

    def perturb_obs(self, view: VictimView, generator: torch.Generator) -> Tensor:
        """(B, N, O) inside the epsilon-ball; the dead are left alone."""
        del generator
        support = view.alive[..., None].expand_as(view.obs)
        if self.respect_support:
            support = support & (view.obs != self.fill)
        return gradient_sign(
            view.obs, view.scores, view.avail_actions, epsilon=self.threat.epsilon, steps=self.steps, support=support
        )
