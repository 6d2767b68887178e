"""The medivac: heals on order, and by autocast where the switch says so (ENGINE_RULES rule 10, units.json)."""

from __future__ import annotations

from ibal_lightning.envs.skirmish.battle import HEALING, IDLE, NOBODY, Fighters, World
from ibal_lightning.envs.skirmish.kernel import part
from ibal_lightning.envs.skirmish.movement import walk
from ibal_lightning.envs.skirmish.orders import can_heal, full_health
from ibal_lightning.envs.skirmish.switches import HEAL_AUTOMATICALLY
from ibal_lightning.envs.skirmish.targeting import gap

LEAST_ENERGY = 5.0  # to start an autocast, units.json "min_energy_to_start_autocast"


@part
def worst_hurt(w: World, f: Fighters, i: int) -> int:
    """The comrade that an autocast picks: in scan range and healed by nobody, lowest life fraction, then nearest."""
    best, least, nearest = NOBODY, 2.0, 1e30
    first, last = (0, w.n_agents) if i < w.n_agents else (w.n_agents, w.n_units)
    for j in range(first, last):
        if can_heal(w, f, i, j) and not f[j].healed:
            away, life = gap(w, f, i, j), f[j].health / full_health(w, f, j)
            closer = life < least or (life == least and away < nearest)
            if away <= w.kinds[f[i].kind].heal_scan and closer:
                best, least, nearest = j, life, away
    return best


@part
def patient(w: World, f: Fighters, i: int) -> int:
    """Whom healer i looks after in this loop: the one of its order, or by autocast; NOBODY otherwise."""
    if f[i].order == HEALING:
        if can_heal(w, f, i, f[i].order_target):
            return f[i].order_target
        f[i].order = IDLE
    if i >= w.n_agents and w.switches.enemy_medivac == HEAL_AUTOMATICALLY:
        if f[i].target != NOBODY and can_heal(w, f, i, f[i].target) and f[i].energy > 0:
            return f[i].target
        if f[i].energy >= LEAST_ENERGY:
            return worst_hurt(w, f, i)
    return NOBODY


@part
def heal(w: World, f: Fighters, i: int, j: int) -> None:
    """One loop of healing unit j: rate and cost by the data, one healer a target, or fly up to it."""
    kind = f[i].kind
    if gap(w, f, i, j) > w.kinds[kind].heal_range:
        walk(w, f, i, f[j].x, f[j].y, w.kinds[kind].heal_range)
        return
    f[i].pace = 0.0
    if f[j].healed:
        return
    f[j].healed = True
    full = full_health(w, f, j)
    amount = min(w.kinds[kind].heal_rate, full - f[j].health, f[i].energy / w.kinds[kind].heal_cost)
    f[j].health = min(full, f[j].health + amount)
    f[i].energy = max(0.0, f[i].energy - amount * w.kinds[kind].heal_cost)
