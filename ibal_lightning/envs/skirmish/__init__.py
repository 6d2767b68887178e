"""The embedded battle engine: SMAC and SMACv2 battles without StarCraft II."""

from pathlib import Path

from ibal_lightning.envs.skirmish.kernel import drop_stale_kernels

# Of the battle's rules, part of every fingerprint: raised whenever a battle of the same seed would go otherwise.
VERSION = "0.7.0"

drop_stale_kernels(Path(__file__).parent)
