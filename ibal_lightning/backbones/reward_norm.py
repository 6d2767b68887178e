"""The rewards that learners read, with mean 0 and deviation 1 where asked for (EPyMARL's ``standardise_rewards``)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ibal_lightning.types import EpisodeBatch


class RewardNorm(nn.Module):
    """Shifts and scales rewards by the mean and deviation of all that it has been given, each time it was given.

    Real steps count alone (EPyMARL counts padding too). Values are then in the new units. Batches are merged by their
    moments (Chan et al. 1983), so that rewards far from 0 lose no digits.
    """

    count: Tensor
    mean: Tensor
    variance: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        for name in ("mean", "variance"):
            self.register_buffer(name, torch.zeros(()))

    @torch.no_grad()
    def forward(self, reward: Tensor, mask: Tensor) -> Tensor:
        """(B, T) standardised; the real steps of reward (B, T), where mask (B, T) is true, are taken in first."""
        count = mask.sum()
        mean = reward.masked_fill(~mask, 0.0).sum() / count.clamp(min=1)
        squares = (reward - mean).masked_fill(~mask, 0.0).square().sum()
        total, shift = (self.count + count).clamp(min=1), mean - self.mean
        share = count / total
        self.variance.mul_(1 - share).add_(squares / total + shift.square() * share * (1 - share))
        self.mean.add_(shift * share)
        self.count.add_(count)
        return (reward - self.mean) / self.variance.clamp(min=1e-8).sqrt()


def learnt_rewards(batch: EpisodeBatch, norm: RewardNorm | None) -> Tensor:
    """(B, T) rewards of the real steps, standardised by ``norm`` where there is one; 0 on padding."""
    reward = batch.reward if norm is None else norm(batch.reward, batch.mask)
    return reward.masked_fill(~batch.mask, 0.0)
