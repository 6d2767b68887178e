"""Laws of what the agents are shown and may do, on made-up battles: no engine, no recording.

The recordings in tests/golden pin the numbers; these laws pin what must hold everywhere.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from ibal_lightning.envs.skirmish.catalogue import load_facts, smac_scenario, smacv2_scenario
from ibal_lightning.envs.skirmish.commands import find_illegal
from ibal_lightning.envs.skirmish.masks import in_cone
from ibal_lightning.envs.skirmish.memory import Memory, Outputs, allocate_memory, allocate_outputs
from ibal_lightning.envs.skirmish.names import obs_names
from ibal_lightning.envs.skirmish.observe import observe_game
from ibal_lightning.envs.skirmish.options import smac_options, smacv2_options
from ibal_lightning.envs.skirmish.outcome import begin_game, outcome_game
from ibal_lightning.envs.skirmish.rules import Rules, make_rules
from ibal_lightning.envs.skirmish.state import KINDS as ALL
from ibal_lightning.envs.skirmish.state import Units, allocate_units

compiled = njit(nogil=True, error_model="numpy", _nrt=False)  # not cached: numba would miss changes of what is called


@compiled
def begin(rules: Rules, units: Units, memory: Memory, out: Outputs) -> None:
    for g in range(units.x.shape[0]):
        begin_game(rules, units, memory, 7, g, out)
        observe_game(rules, units, memory, g, out)


@compiled
def judge(rules: Rules, units: Units, memory: Memory, out: Outputs) -> None:
    for g in range(units.x.shape[0]):
        outcome_game(rules, units, memory, g, out)
        observe_game(rules, units, memory, g, out)


@compiled
def cone(half: float, view_x: float, view_y: float, dx: float, dy: float) -> bool:
    return in_cone(half, view_x, view_y, dx, dy)


class Table(NamedTuple):
    """A batch of made-up battles at rest."""

    rules: Rules
    units: Units
    memory: Memory
    out: Outputs
    names: tuple[str, ...]

    def feature(self, name: str) -> np.ndarray:
        """(B, n) one observation feature."""
        return self.out.obs[:, :, self.names.index(name)]


KINDS = {"3m": ("marine",), "2s3z": ("stalker", "zealot"), "MMM": ("marauder", "marine", "medivac")}
V2_KINDS = {"terran": ("marauder", "marine", "medivac"), "protoss": ("colossus", "stalker", "zealot")}
VARIANTS = [
    ("3m", {}), ("2s3z", {}), ("MMM", {}), ("terran_5_vs_5", {}), ("protoss_5_vs_5", {"prob_obs_enemy": 0.5}),
    ("terran_5_vs_5", {"conic_fov": True}), ("protoss_5_vs_5", {"prob_obs_enemy": 0, "action_mask": False}),
]  # fmt: skip


def make_table(name: str, flags: dict, seed: int, games: int = 20) -> Table:
    """Units of the scenario's kinds anywhere on the map, hurt at random, about a fifth of them dead."""
    second = "_vs_" in name
    scenario = smacv2_scenario(name) if second else smac_scenario(name)
    options = smacv2_options({"use_unit_ranges": True, **flags}) if second else smac_options(flags)
    rules, random = make_rules(scenario, options), np.random.default_rng(seed)
    kinds = V2_KINDS[name.split("_")[0]] if second else KINDS[name]
    units = allocate_units(games, scenario.n_units)
    units.kind[:] = np.sort(random.choice([ALL.index(kind) for kind in kinds], units.kind.shape), axis=1)
    units.x[:], units.y[:] = random.uniform(8, 20, (2, *units.x.shape))
    facts = load_facts("units")["units"]
    units.health_max[:] = np.array([facts[kind]["hp"] for kind in ALL])[units.kind]
    units.shield_max[:] = np.array([facts[kind]["shield"] for kind in ALL])[units.kind]
    units.health[:] = units.health_max * random.uniform(0.1, 1, units.x.shape) * (random.random(units.x.shape) < 0.8)
    units.shield[:] = units.shield_max * random.random(units.x.shape)
    units.prev_health[:], units.prev_shield[:] = units.health, units.shield
    table = Table(
        rules, units, allocate_memory(rules, games), allocate_outputs(rules, games), obs_names(scenario, rules)
    )
    begin(*table[:4])
    return table


def genuine_asserts(table: Table, g: int, i: int, action: int) -> bool:
    """Whether ``get_agent_action`` of the genuine packages asserts, which asks ``get_avail_agent_actions``."""
    rules, units = table.rules, table.units
    if units.health[g, i] <= 0 or action == 0:
        return (action == 0) != (units.health[g, i] <= 0)
    if 2 <= action < 6:
        ahead = [(0, 1), (0, -1), (1, 0), (-1, 0)][action - 2]
        x, y = (int(float(at[g, i]) + rules.move_amount / 2 * way) for at, way in zip(units[1:3], ahead, strict=True))
        return not (0 <= x < rules.map_x and 0 <= y < rules.map_y and rules.pathing[y, x])
    if action < rules.n_actions_no_attack:
        return False
    target = action - rules.n_actions_no_attack
    heals = rules.heals and ALL[units.kind[g, i]] == "medivac"
    if heals and ALL[units.kind[g, target]] == "medivac":
        return True
    if target >= (rules.n_agents if heals else rules.n_enemies):
        return True
    slot = target if heals else rules.n_agents + target
    dx, dy = float(units.x[g, slot]) - float(units.x[g, i]), float(units.y[g, slot]) - float(units.y[g, i])
    near = math.hypot(dx, dy) <= rules.shoot[units.kind[g, i]]
    if rules.conic_fov:
        near &= in_cone.py_func(rules.half_cone, *table.memory.fov[g, i], dx, dy)
    return units.health[g, slot] <= 0 or (bool(rules.action_mask) and not near)


@pytest.mark.parametrize(("name", "flags"), VARIANTS)
def test_masks_forbid_exactly_what_the_genuine_packages_assert_on(name: str, flags: dict) -> None:
    table = make_table(name, flags, seed=1)
    for (g, i, action), legal in np.ndenumerate(table.out.avail):
        assert legal != genuine_asserts(table, g, i, action), (g, i, action)
    np.testing.assert_array_equal(table.out.alive, table.units.health[:, : table.rules.n_agents] > 0)


@pytest.mark.parametrize(("name", "flags"), VARIANTS)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_first_illegal_action_of_a_game_that_goes_on_is_found(name: str, flags: dict, seed: int) -> None:
    table, random = make_table(name, flags, seed), np.random.default_rng(seed)
    actions = table.out.avail.argmax(-1)
    wrong = random.random(actions.shape) < 0.05
    actions[wrong] = random.integers(-1, table.rules.n_actions + 1, wrong.sum())
    terminated, truncated = random.random((2, len(actions))) < 0.2
    inside = np.clip(actions, 0, table.rules.n_actions - 1)
    legal = np.take_along_axis(table.out.avail, inside[..., None], 2)[..., 0] & (inside == actions)
    illegal = np.flatnonzero(~legal & ~(terminated | truncated)[:, None])
    assert find_illegal(table.out.avail, terminated, truncated, actions) == (illegal[0] if len(illegal) else -1)
    assert find_illegal(table.out.avail, terminated | True, truncated, actions) == -1


@pytest.mark.parametrize(("name", "flags"), VARIANTS)
def test_nothing_is_seen_of_the_dead_nor_by_them(name: str, flags: dict) -> None:
    table = make_table(name, flags, seed=2)
    n, health = table.rules.n_agents, table.units.health
    assert not table.out.obs[health[:, :n] == 0].any()
    for e in range(table.rules.n_enemies):
        rows = [k for k, feature in enumerate(table.names) if feature.startswith(f"enemy {e}:")]
        assert not table.out.obs[health[:, n + e] == 0][..., rows].any()


@pytest.mark.parametrize("name", ["3m", "2s3z", "MMM"])
def test_smac_shows_an_enemy_exactly_inside_sight(name: str) -> None:
    table = make_table(name, {}, seed=3)
    n, u = table.rules.n_agents, table.units
    for e in range(table.rules.n_enemies):
        apart = np.hypot(*(np.float64(v[:, n + e, None]) - v[:, :n] for v in (u.x, u.y)))
        seen = (apart < 9) & (u.health[:, :n] > 0) & (u.health[:, n + e, None] > 0)
        np.testing.assert_allclose(table.feature(f"enemy {e}: distance"), np.where(seen, apart / 9, 0), atol=1e-6)
        life = u.health[:, n + e, None] / u.health_max[:, n + e, None]
        np.testing.assert_allclose(table.feature(f"enemy {e}: health"), np.where(seen, life, 0), atol=1e-6)


@settings(max_examples=200, deadline=None)
@given(view=st.integers(0, 11), offset=st.floats(-0.99, 0.99), far=st.floats(0.5, 10))
def test_the_cone_holds_its_own_sector(view: int, offset: float, far: float) -> None:
    """Twelve views: whatever lies less than 15 degrees off one that is not vertical is seen."""
    half, angle = math.pi / 12, 2 * math.pi * view / 12
    if view in (3, 9):
        return  # the package's slope test treats the two sides of a vertical view differently
    towards = angle + offset * half
    assert cone(half, math.cos(angle), math.sin(angle), far * math.cos(towards), far * math.sin(towards))


@settings(max_examples=100, deadline=None)
@given(offset=st.floats(1.01, 5.9), side=st.sampled_from([-1, 1]))
def test_the_cone_ends_at_its_half_angle(offset: float, side: int) -> None:
    half = math.pi / 12
    towards = side * offset * half  # up to a right angle away from a view to the east
    assert not cone(half, 1.0, 0.0, math.cos(towards), math.sin(towards))


def test_the_cones_quirk_shows_units_behind_a_view_along_x() -> None:
    assert cone(math.pi / 12, 1.0, 0.0, -3.0, 0.0)


def beat(table: Table, steps: int, *, win: bool) -> np.ndarray:
    """(steps, B) rewards of wearing one side down to nothing in equal parts."""
    n, u = table.rules.n_agents, table.units
    side = slice(n, None) if win else slice(0, n)
    rewards = []
    for step in range(1, steps + 1):
        u.prev_health[:], u.prev_shield[:] = u.health, u.shield
        left = 1 - step / steps
        u.health[:, side], u.shield[:, side] = u.health_max[:, side] * left, u.shield_max[:, side] * left
        judge(*table[:4])
        rewards.append(table.out.reward.copy())
    return np.stack(rewards)


def full_health(name: str, flags: dict) -> Table:
    table = make_table(name, flags, seed=4)
    u = table.units
    u.health[:], u.shield[:] = u.health_max, u.shield_max
    return table


@pytest.mark.parametrize(("name", "flags"), [("3m", {}), ("2s3z", {}), ("protoss_5_vs_5", {})])
@pytest.mark.parametrize("steps", [1, 7])
def test_a_perfect_win_pays_twenty(name: str, flags: dict, steps: int) -> None:
    rewards = beat(full_health(name, flags), steps, win=True)
    np.testing.assert_allclose(rewards.sum(0), 20, rtol=1e-5)


def test_a_defeat_pays_nothing_when_rewards_are_positive_only() -> None:
    table = full_health("3m", {})
    assert not beat(table, 5, win=False).any()
    assert table.out.terminated.all()
    assert not table.out.won.any()


def test_losses_cost_half_when_rewards_may_be_negative() -> None:
    table = full_health("3m", {"reward_only_positive": False, "reward_scale": False, "reward_defeat": -3})
    np.testing.assert_allclose(beat(table, 5, win=False).sum(0), -0.5 * (3 * 45 + 3 * 10) - 3, rtol=1e-5)


@pytest.mark.parametrize(("win", "expected"), [(True, 1.0), (False, -1.0)])
def test_sparse_rewards(win: bool, expected: float) -> None:
    flags = {"reward_sparse": True}
    rewards = beat(full_health("3m", {**flags, "reward_scale": False}), 4, win=win)
    np.testing.assert_array_equal(rewards[:-1], 0)
    np.testing.assert_array_equal(rewards[-1], expected)
    scaled = beat(full_health("3m", flags), 4, win=win)
    np.testing.assert_allclose(scaled[-1], expected / (365 / 20), rtol=1e-6)


def test_healing_enemies_pays_in_smac_only() -> None:
    """abs() in SMAC, max(., 0) in SMACv2."""
    for name, expected in (("2s3z", 5 * 4.0), ("protoss_5_vs_5", 0.0)):
        table = full_health(name, {"reward_scale": False})
        u = table.units
        u.prev_health[:], u.prev_shield[:] = u.health, u.shield - 4
        u.prev_shield[:, : table.rules.n_agents] += 4
        judge(*table[:4])
        np.testing.assert_allclose(table.out.reward, expected)


@pytest.mark.parametrize(("probability", "shared"), [(0, 0.0), (1, 1.0), (0.25, 0.25)])
def test_an_enemy_in_everybodys_sight_has_one_owner_and_is_shared_by_chance(probability: float, shared: float) -> None:
    table = make_table("protoss_5_vs_5", {"prob_obs_enemy": probability, "action_mask": False}, seed=5, games=400)
    table.units.health[:] = table.units.health_max
    table.units.x[:], table.units.y[:] = 16, 16
    begin(*table[:4])
    owner, seen = table.memory.owner, table.memory.seen
    assert (owner >= 0).all()
    assert np.take_along_axis(seen, owner[..., None].astype(int), 2).all()
    others = (seen.sum(2) - 1) / 4
    assert others.mean() == pytest.approx(shared, abs=0.02)
    # In random order each agent is first equally often.
    first = np.bincount(owner.ravel(), minlength=5) / owner.size
    np.testing.assert_allclose(first, 0.2, atol=0.07)


def test_visits_depend_on_the_episode_and_on_nothing_else() -> None:
    wide = make_table("protoss_5_vs_5", {"prob_obs_enemy": 0.5}, seed=6, games=8)
    narrow = make_table("protoss_5_vs_5", {"prob_obs_enemy": 0.5}, seed=6, games=8)
    few = Table(
        narrow.rules,
        Units(*(a[:3] for a in narrow.units)),
        allocate_memory(narrow.rules, 3),
        allocate_outputs(narrow.rules, 3),
        narrow.names,
    )
    begin(*few[:4])
    np.testing.assert_array_equal(few.memory.order, wide.memory.order[:3])
    np.testing.assert_array_equal(few.memory.seen, wide.memory.seen[:3])
    assert len({tuple(order) for order in wide.memory.order}) > 1
    np.testing.assert_array_equal(np.sort(wide.memory.order, axis=1), np.tile(np.arange(5), (8, 1)))
