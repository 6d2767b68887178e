"""``export-pymarl``: the policy of a run in PyMARL's files, for PyMARL, EPyMARL, WALL and whoever reads them."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from ibal_lightning.backbones import pymarl
from ibal_lightning.cli.experiment import build_backbone, build_env
from ibal_lightning.cli.run_directory import RunDirectory, load_part, optimizer_state


def run(cfg: DictConfig) -> None:
    """Write ``agent.th``, ``mixer.th`` and ``opt.th`` of ``run`` to ``out``.

    Raises:
        ValueError: there is no such run, or its backbone has no PyMARL format.
    """
    directory = RunDirectory.existing(cfg.run)
    config, checkpoint = directory.config(), directory.checkpoint()
    env = build_env(config, num_envs=1, stream="export")
    directory.check_fingerprint(env.spec.fingerprint)
    backbone = build_backbone(config, env.spec)
    env.close()
    load_part(backbone, checkpoint, "backbone", directory.path)
    files = pymarl.export(backbone, Path(cfg.out), optimizer_state(checkpoint))
    Console().print(f"wrote {', '.join(map(str, files))}", highlight=False, soft_wrap=True)
