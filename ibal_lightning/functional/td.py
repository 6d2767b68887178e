"""Temporal-difference targets, in the manner of rlax: a ``discount`` in place of ``done``.

Everything is over (B, T). ``discount`` is gamma x (1 - terminated) and ``last`` marks steps behind which no further
step of the same episode exists (terminated, truncated, or cut by the batch). So a terminated step has discount 0 and
does not bootstrap; a truncated one keeps its discount and bootstraps from ``next_value``. Padding must be zero.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ibal_lightning.types import EpisodeBatch


def last_steps(batch: EpisodeBatch) -> Tensor:
    """(B, T) bool: the step is the last one of its episode that the batch holds, whatever ended it."""
    continued = F.pad(batch.mask[:, 1:], (0, 1), value=False)
    return batch.terminated | batch.truncated | ~continued


def discounts(batch: EpisodeBatch, gamma: float) -> Tensor:
    """(B, T) gamma on real steps that do not terminate, else 0."""
    return gamma * (batch.mask & ~batch.terminated).to(batch.reward.dtype)


def reverse_recurrence(offset: Tensor, factor: Tensor) -> Tensor:
    """(B, T) solution of x_t = offset_t + factor_t x_{t+1} with x_T = 0.

    A doubling scan (Hillis and Steele 1986): log2(T) vectorised steps instead of T, which matters on GPUs.
    """
    shift, steps = 1, offset.shape[1]
    while shift < steps:
        offset = torch.cat([offset[:, :-shift] + factor[:, :-shift] * offset[:, shift:], offset[:, -shift:]], 1)
        factor = torch.cat([factor[:, :-shift] * factor[:, shift:], torch.zeros_like(factor[:, -shift:])], 1)
        shift *= 2
    return offset


def lambda_returns(reward: Tensor, discount: Tensor, next_value: Tensor, last: Tensor, lambda_: float) -> Tensor:
    """(B, T) Peng's G_t = r_t + discount_t [(1 - lambda) next_value_t + lambda G_{t+1}] (Peng and Williams 1996).

    ``lambda_`` 0 gives the one-step target, 1 the discounted return with a bootstrap only where episodes are cut.

    Args:
        reward: (B, T).
        discount: (B, T) gamma x (1 - terminated), 0 on padding.
        next_value: (B, T) value of the successor slot.
        last: (B, T) bool, see the module.
        lambda_: weight of the longer return, in [0, 1].
    """
    trace = lambda_ * (~last).to(reward.dtype)
    return reverse_recurrence(reward + discount * (1.0 - trace) * next_value, discount * trace)


def n_step_returns(reward: Tensor, discount: Tensor, next_value: Tensor, last: Tensor, n_step: int) -> Tensor:
    """(B, T, ...) sum of the next ``n_step`` discounted rewards (fewer at an episode's end) plus the discounted value.

    Shapes as in ``lambda_returns``, or with further axes that broadcast.
    """
    returns = reward + discount * next_value
    for _ in range(n_step - 1):
        later = torch.cat([returns[:, 1:], torch.zeros_like(returns[:, :1])], 1)
        returns = reward + discount * torch.where(last, next_value, later)
    return returns
