"""What happened in each game loop of chosen games, for whoever wants to watch a battle.

    recorder = env.record([0, 5])         # of SMAC and SMACv2 on the embedded engine
    ...                                   # reset and step as usual
    frames = recorder.frames(5)           # (L, U) FRAME: frames["x"], frames["damage"], ...
    env.record([])                        # no more

A recorded step stops after each loop for a look; without a recorder nothing is done that would not be done anyway.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

# One unit in one loop. Positions in map units; orders as numbered in ``battle``; targets are unit indices, -1 nobody.
FRAME = np.dtype(
    [
        ("kind", np.int8),  # index into ``state.KINDS``
        ("alive", np.bool_),
        ("x", np.float32),
        ("y", np.float32),
        ("face_x", np.float32),  # unit vector
        ("face_y", np.float32),
        ("health", np.float32),
        ("shield", np.float32),
        ("energy", np.float32),
        ("order", np.int8),  # IDLE, MOVING, ATTACKING, HEALING or ADVANCING
        ("order_target", np.int16),  # unit of ATTACKING or HEALING
        ("order_x", np.float32),  # point of MOVING or ADVANCING
        ("order_y", np.float32),
        ("target", np.int16),  # unit being fought or healed
        ("damage", np.float32),  # health and shield that this unit's weapon took from others in this loop
    ]
)
COPIED = [name for name in FRAME.names or () if name not in ("alive", "damage")]


class Recorder:
    """The frames of the current, or just ended, episode of some games.

    Args:
        fighters: (B, U) of the engine, which calls ``begin`` and ``look``.
        games: indices of the games to record.

    Raises:
        ValueError: a game that does not exist.
    """

    def __init__(self, fighters: NDArray[np.void], games: Iterable[int]) -> None:
        games = [check_game(game, len(fighters)) for game in games]
        self._fighters = fighters
        self._frames: dict[int, list[NDArray[np.void]]] = {game: [] for game in games}
        fighters["dealt"][games] = 0.0  # of loops that nobody recorded

    def frames(self, game: int) -> NDArray[np.void]:
        """(L, U) FRAME: the episode's start, then one row a game loop; units are allies by agent id, then enemies.

        Row 8 t shows the battle as the agents are shown it after t steps. A recorder that comes after the start has no
        row of it.

        Raises:
            ValueError: the game is not recorded.
        """
        if game not in self._frames:
            raise ValueError(f"Game {game} is not recorded, but {sorted(self._frames)}")
        return np.array(self._frames[game], FRAME).reshape(-1, self._fighters.shape[1])

    def begin(self, chosen: NDArray[np.bool_]) -> None:
        """New episodes have begun in the games of ``chosen`` (B,)."""
        for game in self._frames:
            if chosen[game]:
                self._frames[game].clear()
        self.look(chosen)

    def look(self, playing: NDArray[np.bool_]) -> None:
        """Note one frame of the recorded games among ``playing`` (B,), and count their damage anew."""
        for game, frames in self._frames.items():
            if playing[game]:
                fighters, frame = self._fighters[game], np.zeros(self._fighters.shape[1], FRAME)
                for name in COPIED:
                    frame[name] = fighters[name]
                frame["alive"], frame["damage"] = fighters["health"] > 0, fighters["dealt"]
                fighters["dealt"] = 0.0
                frames.append(frame)


def check_game(game: Any, num_envs: int) -> int:
    """The index of one of B games.

    Raises:
        ValueError: there is no such game.
    """
    try:
        index = operator.index(game)
    except TypeError:
        index = -1
    if not 0 <= index < num_envs:
        raise ValueError(f"Game {game} cannot be recorded; games are 0 to {num_envs - 1}")
    return index
