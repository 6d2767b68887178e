"""Helpers of the learners' laws: random batches, plain rollouts and a plain training loop, without Lightning."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ibal_lightning.backbone import Backbone
from ibal_lightning.env import Env
from ibal_lightning.functional.masking import random_legal
from ibal_lightning.types import EnvSpec, EpisodeBatch, no_group


def make_spec(n_agents: int = 3, n_actions: int = 5, obs_dim: int = 6, state_dim: int = 7, limit: int = 9) -> EnvSpec:
    """A game of the given sizes."""
    return EnvSpec(
        n_agents=n_agents,
        n_actions=n_actions,
        obs_dim=obs_dim,
        state_dim=state_dim,
        episode_limit=limit,
        obs_names=tuple(f"obs {i}" for i in range(obs_dim)),
        action_names=tuple(f"action {i}" for i in range(n_actions)),
        null_obs=torch.zeros(obs_dim),
        fingerprint="random",
    )


def random_batch(spec: EnvSpec, games: int, seed: int = 0) -> EpisodeBatch:
    """Episodes of random length, content and end; the first one is as long as the batch, the last one padded."""
    g = torch.Generator().manual_seed(seed)
    steps, n, a = spec.episode_limit, spec.n_agents, spec.n_actions
    avail = torch.rand(games, steps + 1, n, a, generator=g) < 0.6
    avail[..., 0] |= ~avail.any(-1)
    lengths = torch.randint(1, steps, (games,), generator=g)
    lengths[0] = steps
    time = torch.arange(steps)
    last = time == lengths[:, None] - 1
    truncated = last & (torch.rand(games, 1, generator=g) < 0.5)
    actions = random_legal(avail[:, :-1], g)
    taken = random_legal(avail[:, :-1], g)
    obs = torch.randn(games, steps + 1, n, spec.obs_dim, generator=g)
    return EpisodeBatch(
        obs=obs,
        obs_seen=obs * (torch.rand(obs.shape, generator=g) < 0.8),
        state=torch.randn(games, steps + 1, spec.state_dim, generator=g),
        avail_actions=avail,
        alive=torch.rand(games, steps + 1, n, generator=g) < 0.8,
        actions=actions,
        actions_taken=taken,
        attacked=taken != actions,
        group=no_group(games, n),
        reward=torch.randn(games, steps, generator=g),
        terminated=last & ~truncated,
        truncated=truncated,
        mask=time < lengths[:, None],
        won=torch.zeros(games),
    )


@torch.no_grad()
def play(env: Env, backbone: Backbone, generator: torch.Generator, *, env_steps: int = 0) -> EpisodeBatch:
    """One exploring episode in every game of a fixed-length environment."""
    now = env.reset()
    hidden = backbone.initial_hidden(env.num_envs)
    last = torch.full((env.num_envs, env.spec.n_agents), -1)
    slots, moves = [now], []
    for _ in range(env.spec.episode_limit):
        scores, hidden = backbone.scores(now.obs, last, hidden)
        last = backbone.select(scores, now.avail_actions, env_steps=env_steps, explore=True, generator=generator)
        now = env.step(last)
        slots.append(now)
        moves.append(last)
    obs, actions = stacked(slots, lambda s: s.obs), torch.stack(moves, 1)
    reward = stacked(slots[1:], lambda s: s.reward)
    return EpisodeBatch(
        obs=obs,
        obs_seen=obs,
        state=stacked(slots, lambda s: s.state),
        avail_actions=stacked(slots, lambda s: s.avail_actions),
        alive=stacked(slots, lambda s: s.alive),
        actions=actions,
        actions_taken=actions,
        attacked=torch.zeros_like(actions, dtype=torch.bool),
        group=no_group(env.num_envs, env.spec.n_agents),
        reward=reward,
        terminated=stacked(slots[1:], lambda s: s.terminated),
        truncated=stacked(slots[1:], lambda s: s.truncated),
        mask=torch.ones_like(reward, dtype=torch.bool),
        won=stacked(slots[1:], lambda s: s.info["won"]).amax(1),
    )


def stacked(slots: list, field: Callable[..., Tensor]) -> Tensor:
    """(B, L, ...) of one field."""
    return torch.stack([field(slot) for slot in slots], 1)


def train(env: Env, backbone: Backbone, *, rollouts: int, seed: int = 0) -> None:
    """Play and learn on what was just played, ``rollouts`` times."""
    generator, optimizer, updates = torch.Generator().manual_seed(seed), backbone.optimizer(), 0
    for _ in range(rollouts):
        for part in backbone.minibatches(play(env, backbone, generator), generator):
            optimizer.zero_grad()
            backbone.loss(part).loss.backward()
            torch.nn.utils.clip_grad_norm_(backbone.parameters(), backbone.max_grad_norm)
            optimizer.step()
            updates += 1
            backbone.after_update(updates)
