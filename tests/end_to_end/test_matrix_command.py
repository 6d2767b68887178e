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
    (path / "config.yaml").write_text(f"seed: {seed}\nmethod_name: {method}\nenv: {{}}\nattack: {{eta: 0.6}}\n")
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


def test_an_attack_named_twice_is_one_column(runs: Path) -> None:
    assert main(["matrix", "runs=runs/*", "attacks=[natural,fgsm,fgsm]", "out=table"]) == 0
    assert pl.read_csv("table.csv").filter(pl.col("attack") == "fgsm")["episodes"].to_list() == [40, 40]


def test_runs_trained_otherwise_are_pooled_with_a_word_that_every_reader_finds(
    runs: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = runs / "ibal_1" / "config.yaml"
    config.write_text(config.read_text().replace("0.6", "0.9"))
    assert main(["matrix", "runs=runs/*", "out=table"]) == 0
    said = "ibal/qmix pools runs of different attack.eta (0.6, 0.9)"
    assert said in capfd.readouterr().err
    assert f"\n% {said}\n" in Path("table.tex").read_text()
    assert json.loads(Path("table.json").read_text())["doubts"] == [said]


def test_a_cell_of_fewer_seeds_is_explained(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = runs / "ibal_1" / "results.parquet"
    pl.read_parquet(results).filter(pl.col("attack") == "natural").write_parquet(results)
    assert main(["matrix", "runs=runs/*"]) == 0
    said = capsys.readouterr().out
    assert "0.500 (1)" in said
    assert "only n of the seeds met this attack" in said


def make_trial(path: Path) -> Path:
    """A run directory that a sweep made."""
    make_run(path, "trial", 0, 1, 1)
    (path.parent / "trials.csv").write_text("trial\n0\n")
    return path


def test_a_glob_passes_over_the_trials_of_sweeps(runs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    trials = [make_trial(runs / "study" / f"trial_000{number}") for number in range(3)]
    assert main(["matrix", "runs=runs/**"]) == 0
    said = capfd.readouterr()
    assert "left out as trials of a sweep: 3" in said.err
    assert "trial / qmix" not in said.out
    assert "ibal / qmix (2 seeds)" in said.out
    assert main(["matrix", f"runs=[runs/ibal_*,{trials[1]}]"]) == 0
    said = capfd.readouterr()
    assert "trials" not in said.err
    assert "trial / qmix (1 seed)" in said.out


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
        (["runs=runs/*", "attacks=[]"], "attacks is empty; name at least one attack"),
        (["runs=runs/*", "atacks=[fgsm]"], "'attacks'"),
        (["runs=study"], "runs=study holds trials of a sweep; name them one by one: runs='[study/trial_0000,...]'"),
        (["runs=study/*"], "nothing that matches"),
        (["runs=runs/broken"], "not a readable parquet file"),
        (["runs=runs/stranger"], "its manifest of elsewhere"),
    ],
)
def test_mistakes_are_named(words: list[str], message: str, runs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    if "runs=study" in "".join(words):
        make_trial(runs.parent / "study" / "trial_0000")
    if "runs/broken" in "".join(words):
        (make_run(runs / "broken", "a", 0, 1, 1) / "results.parquet").write_bytes(b"half a f")
    if "runs/stranger" in "".join(words):
        (make_run(runs / "stranger", "a", 0, 1, 1) / "manifest.json").write_text('{"fingerprint": "elsewhere"}')
    assert main(["matrix", *words]) == 2
    said = capfd.readouterr().err
    assert message in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("manifest.json", b"[1]", "manifest.json is not the manifest of a run: expected a JSON object, got [1]"),
        ("manifest.json", b"\xff\xfe{}", "manifest.json is not valid JSON"),
        ("manifest.json", None, "ibal_0 is not a finished run directory: manifest.json is missing"),
        ("config.yaml", None, "ibal_0 is not a finished run directory: config.yaml is missing"),
        ("config.yaml", b"", "config.yaml is not the config of a run: it holds no options"),
        ("config.yaml", b"5", "config.yaml is not the config of a run: it holds no options"),
        ("config.yaml", b"[env]", "config.yaml is not the config of a run: it holds no options"),
        ("config.yaml", b"a: \xff", "config.yaml is not UTF-8 text"),
        ("config.yaml", b"a: [", "config.yaml"),
    ],
)
def test_a_damaged_run_is_named(
    file: str, content: bytes | None, message: str, runs: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = runs / "ibal_0" / file
    path.unlink() if content is None else path.write_bytes(content)
    assert main(["matrix", "runs=runs/*", "out=table"]) == 2
    said = capfd.readouterr().err
    assert message in said
    assert str(runs / "ibal_0") in said
    assert not Path("table.csv").exists()


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("", "out is empty; name the files"),
        (".", "out=. is a folder"),
        ("runs", "out=runs is a folder"),
        ("new/", "out=new/ is a folder"),
        ("file/below/table", "out=file/below/table: file is a file, not a folder"),
        ("taken", "out=taken: taken.tex is a folder"),
    ],
)
def test_where_a_table_cannot_go_is_said_first(
    out: str, message: str, runs: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (runs.parent / "file").write_text("")
    (runs.parent / "taken.tex").mkdir()
    before = sorted(runs.parent.rglob("*"))
    assert main(["matrix", "runs=runs/*", f"out={out}"]) == 2
    said = capfd.readouterr()
    assert message in said.err
    assert said.out == ""
    assert sorted(runs.parent.rglob("*")) == before


def test_out_may_name_one_of_its_files(runs: Path) -> None:
    assert main(["matrix", "runs=runs/*", "out=table.csv"]) == 0
    assert Path("table.csv").is_file()
    assert not Path("table.csv.csv").exists()
