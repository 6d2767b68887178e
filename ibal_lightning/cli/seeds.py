"""``seeds=[0,1,2]``: the same experiment with several seeds, one run directory each, and one table at the end.

The word becomes a Hydra sweep over ``seed``, so every launcher and every other sweep works with it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

WORD = "seeds="


class RememberFolder(Callback):
    """Learns from Hydra where the runs of this sweep lie; it must be known even when some of them fail.

    ``older`` holds the results of former sweeps into the same folder, by when they were written.
    """

    folder: ClassVar[Path | None] = None
    older: ClassVar[dict[Path, int]] = {}

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Before the first job."""
        RememberFolder.folder = Path(config.hydra.sweep.dir)
        RememberFolder.older = results(RememberFolder.folder)


def asked(words: Sequence[str]) -> bool:
    """Whether several seeds are asked for."""
    return any(names_seeds(word) for word in words)


def names_seeds(word: str) -> bool:
    """``seeds=``, with or without the ``+`` of an option that Hydra does not know."""
    return word.lstrip("+").startswith(WORD)


def as_sweep(words: Sequence[str]) -> list[str]:
    """The words with ``seeds=[0,1]`` turned into a sweep over ``seed``.

    Raises:
        ValueError: it is no list of different whole numbers, stands twice, or stands beside ``seed=``.
    """
    found = [word.lstrip("+").removeprefix(WORD) for word in words if names_seeds(word)]
    other = [word for word in words if word.startswith("seed=")]
    if len(found) > 1 or other:
        raise ValueError(f"{WORD}{found[0]} beside {(other or [WORD + found[1]])[0]}: name the seeds once")
    kept = [word for word in words if not names_seeds(word) and word not in ("-m", "--multirun")]
    callback = f"+hydra.callbacks.seeds._target_={__name__}.{RememberFolder.__name__}"
    return ["--multirun", *kept, f"seed={','.join(map(str, parsed(found[0])))}", callback]


def parsed(text: str) -> list[int]:
    """The seeds in "[0,1,2]".

    Raises:
        ValueError: they are no different whole numbers.
    """
    inside = re.fullmatch(r"\[\s*(\d+(\s*,\s*\d+)*)\s*\]", text)
    if inside is None:
        raise ValueError(f"{WORD}{text}: expected a list of whole numbers from 0 on, such as seeds=[0,1,2,3,4]")
    numbers = [int(number) for number in inside.group(1).split(",")]
    repeated = sorted({number for number in numbers if numbers.count(number) > 1})
    if repeated:
        raise ValueError(f"{WORD}{text}: seed {repeated[0]} stands there twice; the same seed gives the same run")
    return numbers


def results(folder: Path) -> dict[Path, int]:
    """When each file of results in a sweep's folder was written."""
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("results.parquet"))}


def summarise() -> None:
    """Print one table an environment of the runs that this sweep finished, and save it beside them."""
    folder, RememberFolder.folder = RememberFolder.folder, None
    found = results(folder) if folder is not None else {}
    runs = [path.parent for path, written in found.items() if RememberFolder.older.get(path) != written]
    if folder is None or not runs:  # nothing was run, or nothing finished: the error says why
        return
    from ibal_lightning.cli.matrix import read_runs, summarise_runs  # not before: it loads torch
    from ibal_lightning.cli.naming import safe

    parts = read_runs(runs).partition_by("fingerprint", maintain_order=True)
    for rows in parts:
        suffix = f"_{safe(rows['fingerprint'][0])}" if len(parts) > 1 else ""
        summarise_runs(rows, folder / f"matrix{suffix}")
