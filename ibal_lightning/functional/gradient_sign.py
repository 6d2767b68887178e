"""Gradient-sign perturbations of observations (Goodfellow et al. 2014; Lin et al. 2020; ALGORITHMS 3.3)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ibal_lightning.functional.masking import greedy, legal


def gradient_sign(
    obs: Tensor,
    scores: Callable[[Tensor], Tensor],
    avail_actions: Tensor,
    *,
    epsilon: float,
    steps: int = 1,
    support: Tensor | None = None,
) -> Tensor:
    """Move observations so that the victim's own greedy action becomes less likely.

    Ascends the cross-entropy of softmax(scores) against the greedy action at obs, by one sign step of size epsilon,
    or ``steps`` steps of 2.5 epsilon / steps clipped to the ball (PGD).

    Args:
        obs: (B, N, O).
        scores: observations (B, N, O) -> utilities or logits (B, N, A), differentiable.
        avail_actions: (B, N, A) bool.
        epsilon: L-infinity radius, in obs units.
        support: (B, N, O) bool dims that may move; None = all.

    Returns:
        (B, N, O).
    """
    size = epsilon if steps == 1 else 2.5 * epsilon / steps
    with torch.enable_grad():
        target = greedy(scores(obs), avail_actions).detach()
        moved = obs.detach()
        for _ in range(steps):
            moved = moved.detach().requires_grad_()
            loss = F.cross_entropy(legal(scores(moved), avail_actions).flatten(0, 1), target.flatten(), reduction="sum")
            (gradient,) = torch.autograd.grad(loss, moved)
            step = size * gradient.sign().nan_to_num(0.0)  # no gradient where nothing is legal: the game is over
            step = step if support is None else step * support
            moved = obs + (moved.detach() + step - obs).clamp(-epsilon, epsilon)
    return moved.detach()
