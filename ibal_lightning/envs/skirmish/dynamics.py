"""One game loop of one game: timers, hits, acts and overlap removal (ENGINE_RULES rules 1 to 3), and its report."""

from __future__ import annotations

from ibal_lightning.envs.skirmish.battle import ADVANCING, IDLE, MOVING, NOBODY, Fighters, World
from ibal_lightning.envs.skirmish.combat import fight, land_hits
from ibal_lightning.envs.skirmish.damage import settle_blasts
from ibal_lightning.envs.skirmish.healing import heal, patient
from ibal_lightning.envs.skirmish.kernel import block, kernel, part, thin
from ibal_lightning.envs.skirmish.movement import ARRIVED, has_arrived, separate, walk
from ibal_lightning.envs.skirmish.orders import full_health
from ibal_lightning.envs.skirmish.state import Units
from ibal_lightning.envs.skirmish.targeting import choose_target

SEPARATION_PASSES = 2  # rule 3d
AT_THE_POINT = 0.2  # rule 6: an advancing unit stays this close to its point


@part
def run_timers(w: World, f: Fighters, i: int) -> None:
    """Cooldown, backswing, shields, energy and zerg regeneration of unit i advance by one loop (rules 3a, 17)."""
    kind = f[i].kind
    f[i].cooldown = max(f[i].cooldown - 1.0, 0.0)
    f[i].backswing = max(f[i].backswing - 1.0, 0.0)
    f[i].healed = False
    if w.kinds[kind].shield_regen > 0:
        f[i].quiet += 1.0
        if f[i].quiet > w.kinds[kind].shield_delay:
            f[i].shield = min(w.kinds[kind].shield, f[i].shield + w.kinds[kind].shield_regen)
    if w.kinds[kind].health_regen > 0:
        f[i].health = min(full_health(w, f, i), f[i].health + w.kinds[kind].health_regen)
    if w.kinds[kind].energy_max > 0:
        f[i].energy = min(w.kinds[kind].energy_max, f[i].energy + w.kinds[kind].energy_regen)


@thin
def follow_order(w: World, f: Fighters, i: int) -> None:
    """Unit i has nobody to fight: it walks where its order says, or stays."""
    order = f[i].order
    if order != MOVING and order != ADVANCING:
        return
    if has_arrived(w, f, i, ARRIVED if order == MOVING else AT_THE_POINT):
        f[i].order = IDLE
        f[i].pace = 0.0
    elif f[i].backswing <= 0:
        walk(w, f, i, f[i].order_x, f[i].order_y, 0.0)


@thin
def act(w: World, f: Fighters, i: int) -> None:
    """Unit i chooses whom to fight or heal, and shoots, walks or stays (rule 3c)."""
    if f[i].health <= 0:
        return
    f[i].fighting = False
    if w.kinds[f[i].kind].heal_rate > 0:
        target = patient(w, f, i)
        f[i].target = target
        if target != NOBODY:
            heal(w, f, i, target)
    else:
        target = choose_target(w, f, i)
        fight(w, f, i, target)
        settle_blasts(w, f)
    if target == NOBODY:
        follow_order(w, f, i)


@kernel
def run_loop(w: World, f: Fighters) -> None:
    """One game loop (rule 3)."""
    for i in range(w.n_units):
        if f[i].health > 0:
            run_timers(w, f, i)
    for i in range(w.n_units):
        land_hits(w, f, i)
    settle_blasts(w, f)
    start = w.n_agents if w.switches.enemies_first else 0
    for k in range(w.n_units):
        i = start + k
        act(w, f, i if i < w.n_units else i - w.n_units)
    if w.switches.separation:
        separate(w, f, SEPARATION_PASSES)


@block
def report(w: World, f: Fighters, units: Units, g: int) -> None:
    """Show game g to the interface; what died keeps the values of its last report, as in the genuine packages."""
    for i in range(w.n_units):
        units.prev_health[g, i], units.prev_shield[g, i] = units.health[g, i], units.shield[g, i]
        units.health[g, i] = f[i].health
        if f[i].health > 0:
            units.x[g, i], units.y[g, i] = f[i].x, f[i].y
            units.shield[g, i], units.energy[g, i] = f[i].shield, f[i].energy
            units.cooldown[g, i] = f[i].cooldown
