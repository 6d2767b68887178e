"""The embedded battle engine: SMAC and SMACv2 battles without StarCraft II."""

from pathlib import Path

from ibal_lightning.envs.skirmish.kernel import drop_stale_kernels

drop_stale_kernels(Path(__file__).parent)
