"""Our views of a foraging game are the package's own, in every task."""

from __future__ import annotations

import random

import gymnasium
import lbforaging  # noqa: F401  (importing it registers the tasks)
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lbforaging.foraging.environment import Action, ForagingEnv

from ibal_lightning.envs.foraging import Foraging, legal_actions

TASKS = sorted(name for name in gymnasium.registry if name.startswith("Foraging"))
SIZES = ("5x5-2p-1f", "8x8-4p-3f")
WORDS = [f"Foraging{sight}-{size}{coop}-v3" for sight in ("", "-2s") for size in SIZES for coop in ("", "-coop")]


def genuine(task: str) -> ForagingEnv:
    """The package's own game."""
    game = gymnasium.make(task, disable_env_checker=True).unwrapped
    assert isinstance(game, ForagingEnv)
    return game


def play_beside(task: str, seed: int, steps: int = 50) -> int:
    """Compare all that two equal games show and give while random players act; the food they ate."""
    ours, theirs, dice = Foraging.make(task), genuine(task), random.Random(seed)
    seen, expected = ours.reset(seed=seed)[0], theirs.reset(seed=seed)[0]
    eaten = np.count_nonzero(theirs.field)
    for _ in range(steps):
        np.testing.assert_array_equal(seen, np.stack(expected))
        assert seen.dtype == np.float32
        valid = [theirs._valid_actions[player] for player in theirs.players]
        assert [ours._valid_actions[player] for player in ours.players] == valid
        assert ours.legal == [[action in allowed for action in Action] for allowed in valid]
        actions = [Action.LOAD if Action.LOAD in allowed else dice.choice(allowed) for allowed in valid]
        seen, *mine = ours.step([action.value for action in actions])
        expected, *other = theirs.step([action.value for action in actions])
        assert mine == other
        if mine[1]:
            break
    return int(eaten - np.count_nonzero(theirs.field))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(TASKS), st.integers(0, 2**31 - 1))
def test_what_players_see_and_may_do_is_what_the_package_says(task: str, seed: int) -> None:
    play_beside(task, seed)


@pytest.mark.parametrize("task", WORDS)
def test_also_where_food_is_eaten(task: str) -> None:
    assert sum(play_beside(task, seed) for seed in range(30)) > 0


def test_food_bars_the_way_and_can_be_loaded() -> None:
    field = [[0, 2, 0], [0, 0, 0], [1, 0, 0]]
    assert legal_actions(field, 1, 1) == [True, False, True, True, True, True]
    assert legal_actions(field, 0, 0) == [True, False, True, False, False, True]
    assert legal_actions(field, 2, 2) == [True, True, False, True, False, False]
