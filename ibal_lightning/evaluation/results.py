"""Rows on disk and the table in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import polars as pl
from filelock import FileLock
from rich.table import Table

from ibal_lightning.evaluation.statistics import wilson_interval
from ibal_lightning.evaluation.tables import plain_table
from ibal_lightning.functional.files import write_then_rename
from ibal_lightning.messages import first_line

COLUMNS = ("run", "seed", "env", "fingerprint", "backbone", "method", "attack", "episode", "return", "length", "won")


def write_rows(path: Path, rows: pl.DataFrame, *, append: bool = False) -> list[str]:
    """Write ``results.parquet``; appended rows replace earlier ones of the same attack. Never leaves half a file.

    Returns:
        The attacks whose earlier rows were replaced.

    Raises:
        ValueError: the rows of before cannot be read.
        OSError: the file cannot be written.
    """
    replaced: list[str] = []
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):  # evaluations of one run side by side keep each other's rows
        if append and path.exists():
            again = pl.col("attack").is_in(rows["attack"].unique().to_list())
            before = read_rows(path)
            replaced = before.filter(again)["attack"].unique(maintain_order=True).to_list()
            rows = pl.concat([before.filter(~again), rows], how="diagonal_relaxed")
        write_then_rename(path, rows.write_parquet)
    return replaced


def read_rows(path: Path) -> pl.DataFrame:
    """Read ``results.parquet``; ``evaluation_seed`` is null where it was written before that was kept.

    Raises:
        ValueError: it is not a parquet file of our columns.
    """
    try:
        rows = pl.read_parquet(BytesIO(path.read_bytes()))  # at once: an evaluation may replace the file meanwhile
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{path} is not a readable parquet file: {error}") from error
    missing = [name for name in COLUMNS if name not in rows.columns]
    if missing:
        raise ValueError(f"{path} lacks the columns {missing}")
    if "evaluation_seed" not in rows.columns:
        rows = rows.with_columns(evaluation_seed=pl.lit(None, dtype=pl.Int64))
    return rows


def summarise(rows: pl.DataFrame) -> pl.DataFrame:
    """One line an attack in the order of the rows: episodes, win rate with its 95 % interval, return, length, spent."""
    cells = rows.group_by("attack", maintain_order=True).agg(
        episodes=pl.len(),
        wins=pl.col("won").sum(),
        return_mean=pl.col("return").mean(),
        length_mean=pl.col("length").mean(),
        overridden_frac=pl.col("overridden_frac").mean(),
        perturbed_dims=pl.col("perturbed_dims_mean").mean(),
    )
    intervals = [wilson_interval(wins, n) for wins, n in zip(cells["wins"], cells["episodes"], strict=True)]
    return cells.with_columns(
        win_rate=pl.col("wins") / pl.col("episodes"),
        low=pl.Series([low for low, _ in intervals], dtype=pl.Float64),
        high=pl.Series([high for _, high in intervals], dtype=pl.Float64),
    )


def read_log(file: Path) -> pl.DataFrame:
    """The numbers of a metrics CSV; the last line of a killed run may be cut.

    Raises:
        ValueError: it is no log of a run.
    """
    try:
        rows = pl.read_csv(file, infer_schema=False, truncate_ragged_lines=True)
        return rows.cast(pl.Float64, strict=False).filter(pl.col("t_env").is_not_null())
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{file} is no log of a run: {first_line(error)}") from error


def robustness_table(summary: pl.DataFrame, title: str) -> Table:
    """The robustness table for the terminal, the attack that hurts most in bold.

    "changed" is the share of agent-steps whose action was overridden, "dims" the perturbed dims per agent and step.
    """
    table = plain_table(title)
    for name in ("attack", "win rate", "95 % interval", "return", "length", "changed", "dims"):
        table.add_column(name, justify="left" if name == "attack" else "right", no_wrap=True)
    worst = summary["win_rate"].min()
    for row in summary.iter_rows(named=True):
        cells: Sequence[str] = (
            row["attack"],
            f"{row['win_rate']:.3f}",
            f"{row['low']:.3f}..{row['high']:.3f}",
            f"{row['return_mean']:.2f}",
            f"{row['length_mean']:.1f}",
            f"{100 * row['overridden_frac']:.1f} %",
            f"{row['perturbed_dims']:.1f}",
        )
        table.add_row(*cells, style="bold" if row["win_rate"] == worst else None)
    return table
