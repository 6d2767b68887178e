"""What ``ibal list`` says about the engine that ``env.engine=auto`` takes here. Imports no torch."""

from __future__ import annotations

from ibal_lightning.envs.sc2 import find_missing


def describe(package: str) -> str:
    """The engine for the genuine package of this name, and why."""
    missing = find_missing(package)
    return f"engine=auto plays skirmish: {missing}" if missing else "engine=auto plays StarCraft II"
