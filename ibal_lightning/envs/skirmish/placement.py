"""Where units stand at the start: the lattice rule, fitted positions, and SMACv2's drawn positions.

Sources: recordings of the real game (the lattice), ENGINE_RULES rule 19 (fitted positions), SMAC.md section 2 (SMACv2).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ibal_lightning.envs.skirmish.battle import FIGHTER, Fighters, World
from ibal_lightning.envs.skirmish.catalogue import MAP_CELLS, Scenario, load_facts
from ibal_lightning.envs.skirmish.kernel import block, kernel, part
from ibal_lightning.envs.skirmish.movement import is_ground
from ibal_lightning.envs.skirmish.rng import uniform
from ibal_lightning.envs.skirmish.state import KINDS
from ibal_lightning.messages import nearest_names

LATTICE_REACH = 12  # unit diameters searched around a point
MAX_SIDE = 441  # points of the lattice, so more units of a side cannot have places of their own
MAX_GROUPS = 4  # of SMACv2's surrounded start
CENTRE, SHIFT = MAP_CELLS / 2, 2.0  # its group points lie between a corner and the centre shifted along a diagonal
WEST, EAST = 8.0, 24.0  # where SMACv2's sides start without start_positions (``_create_new_team``)
SPAWNS = ("lattice", "fitted")


def starting_fighters(w: World, scenario: Scenario, spawn: str) -> Fighters:
    """(U,) fighters in creation order, allies first, where every episode of fixed teams creates them.

    Kinds and positions are all that is set, and nothing where teams are drawn.

    Raises:
        ValueError: another rule than lattice or fitted (rule 19), no fitted positions for this map, or units that find
            no place.
    """
    if spawn not in SPAWNS:
        raise ValueError(f"Unknown spawn {spawn!r}: {nearest_names(spawn, SPAWNS)}")
    f = np.zeros(scenario.n_units, FIGHTER)
    if spawn == "fitted":
        fit = fitted_spawn(scenario)
        f["x"], f["y"] = fit["x"], fit["y"]
    groups = [*scenario.ally_groups, *scenario.enemy_groups]
    if groups:
        f["kind"] = [group.kind for group in groups for _ in range(group.count)]
    if groups and spawn == "lattice":
        f["x"] = [group.x for group in groups for _ in range(group.count)]
        f["y"] = [group.y for group in groups for _ in range(group.count)]
        if homeless := settle(w, f, lattice_offsets()):
            raise ValueError(f"Map {scenario.name!r}: {homeless} units find no place around their spawn points.")
    return f


def check_room(w: World) -> None:
    """Raise ValueError if drawn teams may not find room where the enemies are one group in a corner of the map.

    Tried are teams of the widest kind, and of both: the places of narrow kinds are near the middle, where wide ones
    may stand already.
    """
    drawn = np.unique(w["team_kind"][np.diff(w["team_share"], prepend=0.0) > 0])
    radius = w["kinds"]["radius"][drawn]
    wide, narrow = drawn[radius.argmax()], drawn[radius.argmin()]
    n, f = int(w["n_agents"]), np.zeros(int(w["n_units"]), FIGHTER)
    for last in (wide, narrow):
        f["x"], f["y"] = 0.0, 0.0
        f["x"][:n] = f["y"][:n] = CENTRE
        for side in (f[:n], f[n:]):
            side["kind"] = np.where(np.arange(len(side)) < len(side) / 2, wide, last)
        homeless = settle(w, f, lattice_offsets())
        if homeless:
            raise ValueError(
                f"{n} allies and {len(f) - n} enemies may be more than the map has room for: starting around the "
                f"centre and a corner, {homeless} of them may find no place (n_units and n_enemies)."
            )


def fitted_spawn(scenario: Scenario) -> dict[str, Any]:
    """Positions that the study inferred for four maps: x and y (U,) in creation order, and loops walked before.

    Raises:
        ValueError: a map without fitted positions.
    """
    fits = load_facts("fitted_spawns")["maps"]
    if scenario.name not in fits:
        raise ValueError(f"spawn=fitted has no positions for {scenario.name!r}: use spawn=lattice. Fitted: {[*fits]}")
    x, y = [], []
    for side, groups in (("ally", scenario.ally_groups), ("enemy", scenario.enemy_groups)):
        for group in groups:
            for dx, dy in fits[scenario.name][side][KINDS[group.kind]]:
                x.append(group.x + dx)
                y.append(group.y + dy)
    return {"x": x, "y": y, "initial_loops": fits[scenario.name]["initial_loops"]}


def lattice_offsets() -> NDArray[np.float64]:
    """(M, 2) points of the unit square lattice by distance from the origin, ties counterclockwise from the south.

    Source: recordings of the real game. 30 marines created at one point fill every lattice point up to distance 3 and
    then (1, -3); 11 marines the nine nearest, (0, -2) and (2, 0); 7 all but (-1, -1) and (-1, 1); 3 the origin,
    (0, -1) and (1, 0). Units are created looking south, where the search begins.
    """
    steps = np.arange(-LATTICE_REACH, LATTICE_REACH + 1.0)
    x, y = (axis.reshape(-1) for axis in np.meshgrid(steps, steps, indexing="ij"))
    squared, angle = x * x + y * y, np.arctan2(x, -y) % (2 * np.pi)
    order = np.lexsort((angle, squared))
    order = order[squared[order] <= LATTICE_REACH**2]
    return np.ascontiguousarray(np.stack([x[order], y[order]], axis=1))


@part
def stands_clear(w: World, f: Fighters, i: int, x: float, y: float) -> bool:
    """Whether unit i fits at (x, y) beside the units placed before it, separation radii touching at most."""
    kind = f[i].kind
    if not is_ground(w, w.kinds[kind].layer, x, y):
        return False
    for j in range(i):
        reach = w.kinds[kind].separation + w.kinds[f[j].kind].separation
        dx, dy = f[j].x - x, f[j].y - y
        if dx * dx + dy * dy < reach * reach and w.kinds[f[j].kind].layer == w.kinds[kind].layer:
            return False
    return True


@kernel
def settle(w: World, f: Fighters, offsets: NDArray[np.float64]) -> int:
    """Move each unit, in creation order, to the first free lattice point around where it was asked to stand.

    The pitch is the unit's diameter: .75 for marines, 1 for zealots in the recordings (see ``lattice_offsets``).
    Returns how many found no free point and stay where they were asked to stand.
    """
    homeless = 0
    for i in range(w.n_units):
        homeless += 1
        wanted_x, wanted_y, pitch = f[i].x, f[i].y, 2.0 * w.kinds[f[i].kind].radius
        for k in range(offsets.shape[0]):
            x, y = np.float32(wanted_x + pitch * offsets[k, 0]), np.float32(wanted_y + pitch * offsets[k, 1])
            if stands_clear(w, f, i, x, y):
                f[i].x, f[i].y = x, y
                homeless -= 1
                break
    return homeless


@part
def stand_apart(w: World, f: Fighters) -> None:
    """SMACv2 without ``start_positions``: the allies at a point in the west, the enemies at one in the east."""
    for i in range(w.n_units):
        f[i].x, f[i].y = WEST if i < w.n_agents else EAST, CENTRE


@block
def draw_reflected(w: World, f: Fighters, key: np.uint64, counter: int) -> int:
    """SMACv2 "reflect": allies anywhere in the western half, enemies their mirror images, surplus in the east."""
    n = w.n_agents
    for i in range(n):
        f[i].x = uniform(key, counter) * (CENTRE - 1)
        f[i].y = uniform(key, counter + 1) * MAP_CELLS
        counter += 2
    for i in range(n, w.n_units):
        if i - n < n:
            f[i].x, f[i].y = MAP_CELLS - f[i - n].x, f[i - n].y
        else:
            f[i].x = CENTRE + uniform(key, counter) * CENTRE
            f[i].y = uniform(key, counter + 1) * MAP_CELLS
            counter += 2
    return counter


@part
def nth_unused(used: int, n: int) -> int:
    """The n-th (from 0) of the four diagonals whose bit in ``used`` is not set."""
    for diagonal in range(MAX_GROUPS):
        if not used >> diagonal & 1:
            if n == 0:
                return diagonal
            n -= 1
    return 0


@part
def diagonal_of(key: np.uint64, counter: int, group: int) -> int:
    """The diagonal of a group: the first four draws from ``counter`` on deal four different ones."""
    used, diagonal = 0, 0
    for k in range(group + 1):
        diagonal = nth_unused(used, int(uniform(key, counter + k) * (MAX_GROUPS - k)))
        used |= 1 << diagonal
    return diagonal


@block
def draw_surrounded(w: World, f: Fighters, key: np.uint64, counter: int) -> int:
    """SMACv2 "surrounded": allies at the centre, enemies in 1 to 4 groups on diagonals between it and the corners.

    Every enemy draws a group, which gives the groups' sizes; they are filled one after the other, in creation order.
    """
    n_groups = 1 + int(uniform(key, counter) * MAX_GROUPS)
    for i in range(w.n_agents):
        f[i].x, f[i].y = CENTRE, CENTRE
    first, enemies, placed = counter + 1 + 2 * MAX_GROUPS, w.n_units - w.n_agents, w.n_agents
    for group in range(n_groups):
        near = uniform(key, counter + 1 + group)
        diagonal = diagonal_of(key, counter + 1 + MAX_GROUPS, group)
        east, north = diagonal & 1, diagonal >> 1
        for k in range(enemies):
            if int(uniform(key, first + k) * n_groups) == group:
                f[placed].x = near * (CENTRE + SHIFT * (2 * east - 1)) + (1 - near) * MAP_CELLS * east
                f[placed].y = near * (CENTRE + SHIFT * (2 * north - 1)) + (1 - near) * MAP_CELLS * north
                placed += 1
    return first + enemies
