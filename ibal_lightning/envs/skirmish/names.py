"""Words for every observation feature and action of a battle, in the order of the vectors."""

from __future__ import annotations

from ibal_lightning.envs.skirmish.catalogue import Scenario
from ibal_lightning.envs.skirmish.rules import TYPE_BITS, Rules

DIRECTIONS = ("north", "south", "east", "west")
# The points of the ground features: two moves away in the four directions, one move away diagonally, own cell.
POINTS = (*DIRECTIONS, "northeast", "southwest", "southeast", "northwest", "here")


def obs_names(scenario: Scenario, rules: Rules) -> tuple[str, ...]:
    """One name for each of the D observation features, such as "enemy 3: health".

    Ally k is the k-th teammate in ascending id, counted from 1: for agent 0 its very id.
    """
    clock = ["time"] if rules.obs_timestep_number else []
    if not rules.obs_starcraft:
        return tuple(clock)
    if clock and not rules.second:
        clock = ["unused", "time"]  # SMAC leaves a zero before the value it appends
    names = [f"can move {direction}" for direction in DIRECTIONS]
    names += [f"pathing {point}" for point in POINTS[:8] if rules.obs_pathing_grid]
    names += [f"height {point}" for point in POINTS if rules.obs_terrain_height]
    names += [f"enemy {e}: {trait}" for e in range(rules.n_enemies) for trait in _enemy_traits(scenario, rules)]
    names += [f"ally {k}: {trait}" for k in range(1, rules.n_agents) for trait in _ally_traits(scenario, rules)]
    names += [f"own: {trait}" for trait in _own_traits(scenario, rules)]
    return tuple(names + clock)


def action_names(rules: Rules) -> tuple[str, ...]:
    """One name for each of the A actions, such as "attack enemy 3"."""
    looks = rules.n_actions_no_attack - 6
    names = ["no-op", "stop", *(f"move {direction}" for direction in DIRECTIONS)]
    names += [f"look {360 * k / looks:g} degrees" for k in range(looks)]
    for target in range(rules.n_actions - rules.n_actions_no_attack):
        uses = [f"attack enemy {target}"] if target < rules.n_enemies else []
        uses += [f"heal ally {target}"] if rules.heals and target < rules.n_agents else []
        names.append(" / ".join(uses))
    return tuple(names)


def state_features(rules: Rules) -> tuple[list[str], list[str]]:
    """What the state tells of each agent and of each enemy, under the package's names and in its order.

    That order is not the vector's in SMACv2, which puts the attack probability before the view.
    """
    agent, enemy = ["health", "energy/cooldown", "rel_x", "rel_y"], ["health", "rel_x", "rel_y"]
    agent += ["shield"] * bool(rules.ally_shield) + ["fov_x", "fov_y"] * bool(rules.conic_fov)
    agent += ["attack_probability"] * bool(rules.stochastic_attack) + ["total_health"] * bool(rules.stochastic_health)
    types = [f"type_{bit}" for bit in range(rules.type_bits)]
    return agent + types, enemy + ["shield"] * bool(rules.enemy_shield) + types


def _enemy_traits(scenario: Scenario, rules: Rules) -> list[str]:
    traits = ["can be targeted", "distance", "relative x", "relative y"]
    return traits + _life(rules.obs_all_health, rules.enemy_shield) + _types(scenario, rules, 1)


def _ally_traits(scenario: Scenario, rules: Rules) -> list[str]:
    traits = ["visible", "distance", "relative x", "relative y", *_life(rules.obs_all_health, rules.ally_shield)]
    traits += [*_drawn(rules), *_types(scenario, rules, 0)]
    return traits + [f"last action {name}" for name in action_names(rules) if rules.obs_last_action]


def _own_traits(scenario: Scenario, rules: Rules) -> list[str]:
    traits = _life(rules.obs_own_health, rules.ally_shield) + _drawn(rules)
    traits += ["position x", "position y"] if rules.obs_own_pos else []
    traits += ["view x", "view y"] if rules.conic_fov else []
    return traits + _types(scenario, rules, 0)


def _life(shown: bool, shield: bool) -> list[str]:
    return (["health", "shield"] if shield else ["health"]) if shown else []


def _drawn(rules: Rules) -> list[str]:
    """Names of what SMACv2 draws for an agent."""
    return ["attack probability"] * bool(rules.stochastic_attack) + ["health level"] * bool(rules.stochastic_health)


def _types(scenario: Scenario, rules: Rules, side: int) -> list[str]:
    """Names of the type one-hot of allies (side 0) or enemies (side 1)."""
    return [f"is {kind}" for kind in TYPE_BITS[scenario.map_type][side]] if rules.type_bits else []
