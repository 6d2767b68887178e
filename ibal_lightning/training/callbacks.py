"""What happens beside learning: periodic tests, metrics, checkpoints, the budget and a clean stop on Ctrl-C."""

from __future__ import annotations

import signal
from collections import deque
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
from torch import Tensor

from ibal_lightning.functional.files import write_then_rename
from ibal_lightning.functional.random import derive_seed
from ibal_lightning.functional.tensor_files import save_tensors
from ibal_lightning.rollout.collector import Collector, play_episodes
from ibal_lightning.training.data import Experience, InducedDecPOMDP
from ibal_lightning.training.metrics import EpisodeMetrics, outcomes
from ibal_lightning.training.module import RobustLearner
from ibal_lightning.training.time_split import TimeSplit


def crossed(before: int, now: int, interval: int) -> bool:
    """Whether a multiple of ``interval`` lies in (before, now]; an interval of 0 never comes."""
    return interval > 0 and now // interval > before // interval


class AfterRollout(L.Callback):
    """Calls ``after_rollout(trainer, module, data, experience, before)`` once a rollout and its updates are done."""

    def __init__(self) -> None:
        self._before = 0

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Experience, batch_idx: int
    ) -> None:
        """Hand over with our own counters."""
        data: InducedDecPOMDP = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(pl_module, RobustLearner)
        self.after_rollout(trainer, pl_module, data, batch, self._before)
        self._before = data.env_steps

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start counting where a resumed run stood."""
        self._before = trainer.datamodule.env_steps  # type: ignore[attr-defined]

    def after_rollout(
        self, trainer: L.Trainer, module: RobustLearner, data: InducedDecPOMDP, batch: Experience, before: int
    ) -> None:
        """Called with the env_steps before and (in ``data``) after the rollout."""
        raise NotImplementedError


class PeriodicTest(AfterRollout):
    """Greedy natural play every ``interval`` env steps, on seeds that training never uses.

    Metric names are PyMARL's: ``test_battle_won_mean``, ``test_return_mean``, ``test_ep_length_mean``. ``reached``
    tells that ``stop_metric``, one of these, was at least ``stop_at`` in the last test.
    """

    def __init__(
        self,
        collector: Collector,
        split: TimeSplit,
        *,
        interval: int,
        episodes: int,
        seed: int,
        stop_metric: str = "test_battle_won_mean",
        stop_at: float | None = None,
    ) -> None:
        super().__init__()
        self.collector, self.split = collector, split
        self.interval, self.episodes, self.seed = interval, episodes, seed
        self.metrics = EpisodeMetrics("test_")
        self.stop_metric, self.stop_at = stop_metric, stop_at
        self.win_rate: float | None = None
        self.reached = False

    def after_rollout(
        self, trainer: L.Trainer, module: RobustLearner, data: InducedDecPOMDP, batch: Experience, before: int
    ) -> None:
        """Test when the interval has passed."""
        if crossed(before, data.env_steps, self.interval):
            with self.split.testing():
                values = self.test(data.env_steps)
            self.reached = self.stop_at is not None and values[self.stop_metric] >= self.stop_at
            log(trainer, {**values, **self.split.elapsed()}, data.env_steps)

    def test(self, env_steps: int) -> dict[str, float]:
        """Play at least ``episodes`` games; the games depend on the seed and env_steps only."""
        self.metrics.reset()
        seed = derive_seed(self.seed, f"test {env_steps}")
        for batch in play_episodes(self.collector, self.episodes, seed=seed):
            self.metrics.add(outcomes(batch))
        values = self.metrics.floats()
        self.win_rate = values["test_battle_won_mean"]
        return values


class Metrics(AfterRollout):
    """Logs means over the last rollouts every ``interval`` env steps, under PyMARL's names, to every logger."""

    def __init__(self, split: TimeSplit, *, interval: int, window: int = 4) -> None:
        super().__init__()
        self.split, self.interval = split, interval
        self.recent: deque[dict[str, Tensor]] = deque(maxlen=window)
        self.metrics = EpisodeMetrics()

    def state_dict(self) -> dict[str, Any]:
        """What the next means are taken over too, so that a resumed run logs what one that went on would have."""
        return {"recent": list(self.recent)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what ``state_dict`` gave."""
        self.recent.extend(state_dict["recent"])

    def means(self) -> dict[str, float]:
        """Of the episodes of the last ``window`` rollouts."""
        self.metrics.reset()
        for values in self.recent:
            self.metrics.add(values)
        return self.metrics.floats()

    def after_rollout(
        self, trainer: L.Trainer, module: RobustLearner, data: InducedDecPOMDP, batch: Experience, before: int
    ) -> None:
        """Remember the episodes, log when the interval has passed."""
        self.recent.append(outcomes(batch.fresh))
        if crossed(before, data.env_steps, self.interval):
            log(trainer, self._row(module, data, batch), data.env_steps)

    def _row(self, module: RobustLearner, data: InducedDecPOMDP, batch: Experience) -> dict[str, float]:
        status = {f"attack/{name}": value for name, value in data.attack.status().items()}
        steps = (batch.fresh.mask[..., None] & batch.fresh.alive[:, :-1]).sum().clamp(min=1)
        return {
            **self.means(),
            "epsilon": data.backbone.exploration(data.env_steps),
            "updates": module.updates,
            "episode": data.episodes,
            "attack/actions_changed_frac": float(batch.fresh.attacked.sum() / steps),
            **status,
            **module.drain(),
            **{f"time/{name}_frac": value for name, value in self.split.fractions(data, module).items()},
        }


class Checkpoint(AfterRollout):
    """Writes the replay, then ``last.ckpt``, then drops older replays: whenever it is killed, a pair is there."""

    def __init__(self, folder: Path, *, interval: int, keep_replay: bool = False) -> None:
        super().__init__()
        self.folder, self.interval, self.keep_replay = folder, interval, keep_replay
        self.finished = False

    def after_rollout(
        self, trainer: L.Trainer, module: RobustLearner, data: InducedDecPOMDP, batch: Experience, before: int
    ) -> None:
        """Save when the interval has passed."""
        if crossed(before, data.env_steps, self.interval):
            self.save(trainer, data, with_replay=True)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save at the end; a finished run needs its replay only where asked for."""
        data: InducedDecPOMDP = trainer.datamodule  # type: ignore[attr-defined]
        self.save(trainer, data, with_replay=self.keep_replay or not self.finished)

    def save(self, trainer: L.Trainer, data: InducedDecPOMDP, *, with_replay: bool) -> None:
        """Write the files of this moment."""
        self.folder.mkdir(parents=True, exist_ok=True)
        replay = replay_file(self.folder, data.env_steps)
        if data.replay is not None and with_replay:
            save_tensors(replay, data.replay.state_dict())
        write_then_rename(self.folder / "last.ckpt", lambda path: trainer.save_checkpoint(path, weights_only=False))
        for old in self.folder.glob(replay_file(self.folder, "*").name):
            if old != replay or not with_replay:
                old.unlink()


class Budget(AfterRollout):
    """Stops at ``env_steps``, at a test that reached what was asked for, or on Ctrl-C or SIGTERM after the rollout.

    A second Ctrl-C stops at once.
    """

    def __init__(self, env_steps: int, test: PeriodicTest, checkpoint: Checkpoint) -> None:
        super().__init__()
        self.env_steps, self.test, self.checkpoint = env_steps, test, checkpoint
        self.interrupted = False
        self._handlers: dict[int, Any] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take over the signals."""
        super().on_train_start(trainer, pl_module)
        for number in (signal.SIGINT, signal.SIGTERM):
            self._handlers[number] = signal.signal(number, self._interrupt)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Give the signals back, after an error too."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True

    def after_rollout(
        self, trainer: L.Trainer, module: RobustLearner, data: InducedDecPOMDP, batch: Experience, before: int
    ) -> None:
        """Stop when the budget is spent or somebody asked for it."""
        self.checkpoint.finished = self.test.reached or data.env_steps >= self.env_steps
        trainer.should_stop = self.checkpoint.finished or self.interrupted


def replay_file(folder: Path, env_steps: int | str) -> Path:
    """The replay that belongs to the checkpoint of this moment."""
    return folder / f"replay_{env_steps}.pt"


def log(trainer: L.Trainer, metrics: dict[str, float], env_steps: int) -> None:
    """Write metrics to every logger at our own step count."""
    for logger in trainer.loggers:
        logger.log_metrics({**metrics, "t_env": float(env_steps)}, step=env_steps)
