"""Many runs in one table: method x attack, means over runs with intervals. Pure functions on rows of results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import hypot
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ibal_lightning.evaluation.statistics import wilson_interval

NATURAL, WORST = "natural", "worst"
METHOD = ("method", "backbone")  # what a line of the table is about
REPLICATES = 10_000
Interval = tuple[float, float]


@dataclass(frozen=True)
class Tally:
    """Wins and games of one method in R runs under A attacks; no games where a run never met an attack."""

    wins: NDArray[np.int64]  # (R, A)
    games: NDArray[np.int64]  # (R, A)

    @classmethod
    def of(cls, rows: pl.DataFrame, attacks: Sequence[str]) -> Tally:
        """Count the rows of one method, run by run."""
        runs = rows["run"].unique(maintain_order=True).to_list()
        wins, games = np.zeros((2, len(runs), len(attacks)), dtype=np.int64)
        counted = rows.group_by("run", "attack").agg(wins=pl.col("won").sum(), games=pl.len())
        for run, attack, won, played in counted.rows():
            if attack in attacks:
                wins[runs.index(run), attacks.index(attack)] = won
                games[runs.index(run), attacks.index(attack)] = played
        return cls(wins, games)

    @property
    def rates(self) -> NDArray[np.float64]:
        """(R, A) win rates, NaN where there are no games."""
        return np.divide(self.wins, self.games, out=np.full(self.wins.shape, np.nan), where=self.games > 0)

    def pick(self, attacks: Sequence[int]) -> Tally:
        """The same runs under some of the attacks."""
        return Tally(self.wins[:, attacks], self.games[:, attacks])

    def worst(self) -> Tally:
        """(R, 1) each run under the attack that hurts it most."""
        index = self.rates.argmin(1)[:, None]
        return Tally(np.take_along_axis(self.wins, index, 1), np.take_along_axis(self.games, index, 1))


def resampled(tally: Tally, generator: np.random.Generator, replicates: int = REPLICATES) -> NDArray[np.float64]:
    """(replicates, R, A) win rates of the bootstrap: runs drawn with replacement, then each run's games.

    Drawing n games with replacement from wins and losses is a binomial draw.
    """
    runs, _ = tally.wins.shape
    chosen = generator.integers(runs, size=(replicates, runs))
    games = tally.games[chosen]
    wins = generator.binomial(games, np.nan_to_num(tally.rates)[chosen])
    return np.divide(wins, games, out=np.full(games.shape, np.nan), where=games > 0)


def interval(tally: Tally, means: NDArray[np.float64]) -> Interval:
    """95 % interval of the mean win rate over the runs of a tally (R, 1) from its bootstrap means (replicates,).

    Never narrower than the Wilson interval of the pooled games, which knows no luck of training: few runs that all win
    or all lose would otherwise look certain. One run has the Wilson interval alone.
    """
    low, high = wilson_interval(int(tally.wins.sum()), int(tally.games.sum()))
    if np.count_nonzero(tally.games) == 1:
        return low, high
    lower, upper = np.nanpercentile(means, (2.5, 97.5))
    return min(low, float(lower)), max(high, float(upper))


def difference_interval(first: float, second: float, of_first: Interval, of_second: Interval) -> Interval:
    """95 % interval of ``first - second`` from the intervals of both (Newcombe 1998, method 10; Zou and Donner 2008).

    Takes the two as independent, which is on the safe side here: a run that plays well does so in both columns.
    """
    gap = first - second
    below = hypot(first - of_first[0], of_second[1] - second)
    above = hypot(of_first[1] - first, second - of_second[0])
    return gap - below, gap + above


def shared_attacks(rows: pl.DataFrame) -> list[str]:
    """The attacks, natural play apart, that every run has met: only over these a worst case compares."""
    runs = rows["run"].n_unique()
    met = rows.group_by("attack", maintain_order=True).agg(runs=pl.col("run").n_unique())
    return met.filter((pl.col("runs") == runs) & (pl.col("attack") != NATURAL))["attack"].to_list()


def matrix(rows: pl.DataFrame, *, replicates: int = REPLICATES) -> pl.DataFrame:
    """One line a method, backbone and attack, in the order of the rows.

    Args:
        rows: results of all runs; ``run`` tells them apart.
        replicates: of the bootstrap, whose random stream is fixed: the same rows give the same intervals.

    Returns:
        method, backbone, attack, win_rate (mean over runs), low and high (its 95 % interval), seeds (runs that met
        the attack), episodes (all their games), drop (natural minus this, null without natural play), drop_low,
        drop_high. The attack "worst" is, run by run, the attack of ``shared_attacks`` that hurts most; a minimum of
        noisy rates lies a little below the true one.
    """
    attacks = rows["attack"].unique(maintain_order=True).to_list()
    shared = [attacks.index(name) for name in shared_attacks(rows)]
    lines: list[dict[str, Any]] = []
    for names, group in rows.group_by(METHOD, maintain_order=True):
        cells = list(_cells(Tally.of(group, attacks), attacks, shared, replicates))
        natural = next((cell for cell in cells if cell["attack"] == NATURAL), None)
        lines += [{**dict(zip(METHOD, names, strict=True)), **cell, **_drop(natural, cell)} for cell in cells]
    return pl.DataFrame(lines, infer_schema_length=None)


def _cells(tally: Tally, attacks: list[str], shared: list[int], replicates: int) -> Iterator[dict[str, Any]]:
    draws = resampled(tally, np.random.default_rng(0), replicates)
    for index in np.flatnonzero(tally.games.sum(0)).tolist():
        yield _cell(attacks[index], tally.pick([index]), draws[:, :, index])
    if len(shared) > 1:
        yield _cell(WORST, tally.pick(shared).worst(), draws[:, :, shared].min(2))


def _cell(name: str, tally: Tally, draws: NDArray[np.float64]) -> dict[str, Any]:
    """One cell from its tally (R, 1) and the bootstrap's rates (replicates, R), NaN where a run lacks it."""
    drawn = np.count_nonzero(~np.isnan(draws), 1)
    means = np.divide(np.nansum(draws, 1), drawn, out=np.full(len(draws), np.nan), where=drawn > 0)
    low, high = interval(tally, means)
    return {
        "attack": name,
        "win_rate": float(np.nanmean(tally.rates)),
        "low": low,
        "high": high,
        "seeds": int(np.count_nonzero(tally.games)),
        "episodes": int(tally.games.sum()),
    }


def _drop(natural: dict[str, Any] | None, cell: dict[str, Any]) -> dict[str, float | None]:
    if natural is None or cell["attack"] == NATURAL:
        return {"drop": None, "drop_low": None, "drop_high": None}
    of_both = ((c["low"], c["high"]) for c in (natural, cell))
    low, high = difference_interval(natural["win_rate"], cell["win_rate"], *of_both)
    return {"drop": natural["win_rate"] - cell["win_rate"], "drop_low": low, "drop_high": high}


def mixed_fingerprints(rows: pl.DataFrame) -> dict[str, list[str]]:
    """Fingerprint -> its runs; more than one must not share a table unasked."""
    found = rows.group_by("fingerprint", maintain_order=True).agg(pl.col("run").unique(maintain_order=True))
    return dict(found.rows())
