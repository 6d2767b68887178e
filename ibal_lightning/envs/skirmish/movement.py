"""How units turn, walk, avoid and push one another (ENGINE_RULES rules 11 to 14)."""

from __future__ import annotations

import math

import numpy as np

from ibal_lightning.envs.skirmish.battle import Fighters, World
from ibal_lightning.envs.skirmish.catalogue import MAP_CELLS
from ibal_lightning.envs.skirmish.kernel import block, part
from ibal_lightning.envs.skirmish.stats import GROUND

# Rule 12: 999.84 degrees a data second (units.json) are 62.49 a loop; with ``turn_stops`` no step beyond 92 degrees.
TURN_COS, TURN_SIN = math.cos(math.radians(999.84 / 16)), math.sin(math.radians(999.84 / 16))
STAND_COS = math.cos(math.radians(92))
AIM_COS = math.cos(0.2)  # rule 12: shooting needs the target within 0.2 rad
# Rule 14: who stands in the way this far ahead is walked around, turning aside by up to 150 degrees (both inferred).
LOOK, FARTHEST_COS = 3.0, math.cos(math.radians(150))
N_TURNS = 8  # aside, from one obstacle to the next
CLOSER = 1e-3  # walked beyond the edge of a range, so that rounding cannot leave a unit just outside
CLEARANCE = 1e-4  # squared map units that rounding may cost
GRAZING = 1e-6  # map units: a walk along the tangent of who is touched goes on, however rounding puts it
ARRIVED = 0.05  # rule 11: a move order ends this close to its point


@part
def turn(w: World, f: Fighters, i: int, x: float, y: float) -> float:
    """Turn unit i towards the unit vector (x, y) and return the part of its speed that it may walk (rule 12).

    That is all of it: with a lateral acceleration of 46 map units a data second squared (Liberty.SC2Mod) units change
    the way they walk, not the way they face, within a game loop or two (docs/fidelity.md).
    """
    ahead = f[i].face_x * x + f[i].face_y * y
    if not w.switches.turning or ahead >= TURN_COS:
        f[i].face_x, f[i].face_y = x, y
        return 1.0
    sine = TURN_SIN if f[i].face_x * y - f[i].face_y * x >= 0 else -TURN_SIN
    face_x, face_y = f[i].face_x, f[i].face_y
    f[i].face_x = face_x * TURN_COS - face_y * sine
    f[i].face_y = face_x * sine + face_y * TURN_COS
    if not w.switches.turn_stops:
        return 1.0
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
def blocks(w: World, f: Fighters, i: int, j: int) -> bool:
    """Whether unit i has to walk around unit j: one of the other side, or a comrade that fights.

    Rule 14 has comrades pass; recordings of the game show that they do not (docs/fidelity.md).
    """
    if (j < w.n_agents) != (i < w.n_agents):
        in_the_way = w.switches.blocking
    else:
        in_the_way = f[j].fighting and j != i and w.switches.own_fighters_block
    return in_the_way and f[j].health > 0 and w.kinds[f[j].kind].layer == w.kinds[f[i].kind].layer


@part
def hits(ahead_x: float, ahead_y: float, x: float, y: float, reach: float, length: float) -> bool:
    """Whether a walk of ``length`` along a unit vector comes within ``reach`` of (x, y); walking away never does."""
    along = ahead_x * x + ahead_y * y
    if along <= GRAZING:
        return False
    along = min(along, length)
    x, y = x - along * ahead_x, y - along * ahead_y
    return x * x + y * y < reach * reach - CLEARANCE


@part
def tangent(x: float, y: float, reach: float, side: int) -> tuple[float, float]:
    """The unit vector that grazes a disc of radius ``reach`` around (x, y), to the left of it (side 1) or the right."""
    away = math.sqrt(x * x + y * y) + 1e-9
    sine = min(reach / away, 1.0)
    cosine = math.sqrt(1.0 - sine * sine)
    x, y, sine = x / away, y / away, sine * side
    return x * cosine - y * sine, x * sine + y * cosine


@part
def heading(w: World, f: Fighters, i: int, x: float, y: float, length: float, side: int) -> tuple[float, float]:
    """The unit vector nearest to (x, y) on one side of it along which nobody stands in the way; (0, 0) if none is."""
    to_x, to_y, along = x, y, 1.0
    for _ in range(N_TURNS):
        next_x, next_y, turned = to_x, to_y, False
        for j in range(w.n_units):
            if blocks(w, f, i, j):
                reach = w.kinds[f[i].kind].inner + w.kinds[f[j].kind].inner
                dx, dy = f[j].x - f[i].x, f[j].y - f[i].y
                if hits(to_x, to_y, dx, dy, reach, length):
                    aside_x, aside_y = tangent(dx, dy, reach, side)
                    if not turned or aside_x * x + aside_y * y < along:
                        next_x, next_y, along = aside_x, aside_y, aside_x * x + aside_y * y
                    turned = True
        if not turned:
            return to_x, to_y
        to_x, to_y = next_x, next_y
        if along < FARTHEST_COS:
            break
    return 0.0, 0.0


@part
def step_around(w: World, f: Fighters, i: int, x: float, y: float, pace: float, length: float) -> None:
    """Walk ``pace`` along the unit vector (x, y), or around who stands in the way within ``length`` (rule 14).

    The side that asks for the smaller turn is kept until the way is clear again, so that nobody dithers.
    """
    chosen, best, best_x, best_y = 0, -2.0, 0.0, 0.0
    for k in range(2):
        side = f[i].side if f[i].side != 0 else 1
        side = side if k == 0 else -side
        to_x, to_y = heading(w, f, i, x, y, min(length, LOOK), side)
        along = to_x * x + to_y * y
        if along > best and (to_x != 0 or to_y != 0):
            chosen, best, best_x, best_y = side, along, to_x, to_y
        if best > -1 and (f[i].side != 0 or (to_x == x and to_y == y)):
            break
    f[i].side = 0 if best_x == x and best_y == y else chosen
    if best > -2:
        shove(w, f, i, best_x * pace, best_y * pace)


@block
def walk(w: World, f: Fighters, i: int, x: float, y: float, stop: float) -> None:
    """One loop of walking towards (x, y), to ``stop`` before it, on the shortest path around cliffs (rule 12)."""
    t = w.terrain
    if not t.direct and w.switches.path_finding and w.kinds[f[i].kind].layer == GROUND:
        goal = t.anchor[cell_of(x, y)]
        corner = t.waypoint[goal, t.anchor[cell_of(f[i].x, f[i].y)]]
        if corner != goal and corner >= 0:
            x, y, stop = corner % MAP_CELLS + 0.5, corner // MAP_CELLS + 0.5, 0.0
    dx, dy = x - f[i].x, y - f[i].y
    length = math.sqrt(dx * dx + dy * dy)
    pace = min(top_speed(w, f, i), max(length - stop, 0.0) + CLOSER, length)
    if length < 1e-6 or pace <= 0:
        return
    pace *= turn(w, f, i, dx / length, dy / length)
    f[i].pace = pace
    if pace > 0:
        step_around(w, f, i, dx / length, dy / length, pace, max(length - stop, pace))


@part
def top_speed(w: World, f: Fighters, i: int) -> float:
    """Map units that unit i can walk in this loop: its speed, or what its acceleration allows by now (rule 12)."""
    kind = f[i].kind
    if w.switches.acceleration:
        return min(w.kinds[kind].speed, f[i].pace + w.kinds[kind].acceleration)
    return w.kinds[kind].speed


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
    """Move unit i by (dx, dy), along cliffs or the map's edge where they are in the way."""
    layer = w.kinds[f[i].kind].layer
    x, y = np.float32(f[i].x + dx), np.float32(f[i].y + dy)
    if is_ground(w, layer, x, y):
        f[i].x, f[i].y = x, y
    elif is_ground(w, layer, x, f[i].y):
        f[i].x = x
    elif is_ground(w, layer, f[i].x, y):
        f[i].y = y


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
