"""What makes a table of several runs questionable, in sentences for its reader. Pure functions on rows of results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from ibal_lightning.evaluation.matrix import METHOD, NATURAL, shared_attacks

Options = Mapping[str, Any]  # dotted name -> value
SHOWN = 6  # options that a sentence names


def doubts(rows: pl.DataFrame, options: Mapping[str, Options] | None = None) -> list[str]:
    """Repeated seeds, runs trained otherwise, attacks that not every run met, unequal threats and games.

    Args:
        rows: results of all runs; ``run`` tells them apart.
        options: what each run was trained with, as far as runs of one method have to agree in it.
    """
    found = [*_repeated_seeds(rows), *_pooled(rows, options or {}), *_missed_attacks(rows)]
    rows = rows.with_columns(games=pl.len().over("run", "attack"))
    threats = [column for column in rows.columns if column.startswith("threat_")]
    for column in threats:
        found += _unequal_runs(rows, column)
    for column in (*threats, "games"):
        found += _unequal_attacks(rows, column)
    return [*found, *_other_games(rows)]


def _repeated_seeds(rows: pl.DataFrame) -> Iterator[str]:
    runs = rows.unique(["run"], maintain_order=True)
    for names, group in runs.group_by(*METHOD, "seed", maintain_order=True):
        if len(group) > 1:
            said = ", ".join(group["run"])
            yield f"{names[0]}/{names[1]} has seed {names[2]} more than once: {said} count as separate seeds"


def _pooled(rows: pl.DataFrame, options: Mapping[str, Options]) -> Iterator[str]:
    """Runs of one line that were trained with different options; what a run does not name is not held against it."""
    for names, group in rows.group_by(METHOD, maintain_order=True):
        seen: dict[str, list[Any]] = {}
        for run in group["run"].unique(maintain_order=True):
            for name, value in options.get(run, {}).items():
                values = seen.setdefault(name, [])
                if value not in values:
                    values.append(value)
        differ = [f"{name} ({_listed(values)})" for name, values in seen.items() if len(values) > 1]
        if differ:
            more = f" and {len(differ) - SHOWN} more" if len(differ) > SHOWN else ""
            yield f"{names[0]}/{names[1]} pools runs of different {', '.join(differ[:SHOWN])}{more}"


def _missed_attacks(rows: pl.DataFrame) -> Iterator[str]:
    shared = {*shared_attacks(rows), NATURAL}
    apart = [name for name in rows["attack"].unique(maintain_order=True) if name not in shared]
    if apart:
        yield f"not every run met {', '.join(apart)}: the worst case leaves them out"


def _unequal_runs(rows: pl.DataFrame, column: str) -> Iterator[str]:
    """The runs differ under the same attack."""
    values = rows.group_by("attack", maintain_order=True).agg(pl.col(column).unique(maintain_order=True))
    unequal = values.filter(pl.col(column).list.len() > 1)
    if len(unequal):
        yield f"{_option(column)} is {_under(unequal.rows())}, by run: these columns do not compare"


def _unequal_attacks(rows: pl.DataFrame, column: str) -> Iterator[str]:
    """The attacks differ in the same run; runs of which the same is true share a sentence."""
    found: dict[str, list[str]] = {}
    for (run,), group in rows.group_by("run", maintain_order=True):
        values = group.group_by("attack", maintain_order=True).agg(pl.col(column).unique(maintain_order=True))
        if group[column].n_unique() > 1:
            found.setdefault(_under(values.rows()), []).append(str(run))
    for said, runs in found.items():
        yield f"{_option(column)} is {said} within {_listed(runs)}: these columns do not compare"


def _other_games(rows: pl.DataFrame) -> Iterator[str]:
    """Evaluations of different seeds; older results do not say theirs."""
    by_seed = rows.drop_nulls("evaluation_seed").group_by("evaluation_seed", maintain_order=True)
    seeds = by_seed.agg(pl.col("run", "attack").unique(maintain_order=True)).rows()
    if len(seeds) > 1:
        said = "; ".join(f"{seed} in {_listed(runs)} under {_listed(attacks)}" for seed, runs, attacks in seeds)
        yield f"evaluation.seed is {said}: they met different games"


def _option(column: str) -> str:
    """``threat.epsilon`` for the column ``threat_epsilon``."""
    return "the number of games" if column == "games" else column.replace("_", ".", 1)


def _under(values: Iterable[tuple[str, Sequence[Any]]]) -> str:
    """ "0.1, 0.2 under natural, fgsm; 0.3 under dis_1" """
    attacks: dict[str, list[str]] = {}
    for attack, seen in values:
        attacks.setdefault(_listed(seen), []).append(attack)
    return "; ".join(f"{seen} under {_listed(names)}" for seen, names in attacks.items())


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(map(str, values))
