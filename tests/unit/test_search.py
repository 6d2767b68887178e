"""What a sweep may vary, that a stopped study goes on the same, and that a run is ended when it is pruned."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pytest

from ibal_lightning.cli.search_space import Space
from ibal_lightning.cli.sweep import search
from ibal_lightning.cli.trial import stop, watch

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
        ({"attack.K": {"low": "one", "high": 2}}, ["space.attack.K"]),
        ({"threat.dims": [0.1, 0.2]}, ["space.threat.dims", "how trials are tested"]),
        ({"seed": [0, 1]}, ["space.seed", "how trials are tested"]),
        ({"env.map_name": ["3m", "8m"]}, ["env.map_name", "overrides and in space"]),
    ],
)
def test_impossible_spaces_are_named(space: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        Space.parse(space, ["env.map_name=3m"])
    assert all(word in str(caught.value) for word in words), caught.value


class Bowl:
    """Trials without runs: best at eta = 0.7."""

    def __init__(self) -> None:
        self.space = Space.parse(SPACE, [])

    def __call__(self, trial: optuna.Trial) -> float:
        values = self.space.suggest(trial)
        return 1.0 - abs(values["attack.eta"] - 0.7)


def test_a_study_that_was_stopped_goes_on_as_if_it_had_not_been() -> None:
    whole, parted = (optuna.create_study(direction="maximize") for _ in range(2))
    search(whole, Bowl(), 14, seed=3)  # type: ignore[arg-type]
    for wanted in (5, 5, 12, 14):
        search(parted, Bowl(), wanted, seed=3)  # type: ignore[arg-type]
        assert len(parted.trials) == max(wanted, 5)
    assert [t.params for t in whole.trials] == [t.params for t in parted.trials]
    assert whole.best_value > 0.9


def test_a_run_below_the_median_is_ended(tmp_path: Path) -> None:
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(n_startup_trials=1))
    good = study.ask()
    for step in range(3):
        good.report(0.9, step)
    study.tell(good, 0.9)
    metrics = tmp_path / "metrics.csv"
    metrics.write_text("t_env,test_battle_won_mean\n10,\n20,0.1\n")
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    started = time.monotonic()
    assert watch(process, metrics, "test_battle_won_mean", study.ask())
    stop(process)
    assert process.returncode != 0
    assert time.monotonic() - started < 30
