"""``sweep``: search options with Optuna; every trial is a run of ``train`` in a process of its own."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import optuna
import polars as pl
from omegaconf import DictConfig, OmegaConf
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ibal_lightning.cli.errors import Failure
from ibal_lightning.cli.search_space import Space
from ibal_lightning.cli.trial import METRICS, TrialFailed, Trials
from ibal_lightning.evaluation.tables import whole_width
from ibal_lightning.functional.files import write_then_rename
from ibal_lightning.functional.options import check_choice, check_range
from ibal_lightning.functional.random import derive_seed

news = logging.getLogger(__name__)
DONE = (TrialState.COMPLETE, TrialState.PRUNED)
SHOWN = 10  # trials in the table
HEARTBEAT = 30  # seconds; a trial whose worker has been silent for three of them is given up
MAX_FAILURES = 3  # in a row


def run(cfg: DictConfig) -> float:
    """Search until the study has ``trials`` trials; print the best, write ``trials.csv``. Returns the best score.

    The same command goes on with a study that was stopped, and several at once share it.

    Raises:
        ValueError: the space, an option or a word is impossible, or the study of that name asked another question.
        Failure: several trials in a row failed, or none finished.
        KeyboardInterrupt: Ctrl-C; the trial that was running is not counted.
    """
    check_range("trials", cfg.trials, 1)
    check_choice("metric", cfg.metric, sorted(METRICS))
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what fails we say ourselves
    warnings.filterwarnings("ignore", category=ExperimentalWarning)  # the heartbeat
    space = Space.parse(OmegaConf.to_container(cfg.space), list(cfg.overrides))
    folder = Path(cfg.dir)
    folder.mkdir(parents=True, exist_ok=True)
    study = open_study(cfg)
    trials = Trials(folder, space, list(cfg.overrides), list(cfg.attacks), cfg.metric)
    try:
        search(study, trials, cfg.trials, cfg.seed)
    except KeyboardInterrupt:
        news.info("stopped after %d of %d trials; the same command goes on", done(study), cfg.trials)
        raise
    finished = [trial for trial in study.get_trials(deepcopy=False) if trial.state is TrialState.COMPLETE]
    if not finished:
        raise Failure(f"no trial of {cfg.name} finished; their run directories are in {folder}")
    write_then_rename(folder / "trials.csv", rows_of(study, trials.attacks).write_csv)
    console, table = Console(), table_of(finished, trials.attacks)
    console.width = max(console.width, whole_width(console, table))  # rather a long line than half a number
    console.print(table)
    best = study.best_trial
    console.print(f"best: ibal {' '.join([*trials.overrides, *space.words(best.params)])}", soft_wrap=True)
    console.print(f"all trials: {folder / 'trials.csv'}", soft_wrap=True)
    return study.best_value


def open_study(cfg: DictConfig) -> optuna.Study:
    """The study of that name, new or as it was left.

    Raises:
        ValueError: the storage cannot be opened, or its study has another space, metric or fixed words.
    """
    try:
        storage = optuna.storages.RDBStorage(
            cfg.storage,
            heartbeat_interval=HEARTBEAT,
            grace_period=3 * HEARTBEAT,
            heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=2),
        )
    except Exception as error:  # SQLAlchemy's and the drivers' own
        raise ValueError(f"storage={cfg.storage} cannot be opened: {str(error).splitlines()[0]}") from error
    pruner = optuna.pruners.MedianPruner(n_startup_trials=5) if cfg.prune else optuna.pruners.NopPruner()
    study = optuna.create_study(
        storage=storage, study_name=cfg.name, direction="maximize", load_if_exists=True, pruner=pruner
    )
    asked = {key: OmegaConf.to_container(cfg[key]) for key in ("space", "overrides", "attacks")}
    asked["metric"] = cfg.metric
    before = study.user_attrs.get("question", asked)
    differs = [key for key in asked if before[key] != asked[key]]
    if differs:
        raise ValueError(f"the study {cfg.name} in {cfg.storage} has another {', '.join(differs)}; choose name=")
    study.set_user_attr("question", asked)
    return study


def search(study: optuna.Study, trials: Trials, wanted: int, seed: int) -> None:
    """Run trials until ``wanted`` are done, whoever ran them."""
    before, begun = done(study), time.monotonic()
    if before >= wanted:
        return

    def reseed(study: optuna.Study, _: FrozenTrial | None = None) -> None:
        # A sampler that depends on the trials so far only: a study that is gone on with is that which never stopped.
        study.sampler = optuna.samplers.TPESampler(seed=derive_seed(seed, f"sweep {len(study.trials)}") % 2**32)

    def report(study: optuna.Study, trial: FrozenTrial) -> None:
        minutes = (time.monotonic() - begun) / 60 / max(done(study) - before, 1) * max(wanted - done(study), 0)
        result = f"{trial.value:.3f}" if trial.state is TrialState.COMPLETE else trial.state.name.lower()
        news.info("trial %d: %s, %d of %d done, %.0f min left", trial.number, result, done(study), wanted, minutes)
        last = study.get_trials(deepcopy=False)[-MAX_FAILURES:]
        if [item.state for item in last] == [TrialState.FAIL] * MAX_FAILURES:
            raise Failure(f"the last {MAX_FAILURES} trials failed; the last one: {trial.user_attrs.get('error')}")

    reseed(study)
    enough = optuna.study.MaxTrialsCallback(wanted, states=DONE)
    study.optimize(trials, callbacks=[report, reseed, enough], catch=(TrialFailed,))


def done(study: optuna.Study) -> int:
    """Trials that count."""
    return len(study.get_trials(deepcopy=False, states=DONE))


def rows_of(study: optuna.Study, attacks: Sequence[str]) -> pl.DataFrame:
    """A row a trial: number, state, score, the win rate under every attack, the values, the run directory."""
    rows = [
        {"trial": trial.number, "state": trial.state.name.lower(), "score": trial.value}
        | {name: trial.user_attrs.get(name) for name in attacks}
        | trial.params
        | {"run": trial.user_attrs.get("run")}
        for trial in study.get_trials(deepcopy=False)
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def table_of(trials: Sequence[FrozenTrial], attacks: Sequence[str]) -> Table:
    """The best trials, best first."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    options = list(dict.fromkeys(name for trial in trials for name in trial.params))
    for name in ("trial", "score", *attacks, *options):
        table.add_column(name, justify="right", no_wrap=True)
    for trial in sorted(trials, key=lambda trial: (-(trial.value or 0.0), trial.number))[:SHOWN]:
        numbers = [f"{trial.value:.3f}", *(f"{trial.user_attrs[name]:.3f}" for name in attacks)]
        values = [trial.params.get(name, "-") for name in options]
        table.add_row(str(trial.number), *numbers, *(f"{v:.4g}" if isinstance(v, float) else str(v) for v in values))
    return table
