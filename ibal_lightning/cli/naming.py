"""Names of run directories."""

from __future__ import annotations

import re

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf


def register() -> None:
    """Make ``${run_name:}`` known to every config: ``smac-3m/ibal-qmix``."""
    OmegaConf.register_new_resolver("run_name", run_name, replace=True)


def run_name(*, _root_: DictConfig) -> str:
    """``<env>-<task>/<method>-<backbone>``; the task is the first text among the environment's options."""
    choice = HydraConfig.get().runtime.choices["env"]
    env = _root_.get("env") or {}
    task = next((str(env[key]) for key in env if key != "_target_" and isinstance(env[key], str)), None)
    left = safe(choice if task is None else f"{choice}-{task}")
    return f"{left}/{safe(f'{_root_.method_name}-{_root_.backbone_name}')}"


def safe(text: str) -> str:
    """Only characters that every file system and shell takes as they are; no ``:`` and no ``/``."""
    return re.sub(r"[^A-Za-z0-9._=+-]+", "_", text)
