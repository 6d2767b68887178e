"""Which actions are legal: exactly those on which the genuine packages do not assert.

Positions are float32 as the game reports them; everything is computed in float64, as the packages do.
Sources: ``can_move``, ``get_avail_agent_actions``, ``get_can_shoot``, ``is_position_in_cone``; quirks 1, 2, 12 and 13
of tests/golden/data/README.md.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ibal_lightning.envs.skirmish.kernel import part
from ibal_lightning.envs.skirmish.memory import Memory
from ibal_lightning.envs.skirmish.rules import FIRST_MOVE, MEDIVAC, N_MOVES, Rules
from ibal_lightning.envs.skirmish.state import Units

TINY = 1e-7  # the package's floor for a horizontal difference


@part
def can_move(rules: Rules, x: float, y: float, action: int) -> bool:
    """Whether the cell half a ``move_amount`` ahead is inside the map and pathable; int() truncates towards zero."""
    reach = rules.move_amount / 2
    if action == FIRST_MOVE:
        y += reach
    elif action == FIRST_MOVE + 1:
        y -= reach
    elif action == FIRST_MOVE + 2:
        x += reach
    else:
        x -= reach
    column, row = int(x), int(y)
    return 0 <= column < rules.map_x and 0 <= row < rules.map_y and rules.pathing[row, column] != 0


@part
def in_cone(half_cone: float, view_x: float, view_y: float, dx: float, dy: float) -> bool:
    """SMACv2's cone test on slopes: the view is turned to the target's side first, so some units behind pass."""
    if dx > 0:
        dx, view_x = max(dx, TINY), max(view_x, TINY)
    else:
        dx, view_x = min(dx, -TINY), min(view_x, -TINY)
    return abs(math.atan(dy / dx) - math.atan(view_y / view_x)) < half_cone


@part
def in_view(rules: Rules, memory: Memory, g: int, i: int, sight: float, dx: float, dy: float, distance: float) -> bool:
    """Whether agent i sees a place: sight is exclusive (distance < sight), with a cone inclusive and inside it."""
    if rules.conic_fov:
        return distance <= sight and in_cone(rules.half_cone, memory.fov[g, i, 0], memory.fov[g, i, 1], dx, dy)
    return distance < sight


@part
def is_healer(rules: Rules, units: Units, g: int, i: int) -> bool:
    """Whether agent i heals allies where others attack enemies."""
    return rules.heals and units.kind[g, i] == MEDIVAC


@part
def target_slot(rules: Rules, units: Units, g: int, i: int, target: int) -> int:
    """The unit that target number ``target`` means for agent i, or -1 if it has no such target."""
    if is_healer(rules, units, g, i):
        return target if target < rules.n_agents and units.kind[g, target] != MEDIVAC else -1
    return rules.n_agents + target if target < rules.n_enemies else -1


@part
def in_reach(rules: Rules, units: Units, memory: Memory, g: int, i: int, slot: int) -> bool:
    """The true range test: centre distance at most the attack range, and inside the cone if there is one."""
    dx = np.float64(units.x[g, slot]) - np.float64(units.x[g, i])
    dy = np.float64(units.y[g, slot]) - np.float64(units.y[g, i])
    if math.sqrt(dx * dx + dy * dy) > rules.shoot[units.kind[g, i]]:
        return False
    return not rules.conic_fov or in_cone(rules.half_cone, memory.fov[g, i, 0], memory.fov[g, i, 1], dx, dy)


@part
def write_mask(rules: Rules, units: Units, memory: Memory, g: int, i: int, avail: NDArray[np.bool_]) -> None:
    """Write the actions (A,) of agent i that are legal under the true range test, whatever ``action_mask`` says."""
    alive = units.health[g, i] > 0
    avail[0] = not alive
    avail[1] = alive
    x, y = np.float64(units.x[g, i]), np.float64(units.y[g, i])
    for action in range(FIRST_MOVE, FIRST_MOVE + N_MOVES):
        avail[action] = alive and can_move(rules, x, y, action)
    for action in range(FIRST_MOVE + N_MOVES, rules.n_actions_no_attack):
        avail[action] = alive
    for target in range(rules.n_actions - rules.n_actions_no_attack):
        slot = target_slot(rules, units, g, i, target) if alive else -1
        avail[rules.n_actions_no_attack + target] = (
            slot >= 0 and units.health[g, slot] > 0 and in_reach(rules, units, memory, g, i, slot)
        )


@part
def widen_mask(rules: Rules, units: Units, g: int, i: int, avail: NDArray[np.bool_]) -> None:
    """With ``action_mask=False`` every living target is legal; an order out of range sends no command."""
    for target in range(rules.n_actions - rules.n_actions_no_attack):
        slot = target_slot(rules, units, g, i, target) if units.health[g, i] > 0 else -1
        avail[rules.n_actions_no_attack + target] = slot >= 0 and units.health[g, slot] > 0
