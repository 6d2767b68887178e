"""``figures``: what IBAL does, drawn from a saved run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from omegaconf import DictConfig
from rich.console import Console

from ibal_lightning import plugins
from ibal_lightning.cli.evaluate import ready_attack
from ibal_lightning.cli.experiment import build_attack, build_backbone, build_env, build_threat
from ibal_lightning.cli.run_directory import RunDirectory, load_part
from ibal_lightning.evaluation.figures import mask_figure, most_hidden, strength_figure
from ibal_lightning.functional.files import write_then_rename
from ibal_lightning.functional.random import derive_seed
from ibal_lightning.rollout.collector import Collector
from ibal_lightning.types import EpisodeBatch

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def run(cfg: DictConfig) -> None:
    """Draw ``masked_dims.png`` (a game under the attack) and, for a run trained under IBAL, ``strength.png``."""
    directory = RunDirectory.existing(cfg.run)
    console = Console()
    metrics = directory.path / "csv" / "metrics.csv"
    if metrics.is_file():
        rows = pl.read_csv(metrics, infer_schema_length=None)
        if "attack/p_max" in rows.columns:
            save(strength_figure(rows), directory.path / "strength.png", console)
    batch, names = play_attacked(cfg, directory)
    save(mask_figure(batch, *most_hidden(batch), names), directory.path / "masked_dims.png", console)


def play_attacked(cfg: DictConfig, directory: RunDirectory) -> tuple[EpisodeBatch, tuple[str, ...]]:
    """Greedy games of a saved policy under the named attack, and the names of the dims."""
    config, checkpoint = directory.config(), directory.checkpoint()
    config.merge_with({"evaluation": cfg.evaluation})
    env = build_env(config, num_envs=cfg.games, stream="figures")
    directory.check_fingerprint(env.spec.fingerprint)
    backbone = build_backbone(config, env.spec)
    load_part(backbone, checkpoint, "backbone", directory.path)
    trained = build_attack(config.attack, config, env.spec, build_threat(config, env.spec))
    if any(name.startswith("attack.") for name in checkpoint["state_dict"]):
        load_part(trained, checkpoint, "attack", directory.path)
    attack = ready_attack(cfg.attack, plugins.choice("attack", cfg.attack), config, env, backbone.eval(), trained)
    seed = config.evaluation.seed
    collector = Collector(env, backbone, attack, seed=derive_seed(seed, "figures attack"))
    return collector.collect(env_steps=0, explore=False, seed=derive_seed(seed, "figures")), env.spec.obs_names


def save(figure: Figure, path: Path, console: Console) -> None:
    """Write a PNG and say where."""
    write_then_rename(path, partial(figure.savefig, format="png", dpi=150))
    console.print(f"wrote {path}", highlight=False, soft_wrap=True)
