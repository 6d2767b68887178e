"""The ground: which cells can be walked, and which way around cliffs is shortest.

Real path finding works on the game's triangulated mesh, which the map files do not give; here shortest straight-line
paths over the centres of the cells stand in for it (inferred, no constant involved).
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ibal_lightning.envs.skirmish.catalogue import MAP_CELLS, Scenario

# The ground of one map; a cell's index is y * MAP_CELLS + x.
CELLS = MAP_CELLS * MAP_CELLS
TERRAIN = np.dtype(
    [
        ("direct", np.bool_),  # no walkable point hides from another: every path is straight
        ("open", np.int8, (MAP_CELLS, MAP_CELLS)),  # [y, x] 1 = walkable
        ("anchor", np.int16, (CELLS,)),  # nearest walkable cell
        ("waypoint", np.int16, (CELLS, CELLS)),  # [goal, here] cell to walk to in a straight line; unused if direct
    ],
    align=True,
)


def make_terrain(scenario: Scenario) -> NDArray[np.void]:
    """The TERRAIN record (1,) of a scenario, with its table of shortest paths where cliffs make one necessary."""
    return terrain_of(np.packbits(scenario.pathing).tobytes())


@cache
def terrain_of(ground: bytes) -> NDArray[np.void]:
    """The same of a packed (Y, X) grid of walkable cells: scenarios on one ground share it."""
    terrain = np.zeros(1, TERRAIN)
    grid = np.unpackbits(np.frombuffer(ground, np.uint8)).astype(bool).reshape(MAP_CELLS, MAP_CELLS)
    terrain["direct"], terrain["open"], terrain["anchor"] = is_rectangle(grid), grid, nearest_open_cells(grid)
    if not terrain["direct"][0]:
        waypoint = np.full((CELLS, CELLS), -1, np.int16)
        fill_waypoints(grid, np.flatnonzero(grid), waypoint)
        terrain["waypoint"] = waypoint
    return terrain


def is_rectangle(grid: NDArray[np.bool_]) -> bool:
    """Whether the walkable cells are exactly one axis-parallel rectangle."""
    rows, columns = np.flatnonzero(grid.any(axis=1)), np.flatnonzero(grid.any(axis=0))
    return bool(grid[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all())


def nearest_open_cells(grid: NDArray[np.bool_]) -> NDArray[np.int16]:
    """(Y*X,) index of the walkable cell nearest to each cell (itself where walkable)."""
    here = np.indices(grid.shape).reshape(2, -1)
    walkable = here[:, grid.reshape(-1)]
    squared = ((here[:, :, None] - walkable[:, None, :]) ** 2).sum(axis=0)
    y, x = walkable[:, squared.argmin(axis=1)]
    return (y * grid.shape[1] + x).astype(np.int16)


@njit(cache=True)
def fill_waypoints(grid: NDArray[np.bool_], cells: NDArray[np.int64], waypoint: NDArray[np.int16]) -> None:
    """Fill [goal, here] with the next corner of the shortest path over walkable ``cells``; -1 where there is none."""
    visible = np.empty((len(cells), len(cells)), np.bool_)
    for a in range(len(cells)):
        for b in range(a + 1):
            visible[a, b] = sees(grid, cells[a], cells[b])
            visible[b, a] = visible[a, b]
    for goal in range(len(cells)):
        search_from(grid.shape[1], cells, visible, goal, waypoint[cells[goal]])


@njit(cache=True)
def search_from(
    width: int, cells: NDArray[np.int64], visible: NDArray[np.bool_], goal: int, parent: NDArray[np.int16]
) -> None:
    """Dijkstra's algorithm on the graph of walkable cells that see one another."""
    distance = np.full(len(cells), np.inf)
    closed = np.zeros(len(cells), np.bool_)
    distance[goal] = 0.0
    parent[cells[goal]] = cells[goal]
    here = goal
    while here >= 0:
        closed[here] = True
        for c in range(len(cells)):
            if visible[here, c] and not closed[c]:
                dy, dx = cells[here] // width - cells[c] // width, cells[here] % width - cells[c] % width
                length = distance[here] + math.sqrt(float(dx * dx + dy * dy))
                if length < distance[c] - 1e-9:
                    distance[c] = length
                    parent[cells[c]] = cells[here]
        here = nearest_unclosed(distance, closed)


@njit(cache=True)
def nearest_unclosed(distance: NDArray[np.float64], closed: NDArray[np.bool_]) -> int:
    """The reached cell of least distance that has not been expanded; -1 if none is left."""
    best, least = -1, np.inf
    for cell in range(len(distance)):
        if not closed[cell] and distance[cell] < least:
            best, least = cell, distance[cell]
    return best


@njit(cache=True)
def sees(grid: NDArray[np.bool_], a: int, b: int) -> bool:
    """Whether the straight line between the centres of two cells stays on walkable cells (sampled every 1/8)."""
    width = grid.shape[1]
    ay, ax, by, bx = a // width + 0.5, a % width + 0.5, b // width + 0.5, b % width + 0.5
    steps = int(8 * max(abs(ay - by), abs(ax - bx))) + 1
    for k in range(steps + 1):
        y, x = ay + (by - ay) * k / steps, ax + (bx - ax) * k / steps
        for shift in (-1e-6, 1e-6):  # a line through a corner needs the cells on both sides of it
            if not grid[int(y + shift), int(x + shift)] or not grid[int(y + shift), int(x - shift)]:
                return False
    return True
