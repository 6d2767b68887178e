"""Win rates to set beside ours: published on the real game, and of other engines, by (source, learner or group, map).

Real game: ROMANCE (AAAI 2023), table of 2s3z. "study": the engine on which the battle rules were found, generic
lattice spawn (mean of the three WALL learners; ROMANCE groups with fitted spawn). "stand-in": nearest target every
loop, no collision, no delays, block spawn.
"""

from __future__ import annotations

STUDY_LATTICE = {"3m": 0.98, "8m": 0.90, "2s3z": 0.94, "MMM": 0.75}
STAND_IN = {
    "3m": {"qmix": 0.37, "vdn": 0.82, "qplex": 0.04},
    "8m": {"qmix": 0.96, "vdn": 0.97, "qplex": 1.00},
    "2s3z": {"qmix": 0.00, "vdn": 0.01, "qplex": 0.00},
    "MMM": {"qmix": 0.03, "vdn": 0.00, "qplex": 0.00},
}
# Group of ROMANCE policies: (published, study, stand-in).
ROMANCE = {
    "vanilla": (0.928, 0.898, 0.0),
    "rarl": (0.964, 0.903, 0.0),
    "rap": (0.981, 0.878, 0.0),
    "magag": (0.979, 0.931, 0.0),
}


def reference(source: str, name: str, map_name: str) -> dict[str, float | None]:
    """Published, study and stand-in win rates of a policy; None where nobody measured one."""
    group = name.split("_")[0]
    if source == "romance" and map_name == "2s3z" and group in ROMANCE:
        return dict(zip(("published", "study", "stand_in"), ROMANCE[group], strict=True))
    if source == "wall":
        stand_in = STAND_IN.get(map_name, {}).get(name)
        return {"published": None, "study": STUDY_LATTICE.get(map_name), "stand_in": stand_in}
    return {"published": None, "study": None, "stand_in": None}
