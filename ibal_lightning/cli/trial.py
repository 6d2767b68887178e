"""One trial of a sweep: a run of ``train`` in a process of its own, watched while it trains."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
import polars as pl

from ibal_lightning.cli.errors import EXIT_MISTAKE
from ibal_lightning.cli.search_space import Space
from ibal_lightning.evaluation.results import read_rows

METRICS = {"won": "test_battle_won_mean", "return": "test_return_mean"}  # column of the results: of the tests
LOOK_EVERY = 1.0  # seconds between two looks at a run


class TrialFailed(Exception):
    """A run ended with exit code 1; the sweep goes on."""


@dataclass(frozen=True)
class Trials:
    """What Optuna calls: runs a trial and returns its score, the mean of ``metric`` over the attacks."""

    folder: Path
    space: Space
    overrides: Sequence[str]
    attacks: Sequence[str]
    metric: str

    def __call__(self, trial: optuna.Trial) -> float:
        """Train and score.

        Raises:
            ValueError: ``train`` refuses the words.
            TrialFailed: the run failed.
            optuna.TrialPruned: its tests are below the median of earlier trials.
        """
        directory = self.folder / f"trial_{trial.number:04d}"
        trial.set_user_attr("run", str(directory))
        words = [*self.overrides, *self.space.words(self.space.suggest(trial))]
        fixed = [f"evaluation.attacks=[{','.join(self.attacks)}]", f"hydra.run.dir={directory}"]
        self._train([*words, *fixed], directory, trial)
        rows = read_rows(directory / "results.parquet")
        means = {name: float(part[self.metric].mean()) for (name,), part in rows.group_by("attack")}  # type: ignore[arg-type]
        for name in self.attacks:
            trial.set_user_attr(name, means[name])
        return sum(means[name] for name in self.attacks) / len(self.attacks)

    def _train(self, words: Sequence[str], directory: Path, trial: optuna.Trial) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        log = directory / "log.txt"
        with log.open("w") as out:
            process = subprocess.Popen([sys.executable, "-m", "ibal_lightning", *words], stdout=out, stderr=out)
            try:
                pruned = watch(process, directory / "csv" / "metrics.csv", METRICS[self.metric], trial)
            finally:
                stop(process)
        if pruned:
            raise optuna.TrialPruned
        if process.returncode:
            error = next(
                (line for line in reversed(log.read_text().splitlines()) if line.startswith("error")), str(log)
            )
            trial.set_user_attr("error", error)
            if process.returncode == EXIT_MISTAKE:
                raise ValueError(f"ibal {' '.join(words)}: {error.removeprefix('error: ')}")
            raise TrialFailed(error)


def watch(process: subprocess.Popen[bytes], metrics: Path, column: str, trial: optuna.Trial) -> bool:
    """Report every test of a run to Optuna until it ends; True as soon as the trial should be pruned."""
    reported = 0
    while process.poll() is None:
        time.sleep(LOOK_EVERY)
        for number, value in enumerate(tests(metrics, column)):
            if number < reported:
                continue
            reported += 1
            trial.report(value, step=number)
            if trial.should_prune():
                return True
    return False


def tests(metrics: Path, column: str) -> Iterator[float]:
    """The greedy tests that a run has logged so far."""
    try:
        rows = pl.read_csv(metrics, infer_schema_length=None, truncate_ragged_lines=True, ignore_errors=True)
    except (OSError, pl.exceptions.PolarsError):  # not there yet, or being written
        return
    if column in rows.columns:
        yield from rows[column].cast(pl.Float64, strict=False).drop_nulls()


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a run that is still going as Ctrl-C does: it saves a checkpoint first."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
