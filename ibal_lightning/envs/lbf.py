"""Level-Based Foraging: the genuine ``lbforaging`` package behind the batched contract.

Papoudakis et al. 2021, "Benchmarking Multi-Agent Deep Reinforcement Learning Algorithms in Cooperative Tasks".
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import gymnasium
import torch
from lbforaging.foraging.environment import Action, ForagingEnv
from torch import Tensor

from ibal_lightning.envs.foraging import make_foraging
from ibal_lightning.envs.lbf_games import LbfGames
from ibal_lightning.envs.lbf_workers import LbfWorkers
from ibal_lightning.functional.lockstep import check_actions, chosen_games
from ibal_lightning.functional.options import whole
from ibal_lightning.functional.random import derive_seed
from ibal_lightning.types import EnvSpec, Timestep


class Lbf:
    """B games of one LBF task, stepped one after the other, or shared among worker processes.

    The state is the concatenation of all observations (as in EPyMARL). The team reward is the sum over players, at
    most 1 in an episode. ``won`` means that all food was eaten. A disabled agent executes NONE.

    Args:
        num_envs: B.
        seed: of every game's random stream.
        device: cpu.
        task: a registered task of the package.
        workers: processes that share the games; 0 plays them in this one. A game's course does not depend on it.
        continuing_episode: the time limit cuts the episode and values go on beyond it (``truncated``); by default it
            ends the episode, as the package reports it. Few games end otherwise until something is learnt, and values
            that always go on from themselves are held down by nothing: QMIX then unlearns what it had found.

    Raises:
        ValueError: an unknown task (names the nearest), or a number out of range.
    """

    def __init__(
        self,
        *,
        num_envs: int = 16,
        seed: int = 0,
        device: str = "cpu",
        task: str = "Foraging-8x8-2p-3f-v3",
        workers: int = 0,
        continuing_episode: bool = False,
    ) -> None:
        num_envs, workers = whole("num_envs", num_envs, 1), whole("env.workers", workers, 0)
        if device != "cpu":
            raise ValueError(f"env.device={device!r}: lbforaging runs on the CPU only; use env.device=cpu")
        check_task(task)
        self.continuing_episode = continuing_episode
        self.task, self.num_envs, self.device = task, num_envs, torch.device("cpu")
        self.spec = foraging_spec(task, make_foraging(task))
        seeds = game_seeds(seed, num_envs)
        self.games = LbfWorkers(task, seeds, workers=min(workers, num_envs)) if workers else LbfGames(task, seeds)

    def reset(self, *, seed: int | None = None, mask: Tensor | None = None) -> Timestep:
        """Start new episodes in the games of ``mask`` (B,) (all by default); a ``seed`` makes those as good as new."""
        chosen = chosen_games(mask, self.num_envs).nonzero().flatten().tolist()
        if seed is not None:
            seeds = game_seeds(seed, self.num_envs)
            self.games.seed({game: seeds[game] for game in chosen})
        self.games.reset(chosen)
        return self._timestep()

    def step(self, actions: Tensor) -> Timestep:
        """One step of every game that is not over; actions (B, N) i64.

        Raises:
            ValueError: another shape or an illegal action; no game has moved then.
        """
        shown = self.games.shown
        check_actions(actions, torch.from_numpy(shown.avail), torch.from_numpy(~(shown.terminated | shown.truncated)))
        self.games.step(actions.tolist())
        return self._timestep()

    def _timestep(self) -> Timestep:
        shown = self.games.shown
        obs, eaten, cut = map(torch.from_numpy, (shown.obs, shown.terminated, shown.truncated))
        info = {"won": eaten.float()}
        ends = cut & (not self.continuing_episode)
        if isinstance(self.games, LbfWorkers):
            dropped = torch.from_numpy(self.games.dropped)
            info["dropped"] = dropped.float()
            ends = ends & ~dropped
        return Timestep(
            obs=obs,
            state=obs.flatten(1),
            avail_actions=torch.from_numpy(shown.avail),
            alive=torch.ones(self.num_envs, self.spec.n_agents, dtype=torch.bool),
            reward=torch.from_numpy(shown.reward),
            terminated=eaten | ends,
            truncated=cut & ~ends,
            info=info,
        )

    def configure(self, **options: float) -> None:
        """LBF has no condition to change."""
        if options:
            raise ValueError(f"env lbf has no condition {sorted(options)} to change (no health in this game)")

    def state_dict(self) -> Mapping[str, Any]:
        """Every game's field, players, clock and random stream; the same whatever the number of workers."""
        return {"task": self.task, "games": self.games.save()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` gave.

        Raises:
            ValueError: it is of another task or number of games; then nothing has changed.
        """
        task, games = state.get("task", self.task), state.get("games", ())
        if task != self.task or len(games) != self.num_envs:
            raise ValueError(
                f"these are {self.num_envs} games of {self.task}; the saved state holds {len(games)} of {task}"
            )
        self.games.load(games)

    def close(self) -> None:
        """Close every game and end the workers."""
        self.games.close()


def check_task(task: str) -> None:
    """Refuse a task that is not registered."""
    known = [name for name in gymnasium.registry if name.startswith("Foraging")]
    if task not in known:
        nearest = ", ".join(difflib.get_close_matches(task, known, 3)) or "Foraging-8x8-2p-3f-v3"
        raise ValueError(f"env.task={task!r} is not an LBF task; nearest: {nearest} (sizes 5 to 19, 2 to 9 players)")


def game_seeds(seed: int, num_envs: int) -> list[int]:
    """A seed for every game.

    Raises:
        ValueError: the seed is no whole number.
    """
    seed = whole("seed", seed)
    return [derive_seed(seed, f"lbf game {index}") % 2**32 for index in range(num_envs)]


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
