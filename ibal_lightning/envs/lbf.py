"""Level-Based Foraging: the genuine ``lbforaging`` package behind the batched contract.

Papoudakis et al. 2021, "Benchmarking Multi-Agent Deep Reinforcement Learning Algorithms in Cooperative Tasks".
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import gymnasium
import lbforaging  # noqa: F401  (importing it registers the tasks)
import numpy as np
import torch
from lbforaging.foraging.environment import Action, ForagingEnv
from torch import Tensor

from ibal_lightning.functional.random import derive_seed
from ibal_lightning.types import EnvSpec, Timestep


def make_foraging(task: str) -> ForagingEnv:
    """One genuine game.

    Raises:
        ValueError: the task is not registered; names the nearest ones.
    """
    known = [name for name in gymnasium.registry if name.startswith("Foraging")]
    if task not in known:
        nearest = ", ".join(difflib.get_close_matches(task, known, 3)) or "Foraging-8x8-2p-3f-v3"
        raise ValueError(f"env.task={task!r} is not an LBF task; nearest: {nearest} (sizes 5 to 19, 2 to 9 players)")
    game = gymnasium.make(task, disable_env_checker=True).unwrapped
    assert isinstance(game, ForagingEnv)
    return game


class Lbf:
    """B games of one LBF task, stepped one after the other.

    The state is the concatenation of all observations (as in EPyMARL). The team reward is the sum over players, at
    most 1 in an episode. ``won`` means that all food was eaten. The package reports its time limit as an ending; here
    it is ``truncated``. A disabled agent executes NONE.
    """

    def __init__(
        self, *, num_envs: int = 16, seed: int = 0, device: str = "cpu", task: str = "Foraging-8x8-2p-3f-v3"
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {num_envs}")
        if device != "cpu":
            raise ValueError(f"env.device={device!r}: lbforaging runs on the CPU only; use env.device=cpu")
        self.task = task
        self.num_envs = num_envs
        self.device = torch.device("cpu")
        self.games = [make_foraging(task) for _ in range(num_envs)]
        self.spec = foraging_spec(task, self.games[0])
        self._seed(seed)
        n, spec = num_envs, self.spec
        self._obs = np.zeros((n, spec.n_agents, spec.obs_dim), np.float32)
        self._avail = np.zeros((n, spec.n_agents, spec.n_actions), bool)
        self._reward = np.zeros(n, np.float32)
        self._terminated, self._truncated = np.zeros(n, bool), np.zeros(n, bool)

    def _seed(self, seed: int) -> None:
        for index, game in enumerate(self.games):
            game.reset(seed=derive_seed(seed, f"lbf game {index}") % 2**32)

    def reset(self, *, seed: int | None = None, mask: Tensor | None = None) -> Timestep:
        """Start new episodes in the games of ``mask`` (B,) (all by default)."""
        if seed is not None:
            self._seed(seed)
        for index in range(self.num_envs):
            if mask is None or mask[index]:
                obs, _ = self.games[index].reset()
                self._write(index, obs, 0.0, False, False)
        return self._timestep()

    def step(self, actions: Tensor) -> Timestep:
        """One step of every game that is not over; actions (B, N) i64."""
        for index, joint in enumerate(actions.tolist()):
            self._reward[index] = 0.0
            if self._terminated[index] or self._truncated[index]:
                continue
            self._check(index, joint)
            game = self.games[index]
            obs, rewards, over, _, _ = game.step(joint)
            eaten = not game.field.any()
            self._write(index, obs, float(sum(rewards)), eaten, over and not eaten)
        return self._timestep()

    def _check(self, index: int, joint: list[int]) -> None:
        for agent, action in enumerate(joint):
            if not 0 <= action < self.spec.n_actions or not self._avail[index, agent, action]:
                allowed = [self.spec.action_names[a] for a in np.flatnonzero(self._avail[index, agent])]
                raise ValueError(f"game {index}, agent {agent}: action {action} is illegal, legal are {allowed}")

    def _write(self, index: int, obs: Any, reward: float, terminated: bool, truncated: bool) -> None:
        self._obs[index] = obs
        self._reward[index], self._terminated[index], self._truncated[index] = reward, terminated, truncated
        game = self.games[index]
        self._avail[index] = False
        for agent, player in enumerate(game.players):
            self._avail[index, agent, [action.value for action in game._valid_actions[player]]] = True

    def _timestep(self) -> Timestep:
        obs = torch.from_numpy(self._obs)
        return Timestep(
            obs=obs,
            state=obs.flatten(1),
            avail_actions=torch.from_numpy(self._avail),
            alive=torch.ones(self.num_envs, self.spec.n_agents, dtype=torch.bool),
            reward=torch.from_numpy(self._reward),
            terminated=torch.from_numpy(self._terminated),
            truncated=torch.from_numpy(self._truncated),
            info={"won": torch.from_numpy(self._terminated).float()},
        )

    def configure(self, **options: float) -> None:
        """LBF has no condition to change."""
        if options:
            raise ValueError(f"env lbf has no condition {sorted(options)} to change (no health in this game)")

    def state_dict(self) -> Mapping[str, Any]:
        """Every game's field, players, clock and random stream."""
        return {
            "games": [_game_state(game) for game in self.games],
            "over": torch.tensor(np.stack([self._terminated, self._truncated])),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` gave."""
        self._terminated[:], self._truncated[:] = state["over"].numpy()
        for index, (game, saved) in enumerate(zip(self.games, state["games"], strict=True)):
            _restore_game(game, saved)
            self._write(index, game._make_gym_obs(), 0.0, self._terminated[index], self._truncated[index])

    def close(self) -> None:
        """Close every game."""
        for game in self.games:
            game.close()


def foraging_spec(task: str, game: ForagingEnv) -> EnvSpec:
    """Sizes and names of one task."""
    n_agents, n_food = game.n_agents, game.max_num_food
    entities = [f"food {i}" for i in range(n_food)] + ["own"] + [f"player {i}" for i in range(1, n_agents)]
    names = tuple(f"{entity}: {what}" for entity in entities for what in ("row", "column", "level"))
    return EnvSpec(
        n_agents=n_agents,
        n_actions=len(Action),
        obs_dim=len(names),
        state_dim=len(names) * n_agents,
        episode_limit=game._max_episode_steps,
        obs_names=names,
        action_names=tuple(action.name.lower() for action in Action),
        null_obs=torch.tensor([-1.0, -1.0, 0.0] * len(entities)),
        fingerprint=f"lbforaging-{version('lbforaging')}/{task}",
        inert_action=Action.NONE.value,
    )


def _game_state(game: ForagingEnv) -> dict[str, Any]:
    return {
        "field": torch.from_numpy(game.field.copy()),
        "spawned": float(game._food_spawned),
        "step": int(game.current_step),
        "players": [[int(p.position[0]), int(p.position[1]), int(p.level)] for p in game.players],
        "random": json.dumps(game.np_random.bit_generator.state),  # 128-bit integers, kept as text
    }


def _restore_game(game: ForagingEnv, saved: Mapping[str, Any]) -> None:
    game.field = saved["field"].numpy().copy()
    game._food_spawned, game.current_step = saved["spawned"], saved["step"]
    for player, (row, column, level) in zip(game.players, saved["players"], strict=True):
        player.setup((row, column), level, game.field_size)
    game.np_random.bit_generator.state = json.loads(saved["random"])
    game._gen_valid_moves()
