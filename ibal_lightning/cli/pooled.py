"""In what the trainings differ that a table takes for seeds of one method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl
from omegaconf import OmegaConf

from ibal_lightning.cli.run_directory import RunDirectory
from ibal_lightning.evaluation.matrix import METHOD

# What decides nothing that a team learns, or is said elsewhere; all below them too.
ASIDE = (
    *("seed", "evaluation", "trainer", "logger", "threat", "env.threads", "training.threads", "training.resume"),
    *("training.log_interval", "training.checkpoint_interval", "training.keep_replay", "training.test_interval"),
)
SHOWN = 4  # options that a line names


def pooled_settings(rows: pl.DataFrame) -> list[str]:
    """A line for every method whose runs were trained with other options than each other."""
    found = []
    for names, group in rows.unique("run", maintain_order=True).group_by(*METHOD, maintain_order=True):
        runs = [dict(settings(Path(run))) for run in group["run"] if (Path(run) / "config.yaml").is_file()]
        shared = [key for key in (runs[0] if runs else ()) if all(key in run for run in runs)]  # older runs know fewer
        values = {key: list(dict.fromkeys(run[key] for run in runs)) for key in shared}
        apart = [f"{key} ({', '.join(seen)})" for key, seen in values.items() if len(seen) > 1]
        if apart:
            more = f" and {len(apart) - SHOWN} more" if len(apart) > SHOWN else ""
            found.append(f"{names[0]}/{names[1]} pools runs of different {', '.join(apart[:SHOWN])}{more}")
    return found


def settings(run: Path) -> Iterator[tuple[str, str]]:
    """Dotted names and values of a run's options that decide what its team learns."""
    for key, value in flat(OmegaConf.to_container(RunDirectory(run).config())):
        if not f"{key}.".startswith(tuple(f"{name}." for name in ASIDE)):
            yield key, str(value)


def flat(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings by their dotted names."""
    if not isinstance(node, Mapping):
        yield prefix, node
        return
    for key, value in node.items():
        yield from flat(value, f"{prefix}.{key}" if prefix else str(key))
