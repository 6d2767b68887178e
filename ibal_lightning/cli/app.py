"""The command line: ``ibal [verb] override...``; every verb is a Hydra application with its own primary config.

A verb is one file ``cli/<verb>.py`` with ``run(cfg)`` beside one ``configs/<verb>.yaml``; a ``-`` is a ``_`` in both.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from ibal_lightning import plugins
from ibal_lightning.cli import completion, naming, options, seeds
from ibal_lightning.cli.errors import EXIT_INTERRUPTED, explain
from ibal_lightning.messages import did_you_mean
from ibal_lightning.offers import config_folder

DEFAULT_VERB = "train"
logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 1 (it failed), 2 (a mistake in what was asked), 130 (Ctrl-C)."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words or os.environ.get("IBAL_DEBUG", "0") not in ("", "0")
    try:
        if completion.asked(words):
            words = completion.with_verb(words, verbs())
        verb, rest = split_verb([word for word in words if word != "--debug"])
        run_hydra(verb, rest)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output has seen enough: ibal list | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            raise
        message, code = explain(error)
        print(message, file=sys.stderr)
        return code
    return 0


def verbs() -> list[str]:
    """Every verb, by its primary config."""
    folder = config_folder("ibal_lightning")
    return sorted(file.stem.replace("_", "-") for file in folder.glob("*.yaml")) if folder is not None else []


def split_verb(words: Sequence[str]) -> tuple[str, list[str]]:
    """The verb (the first word if it is no override and no flag, else ``train``) and the remaining words.

    Raises:
        ValueError: there is no such verb; names the nearest.
    """
    first = words[0] if words else ""
    if not first or is_override(first) or first.startswith(("-", "+")):
        return DEFAULT_VERB, list(words)
    known = verbs()
    if first not in known:
        raise ValueError(f"{first!r} is not a command{did_you_mean(first, known)}; there are {', '.join(known)}")
    return first, list(words[1:])


def is_override(word: str) -> bool:
    """``key=value``, ``+key=value`` or ``~key``, as against a flag and its value."""
    return word.startswith("~") or ("=" in word and not word.startswith("-"))


def run_hydra(verb: str, words: Sequence[str]) -> None:
    """Hand the words of one verb to Hydra, which composes its config and runs it, once or for every ``-m`` job.

    Raises:
        Exception: whatever Hydra or the verb raises; ``SystemExit`` after ``--help`` and the like.
    """
    prepare()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing and exiting
    job = Job(verb.replace("-", "_"))
    many = verb == DEFAULT_VERB and seeds.asked(words)
    words = seeds.as_sweep(words) if many else words
    program = "ibal" if verb == DEFAULT_VERB else f"ibal {verb}"
    flags_first = sorted(words, key=is_override)  # Hydra's parser wants all overrides in one row
    before, sys.argv = sys.argv, [program, *flags_first]
    try:
        hydra.main(config_path=None, config_name=job.module, version_base="1.3")(job)()
    finally:
        sys.argv = before
        if many:
            seeds.summarise()
    if job.failure is not None:
        raise job.failure


def prepare() -> None:
    """Open the plugin door and register what our configs refer to; before Hydra composes anything."""
    plugins.register()
    options.register()
    naming.register()


@dataclass
class Job:
    """What Hydra calls. A single run keeps its failure back, because Hydra would print a line of its own above ours."""

    module: str
    failure: Exception | None = None

    def __call__(self, cfg: DictConfig) -> Any:
        """Import the verb and run it; nothing heavy is loaded before this moment."""
        try:
            run: Callable[[DictConfig], float | None] = import_module(f"ibal_lightning.cli.{self.module}").run
            return run(cfg)
        except Exception as error:
            remove_if_empty(Path(HydraConfig.get().runtime.output_dir))
            if HydraConfig.get().mode is RunMode.MULTIRUN:
                job = HydraConfig.get().job
                logger.warning("run %s (%s) failed: %s", job.num, job.override_dirname, explain(error)[0])
                raise
            self.failure = error
            return None


def remove_if_empty(folder: Path) -> None:
    """Remove the run directory that Hydra made for a run that wrote nothing, and the parents it leaves empty."""
    root = Path.cwd()
    for path in (folder, *folder.parents):
        if root not in path.parents or any(path.iterdir()):
            return
        path.rmdir()
