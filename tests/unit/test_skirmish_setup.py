"""How battles are described and how they start: catalogue, stats, switches, spawns, stale compilations."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from ibal_lightning.envs.skirmish.capabilities import apply_capabilities
from ibal_lightning.envs.skirmish.catalogue import (
    load_facts,
    parse_map,
    smac_maps,
    smac_scenario,
    smacv2_scenario,
    smacv2_scenarios,
)
from ibal_lightning.envs.skirmish.engine import Engine
from ibal_lightning.envs.skirmish.kernel import STAMP, drop_stale_kernels
from ibal_lightning.envs.skirmish.options import smac_options, smacv2_options
from ibal_lightning.envs.skirmish.placement import MAX_SIDE, lattice_offsets
from ibal_lightning.envs.skirmish.rules import make_rules
from ibal_lightning.envs.skirmish.state import KINDS
from ibal_lightning.envs.skirmish.stats import load_stats
from ibal_lightning.envs.skirmish.switches import make_switches
from ibal_lightning.envs.skirmish.terrain import make_terrain


def make_engine(name: str, num_envs: int = 8, **options) -> Engine:
    options = {"seed": 1} | options
    if name in smac_maps():
        return Engine(
            scenario := smac_scenario(name),
            make_rules(scenario, smac_options({})),
            num_envs=num_envs,
            **options,
        )
    scenario = smacv2_scenario(name)
    return Engine(scenario, make_rules(scenario, smacv2_options({})), num_envs=num_envs, **options)


def test_all_maps_and_scenarios_are_there() -> None:
    assert len(smac_maps()) == 23
    assert len(smacv2_scenarios()) == 15
    for name in (*smac_maps(), *smacv2_scenarios()):
        scenario = smac_scenario(name) if name in smac_maps() else smacv2_scenario(name)
        assert scenario.pathing.shape == (32, 32)
        assert scenario.n_units == scenario.n_agents + scenario.n_enemies


@pytest.mark.parametrize(("name", "nearest"), [("3M", "3m"), ("2s3zz", "2s3z"), ("mmm2", "MMM2")])
def test_an_unknown_map_names_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(ValueError, match=f"Unknown SMAC map '{name}': did you mean .*{nearest}"):
        smac_scenario(name)


def test_an_unknown_scenario_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean terran_5_vs_5"):
        smacv2_scenario("terran_5_vs_6")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pathing_rows_y0_first": ["..."]}, "must be 32 rows of 32"),
        ({"n_agents": 4}, "ally spawn groups hold 3 units, not 4"),
        ({"spawn": {"ally": [["marin", 3, [9, 16]]], "enemy": []}}, "unknown unit 'marin': did you mean marine"),
        ({"enemy_order": {"kind": "dance"}}, "unknown enemy order 'dance'"),
        ({"enemy_order": {"kind": "attack_move", "point": [40, 16]}}, r"the enemies' point must be \[x, y\] within 0"),
        ({"n_agents": "3"}, "n_agents must be a whole number of at least 1, not '3'"),
        ({"limit": -1}, "limit must be a whole number of at least 1, not -1"),
        ({"unit_type_bits": -2}, "unit_type_bits must be a whole number of at least 0, not -2"),
        ({"a_race": "Q"}, "a_race must be one of T, P, Z, not 'Q'"),
        ({"spawn": {"ally": [["marine", 3, [99, 16]]], "enemy": []}}, "the place of the marines must be"),
        ({"spawn": {"ally": [["marine", 3, [float("nan"), 16]]], "enemy": []}}, "the place of the marines must be"),
        ({"spawn": {"ally": [["marine", -3, [9, 16]]], "enemy": []}}, "the number of marines must be a whole number"),
        ({"spawn": {"ally": [["marine", 3]], "enemy": []}}, r"a spawn group is \[unit, number, \[x, y\]\], not"),
        ({"spawn": {"ally": [[3, 3, [9, 16]]], "enemy": []}}, "unknown unit 3: "),
        ({"pathing_rows_y0_first": ["#" * 32] * 32}, "has no open cell"),
        ({"limit": 10**30}, "limit must be at most 1,000,000"),
        ({"a_race": ["P"]}, "a_race must be one of T, P, Z"),
        ({"enemy_order": {"kind": "attack_move", "between": [[1, 1], [2, 2], [3, 3]]}}, "is between two points"),
        ({"enemy_order": {"kind": "attack_move", "point": 5}}, "the enemies' point must be"),
    ],
)
def test_malformed_map_data_is_named(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"'3m'.*{message}"):
        parse_map("3m", load_facts("maps")["maps"]["3m"] | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unit_type_bits": 1}, "unit_type_bits must be 3 with map_type 'MMM', not 1"),
        ({"map_type": "bane"}, "unit_type_bits must be 2 with map_type 'bane', not 3"),
        ({"map_type": "junk"}, "unit_type_bits must be 0 with map_type 'junk', not 3; map types with bits: .*MMM"),
        ({"map_type": "zerg_gen"}, "map_type 'zerg_gen' shows no ally m"),
    ],
)
def test_kinds_that_a_one_hot_has_no_place_for_are_refused(change: dict, message: str) -> None:
    """They would be written past their row."""
    with pytest.raises(ValueError, match=f"'MMM'.*{message}"):
        make_rules(parse_map("MMM", load_facts("maps")["maps"]["MMM"] | change), smac_options({}))


@pytest.mark.parametrize(("name", "least"), [("3m", -165), ("terran_5_vs_5", -50 - 5 * 45)])
def test_a_reward_that_would_be_divided_by_nothing_is_refused(name: str, least: float) -> None:
    """3m: three deaths of 10 and 3 x 45 health; terran_5_vs_5: five marines are the weakest team."""
    options = (smac_options if name in smac_maps() else smacv2_options)({"reward_win": least})
    scenario = smac_scenario(name) if name in smac_maps() else smacv2_scenario(name)
    with pytest.raises(ValueError, match="reward_scale divides by what can be earned, 0 here"):
        Engine(scenario, make_rules(scenario, options), num_envs=1, seed=0)
    unscaled = dataclasses.replace(options, reward_scale=False)
    Engine(scenario, make_rules(scenario, unscaled), num_envs=1, seed=0)


def test_scenarios_on_one_ground_share_its_terrain() -> None:
    first, second = (apply_capabilities(smacv2_scenario("zerg_5_vs_5"), {"n_units": n})[0] for n in (5, 6))
    assert make_terrain(first) is make_terrain(second)


def test_units_without_a_place_are_counted() -> None:
    scenario = smac_scenario("3m")
    far = np.zeros_like(scenario.pathing)
    far[:2, 30:] = True
    walled = dataclasses.replace(scenario, pathing=far)
    with pytest.raises(ValueError, match="'3m': 6 units find no place"):
        Engine(walled, make_rules(walled, smac_options({})), num_envs=1, seed=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stats": "void"}, "Unknown unit stats 'void'"),
        ({"spawn": "fited"}, "Unknown spawn 'fited': did you mean fitted"),
        ({"switches": {"jiter": True}}, "Unknown battle switch 'jiter': did you mean jitter"),
        ({"switches": {"stats": "liberty"}}, "Unknown battle switch 'stats'"),
        ({"switches": {"jitter": 1}}, "jitter must be true or false"),
        ({"switches": {"enemy_medivac": "fly"}}, "Unknown enemy_medivac 'fly'"),
        ({"switches": {"enemy_medivac": True}}, "Unknown enemy_medivac True: Allowed: walk, stay, heal"),
        ({"switches": {"own_fighters_block": "enemies"}}, "own_fighters_block must be true or false, not 'enemies'"),
        ({"switches": {"initial_loops": -1}}, "initial_loops must be a whole number from 0 to 160, not -1"),
        ({"switches": {"initial_loops": 10**6}}, "initial_loops must be a whole number from 0 to 160"),
        ({"switches": {"initial_loops": 2.5}}, "initial_loops must be a whole number"),
        ({"switches": {"scan_bonus": float("nan")}}, "scan_bonus must be a number from 0.0 to 32"),
        ({"num_envs": 0}, "num_envs must be a whole number of at least 1"),
        ({"threads": 0}, "threads must be a whole number of at least 1"),
        ({"threads": "2"}, "threads must be a whole number of at least 1, not '2'"),
        ({"threads": True}, "threads must be a whole number of at least 1, not True"),
        ({"seed": 1.5}, "The seed must be a whole number of at most 64 bits, not 1.5"),
        ({"seed": 2**64}, "The seed must be a whole number of at most 64 bits"),
        ({"stats": 5}, "Unknown unit stats 5"),
        ({"spawn": None}, "Unknown spawn None"),
        ({"switches": 5}, "switches must name battle switches"),
    ],
)
def test_bad_options_of_the_engine(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_engine("3m", **options)


def test_fitted_positions_exist_for_four_maps_only() -> None:
    with pytest.raises(ValueError, match="no positions for '3s5z'"):
        make_engine("3s5z", spawn="fitted")
    walking = make_engine("3m", spawn="fitted", switches={"initial_loops": 5})
    assert walking.arena.world["switches"]["initial_loops"] == 5
    engine = make_engine("3m", spawn="fitted")
    engine.reset()
    assert sorted(engine.arena.units.x[0, :3] - 9) == pytest.approx([0.30, 0.38, 0.98], abs=1e-6)


@pytest.mark.parametrize(
    ("version", "kind", "field", "expected"),
    [
        ("liberty", "marine", "period", 13.7728),
        ("liberty", "stalker", "period", 23.04),
        ("lotv", "stalker", "period", 29.92),
        ("liberty", "colossus", "range", 6),
        ("liberty", "colossus", "period", 35.2),
        ("lotv", "colossus", "period", 24),
        ("lotv", "colossus", "range", 7),
        ("lotv", "colossus", "scan", 8),
        ("lotv", "hydralisk", "period", 13.2),
        ("lotv", "hydralisk", "health", 80),
        ("lotv", "hydralisk", "enemy_health", 90),
        ("liberty", "hydralisk", "enemy_health", 80),
        ("lotv", "zealot", "scan", 5),
        ("lotv", "medivac", "scan", 0),
        ("liberty", "stalker", "scan", 6),
        ("liberty", "zealot", "scan", 5),
        ("liberty", "medivac", "heal_rate", 0.5625),
        ("liberty", "stalker", "missile", 1.171875),
    ],
)
def test_stats_in_game_loops(version: str, kind: str, field: str, expected: float) -> None:
    assert load_stats(version)[KINDS.index(kind)][field] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("shooter", "victim", "damage"),
    [
        ("marauder", "stalker", 20),
        ("marauder", "zealot", 10),
        ("baneling", "marine", 35),
        ("baneling", "marauder", 20),
        ("stalker", "zealot", 13),
        ("stalker", "colossus", 18),
        ("colossus", "zergling", 15),  # two hits leave it alive, where the mod's 20 kill it
    ],
)
def test_damage_depends_on_attributes(shooter: str, victim: str, damage: float) -> None:
    assert load_stats()[KINDS.index(shooter)]["damage"][KINDS.index(victim)] == damage


def test_both_versions_share_the_bodies_that_the_maps_define() -> None:
    body = ["health", "shield", "armor", "speed", "acceleration", "radius", "separation", "inner", "shield_regen"]
    assert (load_stats("lotv")[body] == load_stats("liberty")[body]).all()


def test_air_is_hit_by_those_who_can() -> None:
    hitters = {kind for kind, row in zip(KINDS, load_stats(), strict=True) if row["can_hit"][KINDS.index("medivac")]}
    assert hitters == {"marine", "stalker", "hydralisk"}


def test_the_lattice_has_a_point_for_every_unit_of_the_largest_side() -> None:
    assert len(lattice_offsets()) == MAX_SIDE


def test_the_lattice_is_sorted_by_distance_then_counterclockwise_from_the_south() -> None:
    offsets = lattice_offsets()
    assert (np.diff((offsets**2).sum(axis=1)) >= 0).all()
    ring, diagonal = [[0, -1], [1, 0], [0, 1], [-1, 0]], [[1, -1], [1, 1], [-1, 1], [-1, -1]]
    assert offsets[:9].tolist() == [[0, 0], *ring, *diagonal]


BLOCK = {(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1)}
DISC = {(x, y) for x in range(-3, 4) for y in range(-3, 4) if x * x + y * y <= 9}


@pytest.mark.parametrize(
    ("name", "kind", "seen"),
    [
        ("3m", "marine", {(0, 0), (0, -1), (1, 0)}),
        ("10m_vs_11m", "marine", BLOCK | {(0, -2), (2, 0)}),
        ("27m_vs_30m", "marine", DISC | {(1, -3)}),
        ("MMM", "marine", BLOCK - {(-1, -1), (-1, 1)}),
        ("MMM", "marauder", {(-1, -1), (-1, 1)}),
        ("3s_vs_3z", "zealot", {(0, 0), (0, -1), (1, 0)}),
    ],
)
def test_enemies_start_where_recordings_of_the_real_game_show_them(
    name: str, kind: str, seen: set[tuple[int, int]]
) -> None:
    engine = make_engine(name, num_envs=1, switches={"initial_loops": 0})
    engine.reset()
    f = engine.arena.fighters[0][-engine.scenario.n_enemies :]
    f = f[f["kind"] == KINDS.index(kind)]
    pitch = 2 * load_stats()[KINDS.index(kind)]["radius"]
    assert {(x, y) for x, y in zip((f["x"] - 23) / pitch, (f["y"] - 16) / pitch, strict=True)} == seen


def test_enemies_march_in_formation() -> None:
    for formation in (True, False):
        engine = make_engine("27m_vs_30m", num_envs=1, switches={"initial_loops": 20, "formation": formation})
        engine.reset()
        f = engine.arena.fighters[0][-30:]
        assert f["x"].mean() < 20.5
        assert (f["target"] < 0).all()
        assert (np.ptp(f["y"]) == pytest.approx(6 * 0.75, abs=0.02)) == formation


def assert_apart(engine: Engine) -> None:
    """All units are on the map, and those of a layer do not overlap."""
    kinds = engine.arena.world[0]["kinds"]
    for f in engine.arena.fighters:
        assert ((f["x"] >= 0) & (f["x"] < 32) & (f["y"] >= 0) & (f["y"] < 32)).all()
        separation, layer = kinds["separation"][f["kind"]], kinds["layer"][f["kind"]]
        distance = np.hypot(f["x"][:, None] - f["x"], f["y"][:, None] - f["y"]) + 1e3 * np.eye(len(f))
        distance[layer[:, None] != layer] = 1e3
        assert (distance - separation[:, None] - separation >= -1e-4).all()


@pytest.mark.parametrize("name", ["25m", "MMM2", "so_many_baneling", "2c_vs_64zg", "protoss_20_vs_23", "zerg_10_vs_11"])
def test_units_start_apart_inside_the_map_and_allies_are_numbered_by_kind_and_place(name: str) -> None:
    engine = make_engine(name, switches={"initial_loops": 0})
    for _ in range(2):
        engine.reset()
        assert_apart(engine)
        n = engine.scenario.n_agents
        for f in engine.arena.fighters:
            order = sorted(range(n), key=lambda i, f=f: (f["kind"][i], f["x"][i], f["y"][i]))
            assert order == list(range(n))


@pytest.mark.parametrize(("version", "inferred"), [("liberty", {}), ("lotv", {"colossus": 8, "marine": 5.5 - 0.375})])
def test_units_look_as_far_as_their_weapons_reach_and_at_least_five(version: str, inferred: dict[str, float]) -> None:
    for kind, row in zip(KINDS, load_stats(version), strict=True):
        expected = max(row["range"], 5) if row["attacks"] else 0
        assert row["scan"] == inferred.get(kind, expected), kind


def slot_shares(name: str, kind: str, **switches: bool) -> np.ndarray:
    """How often each enemy slot holds that kind, over 3,000 episodes."""
    engine = make_engine(name, num_envs=1500, switches=switches)
    shares = []
    for _ in range(2):
        engine.reset()
        shares.append((engine.arena.units.kind[:, engine.scenario.n_agents :] == KINDS.index(kind)).mean(axis=0))
    return np.mean(shares, axis=0)


@pytest.mark.parametrize(
    ("name", "kind", "shares"),
    [
        # Two stalkers are created first: each goes to either end, the second beside the first or opposite.
        ("2s3z", "stalker", [0.75, 0.25, 0, 0.25, 0.75]),
        ("2s3z", "zealot", [0.25, 0.75, 1, 0.75, 0.25]),
        ("1c3s5z", "colossus", [0.5, 0, 0, 0, 0, 0, 0, 0, 0.5]),
        # The medivac is created last: its slot is the number of nine others that went to the left.
        ("MMM", "medivac", [math.comb(9, k) / 2**9 for k in range(10)]),
    ],
)
def test_enemies_take_their_slots_from_the_ends(name: str, kind: str, shares: list[float]) -> None:
    assert slot_shares(name, kind) == pytest.approx(np.array(shares), abs=0.04)


def test_enemies_take_any_slot_where_the_switch_says_so() -> None:
    assert slot_shares("MMM", "medivac", slots_from_ends=False) == pytest.approx(np.full(10, 0.1), abs=0.03)


def test_smacv2_draws_teams_by_weight_without_teams_of_exceptions() -> None:
    engine = make_engine("terran_5_vs_5", num_envs=3000)
    engine.reset()
    kinds = engine.arena.units.kind
    medivacs = (kinds[:, :5] == KINDS.index("medivac")).sum(axis=1)
    assert medivacs.max() < 5
    assert medivacs.mean() == pytest.approx(0.5, abs=0.05)
    assert (np.sort(kinds[:, :5], axis=1) == np.sort(kinds[:, 5:], axis=1)).all()


def test_smacv2_starts_surrounded_or_mirrored_half_the_time_each() -> None:
    engine = make_engine("zerg_5_vs_5", num_envs=2000, switches={"initial_loops": 0})
    engine.reset()
    x, y = engine.arena.units.x, engine.arena.units.y
    surrounded = (np.hypot(x[:, :5] - 16, y[:, :5] - 16) < 3).all(axis=1)
    assert surrounded.mean() == pytest.approx(0.5, abs=0.05)
    ours, theirs = np.sort(x[~surrounded, :5], axis=1), np.sort(32 - x[~surrounded, 5:], axis=1)
    assert (np.abs(ours - theirs).max(axis=1) < 1e-3).mean() > 0.6  # the others were in one another's way
    corners = {(bool(a > 16), bool(b > 16)) for a, b in zip(x[surrounded, 5], y[surrounded, 5], strict=True)}
    assert len(corners) == 4


def drawn(race: str, num_envs: int, **config) -> Engine:
    """Battles of a race with another ``capability_config``, as they stand before anybody walks."""
    scenario, _ = apply_capabilities(smacv2_scenario(f"{race}_5_vs_5"), config)
    engine = Engine(
        scenario, make_rules(scenario, smacv2_options({})), num_envs=num_envs, seed=1, switches={"initial_loops": 0}
    )
    engine.reset()
    return engine


@pytest.mark.parametrize(
    ("start", "share"),
    [
        ({"dist_type": "surrounded"}, 1.0),
        ({"dist_type": "reflect_position"}, 0.0),
        ({"dist_type": "surrounded_and_reflect", "p": 0.0}, 1.0),
        ({"dist_type": "surrounded_and_reflect", "p": 0.1}, 0.9),
        ({"dist_type": "surrounded_and_reflect", "p": 0.9}, 0.1),
        ({"dist_type": "surrounded_and_reflect", "p": 1.0}, 0.0),
    ],
)
def test_smacv2s_p_is_the_share_of_reflected_starts(start: dict, share: float) -> None:
    units = drawn("zerg", 2000, start_positions=start).arena.units
    centred = (np.hypot(units.x[:, :5] - 16, units.y[:, :5] - 16) < 3).all(axis=1)
    assert centred.mean() == pytest.approx(share, abs=0.025 if 0 < share < 1 else 0)


def test_the_groups_around_a_surrounded_team_are_filled_one_after_the_other() -> None:
    """Dealt to slots from both ends, the group created first stands at the ends: each border shows up at most twice."""
    units = drawn("zerg", 1000, n_units=20, n_enemies=20, start_positions={"dist_type": "surrounded"}).arena.units
    x, y = units.x[:, 20:] - 16, units.y[:, 20:] - 16
    apart = np.minimum(np.abs(x), np.abs(y)).min(1) > 1  # no group reaches over the border of its quarter
    quarter = ((x > 0) * 2 + (y > 0))[apart]
    groups = np.array([len(np.unique(row)) for row in quarter])
    assert {1, 2, 3, 4} == set(groups.tolist())
    assert ((np.diff(quarter, axis=1) != 0).sum(1) <= 2 * (groups - 1)).all()
    sizes = (quarter[groups == 2] == quarter[groups == 2, :1]).mean(1)
    assert sizes.mean() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("name", [*smacv2_scenarios()])
def test_nobody_is_hurt_before_the_first_observation_of_smacv2(name: str) -> None:
    """One loop passes since the teams were created, and no weapon is that fast."""
    engine = make_engine(name, num_envs=200)
    engine.reset()
    units = engine.arena.units
    assert (units.health == units.health_max).all()
    assert (units.shield == units.shield_max).all()


@pytest.mark.parametrize("weights", [[0.7, 0.3], [1.0]])
def test_teams_of_fewer_kinds_than_a_race_has(weights: list[float]) -> None:
    kinds = ["stalker", "colossus"][: len(weights)]
    team = {"dist_type": "weighted_teams", "unit_types": kinds, "weights": weights}
    kind = drawn("protoss", 1000, team_gen=team).arena.units.kind
    assert [(kind == KINDS.index(name)).mean() for name in kinds] == pytest.approx(weights, abs=0.03)


@pytest.mark.parametrize(
    ("race", "n", "m"), [("zerg", 441, 5), ("protoss", 20, 441), ("terran", 250, 250), ("zerg", 400, 20)]
)
def test_more_units_than_find_room_are_refused(race: str, n: int, m: int) -> None:
    with pytest.raises(ValueError, match=f"{n} allies and {m} enemies may be more than the map has room for"):
        drawn(race, 1, n_units=n, n_enemies=m)


@pytest.mark.parametrize(("race", "n", "m"), [("zerg", 60, 60), ("protoss", 80, 80), ("terran", 150, 80)])
def test_as_many_as_find_room_stand_apart(race: str, n: int, m: int) -> None:
    assert_apart(drawn(race, 4, n_units=n, n_enemies=m))


def test_switch_defaults_differ_where_the_games_do() -> None:
    assert make_switches(smac_scenario("MMM"), {}).enemy_medivac == 0
    assert make_switches(smacv2_scenario("terran_5_vs_5"), {}).enemy_medivac == 2


def test_compilations_go_when_a_source_changes(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1")
    cache = tmp_path / "__pycache__"
    drop_stale_kernels(tmp_path)
    old = cache / "a.f-1.py311.nbi"
    old.write_text("compiled")
    drop_stale_kernels(tmp_path)
    assert old.exists()
    (tmp_path / "b.py").write_text("y = 1")
    drop_stale_kernels(tmp_path)
    assert not old.exists()
    assert (cache / STAMP).exists()
