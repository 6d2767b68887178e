"""``matrix``: the results of several runs in one table, method x attack, with intervals over seeds."""

from __future__ import annotations

import glob
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from omegaconf import DictConfig, OmegaConf

from ibal_lightning.cli.run_directory import RunDirectory
from ibal_lightning.cli.terminal import say
from ibal_lightning.cli.training_options import training_options
from ibal_lightning.evaluation.doubts import doubts
from ibal_lightning.evaluation.matrix import matrix, mixed_fingerprints
from ibal_lightning.evaluation.results import read_rows
from ibal_lightning.evaluation.tables import latex, notes, print_whole, terminal_table
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
        ValueError: a run has no results, the environments differ, an attack is unknown, or ``out`` names no files.
    """
    out = None if cfg.out is None else target(cfg.out)
    if cfg.attacks is not None and not cfg.attacks:
        raise ValueError("attacks is empty; name at least one attack, such as [natural], or leave it out for all")
    runs = OmegaConf.to_container(cfg.runs) if OmegaConf.is_config(cfg.runs) else [str(cfg.runs)]
    assert isinstance(runs, list)
    rows = read_runs(run_directories([str(item) for item in runs]))
    if cfg.attacks is not None:
        rows = only(rows, list(dict.fromkeys(cfg.attacks)))
    summarise_runs(rows, out, allow_mixed=cfg.allow_mixed)


def target(out: str) -> Path:
    """The path that ``out`` names, without one of our endings; the files need not exist.

    Raises:
        ValueError: it is empty or a folder, or lies below a file.
    """
    named, example = Path(out), "name the files without their ending, such as out=tables/robustness"
    path = named.with_suffix("") if named.suffix in FILES else named
    if not out:
        raise ValueError(f"out is empty; {example}")
    if out.endswith("/") or named.is_dir():
        raise ValueError(f"out={out} is a folder; {example}")
    above = next(parent for parent in path.parents if parent.exists())
    if not above.is_dir():
        raise ValueError(f"out={out}: {above} is a file, not a folder; {example}")
    for file in files_of(path):
        if file.is_dir():
            raise ValueError(f"out={out}: {file} is a folder; choose another name")
    return path


def files_of(path: Path) -> list[Path]:
    """What is written for ``path``: CSV, LaTeX, JSON."""
    return [path.with_name(path.name + suffix) for suffix in FILES]


def run_directories(patterns: Sequence[str]) -> list[Path]:
    """The run directories that paths and globs name, each once, in order; globs pass over the trials of sweeps.

    Raises:
        ValueError: a path is no run directory, a glob matches none, or a run has no results.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        is_glob = glob.has_magic(pattern) and not Path(pattern).exists()
        matches = _matches(pattern) if is_glob else [Path(pattern)]
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


def _matches(pattern: str) -> list[Path]:
    """What a glob matches but for the trials of sweeps, whose options and games are others; says how many these are."""
    everything = sorted(map(Path, glob.glob(pattern, recursive=True)))
    kept = [path for path in everything if not _is_trial(path)]
    if len(kept) < len(everything):
        left_out = len(everything) - len(kept)
        logger.warning("runs=%s: left out as trials of a sweep: %d (name them without a wildcard)", pattern, left_out)
    return kept


def _is_trial(path: Path) -> bool:
    """Whether ``sweep`` made the run, to choose options by."""
    return (path / "manifest.json").is_file() and (path.parent / "trials.csv").is_file()


def _no_results(pattern: str, is_glob: bool) -> str:
    if is_glob:
        return f"runs={pattern}: nothing that matches is a run directory with results.parquet, trials of sweeps apart"
    path = Path(pattern)
    if not path.is_dir():
        return f"runs={pattern}: there is no such directory"
    below = sorted(path.rglob("results.parquet"))
    runs = [file for file in below if not _is_trial(file.parent)]
    if runs:
        depth = len(runs[0].relative_to(path).parts) - 1
        return f"runs={pattern} holds runs; name them: runs='{path}{'/*' * depth}'"
    if below:
        return f"runs={pattern} holds trials of a sweep; name them one by one: runs='[{below[0].parent},...]'"
    if not (path / "manifest.json").is_file():
        return f"runs={pattern} is not a run directory: it has neither manifest.json nor results.parquet"
    return f"runs={pattern} has no results.parquet yet; make it: ibal evaluate run={pattern}"


def read_runs(paths: Sequence[Path]) -> pl.DataFrame:
    """The rows of all runs; ``run`` is where each lies now.

    Raises:
        ValueError: a file is damaged or missing, or a run's rows and manifest name different environments.
    """
    parts = []
    for path in paths:
        directory = RunDirectory.existing(path, "runs", needed=("config.yaml", "manifest.json"))
        rows = read_rows(directory.results)
        saved, seen = directory.manifest().get("fingerprint"), rows["fingerprint"].unique().to_list()
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
    runs = rows["run"].unique(maintain_order=True)
    doubtful = doubts(rows, {run: training_options(RunDirectory(run).config()) for run in runs})
    for doubt in doubtful:
        logger.warning("%s", doubt)
    table = matrix(rows)
    where = " + ".join(mixed)
    show(table, f"win rate on {where}, {_games(rows)}")
    if out is not None:
        write(table, out, rows, f"win rate in % on {where}; {INTERVAL}", doubtful)


def _games(rows: pl.DataFrame) -> str:
    counts = sorted(set(rows.group_by("run", "attack").len()["len"]))
    return f"{' to '.join(map(str, counts[:: max(len(counts) - 1, 1)]))} games a run and attack"


def show(table: pl.DataFrame, title: str) -> None:
    """Print the table the way that fits the terminal."""
    say(title)
    print_whole(*(terminal_table(table, methods_down=down) for down in (True, False)))
    for line in (INTERVAL, *notes(table)):
        say(line)


def write(table: pl.DataFrame, out: Path, rows: pl.DataFrame, caption: str, doubtful: Sequence[str]) -> None:
    """``out`` with .csv (one line a cell), .tex and .json, the latter two with what makes the table questionable."""
    out.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "interval": INTERVAL,
        "fingerprints": list(mixed_fingerprints(rows)),
        "runs": rows.unique("run", maintain_order=True).select("run", "method", "backbone", "seed").to_dicts(),
        "doubts": list(doubtful),
        "cells": table.to_dicts(),
    }
    csv, tex, js = files_of(out)
    write_then_rename(csv, table.write_csv)
    write_then_rename(tex, lambda path: path.write_text(latex(table, caption, *doubtful)))
    write_then_rename(js, lambda path: path.write_text(json.dumps(document, indent=2) + "\n"))
    say(f"wrote {csv}, {tex}, {js}")
