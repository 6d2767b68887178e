"""Each switch of the battle's rules in both positions, and the rules that no other file pins down."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ibal_lightning.envs.skirmish.state import KINDS
from ibal_lightning.envs.skirmish.stats import load_stats
from tests.unit.battlefield import make_field

STATS = dict(zip(KINDS, load_stats("liberty"), strict=True))
DUEL = ([("marauder", 16.0, 16.0)], [("marine", 20.0, 16.0)])


def loops_to_the_first_hit(allies: list, enemies: list, **switches: object) -> int:
    field = make_field(allies, enemies, **switches)
    life = float(field.f["health"][0] + field.f["shield"][0])
    return field.loops_until(lambda: field.f["health"][0] + field.f["shield"][0] < life)


@pytest.mark.parametrize(("on", "loops"), [(True, 2), (False, 1)])
def test_windup(on: bool, loops: int) -> None:
    assert loops_to_the_first_hit(*DUEL, windup=on) == loops


@pytest.mark.parametrize("on", [True, False])
def test_missiles(on: bool) -> None:
    shot = 1 + math.ceil(STATS["stalker"]["windup"])
    flight = math.ceil((4 - STATS["stalker"]["radius"]) / STATS["stalker"]["missile"])
    loops = loops_to_the_first_hit([("zealot", 16.0, 16.0)], [("stalker", 20.0, 16.0)], missiles=on)
    assert loops == shot + (flight if on else 0)


@pytest.mark.parametrize(("on", "left"), [(True, 45 - 8), (False, 45 - 16)])
def test_second_hit(on: bool, left: int) -> None:
    field = make_field([("marine", 16.0, 16.0)], [("zealot", 16.9, 16.0)], second_hit=on)
    field.loops_until(lambda: field.f["health"][0] < 45)
    assert field.f["health"][0] == left


@pytest.mark.parametrize(("on", "damage"), [(True, 5), (False, 6)])
def test_armor(on: bool, damage: int) -> None:
    field = make_field(*DUEL, armor=on)
    field.loops_until(lambda: field.f["health"][0] < 125)
    assert field.f["health"][0] == 125 - damage


@pytest.mark.parametrize("on", [True, False])
def test_backswing(on: bool) -> None:
    """An enemy whose target leaves its range stands for the backswing after a shot, or follows at once."""
    field = make_field(*DUEL, backswing=on)
    field.loops_until(lambda: field.f["health"][0] < 125)
    field.f["x"][0] = 13.7  # beyond the range of 5, inside what it scans
    field.w["kinds"]["scan"][:] = 12
    stood = field.loops_until(lambda: field.f["x"][1] < 20) - 1
    assert stood == (math.ceil(STATS["marine"]["backswing"]) - 1 if on else 0)


def test_a_repeated_order_ends_the_backswing() -> None:
    field = make_field([("marine", 16.0, 16.0)], [("marauder", 20.0, 16.0)]).command(0, "attack", 0)
    field.loops_until(lambda: field.f["health"][1] < 125)
    field.f["x"][1] = 25.0
    field.loops(1)
    assert field.f["x"][0] == 16
    assert field.command(0, "attack", 0).loops(1).f["x"][0] > 16


@pytest.mark.parametrize(("outside", "falls"), [(0.99, True), (1.01, False)])
def test_a_shot_that_has_begun_falls_if_its_target_is_up_to_one_outside(outside: float, falls: bool) -> None:
    field = make_field(*DUEL).loops(1)
    assert field.f["windup"][1] > 0
    field.f["x"][0] = 20 - (5 + STATS["marine"]["radius"] + STATS["marauder"]["radius"] + outside)
    field.w["kinds"]["scan"][:] = 12
    assert (field.loops(1).f["health"][0] < 125) == falls


@pytest.mark.parametrize("on", [True, False])
def test_blocking(on: bool) -> None:
    field = make_field([("marine", 10.0, 16.0)], [("spinecrawler", 13.0, 16.0)], blocking=on)
    field.disarm("spinecrawler")
    field.command(0, "move", x=18.0, y=16.0)
    apart = [field.loops(1).apart(0, 1) for _ in range(60)]
    touch = STATS["marine"]["inner"] + STATS["spinecrawler"]["inner"]
    assert (min(apart) > touch - 1e-4) == on


@pytest.mark.parametrize("on", [True, False])
def test_path_finding(on: bool) -> None:
    pathing = np.ones((32, 32), bool)
    pathing[4:28, 15] = False
    field = make_field([("zealot", 10.0, 16.0)], [("marine", 30.0, 1.0)], pathing=pathing, path_finding=on)
    field.command(0, "move", x=20.0, y=16.0).loops(300)
    assert (field.f["x"][0] > 19) == on


@pytest.mark.parametrize(("on", "apart"), [(True, 0.75), (False, 0.5)])
def test_separation(on: bool, apart: float) -> None:
    field = make_field([("marine", 10.0, 16.0), ("marine", 10.5, 16.0)], [("marine", 30.0, 30.0)], separation=on)
    assert np.ptp(field.loops(1).f["x"][:2]) == pytest.approx(apart)


@pytest.mark.parametrize("bonus", [0.0, 0.5, 3.0])
def test_scan_bonus(bonus: float) -> None:
    reach = 5 + bonus + 2 * STATS["marine"]["radius"]
    for beyond, target in ((-0.01, 0), (0.01, -1)):
        field = make_field([("marine", 6.0, 16.0)], [("marine", 6 + reach + beyond, 16.0)], scan_bonus=bonus)
        assert field.loops(1).f["target"][1] == target


def test_a_walk_along_the_edge_of_another_is_not_held_up() -> None:
    """Around a unit that is touched: the arc and the tangent from it, whichever way rounding puts the contact."""
    touch = STATS["marine"]["inner"] + STATS["spinecrawler"]["inner"]
    way = touch * (2.8 - math.acos(touch / 4)) + math.sqrt(16 - touch**2)
    for k in range(60):
        angle, reach = 2 * math.pi * k / 60, touch - (0.0, 0.01)[k % 2]
        x, y = 16 + reach * math.cos(angle), 16 + reach * math.sin(angle)
        field = make_field([("marine", x, y)], [("spinecrawler", 16.0, 16.0)], turning=False)
        field.disarm("spinecrawler")
        field.command(0, "move", x=16 + 4 * math.cos(angle + 2.8), y=16 + 4 * math.sin(angle + 2.8))
        loops = field.loops_until(lambda f=field.f: f["order"][0] == 0)
        assert loops * STATS["marine"]["speed"] == pytest.approx(way, abs=0.4)


def test_zerg_units_heal_by_themselves() -> None:
    field = make_field([("marine", 3.0, 3.0)], [("zergling", 30.0, 30.0)])
    field.f["health"][1] = 20
    assert field.loops(16).f["health"][1] == pytest.approx(20 + 16 * STATS["zergling"]["health_regen"], abs=1e-4)
    assert STATS["zergling"]["health_regen"] > 0


@pytest.mark.parametrize(("energy", "patient"), [(50.0, 2), (4.0, -1)])
def test_autocast_picks_the_lowest_share_of_life_and_needs_five_energy(energy: float, patient: int) -> None:
    enemies = [("marine", 20.0, 16.0), ("marauder", 22.0, 16.0), ("medivac", 21.0, 16.0)]
    field = make_field([("marine", 3.0, 3.0)], enemies, enemy_medivac="heal")
    field.f["health"][1:3] = 40, 50  # 40 of 45 and 50 of 125
    field.f["energy"][3] = energy
    assert field.loops(1).f["target"][3] == patient
