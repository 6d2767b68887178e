"""Every recorded number of the genuine packages, within 1e-5: obs, state, masks, commands, rewards, endings, flags."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recordings import (
    Replayed,
    begin_records,
    files_with,
    golden_files,
    inject_visits,
    load,
    look_records,
    name_of,
    outcomes,
    recorded_memory,
    recorded_units,
    release_records,
    replay,
)

from ibal_lightning.envs.skirmish.memory import allocate_memory, allocate_outputs
from ibal_lightning.envs.skirmish.state import ATTACK, HEAL, MOVE
from ibal_lightning.envs.skirmish.visibility import visibility_matrix

TOLERANCE = 1e-5
FILES = golden_files()
SIGHTED = files_with("seen_after")  # SMACv2


@pytest.fixture(params=FILES, ids=name_of, scope="module")
def path(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture(scope="module")
def replayed(path: Path) -> Replayed:
    return replay(path)


def test_there_are_recordings() -> None:
    assert FILES


def test_sizes(replayed: Replayed) -> None:
    data, rules = replayed.recording.data, replayed.recording.rules
    assert data["obs"].shape[1:] == (rules.n_agents, rules.obs_dim)
    assert data["state"].shape[1:] == (rules.state_dim,)
    assert (rules.n_actions, rules.n_actions_no_attack) == (data["n_actions"], data["n_actions_no_attack"])
    assert (rules.type_bits, rules.ally_shield, rules.enemy_shield) == (
        data["unit_type_bits"], data["shield_bits_ally"], data["shield_bits_enemy"],
    )  # fmt: skip
    np.testing.assert_array_equal([rules.map_x, rules.map_y], data["map_size"])
    np.testing.assert_array_equal([rules.max_distance_x, rules.max_distance_y], data["max_distance"])


def test_obs(replayed: Replayed) -> None:
    np.testing.assert_allclose(replayed.out.obs, replayed.recording.data["obs"], rtol=0, atol=TOLERANCE)


def test_state(replayed: Replayed) -> None:
    np.testing.assert_allclose(replayed.out.state, replayed.recording.data["state"], rtol=0, atol=TOLERANCE)


def test_avail_actions(replayed: Replayed) -> None:
    np.testing.assert_array_equal(replayed.out.avail, replayed.recording.data["avail_actions"])


def test_alive(replayed: Replayed) -> None:
    np.testing.assert_array_equal(replayed.out.alive, replayed.recording.data["ally_alive"])


def test_visibility(replayed: Replayed) -> None:
    recording = replayed.recording
    seen = visibility_matrix(recording.rules, recorded_units(recording, before=False))
    np.testing.assert_array_equal(seen, recording.data["visibility_matrix"])


def test_reward(replayed: Replayed) -> None:
    # float32 cannot hold unscaled rewards of 200 to 1e-5 absolutely, hence the relative part.
    recording = replayed.recording
    reward, later = recording.data["reward"], recording.later
    np.testing.assert_allclose(replayed.out.reward[later], reward[later], rtol=1e-6, atol=TOLERANCE)


def test_end_of_episode(replayed: Replayed) -> None:
    data, out = replayed.recording.data, replayed.out
    np.testing.assert_array_equal(out.terminated | out.truncated, data["terminated"])
    np.testing.assert_array_equal(out.won, data["battle_won"])
    assert not (out.terminated & out.truncated).any()
    np.testing.assert_array_equal(out.truncated, data["info_episode_limit"])


@pytest.mark.parametrize("continuing", [False, True])
def test_time_limits_end_an_episode_or_cut_it(path: Path, continuing: bool) -> None:
    data, out = load(path).data, outcomes(load(path), continuing=continuing)
    both_fight = data["ally_alive"].any(1) & data["enemy_alive"].any(1)
    late = (data["t"] >= data["episode_limit"]) & both_fight & ~data["battle_won"]
    np.testing.assert_array_equal(out.timeout, late)
    np.testing.assert_array_equal(out.truncated, late & continuing)
    np.testing.assert_array_equal(out.terminated, data["terminated"] & ~out.truncated)


def test_some_recordings_meet_the_time_limit_both_ways() -> None:
    late = [data for data in map(np.load, FILES) if (data["t"] >= data["episode_limit"]).any()]
    assert {bool(data["info_episode_limit"].any()) for data in late} == {False, True}


def test_dead_counts(replayed: Replayed) -> None:
    data, later = replayed.recording.data, replayed.recording.later
    np.testing.assert_array_equal(replayed.out.dead_allies[later], data["dead_allies"][later])
    np.testing.assert_array_equal(replayed.out.dead_enemies[later], data["dead_enemies"][later])


def test_commands(replayed: Replayed) -> None:
    data, commands, later = replayed.recording.data, replayed.commands, replayed.recording.later
    np.testing.assert_array_equal(commands.ability[later], data["cmd_ability"][later])
    targeted = np.isin(commands.ability, (ATTACK, HEAL)) & later[:, None]
    np.testing.assert_array_equal(commands.target[targeted], data["cmd_target_index"][targeted])
    moved = (commands.ability == MOVE) & later[:, None]
    sent = np.stack([commands.x, commands.y], axis=-1)
    np.testing.assert_allclose(sent[moved], data["cmd_target_xy"][moved], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("path", files_with("fov_direction"), ids=name_of)
def test_view_directions(path: Path) -> None:
    replayed = replay(path)
    np.testing.assert_allclose(replayed.memory.fov, replayed.recording.data["fov_direction"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("path", SIGHTED, ids=name_of)
def test_sightings_after_a_look(path: Path) -> None:
    replayed = replay(path)
    data = replayed.recording.data
    np.testing.assert_array_equal(replayed.memory.seen, data["seen_after"])
    np.testing.assert_array_equal(replayed.memory.owner, data["seen_owner_after"])


@pytest.mark.parametrize("path", SIGHTED, ids=name_of)
def test_sightings_from_one_step_to_the_next(path: Path) -> None:
    recording = load(path)
    data, memory = recording.data, recorded_memory(recording)
    units = recorded_units(recording, before=False)
    follows = np.flatnonzero((np.diff(data["t"]) == 1) & (np.diff(data["episode"]) == 0)) + 1
    memory.seen[follows], memory.owner[follows] = data["seen_after"][follows - 1], data["seen_owner_after"][follows - 1]
    release_records(recording.rules, units, memory, follows)
    np.testing.assert_array_equal(memory.seen[follows], data["seen_before"][follows])
    np.testing.assert_array_equal(memory.owner[follows], data["seen_owner_before"][follows])


@pytest.mark.parametrize("path", files_with("obs_repeat_t0"), ids=name_of)
def test_second_look_after_reset(path: Path) -> None:
    recording = load(path)
    data = recording.data
    memory, out = recorded_memory(recording), allocate_outputs(recording.rules, recording.size)
    inject_visits(recording, memory)
    memory.seen[:], memory.owner[:] = data["seen_after"], data["seen_owner_after"]
    starts = np.flatnonzero(data["t"] == 0)
    look_records(recording.rules, recorded_units(recording, before=False), memory, starts, out)
    np.testing.assert_allclose(out.obs[starts], data["obs_repeat_t0"], rtol=0, atol=TOLERANCE)


def test_max_reward_is_fixed_by_the_first_episode(path: Path) -> None:
    recording = load(path)
    data, rules = recording.data, recording.rules
    first = int(np.flatnonzero((data["episode"] == 0) & (data["t"] == 0))[0])
    memory, out = allocate_memory(rules, recording.size), allocate_outputs(rules, recording.size)
    units = recorded_units(recording, before=False)
    resets = 2 if "reset() called twice" in recording.meta["note"] else 1
    if rules.second and resets == 2:
        return  # its first reset drew a team that was not recorded
    begin_records(rules, units, memory, np.full(resets, first), out)
    assert memory.max_reward[first] == pytest.approx(float(data["max_reward"]), abs=1e-6)
    memory.played[first] = True
    begin_records(rules, units, memory, np.array([first]), out)
    assert memory.max_reward[first] == pytest.approx(float(data["max_reward"]), abs=1e-6)
