"""Closed forms of walking, turning, blocking, pushing, paths around cliffs, and of the choice of targets."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import dijkstra

from ibal_lightning.envs.skirmish import targeting
from ibal_lightning.envs.skirmish.battle import ATTACKING, IDLE
from ibal_lightning.envs.skirmish.catalogue import MAP_CELLS, smac_scenario
from ibal_lightning.envs.skirmish.engine import Engine
from ibal_lightning.envs.skirmish.kernel import kernel
from ibal_lightning.envs.skirmish.options import smac_options
from ibal_lightning.envs.skirmish.rules import make_rules
from ibal_lightning.envs.skirmish.spawn import give_first_orders
from ibal_lightning.envs.skirmish.state import KINDS
from ibal_lightning.envs.skirmish.stats import load_stats
from ibal_lightning.envs.skirmish.terrain import make_terrain, sees
from tests.unit.battlefield import make_field

STATS = dict(zip(KINDS, load_stats("liberty"), strict=True))
choose_target = kernel(targeting.choose_target.py_func)
FAR = [("marine", 30.0, 30.0)]  # an enemy that meets nobody
PER_STEP = {"marine": 1.125, "stalker": 1.4766, "zergling": 1.4766, "baneling": 1.25, "medivac": 1.375}


@pytest.mark.parametrize("kind", PER_STEP)
def test_distance_of_one_env_step(kind: str) -> None:
    field = make_field([(kind, 10.0, 16.0)], FAR).command(0, "move", x=12.0, y=16.0).loops(8)
    assert field.f["x"][0] - 10 == pytest.approx(PER_STEP[kind], abs=1e-4)
    assert field.f["y"][0] == 16.0


def test_a_move_order_ends_at_its_point() -> None:
    field = make_field([("marine", 10.0, 16.0)], FAR).command(0, "move", x=11.0, y=16.0).loops(9)
    assert field.f["x"][0] == pytest.approx(11, abs=0.05)
    assert field.f["order"][0] == 0


@pytest.mark.parametrize("stops", [False, True])
@pytest.mark.parametrize(("degrees", "loops", "walked"), [(60, 1, 1.0), (80, 1, 0.5), (100, 1, 0.0), (100, 2, 1.0)])
def test_turning_takes_time_beyond_62_degrees_and_stops_nobody_by_default(
    degrees: float, loops: int, walked: float, stops: bool
) -> None:
    """With ``turn_stops`` units walk at half their speed beyond 62 degrees and not at all beyond 92."""
    field = make_field([("marine", 10.0, 16.0)], FAR, turn_stops=stops)
    walked = walked if stops else float(loops)
    x, y = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    field.command(0, "move", x=10 + 2 * x, y=16 + 2 * y).loops(loops)
    gone = math.hypot(field.f["x"][0] - 10, field.f["y"][0] - 16)
    assert gone == pytest.approx(walked * STATS["marine"]["speed"], abs=1e-5)
    angle = math.degrees(math.atan2(field.f["face_y"][0], field.f["face_x"][0]))
    assert angle == pytest.approx(min(degrees, loops * 62.49), abs=1e-3)


def test_shooting_backwards_needs_a_turn_first() -> None:
    ahead = make_field([("marine", 16.0, 16.0)], [("marine", 19.0, 16.0)])
    behind = make_field([("marine", 16.0, 16.0)], [("marine", 19.0, 16.0)]).look(1, 1, 0)
    hurt = [field.loops_until(lambda f=field.f: f["health"][0] < 45) for field in (ahead, behind)]
    assert hurt == [2, 4]  # 180 degrees: 62.5, 125, 180


@pytest.mark.parametrize("offset", [0.0, 0.2, -0.5])
def test_opposite_sides_never_overlap_and_walk_around_one_another(offset: float) -> None:
    field = make_field([("marine", 10.0, 16.0)], [("spinecrawler", 13.0, 16.0 + offset)])
    field.disarm("spinecrawler")
    field.command(0, "move", x=18.0, y=16.0)
    touch = STATS["marine"]["inner"] + STATS["spinecrawler"]["inner"]
    for _ in range(100):
        field.loops(1)
        assert field.apart(0, 1) >= touch - 1e-5
    assert field.f["x"][0] == pytest.approx(18, abs=0.06)


def test_the_way_around_a_unit_is_two_tangents_and_the_arc_between() -> None:
    field = make_field([("marine", 10.0, 16.0)], [("spinecrawler", 12.0, 16.0)], turning=False)
    field.disarm("spinecrawler")
    loops = field.command(0, "move", x=14.0, y=16.0).loops_until(lambda: field.f["order"][0] == 0)
    radius = STATS["marine"]["inner"] + STATS["spinecrawler"]["inner"]
    way = 2 * math.sqrt(4 - radius**2) + radius * 2 * math.asin(radius / 2)
    assert way < loops * STATS["marine"]["speed"] + 0.05 < way + 0.3


def test_a_row_of_fighting_comrades_is_walked_around_by_enemies() -> None:
    row = [("zealot", 15.0, 15.4), ("zealot", 15.0, 16.0), ("zealot", 15.0, 16.6)]
    field = make_field([("spinecrawler", 13.5, 16.0)], [*row, ("zealot", 17.0, 16.0)])
    field.disarm("spinecrawler")
    field.loops(60)
    assert field.f["fighting"][1:].all()
    x, y = field.f["x"][1:], field.f["y"][1:]
    apart = np.hypot(x[3] - x[:3], y[3] - y[:3])
    assert apart.min() >= 2 * STATS["zealot"]["inner"] - 0.01


def test_a_medivac_speeds_up_by_switch() -> None:
    field = make_field([("medivac", 10.0, 16.0)], FAR, acceleration=True).command(0, "move", x=20.0, y=16.0).loops(8)
    acceleration = 2.3125 / 16**2
    assert field.f["x"][0] - 10 == pytest.approx(acceleration * 36, abs=1e-4)  # 1 + 2 + ... + 8
    field.loops(30)
    before = float(field.f["x"][0])
    assert field.loops(1).f["x"][0] - before == pytest.approx(STATS["medivac"]["speed"], abs=1e-4)


def test_units_slide_along_walls() -> None:
    pathing = np.zeros((32, 32), bool)
    pathing[8:20, 8:28] = True
    field = make_field([("marine", 10.0, 19.5)], FAR, pathing=pathing).command(0, "move", x=10.0, y=21.5).loops(8)
    assert (field.f["x"][0], field.f["y"][0]) == (10.0, pytest.approx(20, abs=0.15))
    field.command(0, "move", x=14.0, y=22.0).loops(40)
    assert field.f["x"][0] > 13


def test_units_of_one_side_are_pushed_apart_half_each_unless_one_fights() -> None:
    field = make_field([("marine", 10.0, 16.0), ("marine", 10.5, 16.0)], FAR).loops(1)
    assert field.f["x"][:2].tolist() == pytest.approx([10 - 0.125, 10.5 + 0.125])
    field = make_field([("marine", 30.0, 3.0)], [("marine", 10.0, 16.0), ("marine", 10.5, 16.0)])
    field.f["x"][0], field.f["y"][0] = 7.0, 16.0
    field.loops(3)
    assert field.f["x"][1:].tolist() == [10.0, 10.5]


@pytest.mark.parametrize("side", ["agents", "enemies"])
@pytest.mark.parametrize("blocks", [True, False])
def test_a_fighting_comrade_blocks(side: str, blocks: bool) -> None:
    """A marine shoots at a building, and a zealot behind it wants to the same building."""
    team, target = [("marine", 15.0, 16.0), ("zealot", 15.8, 16.0)], [("spinecrawler", 10.0, 16.0)]
    sides = (team, target) if side == "agents" else (target, team)
    field = make_field(*sides, own_fighters_block=blocks)
    field.disarm("spinecrawler")
    marine, zealot = (0, 1) if side == "agents" else (1, 2)
    for agent in (0, 1) if side == "agents" else ():
        field.command(agent, "attack", 0)
    apart = [field.loops(1).apart(marine, zealot) for _ in range(40)]
    assert min(apart) == pytest.approx(0.75 if blocks else 0.0, abs=0.15)
    assert field.f["fighting"][[marine, zealot]].all()


def crowd(rng: np.random.Generator, count: int) -> list[tuple[str, float, float]]:
    """Buildings that do not touch one another, close before a unit at (10, 16)."""
    touch, placed = 2 * STATS["spinecrawler"]["inner"], []
    clear = STATS["marine"]["inner"] + STATS["spinecrawler"]["inner"]
    for _ in range(500):
        x, y = 10 + 5 * rng.random(), 12 + 8 * rng.random()
        apart = all(np.hypot(x - a, y - b) > touch for _, a, b in placed)
        if len(placed) < count and apart and np.hypot(x - 10, y - 16) > clear:
            placed.append(("spinecrawler", x, y))
    return placed


def first_step(obstacles: list[tuple[str, float, float]]) -> tuple[float, float]:
    """How a marine at (10, 16) that wants to (20, 16) goes in its first loop."""
    field = make_field([("marine", 10.0, 16.0)], obstacles, turning=False).disarm("spinecrawler")
    f = field.command(0, "move", x=20.0, y=16.0).loops(1).f
    return float(f["x"][0]) - 10, float(f["y"][0]) - 16


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.integers(1, 14))
def test_the_way_through_a_crowd_does_not_depend_on_its_numbering_and_is_found_where_there_is_one(
    seed: int, count: int
) -> None:
    rng = np.random.default_rng(seed)
    obstacles = crowd(rng, count)
    step = first_step(obstacles)
    shuffled = [obstacles[k] for k in rng.permutation(len(obstacles))]
    assert first_step(shuffled) == pytest.approx(step, abs=1e-5)
    reach = STATS["marine"]["inner"] + STATS["spinecrawler"]["inner"] + 0.02
    angles = np.radians(np.arange(-149, 150))
    free = np.ones(len(angles), bool)
    for _, x, y in obstacles:
        along = np.clip(np.cos(angles) * (x - 10) + np.sin(angles) * (y - 16), 0, 3)
        away = np.hypot(x - 10 - along * np.cos(angles), y - 16 - along * np.sin(angles))
        free &= away > reach
    if free.any():
        assert np.hypot(*step) > 0


def test_colossi_stride_over_units_and_cliffs_and_flyers_over_all() -> None:
    pathing = np.zeros((32, 32), bool)
    pathing[12:20, 8:18] = True
    pathing[:, 12] = False
    for kind in ("colossus", "medivac"):
        field = make_field([(kind, 10.0, 16.0)], [("spinecrawler", 11.5, 16.0)], pathing=pathing)
        field.disarm("spinecrawler")
        loops = field.command(0, "move", x=14.0, y=16.0).loops_until(lambda f=field.f: f["order"][0] == 0)
        assert loops == pytest.approx(4 / STATS[kind]["speed"], abs=2)
    field = make_field([("marine", 11.5, 16.0)], FAR, pathing=pathing).command(0, "move", x=14.0, y=16.0).loops(100)
    assert field.f["x"][0] < 12


@pytest.mark.parametrize("map_name", ["corridor", "2c_vs_64zg"])
def test_paths_are_the_shortest_between_cells_that_see_one_another(map_name: str) -> None:
    scenario = smac_scenario(map_name)
    grid, waypoint = scenario.pathing, make_terrain(scenario)["waypoint"][0]
    cells = np.flatnonzero(grid)
    y, x = np.divmod(cells, MAP_CELLS)
    visible = np.array([[sees(grid, a, b) for a in cells] for b in cells])
    length = np.hypot(y[:, None] - y, x[:, None] - x)
    shortest = dijkstra(np.where(visible, length, 0))
    column = {cell: k for k, cell in enumerate(cells)}
    for goal in range(0, len(cells), 37):
        for start in range(0, len(cells), 23):
            walked, here = 0.0, cells[start]
            while here != cells[goal]:
                corner = waypoint[cells[goal], here]
                assert visible[column[here], column[corner]]
                walked += length[column[here], column[corner]]
                here = corner
            assert walked == pytest.approx(shortest[start, goal])


def test_a_unit_walks_around_a_wall_to_its_point() -> None:
    pathing = np.zeros((32, 32), bool)
    pathing[2:22, 9:22] = True
    pathing[4:22, 15] = False
    field = make_field([("zealot", 10.0, 20.0)], FAR, pathing=pathing).command(0, "move", x=20.0, y=20.0)
    loops = field.loops_until(lambda: field.f["order"][0] == 0)
    around = math.hypot(5, 16) + 1 + math.hypot(4, 16)
    assert around < loops * STATS["zealot"]["speed"] < 1.05 * around


def target_of(field, enemy: int = -1) -> int:
    unit = len(field.f) - 1 if enemy == -1 else enemy
    return choose_target(field.w, field.f, unit)


def test_the_nearest_is_chosen_among_equals_by_edges() -> None:
    field = make_field([("marine", 12.0, 16.0), ("marine", 13.0, 16.0)], [("marine", 16.0, 16.0)])
    assert target_of(field) == 1
    field = make_field([("marine", 12.7, 16.0), ("marauder", 12.6, 16.0)], [("marine", 16.0, 16.0)])
    assert target_of(field) == 1


def test_scan_range_is_five_from_edge_to_edge_or_the_weapon_range() -> None:
    for kind, scan in (("zealot", 5), ("marine", 5), ("stalker", 6), ("spinecrawler", 7)):
        reach = scan + STATS[kind]["radius"] + STATS["marine"]["radius"]
        seen = make_field([("marine", 6.0, 16.0)], [(kind, 6.0 + reach - 0.01, 16.0)])
        unseen = make_field([("marine", 6.0, 16.0)], [(kind, 6.0 + reach + 0.01, 16.0)])
        assert (target_of(seen), target_of(unseen)) == (0, -1)


def test_an_attacker_comes_first_and_preempts() -> None:
    field = make_field([("marine", 14.0, 16.0), ("marine", 12.0, 16.0)], [("marine", 16.0, 16.0)])
    assert field.loops(1).f["target"][2] == 0
    field.command(1, "attack", 0).loops(1)
    assert field.f["target"][2] == 0  # not during the damage point
    assert field.loops(1).f["target"][2] == 1
    field.command(1, "stop").loops(1)
    assert field.f["target"][2] == 1  # kept while nobody attacks


@pytest.mark.parametrize(("switches", "expected"), [({}, 1), ({"preempt": False}, 0), ({"attackers_first": False}, 0)])
def test_the_switches_of_rule_seven(switches: dict, expected: int) -> None:
    near = 18.0 - STATS["marine"]["radius"] - STATS["zealot"]["radius"] - 0.05
    field = make_field([("marine", near, 16.0), ("marine", 14.0, 16.0)], [("zealot", 18.0, 16.0)], **switches)
    field.loops(1).command(1, "attack", 0).loops(1)
    assert field.f["target"][2] == expected


@pytest.mark.parametrize(("pursue", "expected"), [(True, 0), (False, 1)])
def test_an_enemy_on_its_way_to_a_target_is_not_drawn_off_it(pursue: bool, expected: int) -> None:
    field = make_field([("marine", 15.0, 16.0), ("marine", 14.0, 16.0)], [("zealot", 18.0, 16.0)], pursue=pursue)
    assert field.loops(1).f["target"][2] == 0
    field.command(1, "attack", 0)
    assert field.loops(1).f["target"][2] == expected


def test_nobody_walks_near_the_edge_of_maps_without_cliffs() -> None:
    for name in ("3s_vs_3z", "3s_vs_4z", "3s_vs_5z"):
        grid = smac_scenario(name).pathing
        assert grid[3:29, 3:29].all()
        assert grid.sum() == 26 * 26


def test_an_attacker_out_of_sight_moves_nobody_to_look_for_another_target() -> None:
    """The marine nearest at first is passed by another; the zealot's attacker stands beyond its scan."""
    marines = [("marine", 14.0, 16.0), ("marine", 12.5, 16.0), ("marine", 5.0, 16.0)]
    field = make_field(marines, [("zealot", 17.0, 16.0)], pursue=False).loops(1)
    field.command(2, "attack", 0)
    field.f["x"][1] = 14.5
    assert field.loops(1).f["target"][3] == 0


@pytest.mark.parametrize("kind", ["colossus", "medivac", "baneling"])
@pytest.mark.parametrize(("edges", "target"), [(-0.01, 1), (0.01, 0)])
def test_a_unit_with_an_ai_tag_in_scan_range_comes_before_attackers(kind: str, edges: float, target: int) -> None:
    apart = STATS["marine"]["scan"] + edges + STATS[kind]["radius"] + STATS["marine"]["radius"]
    field = make_field([("marine", 14.0, 16.0), (kind, 16.0 - apart, 16.0)], [("marine", 16.0, 16.0)])
    field.command(0, "attack", 0)
    assert field.loops(1).f["target"][2] == target


@pytest.mark.parametrize(("rules", "target"), [({}, 1), ({"preempt": False}, 0), ({"tagged_first": False}, 0)])
def test_a_unit_with_an_ai_tag_that_comes_into_sight_takes_the_place_of_a_target(rules: dict, target: int) -> None:
    near = 16.0 - STATS["marine"]["radius"] - STATS["zealot"]["radius"] - 0.05
    field = make_field([("marine", near, 16.0), ("colossus", 2.0, 16.0)], [("zealot", 16.0, 16.0)], **rules).loops(1)
    assert field.f["target"][2] == 0
    field.f["x"][1] = 11.0
    assert field.loops(1).f["target"][2] == target


@pytest.mark.parametrize(("kind", "order"), [("colossus", "stop"), ("marauder", "attack"), ("marauder", "stop")])
@pytest.mark.parametrize("on", [True, False])
def test_the_leash_holds_who_is_tagged_or_attacks(kind: str, order: str, on: bool) -> None:
    """Out of scan range the target gives way to a marine, but for a tagged unit or an attacker up to 21 away."""
    field = make_field(
        [("marine", 16.0, 20.5), (kind, 13.0, 16.0)], [("zealot", 16.0, 16.0)], leash=on, idle_fire=False
    )
    field.loops(1)
    field.command(1, order, 0) if order == "attack" else field.command(1, order)
    assert field.f["target"][2] == 1
    held = on and (kind, order) != ("marauder", "stop")
    for edges, target in ((5.5, 1 if held else 0), (20.5, 1 if held else 0), (21.5, 0)):
        field.f["target"][2] = 1
        field.f["x"][1] = field.f["x"][2] - edges - STATS[kind]["radius"] - STATS["zealot"]["radius"]
        assert field.loops(1).f["target"][2] == target


def test_threats_and_medivacs_come_before_the_harmless() -> None:
    field = make_field([("zealot", 15.0, 18.5), ("marine", 13.0, 18.5)], [("medivac", 16.0, 16.0)])
    field.w["kinds"][KINDS.index("medivac")]["can_hit"] = 1
    field.w["kinds"][KINDS.index("medivac")]["scan"] = 5
    assert target_of(field) == 1
    field = make_field([("medivac", 12.0, 16.0)], [("marine", 16.0, 16.0)])
    assert target_of(field) == 0
    field = make_field([("medivac", 12.0, 16.0)], [("marauder", 16.0, 16.0)])
    assert target_of(field) == -1


def test_a_target_is_kept_inside_the_scan_range_and_dropped_beyond() -> None:
    field = make_field([("marine", 14.0, 16.0), ("marine", 11.5, 16.0)], [("zealot", 16.0, 16.0)]).loops(1)
    field.f["x"][0] = 11.4
    assert target_of(field) == 0
    field.f["x"][0] = 9.0
    assert target_of(field) == 1


def test_allies_are_passive() -> None:
    field = make_field([("marine", 14.0, 16.0)], [("marine", 16.0, 16.0)])
    for order in ({}, {"stop": True}):
        if order:
            field.command(0, "stop")
        field.loops(8)
        assert field.f["target"][0] == -1
        assert field.f["health"][1] == 45


@pytest.mark.parametrize(("beyond", "hurt"), [(-0.01, True), (0.01, False)])
def test_a_colossus_without_an_order_fires_at_what_is_in_range(beyond: float, hurt: bool) -> None:
    """Option OnlyFireWhileInAttackOrder=0 of the client's weapon; the mod's own needs an order, as all others do."""
    apart = 7 + beyond + STATS["colossus"]["radius"] + STATS["spinecrawler"]["radius"]
    field = make_field([("colossus", 10.0, 16.0)], [("spinecrawler", 10.0 + apart, 16.0)], stats="lotv")
    field.disarm("spinecrawler").command(0, "stop").loops(16)
    assert (field.f["health"][1] < STATS["spinecrawler"]["health"]) == hurt
    assert field.f["x"][0] == 10.0


def test_a_colossus_on_its_way_does_not_fire_and_one_that_stands_keeps_its_target_until_the_next_command() -> None:
    crawlers = [("spinecrawler", 15.0, 16.0), ("spinecrawler", 16.5, 16.0)]
    field = make_field([("colossus", 10.0, 16.0)], crawlers, stats="lotv")
    field.disarm("spinecrawler").command(0, "move", x=10.0, y=30.0).loops(8)
    assert field.f["target"][0] == -1
    field.command(0, "stop").loops(1)
    assert field.f["target"][0] == 1
    field.f["x"][1] = 18.0
    assert field.loops(1).f["target"][0] == 1  # the other is nearer now
    assert field.command(0, "stop").loops(1).f["target"][0] == 2  # a command begins anew
    field.f["x"][2] = 28.0
    assert field.loops(1).f["target"][0] == 1
    field.f["x"][1] = 28.0
    assert field.loops(1).f["target"][0] == -1
    field.f["x"][1:] = 15.0
    assert field.command(0, "attack", 0).loops(1).f["target"][0] == 1


@pytest.mark.parametrize("options", [{"idle_fire": False, "stats": "lotv"}, {"stats": "liberty"}])
def test_idle_fire_can_be_turned_off(options: dict) -> None:
    field = make_field([("colossus", 10.0, 16.0)], [("spinecrawler", 15.0, 16.0)], **options).disarm("spinecrawler")
    assert field.command(0, "stop").loops(8).f["target"][0] == -1


def test_chase_goes_for_the_closest_ally_until_it_dies() -> None:
    field = make_field([("marine", 5.0, 5.0), ("marine", 9.0, 9.0)], [("zealot", 20.0, 20.0)], order="chase")
    field.command(0, "stop")
    assert field.f["order_target"][2] == 1
    field.f["x"][0] = 19.0
    field.f["y"][0] = 19.0
    field.command(0, "stop").loops(8)
    assert field.f["order_target"][2] == 1
    field.f["health"][1] = 0.0
    field.command(0, "stop")
    assert field.f["order_target"][2] == 0


def test_an_order_on_the_allies_as_a_group_is_given_once_and_goes_on_with_the_next() -> None:
    """2c_vs_64zg: at once and not at the next env step, whatever else comes near, and to nobody who was not there."""
    allies = [("colossus", 20.0, 16.0), ("colossus", 12.0, 16.0)]
    field = make_field(allies, [("zergling", 28.0, 16.0)], order="attack_units")
    field.command(0, "stop").loops(8)
    assert field.f["order"][2] == IDLE  # an env step orders nothing
    give_first_orders(field.w, field.f, np.uint64(0))
    assert (field.f["order"][2], field.f["order_target"][2]) == (ATTACKING, 0)
    field.loops(1)
    assert field.f["x"][2] < 28.0
    field.f["x"][1] = 27.0
    assert field.loops(3).f["order_target"][2] == 0  # kept until it dies
    field.f["health"][0] = 0.0
    field.loops(1)
    assert (field.f["order"][2], field.f["order_target"][2]) == (ATTACKING, 1)
    field.f["health"][1] = 0.0
    assert field.loops(1).f["order"][2] == IDLE


def test_zerglings_set_out_before_the_first_look() -> None:
    scenario = smac_scenario("2c_vs_64zg")
    north = []
    for loops in (0, 2):
        rules = make_rules(scenario, smac_options({}))
        engine = Engine(scenario, rules, num_envs=1, seed=0, switches={"initial_loops": loops})
        engine.reset()
        assert (engine.arena.fighters["order"][:, 2:] == ATTACKING).all()
        north.append(engine.arena.units.y[0, 2:].mean())
    assert north[1] > north[0]


def test_chase_orders_that_the_weapon_refuses_leave_the_enemy_idle() -> None:
    field = make_field([("medivac", 18.0, 18.0), ("marine", 9.0, 9.0)], [("marauder", 20.0, 20.0)], order="chase")
    field.command(1, "stop")
    assert field.f["order"][2] == 0
