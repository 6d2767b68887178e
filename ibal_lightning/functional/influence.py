"""Information through a channel that adds effects of discrete inputs to Gaussian noise; all values in nats."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

COARSEST = 0.8  # standard deviations of the noise between two points of a grid
MOST_CELLS = 2**15


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


def mixed_information(effects: Tensor, p: Tensor) -> Tensor:
    """I(y; b_j) of ``y = sum_j effects[j, b_j] + noise`` for each output and input, the other inputs unknown.

    ``h(y) - h(y without the effect of j)``, independent b_j ~ p[j], unit noise: the densities come from the product of
    the inputs' characteristic functions, by one inverse Fourier transform each.

    Args:
        effects: (..., J, A, D) in standard deviations of the noise.
        p: (J, A) distributions of the inputs.

    Raises:
        ValueError: effects so strong that no grid of a reasonable size resolves the noise.

    Returns:
        (..., J, D).
    """
    effects = (effects - (p[..., None] * effects).sum(-2, keepdim=True)).float()
    span = effects.abs().amax(-2).sum(-2) + 6.0  # (..., D) half of the grid
    cells = max(512, 2 ** math.ceil(math.log2(2 * float(span.max()) / COARSEST)))
    if cells > MOST_CELLS:
        raise ValueError(f"effects of {float(span.max()):.0f} standard deviations are too strong to be resolved")
    frequency = torch.arange(cells // 2 + 1, device=p.device) * (math.pi / span[..., None])
    angle = effects[..., None] * frequency[..., None, None, :, :]  # (..., J, A, D, F)
    weight = p.float()[..., None, None]
    each = torch.complex((weight * angle.cos()).sum(-3), (weight * angle.sin()).sum(-3))
    noise = torch.exp(-0.5 * frequency.square())
    count = effects.shape[-3]
    others = [each[..., [k for k in range(count) if k != j], :, :].prod(-3) for j in range(count)]
    without = torch.stack(others, -3) * noise[..., None, :, :]
    whole = each.prod(-3) * noise
    return (grid_entropy(whole, span)[..., None, :] - grid_entropy(without, span[..., None, :])).clamp(min=0)


def grid_entropy(characteristic: Tensor, span: Tensor) -> Tensor:
    """(...) differential entropies of densities on [-span, span] with (..., F) characteristic functions."""
    cells = 2 * (characteristic.shape[-1] - 1)
    width = 2 * span / cells
    density = torch.fft.irfft(characteristic, n=cells, dim=-1).clamp(min=0) / width[..., None]
    return -torch.special.xlogy(density, density).sum(-1) * width


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
