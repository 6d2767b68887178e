"""Env + policy + attack + threat -> whole episodes of the induced Dec-POMDP (ALGORITHMS 1.2, DESIGN 6)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ibal_lightning.attack import Attack
from ibal_lightning.backbone import Backbone
from ibal_lightning.env import Env
from ibal_lightning.functional.projection import project_actions, project_mask, project_noise
from ibal_lightning.functional.random import stream
from ibal_lightning.rollout.recorder import Recorder
from ibal_lightning.types import EpisodeBatch, Timestep, VictimView


class Collector:
    """Plays B whole episodes at a time in lock-step; games that are over wait for the longest one.

    The attack proposes, its threat disposes: every proposal is projected to what the threat allows before it counts.
    Random streams of policy and attack are separate, so an attack that does nothing leaves the games untouched.

    Policy, attack and everything recorded live on ``device`` (by default the environment's). What the game shows goes
    there after each step and the executed actions come back; nothing else waits for the device.
    """

    step: int  # of the rollout in progress, as are the following
    going: Tensor  # (B,) bool on the environment's device: the game is not over
    running: Tensor  # (B,) bool, the same here
    shown: Tensor  # (B,) bool: the game was not over one step ago
    hidden: Tensor  # (B, N, H)
    last_actions: Tensor  # (B, N) i64
    last_taken: Tensor  # (B, N) i64
    spent: Tensor  # (B,) i64 overridden agent-steps

    def __init__(
        self, env: Env, backbone: Backbone, attack: Attack, *, seed: int, device: torch.device | None = None
    ) -> None:
        self.env, self.backbone, self.attack = env, backbone, attack
        self.device = device or env.device
        env.configure(**attack.env_options)
        self.policy_stream = stream(seed, "policy", self.device)
        self.attack_stream = stream(seed, "attack", self.device)
        self.max_dims = attack.threat.max_dims(env.spec)
        self.fill = attack.threat.fill_obs(env.spec).to(self.device)
        self.sees_truth = attack.obs_surface == "none" or not attack.threat.obs
        self.recorder = Recorder(env.spec, env.num_envs, perturbed=not self.sees_truth, device=self.device)
        self.seconds = {"env": 0.0, "policy": 0.0, "attack": 0.0}

    def collect(self, *, env_steps: int, explore: bool, seed: int | None = None) -> EpisodeBatch:
        """Play one episode in every game.

        Args:
            env_steps: steps simulated so far, for exploration schedules.
            explore: follow the exploration schedule (training) or act greedily (test).
            seed: restart the environment's random streams before these episodes.

        Returns:
            B episodes, trimmed to the longest. Valid until the next call: the buffers are reused.
        """
        batch = self._play(env_steps, explore, seed)
        while len(batch) == 0:  # every game was dropped
            batch = self._play(env_steps, explore, None)
        return batch

    @torch.no_grad()
    def _play(self, env_steps: int, explore: bool, seed: int | None) -> EpisodeBatch:
        with self._timed("attack"):
            self.attack.reset(self.env.num_envs, self.attack_stream)
        with self._timed("env"):
            now = self._here(self.env.reset(seed=seed))
        self._begin()
        while True:
            view = self._view(now)
            seen = self._see(view)
            self.recorder.observe(self.step, now, seen)
            if not self.going.any() or self.step == self.env.spec.episode_limit:
                return self.recorder.batch(self.step, self.attack.group)
            actions, taken = self._act(view, seen, env_steps, explore)
            self.recorder.act(self.step, actions, taken, self.running)
            with self._timed("env"):
                there = self.env.step(taken.to(self.env.device))
                now = self._here(there)
            self.recorder.outcome(self.step, now)
            self.going = self.going & ~(there.terminated | there.truncated)
            self.shown, self.running = self.running, self.going.to(self.device, non_blocking=True)
            self.step += 1

    def _here(self, now: Timestep) -> Timestep:
        """What the game shows, on our device; the source may be overwritten as soon as the copy is asked for."""
        return now if self.device == self.env.device else now.map(lambda x: x.to(self.device, non_blocking=True))

    def _begin(self) -> None:
        num_envs, n_agents = self.env.num_envs, self.env.spec.n_agents
        self.step = 0
        self.going = torch.ones(num_envs, dtype=torch.bool, device=self.env.device)
        self.running = self.shown = torch.ones(num_envs, dtype=torch.bool, device=self.device)
        self.hidden = self.backbone.initial_hidden(num_envs)
        self.last_actions = torch.full((num_envs, n_agents), -1, dtype=torch.long, device=self.device)
        self.last_taken = self.last_actions
        self.spent = torch.zeros(num_envs, dtype=torch.long, device=self.device)

    def _view(self, now: Timestep) -> VictimView:
        last_actions, hidden = self.last_actions, self.hidden
        return VictimView(
            obs=now.obs,
            obs_seen=now.obs,
            state=now.state,
            hidden=hidden,
            avail_actions=now.avail_actions,
            alive=now.alive,
            last_actions=last_actions,
            last_actions_taken=self.last_taken,
            step=self.step,
            running=self.running,
            shown=self.shown,
            scores=lambda obs: self.backbone.scores(obs, last_actions, hidden)[0],
            logits=self.backbone.on_policy,
        )

    def _see(self, view: VictimView) -> Tensor:
        """(B, N, O) what the policy reads: the attack's proposal inside the threat."""
        if self.sees_truth:
            return view.obs
        with self._timed("attack"):
            proposal = self.attack.perturb_obs(view, self.attack_stream)
            if self.attack.obs_surface == "mask":
                return project_mask(view.obs, proposal, self.fill, self.max_dims)
            return project_noise(view.obs, proposal, self.attack.threat.epsilon)

    def _act(self, view: VictimView, seen: Tensor, env_steps: int, explore: bool) -> tuple[Tensor, Tensor]:
        """Intended and executed actions, both (B, N)."""
        with self._timed("policy"):
            scores, self.hidden = self.backbone.scores(seen, self.last_actions, self.hidden)
            actions = self.backbone.select(
                scores, view.avail_actions, env_steps=env_steps, explore=explore, generator=self.policy_stream
            )
        taken = self._execute(view, seen, actions)
        self.last_actions = actions if self.backbone.last_action_source == "intended" else taken
        self.last_taken = taken
        return actions, taken

    def _execute(self, view: VictimView, seen: Tensor, actions: Tensor) -> Tensor:
        threat = self.attack.threat
        if not self.attack.acts or not threat.actions:
            return actions
        with self._timed("attack"):
            from_seen = replace(view, obs_seen=seen)
            proposal = self.attack.perturb_actions(from_seen, actions, self.attack_stream)
            left = None if threat.overrides is None else threat.overrides - self.spent
            taken, spent = project_actions(
                actions, proposal, view.avail_actions, view.alive & self.running[:, None], threat.agents, left
            )
            self.spent = self.spent + spent
            return taken

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[part] += time.perf_counter() - start

    def state_dict(self) -> Mapping[str, Any]:
        """Between rollouts everything that matters: the game (None where it cannot be saved) and the random streams."""
        try:
            env = self.env.state_dict()
        except NotImplementedError:
            env = None
        return {
            "env": env,
            "policy_stream": self.policy_stream.get_state(),
            "attack_stream": self.attack_stream.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` gave.

        Raises:
            ValueError: the environment could not be saved, so the run cannot be resumed exactly.
        """
        if state["env"] is None:
            raise ValueError("this environment cannot save its state; start from the policy with training.init_from=")
        self.env.load_state_dict(state["env"])
        self.policy_stream.set_state(state["policy_stream"])
        self.attack_stream.set_state(state["attack_stream"])


def play_episodes(collector: Collector, episodes: int, *, seed: int) -> Iterator[EpisodeBatch]:
    """Greedy play of at least ``episodes`` games, which ones depending on ``seed``; a batch is valid until the next."""
    played = 0
    while played < episodes:
        batch = collector.collect(env_steps=0, explore=False, seed=None if played else seed)
        played += len(batch)
        yield batch
