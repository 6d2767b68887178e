"""A trained team from its run directory, in its game again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from ibal_lightning.attack import Attack
from ibal_lightning.backbone import Backbone
from ibal_lightning.cli.experiment import build_attack, build_backbone, build_env, build_threat
from ibal_lightning.cli.run_directory import RunDirectory, load_part
from ibal_lightning.env import Env


@dataclass(frozen=True)
class SavedTeam:
    """What a run directory holds, built and loaded."""

    directory: RunDirectory
    config: DictConfig
    checkpoint: Mapping[str, Any]
    env: Env
    backbone: Backbone

    @classmethod
    def open(cls, run: str, *, num_envs: int, stream: str, changes: Mapping[str, Any] | None = None) -> SavedTeam:
        """Open the run directory ``run``.

        Args:
            run: as the user named it.
            num_envs: games of its environment.
            stream: of their seeds, see ``build_env``.
            changes: parts of its config to be replaced.

        Raises:
            ValueError: there is no such run, its weights do not fit, or its environment is another one today.
        """
        directory = RunDirectory.existing(run)
        config, checkpoint = directory.config(), directory.checkpoint()
        config.merge_with(dict(changes or {}))
        env = build_env(config, num_envs=num_envs, stream=stream)
        directory.check_fingerprint(env.spec.fingerprint)
        backbone = build_backbone(config, env.spec)
        load_part(backbone, checkpoint, "backbone", directory.path)
        return cls(directory, config, checkpoint, env, backbone.eval())

    def attack(self, *, spare: bool = False) -> Attack:
        """The attack that the team was trained under, as it ended; see ``load_part`` for ``spare``."""
        attack = build_attack(self.config.attack, self.config, self.env.spec, build_threat(self.config, self.env.spec))
        if any(name.startswith("attack.") for name in self.checkpoint["state_dict"]):
            load_part(attack, self.checkpoint, "attack", self.directory.path, spare=spare)
        return attack
