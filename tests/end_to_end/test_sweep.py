"""``ibal sweep``: trials are runs, the same command goes on, and mistakes end it before anything is lost."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from ibal_lightning.cli.app import main

WORDS = '"env=lbf","env.task=Foraging-5x5-3p-1f-v3","debug=fast","training.env_steps=60","method=ibal"'
SWEEP = ["sweep", "sweep=attack_strength", f"overrides=[{WORDS}]", "attacks=[natural,dis_1]", "dir=study"]


def test_a_sweep_runs_trials_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*SWEEP, "trials=1"]) == 0
    first = pl.read_csv("study/trials.csv")
    results = Path("study/trial_0000/results.parquet")
    written = results.stat().st_mtime_ns
    Path("mine").mkdir()
    assert main([*SWEEP, "trials=2", "--config-dir=mine"]) == 0
    assert results.stat().st_mtime_ns == written
    rows = pl.read_csv("study/trials.csv")
    assert rows[:1].equals(first)
    assert rows["state"].to_list() == ["complete"] * 2
    for row in rows.to_dicts():
        played = pl.read_parquet(Path(row["run"]) / "results.parquet")
        means = dict(played.group_by("attack").agg(pl.col("won").mean()).rows())
        assert row["score"] == pytest.approx((means["natural"] + means["dis_1"]) / 2)
        config = (Path(row["run"]) / "config.yaml").read_text()
        assert f"eta: {row['attack.eta']}" in config
    said = capsys.readouterr().out
    assert "best: ibal env=lbf" in said
    assert f"best: ibal --config-dir={tmp_path / 'mine'} env=lbf" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sweep=attack_strengt"], "attack_strength"),
        (["trials=0"], "trials must be >= 1"),
        (["metric=win"], "metric must be one of return, won"),
        (["storage=nosql://x"], "storage=nosql://x cannot be opened"),
        (["space={attack.etta:[0.5]}"], "attack.etta"),
        (["space={threat.dims:[0.5]}"], "how trials are tested"),
        (["attacks=[natural,ibl]"], "attack=ibl: no such choice"),
        (["attacks=[natural,hp_15]"], "this environment does not know hp_15"),
        (['overrides=["seeds=[0,1]"]'], "a trial is one run"),
        (['overrides=["-m","seed=0,1"]'], "'-m' is not of the form option=value"),
        (['overrides=["seed=[0"]'], "cannot read the override 'seed=[0'"),
        (["space={env.task:[a,b]}"], "would change the game"),
    ],
)
def test_mistakes_are_named(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*SWEEP, *words]) == 2
    said = capfd.readouterr().err
    assert message in said
    assert "Traceback" not in said


def test_without_a_search_the_ways_to_name_one_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["sweep"]) == 2
    assert "space is empty: choose a search, sweep=attack_strength" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())
