"""IBAL with the guided dims disturbed instead of erased: the seed's ablations (ALGORITHMS 2.6, baselines)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ibal_lightning.attack import ObsSurface
from ibal_lightning.attacks.ibal.attack import Ibal
from ibal_lightning.attacks.ibal.mask import ObservationMask
from ibal_lightning.functional.gradient_sign import gradient_sign
from ibal_lightning.types import VictimView


class GaussianMask(ObservationMask):
    """Adds Gaussian noise of standard deviation epsilon / 2 to the guided dims, clipped to the epsilon-ball."""

    def hide(self, view: VictimView, games: Tensor, hidden: Tensor, generator: torch.Generator) -> Tensor:
        """(G, N, O) noisy where ``hidden``."""
        obs = view.obs[games]
        noise = 0.5 * self.epsilon * torch.randn(obs.shape, generator=generator, device=obs.device)
        return torch.where(hidden, obs + noise.clamp(-self.epsilon, self.epsilon), obs)


class FgsmMask(ObservationMask):
    """Moves the guided dims against the victim's greedy action by one gradient sign step of size epsilon."""

    def hide(self, view: VictimView, games: Tensor, hidden: Tensor, generator: torch.Generator) -> Tensor:
        """(G, N, O) moved where ``hidden``."""
        del generator
        support = torch.zeros_like(view.obs, dtype=torch.bool)
        support[games] = hidden
        moved = gradient_sign(view.obs, view.scores, view.avail_actions, epsilon=self.epsilon, support=support)
        return moved[games]


class IbalGaussian(Ibal):
    """IBAL whose guided dims are noisy: what they tell is weakened, not erased."""

    obs_surface: ClassVar[ObsSurface] = "noise"
    mask_type: ClassVar[type[ObservationMask]] = GaussianMask


class IbalFgsm(Ibal):
    """IBAL whose guided dims are moved by gradient sign: strong against the value, weak against the information."""

    obs_surface: ClassVar[ObsSurface] = "noise"
    mask_type: ClassVar[type[ObservationMask]] = FgsmMask
