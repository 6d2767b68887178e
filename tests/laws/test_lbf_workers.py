"""Level-Based Foraging in worker processes: the same games whoever plays them, and what happens when a worker dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from ibal_lightning.env import Env
from ibal_lightning.envs.lbf import Lbf
from ibal_lightning.envs.lbf_workers import LbfWorkers
from ibal_lightning.functional.masking import random_legal
from ibal_lightning.types import Timestep

TASK = "Foraging-5x5-2p-1f-v3"
FIELDS = ("obs", "state", "avail_actions", "reward", "terminated", "truncated")


@pytest.fixture(scope="module")
def pair() -> Iterator[Lbf]:
    """Five games of two workers: games 0 to 2, and 3 and 4."""
    env = Lbf(num_envs=5, seed=1, task=TASK, workers=2)
    yield env
    env.close()


def workers(env: Lbf) -> LbfWorkers:
    assert isinstance(env.games, LbfWorkers)
    return env.games


def own(now: Timestep) -> Timestep:
    return now.map(torch.clone)


def play(env: Env, steps: int, *, seed: int | None = None) -> list[Timestep]:
    """Random legal play; finished games are reset by mask."""
    generator = torch.Generator().manual_seed(7)
    seen = [own(env.reset(seed=seed))]
    for _ in range(steps):
        over = seen[-1].terminated | seen[-1].truncated
        if over.any():
            seen.append(own(env.reset(mask=over)))
        seen.append(own(env.step(random_legal(seen[-1].avail_actions, generator))))
    return seen


def same(one: list[Timestep], two: list[Timestep]) -> bool:
    return all(torch.equal(getattr(a, f), getattr(b, f)) for a, b in zip(one, two, strict=True) for f in FIELDS)


def stay(env: Lbf) -> Tensor:
    return torch.zeros(env.num_envs, 2, dtype=torch.long)


def test_games_do_not_depend_on_who_plays_them(pair: Lbf) -> None:
    alone = Lbf(num_envs=5, seed=2, task=TASK)
    episodes = play(alone, 60)
    assert sum(int((now.terminated | now.truncated).sum()) for now in episodes) > 2
    assert same(play(pair, 60, seed=2), episodes)


def test_a_seed_fixes_the_games_whatever_was_played_before() -> None:
    env = Lbf(num_envs=5, seed=1, task=TASK)
    first = play(env, 20, seed=2)
    assert same(play(env, 20, seed=2), first)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_seed_for_some_games_leaves_the_others_alone(workers: int) -> None:
    env, untouched = (Lbf(num_envs=4, seed=1, task=TASK, workers=w) for w in (workers, 0))
    for each in (env, untouched):
        play(each, 3)
    mask = torch.tensor([True, False, False, True])
    now, other = own(env.reset(seed=9, mask=mask)), own(untouched.reset(mask=mask))
    fresh = Lbf(num_envs=4, seed=9, task=TASK).reset()
    assert torch.equal(now.obs[mask], fresh.obs[mask])
    for _ in range(3):
        assert torch.equal(now.obs[~mask], other.obs[~mask])
        now, other = own(env.step(stay(env))), own(untouched.step(stay(env)))
    env.close()


@pytest.mark.parametrize(("task", "num_envs"), [("Foraging-8x8-2p-3f-v3", 2), (TASK, 3)])
def test_a_state_of_other_games_is_refused_before_anything_changes(task: str, num_envs: int) -> None:
    env = Lbf(num_envs=2, seed=1, task=TASK)
    before = own(env.reset()).obs
    with pytest.raises(ValueError, match="these are 2 games of Foraging-5x5-2p-1f-v3; the saved state holds"):
        env.load_state_dict(Lbf(num_envs=num_envs, task=task).state_dict())
    assert torch.equal(env.step(stay(env)).obs[..., :3], before[..., :3])  # the food is where it was


def test_a_state_saved_by_workers_goes_on_in_one_process(pair: Lbf) -> None:
    play(pair, 13, seed=3)
    saved = pair.state_dict()
    alone = Lbf(num_envs=5, seed=0, task=TASK)
    alone.load_state_dict(saved)
    shown, restored = pair._timestep(), alone._timestep()
    assert torch.equal(shown.obs, restored.obs)
    assert torch.equal(shown.avail_actions, restored.avail_actions)
    assert same(play(pair, 40), play(alone, 40))


def test_an_illegal_action_is_refused_before_anybody_moves(pair: Lbf) -> None:
    before = own(pair.reset(seed=4))
    state = pair.state_dict()
    actions = torch.full((5, 2), 0)
    actions[3, 1] = 6
    with pytest.raises(ValueError, match=r"Illegal action 6 of agent 1 in game 3; legal: \[0"):
        pair.step(actions)
    assert pair.state_dict() == state
    assert torch.equal(before.obs, torch.from_numpy(pair.games.shown.obs))


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_worker_drops_its_episodes_and_no_others(pair: Lbf, blow: signal.Signals) -> None:
    alone, games = Lbf(num_envs=5, seed=5, task=TASK), workers(pair)
    mine, theirs = own(pair.reset(seed=5)), alone.reset(seed=5)
    worker = games.workers[1]
    process, worker.timeout_s = worker.process, 1.0
    os.kill(process.pid, blow)
    for _ in range(3):  # the lost episodes stay over until they are reset
        mine, theirs = own(pair.step(stay(pair))), alone.step(stay(alone))
        worker.timeout_s = 120.0
        assert mine.info["dropped"].tolist() == [0, 0, 0, 1, 1]
        assert mine.truncated.tolist() == [False, False, False, True, True]
        assert mine.reward[3:].tolist() == [0.0, 0.0]
        assert torch.equal(mine.obs[:3], theirs.obs[:3])
    now = pair.reset(mask=mine.truncated)
    assert not now.info["dropped"].any()
    assert not (now.terminated | now.truncated).any()
    assert worker.process.pid != process.pid
    assert torch.equal(now.obs[:3], theirs.obs[:3])
    assert not pair.step(stay(pair)).truncated.any()


def test_a_worker_lost_between_episodes_is_replaced_by_the_reset(pair: Lbf) -> None:
    pair.reset()
    os.kill(workers(pair).workers[0].process.pid, signal.SIGKILL)
    now = pair.reset()
    assert not (now.terminated | now.truncated).any()
    assert not now.info["dropped"].any()


def test_more_workers_than_games_are_not_started() -> None:
    env = Lbf(num_envs=1, task=TASK, workers=4)
    assert len(workers(env).workers) == 1
    env.close()
    assert all(worker.process.exitcode is not None for worker in workers(env).workers)


def test_a_negative_number_of_workers_is_refused() -> None:
    with pytest.raises(ValueError, match=r"env.workers must be a whole number of at least 0, not -1"):
        Lbf(num_envs=1, task=TASK, workers=-1)


@pytest.mark.parametrize("options", [{"num_envs": 1.0}, {"num_envs": "1"}, {"seed": 0.5}, {"seed": True}])
def test_what_is_no_whole_number_is_refused(options: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be a whole number"):
        Lbf(task=TASK, **{"num_envs": 1} | options)


def test_numpys_whole_numbers_count() -> None:
    env, same = Lbf(num_envs=np.int64(2), seed=np.uint8(3), task=TASK), Lbf(num_envs=2, seed=3, task=TASK)
    assert torch.equal(env.reset().obs, same.reset().obs)


@pytest.mark.parametrize("goes_on", [False, True])
def test_the_time_limit_ends_an_episode_unless_it_goes_on(goes_on: bool) -> None:
    env = Lbf(num_envs=2, task="Foraging-8x8-2p-3f-v3", continuing_episode=goes_on)
    now = env.reset()
    for _ in range(env.spec.episode_limit):
        assert not (now.terminated | now.truncated).any()
        now = env.step(torch.full((2, 2), env.spec.inert_action))
    assert now.terminated.tolist() == [not goes_on] * 2
    assert now.truncated.tolist() == [goes_on] * 2
    assert now.info["won"].tolist() == [0.0, 0.0]
