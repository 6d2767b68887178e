"""SMACv2's sharing of sightings: who saw an enemy first, who else may see it, and which rows that wipes.

``get_obs`` of SMACv2 visits the agents in random order. The first agent that has an enemy in sight owns it, every
other agent is then allowed to see it with probability ``prob_obs_enemy`` (1 by default). An agent that is not allowed
to see enemy e finds its rows 0..e wiped, so agents that look before the first one to see e lose those rows.
Sources: ``smacv2`` 577ab5a, ``get_obs``, ``get_obs_agent``, ``step``; quirks 10 and 11 of tests/golden/data/README.md.
"""

from __future__ import annotations

import math

import numpy as np

from ibal_lightning.envs.skirmish.kernel import part
from ibal_lightning.envs.skirmish.masks import in_view
from ibal_lightning.envs.skirmish.memory import Memory
from ibal_lightning.envs.skirmish.rng import uniform
from ibal_lightning.envs.skirmish.rules import Rules
from ibal_lightning.envs.skirmish.state import Units

VISITS = 2  # a reset observes twice: reset() and the runner's own get_obs()


@part
def first_counter(rules: Rules, step: int, visit: int) -> int:
    """Where in the episode's OBSERVE stream the draws of one visit start: order, sightings, attacks."""
    stride = 2 * rules.n_agents + rules.n_enemies * (rules.n_agents - 1)
    return (step * VISITS + visit) * stride


@part
def draw_visits(rules: Rules, memory: Memory, g: int, visit: int) -> None:
    """Shuffle the order in which the agents of game g look, and draw the uniforms that sightings may need."""
    key = np.uint64(memory.key[g])
    counter = first_counter(rules, memory.step[g], visit)
    for i in range(rules.n_agents - 1, 0, -1):
        j = int(uniform(key, counter) * (i + 1))
        counter += 1
        memory.order[g, i], memory.order[g, j] = memory.order[g, j], memory.order[g, i]
    for k in range(memory.draws.shape[1]):
        memory.draws[g, k] = uniform(key, counter + k)


@part
def sights(rules: Rules, units: Units, memory: Memory, g: int, i: int, slot: int) -> bool:
    """Whether the place of a unit, dead or alive, is in agent i's field of view."""
    dx = np.float64(units.x[g, slot]) - np.float64(units.x[g, i])
    dy = np.float64(units.y[g, slot]) - np.float64(units.y[g, i])
    return in_view(rules, memory, g, i, rules.sight[units.kind[g, i]], dx, dy, math.sqrt(dx * dx + dy * dy))


@part
def claim(rules: Rules, memory: Memory, g: int, i: int, e: int, used: int) -> int:
    """Agent i is the first to see enemy e; returns how many draws of this visit are used up."""
    memory.owner[g, e] = i
    memory.seen[g, e, i] = True
    for j in range(rules.n_agents):
        if j != i:
            draw = memory.draws[g, used] if memory.draws.shape[1] > 0 else 0.5
            used += 1
            if draw < rules.prob_obs_enemy:
                memory.seen[g, e, j] = True
    return used


@part
def see_game(rules: Rules, units: Units, memory: Memory, g: int) -> None:
    """Let the agents of game g look in ``memory.order`` and note for each the first enemy row that is not wiped."""
    used = 0
    for k in range(rules.n_agents):
        i = memory.order[g, k]
        first = 0
        if units.health[g, i] > 0 and rules.obs_starcraft:
            for e in range(rules.n_enemies):
                if memory.owner[g, e] < 0 and sights(rules, units, memory, g, i, rules.n_agents + e):
                    used = claim(rules, memory, g, i, e, used)
                if not memory.seen[g, e, i]:
                    first = e + 1
        memory.first_row[g, i] = first


@part
def release_dead(rules: Rules, units: Units, memory: Memory, g: int) -> None:
    """After a step: the dead own nothing, and a dead enemy is nobody's; done every step, as the package does."""
    n, enemies = rules.n_agents, rules.n_enemies
    for i in range(n):
        if units.health[g, i] == 0:
            for e in range(enemies):
                if memory.owner[g, e] == i:
                    release_enemy(rules, memory, g, e)
                    for other in range(enemies):
                        memory.seen[g, other, i] = False
    for e in range(enemies):
        if units.health[g, n + e] == 0:
            release_enemy(rules, memory, g, e)


@part
def release_enemy(rules: Rules, memory: Memory, g: int, e: int) -> None:
    """Nobody has seen enemy e any more."""
    memory.owner[g, e] = -1
    for i in range(rules.n_agents):
        memory.seen[g, e, i] = False
