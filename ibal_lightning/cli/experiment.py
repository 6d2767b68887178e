"""Builds the parts of an experiment from a config. Each part has a random stream of its own."""

from __future__ import annotations

import torch
from omegaconf import DictConfig, OmegaConf

from ibal_lightning import plugins
from ibal_lightning.attack import Attack, Threat
from ibal_lightning.backbone import Backbone
from ibal_lightning.env import Env
from ibal_lightning.functional.options import check_choice, check_range
from ibal_lightning.functional.random import derive_seed, seeded
from ibal_lightning.regularizer import Regularizer
from ibal_lightning.types import EnvSpec


def compute_device(config: DictConfig) -> torch.device:
    """Where networks, attack and replay live, from ``trainer.accelerator`` and ``trainer.devices``.

    Raises:
        ValueError: there is no such device here, or several are asked for.
    """
    accelerator, devices = config.trainer.accelerator, config.trainer.devices
    check_choice("trainer.accelerator", accelerator, ("cpu", "gpu", "cuda", "auto"))
    numbers = [0] if devices in (1, "1", "auto") else devices
    if (not OmegaConf.is_list(numbers) and numbers != [0]) or len(numbers) != 1:
        raise ValueError(f"trainer.devices={devices}: one run learns on one device; name it: trainer.devices=[0]")
    if accelerator == "cpu" or (accelerator == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        why = "this build of torch is for CPUs" if torch.version.cuda is None else "torch finds no usable GPU or driver"
        raise ValueError(
            f"trainer.accelerator={accelerator}: {why} (torch {torch.__version__}); use trainer.accelerator=cpu, or "
            "install the CUDA build of torch and check that nvidia-smi shows the GPU"
        )
    check_range("trainer.devices", numbers[0], 0, torch.cuda.device_count() - 1)
    return torch.device("cuda", numbers[0])


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
