"""Studies: a stopped one goes on the same, failures are told and counted, the best command is that of its run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import optuna
import polars as pl
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from optuna.trial import TrialState

from ibal_lightning.cli.app import split_verb
from ibal_lightning.cli.errors import Failure
from ibal_lightning.cli.search_space import Space
from ibal_lightning.cli.sweep import open_study, run_trials, show
from ibal_lightning.cli.trial import TrialFailed, TrialRunner

SPACE = {"attack.eta": {"low": 0.4, "high": 0.9}, "attack.K": {"low": 1, "high": 3}, "attack.trigger": ["step", "hold"]}


@pytest.fixture(autouse=True)
def quiet() -> None:
    """No line a trial."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)


class Bowl(TrialRunner):
    """Trials without runs: best at eta = 0.7; the numbers in ``ends`` end otherwise."""

    ends: Mapping[int, BaseException] = {}

    def __call__(self, trial: optuna.Trial) -> float:
        values = self.space.suggest(trial)
        if trial.number in self.ends:
            raise self.ends[trial.number]
        return 1.0 - abs(values["attack.eta"] - 0.7)


def end(bowl: Bowl, *numbers: int, by: BaseException | None = None) -> None:
    """Let these trials end otherwise; they fail if nothing else is said."""
    ends = {n: by or TrialFailed(f"the disk of trial {n} is gone") for n in numbers}
    object.__setattr__(bowl, "ends", {**bowl.ends, **ends})


@pytest.fixture
def bowl(tmp_path: Path) -> Bowl:
    return Bowl(tmp_path, Space.parse(SPACE, []), [], ["natural"], "won")


def test_a_study_that_was_stopped_goes_on_as_if_it_had_not_been(bowl: Bowl) -> None:
    whole, parted = (optuna.create_study(direction="maximize") for _ in range(2))
    run_trials(whole, bowl, 14, seed=3)
    for wanted in (5, 5, 12, 14):
        run_trials(parted, bowl, wanted, seed=3)
        assert len(parted.trials) == max(wanted, 5)
    assert [t.params for t in whole.trials] == [t.params for t in parted.trials]
    assert whole.best_value > 0.9
    saved = pl.read_csv(bowl.folder / "trials.csv")
    assert saved["score"].to_list() == pytest.approx([t.value for t in whole.trials])


def test_three_failures_in_a_row_end_a_sweep_whatever_other_workers_do(bowl: Bowl) -> None:
    study = optuna.create_study(direction="maximize")
    study.ask()  # another worker's trial, still running
    end(bowl, 1, 2, 4, 5, 6)
    with pytest.raises(Failure, match="3 trials in a row failed; the last one: the disk of trial 6 is gone"):
        run_trials(study, bowl, 10, seed=0)
    assert [t.number for t in study.trials if t.state is TrialState.COMPLETE] == [3]


def test_a_pruned_trial_ran_and_is_no_failure(bowl: Bowl) -> None:
    study = optuna.create_study(direction="maximize")
    end(bowl, 0, 2, 4)
    end(bowl, 1, 3, by=optuna.TrialPruned())
    run_trials(study, bowl, 4, seed=0)
    states = "fail pruned fail pruned fail complete complete"
    assert [t.state.name.lower() for t in study.trials] == states.split()


def test_why_a_trial_failed_is_said_and_stands_in_the_table(bowl: Bowl, caplog: pytest.LogCaptureFixture) -> None:
    end(bowl, 0)
    with caplog.at_level("INFO"):
        run_trials(optuna.create_study(direction="maximize"), bowl, 1, seed=0)
    assert "trial 0: failed: the disk of trial 0 is gone (0 of 1 done" in caplog.text
    assert pl.read_csv(bowl.folder / "trials.csv")["reason"].to_list() == ["the disk of trial 0 is gone", None]


def test_what_ctrl_c_ended_is_tried_first_when_the_sweep_goes_on(bowl: Bowl) -> None:
    study = optuna.create_study(direction="maximize")
    end(bowl, 2, 3, by=KeyboardInterrupt())  # twice in a row
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run_trials(study, bowl, 5, seed=0)
    run_trials(study, bowl, 5, seed=0)
    points = [t.params for t in study.trials]
    assert points[2] == points[3] == points[4] != points[5]
    states = "complete complete fail fail complete complete complete"
    assert [t.state.name.lower() for t in study.trials] == states.split()


@pytest.mark.filterwarnings("ignore")
def test_what_ctrl_c_ended_is_not_tried_in_another_space(bowl: Bowl) -> None:
    words = {"name": "x", "storage": f"sqlite:///{bowl.folder / 'study.db'}", "prune": True, "metric": "won"}
    cfg = OmegaConf.create({**words, "space": SPACE, "overrides": [], "attacks": ["natural"]})
    end(bowl, 0, by=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run_trials(open_study(cfg), bowl, 1, seed=0)
    assert [t.state for t in open_study(cfg).trials] == [TrialState.FAIL, TrialState.WAITING]
    cfg.space = {"attack.eta": [2.0]}
    assert [t.state for t in open_study(cfg).trials] == [TrialState.FAIL] * 2


class Heard(TrialRunner):
    """Trials that only remember their words; the last is the best."""

    heard: ClassVar[list[list[str]]] = []

    def _train(self, words: Sequence[str], directory: Path, trial: optuna.Trial) -> None:
        self.heard.append(list(words))

    def _means(self, directory: Path) -> dict[str, float]:
        return dict.fromkeys(self.attacks, float(len(self.heard)))


def test_the_command_of_the_best_trial_is_that_of_its_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = optuna.create_study(direction="maximize", storage=f"sqlite:///{tmp_path / 'study.db'}")
    space = Space.parse({**SPACE, "attack.note": ["it's [a], b"]}, [])
    fixed = ["method=ibal", "env.map_name=3m", "+env.x=[1,2]"]
    runner = Heard(tmp_path, space, fixed, ["natural", "hp_15"], "won", ["--config-dir=/my sweeps"])
    run_trials(study, runner, 3, seed=0)
    show(study, runner)
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("best: "))
    *words, own = Heard.heard[-1]
    assert own.startswith("hydra.run.dir=")
    assert shlex.split(line.removeprefix("best: ")) == ["ibal", *words]
    assert split_verb(words) == ("train", words)
    OverridesParser.create().parse_overrides(words[1:])
