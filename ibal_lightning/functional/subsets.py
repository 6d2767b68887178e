"""Choosing few among many: random subsets and top-L dims."""

from __future__ import annotations

import torch
from torch import Tensor


def random_subset(sizes: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """(B, n) bool: in each row a uniform subset of ``sizes`` (B,) out of n."""
    order = torch.rand(len(sizes), n, generator=generator, device=sizes.device).argsort(-1)
    return torch.zeros(len(sizes), n, dtype=torch.bool, device=sizes.device).scatter(
        -1, order, torch.arange(n, device=sizes.device) < sizes[:, None]
    )


def top_dims(score: Tensor, count: int, floor: float = 0.0) -> Tensor:
    """(..., O) bool: the ``count`` dims of highest score (..., O), fewer where fewer scores exceed ``floor``."""
    if count == 0:
        return torch.zeros_like(score, dtype=torch.bool)
    best = score.topk(count, -1, sorted=False)
    return torch.zeros_like(score, dtype=torch.bool).scatter(-1, best.indices, best.values > floor)
