"""The rows of one agent's observation that describe other units.

Row of an enemy: may be targeted, distance, relative x, relative y, health, shield, type one-hot.
Row of an ally: visible, distance, relative x, relative y, health, shield, attack probability, health level, type
one-hot, last action.
Distances are divided by the observer's sight range. The row of a unit that is not seen stays zero.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ibal_lightning.envs.skirmish.abilities import shown_health
from ibal_lightning.envs.skirmish.kernel import part
from ibal_lightning.envs.skirmish.masks import in_view
from ibal_lightning.envs.skirmish.memory import Memory
from ibal_lightning.envs.skirmish.rules import Rules
from ibal_lightning.envs.skirmish.state import Units


@part
def write_enemies(
    rules: Rules, units: Units, memory: Memory, g: int, i: int, obs: NDArray[np.float32], avail: NDArray[np.bool_]
) -> None:
    """Rows of the living enemies in view that SMACv2 does not wipe; a healer's first bit is about its own target e."""
    x, y = np.float64(units.x[g, i]), np.float64(units.y[g, i])
    sight = rules.sight[units.kind[g, i]]
    for e in range(memory.first_row[g, i], rules.n_enemies):
        slot = rules.n_agents + e
        if units.health[g, slot] > 0:
            dx, dy = units.x[g, slot] - x, units.y[g, slot] - y
            distance = math.sqrt(dx * dx + dy * dy)
            if rules.fully_observable or in_view(rules, memory, g, i, sight, dx, dy, distance):
                at = rules.enemy_start + e * rules.enemy_width
                obs[at] = avail[rules.n_actions_no_attack + e]
                obs[at + 1] = distance / sight
                obs[at + 2] = dx / sight
                obs[at + 3] = dy / sight
                if not memory.enemy_hidden[g, i, e]:
                    write_enemy_traits(rules, units, g, slot, obs, at + 4)


@part
def write_enemy_traits(rules: Rules, units: Units, g: int, slot: int, obs: NDArray[np.float32], at: int) -> None:
    """Health, shield and type of an enemy from column ``at`` on."""
    kind = units.kind[g, slot]
    if rules.obs_all_health:
        obs[at] = np.float64(units.health[g, slot]) / units.health_max[g, slot]
        at += 1
        if rules.enemy_shield:
            obs[at] = units.shield[g, slot] / rules.max_shield[kind]
            at += 1
    if rules.type_bits > 0:
        obs[at + rules.enemy_bit[kind]] = 1.0


@part
def write_allies(rules: Rules, units: Units, memory: Memory, g: int, i: int, obs: NDArray[np.float32]) -> None:
    """Rows of the living teammates in view, in ascending id without the agent itself."""
    x, y = np.float64(units.x[g, i]), np.float64(units.y[g, i])
    sight = rules.sight[units.kind[g, i]]
    for j in range(rules.n_agents):
        if j != i and units.health[g, j] > 0:
            dx, dy = units.x[g, j] - x, units.y[g, j] - y
            distance = math.sqrt(dx * dx + dy * dy)
            if rules.fully_observable or in_view(rules, memory, g, i, sight, dx, dy, distance):
                at = rules.ally_start + (j if j < i else j - 1) * rules.ally_width
                obs[at] = 1.0
                obs[at + 1] = distance / sight
                obs[at + 2] = dx / sight
                obs[at + 3] = dy / sight
                write_ally_traits(rules, units, memory, g, j, obs, at + 4)


@part
def write_ally_traits(
    rules: Rules, units: Units, memory: Memory, g: int, j: int, obs: NDArray[np.float32], at: int
) -> None:
    """Health, shield, what was drawn for it, type and last action of ally j from column ``at`` on."""
    kind = units.kind[g, j]
    if rules.obs_all_health:
        obs[at] = shown_health(rules, units, memory, g, j) if rules.observe_health else 0.0
        at += 1
        if rules.ally_shield:
            obs[at] = units.shield[g, j] / rules.max_shield[kind]
            at += 1
    if rules.stochastic_attack:
        obs[at] = memory.attack_probability[g, j] if rules.observe_attack else 0.0
        at += 1
    if rules.stochastic_health:
        obs[at] = memory.health_level[g, j] if rules.observe_health else 0.0
        at += 1
    if rules.type_bits > 0 and rules.observe_types:
        obs[at + rules.ally_bit[kind]] = 1.0
    at += rules.type_bits
    if rules.obs_last_action and memory.last_actions[g, j] >= 0:
        obs[at + memory.last_actions[g, j]] = 1.0
