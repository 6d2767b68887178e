"""What the agents see: their observations and action masks, and the order in which everything is written.

The layout is that of ``get_obs_agent`` of the genuine packages; quirks 1 to 7 and 10 to 13 of
tests/golden/data/README.md apply. Computed in float64 from the float32 unit values, stored as float32.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ibal_lightning.envs.skirmish.abilities import shown_health, write_abilities
from ibal_lightning.envs.skirmish.kernel import part, thin
from ibal_lightning.envs.skirmish.masks import widen_mask, write_mask
from ibal_lightning.envs.skirmish.memory import Memory, Outputs
from ibal_lightning.envs.skirmish.rows import write_allies, write_enemies
from ibal_lightning.envs.skirmish.rules import FIRST_MOVE, N_MOVES, Rules
from ibal_lightning.envs.skirmish.state import Units
from ibal_lightning.envs.skirmish.state_vector import write_state
from ibal_lightning.envs.skirmish.visits import draw_visits, see_game


@thin
def observe_game(rules: Rules, units: Units, memory: Memory, g: int, out: Outputs) -> None:
    """Write obs, state, avail and alive of game g; in SMACv2 this draws the visiting order and moves the flags.

    Call it once after each reset and step. What follows a reset is the second look of the episode (``begin_game``
    took the first): what a PyMARL runner reads when it calls ``get_obs()`` after ``reset()``.
    """
    if rules.second:
        draw_visits(rules, memory, g, 1 if memory.step[g] == 0 else 0)
    look_game(rules, units, memory, g, out)


@thin
def look_game(rules: Rules, units: Units, memory: Memory, g: int, out: Outputs) -> None:
    """``observe_game`` with the visiting order and draws that stand in memory.

    With ``obs_instead_of_state`` the state is one more look, in which SMACv2 wipes less: by now each enemy that
    somebody sees has been seen, so order and draws no longer matter.
    """
    if rules.second:
        see_game(rules, units, memory, g)
    for i in range(rules.n_agents):
        out.alive[g, i] = units.health[g, i] > 0
        write_obs(rules, units, memory, g, i, out.obs[g, i], out.avail[g, i])
    if not rules.obs_instead_of_state:
        write_state(rules, units, memory, g, out.state[g])
        return
    if rules.second:
        see_game(rules, units, memory, g)
    for i in range(rules.n_agents):
        seen = out.state[g, i * rules.obs_dim : (i + 1) * rules.obs_dim]
        write_obs(rules, units, memory, g, i, seen, out.avail[g, i])


@part
def write_obs(
    rules: Rules, units: Units, memory: Memory, g: int, i: int, obs: NDArray[np.float32], avail: NDArray[np.bool_]
) -> None:
    """Write observation (D,) and mask (A,) of agent i; a dead agent sees zeros and, if shown, the clock."""
    for k in range(rules.obs_dim):
        obs[k] = 0.0
    write_mask(rules, units, memory, g, i, avail)
    if rules.obs_timestep_number:
        obs[rules.obs_dim - 1] = memory.step[g] / rules.episode_limit
    if units.health[g, i] > 0 and rules.obs_starcraft:
        for k in range(N_MOVES):
            obs[k] = avail[FIRST_MOVE + k]
        if rules.obs_pathing_grid or rules.obs_terrain_height:
            write_ground(rules, units, g, i, obs)
        write_enemies(rules, units, memory, g, i, obs, avail)
        write_allies(rules, units, memory, g, i, obs)
        write_own(rules, units, memory, g, i, obs)
    if not rules.action_mask:
        widen_mask(rules, units, g, i, avail)


@part
def write_ground(rules: Rules, units: Units, g: int, i: int, obs: NDArray[np.float32]) -> None:
    """Pathing of 8 and height of 9 surrounding points (the last one's own); 1 outside the map."""
    column, row, step = int(units.x[g, i]), int(units.y[g, i]), int(rules.move_amount)
    at = N_MOVES
    if rules.obs_pathing_grid:
        for k in range(8):
            x, y = surrounding_point(column, row, step, k)
            inside = 0 <= x < rules.map_x and 0 <= y < rules.map_y
            obs[at + k] = np.float32(rules.pathing[y, x]) if inside else np.float32(1.0)
        at += 8
    if rules.obs_terrain_height:
        for k in range(9):
            x, y = surrounding_point(column, row, step, k)
            inside = 0 <= x < rules.map_x and 0 <= y < rules.map_y
            obs[at + k] = rules.height[y, x] if inside else 1.0


@part
def surrounding_point(x: int, y: int, step: int, k: int) -> tuple[int, int]:
    """The k-th cell around (x, y): two steps N, S, E, W, one step NE, SW, SE, NW, then the cell itself."""
    if k < 2:
        return x, y + (2 * step if k == 0 else -2 * step)
    if k < 4:
        return x + (2 * step if k == 2 else -2 * step), y
    if k == 8:
        return x, y
    return x + (step if k == 4 or k == 6 else -step), y + (step if k == 4 or k == 7 else -step)


@part
def write_own(rules: Rules, units: Units, memory: Memory, g: int, i: int, obs: NDArray[np.float32]) -> None:
    """The last block: health, shield, attack probability, health level, position, view, type one-hot."""
    at, kind = rules.own_start, units.kind[g, i]
    if rules.obs_own_health:
        obs[at] = shown_health(rules, units, memory, g, i)
        at += 1
        if rules.ally_shield:
            obs[at] = units.shield[g, i] / rules.max_shield[kind]
            at += 1
    at = write_abilities(rules, memory, g, i, obs, at)
    if rules.obs_own_pos:
        obs[at] = np.float64(units.x[g, i]) / rules.map_x
        obs[at + 1] = np.float64(units.y[g, i]) / rules.map_y
        at += 2
    if rules.conic_fov:
        obs[at] = memory.fov[g, i, 0]
        obs[at + 1] = memory.fov[g, i, 1]
        at += 2
    if rules.type_bits > 0:
        obs[at + rules.ally_bit[kind]] = 1.0
