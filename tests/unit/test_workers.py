"""Games in processes of their own: real processes that play real battles, hang, fail and are killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
import torch

from ibal_lightning.env import Env
from ibal_lightning.envs.pymarl import PymarlEnv
from ibal_lightning.envs.smac import Smac
from ibal_lightning.envs.worker_games import WorkerGames


def make_battle(seed: int = 0, **options) -> PymarlEnv:
    """One small battle as PyMARL knows it."""
    return PymarlEnv(Smac(num_envs=1, engine="skirmish", seed=seed, **{"map_name": "3m", **options}))


@pytest.fixture(scope="module")
def battle() -> Smac:
    return Smac(num_envs=1, map_name="3m", engine="skirmish", seed=3)


@pytest.fixture(scope="module")
def pair(battle: Smac) -> Iterator[WorkerGames]:
    games = WorkerGames(battle.spec, make_battle, [{"seed": 3}, {"seed": 4}], timeout_s=120)
    yield games
    games.close()


def first_legal(now) -> torch.Tensor:
    return now.avail_actions.float().argmax(-1)


def test_a_worker_plays_what_the_battle_itself_plays(battle: Smac, pair: WorkerGames) -> None:
    assert isinstance(pair, Env)
    mine, theirs = battle.reset(), pair.reset()
    for _ in range(40):
        for name in ("obs", "state", "avail_actions", "alive", "reward", "terminated", "truncated"):
            assert torch.equal(getattr(mine, name)[0], getattr(theirs, name)[0]), name
        for name in ("won", "dead_allies", "dead_enemies"):
            assert mine.info[name][0] == theirs.info[name][0]
        mine, theirs = battle.step(first_legal(mine)), pair.step(first_legal(theirs))


def test_a_time_limit_ends_or_cuts_as_the_package_says() -> None:
    options = [{"map_name": "2s_vs_1sc", "continuing_episode": goes_on} for goes_on in (False, True)]
    spec = Smac(num_envs=1, map_name="2s_vs_1sc", engine="skirmish").spec
    games = WorkerGames(spec, make_battle, options)
    now = games.reset()
    for _ in range(spec.episode_limit):
        assert not (now.terminated | now.truncated).any()
        now = games.step(torch.ones(2, 2, dtype=torch.long))
    games.close()
    assert now.terminated.tolist() == [True, False]
    assert now.truncated.tolist() == [False, True]


def test_a_finished_game_waits_for_its_reset(pair: WorkerGames) -> None:
    now = pair.reset()
    while not (now.terminated | now.truncated).all():
        now = pair.step(first_legal(now))
    obs, flags = now.obs.clone(), (now.terminated.clone(), now.truncated.clone())
    now = pair.step(torch.zeros(2, 3, dtype=torch.long))  # ignored, however illegal
    assert torch.equal(now.obs, obs)
    assert torch.equal(now.terminated, flags[0])
    assert torch.equal(now.truncated, flags[1])
    assert not now.reward.any()
    now = pair.reset(mask=torch.tensor([True, False]))
    assert not now.terminated[0]
    assert not now.truncated[0]
    assert torch.equal(now.obs[1], obs[1])


def test_illegal_actions_are_refused_before_anybody_moves(pair: WorkerGames) -> None:
    before = pair.reset().obs.clone()
    with pytest.raises(ValueError, match=r"Illegal action 0 of agent 1 in game 1; legal: \[1"):
        pair.step(torch.tensor([[1, 1, 1], [1, 0, 1]]))
    with pytest.raises(ValueError, match=r"whole numbers, not torch\.float32"):
        pair.step(torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"Actions must have shape \(2, 3\), not \(2, 2\)"):
        pair.step(torch.ones(2, 2, dtype=torch.long))
    with pytest.raises(ValueError, match=r"reset mask must be bool of shape \(2,\)"):
        pair.reset(mask=torch.tensor([True]))
    assert torch.equal(pair.board.obs, before)


def test_a_killed_worker_is_replaced_and_its_episode_dropped(pair: WorkerGames) -> None:
    now = pair.reset()
    now = pair.step(first_legal(now))
    dropped, victim = pair.dropped, pair.workers[1].process
    os.kill(victim.pid, signal.SIGKILL)
    victim.join()
    now = pair.step(first_legal(now))
    assert now.truncated.tolist() == [False, True]
    assert now.info["dropped"].tolist() == [0.0, 1.0]
    assert now.reward[1] == 0
    assert pair.dropped == dropped + 1
    now = pair.reset(mask=now.truncated)
    assert now.info["dropped"].tolist() == [0.0, 0.0]
    now = pair.step(first_legal(now))
    assert not now.truncated.any()
    assert pair.workers[1].process.pid != victim.pid


def test_a_worker_killed_between_episodes_is_replaced_by_the_reset(pair: WorkerGames) -> None:
    os.kill(pair.workers[0].process.pid, signal.SIGKILL)
    pair.workers[0].process.join()
    now = pair.reset()
    assert not (now.terminated | now.truncated).any()


def test_a_hanging_worker_is_replaced(pair: WorkerGames) -> None:
    now, worker = pair.reset(), pair.workers[1]
    dropped, process = pair.dropped, worker.process
    os.kill(process.pid, signal.SIGSTOP)
    worker.timeout_s = 0.5
    now = pair.step(first_legal(now))
    worker.timeout_s = 120
    assert now.truncated.tolist() == [False, True]
    assert pair.dropped == dropped + 1
    assert process.exitcode is not None


def test_an_environment_that_cannot_be_built_says_why(battle: Smac) -> None:
    games = WorkerGames(battle.spec, os.stat, [{"path": "no such game"}])
    with pytest.raises(RuntimeError, match=r"(?s)failed 3 times.*No such file or directory: 'no such game'"):
        games.reset()
    assert games.workers[0].starts == 3
    games.close()


def test_what_the_genuine_game_cannot_do_is_refused(pair: WorkerGames) -> None:
    with pytest.raises(ValueError, match="ally_health"):
        pair.configure(ally_health=0.85)
    with pytest.raises(ValueError, match="another seed"):
        pair.reset(seed=1)
    with pytest.raises(NotImplementedError, match="cannot be resumed"):
        pair.state_dict()


def test_closing_ends_the_processes(pair: WorkerGames) -> None:
    pair.reset()
    pair.close()
    assert all(worker.process.exitcode is not None for worker in pair.workers)
