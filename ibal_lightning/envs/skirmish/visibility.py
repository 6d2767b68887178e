"""Who sees whom, as the genuine packages' ``get_visibility_matrix`` tells it; a cone of view plays no part in it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ibal_lightning.envs.skirmish.rules import Rules
from ibal_lightning.envs.skirmish.state import Units


def visibility_matrix(rules: Rules, units: Units) -> NDArray[np.bool_]:
    """(B, n, n + E): whether an agent sees a unit, allies first; the dead neither see nor are seen.

    Of two allies the lower id's sight counts for both (quirk 14 of tests/golden/data/README.md), and nobody sees
    itself.
    """
    n = int(rules.n_agents)
    x, y = units.x.astype(np.float64), units.y.astype(np.float64)
    distance = np.hypot(x[:, :n, None] - x[:, None], y[:, :n, None] - y[:, None])
    alive = units.health > 0
    seen = (distance < rules.sight[units.kind[:, :n]][:, :, None]) & alive[:, :n, None] & alive[:, None]
    above = np.triu(seen[:, :, :n], k=1)
    return np.concatenate([above | above.transpose(0, 2, 1), seen[:, :, n:]], axis=2)
