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


def bernoulli_club(logits: Tensor, p: Tensor) -> Tensor:
    """Conditional CLUB of a binary output driven by a discrete input, in closed form.

    ``sum_bc p_b p_c KL(Bern(pi_b) || Bern(pi_c)) = Cov_{b~p}[pi_b, logit_b]``: the log-normalisers cancel, because they
    do not depend on the output.

    Args:
        logits: (..., A, D) of each output for each input b.
        p: (..., A) reference distribution of the input.

    Returns:
        (..., D).
    """
    centred = logits - _mean(logits, p)[..., None, :]
    return _mean(logits.sigmoid() * centred, p)


def bernoulli_information(logits: Tensor, p: Tensor) -> Tensor:
    """(..., D) I(output; input) of the same channel, exactly: entropy of the mean minus mean entropy."""
    share = logits.sigmoid()
    return _binary_entropy(_mean(share, p)) - _mean(_binary_entropy(share), p)


def hurdle_club(logits: Tensor, means: Tensor, variance: Tensor, p: Tensor) -> Tensor:
    """Conditional CLUB of an output that is zero, or else Gaussian, driven by a discrete input, in closed form.

    ``sum_bc p_b p_c [KL(Bern(pi_b) || Bern(pi_c)) + pi_b (mu_b - mu_c)^2 / 2 s2]`` (ALGORITHMS 2.5, design O2).

    Args:
        logits: (..., A, D) log-odds of not being zero, for each input b.
        means: (..., A, D) of the Gaussian.
        variance: (..., D) of the Gaussian.
        p: (..., A) reference distribution of the input.

    Returns:
        (..., D).
    """
    share, square = logits.sigmoid(), (means - _mean(means, p)[..., None, :]).square()
    value = _mean(share * square, p) + _mean(share, p) * _mean(square, p)
    return bernoulli_club(logits, p) + 0.5 * value / variance


def hurdle_information(logits: Tensor, means: Tensor, variance: Tensor, p: Tensor) -> Tensor:
    """(..., D) upper bound of I(output; input) of the same channel, tighter than its CLUB.

    The chain rule splits off whether the output is zero, which is exact; the value is bounded by ``halflog`` under the
    distribution of the input given that it is not.
    """
    share = logits.sigmoid()
    posterior = p[..., None] * share
    present = posterior.sum(-2)
    weight = posterior / present.clamp(min=1e-12)[..., None, :]
    centred = means - (weight * means).sum(-2, keepdim=True)
    return bernoulli_information(logits, p) + present * halflog((weight * centred.square()).sum(-2) / variance)


def _mean(x: Tensor, p: Tensor) -> Tensor:
    """(..., D) mean over the inputs of x (..., A, D) under p (..., A)."""
    return (p[..., None, :] @ x)[..., 0, :]


def _binary_entropy(p: Tensor) -> Tensor:
    """Entropy of coins of probability p, elementwise."""
    p = p.clamp(0, 1)  # a mean of ones may exceed one by a rounding
    return torch.special.entr(p) + torch.special.entr(1 - p)


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


def channel_information(log_q: Tensor, p: Tensor) -> Tensor:
    """(...) I(output; input) of a discrete channel, from log-probabilities (..., B, A) of the outputs of each input.

    Args:
        p: (..., B) distribution of the input.
    """
    mixture = (p[..., None] * log_q.exp()).sum(-2, keepdim=True).log()
    return (p * categorical_kl(log_q, mixture)).sum(-1)


def uniform_legal(avail_actions: Tensor) -> Tensor:
    """(..., A) uniform distribution over the legal actions (..., A) bool; zeros where nothing is legal."""
    return avail_actions / avail_actions.sum(-1, keepdim=True).clamp(min=1)


def reference_policy(
    scores: Tensor, avail_actions: Tensor, *, uniform_share: float, temperature: float | None
) -> Tensor:
    """The "what if it acted otherwise" distribution of an agent: never a point mass where it has a choice.

    ``(1 - share) softmax(z / temperature) + share uniform`` over legal actions; z is the utility standardised over
    the legal actions, so that it means the same on any scale. Logits are a policy already: z / temperature are the
    logits themselves (ALGORITHMS 2.4).

    Args:
        scores: (..., A) utilities or logits.
        avail_actions: (..., A) bool.
        temperature: of utilities; None for logits.

    Returns:
        (..., A).
    """
    z = scores if temperature is None else standardised(scores, avail_actions) / temperature
    soft = legal(z, avail_actions).softmax(-1).nan_to_num(0.0)
    return (1 - uniform_share) * soft + uniform_share * uniform_legal(avail_actions)


def standardised(scores: Tensor, avail_actions: Tensor) -> Tensor:
    """(..., A) scores less their mean over the legal actions, by their standard deviation; 0 where illegal."""
    count = avail_actions.sum(-1, keepdim=True).clamp(min=1)
    kept = scores.masked_fill(~avail_actions, 0.0)
    centred = (kept - kept.sum(-1, keepdim=True) / count).masked_fill(~avail_actions, 0.0)
    return centred / (centred.square().sum(-1, keepdim=True) / count).sqrt().clamp(min=1e-6)
