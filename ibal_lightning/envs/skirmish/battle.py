"""What a battle is made of: the constant world and the fighters, as records.

Records rather than tuples of arrays, because a compiled function pays for every array it is given; a record costs one
pointer. Every function of the battle takes ``(w, f, ...)``: the world and the U fighters of one game.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ibal_lightning.envs.skirmish.catalogue import Scenario
from ibal_lightning.envs.skirmish.state import KINDS
from ibal_lightning.envs.skirmish.stats import BLAST, KIND
from ibal_lightning.envs.skirmish.switches import SWITCHES, Switches
from ibal_lightning.envs.skirmish.terrain import TERRAIN

World = np.void  # a WORLD record
Fighters = NDArray[np.void]  # (U,) FIGHTER records: allies by agent id, then enemies by slot

# Orders. ATTACKING: one unit until it is dead. ADVANCING: to a point, fighting what comes into scan range.
IDLE, MOVING, ATTACKING, HEALING, ADVANCING = 0, 1, 2, 3, 4
NOBODY = -1
TEAM_KINDS = 3  # kinds that a drawn team may hold

WORLD = np.dtype(
    [
        ("n_agents", np.int64),
        ("n_units", np.int64),
        ("chase", np.bool_),  # idle enemies are sent after the closest ally at every step
        ("hunt", np.bool_),  # the enemies are sent after the allies once: the closest, and the next when it dies
        ("explosive", np.bool_),  # some kind may explode
        ("tagged", np.bool_),  # enemies look for units with an AI tag, and the agents may hold one
        ("drawn", np.bool_),  # SMACv2: teams and positions are drawn in every episode
        ("advance", np.bool_),  # the enemies are sent to a point on the segment start..end
        ("start_x", np.float64),
        ("start_y", np.float64),
        ("end_x", np.float64),
        ("end_y", np.float64),
        ("fixed_starts", np.bool_),  # SMACv2: each side at a point of its own in every episode
        ("reflected", np.float64),  # SMACv2: probability of that start, else surrounded
        ("all_teams", np.bool_),  # every team of these kinds is equally likely, else every unit is drawn by weight
        ("team_kinds", np.int64),  # how many there are
        ("team_kind", np.int64, (TEAM_KINDS,)),
        ("team_share", np.float64, (TEAM_KINDS,)),  # cumulative weights
        ("team_exception", np.int8, (TEAM_KINDS,)),  # 1: no team consists of these alone
        ("switches", SWITCHES),
        ("kinds", KIND, (len(KINDS),)),
        ("terrain", TERRAIN),
    ],
    align=True,
)
FIGHTER = np.dtype(
    [
        ("kind", np.int64),
        ("x", np.float32),  # map units
        ("y", np.float32),
        ("health", np.float32),  # 0: dead
        ("shield", np.float32),
        ("energy", np.float32),
        ("cooldown", np.float32),  # loops until the weapon is ready
        ("pace", np.float32),  # map units walked in the last loop, for kinds that take time to speed up
        ("face_x", np.float32),  # unit vector
        ("face_y", np.float32),
        ("order_x", np.float32),  # point of MOVING or ADVANCING
        ("order_y", np.float32),
        ("windup", np.float32),  # loops until the shot falls, 0 if none is under way
        ("backswing", np.float32),  # loops without walking after a shot
        ("quiet", np.float32),  # loops since the last damage
        ("hit_timer", np.float32),  # loops until a missile, second blade or sweep lands, 0 if none
        ("dealt", np.float32),  # health and shield taken from others; counted anew by whoever reads it
        ("key", np.uint64),  # stream of the unit's random delays
        ("draws", np.int64),  # numbers drawn from it
        ("order", np.int16),
        ("order_target", np.int64),  # unit of ATTACKING or HEALING
        ("target", np.int64),  # unit being fought or healed now, or NOBODY
        ("hit_target", np.int64),
        ("attackers", np.int16),  # allies with the order to attack this unit, counted each step
        ("side", np.int8),  # +1 or -1: the way the unit last turned around an obstacle
        ("fighting", np.bool_),  # stood in range of its target when it last acted
        ("healed", np.bool_),  # has been healed in this loop
        ("exploding", np.bool_),  # died, and its blast has not yet been dealt
    ],
    align=True,
)


def make_world(scenario: Scenario, kinds: NDArray[np.void], terrain: NDArray[np.void], switches: Switches) -> World:
    """The constant record of a scenario from its table of kinds, its ground and the switches."""
    w = np.zeros(1, WORLD)[0]
    w["n_agents"], w["n_units"] = scenario.n_agents, scenario.n_units
    w["kinds"], w["terrain"], w["switches"] = kinds, terrain, tuple(switches)
    order, teams = scenario.order, scenario.teams
    w["chase"], w["hunt"], w["advance"] = (order.kind == kind for kind in ("chase", "attack_units", "attack_move"))
    (w["start_x"], w["start_y"]), (w["end_x"], w["end_y"]) = order.start, order.end
    allies = {group.kind for group in scenario.ally_groups}
    present = allies | {group.kind for group in scenario.enemy_groups}
    if teams:
        allies = present = set(teams.kinds)
        w["drawn"], w["fixed_starts"], w["reflected"] = True, teams.fixed_starts, teams.reflected
        w["all_teams"], w["team_kinds"] = teams.all_teams, len(teams.kinds)
        spare = TEAM_KINDS - len(teams.kinds)  # filled up with the last kind, at no weight
        w["team_kind"] = (*teams.kinds, *teams.kinds[-1:] * spare)
        w["team_share"] = np.cumsum((*teams.weights, *[0.0] * spare))
        w["team_exception"] = [kind in teams.exceptions for kind in w["team_kind"]]
    w["explosive"] = any(kinds[kind]["shape"] == BLAST for kind in present)
    w["tagged"] = switches.tagged_first and any(kinds[kind]["tagged"] for kind in allies)
    return w
