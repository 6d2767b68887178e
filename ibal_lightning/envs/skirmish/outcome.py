"""How an episode starts, what a step earned and whether the battle is over.

``reset``, ``update_units``, ``only_medivac_left``, ``reward_battle`` and ``step`` of the genuine packages; quirks 6
to 9 and 11 of tests/golden/data/README.md.
"""

from __future__ import annotations

import numpy as np

from ibal_lightning.envs.skirmish.abilities import draw_abilities
from ibal_lightning.envs.skirmish.kernel import part, thin
from ibal_lightning.envs.skirmish.memory import Memory, Outputs
from ibal_lightning.envs.skirmish.rng import OBSERVE, stream_key
from ibal_lightning.envs.skirmish.rules import MEDIVAC, Rules
from ibal_lightning.envs.skirmish.state import Units
from ibal_lightning.envs.skirmish.visits import draw_visits, release_dead, see_game

LOST, GOES_ON, WON, DRAWN = -1, 0, 1, 2


@thin
def begin_game(rules: Rules, units: Units, memory: Memory, seed: int, g: int, out: Outputs) -> None:
    """Start the bookkeeping of an episode after its units have been placed; ``memory.episode[g]`` is already set.

    Until an episode of the game has ended, every start adds the enemies' health and shield to ``max_reward``, so the
    first team fixes the reward scale, and a reset before the first end counts twice, as in the packages.
    """
    memory.key[g] = np.int64(stream_key(seed, g, memory.episode[g], OBSERVE))
    memory.step[g] = 0
    if not memory.played[g]:
        for slot in range(rules.n_agents, rules.n_agents + rules.n_enemies):
            memory.max_reward[g] += np.float64(units.health_max[g, slot]) + units.shield_max[g, slot]
    for i in range(rules.n_agents):
        memory.last_actions[g, i] = -1
        memory.fov[g, i, 0] = 1.0
        memory.fov[g, i, 1] = 0.0
        memory.first_row[g, i] = 0
        memory.order[g, i] = i
    for e in range(rules.n_enemies):
        memory.owner[g, e] = -1
        for i in range(rules.n_agents):
            memory.seen[g, e, i] = False
    draw_abilities(rules, memory, g)
    out.reward[g] = 0.0
    out.terminated[g] = False
    out.truncated[g] = False
    out.timeout[g] = False
    out.won[g] = False
    out.dead_allies[g] = 0
    out.dead_enemies[g] = 0
    if rules.second:
        draw_visits(rules, memory, g, 0)
        see_game(rules, units, memory, g)


@part
def outcome_game(rules: Rules, units: Units, memory: Memory, g: int, out: Outputs) -> None:
    """After a step: count it, pay the reward, tell whether the battle is over, forget the dead.

    Reads health and shield of now and of the step before (``prev_*``). Rewards are computed in float64.
    """
    memory.step[g] += 1
    result = battle_result(rules, units, g)
    reward = 0.0 if rules.reward_sparse else battle_reward(rules, units, g)
    if result == WON:
        reward = 1.0 if rules.reward_sparse else reward + rules.reward_win
    elif result == LOST:
        reward = -1.0 if rules.reward_sparse else reward + rules.reward_defeat
    if rules.reward_scale:
        reward /= memory.max_reward[g] / rules.reward_scale_rate
    out.reward[g] = reward
    out.won[g] = result == WON
    out.timeout[g] = result == GOES_ON and memory.step[g] >= rules.episode_limit
    out.truncated[g] = out.timeout[g] and rules.continuing_episode
    out.terminated[g] = result != GOES_ON or (out.timeout[g] and not rules.continuing_episode)
    out.dead_allies[g] = rules.n_agents - count_living(units, g, 0, rules.n_agents)
    out.dead_enemies[g] = rules.n_enemies - count_living(units, g, rules.n_agents, rules.n_agents + rules.n_enemies)
    if out.terminated[g] or out.truncated[g]:
        memory.played[g] = True
    if rules.second:
        release_dead(rules, units, memory, g)


@part
def count_living(units: Units, g: int, first: int, end: int) -> int:
    """How many of the units first..end-1 are alive."""
    living = 0
    for slot in range(first, end):
        if units.health[g, slot] > 0:
            living += 1
    return living


@part
def count_medics(units: Units, g: int, first: int, end: int) -> int:
    """How many of the units first..end-1 are living medivacs."""
    living = 0
    for slot in range(first, end):
        if units.health[g, slot] > 0 and units.kind[g, slot] == MEDIVAC:
            living += 1
    return living


@part
def battle_result(rules: Rules, units: Units, g: int) -> int:
    """WON, LOST, DRAWN (everybody dead at once) or GOES_ON; lost is tested first.

    On maps with medivacs a side of medivacs alone has lost, an empty side too. SMAC counts the enemy as beaten when
    exactly one of them lives and it is a medivac, SMACv2 when all living ones are.
    """
    n, end = rules.n_agents, rules.n_agents + rules.n_enemies
    allies, enemies = count_living(units, g, 0, n), count_living(units, g, n, end)
    if allies == 0 and enemies > 0:
        return LOST
    if rules.heals:
        if allies == count_medics(units, g, 0, n):
            return LOST
        medics = count_medics(units, g, n, end)
        if enemies == medics and (rules.second or enemies == 1):
            return WON
    if enemies == 0:
        return WON if allies > 0 else DRAWN
    return GOES_ON


@part
def battle_reward(rules: Rules, units: Units, g: int) -> float:
    """Damage dealt plus kills, minus own losses unless ``reward_only_positive``; before win bonus and scaling.

    SMAC takes the absolute value when only positive, so healing of the enemy pays too; SMACv2 floors at zero.
    """
    n, total = rules.n_agents, rules.n_agents + rules.n_enemies
    dealt = 0.0
    for slot in range(n, total):
        dealt += lost_points(units, g, slot)
        if units.prev_health[g, slot] > 0 and units.health[g, slot] <= 0:
            dealt += rules.reward_death_value
    if rules.reward_only_positive:
        return max(dealt, 0.0) if rules.second else abs(dealt)
    taken = 0.0
    for slot in range(n):
        taken += lost_points(units, g, slot)
        if units.prev_health[g, slot] > 0 and units.health[g, slot] <= 0:
            taken += rules.reward_death_value
    return dealt - rules.reward_negative_scale * taken


@part
def lost_points(units: Units, g: int, slot: int) -> float:
    """Health and shield that a unit lost in the step, all of it when it died, nothing when it was dead before."""
    if units.prev_health[g, slot] <= 0:
        return 0.0
    before = np.float64(units.prev_health[g, slot]) + units.prev_shield[g, slot]
    if units.health[g, slot] <= 0:
        return before
    return before - units.health[g, slot] - units.shield[g, slot]
