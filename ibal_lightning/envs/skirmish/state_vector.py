"""The global state: ally rows, enemy rows, last actions, clock (``get_state`` of the genuine packages).

Row of an ally: health, cooldown or energy, x, y, shield, attack probability, health level, view, type one-hot (always
at the end).
Row of an enemy: health, x, y, shield, type one-hot. Positions count from the centre, in map extents. The dead are zero.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ibal_lightning.envs.skirmish.abilities import shown_health, write_abilities
from ibal_lightning.envs.skirmish.kernel import part
from ibal_lightning.envs.skirmish.masks import is_healer
from ibal_lightning.envs.skirmish.memory import Memory
from ibal_lightning.envs.skirmish.rules import Rules
from ibal_lightning.envs.skirmish.state import Units


@part
def write_state(rules: Rules, units: Units, memory: Memory, g: int, state: NDArray[np.float32]) -> None:
    """Write state (S,) of game g."""
    for k in range(rules.state_dim):
        state[k] = 0.0
    for i in range(rules.n_agents):
        if units.health[g, i] > 0:
            write_ally(rules, units, memory, g, i, state)
    at = rules.n_agents * rules.state_ally_width
    for e in range(rules.n_enemies):
        if units.health[g, rules.n_agents + e] > 0:
            write_enemy(rules, units, g, rules.n_agents + e, state, at + e * rules.state_enemy_width)
    at += rules.n_enemies * rules.state_enemy_width
    if rules.state_last_action:
        for i in range(rules.n_agents):
            if memory.last_actions[g, i] >= 0:
                state[at + i * rules.n_actions + memory.last_actions[g, i]] = 1.0
    if rules.state_timestep_number:
        state[rules.state_dim - 1] = memory.step[g] / rules.episode_limit


@part
def write_ally(rules: Rules, units: Units, memory: Memory, g: int, i: int, state: NDArray[np.float32]) -> None:
    """Row of a living ally."""
    at, kind = i * rules.state_ally_width, units.kind[g, i]
    busy = units.energy[g, i] if is_healer(rules, units, g, i) else units.cooldown[g, i]
    state[at] = shown_health(rules, units, memory, g, i)
    state[at + 1] = busy / rules.max_cooldown[kind]
    state[at + 2] = (units.x[g, i] - rules.map_x / 2) / rules.max_distance_x
    state[at + 3] = (units.y[g, i] - rules.map_y / 2) / rules.max_distance_y
    at += 4
    if rules.ally_shield:
        state[at] = units.shield[g, i] / rules.max_shield[kind]
        at += 1
    at = write_abilities(rules, memory, g, i, state, at)
    if rules.conic_fov:
        state[at] = memory.fov[g, i, 0]
        state[at + 1] = memory.fov[g, i, 1]
        at += 2
    if rules.type_bits > 0:
        state[at + rules.ally_bit[kind]] = 1.0


@part
def write_enemy(rules: Rules, units: Units, g: int, slot: int, state: NDArray[np.float32], at: int) -> None:
    """Row of a living enemy from ``at`` on."""
    kind = units.kind[g, slot]
    state[at] = np.float64(units.health[g, slot]) / units.health_max[g, slot]
    state[at + 1] = (units.x[g, slot] - rules.map_x / 2) / rules.max_distance_x
    state[at + 2] = (units.y[g, slot] - rules.map_y / 2) / rules.max_distance_y
    at += 3
    if rules.enemy_shield:
        state[at] = units.shield[g, slot] / rules.max_shield[kind]
        at += 1
    if rules.type_bits > 0:
        state[at + rules.enemy_bit[kind]] = 1.0
