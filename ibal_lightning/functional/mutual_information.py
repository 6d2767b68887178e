"""Closed-form pieces of mutual information; all values in nats (ALGORITHMS 2.5, 2.6, appendix A)."""

from __future__ import annotations

import torch
from torch import Tensor

from ibal_lightning.functional.masking import legal


def gaussian_club(means: Tensor, variance: Tensor, p: Tensor) -> Tensor:
    """Conditional CLUB of a Gaussian channel driven by a discrete input, in closed form.

    ``sum_bc p_b p_c KL(N(mu_b, s2) || N(mu_c, s2)) = Var_{b~p}[mu_b] / s2``: an upper bound of I(y; b), zero exactly
    where all means agree.

    Args:
        means: (..., A, D) of each output for each input b.
        variance: (..., D) of the channel's noise.
        p: (..., A) reference distribution of the input.

    Returns:
        (..., D).
    """
    weight = p[..., None]
    centre = (weight * means).sum(-2, keepdim=True)
    return (weight * (means - centre).square()).sum(-2) / variance


def halflog(club: Tensor) -> Tensor:
    """1/2 log(1 + S): ranks like the Gaussian CLUB S and stays near the truth where S explodes.

    It is the capacity of a Gaussian channel with signal-to-noise ratio S, hence still an upper bound.
    """
    return 0.5 * torch.log1p(club)


def entropy(p: Tensor) -> Tensor:
    """(...) entropy of distributions (..., A)."""
    return torch.special.entr(p).sum(-1)


def categorical_kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """(...) KL(p || q) of log-probabilities (..., A); outcomes impossible under p count nothing."""
    terms = log_p.exp() * (log_p - log_q)
    return torch.where(log_p == float("-inf"), 0.0, terms).sum(-1)


def uniform_legal(avail_actions: Tensor) -> Tensor:
    """(..., A) uniform distribution over the legal actions (..., A) bool; zeros where nothing is legal."""
    return avail_actions / avail_actions.sum(-1, keepdim=True).clamp(min=1)


def reference_policy(scores: Tensor, avail_actions: Tensor, *, uniform_share: float, temperature: float) -> Tensor:
    """The "what if it acted otherwise" distribution of an agent: never a point mass where it has a choice.

    ``(1 - share) softmax(z / temperature) + share uniform`` over legal actions; z is the score standardised over the
    legal actions, so that it means the same for utilities and logits of any scale (ALGORITHMS 2.4).

    Args:
        scores: (..., A) utilities or logits.
        avail_actions: (..., A) bool.

    Returns:
        (..., A).
    """
    count = avail_actions.sum(-1, keepdim=True).clamp(min=1)
    kept = scores.masked_fill(~avail_actions, 0.0)
    centred = (kept - kept.sum(-1, keepdim=True) / count).masked_fill(~avail_actions, 0.0)
    z = centred / (centred.square().sum(-1, keepdim=True) / count).sqrt().clamp(min=1e-6)
    soft = legal(z / temperature, avail_actions).softmax(-1).nan_to_num(0.0)
    return (1 - uniform_share) * soft + uniform_share * uniform_legal(avail_actions)
