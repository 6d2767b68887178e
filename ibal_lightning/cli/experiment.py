"""Builds the parts of an experiment from a config. Each part has a random stream of its own."""

from __future__ import annotations

from omegaconf import DictConfig

from ibal_lightning import plugins
from ibal_lightning.attack import Attack, Threat
from ibal_lightning.backbone import Backbone
from ibal_lightning.env import Env
from ibal_lightning.functional.random import derive_seed, seeded
from ibal_lightning.regularizer import Regularizer
from ibal_lightning.types import EnvSpec


def build_env(config: DictConfig, *, num_envs: int, stream: str) -> Env:
    """``num_envs`` games seeded by the run's seed and the name of the stream ("train", "test", "evaluation")."""
    seed = derive_seed(config.seed, f"env {stream}") % 2**62
    return plugins.build(config.env, num_envs=num_envs, seed=seed)


def build_backbone(config: DictConfig, spec: EnvSpec) -> Backbone:
    """The learner, initialised from the run's seed."""
    with seeded(config.seed, "backbone"):
        return plugins.build(config.backbone, spec)


def build_threat(config: DictConfig, spec: EnvSpec) -> Threat:
    """What attacks are allowed; checked against the sizes of the game."""
    threat = plugins.build(config.threat)
    threat.max_dims(spec)
    return threat


def build_attack(node: DictConfig, config: DictConfig, spec: EnvSpec, threat: Threat) -> Attack:
    """An attack with the given threat, initialised from the run's seed."""
    with seeded(config.seed, "attack"):
        return plugins.build(node, spec, threat)


def build_regularizer(config: DictConfig, spec: EnvSpec) -> Regularizer | None:
    """The regularizer, or nothing where the choice is ``none``."""
    if config.get("regularizer") is None:
        return None
    regularizer = plugins.build(config.regularizer, spec)
    return None if type(regularizer) is Regularizer else regularizer
