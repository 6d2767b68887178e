"""Weaker units from the start (HP-15)."""

from __future__ import annotations

from collections.abc import Mapping

from ibal_lightning.attack import Attack, Threat
from ibal_lightning.functional.options import check_range
from ibal_lightning.types import EnvSpec


class InitialHealth(Attack):
    """All allies start with part of their health missing (ALGORITHMS 3.9); a condition of the game, not a player in it.

    Args:
        health_loss: missing share of the full health, 0.15 for HP-15.

    Raises:
        ValueError: a share outside [0, 0.99].
    """

    def __init__(self, spec: EnvSpec, threat: Threat, *, health_loss: float = 0.15) -> None:
        super().__init__(spec, threat)
        check_range("attack.health_loss", health_loss, 0, 0.99)
        self.health_loss = health_loss

    @property
    def env_options(self) -> Mapping[str, float]:
        """``ally_health``: the share of full health that is left."""
        return {"ally_health": 1 - self.health_loss}
