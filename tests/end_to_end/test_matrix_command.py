"""``ibal matrix`` on run directories: what it reads, writes and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from ibal_lightning.cli.app import main


def make_run(path: Path, method: str, seed: int, natural: int, fgsm: int, *, fingerprint: str = "game") -> Path:
    """A run directory with 20 games under each of two attacks."""
    path.mkdir(parents=True)
    (path / "manifest.json").write_text(json.dumps({"fingerprint": fingerprint, "seed": seed}))
    rows = [
        {
            "run": "moved since",
            "seed": seed,
            "env": "game",
            "fingerprint": fingerprint,
            "backbone": "qmix",
            "method": method,
            "attack": attack,
            "episode": episode,
            "return": 1.0,
            "length": 9,
            "won": episode < won,
        }
        for attack, won in (("natural", natural), ("fgsm", fgsm))
        for episode in range(20)
    ]
    pl.DataFrame(rows).write_parquet(path / "results.parquet")
    return path


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two methods, two seeds each, under ``runs/``."""
    monkeypatch.chdir(tmp_path)
    for method, base in (("ibal", 10), ("vanilla", 4)):
        for seed in (0, 1):
            make_run(tmp_path / "runs" / f"{method}_{seed}", method, seed, 20 - seed, base + seed)
    return tmp_path / "runs"


def test_a_list_and_a_glob_give_one_table_and_three_files(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["matrix", "runs=[runs/ibal_0,runs/*]", "out=tables/robustness"]) == 0
    said = capsys.readouterr().out
    assert "ibal / qmix (2 seeds)" in said
    assert "0.525" in said  # (10 + 11) / 40
    table = pl.read_csv("tables/robustness.csv")
    fgsm = table.filter((pl.col("attack") == "fgsm") & (pl.col("method") == "vanilla")).to_dicts()[0]
    assert (fgsm["win_rate"], fgsm["seeds"], fgsm["episodes"]) == (4.5 / 20, 2, 40)
    assert fgsm["drop"] == pytest.approx(0.75)
    document = json.loads(Path("tables/robustness.json").read_text())
    assert pl.DataFrame(document["cells"]).equals(table)
    assert [run["seed"] for run in document["runs"]] == [0, 1, 0, 1]
    assert "22.5" in Path("tables/robustness.tex").read_text()
    assert sorted(path.name for path in Path("tables").iterdir()) == [f"robustness.{x}" for x in ("csv", "json", "tex")]


def test_columns_can_be_chosen(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["matrix", "runs=runs/*", "attacks=[fgsm]"]) == 0
    assert "natural" not in capsys.readouterr().out


def test_mixed_environments_need_a_word(runs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make_run(runs / "other", "vanilla", 2, 1, 1, fingerprint="another game")
    assert main(["matrix", "runs=runs/*", "out=table"]) == 2
    said = capfd.readouterr().err
    assert "game: " in said
    assert f"another game: {runs / 'other'}" in said
    assert "allow_mixed=true" in said
    assert not Path("table.csv").exists()
    assert main(["matrix", "runs=runs/*", "allow_mixed=true"]) == 0


def test_a_seed_that_comes_twice_is_said(runs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make_run(runs / "again", "ibal", 0, 1, 1)
    assert main(["matrix", "runs=runs/*"]) == 0
    assert "ibal/qmix has seed 0 more than once" in capfd.readouterr().err


def test_an_unfinished_run_under_a_glob_is_left_out(runs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (runs / "vanilla_1" / "results.parquet").unlink()
    assert main(["matrix", "runs=runs/*"]) == 0
    said = capfd.readouterr()
    assert "vanilla_1 has no results.parquet" in said.err
    assert "vanilla / qmix (1 seed)" in said.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "runs: a value is required"),
        (["runs=[]"], "runs is empty"),
        (["runs=nowhere"], "runs=nowhere: there is no such directory"),
        (["runs=runs"], "runs=runs holds runs; name them: runs='runs/*'"),
        (["runs=none/*"], "nothing that matches"),
        (["runs=runs/*", "attacks=[fsgm]"], "no run met fsgm; did you mean 'fgsm'"),
        (["runs=runs/*", "atacks=[fgsm]"], "'attacks'"),
        (["runs=runs/broken"], "not a readable parquet file"),
        (["runs=runs/stranger"], "its manifest of elsewhere"),
    ],
)
def test_mistakes_are_named(words: list[str], message: str, runs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    if "runs/broken" in "".join(words):
        (make_run(runs / "broken", "a", 0, 1, 1) / "results.parquet").write_bytes(b"half a f")
    if "runs/stranger" in "".join(words):
        (make_run(runs / "stranger", "a", 0, 1, 1) / "manifest.json").write_text('{"fingerprint": "elsewhere"}')
    assert main(["matrix", *words]) == 2
    said = capfd.readouterr().err
    assert message in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("attacks=[]", "attacks is empty; name at least one attack"),
        ("out=runs", "out=runs is a folder; name the files in it: out=runs/table"),
        ("out=.", "is a folder"),
        ("out=runs/ibal_0/manifest.json/table", "runs/ibal_0/manifest.json is a file, not a folder"),
    ],
)
def test_what_cannot_be_written_or_shown_is_said_first(
    runs: Path, words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["matrix", "runs=runs/*", words]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert not shown.out


def test_a_name_given_twice_counts_once(runs: Path) -> None:
    assert main(["matrix", "runs=runs/*", "attacks=[natural,fgsm,fgsm]", "out=table"]) == 0
    assert set(pl.read_csv("table.csv").filter(pl.col("attack") == "fgsm")["episodes"]) == {40}


def test_trials_of_a_sweep_are_no_seeds(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(runs / "study" / "trial_0000", "ibal", 0, 1, 1)
    (runs / "study" / "trials.csv").write_text("trial\n0\n")
    assert main(["matrix", "runs=[runs/*_*,runs/*/trial_*]"]) == 2  # nothing else matches the second
    assert main(["matrix", "runs=runs/**", "out=table"]) == 0
    assert "left out: trials of sweeps (1)" in capsys.readouterr().err
    assert pl.read_csv("table.csv")["seeds"].max() == 2
    assert main(["matrix", "runs=runs/study/trial_0000"]) == 0


def test_options_that_differ_between_pooled_runs_are_named(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, eta in ((0, 0.3), (1, 0.9)):
        text = f"seed: {seed}\nattack: {{eta: {eta}, window: 100}}\nevaluation: {{episodes: {seed}}}\n"
        (runs / f"ibal_{seed}" / "config.yaml").write_text(text)
    assert main(["matrix", "runs=runs/*"]) == 0
    assert "ibal/qmix pools runs of different attack.eta (0.3, 0.9)\n" in capsys.readouterr().err.replace("\n  ", " ")


@pytest.mark.parametrize("content", [b"[1]", b"\xff\xfe{", b"{"])
def test_a_damaged_manifest_is_named(runs: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "ibal_0" / "manifest.json").write_bytes(content)
    assert main(["matrix", "runs=runs/*"]) == 2
    assert "ibal_0/manifest.json" in capsys.readouterr().err
