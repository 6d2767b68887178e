"""The genuine packages with StarCraft II: whether they are here, and how one of their games is built."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

ENGINES = ("auto", "sc2", "skirmish")
DEFAULT_PATHS = {"linux": "~/StarCraftII", "darwin": "/Applications/StarCraft II"}
WINDOWS_PATH = "C:/Program Files (x86)/StarCraft II"


def resolve_engine(engine: str, package: str) -> str:
    """``sc2`` or ``skirmish``; ``auto`` prefers the genuine game and says which one it took.

    Args:
        engine: auto, sc2 or skirmish.
        package: smac or smacv2.

    Raises:
        ValueError: another engine, or sc2 where the genuine package or StarCraft II is missing.
    """
    if engine not in ENGINES:
        raise ValueError(f"env.engine={engine!r} is unknown; allowed: {', '.join(ENGINES)}.")
    if engine == "skirmish":
        return engine
    missing = find_missing(package)
    if engine == "auto":
        _announce(package, missing)
        return "skirmish" if missing else "sc2"
    if missing:
        raise ValueError(f"env.engine=sc2 needs the genuine game, but {missing} Or use env.engine=skirmish.")
    return engine


@functools.cache
def _announce(package: str, missing: str) -> None:
    """Once a process: results of the two engines must not be mixed unnoticed."""
    if missing:
        log.warning("Playing %s on the embedded engine 'skirmish', not on StarCraft II: %s", package, missing)
    else:
        log.warning("Playing %s on the genuine StarCraft II (env.engine=skirmish for the embedded engine).", package)


def find_missing(package: str) -> str:
    """What keeps the genuine package from running here, with the fix; empty if nothing does. Imports nothing."""
    spec = find_spec(package)
    folders = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    install = f'pip install "git+https://github.com/oxwhirl/{package}.git"'
    if not folders:
        return f"the package {package!r} is not installed ({install})."
    if not any((folder / "env" / "starcraft2").is_dir() for folder in folders):
        return f"the installed {package!r} in {folders[0]} is an unrelated package of that name ({install})."
    game = game_folder()
    if not (game / "Versions").is_dir():
        return f"no StarCraft II was found in {game} (install it there, or set SC2PATH to its folder)."
    if not (game / "Maps" / "SMAC_Maps").is_dir():
        return f"the map folder {game / 'Maps' / 'SMAC_Maps'} is missing (unpack the SMAC_Maps of {package} there)."
    return ""


def game_folder() -> Path:
    """Where StarCraft II is looked for: ``SC2PATH``, else the place that ``pysc2`` expects on this system."""
    default = DEFAULT_PATHS.get(sys.platform, WINDOWS_PATH)
    return Path(os.environ.get("SC2PATH", default)).expanduser()


def make_genuine(package: str, options: Mapping[str, Any]) -> Any:
    """Build a genuine environment; called inside a worker, because the two packages cannot share a process."""
    if package == "smac":
        from smac.env import StarCraft2Env

        return StarCraft2Env(**options)
    from smacv2.env.starcraft2.wrapper import StarCraftCapabilityEnvWrapper

    return StarCraftCapabilityEnvWrapper(**options)
