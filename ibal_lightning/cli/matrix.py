"""``matrix``: the results of several runs in one table, method x attack, with intervals over seeds."""

from __future__ import annotations

import glob
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from omegaconf import DictConfig, OmegaConf

from ibal_lightning.cli.pooled import pooled_settings
from ibal_lightning.cli.run_directory import RunDirectory
from ibal_lightning.cli.terminal import say
from ibal_lightning.evaluation.matrix import doubts, matrix, mixed_fingerprints
from ibal_lightning.evaluation.results import read_rows
from ibal_lightning.evaluation.tables import latex, print_whole, terminal_table
from ibal_lightning.functional.files import write_then_rename
from ibal_lightning.messages import did_you_mean

logger = logging.getLogger(__name__)
FILES = (".csv", ".tex", ".json")
INTERVAL = (
    "95 %: bootstrap over runs and their games, never narrower than Wilson's interval of the pooled games; "
    "one run: Wilson"
)


def run(cfg: DictConfig) -> None:
    """Print the table of ``runs`` and, where ``out`` is given, write it as CSV, LaTeX and JSON.

    Raises:
        ValueError: a run has no results, the runs' environments differ, an attack is unknown, or ``out`` is no name.
    """
    runs = OmegaConf.to_container(cfg.runs) if OmegaConf.is_config(cfg.runs) else [str(cfg.runs)]
    assert isinstance(runs, list)
    if cfg.attacks is not None and not cfg.attacks:
        raise ValueError("attacks is empty; name at least one attack, such as [natural], or leave it out for all")
    out = None if cfg.out is None else output(Path(cfg.out))
    rows = read_runs(run_directories([str(item) for item in runs]))
    if cfg.attacks is not None:
        rows = only(rows, list(dict.fromkeys(cfg.attacks)))
    summarise_runs(rows, out, allow_mixed=cfg.allow_mixed)


def output(out: Path) -> Path:
    """``out`` without the suffix of one of the files.

    Raises:
        ValueError: no file can be of that name.
    """
    name = out.with_suffix("") if out.suffix in FILES else out
    if name.is_dir() or not name.name:
        raise ValueError(f"out={out} is a folder; name the files in it: out={name / 'table'}")
    for parent in name.parents:
        if parent.exists() and not parent.is_dir():
            raise ValueError(f"out={out}: {parent} is a file, not a folder")
    return name


def run_directories(patterns: Sequence[str]) -> list[Path]:
    """The run directories that paths and globs name, each once, in order.

    Raises:
        ValueError: a path is no run directory, a glob matches none, or a run has no results.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        is_glob = glob.has_magic(pattern) and not Path(pattern).exists()
        matches = without_trials(pattern) if is_glob else [Path(pattern)]
        with_results = [path for path in matches if (path / "results.parquet").is_file()]
        if not with_results:
            raise ValueError(_no_results(pattern, is_glob))
        for path in matches:
            if path not in with_results and (path / "manifest.json").is_file():
                logger.warning("%s has no results.parquet (unfinished?) and is left out", path)
        found |= {path.resolve(): None for path in with_results}
    if not found:
        raise ValueError("runs is empty; name run directories: runs='[outputs/a,outputs/b]' or runs='outputs/*/*/*'")
    return list(found)


def without_trials(pattern: str) -> list[Path]:
    """What a glob matches but for a sweep's trials: each has options of its own, and other games to be tested with."""
    found = sorted(map(Path, glob.glob(pattern, recursive=True)))
    kept = [path for path in found if not (path.parent / "trials.csv").is_file()]
    trials = len(found) - len(kept)
    if trials:
        logger.warning("left out: trials of sweeps (%d); one is had by naming it without a wildcard", trials)
    return kept


def _no_results(pattern: str, is_glob: bool) -> str:
    if is_glob:
        return f"runs={pattern}: nothing that matches is a run directory with results.parquet"
    path = Path(pattern)
    if not path.is_dir():
        return f"runs={pattern}: there is no such directory"
    below = sorted(path.rglob("results.parquet"))
    if below:
        depth = len(below[0].relative_to(path).parts) - 1
        return f"runs={pattern} holds runs; name them: runs='{path}{'/*' * depth}'"
    if not (path / "manifest.json").is_file():
        return f"runs={pattern} is not a run directory: it has neither manifest.json nor results.parquet"
    return f"runs={pattern} has no results.parquet yet; make it: ibal evaluate run={pattern}"


def read_runs(paths: Sequence[Path]) -> pl.DataFrame:
    """The rows of all runs; ``run`` is where each lies now.

    Raises:
        ValueError: a file is damaged, or a run's rows and manifest name different environments.
    """
    parts = []
    for path in paths:
        rows = read_rows(path / "results.parquet")
        saved, seen = RunDirectory(path).manifest().get("fingerprint"), rows["fingerprint"].unique().to_list()
        if seen != [saved]:
            raise ValueError(f"{path}: its rows are of {seen}, its manifest of {saved}; evaluate it again")
        parts.append(rows.with_columns(run=pl.lit(str(path))))
    return pl.concat(parts, how="diagonal_relaxed")


def only(rows: pl.DataFrame, attacks: list[str]) -> pl.DataFrame:
    """The rows of these attacks, in this order.

    Raises:
        ValueError: no run met one of them.
    """
    known = rows["attack"].unique(maintain_order=True).to_list()
    for name in attacks:
        if name not in known:
            raise ValueError(
                f"attacks: no run met {name}{did_you_mean(name, known)}; they met {', '.join(map(str, known))}"
            )
    return pl.concat([rows.filter(pl.col("attack") == name) for name in attacks])


def summarise_runs(rows: pl.DataFrame, out: Path | None, *, allow_mixed: bool = False) -> None:
    """Print the table of these rows; write it beside ``out``.

    Raises:
        ValueError: the rows come from different environments and ``allow_mixed`` is false.
    """
    mixed = mixed_fingerprints(rows)
    if len(mixed) > 1 and not allow_mixed:
        listed = "\n".join(f"  {name}: {', '.join(runs)}" for name, runs in mixed.items())
        raise ValueError(f"the runs belong to different environments (allow_mixed=true mixes them):\n{listed}")
    for doubt in [*doubts(rows), *pooled_settings(rows)]:
        logger.warning("%s", doubt)
    table = matrix(rows)
    where = " + ".join(mixed)
    show(table, f"win rate on {where}, {_games(rows)}")
    if out is not None:
        write(table, out, rows, f"win rate in % on {where}; {INTERVAL}")


def _games(rows: pl.DataFrame) -> str:
    counts = sorted(set(rows.group_by("run", "attack").len()["len"]))
    return f"{' to '.join(map(str, counts[:: max(len(counts) - 1, 1)]))} games a run and attack"


def show(table: pl.DataFrame, title: str) -> None:
    """Print the table the way that fits the terminal."""
    say(title)
    print_whole(*(terminal_table(table, methods_down=down) for down in (True, False)))
    say(INTERVAL)


def write(table: pl.DataFrame, out: Path, rows: pl.DataFrame, caption: str) -> None:
    """``out`` with .csv (one line a cell), .tex and .json."""
    out.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "interval": INTERVAL,
        "fingerprints": list(mixed_fingerprints(rows)),
        "runs": rows.unique("run", maintain_order=True).select("run", "method", "backbone", "seed").to_dicts(),
        "cells": table.to_dicts(),
    }
    csv, tex, js = (out.with_name(out.name + suffix) for suffix in FILES)
    write_then_rename(csv, table.write_csv)
    write_then_rename(tex, lambda path: path.write_text(latex(table, caption)))
    write_then_rename(js, lambda path: path.write_text(json.dumps(document, indent=2) + "\n"))
    say(f"wrote {csv}, {tex}, {js}")
