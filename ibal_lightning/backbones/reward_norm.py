"""Rewards with mean 0 and deviation 1 (EPyMARL's ``standardise_rewards``)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RewardNorm(nn.Module):
    """Shifts and scales rewards by the mean and deviation of all that it has been given, each time it was given.

    Real steps count alone (EPyMARL counts padding too). Values are then in the new units.
    """

    count: Tensor
    mean: Tensor
    square: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("count", "mean", "square"):
            self.register_buffer(name, torch.zeros(()))

    @torch.no_grad()
    def forward(self, reward: Tensor, mask: Tensor) -> Tensor:
        """(B, T) standardised; the real steps of reward (B, T), where mask (B, T) is true, are taken in first."""
        seen = reward[mask]
        self.count += len(seen)
        share = len(seen) / self.count.clamp(min=1)
        if len(seen):
            self.mean.lerp_(seen.mean(), share)
            self.square.lerp_(seen.square().mean(), share)
        deviation = (self.square - self.mean.square()).clamp(min=1e-8).sqrt()
        return (reward - self.mean) / deviation
