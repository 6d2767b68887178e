"""Where the wall time of a training run goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import lightning as L
from rich.console import Console

from ibal_lightning.training.data import InducedDecPOMDP
from ibal_lightning.training.module import RobustLearner


class TimeSplit(L.Callback):
    """Seconds of each part of training, the rest as "other": Lightning, logging, checkpoints, storing episodes.

    The rest is measured, not left out: the parts add up to the wall time since training began.
    """

    def __init__(self) -> None:
        self.tests = 0.0
        self._start()

    def _start(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    @contextmanager
    def testing(self) -> Iterator[None]:
        """Counts what runs inside as greedy tests."""
        start = time.perf_counter()
        yield
        self.tests += time.perf_counter() - start

    def elapsed(self) -> dict[str, float]:
        """``time/wall_s`` and ``time/cpu_s`` of this process since training began."""
        return {"time/wall_s": time.perf_counter() - self.wall, "time/cpu_s": time.process_time() - self.cpu}

    def fractions(self, data: InducedDecPOMDP, module: RobustLearner) -> dict[str, float]:
        """Shares of env, policy, attack, learn, attack_learn, test and other; they add up to 1."""
        total = max(time.perf_counter() - self.wall, 1e-9)
        seconds = {**data.collector.seconds, **module.seconds, "test": self.tests}
        parts = {name: value / total for name, value in seconds.items()}
        return {**parts, "other": 1.0 - sum(parts.values())}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clocks."""
        self._start()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Say where the time went."""
        assert isinstance(pl_module, RobustLearner)
        fractions = self.fractions(trainer.datamodule, pl_module)  # type: ignore[attr-defined]
        shown = sorted(fractions.items(), key=lambda part: -part[1])
        parts = ", ".join(f"{name} {100 * value:.0f} %" for name, value in shown if value >= 0.005)
        wall = time.perf_counter() - self.wall
        Console(stderr=True).print(f"trained for {wall:.0f} s: {parts}", highlight=False, soft_wrap=True)
