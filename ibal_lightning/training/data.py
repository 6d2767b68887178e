"""The one DataModule: streams the induced Dec-POMDP, collecting and yielding in turn (DESIGN 6)."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader, IterableDataset

from ibal_lightning.attack import Attack
from ibal_lightning.backbone import Backbone
from ibal_lightning.env import Env
from ibal_lightning.functional.random import stream
from ibal_lightning.rollout.collector import Collector
from ibal_lightning.rollout.replay import Replay, episode_bytes
from ibal_lightning.types import EpisodeBatch

logger = logging.getLogger(__name__)
REUSE = 8  # updates of an attack from the same episodes: drawing them is dear, and it learns from few steps at a time
CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")  # cgroup v2; "max" where there is none
ROLLOUTS_PER_EPOCH = 1000  # Lightning wants a length; nothing of ours counts epochs


@dataclass(frozen=True)
class Experience:
    """One rollout and the batches to learn from after it, drawn lazily so that only one is in memory."""

    fresh: EpisodeBatch
    batches: Iterator[EpisodeBatch]
    attack_batches: Iterator[EpisodeBatch]


class InducedDecPOMDP(L.LightningDataModule):
    """Plays ``num_envs`` episodes under the training attack, then hands out the updates that they pay for.

    Args:
        replay_episodes: capacity of the replay, in episodes (off-policy learners).
        batch_episodes: episodes in one learner update (off-policy) or at least in the replay before learning starts.
        updates_per_episode: learner updates for each finished episode; fractions accumulate, so the learning
            effort per env step does not depend on ``num_envs``. On-policy learners use every rollout once.
        attack_updates_per_episode: the same for the attack's own loss.
        attack_warmup_updates_per_episode: and until it is warm, so that its first episodes are worth something.
        attack_window: the attack learns from this many newest episodes.
        device: where policy and attack play, and where episodes are stored; by default the environment's.
    """

    def __init__(
        self,
        env: Env,
        backbone: Backbone,
        attack: Attack,
        *,
        seed: int,
        replay_episodes: int = 5000,
        batch_episodes: int = 32,
        updates_per_episode: float = 0.125,
        attack_updates_per_episode: float = 0.25,
        attack_warmup_updates_per_episode: float = 2.0,
        attack_window: int = 1000,
        device: torch.device | None = None,
    ) -> None:
        super().__init__()
        backbone.check_rollout(env.num_envs)
        attack.check_training()
        self.collector = Collector(env, backbone, attack, seed=seed, device=device)
        self.backbone, self.attack = backbone, attack
        self.batch_episodes, self.attack_window = batch_episodes, attack_window
        self.updates_per_episode = updates_per_episode
        self.attack_updates_per_episode = attack_updates_per_episode
        self.attack_warmup_updates_per_episode = attack_warmup_updates_per_episode
        self.attack_learns = attack.optimizer() is not None
        self.replay = self._allocate(env, replay_episodes)
        self.streams = {name: stream(seed, f"replay {name}") for name in ("learner", "attack")}
        self.env_steps, self.episodes = 0, 0
        self.credit = {"learner": 0.0, "attack": 0.0}

    def _allocate(self, env: Env, replay_episodes: int) -> Replay | None:
        on_policy = self.backbone.on_policy
        if on_policy and not self.attack_learns:
            return None
        option = "attack_window" if on_policy else "replay_episodes"
        capacity = self.attack_window if on_policy else replay_episodes
        needs = [
            ("batch_episodes", self.batch_episodes, option, capacity),
            ("num_envs", env.num_envs, option, capacity),
        ]
        if self.attack_learns and not on_policy:
            needs.append(("batch_episodes", self.batch_episodes, "attack_window", self.attack_window))
        for name, episodes, store, room in needs:
            if episodes > room:
                raise ValueError(f"training.{name}={episodes} is more than training.{store}={room} episodes")
        beside = "" if on_policy else "backbone=mappo "  # an attack that learns needs a replay beside any backbone
        way_out = f"{beside}method=vanilla" if self.attack_learns else "an on-policy backbone (backbone=mappo)"
        check_memory(env, self.attack, capacity, self.collector.device, option=option, way_out=way_out)
        return Replay(env.spec, self.attack, capacity=capacity, device=self.collector.device)

    def train_dataloader(self) -> DataLoader[Experience]:
        """The stream; one item is one rollout with all its updates."""
        return DataLoader(_Stream(self), batch_size=None, num_workers=0)

    def transfer_batch_to_device(self, batch: Experience, device: torch.device, dataloader_idx: int) -> Experience:
        """Batches are drawn lazily; the module moves each one when it uses it."""
        del device, dataloader_idx
        return batch

    def collect(self) -> Experience:
        """Play one rollout and say what to learn from it."""
        fresh = self.collector.collect(env_steps=self.env_steps, explore=True)
        self.env_steps += int(fresh.mask.sum())
        self.episodes += len(fresh)
        self.attack.observe(fresh)
        if self.replay is not None:
            self.replay.add(fresh)
        if self.backbone.on_policy:
            batches: Iterator[EpisodeBatch] = iter((fresh,))
        else:
            batches = self._draw("learner", self._updates("learner", self.updates_per_episode, len(fresh)), None)
        warm, cold = self.attack_updates_per_episode, self.attack_warmup_updates_per_episode
        rate = warm if self.attack.warm else cold
        updates = self._updates("attack", rate, len(fresh)) if self.attack_learns else 0
        return Experience(fresh, batches, self._draw_rarely("attack", updates, self.attack_window))

    def _updates(self, who: str, per_episode: float, episodes: int) -> int:
        """Whole updates that the finished episodes pay for; the fraction is kept."""
        if self.replay is None or self.replay.size < self.batch_episodes:
            return 0
        self.credit[who] += per_episode * episodes
        whole = int(self.credit[who])
        self.credit[who] -= whole
        return whole

    def _draw(self, who: str, updates: int, newest: int | None) -> Iterator[EpisodeBatch]:
        for _ in range(updates):
            assert self.replay is not None
            yield self.replay.sample(self.batch_episodes, self.streams[who], newest=newest)

    def _draw_rarely(self, who: str, updates: int, newest: int | None) -> Iterator[EpisodeBatch]:
        """The same episodes for ``REUSE`` updates."""
        for start in range(0, updates, REUSE):
            for batch in self._draw(who, 1, newest):
                yield from itertools.repeat(batch, min(REUSE, updates - start))

    def state_dict(self) -> dict[str, Any]:
        """Counters, env and every random stream. The replay is saved beside the checkpoint: it is large."""
        return {
            "env_steps": self.env_steps,
            "episodes": self.episodes,
            "credit": dict(self.credit),
            "collector": self.collector.state_dict(),
            "streams": {name: generator.get_state() for name, generator in self.streams.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` gave."""
        self.env_steps, self.episodes = state["env_steps"], state["episodes"]
        self.credit = dict(state["credit"])
        self.collector.load_state_dict(state["collector"])
        for name, generator in self.streams.items():
            generator.set_state(state["streams"][name])


class _Stream(IterableDataset[Experience]):
    """Has a length, so that Lightning does not prefetch: the policy must never lag behind by a rollout."""

    def __init__(self, data: InducedDecPOMDP) -> None:
        self.data = data

    def __len__(self) -> int:
        return ROLLOUTS_PER_EPOCH

    def __iter__(self) -> Iterator[Experience]:
        for _ in range(ROLLOUTS_PER_EPOCH):
            yield self.data.collect()


def check_memory(env: Env, attack: Attack, capacity: int, device: torch.device, *, option: str, way_out: str) -> None:
    """Say how much a replay will take before it is allocated, and refuse one that does not fit.

    ``option`` of ``training`` sets the capacity; ``way_out`` needs no replay.

    Raises:
        ValueError: names the size needed, the memory there is, and two ways out.
    """
    need, total = capacity * episode_bytes(env.spec, attack), memory(device)
    if total is not None and need > 0.8 * total:
        fits = int(0.5 * total / (need / capacity))
        raise ValueError(
            f"a replay of {capacity} episodes needs about {need / 1e9:.1f} GB, {device} has {total / 1e9:.1f} GB; "
            f"use training.{option}={fits}, or {way_out}, which needs none"
        )
    logger.info("The replay takes %.2f GB for %s episodes.", need / 1e9, f"{capacity:,}")


def memory(device: torch.device) -> int | None:
    """Bytes of memory that a device has, or that this container may use; None where that cannot be told."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    limit = CONTAINER_LIMIT.read_text().strip() if CONTAINER_LIMIT.is_file() else "max"
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(physical, int(limit)) if limit.isdigit() else physical
