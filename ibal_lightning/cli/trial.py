"""One trial of a sweep: a run of ``train`` in a process of its own, watched while it trains."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import polars as pl
from hydra.core.override_parser.overrides_parser import OverridesParser

from ibal_lightning.cli.app import is_override
from ibal_lightning.cli.errors import EXIT_MISTAKE
from ibal_lightning.cli.search_space import Space, spelt, within
from ibal_lightning.evaluation.results import read_log, read_rows

METRICS = {"won": "test_battle_won_mean", "return": "test_return_mean"}  # column of the results: of the tests
LOOK_EVERY = 1.0  # seconds between two looks at a run
LOG = "log.txt"  # what a run says, in its directory
PATIENCE = 10.0  # seconds that a run has to end when it is told to
OWN = ("seeds", "hydra", "training.resume")  # what would make a trial several runs, or one that lies elsewhere


class TrialFailed(Exception):
    """A run failed, through no mistake in its words; the sweep goes on. The message is one line that names the log."""


def check_words(overrides: Sequence[str]) -> None:
    """Refuse what a trial, one run with a directory of its own, cannot be told.

    Raises:
        ValueError: a flag, a word that sets nothing, several values for one option, or an option that is the sweep's.
        hydra.errors.OverrideParseException: Hydra cannot read a word.
    """
    for word in overrides:
        if not is_override(word):
            raise ValueError(f"overrides: {word!r} is not of the form option=value, +option=value or ~option")
    for word, override in zip(overrides, OverridesParser.create().parse_overrides(list(overrides)), strict=True):
        if override.is_sweep_override():
            raise ValueError(f"overrides: {word!r} makes several runs, and a trial is one run; give one value")
        if within(word, OWN):
            raise ValueError(
                f"overrides: {word!r} cannot be set: a trial is one run with a directory of its own, so that "
                f"{', '.join(OWN)} are left alone"
            )


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
        words = self.words(self.space.suggest(trial))
        self._train([*words, f"hydra.run.dir={spelt(str(directory))}"], directory, trial)
        means = self._means(directory)
        for name, value in means.items():
            trial.set_user_attr(name, value)
        score = sum(means.values()) / len(means)
        if not math.isfinite(score):
            raise TrialFailed(f"the {self.metric} is {score}; see {directory / LOG}")
        return score

    def words(self, values: Mapping[str, Any]) -> list[str]:
        """What follows ``ibal`` to train and test with these values."""
        attacks = f"evaluation.attacks=[{','.join(self.attacks)}]"
        return [*self.flags, *self.overrides, *self.space.words(values), attacks]

    def _means(self, directory: Path) -> dict[str, float]:
        rows = read_rows(directory / "results.parquet")
        means = dict(rows.group_by("attack").agg(pl.col(self.metric).mean()).rows())
        missing = [name for name in self.attacks if name not in means]
        if missing:
            raise ValueError(f"this environment does not know {', '.join(missing)}; leave it out of attacks=")
        return {name: float(means[name]) for name in self.attacks}

    def _train(self, words: Sequence[str], directory: Path, trial: optuna.Trial) -> None:
        directory.mkdir(parents=True)
        log = directory / LOG
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
            said = reason(log.read_text(), process.returncode)
            if process.returncode == EXIT_MISTAKE:
                raise ValueError(f"ibal {' '.join(words)}: {said}")
            raise TrialFailed(f"{said.splitlines()[0]}; see {log}")


def reason(log: str, code: int) -> str:
    """Why a run failed: its error message, which begins with what went wrong, or the last line of a run without."""
    _, found, message = log.rpartition("error: ")
    if found and message.strip():
        return message.strip()
    return ": ".join([f"exit code {code}", *log.strip().splitlines()[-1:]])


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
