"""Laws of recorded battles: recording changes nothing, and what is recorded is what happened."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ibal_lightning.envs.skirmish.engine import LOOPS_PER_STEP, Engine
from ibal_lightning.envs.skirmish.recording import FRAME
from ibal_lightning.envs.skirmish.state import KINDS
from ibal_lightning.envs.smac import Smac
from tests.laws.test_skirmish_laws import MIXED, make_engine, random_actions

RESTORED = 0.5625  # a medivac's healing a loop; shields regain 0.125


def play(engine: Engine, steps: int) -> list[np.ndarray]:
    """What random legal steps show of every game; those that end start anew."""
    rng, shown = np.random.default_rng(0), []
    engine.reset()
    for _ in range(steps):
        engine.step(random_actions(engine, rng))
        shown += [array.copy() for array in engine.outputs]
        engine.reset(engine.outputs.terminated | engine.outputs.truncated)
    return shown


@pytest.mark.parametrize("name", MIXED)
def test_recording_changes_nothing(name: str) -> None:
    plain, recorded = make_engine(name), make_engine(name)
    recorded.record([1, 3])
    for a, b in zip(play(plain, 80), play(recorded, 80), strict=True):
        assert (a == b).all()
    f, g = plain.arena.fighters, recorded.arena.fighters
    assert all((f[field] == g[field]).all() for field in f.dtype.names if field != "dealt")


@pytest.mark.parametrize("name", MIXED)
def test_frames_end_where_the_units_are_reported(name: str) -> None:
    engine = make_engine(name)
    recorder, rng = engine.record([2]), np.random.default_rng(0)
    engine.reset()
    for step in range(1, 20):
        if engine.outputs.terminated[2]:
            break
        engine.step(random_actions(engine, rng))
        frames, units = recorder.frames(2), engine.arena.units
        assert frames.shape == (1 + LOOPS_PER_STEP * step, engine.scenario.n_units)
        alive = frames["alive"][-1]
        assert (alive == (units.health[2] > 0)).all()
        for field in ("kind", "x", "y", "health", "shield", "energy"):
            assert (frames[field][-1] == getattr(units, field)[2])[alive].all()


@pytest.mark.parametrize("name", ["3m", "8m", "25m", "2s3z", "3s5z_vs_3s6z", "MMM", "2c_vs_64zg", "so_many_baneling"])
def test_damage_is_the_health_and_shield_that_the_other_side_lost(name: str) -> None:
    """Exactly that where nothing restores life; shields and medics give back at most RESTORED a unit and loop."""
    engine = make_engine(name)
    recorder, n, rng = engine.record([0]), engine.scenario.n_agents, np.random.default_rng(0)
    engine.reset()
    while not (engine.outputs.terminated[0] or engine.outputs.truncated[0]):
        engine.step(random_actions(engine, rng))
    frames = recorder.frames(0)
    life, bursts = frames["health"] + frames["shield"], frames["kind"] == KINDS.index("baneling")
    lost = np.where(bursts[1:], 0, life[:-1] - life[1:])  # a baneling dies of its own blast
    assert frames["damage"].sum() > 0
    for dealers, victims in ((slice(0, n), slice(n, None)), (slice(n, None), slice(0, n))):
        if bursts[0, victims].any():
            continue
        dealt, taken = frames["damage"][1:, dealers].sum(axis=1), lost[:, victims].sum(axis=1)
        restored = 0 if name.endswith("m") else RESTORED * lost[:, victims].shape[1]
        assert (dealt >= taken - 1e-2).all()
        assert (dealt <= taken + restored + 1e-2).all()


def test_a_new_episode_is_a_new_recording_and_games_that_wait_are_not_recorded() -> None:
    engine = make_engine("3m", 2)
    recorder = engine.record([0])
    engine.reset()
    while not engine.outputs.terminated[0]:
        engine.step(np.where(engine.outputs.alive, 1, 0))
    ended = recorder.frames(0)
    assert (ended["health"][-1, :3] == 0).all()
    engine.step(np.where(engine.outputs.alive, 1, 0))
    assert (recorder.frames(0) == ended).all()
    engine.reset(np.array([True, False]))
    assert len(recorder.frames(0)) == 1
    assert recorder.frames(0).dtype == FRAME


def test_a_recorder_that_comes_late_counts_its_own_loops_only() -> None:
    """In one game loop a unit shoots once, 9 and more damage; before the recorder came it had shot more often."""
    engine = make_engine("3m", 2)
    engine.reset()
    for _ in range(15):
        attack = np.where(engine.outputs.avail[:, :, 6:].any(-1), 6 + engine.outputs.avail[:, :, 6:].argmax(-1), 4)
        engine.step(np.where(engine.outputs.avail.take(4, -1) | (attack > 5), attack, engine.outputs.avail.argmax(-1)))
    assert engine.arena.fighters["dealt"][0].max() > 12
    recorder = engine.record([0])
    engine.step(engine.outputs.avail.argmax(-1))
    assert recorder.frames(0)["damage"].max() <= 12


def test_what_cannot_be_recorded_is_refused() -> None:
    engine = make_engine("3m", 2)
    with pytest.raises(ValueError, match="Game 2 cannot be recorded; games are 0 to 1"):
        engine.record([0, 2])
    with pytest.raises(ValueError, match=r"Game 1 is not recorded, but \[0\]"):
        engine.record([0]).frames(1)


def test_games_are_chosen_by_whatever_counts_as_an_index() -> None:
    env = Smac(map_name="3m", num_envs=3, engine="skirmish")
    recorder = env.record(torch.tensor([1]))
    env.reset()
    assert len(recorder.frames(1)) == 1
    with pytest.raises(ValueError, match=r"Game 0\.5 cannot be recorded"):
        env.record([0.5])


def test_an_environment_records_and_stops() -> None:
    env = Smac(map_name="3m", num_envs=2, engine="skirmish")
    recorder = env.record([1])
    now = env.reset()
    env.step(now.avail_actions.int().argmax(-1))
    frames = recorder.frames(1)
    assert len(frames) == 1 + LOOPS_PER_STEP
    env.record([])
    env.step(now.avail_actions.int().argmax(-1))
    assert len(recorder.frames(1)) == len(frames)
    with pytest.raises(ValueError, match="Game 2"):
        env.record([2])
