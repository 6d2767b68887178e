"""From commands and triggers to orders (ENGINE_RULES rules 2, 6, 11; SMAC.md section 3)."""

from __future__ import annotations

from ibal_lightning.envs.skirmish.battle import ADVANCING, ATTACKING, HEALING, IDLE, MOVING, NOBODY, Fighters, World
from ibal_lightning.envs.skirmish.kernel import kernel, part
from ibal_lightning.envs.skirmish.state import ATTACK, HEAL, MOVE, STOP, Commands
from ibal_lightning.envs.skirmish.switches import STAY


@part
def interrupt(w: World, f: Fighters, i: int) -> None:
    """A new order cancels a shot that has not fallen, which frees the weapon, and ends the backswing (rule 15)."""
    if f[i].windup > 0:
        f[i].windup = 0.0
        f[i].cooldown = 0.0
    f[i].backswing = 0.0
    f[i].target = NOBODY


@part
def can_attack(w: World, f: Fighters, i: int, j: int) -> bool:
    """Whether unit j lives and the weapon of unit i can be aimed at it (ground or air)."""
    return f[j].health > 0 and w.kinds[f[i].kind].can_hit[f[j].kind]


@part
def full_health(w: World, f: Fighters, i: int) -> float:
    """Health of unit i at the start: agents have the map's bodies, enemies the client's."""
    kind = f[i].kind
    return w.kinds[kind].health if i < w.n_agents else w.kinds[kind].enemy_health


@part
def can_heal(w: World, f: Fighters, i: int, j: int) -> bool:
    """Whether healer i could heal unit j: another living, hurt, biological unit."""
    hurt = 0 < f[j].health < full_health(w, f, j)
    return i != j and hurt and w.kinds[f[j].kind].healable and w.kinds[f[i].kind].heal_rate > 0


@part
def order_unit(w: World, f: Fighters, i: int, order: int, target: int) -> None:
    """Order unit i to fight or heal ``target``; repeating the order only ends the backswing (rule 11)."""
    if f[i].order == order and f[i].order_target == target:
        f[i].backswing = 0.0
        return
    interrupt(w, f, i)
    f[i].order = order
    f[i].order_target = target
    f[i].target = target


@part
def obey(w: World, f: Fighters, i: int, ability: int, target: int, x: float, y: float) -> None:
    """Turn the command of agent i into its order; an impossible one leaves the old order (rule 11)."""
    if ability == STOP:
        interrupt(w, f, i)
        f[i].order = IDLE
    elif ability == MOVE:
        interrupt(w, f, i)
        f[i].order = MOVING
        f[i].order_x, f[i].order_y = x, y
    elif ability == ATTACK and can_attack(w, f, i, w.n_agents + target):
        order_unit(w, f, i, ATTACKING, w.n_agents + target)
    elif ability == HEAL and can_heal(w, f, i, target):
        order_unit(w, f, i, HEALING, target)


@part
def closest_ally(w: World, f: Fighters, i: int) -> int:
    """The living ally whose centre is closest to that of enemy i; NOBODY if all are dead."""
    best, least = NOBODY, 1e30
    for j in range(w.n_agents):
        if f[j].health > 0:
            dx, dy = f[j].x - f[i].x, f[j].y - f[i].y
            squared = dx * dx + dy * dy
            if squared < least:
                best, least = j, squared
    return best


@part
def closest_prey(w: World, f: Fighters, i: int) -> int:
    """The closest ally if the weapon of enemy i can be aimed at it; the game refuses another order, so NOBODY."""
    ally = closest_ally(w, f, i)
    return ally if ally != NOBODY and can_attack(w, f, i, ally) else NOBODY


@part
def is_busy(w: World, f: Fighters, i: int) -> bool:
    """Whether unit i has an order or a living target."""
    order, target = f[i].order, f[i].target
    if order == ATTACKING:
        target = f[i].order_target
    elif order != IDLE:
        return True
    return target != NOBODY and f[target].health > 0


@part
def chase(w: World, f: Fighters, i: int) -> None:
    """SMACv2's trigger: an enemy with nothing to do attacks the closest ally until it dies (SMAC.md section 3)."""
    if not is_busy(w, f, i):
        ally = closest_prey(w, f, i)
        if ally != NOBODY:
            order_unit(w, f, i, ATTACKING, ally)


@part
def advance_to(w: World, f: Fighters, i: int, x: float, y: float) -> None:
    """The attack-move that enemy i gets at its creation (rule 6); an enemy medivac may stay instead (rule 10)."""
    if w.kinds[f[i].kind].heal_rate > 0 and w.switches.enemy_medivac == STAY:
        return
    f[i].order = ADVANCING
    f[i].order_x, f[i].order_y = x, y


@part
def count_attackers(w: World, f: Fighters) -> None:
    """Count for every enemy the allies whose order is to attack it (rule 7)."""
    for j in range(w.n_agents, w.n_units):
        f[j].attackers = 0
    for i in range(w.n_agents):
        if f[i].order == ATTACKING:
            f[f[i].order_target].attackers += 1


@kernel
def give_orders(w: World, f: Fighters, g: int, commands: Commands) -> None:
    """All orders of one env step; they take effect before its first loop (rule 2)."""
    for i in range(w.n_agents):
        if f[i].health > 0:
            c = commands
            obey(w, f, i, c.ability[g, i], c.target[g, i], c.x[g, i], c.y[g, i])
    if w.chase:
        for i in range(w.n_agents, w.n_units):
            if f[i].health > 0:
                chase(w, f, i)
    count_attackers(w, f)
