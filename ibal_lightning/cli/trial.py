"""One trial of a sweep: a run of ``train`` in a process of its own, watched while it trains."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
import polars as pl

from ibal_lightning.cli.errors import EXIT_MISTAKE
from ibal_lightning.cli.search_space import Space, spelt
from ibal_lightning.evaluation.results import read_log, read_rows

METRICS = {"won": "test_battle_won_mean", "return": "test_return_mean"}  # column of the results: of the tests
LOOK_EVERY = 1.0  # seconds between two looks at a run
PATIENCE = 10.0  # seconds that a run has to end when it is told to


class TrialFailed(Exception):
    """A run failed, through no mistake in its words; the sweep goes on."""


@dataclass(frozen=True)
class TrialRunner:
    """What Optuna calls: runs a trial and returns its score, the mean of ``metric`` over the attacks."""

    folder: Path
    space: Space
    overrides: Sequence[str]
    attacks: Sequence[str]
    metric: str
    flags: Sequence[str] = ()  # of the command line, such as --config-dir

    def __call__(self, trial: optuna.Trial) -> float:
        """Train and score.

        Raises:
            ValueError: ``train`` refuses the words or leaves an attack out, or the run directory is taken.
            TrialFailed: the run failed, or its score is no number.
            optuna.TrialPruned: its tests are among the lowest of the trials so far.
        """
        directory = self.folder / f"trial_{trial.number:04d}"
        if directory.exists():
            raise ValueError(f"{directory} is of another study; choose another dir=")
        trial.set_user_attr("run", str(directory))
        words = [*self.overrides, *self.space.words(self.space.suggest(trial))]
        fixed = [f"evaluation.attacks=[{','.join(self.attacks)}]", f"hydra.run.dir={spelt(str(directory))}"]
        self._train([*self.flags, *words, *fixed], directory, trial)
        means = self._means(directory)
        for name, value in means.items():
            trial.set_user_attr(name, value)
        score = sum(means.values()) / len(means)
        if not math.isfinite(score):
            raise TrialFailed(f"the {self.metric} of {directory} is {score}")
        return score

    def _means(self, directory: Path) -> dict[str, float]:
        rows = read_rows(directory / "results.parquet")
        means = dict(rows.group_by("attack").agg(pl.col(self.metric).mean()).rows())
        missing = [name for name in self.attacks if name not in means]
        if missing:
            raise ValueError(f"this environment does not know {', '.join(missing)}; leave it out of attacks=")
        return {name: float(means[name]) for name in self.attacks}

    def _train(self, words: Sequence[str], directory: Path, trial: optuna.Trial) -> None:
        directory.mkdir(parents=True)
        log = directory / "log.txt"
        command = [sys.executable, "-m", "ibal_lightning", *words]
        with log.open("w") as out:  # a session of its own: Ctrl-C reaches the sweep, which ends the run
            process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
            try:
                pruned = watch(process, directory / "csv" / "metrics.csv", METRICS[self.metric], trial)
            finally:
                stop(process)
        if pruned:
            raise optuna.TrialPruned
        if process.returncode:
            _, found, message = log.read_text().rpartition("error: ")
            message = message.strip() if found else f"exit code {process.returncode}, see {log}"
            if process.returncode == EXIT_MISTAKE:
                raise ValueError(f"ibal {' '.join(words)}: {message}")
            raise TrialFailed(message)


def watch(process: subprocess.Popen[bytes], metrics: Path, column: str, trial: optuna.Trial) -> bool:
    """Report every test of a run to Optuna until it ends; True as soon as the trial should be pruned."""
    reported = 0
    while process.poll() is None:
        time.sleep(LOOK_EVERY)
        for number, value in enumerate(greedy_scores(metrics, column)):
            if number < reported:
                continue
            reported += 1
            trial.report(value, step=number)
            if trial.should_prune():
                return True
    return False


def greedy_scores(metrics: Path, column: str) -> Iterator[float]:
    """The greedy tests, without attack, that a run has logged so far."""
    try:
        rows = read_log(metrics)
    except (OSError, ValueError):  # not there yet, or being written
        return
    if column in rows.columns:
        yield from rows[column].drop_nulls()


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a run that is still going; nobody goes on with it, so that it need not save anything."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            pass
        finally:  # it did not listen, or Ctrl-C came once more
            process.kill()
            process.wait()
