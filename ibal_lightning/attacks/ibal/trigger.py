"""When overrides happen (ALGORITHMS 2.1, IBAL_STUDY 5.7)."""

from __future__ import annotations

import torch
from torch import Tensor

from ibal_lightning.functional.options import check_choice, check_range


class Trigger:
    """Throws one coin per game for the whole group and keeps the result for a while; on average P_act of the steps.

    Args:
        kind: throw at each "step", every ``hold`` steps, or once an "episode".
        hold: steps one throw lasts with kind "hold".

    Raises:
        ValueError: an unknown kind, or hold < 1.
    """

    def __init__(self, kind: str, hold: int) -> None:
        check_choice("attack.trigger", kind, ("step", "hold", "episode"))
        check_range("attack.hold", hold, 1)
        self.kind, self.hold = kind, hold
        self.fired: Tensor | None = None

    def fire(self, p_act: Tensor, step: int, generator: torch.Generator) -> Tensor:
        """(B,) bool whether overrides happen at this step, given the probabilities p_act (B,)."""
        throw = {"step": True, "hold": step % self.hold == 0, "episode": step == 0}[self.kind]
        if throw or self.fired is None:
            self.fired = torch.rand(p_act.shape, generator=generator, device=p_act.device) < p_act
        return self.fired
