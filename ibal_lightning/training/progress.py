"""The progress bar: env steps, their rate, the time left, win rates and the attack's strength."""

from __future__ import annotations

import time

import lightning as L
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ibal_lightning.training.callbacks import AfterRollout, Metrics, PeriodicTest
from ibal_lightning.training.data import Experience, InducedDecPOMDP
from ibal_lightning.training.module import RobustLearner


class EnvStepProgress(AfterRollout):
    """One line that moves; where the output is not a terminal, one plain line every ``seconds``."""

    def __init__(self, budget: int, metrics: Metrics, test: PeriodicTest, *, seconds: float = 20.0) -> None:
        super().__init__()
        self.budget, self.metrics, self.test, self.every = budget, metrics, test, seconds
        self.console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("train"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} env steps"),
            TextColumn("{task.fields[rate]:,.0f}/s"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[text]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show the bar at the steps already done."""
        super().on_train_start(trainer, pl_module)
        self.started, self.first, self.printed = time.monotonic(), self._before, time.monotonic()
        self.bar.start()
        self.task = self.bar.add_task("", total=self.budget, completed=self._before, rate=0.0, text="")

    def after_rollout(
        self, trainer: L.Trainer, module: RobustLearner, data: InducedDecPOMDP, batch: Experience, before: int
    ) -> None:
        """Move the bar."""
        rate = (data.env_steps - self.first) / max(time.monotonic() - self.started, 1e-9)
        if not self.bar.disable:
            self.bar.update(self.task, completed=data.env_steps, rate=rate, text=self._text(data))
        elif time.monotonic() - self.printed > self.every:
            self.printed = time.monotonic()
            left = max(self.budget - data.env_steps, 0) / max(rate, 1e-9)
            steps = f"{data.env_steps:,}/{self.budget:,} env steps  {rate:,.0f}/s"
            self.console.print(f"train {steps}  {left:.0f} s left  {self._text(data)}", highlight=False, soft_wrap=True)

    def _text(self, data: InducedDecPOMDP) -> str:
        parts = [f"win {self.metrics.means()['battle_won_mean']:.2f}"]
        if self.test.win_rate is not None:
            parts.append(f"test {self.test.win_rate:.2f}")
        parts += [f"{name} {value:.2f}" for name, value in data.attack.status().items() if name.startswith("p_")]
        return "  ".join(parts)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the last line standing."""
        self.bar.stop()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Give the terminal back before the error is shown."""
        self.bar.stop()
