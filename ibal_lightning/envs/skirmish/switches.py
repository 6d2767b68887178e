"""Rules of the battle that the study could not settle, as switches.

Defaults follow ENGINE_RULES section 2 but for slots_from_ends, tagged_first, pursue, leash, idle_fire, formation,
turn_stops, own_fighters_block and path_finding: see docs/fidelity.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ibal_lightning.envs.skirmish.catalogue import Scenario
from ibal_lightning.envs.skirmish.checks import is_number, is_whole
from ibal_lightning.messages import nearest_names

WALK, STAY, HEAL_AUTOMATICALLY = 0, 1, 2
# Map units: from the scan range of units.json and lotv.json to the whole map; loops: 20 env steps.
LIMITS = {"scan_bonus": (0.0, 32.0), "initial_loops": (0, 160)}
# Switches of several choices, and what the compiled functions read for each.
CHOICES = {"enemy_medivac": {"walk": WALK, "stay": STAY, "heal": HEAL_AUTOMATICALLY}}


class Switches(NamedTuple):
    """One flag a rule; the rule's number in ENGINE_RULES stands behind it."""

    slots_from_ends: bool = True  # 4: each enemy takes the first or the last free slot, else any (docs/fidelity.md)
    tagged_first: bool = True  # 7: enemies that seek a target take who bears an AI tag (docs/fidelity.md)
    attackers_first: bool = True  # 7: enemies prefer whoever has the order to attack them
    preempt: bool = True  # 7: they drop their target for such a unit at once
    pursue: bool = True  # 7: but not while they are on their way to it (docs/fidelity.md)
    leash: bool = True  # 8: they follow such a unit, or an attacker, beyond their scan range (docs/fidelity.md)
    scan_bonus: float = 0.0  # 6: added to the scan range
    enemies_first: bool = True  # 3: which side acts first in a loop (inferred, docs/fidelity.md has the sensitivity)
    formation: bool = True  # 6: enemies keep their places relative to one another on the march
    acceleration: bool = False  # 12: medivacs take time to speed up, as the data say; policies cannot tell
    turning: bool = True  # 12: turning takes time
    turn_stops: bool = False  # 12: in which units do not walk, or at half their speed (docs/fidelity.md)
    blocking: bool = True  # 14: units of opposite sides block one another
    own_fighters_block: bool = True  # 14: so do comrades that fight (docs/fidelity.md)
    separation: bool = True  # 14: units of one side are pushed apart
    idle_fire: bool = True  # 11: a colossus without an order fires at what is in range (docs/fidelity.md)
    windup: bool = True  # 15: damage point
    backswing: bool = True  # 15: no walking right after a shot
    jitter: bool = True  # 15: random delay of the weapon period
    missiles: bool = True  # 16: projectiles take time to fly
    second_hit: bool = True  # 16: a zealot's second blade falls later
    armor: bool = True  # 17
    enemy_medivac: int = WALK  # 10: WALK, STAY or HEAL_AUTOMATICALLY
    initial_loops: int = 2  # 20: loops the enemies walk before the first observation; 1 where teams are drawn (SMACv2)
    path_finding: bool = True  # walk around cliffs by shortest paths (inferred: the study had open maps only)


# The same as a record that compiled functions read.
SWITCHES = np.dtype([(name, type(value)) for name, value in Switches()._asdict().items()], align=True)


def make_switches(
    scenario: Scenario, options: Mapping[str, Any], *, defaults: Mapping[str, Any] | None = None
) -> Switches:
    """Switches from options under the names above; those of ``CHOICES`` by the names there.

    ``defaults`` are those of the spawn, which options may change.

    The enemy medivac walks without healing on SMAC maps (measured on MMM, mechanism unknown). On SMACv2 it never gets
    a valid order and heals by autocast while idle (SMAC.md section 3), and one loop passes between the creation of the
    teams and the first observation (section 2).

    Raises:
        ValueError: an unknown name or a value of the wrong kind.
    """
    if not isinstance(options, Mapping):
        raise ValueError(f"switches must name battle switches and their values ({{jitter: false}}), not {options!r}")
    chosen: dict[str, Any] = {}
    if scenario.order.kind == "chase":
        chosen = {"enemy_medivac": HEAL_AUTOMATICALLY, "initial_loops": 1}
    for name, value in {**(defaults or {}), **options}.items():
        if name not in Switches._fields:
            raise ValueError(f"Unknown battle switch {name!r}: {nearest_names(str(name), Switches._fields)}")
        chosen[name] = parse_switch(name, value)
    return Switches(**chosen)


def changed_switches(scenario: Scenario, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``options`` that differ from the scenario's defaults, as compiled functions read them."""
    default = make_switches(scenario, {})._asdict()
    return {name: value for name, value in make_switches(scenario, options)._asdict().items() if value != default[name]}


def parse_switch(name: str, value: Any) -> bool | int | float:
    """The value of a switch in the type the compiled functions expect."""
    if name in CHOICES:
        if not isinstance(value, str) or value not in CHOICES[name]:
            raise ValueError(f"Unknown {name} {value!r}: {nearest_names(str(value), CHOICES[name])}")
        return CHOICES[name][value]
    default = getattr(Switches(), name)
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise ValueError(f"Battle switch {name} must be true or false, not {value!r}")
        return value
    wanted, is_wanted = ("whole number", is_whole) if isinstance(default, int) else ("number", is_number)
    low, high = LIMITS[name]
    if not is_wanted(value) or not low <= value <= high:
        raise ValueError(f"Battle switch {name} must be a {wanted} from {low} to {high}, not {value!r}")
    return type(default)(value)
