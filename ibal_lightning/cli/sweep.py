"""``sweep``: search options with Optuna; every trial is a run of ``train`` in a process of its own."""

from __future__ import annotations

import logging
import re
import shlex
import signal
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import optuna
import polars as pl
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState
from rich.table import Table

from ibal_lightning.cli.errors import Failure
from ibal_lightning.cli.search_space import Space
from ibal_lightning.cli.terminal import say
from ibal_lightning.cli.trial import METRICS, TrialFailed, TrialRunner, check_words
from ibal_lightning.evaluation.tables import plain_table, print_whole
from ibal_lightning.functional.files import write_then_rename
from ibal_lightning.functional.options import check_choice, check_range
from ibal_lightning.functional.random import derive_seed
from ibal_lightning.messages import first_line

logger = logging.getLogger(__name__)
DONE = (TrialState.COMPLETE, TrialState.PRUNED)
SHOWN = 10  # trials in the table
HEARTBEAT = 30  # seconds; a trial whose worker has been silent for three of them is tried again
MAX_FAILURES = 3  # in a row
# A trial is stopped when its tests are in the lowest quarter, from the third test on: tests meet no attack, so that
# they tell a policy that learns nothing from one that learns, not which of two is the more robust.
PRUNER = optuna.pruners.PercentilePruner(75.0, n_startup_trials=5, n_warmup_steps=2)


def run(cfg: DictConfig) -> float:
    """Search until the study has ``trials`` trials; print the best, write ``trials.csv``. Returns the best score.

    The same command goes on with a study that was stopped, and several at once share it.

    Raises:
        ValueError: the space, an option or a word is impossible, or the study of that name asked another question.
        Failure: several trials in a row failed, or none finished.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the values of the trial that was running are tried first next time.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what fails we say ourselves
    warnings.filterwarnings("ignore", category=ExperimentalWarning)  # the heartbeat
    warnings.filterwarnings("ignore", "Heartbeat of storage")  # trials that are dropped at once need none
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    check_range("trials", cfg.trials, 1)
    check_choice("metric", cfg.metric, sorted(METRICS))
    space, folder = Space.parse(OmegaConf.to_container(cfg.space), list(cfg.overrides)), Path(cfg.dir)
    check_words(cfg.overrides)
    folder.mkdir(parents=True, exist_ok=True)
    study = open_study(cfg)
    runner = TrialRunner(folder, space, list(cfg.overrides), list(cfg.attacks), cfg.metric, config_dir())
    try:
        run_trials(study, runner, cfg.trials, cfg.seed)
    except KeyboardInterrupt:
        logger.info("stopped after %d of %d trials; the same command goes on", done(study), cfg.trials)
        raise
    if not any(trial.state is TrialState.COMPLETE for trial in study.trials):
        raise Failure(f"no trial of {cfg.name} finished; their run directories are in {folder}")
    show(study, runner)
    return study.best_value


def config_dir() -> list[str]:
    """The flag that named a folder of configs, for the trials."""
    sources = HydraConfig.get().runtime.config_sources
    return [f"--config-dir={source.path}" for source in sources if source.provider == "command-line"]


def open_study(cfg: DictConfig) -> optuna.Study:
    """The study of that name, new or as it was left.

    Raises:
        ValueError: the storage cannot be opened, or its study has trials of another space, metric or fixed words.
    """
    study = optuna.create_study(
        storage=open_storage(cfg.storage),
        study_name=cfg.name,
        direction="maximize",
        load_if_exists=True,
        pruner=PRUNER if cfg.prune else optuna.pruners.NopPruner(),
    )
    asked = {key: OmegaConf.to_container(cfg[key]) for key in ("space", "overrides", "attacks")}
    asked["metric"] = cfg.metric
    before = study.user_attrs.get("question", asked)
    differs = [key for key in asked if before[key] != asked[key]]
    if differs and done(study):
        raise ValueError(f"the study {cfg.name} has trials with another {', '.join(differs)}; choose another name=")
    if differs:
        drop_waiting(study)
    study.set_user_attr("question", asked)
    return study


def drop_waiting(study: optuna.Study) -> None:
    """Fail the trials that interrupted ones left to be tried: they are of another question."""
    for _ in study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        study.tell(study.ask(), state=TrialState.FAIL)  # what waits is asked first


def open_storage(url: str) -> optuna.storages.RDBStorage:
    """The database of the studies.

    Raises:
        ValueError: it cannot be opened.
    """
    try:
        return connect(url)
    except Exception:  # another worker may be making its tables
        time.sleep(1)
    try:
        return connect(url)
    except Exception as error:  # SQLAlchemy's and the drivers' own
        shown = re.sub(r"//[^/@]*@", "//***@", url)
        raise ValueError(f"storage={shown} cannot be opened: {first_line(error)}") from error


def connect(url: str) -> optuna.storages.RDBStorage:
    """The database, which notices workers that died."""
    return optuna.storages.RDBStorage(
        url,
        heartbeat_interval=HEARTBEAT,
        grace_period=3 * HEARTBEAT,
        heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=2),
    )


def run_trials(study: optuna.Study, runner: TrialRunner, wanted: int, seed: int) -> None:
    """Run trials until ``wanted`` are done, whoever ran them.

    Raises:
        Failure: several in a row failed here.
    """
    before, begun = done(study), time.monotonic()
    failures: list[str] = []  # in a row

    def score(trial: optuna.Trial) -> float:
        # The sampler depends on the number of the trial only: workers draw other points than each other, and a study
        # that goes on after its last trial ended is that which never stopped.
        study.sampler = optuna.samplers.TPESampler(seed=derive_seed(seed, f"sweep {trial.number}") % 2**32)
        try:
            return runner(trial)
        except TrialFailed as error:
            trial.set_user_attr("reason", str(error))
            raise
        except KeyboardInterrupt:
            study.enqueue_trial(trial.params)
            raise

    def report(study: optuna.Study, trial: FrozenTrial) -> None:
        ended = done(study)
        minutes = (time.monotonic() - begun) / 60 / max(ended - before, 1) * max(wanted - ended, 0)
        logger.info("trial %d: %s (%d of %d done, %.0f min left)", trial.number, outcome(trial), ended, wanted, minutes)
        write_then_rename(runner.folder / "trials.csv", rows_of(study, runner.attacks).write_csv)
        if trial.state in DONE:
            failures.clear()
        else:
            failures.append(trial.user_attrs["reason"])
        if len(failures) == MAX_FAILURES:
            raise Failure(f"{MAX_FAILURES} trials in a row failed; the last one: {failures[-1]}")

    enough = optuna.study.MaxTrialsCallback(wanted, states=DONE)
    if before < wanted:
        study.optimize(score, callbacks=[report, enough], catch=(TrialFailed,))


def done(study: optuna.Study) -> int:
    """Trials that count."""
    return len(study.get_trials(deepcopy=False, states=DONE))


def outcome(trial: FrozenTrial) -> str:
    """How a trial ended."""
    if trial.state is TrialState.FAIL:
        return f"failed: {trial.user_attrs['reason']}"
    return f"{trial.value:.3f}" if trial.state is TrialState.COMPLETE else trial.state.name.lower()


def rows_of(study: optuna.Study, attacks: Sequence[str]) -> pl.DataFrame:
    """A row a trial: number, state, score, win rates, values, the run directory, why it failed."""
    rows = [
        {"trial": trial.number, "state": trial.state.name.lower(), "score": trial.value}
        | {name: trial.user_attrs.get(name) for name in attacks}
        | trial.params
        | {name: trial.user_attrs.get(name) for name in ("run", "reason")}
        for trial in study.get_trials(deepcopy=False)
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def show(study: optuna.Study, runner: TrialRunner) -> None:
    """Print the best trials and the command of the best."""
    print_whole(table_of(study.get_trials(states=DONE[:1]), runner.attacks))
    say(f"best: ibal {shlex.join(runner.words(study.best_params))}")
    say(f"all trials: {runner.folder / 'trials.csv'}")


def table_of(trials: Sequence[FrozenTrial], attacks: Sequence[str]) -> Table:
    """The best trials, best first."""
    table = plain_table()
    options = list(dict.fromkeys(name for trial in trials for name in trial.params))
    for name in ("trial", "score", *attacks, *options):
        table.add_column(name, justify="right", no_wrap=True)
    for trial in sorted(trials, key=lambda trial: (-(trial.value or 0.0), trial.number))[:SHOWN]:
        numbers = [f"{trial.value:.3f}", *(f"{trial.user_attrs[name]:.3f}" for name in attacks)]
        values = [trial.params.get(name, "-") for name in options]
        table.add_row(str(trial.number), *numbers, *(f"{v:.4g}" if isinstance(v, float) else str(v) for v in values))
    return table
