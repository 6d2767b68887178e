"""One flat record of everything the interface functions look up: sizes, layout, ranges, terrain and options.

Tables are indexed by unit kind in the order of ``state.KINDS``. Sources: the genuine packages
(``smac`` d6aab33, ``smacv2`` 577ab5a); every value is checked against their recordings in tests/golden.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, get_type_hints

import numpy as np
from numpy.typing import NDArray

from ibal_lightning.envs.skirmish.catalogue import Scenario
from ibal_lightning.envs.skirmish.options import Options
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


class Rules(NamedTuple):
    """Scalars and constant tables of one scenario under one set of options. Widths and starts count features."""

    second: bool  # SMACv2 rather than SMAC
    n_agents: int
    n_enemies: int
    n_actions: int
    n_actions_no_attack: int
    episode_limit: int
    heals: bool  # medivacs heal, their cooldown feature is energy, and they alone do not win
    # terrain
    pathing: NDArray[np.bool_]  # (Y, X) [y, x]
    height: NDArray[np.float64]  # (Y, X) [y, x] in [0, 1]
    map_x: int
    map_y: int
    max_distance_x: float
    max_distance_y: float
    move_amount: float
    # tables (K,)
    sight: NDArray[np.float64]
    shoot: NDArray[np.float64]
    max_cooldown: NDArray[np.float64]
    max_shield: NDArray[np.float64]
    ally_bit: NDArray[np.int8]
    enemy_bit: NDArray[np.int8]
    # layout
    type_bits: int
    ally_shield: bool
    enemy_shield: bool
    enemy_start: int
    enemy_width: int
    ally_start: int
    ally_width: int
    own_start: int
    obs_dim: int
    state_ally_width: int
    state_enemy_width: int
    state_dim: int
    # observation and state flags
    obs_all_health: bool
    obs_own_health: bool
    obs_last_action: bool
    obs_pathing_grid: bool
    obs_terrain_height: bool
    obs_instead_of_state: bool
    obs_timestep_number: bool
    obs_own_pos: bool
    obs_starcraft: bool
    state_last_action: bool
    state_timestep_number: bool
    fully_observable: bool
    prob_obs_enemy: float
    action_mask: bool
    conic_fov: bool
    half_cone: float  # radians
    views: NDArray[np.float64]  # (F, 2) directions of the look actions
    # capabilities
    stochastic_attack: bool
    observe_attack: bool
    attack_low: float
    attack_high: float
    mask_enemies: bool
    mask_keep: float  # probability that an enemy's health and type stay visible to an agent
    observe_types: bool
    # reward
    reward_sparse: bool
    reward_only_positive: bool
    reward_death_value: float
    reward_win: float
    reward_defeat: float
    reward_negative_scale: float
    reward_scale: bool
    reward_scale_rate: float


class Capabilities(NamedTuple):
    """SMACv2's per-episode abilities that the interface carries out."""

    stochastic_attack: bool = False
    observe_attack: bool = True
    attack_low: float = 1.0
    attack_high: float = 1.0
    mask_enemies: bool = False
    mask_keep: float = 1.0
    observe_types: bool = True


SHIPPED = Capabilities()  # of the scenarios as they come


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
        capabilities: SMACv2's attack probabilities, enemy masks and what teammates show.
        height: (Y, X) terrain height in [0, 1]; flat ground by default.
    """
    sizes = _sizes(scenario, options)
    flags = {name: getattr(options, name) for name in Rules._fields if hasattr(options, name)}
    map_y, map_x = scenario.pathing.shape
    terrain = {
        "pathing": np.ascontiguousarray(scenario.pathing, np.bool_),
        "height": np.zeros((map_y, map_x)) if height is None else np.ascontiguousarray(height, np.float64),
        "map_x": map_x, "map_y": map_y, "max_distance_x": float(map_x), "max_distance_y": float(map_y),
    }  # fmt: skip
    fields = {
        **flags, **sizes, **terrain, **_tables(scenario, options), **_layout(scenario, options, sizes, capabilities),
        **_views(options), **capabilities._asdict(),
        "second": scenario.game == "smacv2", "heals": scenario.map_type in HEALER_MAPS,
        "obs_own_health": options.obs_own_health or options.obs_all_health,
    }  # fmt: skip
    # One type a field, however a number was written, so that all rules share one compilation.
    kinds = get_type_hints(Rules)
    plain = (bool, int, float)
    return Rules(**{name: kind(fields[name]) if kind in plain else fields[name] for name, kind in kinds.items()})


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
    bits, o, attack = scenario.unit_type_bits, options, int(capabilities.stochastic_attack)
    enemy_start = N_MOVES + 8 * o.obs_pathing_grid + 9 * o.obs_terrain_height
    enemy_width = 4 + bits + o.obs_all_health * (1 + enemy_shield)
    ally_width = 4 + bits + o.obs_all_health * (1 + ally_shield) + attack + o.obs_last_action * a
    ally_start = enemy_start + e * enemy_width
    own_start = ally_start + (n - 1) * ally_width
    own = (
        bits + (o.obs_all_health or o.obs_own_health) * (1 + ally_shield) + attack + 2 * o.obs_own_pos + 2 * o.conic_fov
    )
    # SMAC counts the time step in its own block and appends it too, which leaves one zero in between.
    clock = int(o.obs_timestep_number) * (1 if scenario.game == "smacv2" else 2)
    obs_dim = own_start + own + clock if o.obs_starcraft else 1
    ally_row = 4 + ally_shield + attack + 2 * o.conic_fov + bits
    enemy_row = 3 + enemy_shield + bits
    state = n * ally_row + e * enemy_row + o.state_last_action * n * a + int(o.state_timestep_number)
    return {
        "type_bits": bits, "ally_shield": ally_shield, "enemy_shield": enemy_shield,
        "enemy_start": enemy_start, "enemy_width": enemy_width, "ally_start": ally_start, "ally_width": ally_width,
        "own_start": own_start, "obs_dim": obs_dim, "state_ally_width": ally_row, "state_enemy_width": enemy_row,
        "state_dim": n * obs_dim if o.obs_instead_of_state else state,
    }  # fmt: skip


def _views(options: Options) -> dict[str, Any]:
    """The look actions' directions and half the opening of the cone (SMACv2 conic_fov)."""
    count = options.num_fov_actions
    angles = [2 * math.pi * (i / count) for i in range(count)]
    views = np.array([(np.cos(angle), np.sin(angle)) for angle in angles])
    return {"views": views, "half_cone": (2 * math.pi / count) / 2}
