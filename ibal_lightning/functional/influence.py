"""Information through a channel that adds effects of discrete inputs to Gaussian noise; all values in nats."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor


def gaussian_channel_information(effects: Tensor, p: Tensor, *, draws: int, generator: torch.Generator) -> Tensor:
    """I(y; b_1..b_J) of ``y = sum_j effects[j, b_j] + noise``, independent b_j ~ p[j], unit white noise.

    Monte Carlo over ``draws`` joint inputs with the exact density of each: InfoNCE with the best critic, hence a lower
    bound in expectation, at most log(draws), and within O(1 / draws) of the truth where that is well below
    (van den Oord et al. 2018).

    Args:
        effects: (M, J, A, D) in standard deviations of the noise.
        p: (M, J, A) distributions of the inputs.

    Returns:
        (M,).
    """
    chosen = torch.multinomial(p.flatten(0, 1), draws, replacement=True, generator=generator).view(*p.shape[:2], draws)
    index = chosen[..., None].expand(*chosen.shape, effects.shape[-1])
    mean = effects.gather(2, index).sum(1)  # (M, draws, D)
    noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
    every = -0.5 * torch.cdist(mean + noise, mean).square()
    own = -0.5 * noise.square().sum(-1)
    return (own - every.logsumexp(-1) + math.log(draws)).mean(-1).clamp(min=0)


def scalar_information(means: Tensor, p: Tensor, nodes: int = 24) -> Tensor:
    """I(y; b) of ``y = means[b] + noise`` for each output on its own, b ~ p, unit noise, by Gauss-Hermite quadrature.

    Args:
        means: (..., A, D) in standard deviations of the noise.
        p: (..., A) distribution of the input.
        nodes: of the quadrature.

    Returns:
        (..., D).
    """
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    total = torch.zeros(*means.shape[:-2], means.shape[-1], dtype=means.dtype, device=means.device)
    log_p = p.log()[..., None, :, None]
    gap = means[..., :, None, :] - means[..., None, :, :]  # (..., b, c, D)
    for point, weight in zip(points.tolist(), (weights / weights.sum()).tolist(), strict=True):
        density = (log_p - 0.5 * (gap + point).square()).logsumexp(-2) + 0.5 * point**2  # (..., b, D)
        total -= weight * (p[..., None] * density).sum(-2)
    return total.clamp(min=0)


def whitening(covariance: Tensor, floor: float = 1e-2) -> Tensor:
    """(..., D, D) W with W covariance W' = 1; eigenvalues below ``floor`` of the largest count as that much."""
    values, vectors = torch.linalg.eigh(covariance)
    values = torch.maximum(values, floor * values[..., -1:].clamp(min=1e-12))
    return values.rsqrt()[..., None] * vectors.mT


def clustered_mean(x: Tensor, cluster: Tensor) -> tuple[float, float]:
    """Mean of x (M,) and its standard error when rows of the same ``cluster`` (M,) i64 may depend on each other.

    The usual linearisation of a ratio of cluster totals; NaN for a single cluster.
    """
    _, index = cluster.unique(return_inverse=True)
    count = int(index.max()) + 1
    mean = x.double().mean()
    left = torch.zeros(count, dtype=torch.float64, device=x.device).index_add(0, index, x.double() - mean)
    error = (left.square().sum() * count / (count - 1)).sqrt() / len(x) if count > 1 else torch.tensor(math.nan)
    return float(mean), float(error)
