"""Several genuine Level-Based Foraging games side by side, as arrays; in this process or in a worker's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from lbforaging.foraging.environment import Action, ForagingEnv
from numpy.typing import NDArray

from ibal_lightning.envs.foraging import make_foraging

ACTIONS = tuple(Action)


class Field(NamedTuple):
    """What G games show after a reset or a step."""

    obs: NDArray[np.float32]  # (G, N, O)
    avail: NDArray[np.bool_]  # (G, N, A)
    reward: NDArray[np.float32]  # (G,)
    terminated: NDArray[np.bool_]  # (G,) all food is eaten
    truncated: NDArray[np.bool_]  # (G,) the time limit came

    @classmethod
    def empty(cls, game: ForagingEnv, count: int) -> Field:
        """Room for ``count`` games like this one."""
        obs_dim = 3 * (game.max_num_food + game.n_agents)
        return cls(
            np.zeros((count, game.n_agents, obs_dim), np.float32),
            np.zeros((count, game.n_agents, len(Action)), bool),
            np.zeros(count, np.float32),
            np.zeros(count, bool),
            np.zeros(count, bool),
        )


class LbfGames:
    """One game a seed, stepped one after the other; a game that is over waits for its reset.

    The package's checkers and wrappers are left out.
    """

    def __init__(self, task: str, seeds: Sequence[int]) -> None:
        self.games = [make_foraging(task) for _ in seeds]
        self.seed(dict(enumerate(seeds)))
        self.shown = Field.empty(self.games[0], len(seeds))

    def seed(self, seeds: Mapping[int, int]) -> None:
        """Restart the random streams of games (index -> seed), which are to be reset then.

        Players leave the board first: the package keeps the cells where they stood free in the next episode.
        """
        for index, seed in seeds.items():
            game = self.games[index]
            for player in game.players:
                player.position = None
            game.reset(seed=seed)

    def reset(self, games: Sequence[int]) -> Field:
        """Start new episodes in these games."""
        for index in games:
            obs, _ = self.games[index].reset()
            self._write(index, obs, 0.0, False, False)
        return self.shown

    def step(self, actions: Sequence[Sequence[int]]) -> Field:
        """One step of every game that is not over with legal actions (G, N)."""
        self.shown.reward[:] = 0.0
        for index in np.flatnonzero(~(self.shown.terminated | self.shown.truncated)).tolist():
            game = self.games[index]
            obs, rewards, over, _, _ = game.step(actions[index])
            eaten = not game.field.any()
            self._write(index, obs, float(sum(rewards)), eaten, over and not eaten)
        return self.shown

    def _write(self, index: int, obs: Any, reward: float, terminated: bool, truncated: bool) -> None:
        shown, game = self.shown, self.games[index]
        shown.obs[index] = obs
        shown.reward[index], shown.terminated[index], shown.truncated[index] = reward, terminated, truncated
        shown.avail[index] = [[action in game._valid_actions[player] for action in ACTIONS] for player in game.players]

    def save(self) -> list[dict[str, Any]]:
        """Every game's field, players, clock, end and random stream, as plain values."""
        ends = zip(self.games, self.shown.terminated.tolist(), self.shown.truncated.tolist(), strict=True)
        return [{**game_state(game), "terminated": done, "truncated": cut} for game, done, cut in ends]

    def load(self, states: Sequence[Mapping[str, Any]]) -> Field:
        """Restore what ``save`` gave."""
        for index, (game, saved) in enumerate(zip(self.games, states, strict=True)):
            restore_game(game, saved)
            self._write(index, game._make_gym_obs(), 0.0, saved["terminated"], saved["truncated"])
        return self.shown

    def get_env_info(self) -> dict[str, Any]:
        """What a worker says once it is ready: nothing that its owner does not know."""
        return {}

    def close(self) -> None:
        """Close every game."""
        for game in self.games:
            game.close()


def answer(games: LbfGames, request: tuple[str, Any]) -> Any:
    """A worker's answer to (name of a method, its argument)."""
    name, argument = request
    return games.save() if name == "save" else getattr(games, name)(argument)


def game_state(game: ForagingEnv) -> dict[str, Any]:
    """All that a game's future depends on."""
    return {
        "field": game.field.tolist(),
        "spawned": float(game._food_spawned),
        "step": int(game.current_step),
        "players": [[int(p.position[0]), int(p.position[1]), int(p.level)] for p in game.players],
        "random": json.dumps(game.np_random.bit_generator.state),  # 128-bit integers, kept as text
    }


def restore_game(game: ForagingEnv, saved: Mapping[str, Any]) -> None:
    """Put a game back into a saved state."""
    game.field = np.array(saved["field"], dtype=game.field.dtype)
    game._food_spawned, game.current_step = saved["spawned"], saved["step"]
    for player, (row, column, level) in zip(game.players, saved["players"], strict=True):
        player.setup((row, column), level, game.field_size)
    game.np_random.bit_generator.state = json.loads(saved["random"])
    game._gen_valid_moves()
