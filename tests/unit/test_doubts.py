"""What the table of several runs says of itself: unequal threats, games and settings, cells of fewer seeds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ibal_lightning.cli.run_directory import RunDirectory
from ibal_lightning.cli.training_options import training_options
from ibal_lightning.evaluation.doubts import doubts
from ibal_lightning.evaluation.matrix import matrix
from ibal_lightning.evaluation.results import COLUMNS, read_rows, write_rows
from ibal_lightning.evaluation.tables import latex, notes, terminal_table


def games(seed: int, attack: str, *, number: int = 4, epsilon: float = 0.1, of: int | None = 0) -> pl.DataFrame:
    """Games of the run that ``ibal`` made with a seed, of the evaluation seed ``of``; every second one is won."""
    row = {
        "run": f"run_{seed}",
        "seed": seed,
        "evaluation_seed": of,
        "env": "game",
        "fingerprint": "game",
        "backbone": "qmix",
        "method": "ibal",
        "attack": attack,
        "return": 1.0,
        "length": 9,
        "threat_epsilon": epsilon,
    }
    rows = [{**row, "episode": episode, "won": episode % 2 == 0} for episode in range(number)]
    return pl.DataFrame(rows, schema_overrides={"evaluation_seed": pl.Int64})


def test_alike_runs_raise_no_doubt() -> None:
    assert doubts(pl.concat([games(seed, attack) for seed in (0, 1) for attack in ("natural", "fgsm")])) == []


def test_unequal_threats_are_named_attack_by_attack() -> None:
    other = {"natural": 0.2, "fgsm": 0.3, "dis_1": 0.2}
    rows = [games(0, name) for name in other] + [games(1, name, epsilon=value) for name, value in other.items()]
    said = "threat.epsilon is 0.1, 0.2 under natural, dis_1; 0.1, 0.3 under fgsm, by run: these columns do not compare"
    assert said in doubts(pl.concat(rows))


def test_unequal_attacks_of_one_run_are_said_once_for_all_runs_like_it() -> None:
    rows = [games(seed, "natural") for seed in (0, 1)]
    rows += [games(seed, "fgsm", epsilon=0.2, number=6) for seed in (0, 1)]
    end = "within run_0, run_1: these columns do not compare"
    assert doubts(pl.concat(rows)) == [
        f"threat.epsilon is 0.1 under natural; 0.2 under fgsm {end}",
        f"the number of games is 4 under natural; 6 under fgsm {end}",
    ]


def test_evaluations_of_other_games_are_said_and_older_ones_are_not_guessed_at() -> None:
    rows = [games(0, "natural"), games(1, "natural", of=None), games(2, "natural", of=1000)]
    assert doubts(pl.concat(rows[:2])) == []
    said = "evaluation.seed is 0 in run_0 under natural; 1000 in run_2 under natural: they met different games"
    assert doubts(pl.concat(rows)) == [said]


def test_older_results_have_no_evaluation_seed(tmp_path: Path) -> None:
    file = tmp_path / "results.parquet"
    games(0, "natural").select(COLUMNS).write_parquet(file)
    assert read_rows(file)["evaluation_seed"].to_list() == [None] * 4
    assert write_rows(file, games(0, "fgsm", of=7), append=True) == []
    assert write_rows(file, games(0, "natural", of=7), append=True) == ["natural"]
    assert read_rows(file)["evaluation_seed"].unique().to_list() == [7]


def test_evaluations_side_by_side_keep_each_others_rows(tmp_path: Path) -> None:
    file, attacks = tmp_path / "results.parquet", [f"attack_{number}" for number in range(8)]
    write_rows(file, games(0, "natural"))
    with ThreadPoolExecutor(len(attacks)) as pool:
        list(pool.map(lambda attack: write_rows(file, games(0, attack), append=True), attacks))
    assert set(read_rows(file)["attack"]) == {"natural", *attacks}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([{"attack.eta": 0.3}, {"attack.eta": 0.9}], ["ibal/qmix pools runs of different attack.eta (0.3, 0.9)"]),
        (
            [{"attack.K": None, "training.env_steps": 1}, {"attack.K": 2, "training.env_steps": 3}],
            ["ibal/qmix pools runs of different attack.K (None, 2), training.env_steps (1, 3)"],
        ),
        ([{"attack.eta": 0.3}, {"attack.eta": 0.3, "attack.new": True}], []),
        ([{"attack.eta": 1}, {"attack.eta": 1.0}], []),
    ],
)
def test_settings_that_differ_are_named(options: list[dict[str, Any]], expected: list[str]) -> None:
    rows = pl.concat([games(seed, "natural") for seed in (0, 1)])
    assert doubts(rows, {"run_0": options[0], "run_1": options[1]}) == expected


def test_what_seeds_of_a_method_may_differ_in_is_no_setting(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "seed: 3\nenv: {map_name: 3m}\nevaluation: {seed: 9}\nlogger: {csv: {name: x}}\ntrainer: {devices: 1}\n"
        "training: {env_steps: 5, threads: 2, resume: a, init_from: b, keep_replay: true}\nattack: {eta: 0.6}\n"
    )
    expected = {"training.env_steps": 5, "training.init_from": "a run", "attack.eta": 0.6}
    assert training_options(RunDirectory(tmp_path).config()) == expected


def test_cells_of_fewer_seeds_are_marked() -> None:
    table = matrix(pl.concat([games(0, "natural"), games(1, "natural"), games(1, "fgsm")]), replicates=10)
    whole = matrix(games(0, "natural"), replicates=10)
    for down in (True, False):
        cells = [cell for column in terminal_table(table, methods_down=down).columns for cell in column.cells]
        assert [str(cell).count("(1)") for cell in cells].count(1) == 1
    text = latex(table, "caption")
    assert text.count("]$ (1)") == 1
    assert f"% {notes(table)[0]}" in text
    assert "only n of the seeds" in notes(table)[0]
    assert notes(whole) == []
