"""IBAL with the guided dims disturbed instead of erased: the seed's ablations (ALGORITHMS 2.6, baselines)."""

from __future__ import annotations

import torch
from torch import Tensor

from ibal_lightning.attacks.ibal.attack import Ibal
from ibal_lightning.functional.gradient_sign import gradient_sign
from ibal_lightning.types import VictimView


class IbalGaussian(Ibal):
    """IBAL whose chosen dims are noisy: what they tell is weakened, not erased.

    The noise is Gaussian of standard deviation epsilon / 2, clipped to the epsilon-ball (``threat.epsilon``).
    """

    obs_surface = "noise"

    def disturb(self, view: VictimView, hidden: Tensor, generator: torch.Generator) -> Tensor:
        """(B, N, O) noisy where ``hidden``."""
        epsilon = self.threat.epsilon
        noise = 0.5 * epsilon * torch.randn(view.obs.shape, generator=generator, device=view.obs.device)
        return torch.where(hidden, view.obs + noise.clamp(-epsilon, epsilon), view.obs)


class IbalFgsm(Ibal):
    """IBAL whose chosen dims move by one gradient sign step of size epsilon against the victim's greedy action.

    Strong against the value, weak against the information.
    """

    obs_surface = "noise"

    def disturb(self, view: VictimView, hidden: Tensor, generator: torch.Generator) -> Tensor:
        """(B, N, O) moved where ``hidden``."""
        del generator
        epsilon = self.threat.epsilon
        return gradient_sign(view.obs, view.scores, view.avail_actions, epsilon=epsilon, support=hidden)
