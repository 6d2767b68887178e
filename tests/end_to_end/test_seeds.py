"""``seeds=[...]``: separate runs and one table, with other sweeps, and when one of them fails."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from omegaconf import DictConfig

from ibal_lightning.cli import seeds, train
from ibal_lightning.cli.app import main

TINY = [
    "env=lbf",
    "env.task=Foraging-5x5-3p-1f-v3",
    "debug=fast",
    "training.env_steps=60",
    "evaluation.attacks=[natural,dis_1]",
    "hydra.sweep.dir=sweep",
]


def counts(table: Path) -> dict[tuple[str, str], int]:
    """Seeds by method and attack."""
    return {(row["method"], row["attack"]): row["seeds"] for row in pl.read_csv(table).to_dicts()}


def test_seeds_are_a_sweep_with_a_table_and_other_sweeps_work_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*TINY, "seeds=[0, 7]", "method=vanilla,random_obs"]) == 0
    runs = [pl.read_parquet(path) for path in sorted(Path("sweep").glob("*/results.parquet"))]
    assert [(r["method"][0], r["seed"][0]) for r in runs] == [
        ("vanilla", 0),
        ("vanilla", 7),
        ("random_obs", 0),
        ("random_obs", 7),
    ]
    expected = {(method, attack): 2 for method in ("vanilla", "random_obs") for attack in ("natural", "dis_1")}
    assert counts(Path("sweep/matrix.csv")) == expected
    assert "vanilla / qmix (2 seeds)" in capsys.readouterr().out
    assert Path("sweep/matrix.tex").is_file()
    assert Path("sweep/matrix.json").is_file()


def test_a_table_holds_the_runs_of_its_own_sweep_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*TINY, "method=vanilla", "seeds=[0,1]"]) == 0
    assert main([*TINY, "method=vanilla", "seeds=[5]"]) == 0
    assert counts(Path("sweep/matrix.csv")) == {("vanilla", "natural"): 1, ("vanilla", "dis_1"): 1}


def test_a_seed_that_fails_does_not_lose_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = train.run

    def fails_for_one(cfg: DictConfig) -> float:
        if cfg.seed == 1:
            raise RuntimeError("the disk of seed 1 is gone")
        return whole(cfg)

    monkeypatch.setattr(train, "run", fails_for_one)
    monkeypatch.chdir(tmp_path)
    assert main([*TINY, "method=vanilla", "seeds=[0,1,2]"]) == 1
    assert counts(Path("sweep/matrix.csv")) == {("vanilla", "natural"): 2, ("vanilla", "dis_1"): 2}
    said = capfd.readouterr().err
    assert "run 1 (" in said
    assert "the disk of seed 1 is gone" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["seeds=[0,0]"], "seed 0 stands there twice"),
        (["seeds=3"], "expected a list of whole numbers"),
        (["seeds=[]"], "expected a list of whole numbers"),
        (["seeds=[0,-1]"], "expected a list of whole numbers"),
        (["seeds=[0,1]", "seed=2"], "beside seed=2"),
        (["seeds=[0]", "seeds=[1]"], "beside seeds=[1]"),
        (["seeds=[0,1]", "env=lfb"], "did you mean 'lbf'"),
    ],
)
def test_mistakes_are_named_before_anything_runs(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert message in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_words_keep_their_order_and_one_flag() -> None:
    words = seeds.as_sweep(["-m", "env=lbf", "seeds=[3,1]", "method=ibal,vanilla"])
    assert words[:4] == ["--multirun", "env=lbf", "method=ibal,vanilla", "seed=3,1"]
    assert len(words) == 5
