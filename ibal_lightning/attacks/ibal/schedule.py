"""The adaptive attack probability (ALGORITHMS 2.1)."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

from torch import Tensor, nn

from ibal_lightning.attacks.ibal.options import IbalOptions
from ibal_lightning.functional.options import check_range


def first_p_max(options: IbalOptions, p_floor: float) -> float:
    """Where P_max starts: ``p_max_init``, or the lower end of P_act.

    Raises:
        ValueError: it is below that end.
    """
    p_max = p_floor if options.p_max_init is None else options.p_max_init
    if p_max < p_floor:
        raise ValueError(
            f"attack.p_max_init must be at least attack.p_floor, got {p_max:g} below {p_floor:g}: "
            f"lower attack.p_floor, or leave attack.p_max_init=null to start there"
        )
    return p_max


def check_growth(options: IbalOptions, p_floor: float) -> None:
    """Refuse a curriculum that begins where no factor moves it.

    Raises:
        ValueError: P_max starts at 0 and is to grow.
    """
    if first_p_max(options, p_floor) == 0 and options.alpha != 1:
        named = f"attack.p_floor={p_floor:g}" if options.p_max_init is None else "attack.p_max_init=0"
        raise ValueError(
            f"{named} keeps P_max at 0 for good, as attack.alpha={options.alpha:g} multiplies it: "
            "set attack.p_max_init above 0, or attack.alpha=1 for a P_max that is to stay at 0"
        )


class Schedule(nn.Module):
    """Raises P_max by the factor alpha whenever the team wins more than eta of its last W attacked episodes.

    The window is emptied at each growth: one lucky window counts once.

    Args:
        p_max: where it starts.
        limit: it does not grow beyond this; where it starts at or above, it stays.
        alpha: growth factor; 1 keeps P_max where it is.
        eta: win rate above which it grows.
        window: W, in attacked training episodes.

    Raises:
        ValueError: a number outside its range.
    """

    def __init__(self, *, p_max: float, limit: float, alpha: float, eta: float, window: int) -> None:
        super().__init__()
        check_range("attack.p_max_init", p_max, 0, 1)
        check_range("attack.p_max_limit", limit, 0, 1)
        check_range("attack.alpha", alpha, 1)
        check_range("attack.eta", eta, 0, 1)
        check_range("attack.window", window, 1)
        self.p_max, self.limit, self.alpha, self.eta = p_max, limit, alpha, eta
        self.outcomes: deque[float] = deque(maxlen=window)

    def update(self, won: Tensor) -> None:
        """Take in the outcomes (M,) in [0, 1] of finished attacked episodes, oldest first."""
        for outcome in won.tolist():
            self.outcomes.append(outcome)
            if len(self.outcomes) == self.outcomes.maxlen and self.win_rate > self.eta:
                self.p_max = max(self.p_max, min(self.limit, self.alpha * self.p_max))
                self.outcomes.clear()

    @property
    def win_rate(self) -> float:
        """Mean outcome in the window; NaN while it is empty."""
        return sum(self.outcomes) / len(self.outcomes) if self.outcomes else math.nan

    def get_extra_state(self) -> dict[str, Any]:
        """P_max and the window, for checkpoints."""
        return {"p_max": self.p_max, "outcomes": list(self.outcomes)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore what ``get_extra_state`` gave."""
        self.p_max = state["p_max"]
        self.outcomes = deque(state["outcomes"], maxlen=self.outcomes.maxlen)
