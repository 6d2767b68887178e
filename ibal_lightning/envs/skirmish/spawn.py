"""How an episode of a game starts (ENGINE_RULES rules 4, 5, 19 to 21; SMAC.md section 2)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ibal_lightning.envs.skirmish.battle import IDLE, NOBODY, TEAM_KINDS, Fighters, World
from ibal_lightning.envs.skirmish.dynamics import report
from ibal_lightning.envs.skirmish.kernel import block, kernel, part
from ibal_lightning.envs.skirmish.orders import advance_to, chase, full_health
from ibal_lightning.envs.skirmish.placement import draw_reflected, draw_surrounded, settle, stand_apart
from ibal_lightning.envs.skirmish.rng import COMBAT, SPAWN, mix, stream_key, uniform
from ibal_lightning.envs.skirmish.state import Units


class EpisodeName(NamedTuple):
    """What an episode's random streams depend on."""

    seed: int
    game: int
    episode: int


POINT_DRAW = 1 << 40  # counter of the SPAWN stream that chooses the point enemies advance to


@part
def pick_kind(w: World, draw: float) -> int:
    """Index into the team's kinds of a uniform draw."""
    choice = 0
    while choice < TEAM_KINDS - 1 and draw >= w.team_share[choice]:
        choice += 1
    return choice


@part
def pick_alike(w: World, draw: float, others: int, choice: int) -> int:
    """Kind of the next unit of a team drawn from all multisets alike, when the one before is of kind ``choice``.

    A multiset is a row of units with a divider before each further kind, and every row is equally likely: the next
    item is a divider with the share that dividers have of what is left, ``others`` units after this one.
    """
    dividers = w.team_kinds - 1 - choice
    units = others + 1
    nothing = 1.0  # probability that no divider comes before the unit
    for skipped in range(dividers):
        left = dividers - skipped
        passes = nothing * units / (units + left)
        if draw < passes:
            return choice + skipped
        draw -= passes
        nothing -= passes
    return w.team_kinds - 1


@block
def draw_team(w: World, f: Fighters, key: np.uint64, counter: int, first: int, last: int) -> int:
    """Draw the kinds of units first..last-1, again while all are exceptions; returns the next counter."""
    while True:
        plain, choice = first == last, 0
        for i in range(first, last):
            draw = uniform(key, counter)
            choice = pick_alike(w, draw, last - 1 - i, choice) if w.all_teams else pick_kind(w, draw)
            counter += 1
            f[i].kind = w.team_kind[choice]
            plain |= w.team_exception[choice] == 0
        if plain:
            return counter


@part
def shuffle_kinds(f: Fighters, key: np.uint64, counter: int, last: int) -> int:
    """Put the kinds of units 0..last-1 in a random order; returns the next counter."""
    for i in range(last - 1, 0, -1):
        j = int(uniform(key, counter) * (i + 1))
        f[i].kind, f[j].kind = f[j].kind, f[i].kind
        counter += 1
    return counter


@block
def draw_battle(w: World, f: Fighters, key: np.uint64, counter: int) -> int:
    """SMACv2's teams (the enemy's is a copy, any surplus a second draw) and positions."""
    n = w.n_agents
    counter = draw_team(w, f, key, counter, 0, n)
    if w.all_teams:  # drawn kind by kind
        counter = shuffle_kinds(f, key, counter, n)
    for i in range(n, min(2 * n, w.n_units)):
        f[i].kind = f[i - n].kind
    counter = draw_team(w, f, key, counter, min(2 * n, w.n_units), w.n_units)
    if w.fixed_starts:
        stand_apart(w, f)
        return counter
    counter += 1
    if uniform(key, counter - 1) < w.reflected:
        return draw_reflected(w, f, key, counter)
    return draw_surrounded(w, f, key, counter)


@part
def swap_places(w: World, f: Fighters, i: int, j: int) -> None:
    """Exchange kind and position of two units."""
    f[i].kind, f[j].kind = f[j].kind, f[i].kind
    f[i].x, f[j].x = f[j].x, f[i].x
    f[i].y, f[j].y = f[j].y, f[i].y


@part
def precedes(w: World, f: Fighters, i: int, j: int) -> bool:
    """Whether unit i comes before unit j by (kind, x, y), the order of the agents' ids (rule 5)."""
    if f[i].kind != f[j].kind:
        return f[i].kind < f[j].kind
    if f[i].x != f[j].x:
        return f[i].x < f[j].x
    return f[i].y < f[j].y


@part
def deal_from_ends(w: World, f: Fighters, key: np.uint64, counter: int) -> None:
    """Send each enemy, in the order of their creation, to the first or the last free slot, at even odds."""
    first, last = w.n_agents, w.n_units - 1
    while first < last:  # the next to be dealt stands at ``first``, the others in order behind it
        if uniform(key, counter) < 0.5:
            first += 1
        else:
            for i in range(first, last):
                swap_places(w, f, i, i + 1)
            last -= 1
        counter += 1


@block
def number_units(w: World, f: Fighters, key: np.uint64, counter: int) -> None:
    """Sort the allies into agent ids (rule 5) and deal the enemies, in the order of their creation, to slots (rule 4).

    Each takes the first or the last slot that is still free, so that the kinds created first sit at the ends and the
    last ones in the middle: what trained policies have seen (docs/fidelity.md). The study dealt them anywhere.
    """
    for i in range(1, w.n_agents):
        j = i
        while j > 0 and precedes(w, f, j, j - 1):
            swap_places(w, f, j, j - 1)
            j -= 1
    if w.switches.slots_from_ends:
        deal_from_ends(w, f, key, counter)
        return
    for k in range(w.n_units - w.n_agents - 1, 0, -1):
        other = int(uniform(key, counter + k) * (k + 1))
        swap_places(w, f, w.n_agents + k, w.n_agents + other)


@kernel
def reset_unit(w: World, f: Fighters, i: int, key: np.uint64) -> None:
    """Give unit i the full life of its kind and nothing to do; it looks south, as triggers create units (inferred)."""
    kind = f[i].kind
    f[i].health, f[i].shield, f[i].energy = full_health(w, f, i), w.kinds[kind].shield, w.kinds[kind].energy
    f[i].cooldown, f[i].windup, f[i].backswing, f[i].hit_timer = 0.0, 0.0, 0.0, 0.0
    f[i].order, f[i].order_target, f[i].target, f[i].hit_target = IDLE, NOBODY, NOBODY, NOBODY
    f[i].face_x, f[i].face_y, f[i].side = 0.0, -1.0, 0
    f[i].quiet, f[i].attackers, f[i].pace = w.kinds[kind].shield_delay, 0, 0.0
    f[i].fighting, f[i].healed, f[i].exploding = False, False, False
    f[i].key, f[i].draws = mix(key ^ np.uint64(i)), 0
    f[i].dealt = 0.0


@block
def place_units(w: World, f: Fighters, start: Fighters, offsets: NDArray[np.float64], key: np.uint64) -> None:
    """Kinds and positions of all units: drawn (SMACv2) or those of ``start``, then agent ids and enemy slots."""
    counter = 0
    if w.drawn:
        counter = draw_battle(w, f, key, counter)
        settle(w, f, offsets)
    else:
        for i in range(w.n_units):
            f[i].kind, f[i].x, f[i].y = start[i].kind, start[i].x, start[i].y
    number_units(w, f, key, counter)


@part
def middle(w: World, f: Fighters) -> tuple[float, float]:
    """Mean position of the enemies."""
    x, y, n = 0.0, 0.0, w.n_units - w.n_agents
    for i in range(w.n_agents, w.n_units):
        x += f[i].x / n
        y += f[i].y / n
    return x, y


@kernel
def give_first_orders(w: World, f: Fighters, key: np.uint64) -> None:
    """The order that the map gives its enemies at their creation (SMAC.md section 3).

    One order to a group is marched in formation: in recordings of 27m_vs_30m the grid of the spawn is still whole in
    mid-field. That its middle goes to the point is inferred.
    """
    if w.hunt:
        for i in range(w.n_agents, w.n_units):
            chase(w, f, i)
    if not w.advance:
        return
    way = uniform(key, POINT_DRAW)
    x, y = w.start_x + (w.end_x - w.start_x) * way, w.start_y + (w.end_y - w.start_y) * way
    mid_x, mid_y = middle(w, f)
    for i in range(w.n_agents, w.n_units):
        if w.switches.formation:
            advance_to(w, f, i, x + f[i].x - mid_x, y + f[i].y - mid_y)
        else:
            advance_to(w, f, i, x, y)


@block
def start_game(w: World, f: Fighters, start: Fighters, offsets: NDArray[np.float64], name: EpisodeName) -> None:
    """Begin an episode, before its first loops: everything random in it depends on its name only."""
    key = stream_key(name.seed, name.game, name.episode, SPAWN)
    combat = stream_key(name.seed, name.game, name.episode, COMBAT)
    place_units(w, f, start, offsets, key)
    for i in range(w.n_units):
        reset_unit(w, f, i, combat)
    give_first_orders(w, f, key)


@block
def report_start(w: World, f: Fighters, units: Units, g: int, ally_health: float) -> None:
    """Show the start of an episode of game g; every ally begins with ``ally_health`` of its full health."""
    for i in range(w.n_agents):
        f[i].health *= ally_health
    for i in range(w.n_units):
        units.kind[g, i] = f[i].kind
        units.health_max[g, i], units.shield_max[g, i] = full_health(w, f, i), w.kinds[f[i].kind].shield
    report(w, f, units, g)
    report(w, f, units, g)
