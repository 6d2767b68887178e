"""The split of the time of a training run."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from ibal_lightning.training.time_split import TimeSplit


def test_the_shares_add_up_and_what_nobody_counted_is_other() -> None:
    split = TimeSplit()
    split.wall -= 10.0  # as if training had begun ten seconds ago
    data: Any = SimpleNamespace(collector=SimpleNamespace(seconds={"env": 1.0, "policy": 0.5, "attack": 0.0}))
    module: Any = SimpleNamespace(seconds={"learn": 6.0, "attack_learn": 0.0})
    with split.testing():
        time.sleep(0.05)
    shares = split.fractions(data, module)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares["learn"] == pytest.approx(0.6, rel=0.02)
    assert shares["test"] == pytest.approx(0.005, rel=0.5)
    assert shares["other"] == pytest.approx(0.25, abs=0.02)
    assert set(shares) == {"env", "policy", "attack", "learn", "attack_learn", "test", "other"}
