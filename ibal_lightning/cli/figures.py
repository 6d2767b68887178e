"""``figures``: what IBAL does, drawn from a saved run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from omegaconf import DictConfig

from ibal_lightning import plugins
from ibal_lightning.cli.evaluate import check_evaluation, ready_attack
from ibal_lightning.cli.run_directory import RunDirectory
from ibal_lightning.cli.saved_team import SavedTeam
from ibal_lightning.cli.terminal import say
from ibal_lightning.evaluation.figures import mask_figure, most_hidden, strength_figure
from ibal_lightning.functional.files import write_then_rename
from ibal_lightning.functional.options import check_range
from ibal_lightning.functional.random import derive_seed
from ibal_lightning.rollout.collector import Collector
from ibal_lightning.types import EpisodeBatch

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def run(cfg: DictConfig) -> None:
    """Draw ``masked_dims.png`` (a game under the attack) and, for a run trained under IBAL, ``strength.png``."""
    check_range("games", cfg.games, 1)
    check_evaluation(cfg.evaluation)
    torch.set_num_threads(cfg.evaluation.threads)
    directory = RunDirectory.existing(cfg.run)
    rows = directory.metrics()
    if "attack/p_max" in rows.columns:
        save(strength_figure(rows), directory.path / "strength.png")
    team = SavedTeam.open(cfg.run, num_envs=cfg.games, stream="figures", changes={"evaluation": cfg.evaluation})
    batch = play_attacked(team, cfg.under)
    save(mask_figure(batch, *most_hidden(batch), team.env.spec.obs_names), directory.path / "masked_dims.png")


def play_attacked(team: SavedTeam, name: str) -> EpisodeBatch:
    """Greedy games of a saved team under the named attack."""
    env, backbone, seed = team.env, team.backbone, team.config.evaluation.seed
    attack = ready_attack(name, plugins.choice("attack", name), team.config, env, backbone, team.attack())
    collector = Collector(env, backbone, attack, seed=derive_seed(seed, "figures attack"))
    return collector.collect(env_steps=0, explore=False, seed=derive_seed(seed, "figures"))


def save(figure: Figure, path: Path) -> None:
    """Write a PNG and say where."""
    write_then_rename(path, partial(figure.savefig, format="png", dpi=150))
    say(f"wrote {path}")
