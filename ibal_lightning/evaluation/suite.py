"""A policy under an attack: one row per episode."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import torch

from ibal_lightning.attack import Attack
from ibal_lightning.backbone import Backbone
from ibal_lightning.env import Env
from ibal_lightning.functional.random import derive_seed
from ibal_lightning.rollout.collector import Collector, play_episodes
from ibal_lightning.rollout.replay import Replay
from ibal_lightning.types import EpisodeBatch

AT_THE_END = 10**12  # env steps behind the end of every exploration schedule
HELD_OUT = 4  # rollouts by which the health of fitted estimators is judged


def play(env: Env, backbone: Backbone, attack: Attack, *, episodes: int, seed: int) -> Iterator[Mapping[str, Any]]:
    """Greedy games of a frozen policy under an attack.

    All attacks meet the same games: the environment's seed depends on ``seed`` only. One game a slot, so short games
    are not preferred. The attack has to be on the backbone's device.

    Yields:
        One row an episode: episode, return, length, won, the threat and what was spent of it.
    """
    device = backbone.current_device
    collector = Collector(env, backbone, attack, seed=derive_seed(seed, "evaluation attack"), device=device)
    done = 0
    for batch in play_episodes(collector, episodes, seed=derive_seed(seed, "evaluation")):
        for row in episode_rows(batch, attack)[: episodes - done]:
            yield {"episode": done, **row}
            done += 1


def episode_rows(batch: EpisodeBatch, attack: Attack) -> list[dict[str, Any]]:
    """What is kept of each episode of a batch."""
    masked = (batch.obs_seen != batch.obs)[:, :-1] & batch.mask[..., None, None]
    agent_steps = (batch.mask[..., None] & batch.alive[:, :-1]).sum((1, 2)).clamp(min=1)
    columns = {
        "return": batch.return_,
        "length": batch.length,
        "won": batch.won > 0,
        "overridden": batch.attacked.sum((1, 2)),
        "overridden_frac": batch.attacked.sum((1, 2)) / agent_steps,
        "perturbed_dims_mean": masked.sum((1, 2, 3)) / agent_steps,
        "group_size": (batch.group == 1).sum(1),
    }
    threat = {f"threat_{name}": value for name, value in asdict(attack.threat).items()}
    threat |= {f"attack_{name}": value for name, value in attack.status().items()}
    lists = {name: column.tolist() for name, column in columns.items()}
    return [{**{name: values[i] for name, values in lists.items()}, **threat} for i in range(len(batch))]


def fit(
    attack: Attack,
    env: Env,
    backbone: Backbone,
    excitation: Attack,
    *,
    episodes: int,
    updates: int,
    batch_episodes: int,
    seed: int,
) -> None:
    """Fit an attack that learns to a frozen victim (ALGORITHMS 2.8); one that has nothing to learn stays as it is.

    The victim explores at its schedule's final rate, in ``episodes`` games or the next number that fills whole
    rollouts. Half of them meet the ``excitation`` (random overrides): actions must vary for their effects to be
    identified.
    """
    optimizer = attack.optimizer()
    if optimizer is None:
        return
    device = backbone.current_device
    played = (Attack(env.spec, excitation.threat), excitation)
    rounds = math.ceil(episodes / (len(played) * env.num_envs))
    replay = Replay(env.spec, excitation, capacity=rounds * len(played) * env.num_envs, device=device)
    collectors = [Collector(env, backbone, a, seed=derive_seed(seed, "fit attack"), device=device) for a in played]
    first: int | None = derive_seed(seed, "fit")
    while replay.size < episodes:
        for collector in collectors:
            replay.add(collector.collect(env_steps=AT_THE_END, explore=True, seed=first))
            first = None
    generator = torch.Generator().manual_seed(derive_seed(seed, "fit batches"))
    for _ in range(updates):
        out = attack.loss(replay.sample(min(batch_episodes, replay.size), generator))
        if out is None:
            break
        optimizer.zero_grad(set_to_none=True)
        out.loss.backward()
        torch.nn.utils.clip_grad_norm_(attack.parameters(), attack.max_grad_norm)
        optimizer.step()
    for _ in range(HELD_OUT):
        attack.observe(collectors[1].collect(env_steps=AT_THE_END, explore=True))
