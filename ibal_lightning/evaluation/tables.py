"""The matrix of methods and attacks for the terminal and for a paper."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import polars as pl
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ibal_lightning.evaluation.matrix import METHOD, NATURAL, WORST

Cells = dict[str, dict[str, Any]]  # attack -> its line of the matrix and whether "fewer" seeds met it than others


def plain_table(title: str | None = None) -> Table:
    """A table without vertical lines, the title as it is written."""
    return Table(title=None if title is None else escape(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)


def by_method(matrix: pl.DataFrame) -> Iterator[tuple[str, Cells]]:
    """ "method / backbone (n seeds)" and its cells, method by method."""
    for names, group in matrix.group_by(METHOD, maintain_order=True):
        marked = group.with_columns(fewer=pl.col("seeds") < pl.col("seeds").max())
        cells = {row["attack"]: row for row in marked.iter_rows(named=True)}
        seeds = max(group["seeds"].to_list())
        yield f"{names[0]} / {names[1]} ({seeds} seed{'' if seeds == 1 else 's'})", cells


def notes(matrix: pl.DataFrame) -> list[str]:
    """What the marks in the table mean, if there are any."""
    fewer = any(cell["fewer"] for _, cells in by_method(matrix) for cell in cells.values())
    return ["(n) beside a win rate: only n of the seeds met this attack"] if fewer else []


def _mark(cell: dict[str, Any]) -> str:
    return f" ({cell['seeds']})" if cell["fewer"] else ""


def columns(matrix: pl.DataFrame) -> list[str]:
    """Natural play first, then the attacks in the order of the rows, the worst case last."""
    attacks = matrix["attack"].unique(maintain_order=True).to_list()
    return sorted(attacks, key=lambda name: (name == WORST) - (name == NATURAL))


def terminal_table(matrix: pl.DataFrame, *, methods_down: bool) -> Table:
    """Win rate over its 95 % interval; the best method under each attack in bold.

    Args:
        matrix: as ``evaluation.matrix.matrix`` makes it.
        methods_down: a line a method (wide), or a line an attack (narrow).
    """
    methods, attacks = dict(by_method(matrix)), columns(matrix)
    table = plain_table()
    lines, across = (list(methods), attacks) if methods_down else (attacks, list(methods))
    table.add_column("method" if methods_down else "attack", no_wrap=True)
    for name in across:
        table.add_column(name, justify="right", no_wrap=True)
    best = dict(matrix.group_by("attack").agg(pl.col("win_rate").max()).rows())
    for line in lines:
        pairs = [(line, name) if methods_down else (name, line) for name in across]
        table.add_row(line, *(_terminal_cell(methods[m].get(a), best[a]) for m, a in pairs))
    return table


def print_whole(*shapes: Table) -> None:
    """Print the first of these tables that fits, else the narrowest uncut: rather a long line than half a number."""
    console = Console()
    wide = console.options.update(width=10_000)
    widths = [console.measure(shape, options=wide).maximum for shape in shapes]
    fits = [width <= console.width for width in widths]
    chosen = fits.index(True) if any(fits) else widths.index(min(widths))
    console.width = max(console.width, widths[chosen])
    console.print(shapes[chosen])


def _terminal_cell(cell: dict[str, Any] | None, best: float) -> str:
    if cell is None:
        return "-"
    text = f"{cell['win_rate']:.3f}{_mark(cell)}\n{cell['low']:.2f}..{cell['high']:.2f}"
    return f"[bold]{text}[/bold]" if cell["win_rate"] == best else text


def latex(matrix: pl.DataFrame, *comments: str) -> str:
    """A ``tabular`` in percent for the package booktabs, a line a method; above it the comments and ``notes``."""
    attacks = columns(matrix)
    lines = [
        *(f"% {' '.join(comment.split())}" for comment in (*comments, *notes(matrix))),
        rf"\begin{{tabular}}{{l{'c' * len(attacks)}}}",
        r"\toprule",
        " & ".join(["method", *map(escaped, attacks)]) + r" \\",
        r"\midrule",
    ]
    best = dict(matrix.group_by("attack").agg(pl.col("win_rate").max()).rows())
    for name, cells in by_method(matrix):
        lines.append(" & ".join([escaped(name), *(_latex_cell(cells.get(a), best[a]) for a in attacks)]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _latex_cell(cell: dict[str, Any] | None, best: float) -> str:
    if cell is None:
        return "--"
    mean, low, high = (100 * cell[name] for name in ("win_rate", "low", "high"))
    shown = rf"\mathbf{{{mean:.1f}}}" if cell["win_rate"] == best else f"{mean:.1f}"
    return rf"${shown}\,[{low:.0f},{high:.0f}]${_mark(cell)}"


def escaped(text: str) -> str:
    """Text with LaTeX's special characters made harmless."""
    return re.sub(r"([_%&#$])", r"\\\1", text)
