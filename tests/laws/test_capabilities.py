"""SMACv2's ``capability_config``: teams, starts, levels of health, and the state that is one more look."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from ibal_lightning.envs.skirmish.engine import LOOPS_PER_STEP, Engine
from ibal_lightning.envs.skirmish.state import KINDS
from ibal_lightning.envs.smac import Smac
from ibal_lightning.envs.smacv2 import SmacV2

PROTOSS = ["stalker", "zealot", "colossus"]
MARINES = {"team_gen": {"dist_type": "weighted_teams", "unit_types": ["marine"], "weights": [1.0]}}  # far apart
STOP = 1


def make(scenario: str = "terran_5_vs_5", num_envs: int = 8, **options: Any) -> SmacV2:
    return SmacV2(scenario=scenario, num_envs=num_envs, seed=5, engine="skirmish", **options)


def engine_of(env: SmacV2) -> Engine:
    return env._games.engine


def levels(low: float, high: float, observe: bool = True) -> dict:
    return {
        "health": {"dist_type": "per_agent_uniform", "lower_bound": [low], "upper_bound": [high], "observe": observe}
    }


def every_team(n: int, **more: Any) -> dict:
    return {"n_units": n, "n_enemies": n, "team_gen": {"dist_type": "all_teams", "unit_types": PROTOSS, **more}}


def kinds_drawn(config: dict, num_envs: int) -> np.ndarray:
    """(B, U) kinds at the start; fixed starts, where agents' ids go by kind and enemies' slots by chance."""
    env = make("protoss_5_vs_5", num_envs, capability_config=config)
    env.reset()
    return engine_of(env).arena.units.kind.copy()


def test_all_teams_are_drawn_alike_and_both_sides_have_the_same() -> None:
    """Three kinds make ten teams of three, each of probability a tenth, whatever the number of orders it has."""
    kinds = kinds_drawn(every_team(3), 6000)
    ours, theirs = np.sort(kinds[:, :3], axis=1), np.sort(kinds[:, 3:], axis=1)
    assert np.array_equal(ours, theirs)
    teams, counts = np.unique(ours, axis=0, return_counts=True)
    known = sorted(KINDS.index(kind) for kind in PROTOSS)
    assert teams.tolist() == [list(team) for team in itertools.combinations_with_replacement(known, 3)]
    assert counts / 6000 == pytest.approx(np.full(10, 0.1), abs=4 * np.sqrt(0.09 / 6000))


def test_a_kind_that_cannot_be_a_whole_team_is_never_one() -> None:
    kinds = kinds_drawn(every_team(2, exception_unit_types=["colossus"]), 3000)
    colossi = (kinds[:, :2] == KINDS.index("colossus")).sum(1)
    assert colossi.max() == 1
    assert (colossi == 1).mean() == pytest.approx(2 / 5, abs=0.04)  # two of the five teams that are left


def test_the_order_of_a_team_is_random() -> None:
    """Enemies are created in the order of the team, and at a fixed start the first takes the point itself."""
    env = make("protoss_5_vs_5", 3000, capability_config=every_team(2), switches={"initial_loops": 0})
    env.reset()
    units = engine_of(env).arena.units
    mixed = units.kind[:, 2] != units.kind[:, 3]
    first = np.where(units.x[:, 2] == 24, units.kind[:, 2], units.kind[:, 3])[mixed]
    assert (first == units.kind[mixed, 2:].min(1)).mean() == pytest.approx(0.5, abs=0.05)


def test_teams_without_start_positions_stand_at_two_points() -> None:
    """As the package places them: allies around (8, 16), enemies around (24, 16), in every episode."""
    env = make(num_envs=4, capability_config=MARINES, switches={"initial_loops": 0})
    env.reset()
    units = engine_of(env).arena.units
    for x, side in ((8, slice(0, 5)), (24, slice(5, 10))):
        assert np.hypot(units.x[:, side] - x, units.y[:, side] - 16).max() < 1.5
    assert np.array_equal(units.x[0, :5], units.x[1, :5])


def test_a_config_may_come_from_anywhere() -> None:
    """From OmegaConf, with numpy's numbers and sets, and as the package leaves it."""
    gen = {"dist_type": "weighted_teams", "unit_types": ("marine", "medivac"), "weights": np.array([0.5, 0.5])}
    gen |= {"exception_unit_types": {"medivac"}, "env_key": "team_gen", "n_units": 4}
    odd = make(capability_config=OmegaConf.create(levels(0.1, 0.2)))
    assert odd.spec.fingerprint == make(capability_config=levels(0.1, 0.2)).spec.fingerprint
    env = make(capability_config={"n_units": np.int64(4), "n_enemies": 4, "team_gen": gen})
    assert env.spec.n_agents == 4


def test_a_config_without_teams_changes_only_what_it_names() -> None:
    """Same seed, same battle as the scenario's own, with one more feature."""
    own, changed = make(), make(capability_config=levels(0.0, 0.0))
    own.reset(), changed.reset()
    mine, theirs = engine_of(own).arena.units, engine_of(changed).arena.units
    assert np.array_equal(mine.kind, theirs.kind)
    assert np.array_equal(mine.x, theirs.x)


def test_health_is_shown_above_the_level_below_which_an_agent_dies() -> None:
    """(share - level) / (1 - level), as the package computes it, and the level itself behind it."""
    env = make("protoss_5_vs_5", 64, capability_config=levels(0.1, 0.6))
    env.configure(ally_health=0.8)
    now, names = env.reset(), env.spec.obs_names
    level, shown = (now.obs[..., names.index(name)] for name in ("own: health level", "own: health"))
    assert 0.1 <= level.min() < 0.15
    assert 0.55 < level.max() <= 0.6
    units = engine_of(env).arena.units
    share = torch.from_numpy(units.health[:, :5] / units.health_max[:, :5])
    torch.testing.assert_close(shown, (share - level) / (1 - level), atol=1e-5, rtol=0)
    near = now.obs[..., names.index("ally 1: visible")] > 0
    for name, value in (("health level", level), ("health", shown)):
        seen = now.obs[..., names.index(f"ally 1: {name}")]
        other = torch.cat([value[:, 1:2], value[:, :1].expand(-1, 4)], 1)  # ally 1 of agent 0 is agent 1
        torch.testing.assert_close(seen[near], other[near])


def test_levels_of_teammates_can_be_hidden() -> None:
    now = (env := make(capability_config=levels(0.3, 0.6, observe=False))).reset()
    hidden = [k for k, name in enumerate(env.spec.obs_names) if name.startswith("ally") and "health" in name]
    assert len(hidden) == 2 * 4
    assert not now.obs[..., hidden].any()
    assert (now.obs[..., env.spec.obs_names.index("own: health level")] > 0).all()


def weak_agents(left: int) -> tuple[SmacV2, np.ndarray]:
    """Battles of agents at 0.4 of their health, and which of them (B, n) have a level above that."""
    env = make(num_envs=32, capability_config=MARINES | levels(0.1, 0.7), kill_unit_step_mul=left)
    env.configure(ally_health=0.4)
    env.reset()
    doomed = engine_of(env).arena.memory.health_level > 0.4
    assert 0.3 < doomed.mean() < 0.7
    return env, doomed


def test_who_is_below_the_level_dies_in_the_next_step_and_nobody_is_paid_for_it() -> None:
    env, doomed = weak_agents(2)
    now = env.step(torch.full((32, 5), STOP))
    assert np.array_equal(now.alive.numpy(), ~doomed)
    assert not now.reward.any()


@pytest.mark.parametrize("left", [1, 2, 7])
def test_they_die_that_many_loops_before_the_step_ends(left: int) -> None:
    env, doomed = weak_agents(left)
    recorder = env.record([0])
    env.step(torch.full((32, 5), STOP))
    alive = recorder.frames(0)["health"][-LOOPS_PER_STEP:, :5] > 0
    assert alive[: LOOPS_PER_STEP - left].all()
    assert (alive[LOOPS_PER_STEP - left :] == ~doomed[0]).all()


def test_a_level_is_looked_at_once_a_step() -> None:
    """Who falls below it in a step is alive at its end, and dies in the next."""
    env = make("terran_5_vs_5", 64, capability_config=levels(0.5, 0.9))
    now, fell, generator = env.reset(), 0, torch.Generator().manual_seed(0)
    units, memory = engine_of(env).arena.units, engine_of(env).arena.memory
    for _ in range(40):
        weak = (units.health[:, :5] > 0) & (units.health[:, :5] / units.health_max[:, :5] < memory.health_level)
        weights = now.avail_actions.float()
        now = env.step(torch.multinomial(weights.flatten(0, 1), 1, generator=generator).view(64, 5))
        assert not (now.alive.numpy() & weak).any()
        fell += int(weak.sum())
        over = now.terminated | now.truncated
        if over.any():
            now = env.reset(mask=over)
    assert fell > 50


@pytest.mark.parametrize("loops", [0, 8])
def test_loops_before_the_kill_are_within_a_step(loops: int) -> None:
    with pytest.raises(ValueError, match=f"kill_unit_step_mul must leave loops .* 1 to 7, not {loops}"):
        make(capability_config=levels(0.1, 0.2), kill_unit_step_mul=loops)


def test_levels_of_health_are_for_positive_rewards_only() -> None:
    with pytest.raises(ValueError, match="reward_only_positive=True only"):
        make(capability_config=levels(0.1, 0.2), reward_only_positive=False)


def test_a_battle_with_levels_goes_on_as_it_was_saved() -> None:
    config = every_team(5) | levels(0.2, 0.7)
    first, second = (make("protoss_5_vs_5", capability_config=config, obs_instead_of_state=True) for _ in range(2))
    now = first.reset()
    for _ in range(6):
        now = first.step(now.avail_actions.int().argmax(-1))
    second.reset(seed=9)
    second.load_state_dict(first.state_dict())
    for _ in range(6):
        actions = now.avail_actions.int().argmax(-1)
        now, again = first.step(actions), second.step(actions)
        for name in ("obs", "state", "avail_actions", "alive", "reward"):
            assert torch.equal(getattr(now, name), getattr(again, name)), name


def test_what_changes_a_battle_or_its_looks_changes_its_fingerprint() -> None:
    whole = {"n_units": 5, "n_enemies": 5, **MARINES}
    kept = {"dist_type": "surrounded_and_reflect", "p": 0.5, "map_x": 32, "map_y": 32}
    asked: list[dict[str, Any]] = [
        {},
        {"capability_config": whole},
        {"capability_config": {**whole, "start_positions": kept}},
        {"obs_instead_of_state": True},
        {"capability_config": levels(0.1, 0.2)},
        {"capability_config": levels(0.1, 0.2), "kill_unit_step_mul": 3},
    ]
    names = [make(num_envs=1, **options).spec.fingerprint for options in asked]
    assert len(set(names)) == len(names)
    assert make(num_envs=1, kill_unit_step_mul=3).spec.fingerprint == names[0]  # nobody dies of it


def test_a_state_of_observations_is_one_more_look() -> None:
    """It shows what the observation shows and never less: rows wiped when an enemy is first seen are there by then."""
    env, generator = make("zerg_10_vs_10", 16, obs_instead_of_state=True), torch.Generator().manual_seed(1)
    now, more = env.reset(), 0
    for _ in range(25):
        weights = now.avail_actions.float()
        now = env.step(torch.multinomial(weights.flatten(0, 1), 1, generator=generator).view(16, 10))
        state = now.state.view_as(now.obs)
        differs = state != now.obs
        assert not now.obs[differs].any()
        more += int(differs.any(-1).sum())
        over = now.terminated | now.truncated
        if over.any():
            now = env.reset(mask=over)
    assert more > 20


def test_smacs_state_of_observations_is_the_observations() -> None:
    env = Smac(map_name="3m", num_envs=4, engine="skirmish", obs_instead_of_state=True)
    now = env.reset()
    assert torch.equal(now.state, now.obs.flatten(1))
