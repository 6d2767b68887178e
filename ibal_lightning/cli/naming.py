"""What configs can ask for with ``${...}``: names of run directories, values that depend on the task or on others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf


def register() -> None:
    """Make these known to every config.

    ``${run_name:}`` (``smac-3m/ibal-qmix``), ``${method:}``, ``${by_task:default,{task:value}}`` and
    ``${divisor:number,most}``.
    """
    OmegaConf.register_new_resolver("run_name", run_name, replace=True)
    OmegaConf.register_new_resolver("method", method, replace=True)
    OmegaConf.register_new_resolver("by_task", by_task, replace=True)
    OmegaConf.register_new_resolver("divisor", divisor, replace=True)


def run_name(*, _root_: DictConfig) -> str:
    """``<env>-<task>/<method>-<backbone>``."""
    choice, name = HydraConfig.get().runtime.choices["env"], task(_root_)
    left = safe(choice if name is None else f"{choice}-{name}")
    return f"{left}/{safe(f'{_root_.method_name}-{_root_.backbone_name}')}"


def method() -> str:
    """What a run is called in tables: the method, or the attack that was named instead of the method's own."""
    words, choices = HydraConfig.get().overrides.task, HydraConfig.get().runtime.choices
    named = "attack" in choices and any(word.startswith("attack=") for word in words)
    return str(choices["attack" if named else "method"])


def by_task(default: Any, values: Mapping[str, Any], *, _root_: DictConfig) -> Any:
    """The value of the first pattern that the task matches (``5m_vs_6m``, ``terran_*``), else the default."""
    name = str(task(_root_))
    return next((value for pattern, value in values.items() if fnmatchcase(name, str(pattern))), default)


def divisor(number: int, most: int) -> int:
    """The largest number up to ``most`` that divides another: what a preset asks for fits what a user asks for."""
    return max(part for part in range(1, most + 1) if number % part == 0)


def task(config: DictConfig) -> str | None:
    """The first text among the environment's options: a map, a scenario, an id."""
    env = config.get("env") or {}
    texts = (key for key in env if key not in ("_target_", "device") and isinstance(env[key], str))
    return next((str(env[key]) for key in texts), None)


def safe(text: str) -> str:
    """Only characters that every file system and shell takes as they are; no ``:`` and no ``/``."""
    return re.sub(r"[^A-Za-z0-9._=+-]+", "_", text)
