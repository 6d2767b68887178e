"""Masks in one place: legal actions, averages over real steps."""

from __future__ import annotations

import torch
from torch import Tensor


def legal(scores: Tensor, avail_actions: Tensor) -> Tensor:
    """Scores (..., A) with illegal actions at -inf."""
    return scores.masked_fill(~avail_actions, float("-inf"))


def greedy(scores: Tensor, avail_actions: Tensor) -> Tensor:
    """(...) i64 legal action of the highest score; ties go to the lowest index."""
    return legal(scores, avail_actions).argmax(-1)


def random_legal(avail_actions: Tensor, generator: torch.Generator) -> Tensor:
    """(...) i64 uniform draw among the legal actions (..., A)."""
    noise = torch.rand(avail_actions.shape, generator=generator, device=avail_actions.device)
    return noise.masked_fill(~avail_actions, -1.0).argmax(-1)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """() mean of x over the true entries of mask (broadcast); padding has no influence, not even NaN."""
    mask = mask.expand_as(x)
    return torch.where(mask, x, 0.0).sum() / mask.sum().clamp(min=1)
