"""Closed forms of the fighting rules: weapon cycle, damage, shields, missiles, splash, healing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ibal_lightning.envs.skirmish import damage
from ibal_lightning.envs.skirmish.kernel import kernel
from ibal_lightning.envs.skirmish.spawn import give_first_orders
from ibal_lightning.envs.skirmish.state import KINDS
from ibal_lightning.envs.skirmish.stats import load_stats
from tests.unit.battlefield import make_field

STATS = dict(zip(KINDS, load_stats("liberty"), strict=True))
hit = kernel(damage.hit.py_func)
line_distance = damage.line_distance.py_func
FAR = [("marine", 30.0, 30.0)]  # an enemy that meets nobody


def cycle(kind: str) -> tuple[int, int]:
    """Loops until the first shot of a unit in range that looks at its target, and between shots, without jitter."""
    return 1 + math.ceil(STATS[kind]["windup"] - 1e-9), math.ceil(STATS[kind]["period"] - 1e-9)


@pytest.mark.parametrize(
    ("shooter", "victim", "hits"), [("marine", "marine", 8), ("marine", "marauder", 25), ("zergling", "marine", 9)]
)
def test_time_to_kill_follows_damage_and_period(shooter: str, victim: str, hits: int) -> None:
    reach = STATS[shooter]["radius"] + STATS[victim]["radius"]
    field = make_field([(victim, 16.0, 16.0)], [(shooter, 16.0 + reach, 16.0)])
    first, period = cycle(shooter)
    assert field.loops_until(lambda: field.f["health"][0] <= 0) == first + period * (hits - 1)


@pytest.mark.parametrize("distance", [2.0, 4.5, 6.9])
@pytest.mark.parametrize("shooter", ["stalker", "marauder"])
def test_a_missile_arrives_after_distance_over_speed(shooter: str, distance: float) -> None:
    field = make_field([("zealot", 16.0, 16.0)], [(shooter, 16.0 + distance, 16.0)])
    flight = max(1, math.ceil((distance - STATS[shooter]["radius"]) / STATS[shooter]["missile"] - 1e-6))
    loops = field.loops_until(lambda: field.f["shield"][0] < 50)
    assert loops == cycle(shooter)[0] + flight


def test_a_missile_hits_after_its_shooter_died_and_is_lost_with_its_target() -> None:
    field = make_field([("zealot", 16.0, 16.0)], [("stalker", 22.0, 16.0)])
    field.loops_until(lambda: field.f["hit_timer"][1] > 0)
    field.f["health"][1] = 0.0
    field.loops(6)
    assert field.f["shield"][0] == 40.0
    field = make_field([("zealot", 16.0, 16.0)], [("stalker", 22.0, 16.0)])
    field.loops_until(lambda: field.f["hit_timer"][1] > 0)
    field.f["health"][0] = 0.0
    field.loops(6)
    assert field.f["shield"][0] == 50.0


def test_a_zealots_second_blade_falls_five_loops_later_if_the_zealot_lives() -> None:
    field = make_field([("marauder", 16.0, 16.0)], [("zealot", 17.0, 16.0)])
    assert field.loops_until(lambda: field.f["health"][0] == 125 - 7) == 1
    assert field.loops_until(lambda: field.f["health"][0] == 125 - 14) == 5
    field = make_field([("marauder", 16.0, 16.0)], [("zealot", 17.0, 16.0)]).loops(1)
    field.f["health"][1] = 0.0
    assert field.loops(10).f["health"][0] == 125 - 7


@pytest.mark.parametrize(
    ("shield", "amount", "shield_left", "health_lost"),
    [(50, 8, 42, 0), (3, 8, 0, 4), (0, 8, 0, 7), (0, 1.2, 0, 0.5), (8, 8, 0, 0), (7.9, 8, 0, 0.5)],
)
def test_shields_absorb_first_then_armour_then_at_least_a_half(
    shield: float, amount: float, shield_left: float, health_lost: float
) -> None:
    field = make_field([("zealot", 16.0, 16.0)], FAR)
    field.f["shield"][0] = shield
    hit(field.w, field.f, 0, amount)
    assert field.f["shield"][0] == pytest.approx(shield_left)
    assert field.f["health"][0] == pytest.approx(100 - health_lost)


def test_shields_regenerate_an_eighth_a_loop_after_160_quiet_loops() -> None:
    field = make_field([("stalker", 16.0, 16.0)], FAR)
    hit(field.w, field.f, 0, 30.0)
    assert field.loops(160).f["shield"][0] == 50.0
    assert field.loops(1).f["shield"][0] == 50.125
    assert field.loops(79).f["shield"][0] == 60.0
    assert field.loops(400).f["shield"][0] == 80.0


def test_a_new_order_cancels_the_shot_and_a_repeated_one_does_not() -> None:
    def wound_up() -> tuple:
        field = make_field([("stalker", 16.0, 16.0)], [("spinecrawler", 21.0, 16.0), ("medivac", 16.0, 21.0)])
        field.f["order"][1:] = 0
        field.w["kinds"]["can_hit"][:] = 1
        return field.command(0, "attack", 0).loops(1), field.f["cooldown"][0]

    field, cooldown = wound_up()
    assert field.f["windup"][0] > 0
    assert cooldown == pytest.approx(23.04)
    field.command(0, "attack", 0)
    assert field.f["windup"][0] > 0
    field, _ = wound_up()
    field.command(0, "stop")
    assert field.f["windup"][0] == 0
    assert field.f["cooldown"][0] == 0
    field, _ = wound_up()
    field.command(0, "attack", 1)
    assert field.f["windup"][0] == 0
    assert field.f["cooldown"][0] == 0


def test_jitter_spreads_the_period_between_minus_one_and_two_loops() -> None:
    field = make_field([("spinecrawler", 16.0, 16.0)], [("marine", 18.0, 16.0)], jitter=True)
    drawn = []
    for _ in range(300):
        field.f["cooldown"][1], field.f["windup"][1], field.f["health"][0] = 0.0, 0.0, 300.0
        field.loops(1)
        drawn.append(field.f["cooldown"][1] - STATS["marine"]["period"])
    assert -1 <= min(drawn) < -0.9
    assert 1.9 < max(drawn) <= 2
    assert np.mean(drawn) == pytest.approx(0.5, abs=0.2)


@pytest.mark.parametrize(
    ("along", "across", "expected"), [(0, 0, 0), (0.1, 0, 0.1), (0, 3, 3), (2.25, 0, 1), (-4.25, 4, 5)]
)
def test_the_colossus_line_is_eleven_samples_a_quarter_apart(along: float, across: float, expected: float) -> None:
    samples = np.arange(-1.25, 1.3, 0.25)
    assert line_distance(along, across) == pytest.approx(expected)
    assert line_distance(along, across) == pytest.approx(np.hypot(samples - along, across).min())


def test_a_colossus_burns_the_line_across_its_shot_and_nothing_else() -> None:
    edge = 1.25 + 0.15 + 0.375
    across = [("marine", 20.0, 16.0 + dy) for dy in (0.0, edge - 0.01, -edge + 0.01, edge + 0.3)]
    behind = [("marine", 20.0 + 0.15 + 0.375 + 0.05, 16.0)]
    field = make_field([*across, *behind], [("colossus", 15.0, 16.0)], turning=False)
    field.w["switches"]["separation"] = False
    field.loops(1 + 2 + 3)
    assert field.f["health"][:5].tolist() == [45, 5, 5, 45, 45]
    field.loops(3)
    assert field.f["health"][:5].tolist() == [5, 5, 5, 45, 45]


def test_a_baneling_hurts_every_ground_enemy_whose_edge_is_within_its_radius() -> None:
    reach = 2.2 + 0.375
    allies = [("marine", 15.2, 16.0), ("marine", 15.8, 16.0 + reach - 0.01), ("marine", 15.8, 16.0 - reach - 0.05)]
    field = make_field([*allies, ("medivac", 15.8, 16.0)], [("baneling", 15.8, 16.0)]).loops(1)
    assert field.f["health"].tolist() == [10, 10, 45, 150, 0]


def test_a_killed_baneling_explodes_and_sets_off_others() -> None:
    field = make_field(
        [("marine", 10.0, 16.0), ("baneling", 15.2, 16.0), ("zergling", 19.0, 16.0)],
        [("baneling", 14.0, 16.0), ("zergling", 17.0, 16.0)],
    )
    field.w["kinds"]["speed"][:] = 0
    field.f["health"][3] = 6.0
    field.command(0, "attack", 0).loops_until(lambda: field.f["health"][3] <= 0)
    assert field.f["health"].tolist() == [45, 10, 35, 0, 35]
    field.f["health"][1] = 1.0
    field.f["health"][3] = 6.0
    field.f["cooldown"][0] = 0
    field.command(0, "stop").command(0, "attack", 0)
    field.loops_until(lambda: field.f["health"][3] <= 0)
    assert field.f["health"].tolist() == [45, 0, 35, 0, 0]


def test_a_medivac_heals_at_its_rate_for_its_energy_and_stops_when_full() -> None:
    field = make_field([("marine", 16.0, 16.0), ("medivac", 18.0, 16.0)], FAR)
    field.f["health"][0] = 20.0
    field.command(1, "heal", 0).loops(16)
    assert field.f["health"][0] == pytest.approx(29.0)
    assert field.f["energy"][1] == pytest.approx(50 + 16 * 0.5625 / 16 - 9 * 0.33, abs=1e-4)
    field.loops(40)
    assert field.f["health"][0] == 45.0
    energy = float(field.f["energy"][1])
    assert field.loops(16).f["energy"][1] == pytest.approx(energy + 0.5625, abs=1e-4)


def test_healing_needs_energy_a_hurt_biological_comrade_and_range() -> None:
    field = make_field(
        [("marine", 16.0, 16.0), ("medivac", 18.0, 16.0), ("stalker", 20.0, 20.0)], [("marine", 30.0, 30.0)]
    )
    field.command(1, "heal", 0)
    assert field.f["order"][1] == 0
    field.f["health"][:] = 20.0
    field.command(1, "heal", 2)
    assert field.f["order"][1] == 0
    field.f["energy"][1] = 0.0
    field.command(1, "heal", 0).loops(16)
    assert field.f["health"][0] == pytest.approx(20 + 16 * 0.5625 / 16 / 0.33, rel=1e-4)
    field = make_field([("marine", 16.0, 16.0), ("medivac", 26.0, 16.0)], FAR)
    field.f["health"][0] = 20.0
    loops = field.command(1, "heal", 0).loops_until(lambda: field.f["health"][0] > 20)
    start, speed = 26 - 16 - 4 - 0.75 - 0.375, STATS["medivac"]["speed"]
    assert loops == pytest.approx(start / speed, abs=4)


def test_two_medivacs_do_not_heal_one_target_at_twice_the_rate() -> None:
    field = make_field(
        [("marine", 16.0, 16.0), ("medivac", 18.0, 16.0), ("medivac", 14.0, 16.0)], [("marine", 30.0, 30.0)]
    )
    field.f["health"][0] = 20.0
    field.command(1, "heal", 0).command(2, "heal", 0).loops(8)
    assert field.f["health"][0] == pytest.approx(24.5)


@pytest.mark.parametrize(
    ("mode", "healed", "moves"), [("walk", False, True), ("stay", False, False), ("heal", True, True)]
)
def test_the_enemy_medivac_switch(mode: str, healed: bool, moves: bool) -> None:
    field = make_field([("marine", 2.0, 2.0)], [("marine", 22.0, 16.0), ("medivac", 23.0, 16.0)], enemy_medivac=mode)
    field.w["advance"] = True
    field.w["start_x"], field.w["end_x"], field.w["start_y"], field.w["end_y"] = 9, 9, 16, 16
    give_first_orders(field.w, field.f, np.uint64(1))
    field.f["health"][1] = 20.0
    field.loops(30)
    assert (field.f["health"][1] > 20) == healed
    field.f["health"][1] = 45.0
    assert (field.loops(10).f["x"][2] < 23) == moves


def test_agents_have_the_maps_bodies_and_enemies_the_clients() -> None:
    field = make_field([("hydralisk", 6.0, 16.0)], [("hydralisk", 26.0, 16.0)], stats="lotv")
    assert list(field.f["health"]) == [80, 90]
    field.f["health"] -= 0.5
    field.loops(200)  # zerg regenerate to what they had
    assert list(field.f["health"]) == [80, 90]
