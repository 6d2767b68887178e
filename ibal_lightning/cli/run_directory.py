"""A run directory: ``config.yaml``, ``manifest.json``, ``checkpoints/``, ``results.parquet``, metrics."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from ibal_lightning.cli.manifest import manifest
from ibal_lightning.evaluation.results import read_log
from ibal_lightning.functional.files import write_then_rename
from ibal_lightning.functional.tensor_files import load_tensors

SHOWN = 8  # layers that a message names
FILES = ("config.yaml", "manifest.json", "checkpoints/last.ckpt")  # of a finished run


class RunDirectory:
    """Reads and writes the files of one run; every write goes to a temporary name first."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.results = self.path / "results.parquet"

    @classmethod
    def existing(cls, path: str | Path, option: str = "run", *, needed: Sequence[str] = FILES) -> RunDirectory:
        """A run made before, as the user named it by ``option``.

        Raises:
            ValueError: there is no such directory, or it is not a run directory: it lacks one of the files ``needed``.
        """
        run = cls(path)
        if not run.path.is_dir():
            raise ValueError(f"{option}={path}: there is no such directory{_neighbours(run.path)}")
        for name in needed:
            if not (run.path / name).is_file():
                raise ValueError(f"{option}={path} is not a finished run directory: {name} is missing")
        return run

    def begin(self, config: DictConfig, *, seed: int, fingerprint: str) -> None:
        """Write the resolved config and the manifest.

        Raises:
            OSError: the folder cannot be written.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        text = OmegaConf.to_yaml(config, resolve=True)
        origin = json.dumps(manifest(text, seed=seed, fingerprint=fingerprint), indent=2) + "\n"
        write_then_rename(self.path / "config.yaml", lambda path: path.write_text(text))
        write_then_rename(self.path / "manifest.json", lambda path: path.write_text(origin))

    def set_metrics_aside(self, env_steps: int) -> None:
        """Keep the metrics so far under a name of their own: Lightning's logger starts its file anew."""
        metrics = self.path / "csv" / "metrics.csv"
        aside = metrics.with_name(f"metrics_until_{env_steps}.csv")
        if metrics.exists() and not aside.exists():  # a second resume from here would lose what came before the first
            metrics.rename(aside)

    def metrics(self) -> pl.DataFrame:
        """The logged rows of the run and of what it was resumed from, by ``t_env``; empty where it logged none."""
        parts = []
        for file in (self.path / "csv").glob("metrics*.csv"):
            rows = read_log(file)
            until = file.stem.removeprefix("metrics_until_")
            # a run that was killed has logged more than its checkpoint knows; the resumed run logs that again
            parts.append(rows.filter(pl.col("t_env") <= int(until)) if until.isdecimal() else rows)
        return pl.concat(parts, how="diagonal_relaxed").sort("t_env") if parts else pl.DataFrame()

    def config(self) -> DictConfig:
        """The resolved config of the run.

        Raises:
            ValueError: the file is not UTF-8 text or holds no options.
        """
        file = self.path / "config.yaml"
        try:
            loaded = OmegaConf.load(file)
        except UnicodeDecodeError as error:
            raise ValueError(f"{file} is not UTF-8 text: {error}") from error
        except OSError as error:
            if error.errno is not None:
                raise
            loaded = None  # a number or the like, of which OmegaConf complains without the name of the file
        if not isinstance(loaded, DictConfig) or not loaded:
            raise ValueError(f"{file} is not the config of a run: it holds no options")
        return loaded

    def is_training(self) -> bool:
        """Whether ``train`` made it; an imported policy has no trainer."""
        return "trainer" in self.config()

    def manifest(self) -> Mapping[str, Any]:
        """The manifest of the run.

        Raises:
            ValueError: the file is no JSON object.
        """
        file = self.path / "manifest.json"
        try:
            loaded = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:  # of JSON, or of UTF-8
            raise ValueError(f"{file} is not valid JSON: {error}") from error
        if not isinstance(loaded, dict):
            raise ValueError(f"{file} is not the manifest of a run: expected a JSON object, got {loaded!r:.40}")
        return loaded

    def checkpoint(self) -> Mapping[str, Any]:
        """``checkpoints/last.ckpt``, loaded without executing anything in it.

        Raises:
            ValueError: the file is corrupt or is not a checkpoint.
        """
        path = self.checkpoints / "last.ckpt"
        loaded = load_tensors(path, "a checkpoint")
        if not isinstance(loaded, dict) or not isinstance(loaded.get("state_dict"), dict):
            raise ValueError(f"{path} is not a checkpoint: it has no state_dict")
        return loaded

    def check_fingerprint(self, fingerprint: str) -> None:
        """Refuse a policy trained in another environment.

        Raises:
            ValueError: shows both fingerprints.
        """
        saved = self.manifest().get("fingerprint")
        if saved != fingerprint:
            raise ValueError(
                f"the checkpoint of {self.path} belongs to another environment\n"
                f"  checkpoint:  {saved}\n  environment: {fingerprint}"
            )


def load_part(
    module: nn.Module, checkpoint: Mapping[str, Any], part: str, source: Path, *, spare: bool = False
) -> None:
    """Load the weights of ``part`` ("backbone" or "attack") of a checkpoint into a module.

    Args:
        module: what to load into.
        checkpoint: as ``RunDirectory.checkpoint`` reads it.
        part: prefix of the names there.
        source: named in messages.
        spare: the file may hold more than the module needs (an attack of which less is allowed than in training).

    Raises:
        ValueError: names the layers that are missing, unknown or of another shape (but for ``may_be_absent``).
    """
    saved = {k.removeprefix(f"{part}."): v for k, v in checkpoint["state_dict"].items() if k.startswith(f"{part}.")}
    own = module.state_dict()
    optional = getattr(module, "may_be_absent", ())
    saved = {name: x for name, x in saved.items() if name in own or not (spare or name.startswith(optional))}
    saved = {name: value for name, value in own.items() if name.startswith(optional)} | saved
    wrong = _differences(own, saved)
    if wrong:
        more = [f"and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
        raise ValueError(f"the {part} weights in {source} do not fit:\n  " + "\n  ".join([*wrong[:SHOWN], *more]))
    module.load_state_dict(saved)


def optimizer_state(checkpoint: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """State dict of the backbone's optimizer in a checkpoint, None where it holds none."""
    states = checkpoint.get("optimizer_states") or [None]
    return states[0]


def _differences(own: Mapping[str, Any], saved: Mapping[str, Any]) -> list[str]:
    lines = [f"{name}: missing in the file" for name in own if name not in saved]
    lines += [f"{name}: unknown to this module" for name in saved if name not in own]
    for name in own:
        mine, theirs = own[name], saved.get(name)
        if isinstance(mine, Tensor) and isinstance(theirs, Tensor) and mine.shape != theirs.shape:
            lines.append(f"{name}: {tuple(theirs.shape)} in the file, {tuple(mine.shape)} here")
    return lines


def _neighbours(path: Path) -> str:
    """Runs that stand where the missing one was looked for."""
    if not path.parent.is_dir():
        return ""
    found = sorted(str(p.parent) for p in path.parent.glob("*/manifest.json"))[-3:]
    return f"; runs there: {', '.join(found)}" if found else ""
