"""The genuine game of ``lbforaging``, its two slowest views written anew: what players see and what they may do.

The package gathers both cell by cell and checks every observation against its space, which takes three quarters of a
step. Rules and random numbers are the package's own; the views are tested to equal its views.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from lbforaging.foraging.environment import Action, ForagingEnv
from numpy.typing import NDArray

ACTIONS = tuple(Action)
NOTHING = (-1, -1, 0)  # row, column and level of a food or player that is not seen


class Foraging(ForagingEnv):
    """One game, bare of wrappers. Players see rows, columns and levels, as in all registered tasks."""

    legal: list[list[bool]]  # (N, A)

    @classmethod
    def make(cls, task: str) -> Foraging:
        """A game of a registered task."""
        return cls(**gymnasium.spec(task).kwargs)

    def _gen_valid_moves(self) -> None:
        field = self.field.tolist()
        self.legal = [legal_actions(field, *player.position) for player in self.players]
        self._valid_actions = {
            player: [action for action, allowed in zip(ACTIONS, legal, strict=True) if allowed]
            for player, legal in zip(self.players, self.legal, strict=True)
        }

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


def legal_actions(field: Sequence[Sequence[int]], row: int, column: int) -> list[bool]:
    """(A,) whether a player may stay, go north, south, west and east, where no food lies, and load, beside food."""
    height, width, beside = len(field), len(field[0]), False
    legal = [True]
    for r, c in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
        inside = 0 <= r < height and 0 <= c < width
        food = inside and field[r][c] > 0
        beside = beside or food
        legal.append(inside and not food)
    return [*legal, beside]
