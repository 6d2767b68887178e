"""Whom a unit fights: who bears an AI tag, then attackers, with preemption (ENGINE_RULES rules 6 to 9)."""

from __future__ import annotations

import math

from ibal_lightning.envs.skirmish.battle import ADVANCING, ATTACKING, IDLE, NOBODY, Fighters, World
from ibal_lightning.envs.skirmish.kernel import part
from ibal_lightning.envs.skirmish.orders import can_attack, closest_prey

# Units with an AI tag come before classes (i), (ii), (iii) of rule 7.
TAGGED, THREAT_NOW, THREAT, HARMLESS = 0, 1, 2, 3
LEASH = 21.0  # map units, acquire_leash_radius of units.json


@part
def distance(w: World, f: Fighters, i: int, j: int) -> float:
    """Between the centres of two units, in map units."""
    dx = f[j].x - f[i].x
    dy = f[j].y - f[i].y
    return math.sqrt(dx * dx + dy * dy)


@part
def gap(w: World, f: Fighters, i: int, j: int) -> float:
    """Between the edges of two units: what ranges are measured by (rule 13)."""
    return distance(w, f, i, j) - w.kinds[f[i].kind].radius - w.kinds[f[j].kind].radius


@part
def attacks(w: World, f: Fighters, i: int, j: int) -> bool:
    """Whether the order of unit i is an attack on unit j; having the order counts, even before a shot (rule 7)."""
    return f[i].order == ATTACKING and f[i].order_target == j


@part
def is_tagged(w: World, f: Fighters, j: int) -> bool:
    """Whether ally j bears an AI tag (colossus, medivac, baneling) and enemies look for those (``tagged_first``)."""
    return w.tagged and w.kinds[f[j].kind].tagged


@part
def threat_class(w: World, f: Fighters, i: int, j: int) -> int:
    """How much enemy i minds ally j: tagged, attacks it, could hit it or heals, or neither (rule 7)."""
    if is_tagged(w, f, j):
        return TAGGED
    if w.switches.attackers_first and attacks(w, f, j, i):
        return THREAT_NOW
    kind = f[j].kind
    return THREAT if w.kinds[kind].can_hit[f[i].kind] or w.kinds[kind].heal_rate > 0 else HARMLESS


@part
def scan_range(w: World, f: Fighters, i: int) -> float:
    """How far unit i looks for targets, edge to edge (rule 6)."""
    return w.kinds[f[i].kind].scan + w.switches.scan_bonus


@part
def best_target(w: World, f: Fighters, i: int, worst: int) -> int:
    """The nearest ally in scan range of the most threatening class up to ``worst``; NOBODY if there is none."""
    best, best_class, least = NOBODY, worst, 1e30
    reach = scan_range(w, f, i)
    for j in range(w.n_agents):
        if can_attack(w, f, i, j):
            away = gap(w, f, i, j)
            if away <= reach:
                rank = threat_class(w, f, i, j)
                if rank < best_class or (rank == best_class and away < least):
                    best, best_class, least = j, rank, away
    return best


@part
def lost(w: World, f: Fighters, i: int, j: int) -> bool:
    """Whether enemy i gives target j up: dead, or out of scan range; of the first two classes, off the leash."""
    if f[j].health <= 0:
        return True
    away = gap(w, f, i, j)
    if away <= scan_range(w, f, i):
        return False
    return away > LEASH or not w.switches.leash or threat_class(w, f, i, j) > THREAT_NOW


@part
def may_switch(w: World, f: Fighters, i: int, target: int) -> bool:
    """Whether enemy i looks for somebody more urgent than its target: not during a damage point or on its way."""
    if not w.switches.preempt or f[i].windup > 0 or not (f[i].attackers > 0 or w.tagged):
        return False
    return not w.switches.pursue or gap(w, f, i, target) <= w.kinds[f[i].kind].range


@part
def acquire(w: World, f: Fighters, i: int) -> int:
    """The target of an idle or advancing enemy, looked at anew in every loop.

    Kept until it is ``lost`` (rule 8), except that a tagged unit or one with the order to attack it
    takes the place of one less threatening (rule 7), if the enemy ``may_switch``.
    """
    target = f[i].target
    if target == NOBODY or lost(w, f, i, target):
        return best_target(w, f, i, HARMLESS)
    if may_switch(w, f, i, target):
        worst = min(threat_class(w, f, i, target) - 1, THREAT_NOW)
        if worst >= (TAGGED if w.tagged else THREAT_NOW):  # else nobody is more urgent than the target
            urgent = best_target(w, f, i, worst)
            return urgent if urgent != NOBODY else target
    return target


@part
def idle_target(w: World, f: Fighters, i: int) -> int:
    """Whom an agent's unit shoots at without an order: the nearest in range, and until the next command that one."""
    best, least = NOBODY, w.kinds[f[i].kind].range
    last = f[i].target
    if last != NOBODY and f[last].health > 0 and gap(w, f, i, last) <= least:
        return last
    for j in range(w.n_agents, w.n_units):
        if can_attack(w, f, i, j):
            away = gap(w, f, i, j)
            if away <= least:
                best, least = j, away
    return best


@part
def choose_target(w: World, f: Fighters, i: int) -> int:
    """The unit that i fights in this loop, or NOBODY; an attack order ends when its target is dead (rule 11).

    Without an order enemies look for somebody, agents do not, but for a weapon that fires on its own (``idle_fire``).
    That of a hunting enemy is on all allies and goes on with the next (SMAC.md section 3).
    """
    order = f[i].order
    if order == ATTACKING:
        target = f[i].order_target
        if f[target].health > 0:
            return target
        if w.hunt and i >= w.n_agents:
            target = closest_prey(w, f, i)
            if target != NOBODY:
                f[i].order_target = target
                return target
        f[i].order = IDLE
        order = IDLE
    if i >= w.n_agents and order in (IDLE, ADVANCING):
        return acquire(w, f, i)
    if order == IDLE and w.switches.idle_fire and w.kinds[f[i].kind].fires_idle:
        return idle_target(w, f, i)
    return NOBODY
