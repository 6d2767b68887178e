"""Generalised advantage estimation."""

from __future__ import annotations

from torch import Tensor

from ibal_lightning.functional.td import reverse_recurrence


def gae(reward: Tensor, discount: Tensor, value: Tensor, next_value: Tensor, last: Tensor, lambda_: float) -> Tensor:
    """(B, T) advantages A_t = delta_t + discount_t lambda A_{t+1} (Schulman et al. 2016, equation 16).

    delta_t = r_t + discount_t next_value_t - value_t. Termination is a discount of 0; truncation keeps the discount,
    bootstraps from ``next_value`` and is ``last``. Padding must be zero.

    Args:
        reward: (B, T).
        discount: (B, T) gamma x (1 - terminated), 0 on padding.
        value: (B, T) V of the step's own slot, 0 on padding.
        next_value: (B, T) V of the successor slot.
        last: (B, T) bool: no later step of the same episode follows.
        lambda_: in [0, 1].
    """
    delta = reward + discount * next_value - value
    return reverse_recurrence(delta, discount * lambda_ * (~last).to(reward.dtype))
