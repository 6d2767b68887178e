"""How units turn, walk, avoid and push one another (ENGINE_RULES rules 11 to 14)."""

from __future__ import annotations

import math

import numpy as np

from ibal_lightning.envs.skirmish.battle import Fighters, World
from ibal_lightning.envs.skirmish.catalogue import MAP_CELLS
from ibal_lightning.envs.skirmish.kernel import part
from ibal_lightning.envs.skirmish.stats import GROUND

# Rule 12: 999.84 degrees a data second (units.json) are 62.49 a loop; no step beyond 92 degrees.
TURN_COS, TURN_SIN = math.cos(math.radians(999.84 / 16)), math.sin(math.radians(999.84 / 16))
STAND_COS = math.cos(math.radians(92))
AIM_COS = math.cos(0.2)  # rule 12: shooting needs the target within 0.2 rad
# Rule 14: headings tried around an obstacle, 15 degrees apart up to 120.
N_HEADINGS = 8
HEADING_COS, HEADING_SIN = math.cos(math.radians(15)), math.sin(math.radians(15))
ARRIVED = 0.05  # rule 11: a move order ends this close to its point


@part
def turn(w: World, f: Fighters, i: int, x: float, y: float) -> float:
    """Turn unit i towards the unit vector (x, y) and return the part of its speed that it may walk (rule 12)."""
    ahead = f[i].face_x * x + f[i].face_y * y
    if not w.switches.turning or ahead >= TURN_COS:
        f[i].face_x, f[i].face_y = x, y
        return 1.0
    sine = TURN_SIN if f[i].face_x * y - f[i].face_y * x >= 0 else -TURN_SIN
    face_x, face_y = f[i].face_x, f[i].face_y
    f[i].face_x = face_x * TURN_COS - face_y * sine
    f[i].face_y = face_x * sine + face_y * TURN_COS
    return 0.5 if ahead >= STAND_COS else 0.0


@part
def aims_at(w: World, f: Fighters, i: int, j: int) -> bool:
    """Turn unit i towards unit j; whether it now looks at it closely enough to shoot (rule 12)."""
    dx, dy = f[j].x - f[i].x, f[j].y - f[i].y
    length = math.sqrt(dx * dx + dy * dy)
    if length < 1e-6:
        return True
    turn(w, f, i, dx / length, dy / length)
    return f[i].face_x * dx + f[i].face_y * dy >= AIM_COS * length


@part
def is_ground(w: World, layer: int, x: float, y: float) -> bool:
    """Whether a unit of that layer may stand at (x, y): inside the map, and on walkable ground unless it strides over
    cliffs (colossi) or flies."""
    if not (0.0 <= x < MAP_CELLS and 0.0 <= y < MAP_CELLS):
        return False
    return layer != GROUND or w.terrain.open[int(y), int(x)] != 0


@part
def runs_into(w: World, f: Fighters, i: int, j: int, x: float, y: float) -> bool:
    """Whether unit i, stepping to (x, y), comes closer to unit j than the inner radii allow (rule 14).

    Stepping away from an overlap is allowed.
    """
    dx, dy = f[j].x - x, f[j].y - y
    reach = w.kinds[f[i].kind].inner + w.kinds[f[j].kind].inner
    after = dx * dx + dy * dy
    if after >= reach * reach or f[j].health <= 0 or w.kinds[f[j].kind].layer != w.kinds[f[i].kind].layer:
        return False
    dx, dy = f[j].x - f[i].x, f[j].y - f[i].y
    return after < dx * dx + dy * dy


@part
def is_blocked(w: World, f: Fighters, i: int, x: float, y: float) -> bool:
    """Whether unit i, stepping to (x, y), would run into a unit of the other side, or, by a switch, into a fighting one
    of its own (rule 14)."""
    first, last = (w.n_agents, w.n_units) if i < w.n_agents else (0, w.n_agents)
    for j in range(first, last):
        if runs_into(w, f, i, j, x, y):
            return True
    if w.switches.own_fighters_block:
        first, last = (0, w.n_agents) if i < w.n_agents else (w.n_agents, w.n_units)
        for j in range(first, last):
            if f[j].fighting and j != i and runs_into(w, f, i, j, x, y):
                return True
    return False


@part
def is_free(w: World, f: Fighters, i: int, x: float, y: float) -> bool:
    """Whether unit i may step to (x, y)."""
    if not is_ground(w, w.kinds[f[i].kind].layer, x, y):
        return False
    return not w.switches.blocking or not is_blocked(w, f, i, x, y)


@part
def step_around(w: World, f: Fighters, i: int, x: float, y: float) -> None:
    """Take the step (x, y), or the first free one of headings 15 to 120 degrees beside it (rule 14)."""
    side = f[i].side
    cosine, sine = 1.0, 0.0
    for k in range(2 * N_HEADINGS + 1):
        # k = 0 is straight on; then each angle to the side last used and to the other one.
        turn_sine = sine * side if k % 2 == 1 else -sine * side
        # Rounded as it will be stored, or a step could round onto the cell behind the one that was tested.
        to_x = np.float32(f[i].x + x * cosine - y * turn_sine)
        to_y = np.float32(f[i].y + x * turn_sine + y * cosine)
        if is_free(w, f, i, to_x, to_y):
            f[i].x, f[i].y = to_x, to_y
            if k > 0 and k % 2 == 0:
                f[i].side = -side
            return
        if k % 2 == 0:
            cosine, sine = cosine * HEADING_COS - sine * HEADING_SIN, sine * HEADING_COS + cosine * HEADING_SIN


@part
def step_towards(w: World, f: Fighters, i: int, x: float, y: float) -> None:
    """One loop of walking straight to (x, y), with instant acceleration (rule 12)."""
    dx, dy = x - f[i].x, y - f[i].y
    length = math.sqrt(dx * dx + dy * dy)
    speed = w.kinds[f[i].kind].speed
    if length < 1e-6 or speed <= 0:
        return
    pace = min(speed, length) * turn(w, f, i, dx / length, dy / length)
    if pace > 0:
        step_around(w, f, i, dx / length * pace, dy / length * pace)


@part
def walk(w: World, f: Fighters, i: int, x: float, y: float) -> None:
    """One loop of walking to (x, y) on the shortest path around cliffs."""
    t = w.terrain
    if t.direct or not w.switches.path_finding or w.kinds[f[i].kind].layer != GROUND:
        step_towards(w, f, i, x, y)
        return
    goal = t.anchor[cell_of(x, y)]
    corner = t.waypoint[goal, t.anchor[cell_of(f[i].x, f[i].y)]]
    if corner != goal and corner >= 0:
        x, y = corner % MAP_CELLS + 0.5, corner // MAP_CELLS + 0.5
    step_towards(w, f, i, x, y)


@part
def cell_of(x: float, y: float) -> int:
    """Index of the cell that holds (x, y), clamped to the map."""
    column = min(max(int(x), 0), MAP_CELLS - 1)
    return min(max(int(y), 0), MAP_CELLS - 1) * MAP_CELLS + column


@part
def has_arrived(w: World, f: Fighters, i: int, tolerance: float) -> bool:
    """Whether unit i stands within ``tolerance`` of the point of its order."""
    dx = f[i].order_x - f[i].x
    dy = f[i].order_y - f[i].y
    return dx * dx + dy * dy <= tolerance * tolerance


@part
def shove(w: World, f: Fighters, i: int, dx: float, dy: float) -> None:
    """Push unit i aside unless cliffs or the map's edge are in the way."""
    x, y = np.float32(f[i].x + dx), np.float32(f[i].y + dy)
    if is_ground(w, w.kinds[f[i].kind].layer, x, y):
        f[i].x, f[i].y = x, y


@part
def push_apart(w: World, f: Fighters, i: int, j: int) -> bool:
    """Push two overlapping units half the overlap each; whether they did overlap (rule 14)."""
    dx, dy = f[j].x - f[i].x, f[j].y - f[i].y
    reach = w.kinds[f[i].kind].separation + w.kinds[f[j].kind].separation
    squared = dx * dx + dy * dy
    if squared >= reach * reach or w.kinds[f[i].kind].layer != w.kinds[f[j].kind].layer:
        return False
    length = math.sqrt(squared)
    half = 0.5 * (reach - length)
    away_x, away_y = (dx / length, dy / length) if length > 1e-6 else (1.0, 0.0)
    shove(w, f, i, -half * away_x, -half * away_y)
    shove(w, f, j, half * away_x, half * away_y)
    return True


@part
def separate_side(w: World, f: Fighters, first: int, last: int) -> bool:
    """One pass over the pairs of one side without a fighter in them; whether any overlapped (rule 14)."""
    moved = False
    for i in range(first, last):
        if f[i].health <= 0 or f[i].fighting:
            continue
        for j in range(i + 1, last):
            if f[j].health > 0 and not f[j].fighting:
                moved |= push_apart(w, f, i, j)
    return moved


@part
def separate(w: World, f: Fighters, passes: int) -> None:
    """Up to ``passes`` passes of overlap removal on each side."""
    for side in range(2):
        first, last = (0, w.n_agents) if side == 0 else (w.n_agents, w.n_units)
        for _ in range(passes):
            if not separate_side(w, f, first, last):
                break
