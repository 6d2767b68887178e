"""``export-pymarl``: the policy of a run in PyMARL's files, for PyMARL, EPyMARL, WALL and whoever reads them."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from ibal_lightning.backbones import pymarl
from ibal_lightning.cli.run_directory import optimizer_state
from ibal_lightning.cli.saved_team import SavedTeam
from ibal_lightning.cli.terminal import say


def run(cfg: DictConfig) -> None:
    """Write ``agent.th``, ``mixer.th`` and ``opt.th`` of ``run`` to ``out``.

    Raises:
        ValueError: there is no such run, or its backbone has no PyMARL format.
    """
    team = SavedTeam.open(cfg.run, num_envs=1, stream="export")
    team.env.close()
    files = pymarl.export(team.backbone, Path(cfg.out), optimizer_state(team.checkpoint))
    say(f"wrote {', '.join(map(str, files))}")
