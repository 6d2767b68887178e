"""What SMACv2 draws for every agent at the start of an episode: how well it fires, when it dies, whom it makes out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ibal_lightning.envs.skirmish.battle import Fighters, World
from ibal_lightning.envs.skirmish.damage import die, settle_blasts
from ibal_lightning.envs.skirmish.kernel import part
from ibal_lightning.envs.skirmish.memory import Memory
from ibal_lightning.envs.skirmish.rng import uniform
from ibal_lightning.envs.skirmish.rules import Rules
from ibal_lightning.envs.skirmish.state import Units

BELOW_ONE = 1.0 - 2.0**-53  # the largest level: health is shown in units of 1 - level
EPISODE_DRAWS = 1 << 40  # counters of the OBSERVE stream from here on belong to what is drawn once an episode


@part
def between(low: float, high: float, draw: float) -> float:
    """A uniform draw from [0, 1) as one from [low, high)."""
    return low + (high - low) * draw


@part
def draw_abilities(rules: Rules, memory: Memory, g: int) -> None:
    """Attack probabilities, enemy masks and health levels of game g, drawn once an episode."""
    key, n = np.uint64(memory.key[g]), rules.n_agents
    masks = EPISODE_DRAWS + n
    levels = masks + n * rules.n_enemies
    for i in range(n):
        if rules.stochastic_attack:
            share = uniform(key, EPISODE_DRAWS + i)
            memory.attack_probability[g, i] = between(rules.attack_low, rules.attack_high, share)
        if rules.mask_enemies:
            for e in range(rules.n_enemies):
                memory.enemy_hidden[g, i, e] = uniform(key, masks + i * rules.n_enemies + e) >= rules.mask_keep
        if rules.stochastic_health:
            level = between(rules.health_low, rules.health_high, uniform(key, levels + i))
            memory.health_level[g, i] = min(level, BELOW_ONE)


@part
def shown_health(rules: Rules, units: Units, memory: Memory, g: int, i: int) -> float:
    """Agent i's share of health; with health levels, how much of it lies above its own (``_compute_health``)."""
    share = np.float64(units.health[g, i]) / units.health_max[g, i]
    if not rules.stochastic_health:
        return share
    level = memory.health_level[g, i]
    return (1.0 / (1.0 - level)) * (share - level)


@part
def write_abilities(rules: Rules, memory: Memory, g: int, i: int, row: NDArray[np.float32], at: int) -> int:
    """Attack probability and health level of agent i, where they are drawn, from column ``at`` on; returns the next."""
    if rules.stochastic_attack:
        row[at] = memory.attack_probability[g, i]
        at += 1
    if rules.stochastic_health:
        row[at] = memory.health_level[g, i]
        at += 1
    return at


@part
def kill_weak(w: World, f: Fighters, units: Units, memory: Memory, g: int) -> None:
    """Kill the agents whose health was below their level when the step began (``_kill_units_below_health_level``).

    The package looks at what it observed after the step before, so whoever falls below the level lives another step;
    one that was healed meanwhile dies all the same. A baneling explodes as it does wherever it dies (inferred).
    """
    for i in range(w.n_agents):
        level = memory.health_level[g, i]
        if f[i].health > 0 and np.float64(units.health[g, i]) / units.health_max[g, i] < level:
            die(w, f, i)
    settle_blasts(w, f)
