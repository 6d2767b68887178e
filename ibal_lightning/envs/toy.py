"""The frame of the tiny games: a cue drawn per episode, a fixed length, every action legal."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ibal_lightning.functional.lockstep import check_actions, chosen_games
from ibal_lightning.functional.options import usable_device, whole
from ibal_lightning.functional.random import stream
from ibal_lightning.types import EnvSpec, Timestep


class ToyEnv(ABC):
    """An ``Env`` of which only the payoff is left to write.

    Every agent observes [cue, share of the episode behind it]; the state is the same. The cue is -1 or 1 with equal
    chance, drawn per episode; ``cued = False`` makes it 1. After ``length`` steps the game terminates, or is truncated
    where ``truncates``. ``timed = False`` hides the second feature.
    """

    name = "toy"
    length = 1
    n_actions = 2
    truncates = False
    cued = True
    timed = True

    def __init__(
        self, *, num_envs: int = 32, seed: int = 0, n_agents: int = 2, options: str = "", device: str = "cpu"
    ) -> None:
        num_envs, n_agents = whole("num_envs", num_envs, 1), whole("n_agents", n_agents, 1)
        self.num_envs, self.device = num_envs, usable_device("env.device", device)
        self.spec = EnvSpec(
            n_agents=n_agents,
            n_actions=self.n_actions,
            obs_dim=2,
            state_dim=2,
            episode_limit=self.length,
            obs_names=("cue", "time"),
            action_names=tuple(f"action {a}" for a in range(self.n_actions)),
            null_obs=torch.zeros(2),
            fingerprint=f"toy/{self.name}/{n_agents}{options}",
        )
        self.generator = stream(whole("seed", seed), "env", self.device)
        self.cue = torch.ones(num_envs, device=self.device)
        self.time = torch.zeros(num_envs, dtype=torch.long, device=self.device)
        self.avail = torch.ones(num_envs, n_agents, self.n_actions, dtype=torch.bool, device=self.device)

    @abstractmethod
    def pay(self, actions: Tensor) -> Tensor:
        """(B,) reward of the joint actions (B, N) in the current state."""

    def won(self, actions: Tensor) -> Tensor:
        """(B,) f32 in {0, 1}: whether this step wins the game; never, by default."""
        return torch.zeros(len(actions), device=self.device)

    def reset(self, *, seed: int | None = None, mask: Tensor | None = None) -> Timestep:
        """Start new episodes; see ``Env.reset``."""
        chosen = chosen_games(mask, self.num_envs).to(self.device)
        if seed is not None:
            self.generator = stream(whole("seed", seed), "env", self.device)
        if self.cued:
            coins = torch.rand(self.num_envs, generator=self.generator, device=self.device) < 0.5
            self.cue = torch.where(chosen, 1.0 - 2.0 * coins, self.cue)
        self.time = self.time.masked_fill(chosen, 0)
        nothing = torch.zeros(self.num_envs, device=self.device)
        return self._timestep(nothing, nothing)

    def step(self, actions: Tensor) -> Timestep:
        """Advance the games that are not over; see ``Env.step``.

        Raises:
            ValueError: actions of another shape, or one that does not exist.
        """
        running = self.time < self.length
        check_actions(actions, self.avail, running)
        actions = actions.long().masked_fill(~running[:, None], 0)
        reward = self.pay(actions).masked_fill(~running, 0.0)
        won = self.won(actions).masked_fill(~running, 0.0)
        self.time = self.time + running.long()
        return self._timestep(reward, won)

    def _timestep(self, reward: Tensor, won: Tensor) -> Timestep:
        games, agents = self.num_envs, self.spec.n_agents
        over = self.time >= self.length
        time = self.time / self.length * self.timed
        state = torch.stack([self.cue, time], 1)
        never = torch.zeros_like(over)
        return Timestep(
            obs=state[:, None].expand(games, agents, 2).contiguous(),
            state=state,
            avail_actions=self.avail,
            alive=torch.ones(games, agents, dtype=torch.bool, device=self.device),
            reward=reward,
            terminated=never if self.truncates else over,
            truncated=over if self.truncates else never,
            info={"won": won},
        )

    def configure(self, **options: float) -> None:
        """No condition of these games can be changed; see ``Env.configure``.

        Raises:
            ValueError: any option was given.
        """
        if options:
            raise ValueError(f"{self.name} has no condition {', '.join(options)}")

    def state_dict(self) -> Mapping[str, Any]:
        """Everything that changes."""
        return {"cue": self.cue, "time": self.time, "generator": self.generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` gave."""
        self.cue, self.time = state["cue"], state["time"]
        self.generator.set_state(state["generator"])

    def close(self) -> None:  # noqa: B027
        """Nothing to free."""
