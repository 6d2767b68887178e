"""What a hit does: shields, armour, death, and the shapes of splash (ENGINE_RULES rule 17, units.json)."""

from __future__ import annotations

import math

from ibal_lightning.envs.skirmish.battle import IDLE, Fighters, World
from ibal_lightning.envs.skirmish.kernel import part
from ibal_lightning.envs.skirmish.stats import BLAST

LEAST_DAMAGE = 0.5  # a hit, units.json "damage_formula"
# The colossus' line: samples of a search across the shot (units.json "delivery").
LINE_REACH, LINE_PITCH, LINE_RADIUS = 1.25, 0.25, 0.15


@part
def hit(w: World, f: Fighters, j: int, amount: float) -> None:
    """Deal one hit of ``amount`` before armour to unit j: shield first, the rest minus armour (rule 17)."""
    if f[j].health <= 0:
        return
    f[j].quiet = 0.0
    absorbed = min(f[j].shield, amount)
    f[j].shield -= absorbed
    rest = amount - absorbed
    if rest > 0:
        armor = w.kinds[f[j].kind].armor if w.switches.armor else 0.0
        f[j].health = max(0.0, f[j].health - max(rest - armor, LEAST_DAMAGE))
        if f[j].health <= 0:
            die(w, f, j)


@part
def die(w: World, f: Fighters, j: int) -> None:
    """Unit j is dead; a baneling explodes wherever it dies (units.json, death response BanelingExplode)."""
    f[j].health = 0.0
    f[j].order = IDLE
    f[j].windup = 0.0
    if w.kinds[f[j].kind].shape == BLAST:
        f[j].exploding = True


@part
def strike(w: World, f: Fighters, i: int, j: int, times: int) -> None:
    """``times`` hits of the weapon of unit i on unit j; armour applies to each (units.json)."""
    amount = w.kinds[f[i].kind].damage[f[j].kind]
    before = f[j].health + f[j].shield
    for _ in range(times):
        hit(w, f, j, amount)
    f[i].dealt += before - (f[j].health + f[j].shield)


@part
def blast(w: World, f: Fighters, i: int) -> None:
    """The explosion of baneling i: full damage to every hostile ground unit whose edge is within the radius."""
    first, last = (w.n_agents, w.n_units) if i < w.n_agents else (0, w.n_agents)
    for j in range(first, last):
        reach = w.kinds[f[i].kind].splash + w.kinds[f[j].kind].radius
        dx, dy = f[j].x - f[i].x, f[j].y - f[i].y
        if dx * dx + dy * dy <= reach * reach and w.kinds[f[i].kind].can_hit[f[j].kind]:
            strike(w, f, i, j, 1)


@part
def settle_blasts(w: World, f: Fighters) -> None:
    """Deal the blasts of all banelings that died, and of those that die of them."""
    settled = not w.explosive
    while not settled:
        settled = True
        for i in range(w.n_units):
            if f[i].exploding:
                settled = False
                f[i].exploding = False
                blast(w, f, i)


@part
def line_distance(along: float, across: float) -> float:
    """From the nearest sample of the colossus' line to a point ``along`` the line and ``across`` it, in map units."""
    sample = min(max(round(along / LINE_PITCH) * LINE_PITCH, -LINE_REACH), LINE_REACH)
    return math.sqrt((along - sample) ** 2 + across * across)


@part
def sweep(w: World, f: Fighters, i: int, target: int) -> None:
    """Both sweeps of colossus i over the line through its target across the shot, the target itself excepted."""
    dx, dy = f[target].x - f[i].x, f[target].y - f[i].y
    length = max(math.sqrt(dx * dx + dy * dy), 1e-6)
    dx, dy = dx / length, dy / length
    first, last = (w.n_agents, w.n_units) if i < w.n_agents else (0, w.n_agents)
    for j in range(first, last):
        if j != target and f[j].health > 0 and w.kinds[f[i].kind].can_hit[f[j].kind]:
            x, y = f[j].x - f[target].x, f[j].y - f[target].y
            if line_distance(y * dx - x * dy, x * dx + y * dy) <= LINE_RADIUS + w.kinds[f[j].kind].radius:
                strike(w, f, i, j, w.kinds[f[i].kind].attacks)
