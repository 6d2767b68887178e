"""Our views of a foraging game are the package's own, in every task."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lbforaging.foraging.environment import Action, ForagingEnv

from ibal_lightning.envs.foraging import make_foraging, valid_actions
from ibal_lightning.envs.lbf import Lbf

TASKS = sorted(name for name in gymnasium.registry if name.startswith("Foraging"))
SIZES = ("5x5-2p-1f", "8x8-4p-3f")
WORDS = [f"Foraging{sight}-{size}{coop}-v3" for sight in ("", "-2s") for size in SIZES for coop in ("", "-coop")]


def genuine(task: str) -> ForagingEnv:
    """The package's own game."""
    game = gymnasium.make(task, disable_env_checker=True).unwrapped
    assert isinstance(game, ForagingEnv)
    return game


def play_beside(task: str, seed: int) -> int:
    """Compare all that two equal games show and give while random players act; the food they ate."""
    ours, theirs, dice = make_foraging(task), genuine(task), random.Random(seed)
    seen, expected = ours.reset(seed=seed)[0], theirs.reset(seed=seed)[0]
    food, over = np.count_nonzero(theirs.field), False
    while True:
        np.testing.assert_array_equal(seen, np.stack(expected))
        assert seen.dtype == np.float32
        valid = [theirs._valid_actions[player] for player in theirs.players]
        assert [ours._valid_actions[player] for player in ours.players] == valid
        if over:
            return int(food - np.count_nonzero(theirs.field))
        actions = [Action.LOAD if Action.LOAD in allowed else dice.choice(allowed) for allowed in valid]
        seen, *mine = ours.step([action.value for action in actions])
        expected, *other = theirs.step([action.value for action in actions])
        assert mine == other
        over = mine[1]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(TASKS), st.integers(0, 2**31 - 1))
def test_what_players_see_and_may_do_is_what_the_package_says(task: str, seed: int) -> None:
    play_beside(task, seed)


@pytest.mark.parametrize("task", WORDS)
def test_also_where_food_is_eaten(task: str) -> None:
    assert sum(play_beside(task, seed) for seed in range(30)) > 0


def test_food_bars_the_way_and_can_be_loaded() -> None:
    field = [[0, 2, 0], [0, 0, 0], [1, 0, 0]]
    stay, north, south, west, east, load = Action
    assert valid_actions(field, 1, 1) == [stay, south, west, east, load]
    assert valid_actions(field, 0, 0) == [stay, south, load]
    assert valid_actions(field, 2, 2) == [stay, north, west]


class Darkness(ForagingEnv):
    """A game of a user's own: nobody sees anything."""

    def __init__(self, **options: Any) -> None:
        plain: dict[str, Any] = dict(gymnasium.spec("Foraging-5x5-2p-1f-v3").kwargs)
        super().__init__(**{**plain, **options})

    def _make_gym_obs(self) -> Any:
        return tuple(np.zeros(9, np.float32) for _ in self.players)


@pytest.fixture
def registered() -> Iterator[Callable[..., str]]:
    """Registers a task for the time of a test."""
    names: list[str] = []

    def register(entry: Any, **kwargs: Any) -> str:
        names.append(f"Foraging-own{len(names)}-v3")
        gymnasium.register(names[-1], entry_point=entry, kwargs=kwargs)
        return names[-1]

    yield register
    for name in names:
        del gymnasium.registry[name]


def test_a_game_of_the_users_own_keeps_its_views(registered: Callable[..., str]) -> None:
    env = Lbf(num_envs=2, task=registered(Darkness))
    now = env.reset(seed=1)
    assert now.obs.shape == (2, 2, 9)
    assert not now.obs.any()
    assert now.avail_actions[..., 0].all()


@pytest.mark.parametrize("option", [{"grid_observation": True}, {"observe_agent_levels": False}])
def test_tasks_that_show_something_else_are_refused(registered: Callable[..., str], option: dict[str, bool]) -> None:
    task = registered(ForagingEnv, **gymnasium.spec("Foraging-5x5-2p-1f-v3").kwargs | option)
    with pytest.raises(ValueError, match=f"env.task='{task}': only tasks whose players see"):
        Lbf(num_envs=2, task=task)
