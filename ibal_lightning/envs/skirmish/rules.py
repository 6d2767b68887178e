"""One flat record of everything the interface functions look up: sizes, layout, ranges, terrain and options.

Tables are indexed by unit kind in the order of ``state.KINDS``. Sources: the genuine packages
(``smac`` d6aab33, ``smacv2`` 577ab5a); every value is checked against their recordings in tests/golden.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ibal_lightning.envs.skirmish.catalogue import MAP_CELLS, Scenario
from ibal_lightning.envs.skirmish.options import SHIPPED, Capabilities, Options
from ibal_lightning.envs.skirmish.state import KINDS

N_MOVES = 4
FIRST_MOVE = 2  # actions: 0 no-op, 1 stop, 2 north, 3 south, 4 east, 5 west, then looking, then targets
FIRST_LOOK = 6
MEDIVAC = KINDS.index("medivac")

# unit_max_cooldown (game loops; the medivac's is its energy); kinds not named: 15.
MAX_COOLDOWN = {"marine": 15, "marauder": 25, "medivac": 200, "stalker": 35, "zealot": 22, "colossus": 24,
                "hydralisk": 10, "zergling": 11, "baneling": 1}  # fmt: skip
# unit_max_shield: constants in the package, not the units' own maxima.
MAX_SHIELD = {"stalker": 80, "zealot": 50, "colossus": 150}
# SMACv2 with use_unit_ranges; otherwise 6 and 9 for every kind.
SHOOT_RANGE = {"stalker": 6, "zealot": 0.1, "colossus": 7, "zergling": 0.1, "baneling": 0.25, "hydralisk": 5,
               "marine": 5, "marauder": 6, "medivac": 4}  # fmt: skip
SIGHT_RANGE = {"stalker": 10, "zealot": 9, "colossus": 10, "zergling": 8, "baneling": 8, "hydralisk": 9, "marine": 9,
               "marauder": 10, "medivac": 11}  # fmt: skip
# Position of a kind in the type one-hot, by map type: (allies, enemies).
TYPE_BITS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "stalkers_and_zealots": (("stalker", "zealot"), ("zealot", "stalker")),
    "colossi_stalkers_zealots": (("colossus", "stalker", "zealot"),) * 2,
    "MMM": (("marauder", "marine", "medivac"),) * 2,
    "bane": (("baneling", "zergling"),) * 2,
    "terran_gen": (("marine", "marauder", "medivac"),) * 2,
    "protoss_gen": (("stalker", "zealot", "colossus"),) * 2,
    "zerg_gen": (("zergling", "hydralisk", "baneling"),) * 2,
}
HEALER_MAPS = ("MMM", "terran_gen")


# One record: a compiled function is given it as one pointer, where separate values would be a hundred arguments.
RULES = np.dtype(
    [
        ("second", np.bool_),  # SMACv2 rather than SMAC
        ("n_agents", np.int64),
        ("n_enemies", np.int64),
        ("n_actions", np.int64),
        ("n_actions_no_attack", np.int64),
        ("episode_limit", np.int64),
        ("continuing_episode", np.bool_),  # the limit cuts an episode (truncated) instead of ending it (terminated)
        ("heals", np.bool_),  # medivacs heal, their cooldown feature is energy, and they alone do not win
        # terrain
        ("pathing", np.int8, (MAP_CELLS, MAP_CELLS)),  # (Y, X) [y, x]
        ("height", np.float64, (MAP_CELLS, MAP_CELLS)),  # (Y, X) [y, x] in [0, 1]
        ("map_x", np.int64),
        ("map_y", np.int64),
        ("max_distance_x", np.float64),
        ("max_distance_y", np.float64),
        ("move_amount", np.float64),
        # tables (K,)
        ("sight", np.float64, len(KINDS)),
        ("shoot", np.float64, len(KINDS)),
        ("max_cooldown", np.float64, len(KINDS)),
        ("max_shield", np.float64, len(KINDS)),
        ("ally_bit", np.int8, len(KINDS)),
        ("enemy_bit", np.int8, len(KINDS)),
        # layout
        ("type_bits", np.int64),
        ("ally_shield", np.bool_),
        ("enemy_shield", np.bool_),
        ("enemy_start", np.int64),
        ("enemy_width", np.int64),
        ("ally_start", np.int64),
        ("ally_width", np.int64),
        ("own_start", np.int64),
        ("obs_dim", np.int64),
        ("state_ally_width", np.int64),
        ("state_enemy_width", np.int64),
        ("state_dim", np.int64),
        # observation and state flags
        ("obs_all_health", np.bool_),
        ("obs_own_health", np.bool_),
        ("obs_last_action", np.bool_),
        ("obs_pathing_grid", np.bool_),
        ("obs_terrain_height", np.bool_),
        ("obs_instead_of_state", np.bool_),
        ("obs_timestep_number", np.bool_),
        ("obs_own_pos", np.bool_),
        ("obs_starcraft", np.bool_),
        ("state_last_action", np.bool_),
        ("state_timestep_number", np.bool_),
        ("fully_observable", np.bool_),
        ("prob_obs_enemy", np.float64),
        ("action_mask", np.bool_),
        ("conic_fov", np.bool_),
        ("half_cone", np.float64),  # radians
        ("n_views", np.int64),  # look actions
        # capabilities
        ("stochastic_attack", np.bool_),
        ("observe_attack", np.bool_),
        ("attack_low", np.float64),
        ("attack_high", np.float64),
        ("stochastic_health", np.bool_),
        ("observe_health", np.bool_),
        ("health_low", np.float64),
        ("health_high", np.float64),
        ("kill_unit_step_mul", np.int64),  # game loops of a step that are left when agents below their level die
        ("mask_enemies", np.bool_),
        ("mask_keep", np.float64),  # probability that an enemy's health and type stay visible to an agent
        ("observe_types", np.bool_),
        # reward
        ("reward_sparse", np.bool_),
        ("reward_only_positive", np.bool_),
        ("reward_death_value", np.float64),
        ("reward_win", np.float64),
        ("reward_defeat", np.float64),
        ("reward_negative_scale", np.float64),
        ("reward_scale", np.bool_),
        ("reward_scale_rate", np.float64),
    ],
    align=True,
)
Rules = np.record  # of RULES: scalars and constant tables of one scenario under one set of options


def make_rules(
    scenario: Scenario,
    options: Options,
    *,
    capabilities: Capabilities = SHIPPED,
    height: NDArray[np.float64] | None = None,
) -> Rules:
    """Everything the interface functions need to know about a scenario under these options.

    Args:
        scenario: facts of the map.
        options: the genuine constructor's flags.
        capabilities: SMACv2's attack probabilities, health levels, enemy masks and what teammates show.
        height: (Y, X) terrain height in [0, 1]; flat ground by default.

    Raises:
        ValueError: the one-hot of a unit's kind would have another width, or no place for a kind; or health levels with
            rewards that may be negative, which the package asserts against.
    """
    _check_kinds(scenario)
    if capabilities.stochastic_health and not options.reward_only_positive:
        raise ValueError("capability_config.health goes with reward_only_positive=True only, in the package too.")
    sizes = _sizes(scenario, options)
    flags = {name: getattr(options, name) for name in RULES.names or () if hasattr(options, name)}
    extent = dict.fromkeys(("map_x", "map_y", "max_distance_x", "max_distance_y"), MAP_CELLS)
    terrain = {"pathing": scenario.pathing, "height": 0.0 if height is None else height, **extent}
    fields = {
        **flags, **sizes, **terrain, **_tables(scenario, options), **_layout(scenario, options, sizes, capabilities),
        **capabilities._asdict(), "n_views": options.num_fov_actions, "half_cone": math.pi / options.num_fov_actions,
        "second": scenario.game == "smacv2", "heals": scenario.map_type in HEALER_MAPS,
        "obs_own_health": options.obs_own_health or options.obs_all_health,
    }  # fmt: skip
    rules = np.recarray(1, RULES)
    for name in RULES.names or ():
        rules[name][0] = fields[name]
    return rules[0]


def _check_kinds(scenario: Scenario) -> None:
    name, kind, shown = scenario.name, scenario.map_type, TYPE_BITS.get(scenario.map_type, ((), ()))
    if scenario.unit_type_bits != len(shown[0]):
        raise ValueError(
            f"Map {name!r}: unit_type_bits must be {len(shown[0])} with map_type {kind!r}, not "
            f"{scenario.unit_type_bits}; map types with bits: {', '.join(TYPE_BITS)}"
        )
    sides = (("ally", scenario.ally_groups), ("enemy", scenario.enemy_groups))
    for (side, groups), known in zip(sides, shown, strict=True):
        strange = [KINDS[group.kind] for group in groups if known and KINDS[group.kind] not in known]
        if strange:
            raise ValueError(f"Map {name!r}: map_type {kind!r} shows no {side} {strange[0]}, but {', '.join(known)}")


def _sizes(scenario: Scenario, options: Options) -> dict[str, Any]:
    looks = options.num_fov_actions if options.conic_fov else 0
    no_attack = FIRST_LOOK + looks
    targets = scenario.n_enemies
    if scenario.game == "smacv2" and scenario.map_type in HEALER_MAPS:
        targets = max(scenario.n_agents, scenario.n_enemies)
    return {
        "n_agents": scenario.n_agents, "n_enemies": scenario.n_enemies, "episode_limit": scenario.limit,
        "n_actions_no_attack": no_attack, "n_actions": no_attack + targets,
    }  # fmt: skip


def _table(values: Mapping[str, float], default: float) -> NDArray[np.float64]:
    return np.array([values.get(kind, default) for kind in KINDS], np.float64)


def _tables(scenario: Scenario, options: Options) -> dict[str, Any]:
    ally, enemy = TYPE_BITS.get(scenario.map_type, ((), ()))
    shoot, sight = _table({}, 6.0), _table({}, 9.0)
    if options.use_unit_ranges:
        shoot = np.maximum(_table(SHOOT_RANGE, 6.0), float(options.min_attack_range))
        sight = _table(SIGHT_RANGE, 9.0)
    return {
        "sight": sight, "shoot": shoot,
        "max_cooldown": _table(MAX_COOLDOWN, 15.0), "max_shield": _table(MAX_SHIELD, 1.0),
        "ally_bit": np.array([ally.index(kind) if kind in ally else 0 for kind in KINDS], np.int8),
        "enemy_bit": np.array([enemy.index(kind) if kind in enemy else 0 for kind in KINDS], np.int8),
    }  # fmt: skip


def _layout(scenario: Scenario, options: Options, sizes: dict[str, Any], capabilities: Capabilities) -> dict[str, Any]:
    """Where each block of the observation and the state starts and how wide its rows are."""
    n, e, a = scenario.n_agents, scenario.n_enemies, sizes["n_actions"]
    ally_shield, enemy_shield = scenario.ally_race == "P", scenario.enemy_race == "P"
    bits, o, drawn = scenario.unit_type_bits, options, capabilities.stochastic_attack + capabilities.stochastic_health
    enemy_start = N_MOVES + 8 * o.obs_pathing_grid + 9 * o.obs_terrain_height
    enemy_width = 4 + bits + o.obs_all_health * (1 + enemy_shield)
    ally_width = 4 + bits + o.obs_all_health * (1 + ally_shield) + drawn + o.obs_last_action * a
    ally_start = enemy_start + e * enemy_width
    own_start = ally_start + (n - 1) * ally_width
    own = (
        bits + (o.obs_all_health or o.obs_own_health) * (1 + ally_shield) + drawn + 2 * o.obs_own_pos + 2 * o.conic_fov
    )
    # SMAC counts the time step in its own block and appends it too, which leaves one zero in between.
    clock = int(o.obs_timestep_number) * (1 if scenario.game == "smacv2" else 2)
    obs_dim = own_start + own + clock if o.obs_starcraft else 1
    ally_row = 4 + ally_shield + drawn + 2 * o.conic_fov + bits
    enemy_row = 3 + enemy_shield + bits
    state = n * ally_row + e * enemy_row + o.state_last_action * n * a + int(o.state_timestep_number)
    return {
        "type_bits": bits, "ally_shield": ally_shield, "enemy_shield": enemy_shield,
        "enemy_start": enemy_start, "enemy_width": enemy_width, "ally_start": ally_start, "ally_width": ally_width,
        "own_start": own_start, "obs_dim": obs_dim, "state_ally_width": ally_row, "state_enemy_width": enemy_row,
        "state_dim": n * obs_dim if o.obs_instead_of_state else state,
    }  # fmt: skip
