"""The terms of PPO on padded batches: targets from values, and the policy's loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ibal_lightning.backbones.ppo_options import PpoOptions
from ibal_lightning.backbones.value_norm import ValueNorm
from ibal_lightning.functional.gae import gae
from ibal_lightning.functional.masking import masked_mean
from ibal_lightning.functional.policy import clipped_surrogate, entropy
from ibal_lightning.functional.td import discounts, last_steps, n_step_returns
from ibal_lightning.types import EpisodeBatch


def value_targets(
    batch: EpisodeBatch,
    reward: Tensor,
    values: Tensor,
    slow: Tensor | None,
    norm: ValueNorm | None,
    options: PpoOptions,
) -> tuple[Tensor, Tensor]:
    """Value targets in the critic's units and advantages, both (B, T, M), from reward (B, T), 0 on padding.

    Args:
        values: (B, T+1, M) of the critic.
        slow: the same of the target critic, which bootstraps; None where there is none.
        norm: takes in the targets.
    """
    if norm:
        values, slow = norm.denormalize(values), norm.denormalize(slow) if slow is not None else None
    target, advantage = estimate(batch, reward, values if slow is None else slow, options)
    if slow is not None:
        advantage = target - values[:, :-1]
    real = batch.mask.unsqueeze(-1).expand_as(target)
    if norm:
        norm.update(target, real)
        target = norm.normalize(target)
    return target.masked_fill(~real, 0.0), advantage


def estimate(batch: EpisodeBatch, reward: Tensor, values: Tensor, options: PpoOptions) -> tuple[Tensor, Tensor]:
    """Returns and advantages (B, T, M) from reward (B, T), 0 on padding, and values (B, T+1, M) in its units."""
    real, discount = batch.mask.unsqueeze(-1), discounts(batch, options.gamma).unsqueeze(-1)
    value = values[:, :-1].masked_fill(~real, 0.0)
    next_value = values[:, 1:].masked_fill(discount == 0, 0.0)
    reward, last = reward.unsqueeze(-1), last_steps(batch).unsqueeze(-1)
    if options.n_step:
        target = n_step_returns(reward, discount, next_value, last, options.n_step)
        return target, target - value
    advantage = gae(reward, discount, value, next_value, last, options.gae_lambda)
    return advantage + value, advantage


def policy_mask(batch: EpisodeBatch, options: PpoOptions) -> Tensor:
    """(B, T, N) bool: the agent-steps that the policy learns from."""
    mask = batch.mask.unsqueeze(-1).expand_as(batch.actions)
    if options.policy_active_masks:
        mask = mask & batch.alive[:, :-1]
    return mask & ~batch.attacked if options.drop_overridden else mask


def standardized(advantage: Tensor, mask: Tensor) -> Tensor:
    """Advantages (B, T, M) with mean 0 and variance 1 over the agent-steps of mask (B, T, N); 0 outside."""
    advantage = advantage.expand(mask.shape)
    centred = advantage - masked_mean(advantage, mask)
    return (centred / (masked_mean(centred.square(), mask).sqrt() + 1e-5)).masked_fill(~mask, 0.0)


def delayed(hidden: Tensor) -> Tensor:
    """Memories before each slot, (B, L, N, H), from those after each slot."""
    return F.pad(hidden[:, :-1], (0, 0, 0, 0, 1, 0))


def safe_avail(batch: EpisodeBatch) -> Tensor:
    """(B, T, N, A) bool legal actions of the steps; all of them on padding, so that every logarithm is finite."""
    return batch.avail_actions[:, :-1] | ~batch.mask[..., None, None]


def intended(log_pi: Tensor, actions: Tensor) -> Tensor:
    """(B, T, N) log probability of actions (B, T, N) under log_pi (B, T, N, A)."""
    return log_pi.gather(-1, actions.clamp(min=0).unsqueeze(-1)).squeeze(-1)


def value_mask(batch: EpisodeBatch, values: Tensor, *, active: bool) -> Tensor:
    """(B, T, M) bool: the values that the critic learns from; with ``active`` and M = N only those of living agents."""
    mask = batch.mask.unsqueeze(-1).expand_as(values)
    per_agent = values.shape[-1] == batch.alive.shape[-1]
    return mask & batch.alive[:, :-1] if active and per_agent else mask


def policy_loss(
    batch: EpisodeBatch, log_pi: Tensor, mask: Tensor, *, clip: float, entropy_coef: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """The clipped surrogate with entropy bonus, over the agent-steps of mask (B, T, N), and what to log of it.

    ``batch`` carries ``log_prob`` and ``advantage`` as extras; log_pi is (B, T, N, A).
    """
    log_ratio = (intended(log_pi, batch.actions) - batch.extras["log_prob"]).masked_fill(~mask, 0.0)
    ratio = log_ratio.exp()
    surrogate = masked_mean(clipped_surrogate(ratio, batch.extras["advantage"], clip), mask)
    nats = masked_mean(entropy(log_pi, safe_avail(batch)), mask)
    with torch.no_grad():
        logs = {
            "policy_loss": -surrogate,
            "entropy": nats.detach(),
            "clip_fraction": masked_mean(((ratio - 1).abs() > clip).float(), mask),
            "approx_kl": masked_mean(ratio - 1 - log_ratio, mask),
        }
    return -surrogate - entropy_coef * nats, logs
