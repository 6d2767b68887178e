"""Running mean and variance of observations and states."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LIMIT = 10.0  # standard deviations beyond which a value says no more
CONSTANT = 1e-6  # variance below which a dim counts as constant


class RunningMoments(nn.Module):
    """Mean and variance of D dims over everything ever seen (Chan's pairwise update, exact in double precision)."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.count: Tensor
        self.mean: Tensor
        self.squares: Tensor
        self.offset: Tensor
        self.scale: Tensor
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(dims, dtype=torch.float64))
        self.register_buffer("squares", torch.zeros(dims, dtype=torch.float64))
        self.register_buffer("offset", torch.zeros(dims))
        self.register_buffer("scale", torch.zeros(dims))

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """Take in the rows x (M, D)."""
        if len(x) == 0:
            return
        x = x.double()
        total, mean = self.count + len(x), x.mean(0)
        gap = mean - self.mean
        self.squares += (x - mean).square().sum(0) + gap.square() * self.count * len(x) / total
        self.mean += gap * len(x) / total
        self.count.copy_(total)
        variance = self.squares / total
        self.offset.copy_(self.mean)
        self.scale.copy_(torch.where(variance >= CONSTANT, variance.rsqrt(), 0.0))

    @property
    def varies(self) -> Tensor:
        """(D,) bool: the dim is not constant."""
        return self.scale > 0

    def normalise(self, x: Tensor) -> Tensor:
        """x (..., D) in standard deviations from the mean, clipped; constant dims read 0."""
        return ((x - self.offset) * self.scale).clamp(-LIMIT, LIMIT)
