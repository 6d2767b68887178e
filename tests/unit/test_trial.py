"""A trial is one run: what it cannot be told, why it failed, and that it is ended when it is pruned."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest

from ibal_lightning.cli.search_space import Space
from ibal_lightning.cli.sweep import PRUNER
from ibal_lightning.cli.trial import TrialFailed, TrialRunner, check_words, greedy_scores, stop, watch

SPACE = Space.parse({"attack.eta": {"low": 0.4, "high": 0.9}}, [])


@pytest.mark.parametrize(
    ("says", "why"),
    [
        ("error: no\nerror: the disk is full\n  at file.py:3", "the disk is full"),
        ("Traceback\nModuleNotFoundError: no torch\n", "exit code 1: ModuleNotFoundError: no torch"),
        ("", "exit code 1"),
        ("error: ", "exit code 1: error:"),
    ],
)
def test_a_failed_run_is_quoted_with_its_log(
    says: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    run.write_text(f"#!/bin/sh\ncat <<'END'\n{says}\nEND\nexit 1\n")
    run.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(run))
    log = tmp_path / "trial_0000" / "log.txt"
    with pytest.raises(TrialFailed, match=rf"^{re.escape(f'{why}; see {log}')}$"):
        TrialRunner(tmp_path, SPACE, [], ["natural"], "won")(optuna.create_study().ask())


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("-m", "'-m' is not of the form option=value"),
        ("--config-dir=x", "'--config-dir=x' is not of the form option=value"),
        ("seed", "'seed' is not of the form option=value"),
        ("seed=0,1", "'seed=0,1' makes several runs"),
        ("attack.K=range(1,3)", "makes several runs"),
        *(
            (word, "a trial is one run")
            for word in ("seeds=[0,1]", "+seeds=[0,1]", "++hydra.x=1", "hydra/launcher=joblib")
        ),
        *((word, "a trial is one run") for word in ("~hydra.run", "training.resume=outputs/x")),
    ],
)
def test_words_that_make_no_single_run_are_refused(word: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        check_words(["method=ibal", word])


def test_words_of_a_single_run_pass() -> None:
    check_words(["method=ibal", "env.map_name=3m", "+a.b=[1,2]", "~logger", "note='a,b'", "seed=3", "hydrant=1"])


def test_a_run_directory_that_is_there_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "trial_0000").mkdir()
    runner = TrialRunner(tmp_path, SPACE, [], ["natural"], "won")
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
