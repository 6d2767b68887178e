"""Where a result came from: code, versions, hardware, seeds, environment."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any

from ibal_lightning import __version__

PACKAGES = ("torch", "lightning", "hydra-core", "omegaconf", "numpy", "numba", "torchmetrics", "lbforaging", "polars")


def manifest(config_text: str, *, seed: int, fingerprint: str) -> dict[str, Any]:
    """Everything needed to repeat or distrust a result."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "seed": seed,
        "fingerprint": fingerprint,
        "config_sha256": hashlib.sha256(config_text.encode()).hexdigest(),
        "git": _git(Path(__file__).resolve().parents[2]),
        "versions": {"python": platform.python_version(), "ibal-lightning": __version__, **_versions()},
        "plugins": _plugins(),
        "hardware": {
            "machine": platform.machine(),
            "system": platform.platform(),
            "processor": _processor(),
            "cpus": os.cpu_count(),
        },
    }


def _git(repository: Path) -> Mapping[str, Any]:
    """Commit and dirty flag of the checkout the package runs from; nulls for an installed wheel."""
    if not (repository / ".git").exists():
        return {"sha": None, "dirty": None}

    def ask(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=repository, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        status = ask("status", "--porcelain")
        difference = ask("diff", "HEAD") if status else ""
        return {
            "sha": ask("rev-parse", "HEAD"),
            "dirty": bool(status),
            "diff_sha256": hashlib.sha256((status + difference).encode()).hexdigest() if status else None,
        }
    except (OSError, subprocess.CalledProcessError):
        return {"sha": None, "dirty": None}


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _plugins() -> dict[str, str]:
    """Distributions that offer entry points to us, with their versions."""
    return {
        dist.metadata["Name"]: dist.version
        for dist in distributions()
        if any(entry.group.startswith("ibal_lightning.") for entry in dist.entry_points)
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()
