"""What the battles are made of: the 23 SMAC maps and the 15 SMACv2 scenarios, read once from ``data/maps.json``.

Facts of the maps come from their files (MapScript.galaxy, cell flags); SMACv2's from its shipped YAML files.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ibal_lightning.envs.skirmish.checks import check_point, check_race, check_whole
from ibal_lightning.envs.skirmish.state import KINDS
from ibal_lightning.messages import nearest_names

MAP_CELLS = 32  # every map of both packages is 32 x 32 cells of one map unit
Point = tuple[float, float]


@dataclass(frozen=True)
class Group:
    """``count`` units of ``kind`` (index into KINDS) that a map creates around (x, y), in map units."""

    kind: int
    count: int
    x: float
    y: float


@dataclass(frozen=True)
class EnemyOrder:
    """The order the enemies get.

    attack_move: once, to a point drawn uniformly on the segment start..end (a fixed point where they are equal).
    attack_units: once, an attack on the allies as a group: the closest one, and when it dies the next.
    chase: at every env step every idle enemy attacks the closest ally (SMACv2's trigger).
    none: they only acquire by themselves.
    """

    kind: Literal["attack_move", "attack_units", "chase", "none"]
    start: Point = (0.0, 0.0)
    end: Point = (0.0, 0.0)


@dataclass(frozen=True)
class Teams:
    """How SMACv2 draws teams and starts: one kind a unit by weight, again while every unit is an exception."""

    kinds: tuple[int, ...]
    weights: tuple[float, ...]
    exceptions: tuple[int, ...]
    reflected: float  # probability of the reflected start, else surrounded; the package's p
    all_teams: bool = False  # every multiset of the kinds is equally likely, whatever the weights
    fixed_starts: bool = False  # each side at a point of its own in every episode, whatever ``reflected``


@dataclass(frozen=True, eq=False)
class Scenario:
    """One battle: sizes, races, who starts where, the enemy's order and the ground."""

    name: str
    game: Literal["smac", "smacv2"]
    n_agents: int
    n_enemies: int
    limit: int  # env steps
    ally_race: str  # T, P or Z
    enemy_race: str
    unit_type_bits: int
    map_type: str
    pathing: NDArray[np.bool_]  # (32, 32) [y, x], row 0 is the southern edge, True = walkable
    ally_groups: tuple[Group, ...]  # in creation order; empty where teams are drawn
    enemy_groups: tuple[Group, ...]
    order: EnemyOrder
    teams: Teams | None = None  # None: the fixed groups above

    @property
    def n_units(self) -> int:
        """Allies and enemies together."""
        return self.n_agents + self.n_enemies


@cache
def load_facts(name: Literal["maps", "units", "lotv", "fitted_spawns"]) -> dict[str, Any]:
    """The parsed JSON data file of that name; not to be changed by the caller."""
    text = resources.files("ibal_lightning.envs.skirmish").joinpath(f"data/{name}.json").read_text("utf-8")
    return json.loads(text)


def smac_maps() -> tuple[str, ...]:
    """Names of the 23 SMAC maps."""
    return tuple(load_facts("maps")["maps"])


def smac_scenario(map_name: str) -> Scenario:
    """The SMAC map of that name.

    Raises:
        ValueError: no such map, or its data is malformed.
    """
    if map_name not in smac_maps():
        raise ValueError(f"Unknown SMAC map {map_name!r}: {nearest_names(map_name, smac_maps())}")
    return _known_map(map_name)


@cache
def _known_map(map_name: str) -> Scenario:
    maps = load_facts("maps")["maps"]
    try:
        return parse_map(map_name, maps[map_name])
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"The data of map {map_name!r} is malformed: {error!r}") from error


def parse_map(name: str, facts: dict[str, Any]) -> Scenario:
    """A scenario from one entry of maps.json.

    Raises:
        ValueError: unknown kinds or races, numbers out of range, points off the map, group sizes that do not add up,
            or a pathing grid that is not 32 x 32.
    """
    scenario = Scenario(
        name=name,
        game="smac",
        n_agents=check_whole(name, "n_agents", facts["n_agents"], 1),
        n_enemies=check_whole(name, "n_enemies", facts["n_enemies"], 1),
        limit=check_whole(name, "limit", facts["limit"], 1),
        ally_race=check_race(name, "a_race", facts["a_race"]),
        enemy_race=check_race(name, "b_race", facts["b_race"]),
        unit_type_bits=check_whole(name, "unit_type_bits", facts["unit_type_bits"], 0),
        map_type=str(facts["map_type"]),
        pathing=parse_pathing(name, facts["pathing_rows_y0_first"]),
        ally_groups=parse_groups(name, facts["spawn"]["ally"]),
        enemy_groups=parse_groups(name, facts["spawn"]["enemy"]),
        order=parse_order(name, facts["enemy_order"]),
    )
    counts = [("ally", scenario.n_agents, scenario.ally_groups), ("enemy", scenario.n_enemies, scenario.enemy_groups)]
    for side, expected, groups in counts:
        if (total := sum(group.count for group in groups)) != expected:
            raise ValueError(f"Map {name!r}: the {side} spawn groups hold {total} units, not {expected}")
    return scenario


def parse_pathing(name: str, rows: list[str]) -> NDArray[np.bool_]:
    """(32, 32) [y, x] from strings of '.' (open) and '#' (blocked), southern row first."""
    if len(rows) != MAP_CELLS or any(len(row) != MAP_CELLS or set(row) - {".", "#"} for row in rows):
        raise ValueError(f"Map {name!r}: the pathing grid must be {MAP_CELLS} rows of {MAP_CELLS} '.' or '#'")
    if not any("." in row for row in rows):
        raise ValueError(f"Map {name!r}: the pathing grid has no open cell ('.')")
    return np.array([[cell == "." for cell in row] for row in rows])


def parse_groups(name: str, groups: list[Any]) -> tuple[Group, ...]:
    """Spawn groups in creation order from [kind, count, [x, y]] lists."""
    odd = [group for group in groups if not isinstance(group, list | tuple) or len(group) != 3]
    if odd:
        raise ValueError(f"Map {name!r}: a spawn group is [unit, number, [x, y]], not {odd[0]!r}")
    unknown = [kind for kind, _, _ in groups if kind not in KINDS]
    if unknown:
        raise ValueError(f"Map {name!r}: unknown unit {unknown[0]!r}: {nearest_names(unknown[0], KINDS)}")
    return tuple(
        Group(
            KINDS.index(kind),
            check_whole(name, f"the number of {kind}s", count, 1),
            *check_point(name, f"the place of the {kind}s", point, MAP_CELLS),
        )
        for kind, count, point in groups
    )


def parse_order(name: str, facts: dict[str, Any]) -> EnemyOrder:
    """The enemy order of a map."""
    if facts["kind"] not in ("attack_move", "attack_units", "none"):
        raise ValueError(
            f"Map {name!r}: unknown enemy order {facts['kind']!r}; allowed: attack_move, attack_units, none"
        )
    if facts["kind"] != "attack_move":
        return EnemyOrder(facts["kind"])
    ends = facts.get("between", [facts.get("point")] * 2)
    if not isinstance(ends, list | tuple) or len(ends) != 2:
        raise ValueError(f"Map {name!r}: the enemies' way is between two points, not {ends!r}")
    first, last = ends
    start, end = (check_point(name, "the enemies' point", point, MAP_CELLS) for point in (first, last))
    return EnemyOrder("attack_move", start, end)


# SMACv2's YAML files: kinds in their list order with weights, exceptions; sizes as agents, enemies.
SMACV2_TEAMS = {
    "terran": ((("marine", 0.45), ("marauder", 0.45), ("medivac", 0.1)), ("medivac",)),
    "protoss": ((("stalker", 0.45), ("zealot", 0.45), ("colossus", 0.1)), ()),
    "zerg": ((("zergling", 0.45), ("baneling", 0.1), ("hydralisk", 0.45)), ("baneling",)),
}
SMACV2_SIZES = ((5, 5), (10, 10), (20, 20), (10, 11), (20, 23))
SMACV2_LIMIT = 200
SMACV2_REFLECTED = 0.5


def smacv2_scenarios() -> tuple[str, ...]:
    """Names of the 15 SMACv2 scenarios, such as terran_5_vs_5."""
    return tuple(f"{race}_{n}_vs_{m}" for race in SMACV2_TEAMS for n, m in SMACV2_SIZES)


@cache
def smacv2_scenario(name: str) -> Scenario:
    """The SMACv2 scenario of that name: a flat 32 x 32 map with drawn teams and positions.

    Raises:
        ValueError: no such scenario.
    """
    if name not in smacv2_scenarios():
        raise ValueError(f"Unknown SMACv2 scenario {name!r}: {nearest_names(name, smacv2_scenarios())}")
    race, n_agents, _, n_enemies = name.split("_")
    weighted, exceptions = SMACV2_TEAMS[race]
    letter = race[0].upper()
    return Scenario(
        name=name,
        game="smacv2",
        n_agents=int(n_agents),
        n_enemies=int(n_enemies),
        limit=SMACV2_LIMIT,
        ally_race=letter,
        enemy_race=letter,
        unit_type_bits=3,
        map_type=f"{race}_gen",
        pathing=np.ones((MAP_CELLS, MAP_CELLS), bool),
        ally_groups=(),
        enemy_groups=(),
        order=EnemyOrder("chase"),
        teams=Teams(
            tuple(KINDS.index(kind) for kind, _ in weighted),
            tuple(weight for _, weight in weighted),
            tuple(KINDS.index(kind) for kind in exceptions),
            SMACV2_REFLECTED,
        ),
    )
