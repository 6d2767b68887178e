"""Numbers of the unit kinds as one table in the order of ``state.KINDS``, with one of two sets of weapons.

Unit: map units, game loops (1/16 data second, ENGINE_RULES rule 1), hit points. Source: ``data/units.json``
(Liberty.SC2Mod game data, on which every SMAC map depends) and ``data/lotv.json``: the game itself lays the weapons of
its multiplayer mod, VoidMulti.SC2Mod, over them (recordings and policies, ``docs/fidelity.md``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ibal_lightning.envs.skirmish.catalogue import load_facts
from ibal_lightning.envs.skirmish.state import KINDS
from ibal_lightning.messages import nearest_names

LOOPS_PER_SECOND = 16  # of the data files
GROUND, STRIDER, AIR = 0, 1, 2  # layers: units collide inside a layer only; striders are colossi
POINT, LINE, BLAST = 0, 1, 2  # shapes of a hit
STATS = ("lotv", "liberty")


# What is constant of one kind; a table of them is (K,) in the order of KINDS.
KIND = np.dtype(
    [
        ("health", np.float64),  # of the maps' own bodies, which agents have
        ("enemy_health", np.float64),  # of the client's, which enemies have
        ("shield", np.float64),
        ("armor", np.float64),
        ("speed", np.float64),  # map units a loop
        ("acceleration", np.float64),  # map units a loop and loop
        ("radius", np.float64),  # ranges are measured between edges
        ("separation", np.float64),  # radius at which idle units of one side keep apart
        ("inner", np.float64),  # radius at which moving units are blocked
        ("health_regen", np.float64),  # a loop
        ("shield_regen", np.float64),
        ("shield_delay", np.float64),  # loops without damage before shields regenerate
        ("energy", np.float64),  # at the start
        ("energy_max", np.float64),
        ("energy_regen", np.float64),
        ("heal_rate", np.float64),  # hit points a loop, 0 for non-healers
        ("heal_cost", np.float64),  # energy a hit point
        ("heal_range", np.float64),
        ("heal_scan", np.float64),
        ("hit_gap", np.float64),  # loops between the first hit and the second; of a LINE, the sweep's
        ("range", np.float64),
        ("slop", np.float64),  # how much further the target may be when the shot falls
        ("scan", np.float64),
        ("period", np.float64),
        ("windup", np.float64),  # damage point
        ("backswing", np.float64),
        ("missile", np.float64),  # map units a loop, 0 for instant
        ("splash", np.float64),  # radius of a BLAST
        ("damage", np.float64, (len(KINDS),)),  # of one hit on each kind, before armour
        ("can_hit", np.int8, (len(KINDS),)),  # 0 or 1
        ("healable", np.bool_),  # biological and no structure
        ("tagged", np.bool_),  # the computer player attends to it: AISplash, AISupport or AIHighPrioTarget
        ("fires_idle", np.bool_),  # its weapon needs no attack order
        ("layer", np.int8),  # GROUND, STRIDER or AIR
        ("attacks", np.int8),  # hits a shot, 0 for unarmed kinds
        ("shape", np.int8),  # POINT, LINE or BLAST
    ],
    align=True,
)


MISSILE_SPEEDS = {
    "marauder": 20.0,
    "stalker": 18.75,
    "hydralisk": 40.0,
}  # map units a data second, units.json "delivery"
ZEALOT_SECOND_HIT = 0.28  # data seconds, units.json "delivery"
COLOSSUS_SWEEP = 0.375  # data seconds from the shot to the hit on the main target, units.json "delivery"


def load_stats(version: str = "lotv") -> NDArray[np.void]:
    """(K,) KIND records with the weapons of ``version``: lotv (Legacy of the Void 4.10) or liberty (the mod's files).

    Raises:
        ValueError: another version.
    """
    if version not in STATS:
        raise ValueError(f"Unknown unit stats {version!r}: {nearest_names(version, STATS)}")
    facts = [unit_facts(kind, version) for kind in KINDS]
    table = np.zeros(len(KINDS), KIND)
    for name, values in (body_stats(facts) | ability_stats(facts) | weapon_stats(facts)).items():
        table[name] = values
    return table


def unit_facts(kind: str, version: str) -> dict[str, Any]:
    """Facts of one kind from units.json, with the changes of lotv.json for that version."""
    facts = dict(load_facts("units")["units"][kind])
    if version == "lotv":
        changes = load_facts("lotv")["units"].get(kind, {})
        if "weapon" in changes:
            changes = changes | {"weapon": facts["weapon"] | changes["weapon"]}
        facts |= changes
    return facts | {"kind": kind}


def body_stats(facts: list[dict[str, Any]]) -> dict[str, NDArray[Any]]:
    """Life, size and speed."""

    def values(*keys: str) -> NDArray[np.float64]:
        """The first of ``keys`` that a kind has (some radii are null), else 0."""
        return np.array([next((float(f[k]) for k in keys if f.get(k) is not None), 0.0) for f in facts])

    layers = {"colossus": STRIDER}
    return {
        "health": values("hp"),
        "enemy_health": values("enemy_hp", "hp"),
        "shield": values("shield"),
        "armor": values("armor"),
        "speed": values("speed_normal_per_s") / LOOPS_PER_SECOND,
        "acceleration": values("acceleration") / LOOPS_PER_SECOND**2,
        "radius": values("radius"),
        "separation": values("separation_radius"),
        "inner": values("inner_radius", "separation_radius"),
        "layer": np.array([AIR if f["plane"] == "air" else layers.get(f["kind"], GROUND) for f in facts], np.int8),
        "health_regen": values("hp_regen_normal_per_s") / LOOPS_PER_SECOND,
        "shield_regen": values("shield_regen_normal_per_s") / LOOPS_PER_SECOND,
        "shield_delay": values("shield_regen_delay_normal_s") * LOOPS_PER_SECOND,
    }


def ability_stats(facts: list[dict[str, Any]]) -> dict[str, NDArray[Any]]:
    """Energy and healing, and what marks a kind for the computer player."""
    energy = [f.get("energy", {}) for f in facts]
    heal = [f.get("heal", {}) for f in facts]
    return {
        "energy": np.array([e.get("start", 0.0) for e in energy], float),
        "energy_max": np.array([e.get("max", 0.0) for e in energy], float),
        "energy_regen": np.array([e.get("regen_normal_per_s", 0.0) for e in energy]) / LOOPS_PER_SECOND,
        "heal_rate": np.array([h.get("hp_per_normal_s", 0.0) for h in heal]) / LOOPS_PER_SECOND,
        "heal_cost": np.array([h.get("energy_per_hp", 0.0) for h in heal]),
        "heal_range": np.array([h.get("range", 0.0) for h in heal], float),
        "heal_scan": np.array([h.get("autocast_scan_range", 0.0) for h in heal], float),
        "tagged": np.array([bool(f.get("ai_tags")) for f in facts]),
        "healable": np.array(["biological" in f["attributes"] and "structure" not in f["attributes"] for f in facts]),
    }


def weapon_stats(facts: list[dict[str, Any]]) -> dict[str, NDArray[Any]]:
    """The weapon cycle, its reach and what it does to whom."""
    weapons = [f.get("weapon", {}) for f in facts]
    default_slop = load_facts("units")["engine"]["weapon_defaults"]["range_slop"]
    shapes = {"colossus": LINE, "baneling": BLAST}
    gaps = {"colossus": COLOSSUS_SWEEP, "zealot": ZEALOT_SECOND_HIT}
    return {
        "attacks": np.array([w.get("attacks", 0) for w in weapons], np.int8),
        "hit_gap": np.array([gaps.get(f["kind"], 0.0) for f in facts]) * LOOPS_PER_SECOND,
        "range": np.array([w.get("range", 0.0) for w in weapons], float),
        "slop": np.array([w.get("range_slop", default_slop) for w in weapons], float),
        "scan": np.array([w.get("scan_range", 0.0) for w in weapons], float),
        "period": np.array([w.get("period_normal_s", 0.0) for w in weapons]) * LOOPS_PER_SECOND,
        "windup": np.array([w.get("damage_point_normal_s", 0.0) for w in weapons]) * LOOPS_PER_SECOND,
        "backswing": np.array([w.get("backswing_normal_s", 0.0) for w in weapons]) * LOOPS_PER_SECOND,
        "missile": np.array([MISSILE_SPEEDS.get(f["kind"], 0.0) for f in facts]) / LOOPS_PER_SECOND,
        "fires_idle": np.array([w.get("fires_without_order", False) for w in weapons]),
        "shape": np.array([shapes.get(f["kind"], POINT) for f in facts], np.int8),
        "splash": np.array([w.get("splash_radius", 0.0) for w in weapons], float),
        "damage": np.array([[hit_damage(w, victim) for victim in facts] for w in weapons]),
        "can_hit": np.array([[victim["plane"] in w.get("targets", ()) for victim in facts] for w in weapons]),
    }


def hit_damage(weapon: dict[str, Any], victim: dict[str, Any]) -> float:
    """One hit's damage before armour, with the bonus for the victim's attributes."""
    bonus = sum(extra for label, extra in weapon.get("bonus", {}).items() if label in victim["attributes"])
    return float(weapon.get("damage", 0.0)) + bonus
