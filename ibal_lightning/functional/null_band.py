"""When is a score above chance? Its quantile where actions and outcomes have nothing to do with each other.

The actions are drawn anew without looking at the outcome: from the policy's own distribution, or from other moments
with nearly the same context (a permutation within strata). Whatever the statistic is, its value on the real actions is
one more such draw if they have no effect (the conditional randomisation test of Candes et al. 2018).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Redraw = Callable[[torch.Generator], Tensor]


def null_band(
    statistic: Callable[[Tensor], Tensor],
    redraw: Redraw,
    generator: torch.Generator,
    *,
    draws: int = 99,
    level: float = 0.05,
) -> Tensor:
    """Upper end of the null band: the quantile 1 - ``level`` of ``statistic(redraw(generator))``, in its own shape.

    A value above it has a p-value below ``level`` (to within 1 / draws).
    """
    values = torch.stack([statistic(redraw(generator)) for _ in range(draws)])
    rank = max(round(level * (draws + 1)), 1)  # the rank-th highest: exact for exchangeable draws
    return values.sort(0).values[draws - rank]


def nearest_rows(context: Tensor, count: int, eligible: Tensor | None = None) -> Tensor:
    """(M, P) i64 other rows of the most similar context, nearest first; the row itself where nobody is eligible.

    Args:
        context: (M, C).
        count: P, at most M - 1 are given.
        eligible: (M, M) bool which rows may stand in for which; None = all.
    """
    rows = len(context)
    distance = torch.cdist(context, context).fill_diagonal_(float("inf"))
    if eligible is not None:
        distance = distance.masked_fill(~eligible, float("inf"))
    near = distance.topk(min(count, rows - 1), -1, largest=False)
    own = torch.arange(rows, device=distance.device)[:, None]
    return torch.where(near.values.isinf(), own, near.indices)


def redraw_near(values: Tensor, near: Tensor) -> Redraw:
    """Each row takes the value of one of its ``near`` (M, P) rows; values (M, ...)."""

    def redraw(generator: torch.Generator) -> Tensor:
        pick = torch.randint(near.shape[1], (len(near), 1), generator=generator).to(near.device)
        return values[near.gather(1, pick)[:, 0]]

    return redraw


def redraw_from(p: Tensor) -> Redraw:
    """Actions from their own distribution p (..., A), whatever came of them."""

    def redraw(generator: torch.Generator) -> Tensor:
        return torch.multinomial(p.flatten(0, -2), 1, replacement=True, generator=generator).view(p.shape[:-1])

    return redraw
