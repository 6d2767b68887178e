"""The matrix of methods and attacks: closed forms, coverage of its intervals, and what it says of unequal runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from scipy.stats import binom

from ibal_lightning.evaluation.doubts import doubts
from ibal_lightning.evaluation.matrix import (
    Tally,
    difference_interval,
    interval,
    matrix,
    mixed_fingerprints,
    resampled,
)
from ibal_lightning.evaluation.statistics import wilson_interval
from ibal_lightning.evaluation.tables import columns, latex, terminal_table

Wins = dict[str, tuple[int, int]]  # attack -> wins, games


def run(method: str, seed: int, wins: Wins, *, epsilon: float = 0.1, fingerprint: str = "game") -> pl.DataFrame:
    """Rows of one run; the won games come first."""
    rows = [
        {
            "run": f"{method}-{seed}-{fingerprint}-{epsilon}",
            "seed": seed,
            "evaluation_seed": 0,
            "fingerprint": fingerprint,
            "backbone": "qmix",
            "method": method,
            "attack": attack,
            "won": episode < won,
            "threat_epsilon": epsilon,
        }
        for attack, (won, games) in wins.items()
        for episode in range(games)
    ]
    return pl.DataFrame(rows)


def cell(table: pl.DataFrame, attack: str, method: str = "a") -> dict[str, object]:
    found = table.filter((pl.col("attack") == attack) & (pl.col("method") == method)).to_dicts()
    assert len(found) == 1
    return found[0]


def tally(wins: Sequence[int], games: Sequence[int]) -> Tally:
    return Tally(np.array(wins)[:, None], np.array(games)[:, None])


def test_one_seed_has_wilsons_interval_and_newcombes_drop() -> None:
    table = matrix(run("a", 0, {"natural": (90, 100), "fgsm": (30, 100)}))
    natural, fgsm = cell(table, "natural"), cell(table, "fgsm")
    assert (natural["win_rate"], natural["low"], natural["high"]) == (0.9, *wilson_interval(90, 100))
    assert (natural["seeds"], natural["episodes"], natural["drop"]) == (1, 100, None)
    assert fgsm["drop"] == pytest.approx(0.6)
    (l1, u1), (l2, u2) = wilson_interval(90, 100), wilson_interval(30, 100)
    assert fgsm["drop_low"] == pytest.approx(0.6 - ((0.9 - l1) ** 2 + (u2 - 0.3) ** 2) ** 0.5)
    assert fgsm["drop_high"] == pytest.approx(0.6 + ((u1 - 0.9) ** 2 + (0.3 - l2) ** 2) ** 0.5)


def test_newcombes_published_example() -> None:
    # Newcombe (1998), table II, method 10: 56/70 against 48/80 gives 0.0524 to 0.3339.
    low, high = difference_interval(56 / 70, 48 / 80, wilson_interval(56, 70), wilson_interval(48, 80))
    assert (low, high) == (pytest.approx(0.0524, abs=1e-4), pytest.approx(0.3339, abs=1e-4))


def test_seeds_weigh_the_same_however_many_games_they_played() -> None:
    table = matrix(pl.concat([run("a", 0, {"natural": (10, 10)}), run("a", 1, {"natural": (0, 90)})]))
    assert cell(table, "natural")["win_rate"] == 0.5
    assert cell(table, "natural")["episodes"] == 100


def test_games_within_a_seed_are_resampled_as_binomials() -> None:
    draws = resampled(tally([30], [100]), np.random.default_rng(1), 40_000)[:, 0, 0]
    quantiles = binom.ppf((0.025, 0.5, 0.975), 100, 0.3) / 100
    assert np.abs(np.percentile(draws, (2.5, 50, 97.5)) - quantiles).max() <= 0.01


def test_seeds_are_resampled_with_replacement() -> None:
    draws = resampled(tally([0, 100], [100, 100]), np.random.default_rng(1), 40_000)[:, :, 0].mean(1)
    values, counts = np.unique(draws, return_counts=True)  # both 0, one of each, both 1: chances 1/4, 1/2, 1/4
    assert values.tolist() == [0.0, 0.5, 1.0]
    assert np.abs(counts / counts.sum() - (0.25, 0.5, 0.25)).max() < 0.01


def test_seeds_that_all_lose_are_not_certain() -> None:
    table = matrix(pl.concat([run("a", seed, {"natural": (0, 50)}) for seed in range(4)]))
    assert (cell(table, "natural")["low"], cell(table, "natural")["high"]) == wilson_interval(0, 200)


def test_intervals_cover_the_true_mean() -> None:
    generator, hits, trials = np.random.default_rng(3), 0, 300
    for _ in range(trials):
        truth = generator.beta(6, 4, size=8)  # seeds of one method differ; mean 0.6
        seeds = tally(generator.binomial(64, truth).tolist(), [64] * 8)
        low, high = interval(seeds, resampled(seeds, generator, 1000)[:, :, 0].mean(1))
        hits += low <= 0.6 <= high
    assert 0.90 <= hits / trials <= 0.99


def test_the_worst_case_is_taken_seed_by_seed() -> None:
    rows = pl.concat(
        [
            run("a", 0, {"natural": (9, 10), "fgsm": (2, 10), "dis_1": (6, 10)}),
            run("a", 1, {"natural": (9, 10), "fgsm": (8, 10), "dis_1": (4, 10)}),
        ]
    )
    table = matrix(rows)
    assert cell(table, "worst")["win_rate"] == pytest.approx(0.3)  # not min(0.5, 0.5)
    assert cell(table, "worst")["drop"] == pytest.approx(0.6)
    assert cell(table, "worst")["low"] <= 0.3 <= cell(table, "worst")["high"]


def test_the_worst_case_compares_over_attacks_that_all_met() -> None:
    rows = pl.concat(
        [
            run("a", 0, {"natural": (9, 10), "fgsm": (2, 10), "dis_1": (6, 10)}),
            run("b", 0, {"natural": (9, 10), "fgsm": (5, 10), "dis_1": (7, 10), "ega": (0, 10)}),
        ]
    )
    table = matrix(rows)
    assert cell(table, "worst", "b")["win_rate"] == 0.5
    assert table.filter(pl.col("attack") == "ega")["method"].to_list() == ["b"]
    assert any("not every run met ega" in doubt for doubt in doubts(rows))


def test_an_attack_that_one_seed_missed_counts_the_others() -> None:
    rows = pl.concat([run("a", 0, {"natural": (9, 10), "ega": (3, 10)}), run("a", 1, {"natural": (7, 10)})])
    found = cell(matrix(rows), "ega")
    assert (found["win_rate"], found["seeds"], found["episodes"]) == (0.3, 1, 10)
    assert (found["low"], found["high"]) == wilson_interval(3, 10)


def test_the_same_rows_give_the_same_table_in_any_order() -> None:
    rows = pl.concat([run("a", seed, {"natural": (5 + seed, 10), "fgsm": (seed, 10)}) for seed in range(3)])
    assert matrix(rows).equals(matrix(rows))
    means = [matrix(r).sort("attack")["attack", "win_rate", "seeds", "episodes"] for r in (rows, rows.reverse())]
    assert means[0].equals(means[1])


def test_repeated_seeds_unequal_threats_and_games_are_said() -> None:
    rows = pl.concat(
        [
            run("a", 0, {"natural": (9, 10)}),
            run("a", 0, {"natural": (9, 10)}, epsilon=0.2),
            run("b", 0, {"natural": (1, 10)}, fingerprint="other"),
        ]
    )
    said = " ".join(doubts(rows))
    assert "a/qmix has seed 0 more than once" in said
    assert "threat.epsilon is 0.1, 0.2" in said
    assert "b/qmix" not in said
    assert {name: len(runs) for name, runs in mixed_fingerprints(rows).items()} == {"game": 2, "other": 1}


def test_tables_show_every_cell_and_mark_the_best() -> None:
    rows = pl.concat(
        [
            run("a_x", 0, {"natural": (9, 10), "fgsm": (2, 10)}),
            run("b", 0, {"natural": (8, 10), "fgsm": (5, 10), "dis_1": (7, 10)}),
        ]
    )
    table = matrix(rows)
    assert columns(table) == ["natural", "fgsm", "dis_1"]
    text = latex(table, "caption", "a doubt\nof two lines")
    assert text.startswith("% caption\n% a doubt of two lines\n\\begin")
    assert r"a\_x / qmix (1 seed) & $\mathbf{90.0}\,[60,98]$ & $20.0\,[6,51]$ & -- \\" in text
    assert r"b / qmix (1 seed) & $80.0\,[49,94]$ & $\mathbf{50.0}" in text
    assert text.count(r"\\") == 3
    for down, lines, across in ((True, 2, 4), (False, 3, 3)):
        shown = terminal_table(table, methods_down=down)
        assert (shown.row_count, len(shown.columns)) == (lines, across)
