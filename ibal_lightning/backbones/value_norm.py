"""Running normalisation of value targets (on-policy's ValueNorm)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ValueNorm(nn.Module):
    """Debiased exponential mean and variance of the returns; the critic predicts normalised values.

    ``decay`` is the weight kept per update. Before the first update it is the identity.
    """

    mean: Tensor
    mean_square: Tensor
    weight: Tensor

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.decay = decay
        for name in ("mean", "mean_square", "weight"):
            self.register_buffer(name, torch.zeros(()))

    @torch.no_grad()
    def update(self, returns: Tensor, mask: Tensor) -> None:
        """Take in returns (...) where mask (...) is true."""
        count = mask.sum().clamp(min=1)
        kept = returns.masked_fill(~mask, 0.0)
        self.mean.lerp_(kept.sum() / count, 1 - self.decay)
        self.mean_square.lerp_(kept.square().sum() / count, 1 - self.decay)
        self.weight.lerp_(torch.ones_like(self.weight), 1 - self.decay)

    def _moments(self) -> tuple[Tensor, Tensor]:
        seen = self.weight.clamp(min=1e-12)
        mean, square = self.mean / seen, self.mean_square / seen
        std = (square - mean.square()).clamp(min=1e-2).sqrt()
        return mean, torch.where(self.weight > 0, std, 1.0)

    def normalize(self, returns: Tensor) -> Tensor:
        """Returns (...) in the critic's units."""
        mean, std = self._moments()
        return (returns - mean) / std

    def denormalize(self, values: Tensor) -> Tensor:
        """The critic's values (...) in reward units."""
        mean, std = self._moments()
        return values * std + mean
