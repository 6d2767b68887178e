"""What a sweep may vary, that a stopped study goes on the same, and that a run is ended when it is pruned."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import polars as pl
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st
from optuna.trial import TrialState

from ibal_lightning.cli.errors import Failure
from ibal_lightning.cli.search_space import Space, spelt
from ibal_lightning.cli.sweep import PRUNER, run_trials
from ibal_lightning.cli.trial import TrialFailed, TrialRunner, greedy_scores, stop, watch

SPACE = {
    "attack.eta": {"low": 0.4, "high": 0.9},
    "attack.K": {"low": 1, "high": 3},
    "attack.alpha": {"low": 1.02, "high": 1.5, "log": True},
    "attack.trigger": ["step", "hold"],
    "attack.symmetric": [True, False],
    "attack.p_max_init": [None, 1],
}


@pytest.fixture(autouse=True)
def quiet() -> None:
    """No line a trial."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def test_values_are_inside_the_space_and_spelt_as_hydra_reads_them() -> None:
    space, study = Space.parse(SPACE, []), optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(50):
        values = space.suggest(study.ask())
        assert 0.4 <= values["attack.eta"] <= 0.9
        assert values["attack.K"] in (1, 2, 3)
        assert isinstance(values["attack.K"], int)
        assert 1.02 <= values["attack.alpha"] <= 1.5
        words = space.words(values)
        assert f"attack.eta={values['attack.eta']}" in words
        assert f"attack.symmetric={'true' if values['attack.symmetric'] else 'false'}" in words
        assert f"attack.p_max_init={'null' if values['attack.p_max_init'] is None else 1}" in words


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({}, ["space is empty"]),
        ({"attack.eta": 0.5}, ["space.attack.eta", "expected a list of values"]),
        ({"attack.eta": []}, ["space.attack.eta", "expected a list of values"]),
        ({"attack.eta": {"low": 1}}, ["space.attack.eta", "expected a list of values"]),
        ({"attack.eta": {"low": 0.9, "high": 0.4}}, ["space.attack.eta", "low"]),
        ({"attack.eta": {"low": 0.1, "high": 0.4, "logg": True}}, ["space.attack.eta", "did you mean 'log'"]),
        ({"attack.K": {"low": "one", "high": 2}}, ["space.attack.K: low must be a finite number, got 'one'"]),
        ({"attack.K": {"low": False, "high": 2}}, ["space.attack.K: low must be a finite number, got False"]),
        ({"attack.eta": {"low": math.nan, "high": 0.4}}, ["space.attack.eta: low must be a finite number, got nan"]),
        ({"attack.eta": {"low": 0.1, "high": math.inf}}, ["space.attack.eta: high must be a finite number, got inf"]),
        ({"attack.eta": {"low": 0.1, "high": 0.4, "log": "false"}}, ["log must be true or false, got 'false'"]),
        ({"attack.K": [1, 2, 1]}, ["space.attack.K: 1 and 1 are equal; leave one out"]),
        ({"attack.symmetric": [1, True]}, ["space.attack.symmetric: 1 and true are equal"]),
        ({"threat.dims": [0.1, 0.2]}, ["space.threat.dims", "how trials are tested"]),
        ({"+threat.dims": [0.1, 0.2]}, ["threat.dims", "how trials are tested"]),
        ({"threat": ["default"]}, ["space.threat", "how trials are tested"]),
        ({"hydra/launcher": ["basic"]}, ["hydra/launcher", "how trials are tested"]),
        ({"seed": [0, 1]}, ["space.seed", "how trials are tested"]),
        ({"attack.alpha": [1.1, 1.2]}, ["attack.alpha", "overrides and in space"]),
        ({"+attack.alpha": [1.1, 1.2]}, ["attack.alpha", "overrides and in space"]),
    ],
)
def test_impossible_spaces_are_named(space: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        Space.parse(space, ["env.map_name=3m", "attack.alpha=1.3"])
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize(
    "name",
    [
        *("env", "env.map_name", "++env.switches.stats", "env@_global_", "debug", "experiment", "training.resume"),
        *("experiment/by_backbone@_global_", "training.test_interval", "training.test_episodes"),
    ],
)
def test_trials_play_one_game_and_meet_one_test(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be searched: it would change the game or how trials are tested"):
        Space.parse({name: ["a", "b"]}, [])


def test_how_trials_train_may_be_searched() -> None:
    names = ["training", "training.init_from", "training.stop_at", "backbone.lr", "method", "attack"]
    assert list(Space.parse({name: ["a", "b"] for name in names}, ["env.map_name=3m"]).options) == names


class Bowl(TrialRunner):
    """Trials without runs: best at eta = 0.7; the numbers in ``broken`` fail."""

    broken: frozenset[int] = frozenset()

    def __call__(self, trial: optuna.Trial) -> float:
        values = self.space.suggest(trial)
        if trial.number in self.broken:
            raise TrialFailed(f"the disk of trial {trial.number} is gone")
        return 1.0 - abs(values["attack.eta"] - 0.7)


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
    object.__setattr__(bowl, "broken", frozenset({1, 2, 4, 5, 6}))
    with pytest.raises(Failure, match="3 trials in a row failed; the last one: the disk of trial 6 is gone"):
        run_trials(study, bowl, 10, seed=0)
    assert [t.number for t in study.trials if t.state is TrialState.COMPLETE] == [3]


def test_a_run_directory_that_is_there_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "trial_0000").mkdir()
    runner = TrialRunner(tmp_path, Space.parse(SPACE, []), [], ["natural"], "won")
    with pytest.raises(ValueError, match=r"trial_0000 is of another study; choose another dir="):
        runner(optuna.create_study().ask())


def test_a_run_below_the_others_is_ended(tmp_path: Path) -> None:
    study = optuna.create_study(direction="maximize", pruner=PRUNER)
    for _ in range(8):
        good = study.ask()
        for step in range(4):
            good.report(0.9, step)
        study.tell(good, 0.9)
    metrics = tmp_path / "metrics.csv"
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    started = time.monotonic()
    for tests, pruned in (("20,0.1", False), ("20,0.1\n30,0.1\n40,0.1", True)):
        metrics.write_text(f"t_env,test_battle_won_mean\n10,\n{tests}\n")
        trial = study.ask()
        for number, value in enumerate(greedy_scores(metrics, "test_battle_won_mean")):
            trial.report(value, number)
        assert trial.should_prune() == pruned
    assert watch(process, metrics, "test_battle_won_mean", study.ask())
    stop(process)
    assert process.returncode != 0
    assert time.monotonic() - started < 30


def test_a_run_that_ends_by_itself_is_not_pruned(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("t_env,test_battle_won_mean\n10,0.5\n20,0.")  # half a line
    process = subprocess.Popen([sys.executable, "-c", ""])
    assert not watch(process, tmp_path / "metrics.csv", "test_battle_won_mean", optuna.create_study().ask())
    stop(process)
    assert process.returncode == 0


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]))


@given(TEXTS | st.text("019aeEfFiInNuU_.:/-+"))
@example("a,b")
@example("null")
@example("1")
@example("it's \\'")
@example("C:\\x\\")
def test_text_reaches_hydra_as_it_was(text: str) -> None:
    override = OverridesParser.create().parse_override(f"key={spelt(text)}")
    assert override.value() == text
    assert isinstance(override.value(), str)


@pytest.mark.parametrize("text", ["3m", "2s3z", "2c_vs_64zg", "outputs/2024-01-01/run", "step"])
def test_plain_text_has_no_quotes(text: str) -> None:
    assert spelt(text) == text
