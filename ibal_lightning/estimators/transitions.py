"""The rows that the models of IBAL learn from: single steps drawn from whole episodes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ibal_lightning.functional.random import stream
from ibal_lightning.types import EpisodeBatch, TensorFields


@dataclass(frozen=True)
class Context(TensorFields):
    """What is known of M moments after everyone has acted; the models condition on it."""

    state: Tensor  # (M, S) clean
    obs: Tensor  # (M, N, O) clean
    actions: Tensor  # (M, N) i64 executed
    alive: Tensor  # (M, N) bool
    time: Tensor  # (M,) step / episode_limit


@dataclass(frozen=True)
class Transitions(TensorFields):
    """M steps with what came of them."""

    now: Context
    intended: Tensor  # (M, N) i64 actions that the policy meant
    avail_actions: Tensor  # (M, N, A) bool, of this step
    next_obs: Tensor  # (M, N, O) clean, before any reset
    next_alive: Tensor  # (M, N) bool
    next_intended: Tensor  # (M, N) i64 what the policy meant one step later
    acts_next: Tensor  # (M, N) bool: alive and the episode goes on, so ``next_intended`` is a choice

    @property
    def seen(self) -> Tensor:
        """(M, N) bool: both observations are of a living agent."""
        return self.now.alive & self.next_alive


def draw_steps(batch: EpisodeBatch, rows: int, draw: int) -> tuple[Tensor, Tensor]:
    """Episodes (M,) and steps (M,) of up to ``rows`` real steps of the batch, without replacement.

    Args:
        draw: which draw this is; equal numbers draw equal rows, so a resumed run draws what the first would have.
    """
    steps = batch.mask.shape[1]
    real = batch.mask.flatten().nonzero()[:, 0]
    order = torch.randperm(len(real), generator=stream(draw, "transitions"))[:rows].to(real.device)
    return real[order] // steps, real[order] % steps


def transitions_at(batch: EpisodeBatch, b: Tensor, t: Tensor, episode_limit: int) -> Transitions:
    """The real steps t (M,) of episodes b (M,)."""
    steps = batch.mask.shape[1]
    later = (t + 1).clamp(max=steps - 1)
    goes_on = batch.mask[b, later] & (later == t + 1)
    now = Context(batch.state[b, t], batch.obs[b, t], batch.actions_taken[b, t], batch.alive[b, t], t / episode_limit)
    return Transitions(
        now=now,
        intended=batch.actions[b, t],
        avail_actions=batch.avail_actions[b, t],
        next_obs=batch.obs[b, t + 1],
        next_alive=batch.alive[b, t + 1],
        next_intended=batch.actions[b, later],
        acts_next=goes_on[:, None] & batch.alive[b, t + 1],
    )
