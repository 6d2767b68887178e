"""A mean that follows what is measured again and again while training goes on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SLOW = 0.9  # share of the old value once there have been ten


class RunningMean(nn.Module):
    """The plain mean of the first ten values, from then on an exponential one; NaN before the first. () tensors.

    The plain mean keeps an unlucky first look from standing for ten.
    """

    def __init__(self) -> None:
        super().__init__()
        self.value: Tensor
        self.count: Tensor
        self.register_buffer("value", torch.full((), float("nan")))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    def update(self, value: Tensor) -> None:
        """Take in a value; NaN says nothing."""
        if bool(value.isnan()):
            return
        self.count += 1
        old = torch.where(self.count == 1, value, self.value)
        self.value.copy_(torch.lerp(old, value.to(old.dtype), (1 / self.count).clamp(min=1 - SLOW)))

    def forget(self) -> None:
        """The next value stands alone."""
        self.count.zero_()

    def __float__(self) -> float:
        return float(self.value)
