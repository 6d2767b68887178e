"""Buffers that a rollout writes step by step and hands out as one batch of episodes."""

from __future__ import annotations

import torch
from torch import Tensor

from ibal_lightning.types import EnvSpec, EpisodeBatch, Timestep, no_group


class Recorder:
    """Allocated once for B games and the episode limit; every rollout overwrites it."""

    def __init__(self, spec: EnvSpec, num_envs: int, *, perturbed: bool, device: torch.device) -> None:
        b, steps, n = num_envs, spec.episode_limit, spec.n_agents
        self.obs = torch.zeros(b, steps + 1, n, spec.obs_dim, device=device)
        self.obs_seen = torch.zeros_like(self.obs) if perturbed else self.obs
        self.state = torch.zeros(b, steps + 1, spec.state_dim, device=device)
        self.avail_actions = torch.zeros(b, steps + 1, n, spec.n_actions, dtype=torch.bool, device=device)
        self.alive = torch.zeros(b, steps + 1, n, dtype=torch.bool, device=device)
        self.actions = torch.zeros(b, steps, n, dtype=torch.long, device=device)
        self.actions_taken = torch.zeros_like(self.actions)
        self.reward = torch.zeros(b, steps, device=device)
        self.terminated = torch.zeros(b, steps, dtype=torch.bool, device=device)
        self.truncated = torch.zeros_like(self.terminated)
        self.mask = torch.zeros_like(self.terminated)
        self.won = torch.zeros(b, device=device)
        self.counts_dropped = False  # an environment without workers never drops a game: it is not asked
        self.dropped = torch.zeros(b, dtype=torch.bool, device=device)
        self.games = self.kept = torch.arange(b, device=device)  # (M,) i64 games of the episodes in the last batch

    def observe(self, step: int, now: Timestep, seen: Tensor) -> None:
        """Slot ``step`` (0..T): what the game shows and what the policy reads."""
        self.obs[:, step] = now.obs
        self.state[:, step] = now.state
        self.avail_actions[:, step] = now.avail_actions
        self.alive[:, step] = now.alive
        if self.obs_seen is not self.obs:
            self.obs_seen[:, step] = seen

    def act(self, step: int, actions: Tensor, taken: Tensor, running: Tensor) -> None:
        """Slot ``step`` (0..T-1): intended and executed actions; ``running`` (B,) tells the real steps."""
        self.actions[:, step] = actions
        self.actions_taken[:, step] = taken
        self.mask[:, step] = running

    def outcome(self, step: int, now: Timestep) -> None:
        """Slot ``step``: what the executed actions brought."""
        self.reward[:, step] = now.reward
        self.terminated[:, step] = now.terminated
        self.truncated[:, step] = now.truncated
        self.won.copy_(now.info["won"])
        if "dropped" in now.info:  # a worker died and took its game with it
            self.counts_dropped = True
            self.dropped |= now.info["dropped"] > 0

    def batch(self, steps: int, group: Tensor | None) -> EpisodeBatch:
        """The first ``steps`` steps as a batch of views on these buffers, without the games that were dropped."""
        obs = self.obs[:, : steps + 1]
        taken, actions = self.actions_taken[:, :steps], self.actions[:, :steps]
        mask = self.mask[:, :steps]
        batch = EpisodeBatch(
            obs=obs,
            obs_seen=obs if self.obs_seen is self.obs else self.obs_seen[:, : steps + 1],
            state=self.state[:, : steps + 1],
            avail_actions=self.avail_actions[:, : steps + 1],
            alive=self.alive[:, : steps + 1],
            actions=actions,
            actions_taken=taken,
            attacked=(taken != actions) & mask[..., None],
            group=no_group(obs.shape[0], obs.shape[2], obs.device) if group is None else group,
            reward=self.reward[:, :steps] * mask,
            terminated=self.terminated[:, :steps] & mask,
            truncated=self.truncated[:, :steps] & mask,
            mask=mask,
            won=self.won,
        )
        self.kept = self.games
        if not self.counts_dropped or not self.dropped.any():
            return batch
        self.kept = (~self.dropped).nonzero()[:, 0]
        self.dropped = torch.zeros_like(self.dropped)
        return batch.map(lambda x: x[self.kept])
