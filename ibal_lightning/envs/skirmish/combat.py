"""The weapon cycle: cooldown, damage point, shot, missile, second blade, backswing (ENGINE_RULES rules 15, 16)."""

from __future__ import annotations

from ibal_lightning.envs.skirmish.battle import NOBODY, Fighters, World
from ibal_lightning.envs.skirmish.damage import die, strike, sweep
from ibal_lightning.envs.skirmish.kernel import part, thin
from ibal_lightning.envs.skirmish.movement import aims_at, walk
from ibal_lightning.envs.skirmish.rng import uniform
from ibal_lightning.envs.skirmish.stats import BLAST, LINE
from ibal_lightning.envs.skirmish.targeting import distance, gap

JITTER_LOW, JITTER_SPAN = -1.0, 3.0  # loops: random delay -0.0625..0.125 data seconds (units.json)


@part
def next_period(w: World, f: Fighters, i: int) -> float:
    """Loops from the start of this shot to the start of the next: period + U(-1, 2) (rule 15)."""
    period = w.kinds[f[i].kind].period
    if w.switches.jitter:
        period += JITTER_LOW + JITTER_SPAN * uniform(f[i].key, f[i].draws)
        f[i].draws += 1
    return period


@part
def flight_time(w: World, f: Fighters, i: int, j: int) -> float:
    """Loops that the missile of unit i needs to unit j, at least 1 (rule 16)."""
    kind = f[i].kind
    return max(1.0, (distance(w, f, i, j) - w.kinds[kind].radius) / w.kinds[kind].missile)


@part
def fire(w: World, f: Fighters, i: int, j: int) -> None:
    """The shot of unit i at unit j falls: damage now, later by missile or sweep, or an explosion."""
    kind = f[i].kind
    if w.switches.backswing:
        f[i].backswing = w.kinds[kind].backswing
    if w.kinds[kind].shape == BLAST:
        die(w, f, i)
    elif w.kinds[kind].shape == LINE:
        f[i].hit_timer, f[i].hit_target = w.kinds[kind].hit_gap, j
    elif w.kinds[kind].missile > 0 and w.switches.missiles:
        f[i].hit_timer, f[i].hit_target = flight_time(w, f, i, j), j
    elif w.kinds[kind].hit_gap > 0 and w.switches.second_hit:
        strike(w, f, i, j, 1)
        f[i].hit_timer, f[i].hit_target = w.kinds[kind].hit_gap, j
    else:
        strike(w, f, i, j, w.kinds[kind].attacks)


@part
def land_hits(w: World, f: Fighters, i: int) -> None:
    """Run the timer of what unit i has under way and deal what is due (rules 3b and 16).

    A missile hits even if its shooter died and is lost if the target died; a second blade needs the zealot alive. A
    colossus burns the line at half the sweep's time (inferred) and its target at the end (units.json).
    """
    kind = f[i].kind
    before = f[i].hit_timer
    if before <= 0:
        return
    after = max(before - 1.0, 0.0)
    f[i].hit_timer = after
    j = f[i].hit_target
    half = 0.5 * w.kinds[kind].hit_gap
    if w.kinds[kind].shape == LINE:
        if before > half >= after:
            sweep(w, f, i, j)
        if after <= 0:
            strike(w, f, i, j, w.kinds[kind].attacks)
    elif after <= 0 and (w.kinds[kind].missile > 0 or f[i].health > 0):
        strike(w, f, i, j, 1)


@part
def wind_up(w: World, f: Fighters, i: int, target: int) -> None:
    """Go on with the damage point: the shot falls when it ends, if the target is still near enough (rule 15)."""
    kind = f[i].kind
    f[i].fighting = True
    f[i].windup -= 1.0
    if f[i].windup <= 0:
        f[i].windup = 0.0
        if gap(w, f, i, target) <= w.kinds[kind].range + w.kinds[kind].slop:
            fire(w, f, i, target)
        else:
            f[i].cooldown = 0.0


@part
def engage(w: World, f: Fighters, i: int, target: int) -> None:
    """Shoot at the target if it is in range and the weapon ready, else wait, or walk up to it."""
    kind = f[i].kind
    if gap(w, f, i, target) > w.kinds[kind].range:
        if f[i].backswing <= 0:
            reach = w.kinds[kind].range + w.kinds[kind].radius + w.kinds[f[target].kind].radius
            walk(w, f, i, f[target].x, f[target].y, reach)
        return
    f[i].fighting = True
    if aims_at(w, f, i, target) and f[i].cooldown <= 0:
        f[i].cooldown = next_period(w, f, i)
        f[i].windup = w.kinds[kind].windup if w.switches.windup else 0.0
        if f[i].windup <= 0:
            fire(w, f, i, target)


@thin
def fight(w: World, f: Fighters, i: int, target: int) -> None:
    """One loop of unit i with a target; changing it during a damage point cancels the shot (rule 15)."""
    if f[i].windup > 0 and target != f[i].target:
        f[i].windup = 0.0
        f[i].cooldown = 0.0
    f[i].target = target
    if target == NOBODY:
        return
    if f[i].windup > 0:
        wind_up(w, f, i, target)
    else:
        engage(w, f, i, target)
