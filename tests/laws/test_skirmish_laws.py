"""Laws of whole battles on the embedded engine: bounds, bookkeeping, symmetry, determinism, exact resume."""

from __future__ import annotations

import gc
import threading
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibal_lightning.envs.skirmish.battle import ATTACKING
from ibal_lightning.envs.skirmish.catalogue import smac_maps, smac_scenario, smacv2_scenario, smacv2_scenarios
from ibal_lightning.envs.skirmish.engine import Engine
from ibal_lightning.envs.skirmish.options import smac_options, smacv2_options
from ibal_lightning.envs.skirmish.rules import make_rules
from ibal_lightning.envs.skirmish.stats import GROUND
from tests.unit.battlefield import make_field

ALL = (*smac_maps(), *smacv2_scenarios())
MIXED = ("MMM", "2s3z", "bane_vs_bane", "2c_vs_64zg", "terran_5_vs_5", "zerg_5_vs_5", "protoss_5_vs_5")


def make_engine(name: str, num_envs: int = 4, flags: dict | None = None, **options) -> Engine:
    options = {"seed": 1} | options
    if name in smac_maps():
        scenario = smac_scenario(name)
        return Engine(scenario, make_rules(scenario, smac_options(flags or {})), num_envs=num_envs, **options)
    scenario = smacv2_scenario(name)
    return Engine(scenario, make_rules(scenario, smacv2_options(flags or {})), num_envs=num_envs, **options)


def random_actions(engine: Engine, rng: np.random.Generator) -> np.ndarray:
    return (rng.random(engine.outputs.avail.shape) * engine.outputs.avail).argmax(axis=-1)


def play(engine: Engine, steps: int, look: Callable[[Engine], None], seed: int = 0) -> None:
    """Random legal steps; games that end start anew."""
    rng = np.random.default_rng(seed)
    engine.reset()
    for _ in range(steps):
        engine.step(random_actions(engine, rng))
        look(engine)
        over = engine.outputs.terminated | engine.outputs.truncated
        if over.any():
            engine.reset(over)


def check_bounds(engine: Engine) -> None:
    """Nothing outside its bounds, nobody off the map, no undefined number."""
    f, kinds = engine.arena.fighters, engine.arena.world[0]["kinds"]
    n = engine.scenario.n_agents
    full = np.hstack([kinds["health"][f["kind"][:, :n]], kinds["enemy_health"][f["kind"][:, n:]]])
    for name, most in (("health", full), ("shield", kinds["shield"][f["kind"]])):
        assert ((f[name] >= 0) & (f[name] <= most + 1e-4)).all()
    assert ((f["energy"] >= 0) & (f["energy"] <= kinds["energy_max"][f["kind"]])).all()
    assert ((f["x"] >= 0) & (f["x"] < 32) & (f["y"] >= 0) & (f["y"] < 32)).all()
    walks = (kinds["layer"][f["kind"]] == GROUND) & (f["health"] > 0)
    assert engine.arena.world[0]["terrain"]["open"][f["y"].astype(int), f["x"].astype(int)][walks].all()
    for array in (engine.outputs.obs, engine.outputs.state, engine.outputs.reward):
        assert np.isfinite(array).all()


@pytest.mark.parametrize("name", ALL)
def test_nothing_leaves_its_bounds(name: str) -> None:
    play(make_engine(name), 60, check_bounds)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_nothing_leaves_its_bounds_in_a_million_steps(name: str) -> None:
    play(make_engine(name, 2000), 500, check_bounds)


@pytest.mark.parametrize("name", MIXED)
def test_the_dead_stay_where_they_were_and_nobody_aims_at_them(name: str) -> None:
    engine = make_engine(name, 8)
    engine.reset()
    rng = np.random.default_rng(0)
    for _ in range(40):
        f = engine.arena.fighters
        before, dead = f.copy(), f["health"] <= 0
        engine.step(random_actions(engine, rng))
        moving = ~(engine.outputs.terminated | engine.outputs.truncated)
        for field in ("x", "y", "health", "draws", "face_x"):
            assert (f[field] == before[field])[dead].all()
        games, units = np.nonzero((f["target"] >= 0) & (f["health"] > 0) & moving[:, None])
        targets = f["target"][games, units]
        newly = before["health"][games, targets] > 0
        assert (newly | (f["health"][games, targets] > 0)).all()


@pytest.mark.parametrize("name", ["3m", "2s3z", "3s5z_vs_3s6z", "bane_vs_bane"])
def test_rewards_add_up_to_the_life_the_enemy_lost(name: str) -> None:
    flags = {"reward_scale": False, "reward_win": 0, "reward_death_value": 0, "reward_only_positive": False}
    engine = make_engine(name, 6, flags | {"reward_negative_scale": 0})
    engine.reset()
    n, units = engine.scenario.n_agents, engine.arena.units
    whole, earned = units.health[:, n:].sum(1) + units.shield[:, n:].sum(1), np.zeros(6)
    rng = np.random.default_rng(0)
    for _ in range(50):
        engine.step(random_actions(engine, rng))
        earned += engine.outputs.reward
        living = units.health[:, n:] > 0
        left = units.health[:, n:].sum(1) + (units.shield[:, n:] * living).sum(1)
        assert earned == pytest.approx(whole - left, abs=1e-2)


# The same examples every time: in one of 1,500 battles rounding, which is not symmetric, tips somebody over a threshold
@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10**6))
def test_a_reflected_battle_is_the_reflection_of_the_battle(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kinds = ["marine", "marauder", "stalker", "zealot", "zergling", "colossus", "baneling"]
    place = lambda x: (str(rng.choice(kinds)), x + 3 * rng.random(), 12 + 8 * rng.random())  # noqa: E731
    allies, enemies = [place(9.0) for _ in range(4)], [place(14.0) for _ in range(4)]
    mirrored = [[(kind, x, 32 - y) for kind, x, y in side] for side in (allies, enemies)]
    field, mirror = make_field(allies, enemies, order="chase"), make_field(*mirrored, order="chase")
    mirror.f["y"] = 32 - field.f["y"]
    for i in range(4):
        for one in (field, mirror):
            one.command(i, "attack", int(i))
    field.loops(12)
    mirror.loops(12)
    assert mirror.f["x"] == pytest.approx(field.f["x"], abs=1e-3)
    assert mirror.f["y"] == pytest.approx(32 - field.f["y"], abs=1e-3)
    assert mirror.f["health"] == pytest.approx(field.f["health"])


def duels(left: list, right: list, *, blocks: bool, right_first: bool, swapped: bool) -> tuple[np.ndarray, ...]:
    """x, y, health and shield of all units, left first, after each unit attacked its counterpart for twenty loops."""
    sides = (right, left) if swapped else (left, right)
    field = make_field(*sides, enemies_first=right_first != swapped, own_fighters_block=blocks)
    half = len(left)
    field.f["order"], field.f["order_target"] = ATTACKING, np.roll(np.arange(2 * half), half)
    field.f["face_x"] = np.where(field.f["x"] < 16, 1.0, -1.0)
    field.loops(20)
    order = np.roll(np.arange(2 * half), half if swapped else 0)
    return tuple(field.f[name][order] for name in ("x", "y", "health", "shield"))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10**6))
def test_which_side_is_the_agents_decides_nothing_where_both_have_the_same_orders(seed: int) -> None:
    """Agents are passive and enemies seek targets; else only who acts first tells them apart."""
    rng = np.random.default_rng(seed)
    kinds = ["marine", "marauder", "stalker", "hydralisk", "zealot"]  # that survive, for a unit without orders differs
    place = lambda x: (str(rng.choice(kinds)), x + 3 * rng.random(), 12 + 8 * rng.random())  # noqa: E731
    left, right = [place(11.0) for _ in range(4)], [place(17.0) for _ in range(4)]
    for rules in ({"blocks": b, "right_first": r} for b in (False, True) for r in (False, True)):
        here, there = (duels(left, right, **rules, swapped=swapped) for swapped in (False, True))
        for a, b in zip(here, there, strict=True):
            assert a == pytest.approx(b, abs=1e-3)
        assert here[2].min() > 0


def trace(engine: Engine, games: int, steps: int = 30) -> list[np.ndarray]:
    """What the first games show under actions that depend on game and step only."""
    engine.reset()
    shown = []
    for t in range(steps):
        draws = np.stack(
            [np.random.default_rng([t, g]).random(engine.outputs.avail.shape[1:]) for g in range(engine.num_envs)]
        )
        engine.step((draws * engine.outputs.avail).argmax(axis=-1))
        shown += [
            engine.outputs.obs[:games].copy(),
            engine.outputs.state[:games].copy(),
            engine.outputs.reward[:games].copy(),
        ]
        engine.reset(engine.outputs.terminated | engine.outputs.truncated)
    return shown


@pytest.mark.parametrize("name", ["3m", "MMM", "protoss_5_vs_5"])
def test_a_game_does_not_depend_on_batch_or_threads(name: str) -> None:
    expected = trace(make_engine(name, 7), 7)
    for engine in (make_engine(name, 1), make_engine(name, 2), make_engine(name, 7, threads=3)):
        for a, b in zip(expected, trace(engine, engine.num_envs), strict=True):
            assert (a[: engine.num_envs] == b).all()


@pytest.mark.parametrize("threads", [2, 3])
def test_fresh_helpers_play_no_game_twice(threads: int) -> None:
    """The first turns of new threads, which may wake before, while or after there is something to do."""
    alone = make_engine("MMM", 8)
    alone.reset()
    for _ in range(30):
        engine = make_engine("MMM", 8, threads=threads)
        assert (engine.reset().state == alone.outputs.state).all()
        assert (engine.arena.memory.episode == 0).all()


def test_helpers_end_with_their_engine() -> None:
    others = set(threading.enumerate())
    engine = make_engine("3m", 4, threads=3)
    engine.reset()
    helpers = set(threading.enumerate()) - others
    assert len(helpers) == 2
    del engine
    gc.collect()
    for helper in helpers:
        helper.join(timeout=5)
        assert not helper.is_alive()


def test_idle_helpers_cost_no_processor_time() -> None:
    engine = make_engine("3m", 4, threads=2)
    engine.reset()
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.1


@pytest.mark.parametrize("threads", [1, 2])
def test_a_step_allocates_nothing_that_grows_with_the_games(threads: int) -> None:
    engine, stop = make_engine("3m", 1000, threads=threads), np.ones((1000, 3), np.int64)
    for _ in range(10):
        engine.reset()
        time.sleep(0.01)  # helpers call for the first time
    engine.step(stop)
    tracemalloc.start()
    for _ in range(3):
        engine.step(stop)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12_000 <= stop.nbytes / 2 < engine.outputs.obs.nbytes  # the arguments' boxes, whatever the games


def test_games_episodes_and_seeds_differ() -> None:
    a = make_engine("MMM", 2)
    a.reset()
    first = a.arena.units.kind.copy()
    assert (first[0] != first[1]).any()
    a.reset()
    assert (a.arena.units.kind != first).any(axis=1).all()
    b = make_engine("MMM", 2, seed=2)
    b.reset()
    assert (b.arena.units.kind != first).any(axis=1).all()


@pytest.mark.parametrize("name", ["MMM", "zerg_5_vs_5"])
def test_permuting_the_games_permutes_what_happens(name: str) -> None:
    engine, other, order = make_engine(name, 5), make_engine(name, 5), np.array([3, 0, 4, 1, 2])
    rng = np.random.default_rng(0)
    engine.reset()
    for _ in range(6):
        engine.step(random_actions(engine, rng))
    state = engine.state_dict()
    state["arrays"] = {key: array[order] for key, array in state["arrays"].items()}
    other.load_state_dict(state)
    for _ in range(6):
        actions = random_actions(engine, rng)
        engine.step(actions)
        other.step(actions[order])
        for a, b in zip(engine.outputs, other.outputs, strict=True):
            assert (a[order] == b).all()


@pytest.mark.parametrize("name", MIXED)
def test_a_battle_resumes_exactly_in_its_middle(name: str) -> None:
    engine, other = make_engine(name), make_engine(name, seed=99)
    rng = np.random.default_rng(0)
    engine.reset()
    for _ in range(7):
        engine.step(random_actions(engine, rng))
    other.load_state_dict(engine.state_dict())
    for _ in range(60):
        actions = random_actions(engine, rng)
        for one in (engine, other):
            one.step(actions)
            one.reset(one.outputs.terminated | one.outputs.truncated)
        for a, b in zip(engine.outputs, other.outputs, strict=True):
            assert (a == b).all()


def test_a_state_of_another_battle_is_refused() -> None:
    state = make_engine("3m").state_dict()
    with pytest.raises(ValueError, match="plays with scenario='8m', the saved state holds '3m'"):
        make_engine("8m").load_state_dict(state)
    with pytest.raises(ValueError, match="the saved state holds"):
        make_engine("3m", 5).load_state_dict(state)
    with pytest.raises(ValueError, match="holds no settings"):
        make_engine("3m").load_state_dict({"arrays": state["arrays"]})


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"stats": "liberty"}, "stats"),
        ({"spawn": "fitted"}, "spawn"),
        ({"switches": {"jitter": False}}, "jitter"),
        ({"flags": {"continuing_episode": True}}, "continuing_episode"),
        ({"flags": {"reward_scale": False}}, "reward_scale"),
    ],
)
def test_a_state_of_other_rules_is_refused(options: dict, name: str) -> None:
    engine = make_engine("3m", **options)
    with pytest.raises(ValueError, match=f"This engine plays with {name}="):
        engine.load_state_dict(make_engine("3m").state_dict())
    engine.load_state_dict(engine.state_dict())


def test_only_the_masked_games_start_anew_and_finished_ones_wait() -> None:
    engine = make_engine("3m", 3)
    engine.reset()
    stop = np.ones((3, 3), np.int64)
    while not engine.outputs.terminated.all():
        engine.step(np.where(engine.outputs.alive, stop, 0))
    before = engine.outputs.obs.copy(), engine.outputs.state.copy()
    engine.step(np.zeros((3, 3), np.int64))
    assert (engine.outputs.reward == 0).all()
    assert engine.outputs.terminated.all()
    engine.reset(np.array([False, True, False]))
    assert engine.outputs.terminated.tolist() == [True, False, True]
    assert (engine.outputs.state[[0, 2]] == before[1][[0, 2]]).all()
    assert engine.arena.memory.episode.tolist() == [0, 1, 0]


def focus_fire(engine: Engine) -> np.ndarray:
    """Each shoots the weakest enemy in reach; once the fight is on the others walk up to it, eastwards."""
    avail, n = engine.outputs.avail, engine.scenario.n_agents
    life = np.where(avail[:, :, 6:], engine.arena.units.health[:, None, n:], np.inf)
    in_reach = avail[:, :, 6:].any(axis=-1)
    approach = np.where(in_reach.any(axis=1, keepdims=True) & avail[:, :, 4], 4, 1)
    return np.where(avail[:, :, 0], 0, np.where(in_reach, life.argmin(axis=-1) + 6, approach))


@pytest.mark.parametrize(("policy", "least", "most"), [("focus", 0.85, 1.0), ("passive", 0.0, 0.0)])
def test_focused_fire_wins_8m_and_passivity_loses(policy: str, least: float, most: float) -> None:
    engine = make_engine("8m", 256)
    engine.reset()
    while not (engine.outputs.terminated | engine.outputs.truncated).all():
        passive = np.where(engine.outputs.alive, 1, 0)
        engine.step(focus_fire(engine) if policy == "focus" else passive)
    assert engine.outputs.terminated.all()
    assert least <= engine.outputs.won.mean() <= most


def test_allies_start_with_the_health_asked_for() -> None:
    engine = make_engine("2s3z", 2)
    engine.ally_health = 0.85
    engine.reset()
    units = engine.arena.units
    assert (units.health[:, :5] == np.float32(0.85) * units.health_max[:, :5]).all()
    assert (units.health[:, 5:] == units.health_max[:, 5:]).all()
    assert (units.shield == units.shield_max).all()
    engine.ally_health = 0.0
    with pytest.raises(ValueError, match="ally_health"):
        engine.reset()


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.zeros((2, 4)), "must have shape"),
        (np.ones((2, 3)), "must be whole numbers, not float64"),
        (np.full((2, 3), 8), r"Illegal action 8 of agent 0 in game 0; legal: \[1"),
    ],
)
def test_actions_that_cannot_be_played_are_refused(actions: np.ndarray, message: str) -> None:
    engine = make_engine("3m", 2)
    engine.reset()
    with pytest.raises(ValueError, match=message):
        engine.step(actions)
