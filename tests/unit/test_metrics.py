"""Running episode statistics."""

from __future__ import annotations

import itertools

import torch

from ibal_lightning.training.callbacks import Metrics, crossed
from ibal_lightning.training.metrics import EpisodeMetrics, outcomes
from ibal_lightning.training.time_split import TimeSplit
from ibal_lightning.types import EpisodeBatch, no_group


def batch(won: list[float], lengths: list[int], reward: float) -> EpisodeBatch:
    games, steps = len(won), max(lengths)
    mask = torch.arange(steps)[None] < torch.tensor(lengths)[:, None]
    slots, flags = torch.zeros(games, steps + 1, 2, 3), torch.zeros(games, steps, dtype=torch.bool)
    actions = torch.zeros(games, steps, 2, dtype=torch.long)
    return EpisodeBatch(
        obs=slots,
        obs_seen=slots,
        state=slots[..., 0],
        avail_actions=slots > -1,
        alive=slots[..., 0] > -1,
        actions=actions,
        actions_taken=actions,
        attacked=actions > 0,
        group=no_group(games, 2),
        reward=torch.full((games, steps), reward),
        terminated=flags,
        truncated=flags,
        mask=mask,
        won=torch.tensor(won),
    )


def test_means_are_over_episodes_and_padding_does_not_count() -> None:
    metrics = EpisodeMetrics("test_")
    metrics.add(outcomes(batch([1.0, 0.0, 0.0], [4, 2, 3], 0.5)))
    metrics.add(outcomes(batch([1.0], [5], 1.0)))
    assert metrics.floats() == {"test_battle_won_mean": 0.5, "test_return_mean": 9.5 / 4, "test_ep_length_mean": 3.5}


def test_a_window_forgets_the_oldest_rollouts() -> None:
    metrics = Metrics(TimeSplit(), interval=1, window=2)
    for won in (1.0, 0.0, 0.0):
        metrics.recent.append(outcomes(batch([won], [1], 0.0)))
    assert metrics.means()["battle_won_mean"] == 0.0


def test_an_interval_is_crossed_once() -> None:
    steps = [0, 400, 999, 1000, 1700, 4100]
    assert [crossed(a, b, 1000) for a, b in itertools.pairwise(steps)] == [False, False, True, False, True]
    assert not crossed(0, 10**9, 0)
