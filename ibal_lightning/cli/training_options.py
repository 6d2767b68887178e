"""The options in which runs have to agree to be seeds of one method."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

# What runs of one method may differ in: the fingerprint speaks for the environment, the rest changes no result or is
# kept with the results.
MAY_DIFFER = (
    *("seed", "env", "evaluation", "logger", "trainer", "from", "out"),
    *(f"training.{name}" for name in ("threads", "resume", "keep_replay")),
    *(f"training.{name}_interval" for name in ("log", "checkpoint", "test")),
)


def training_options(config: DictConfig) -> dict[str, Any]:
    """Those of a run's resolved config, by dotted name."""
    options = dict(_flat(OmegaConf.to_container(config)))
    if options.get("training.init_from") is not None:
        options["training.init_from"] = "a run"  # every seed may go on from a policy of its own
    return {
        name: value
        for name, value in options.items()
        if not any(name == free or name.startswith(f"{free}.") for free in MAY_DIFFER)
    }


def _flat(options: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every option of nested mappings by its dotted name."""
    for name, value in options.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
