"""Masked categorical policies and the pieces of PPO's loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ibal_lightning.functional.masking import greedy, legal


def log_policy(scores: Tensor, avail_actions: Tensor) -> Tensor:
    """(..., A) log pi over the legal actions; -inf on the others."""
    return F.log_softmax(legal(scores, avail_actions), -1)


def entropy(log_pi: Tensor, avail_actions: Tensor) -> Tensor:
    """(...) entropy in nats of log_pi (..., A); its gradient is finite although illegal entries are -inf."""
    finite = log_pi.masked_fill(~avail_actions, 0.0)
    return -(finite.exp() * finite).sum(-1)


def sample_legal(scores: Tensor, avail_actions: Tensor, generator: torch.Generator) -> Tensor:
    """(...) i64 draw from softmax(scores) over the legal actions: the Gumbel-max trick, one call for all games."""
    uniform = torch.rand(scores.shape, generator=generator, device=scores.device)
    gumbel = -torch.log(-torch.log(uniform.clamp(1e-30, 1 - 2**-24)))
    return greedy(scores + gumbel, avail_actions)


def clipped_surrogate(ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """PPO's objective to maximise (Schulman et al. 2017, equation 7); shapes broadcast."""
    return torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


def clipped_value_loss(value: Tensor, old_value: Tensor, target: Tensor, *, clip: float, delta: float) -> Tensor:
    """Huber loss of a value that may gain nothing by moving further than ``clip`` from its old self; all shapes equal.

    ``delta`` is the Huber threshold; an infinite ``clip`` leaves the plain Huber loss.
    """
    near = old_value + (value - old_value).clamp(-clip, clip)
    plain = F.huber_loss(value, target, reduction="none", delta=delta)
    return torch.maximum(plain, F.huber_loss(near, target, reduction="none", delta=delta))
