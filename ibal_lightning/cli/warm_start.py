"""``training.init_from``: start from the policy of another run (IBAL's protocol starts from a pre-trained one)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig

from ibal_lightning.backbone import Backbone
from ibal_lightning.cli.run_directory import RunDirectory, load_part, optimizer_state

logger = logging.getLogger(__name__)


def start_from(config: DictConfig, backbone: Backbone, fingerprint: str) -> Mapping[str, Any] | None:
    """Load the policy that the config asks for; target networks start at the online ones.

    Returns:
        The state of that run's optimizer; None where it has none, or where nothing is asked for.

    Raises:
        ValueError: there is no such run, or its policy does not fit.
    """
    if config.training.init_from is None or config.training.resume is not None:
        return None
    source = RunDirectory.existing(config.training.init_from, "training.init_from")
    trained_in = source.manifest().get("fingerprint")
    if trained_in != fingerprint:
        logger.warning("The policy was trained in another environment: %s, not %s", trained_in, fingerprint)
    checkpoint = source.checkpoint()
    try:
        load_part(backbone, checkpoint, "backbone", source.path)
    except ValueError as error:
        raise ValueError(f"{error}\n{other_options(source.config().backbone, config.backbone)}") from error
    backbone.after_update(0)
    return optimizer_state(checkpoint)


def other_options(theirs: DictConfig, ours: DictConfig) -> str:
    """How the options of two backbones differ."""
    other = [str(name) for name in ours if name in theirs and theirs[name] != ours[name]]
    lines = [f"  backbone.{name}: {theirs[name]} there, {ours[name]} here" for name in other]
    return "\n".join(["its options that differ:", *lines]) if lines else "the options that both name are the same"
