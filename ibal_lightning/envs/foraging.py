"""The genuine game of ``lbforaging``, its two slowest views written anew: what players see and what they may do.

The package gathers both cell by cell and checks every observation against its space, which takes more than half of a
step. Rules and random numbers are the package's own; the views are tested to equal its views.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import load_env_creator
from lbforaging.foraging.environment import Action, ForagingEnv
from numpy.typing import NDArray

MOVES = {Action.NORTH: (-1, 0), Action.SOUTH: (1, 0), Action.WEST: (0, -1), Action.EAST: (0, 1)}
NOTHING = (-1, -1, 0)  # row, column and level of a food or player that is not seen


def make_foraging(task: str) -> ForagingEnv:
    """A game of a registered task, bare of wrappers; a class of the user's own keeps its views.

    Raises:
        ValueError: its players do not see rows, columns and levels.
    """
    spec = gymnasium.spec(task)
    if spec.kwargs.get("grid_observation", False) or not spec.kwargs.get("observe_agent_levels", True):
        raise ValueError(
            f"env.task={task!r}: only tasks whose players see rows, columns and levels are supported "
            "(grid_observation=False, observe_agent_levels=True)"
        )
    entry = spec.entry_point
    if (load_env_creator(entry) if isinstance(entry, str) else entry) is ForagingEnv:
        return Foraging(**spec.kwargs)
    game = gymnasium.make(task, disable_env_checker=True).unwrapped
    assert isinstance(game, ForagingEnv)
    return game


class Foraging(ForagingEnv):
    """The package's game with faster views."""

    def _gen_valid_moves(self) -> None:
        field = self.field.tolist()
        self._valid_actions = {player: valid_actions(field, *player.position) for player in self.players}

    def _make_gym_obs(self) -> NDArray[np.float32]:
        """(N, O)."""
        rows, columns = self.field.nonzero()
        foods = list(zip(rows.tolist(), columns.tolist(), self.field[rows, columns].tolist(), strict=True))
        return np.array([self._seen_by(player, foods) for player in self.players], np.float32)

    def _seen_by(self, player: Any, foods: Sequence[tuple[int, int, int]]) -> list[int]:
        """(O,) foods in reading order, the player, then the others, as the package counts within its sight."""
        row, column = player.position
        sight, top, left = self.sight, max(row - self.sight, 0), max(column - self.sight, 0)
        near = [
            (r - top, c - left, level)
            for r, c, level in foods
            if top <= r <= row + sight and left <= c <= column + sight
        ]
        near += [NOTHING] * (self.max_num_food - len(near))
        for other in (player, *(p for p in self.players if p is not player)):
            r, c = other.position[0] - top, other.position[1] - left
            if 0 <= r <= 2 * sight and 0 <= c <= 2 * sight:  # near an edge farther than food is seen
                near.append((r, c, other.level))
        near += [NOTHING] * (self.max_num_food + len(self.players) - len(near))
        return [value for entity in near for value in entity]


def valid_actions(field: Sequence[Sequence[int]], row: int, column: int) -> list[Action]:
    """What a player may do there, in the order of ``Action``: stay, go where no food lies, load beside food."""
    height, width, valid, beside = len(field), len(field[0]), [Action.NONE], False
    for action, (down, right) in MOVES.items():
        r, c = row + down, column + right
        if 0 <= r < height and 0 <= c < width:
            if field[r][c] > 0:
                beside = True
            else:
                valid.append(action)
    return [*valid, Action.LOAD] if beside else valid
