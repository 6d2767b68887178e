"""Random observation noise (Rand-Obs)."""

from __future__ import annotations

import torch
from torch import Tensor

from ibal_lightning.attack import Attack
from ibal_lightning.types import VictimView


class RandomObs(Attack):
    """Every living agent reads obs + U(-epsilon, epsilon), redrawn each step (ALGORITHMS 3.2)."""

    obs_surface = "noise"

    def perturb_obs(self, view: VictimView, generator: torch.Generator) -> Tensor:
        """(B, N, O) noisy observations; the dead read nothing and are left alone."""
        noise = 2 * torch.rand(view.obs.shape, generator=generator, device=view.obs.device) - 1
        return torch.where(view.alive[..., None], view.obs + self.threat.epsilon * noise, view.obs)
