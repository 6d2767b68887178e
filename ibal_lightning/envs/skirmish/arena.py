"""Everything that the engine's compiled loops need of a batch of games, allocated once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ibal_lightning.envs.skirmish.battle import FIGHTER, Fighters, World, make_world
from ibal_lightning.envs.skirmish.catalogue import Scenario
from ibal_lightning.envs.skirmish.memory import Memory, Outputs, allocate_memory, allocate_outputs
from ibal_lightning.envs.skirmish.placement import check_room, fitted_spawn, lattice_offsets, starting_fighters
from ibal_lightning.envs.skirmish.rules import RULES, Rules
from ibal_lightning.envs.skirmish.state import Commands, Units, allocate_commands, allocate_units
from ibal_lightning.envs.skirmish.stats import load_stats
from ibal_lightning.envs.skirmish.switches import Switches, make_switches
from ibal_lightning.envs.skirmish.terrain import make_terrain

# One call of the compiled loop, all games alike: a reset or a step, whole or in parts (a recorder looks in between).
JOB = np.dtype(
    [
        ("restart", np.bool_),  # new episodes in the chosen games, else an env step
        ("begins", np.bool_),  # place the units, or give the orders
        ("ends", np.bool_),  # show what came of it
        ("loops", np.int64),  # game loops in between
        ("kill", np.int64),  # the one of them before which agents below their health level die; -1 none
        ("seed", np.int64),  # of every random stream
        ("ally_health", np.float64),  # share of their health with which allies start
    ],
    align=True,
)

DRAWN = ("fixed_starts", "reflected", "all_teams", "team_kinds", "team_kind", "team_share", "team_exception")


class Arena(NamedTuple):
    """Constants and state of B games of U units."""

    world: NDArray[np.void]  # (1,) WORLD: an array, because a record takes 8 us to hand over at every call
    fighters: NDArray[np.void]  # (B, U) FIGHTER
    start: Fighters  # (U,) what an episode of fixed teams starts from
    offsets: NDArray[np.float64]  # (M, 2) lattice
    units: Units
    rules: NDArray[np.void]  # (1,) RULES
    memory: Memory
    commands: Commands
    outputs: Outputs
    job: NDArray[np.void]  # (1,) JOB
    actions: NDArray[np.int64]  # (B, n) of the step
    chosen: NDArray[np.bool_]  # (B,) games that a reset starts anew


def make_arena(
    scenario: Scenario, rules: Rules, num_envs: int, *, stats: str, spawn: str, switches: Mapping[str, Any]
) -> Arena:
    """The arena of B games that have not begun; see ``Engine`` for the options.

    Raises:
        ValueError: unknown stats, spawn or switch, or more units than find room.
    """
    walked = {"initial_loops": fitted_spawn(scenario)["initial_loops"]} if spawn == "fitted" else {}
    chosen = make_switches(scenario, switches, defaults=walked)
    world = np.array([make_world(scenario, load_stats(stats), make_terrain(scenario), chosen)])
    if world[0]["drawn"]:
        check_room(world[0])
    start, memory = starting_fighters(world[0], scenario, spawn), allocate_memory(rules, num_envs)
    if rules.reward_scale:
        check_reward_scale(world[0], start, memory)
    return Arena(
        world=world,
        fighters=np.zeros((num_envs, scenario.n_units), FIGHTER),
        start=start,
        offsets=lattice_offsets(),
        units=allocate_units(num_envs, scenario.n_units),
        rules=np.array([rules]),
        memory=memory,
        commands=allocate_commands(num_envs, scenario.n_agents),
        outputs=allocate_outputs(rules, num_envs),
        job=np.zeros(1, JOB),
        actions=np.zeros((num_envs, scenario.n_agents), np.int64),
        chosen=np.zeros(num_envs, np.bool_),
    )


def check_reward_scale(world: World, start: Fighters, memory: Memory) -> None:
    """Raise ValueError where ``reward_scale`` would divide by 0 or less: the worth of a win and the weakest enemies."""
    full, n = world["kinds"]["health"] + world["kinds"]["shield"], int(world["n_agents"])
    kinds = start["kind"][n:]
    health = len(kinds) * full[world["team_kind"]].min() if world["drawn"] else full[kinds].sum()
    if memory.max_reward[0] + health <= 0:
        raise ValueError(
            f"reward_scale divides by what can be earned, {memory.max_reward[0] + health:g} here: raise reward_win or "
            "reward_death_value, or set reward_scale=False"
        )


def changing_arrays(arena: Arena) -> dict[str, NDArray[Any]]:
    """Every array that an episode changes, by name."""
    groups = {"units": arena.units, "memory": arena.memory, "outputs": arena.outputs}
    arrays = {f"{name}.{field}": array for name, group in groups.items() for field, array in group._asdict().items()}
    fighters = arena.fighters
    return arrays | {f"fighters.{field}": fighters[field] for field in fighters.dtype.names or ()}


def settings(arena: Arena) -> dict[str, Any]:
    """What decides a battle's course and looks beside the map: switches, teams, options, by name as plain values."""
    world, rules = arena.world[0], arena.rules[0]
    switches = zip(Switches._fields, world["switches"].item(), strict=True)
    teams = {name: world[name].tolist() for name in DRAWN}
    options = {name: rules[name].tolist() for name in RULES.names or () if rules[name].ndim < 2}
    return {**dict(switches), **teams, **options}
