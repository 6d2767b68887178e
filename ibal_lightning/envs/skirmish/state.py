"""The unit arrays that every part of the battle engine shares.

U = n_agents + n_enemies: allies first in agent-id order, then enemies in the slot order of the episode.
Values are float32 because that is what the game's protocol carries; the functions compute in float64.
A dead unit has health 0 and keeps every other value as it was when it was last reported.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Alphabetical, which is also the order in which SMAC numbers its custom ally types.
KINDS = (
    "baneling",
    "colossus",
    "hydralisk",
    "marauder",
    "marine",
    "medivac",
    "spinecrawler",
    "stalker",
    "zealot",
    "zergling",
)

# Ability ids of the commands that the SMAC interface sends.
NO_COMMAND, STOP, MOVE, ATTACK, HEAL = 0, 4, 16, 23, 386


class Units(NamedTuple):
    """What the game reports of every unit, all (B, U)."""

    kind: NDArray[np.int8]  # index into KINDS
    x: NDArray[np.float32]  # map units, to the east
    y: NDArray[np.float32]  # map units, to the north
    health: NDArray[np.float32]
    health_max: NDArray[np.float32]
    shield: NDArray[np.float32]
    shield_max: NDArray[np.float32]
    energy: NDArray[np.float32]  # medivacs only, 0..200
    cooldown: NDArray[np.float32]  # weapon cooldown in game loops
    prev_health: NDArray[np.float32]  # at the end of the previous env step
    prev_shield: NDArray[np.float32]


class Commands(NamedTuple):
    """One command an agent and env step, all (B, n_agents)."""

    ability: NDArray[np.int16]  # NO_COMMAND (keep the current order), STOP, MOVE, ATTACK or HEAL
    target: NDArray[np.int16]  # enemy slot for ATTACK, ally id for HEAL, else -1
    x: NDArray[np.float32]  # MOVE target
    y: NDArray[np.float32]


def allocate_units(num_envs: int, n_units: int) -> Units:
    """Zeroed unit arrays for B games of U units."""
    shape = (num_envs, n_units)
    return Units(np.zeros(shape, np.int8), *(np.zeros(shape, np.float32) for _ in range(10)))


def allocate_commands(num_envs: int, n_agents: int) -> Commands:
    """Command arrays for B games of n agents."""
    shape = (num_envs, n_agents)
    ability, target = np.zeros(shape, np.int16), np.full(shape, -1, np.int16)
    return Commands(ability, target, np.zeros(shape, np.float32), np.zeros(shape, np.float32))
