"""The constructor flags of the genuine packages: which ones the embedded engine honours, and why it refuses the others.

Names and defaults are those of ``smac`` (commit d6aab33) and ``smacv2`` (commit 577ab5a).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ibal_lightning.envs.skirmish.checks import is_whole, plain
from ibal_lightning.messages import nearest_names

# Flag -> (the only value the embedded engine plays, why).
FIXED: dict[str, tuple[Any, str]] = {
    "step_mul": (8, "its battle rules advance 8 game loops a step"),
    "difficulty": ("7", "no computer player script runs on these maps, so no difficulty differs from another"),
    "game_version": (None, "it is not a StarCraft II client"),
    "heuristic_ai": (False, "the scripted player belongs to the genuine package"),
    "heuristic_rest": (False, "the scripted player belongs to the genuine package"),
    "replay_dir": ("", "it writes no StarCraft II replays"),
    "replay_prefix": ("", "it writes no StarCraft II replays"),
    "window_size_x": (1920, "it opens no StarCraft II window"),
    "window_size_y": (1200, "it opens no StarCraft II window"),
    "debug": (False, "the debug log belongs to the genuine package"),
}
DIFFICULTIES = (*"123456789", "A")  # of the genuine packages, as text
# Flags that change nothing of a battle.
COSMETIC = ("replay_dir", "replay_prefix", "window_size_x", "window_size_y", "debug")


@dataclass(frozen=True)
class SmacOptions:
    """Every flag of SMAC that changes observation, state, mask or reward; the package says what each means."""

    move_amount: float = 2
    continuing_episode: bool = False
    obs_all_health: bool = True
    obs_own_health: bool = True
    obs_last_action: bool = False
    obs_pathing_grid: bool = False
    obs_terrain_height: bool = False
    obs_instead_of_state: bool = False
    obs_timestep_number: bool = False
    state_last_action: bool = True
    state_timestep_number: bool = False
    reward_sparse: bool = False
    reward_only_positive: bool = True
    reward_death_value: float = 10
    reward_win: float = 200
    reward_defeat: float = 0
    reward_negative_scale: float = 0.5
    reward_scale: bool = True
    reward_scale_rate: float = 20


@dataclass(frozen=True)
class Options(SmacOptions):
    """The flags of SMACv2, which has those of SMAC and more; a SMAC game leaves the additions at their defaults."""

    obs_own_pos: bool = False
    obs_starcraft: bool = True
    conic_fov: bool = False
    num_fov_actions: int = 12
    use_unit_ranges: bool = False
    min_attack_range: float = 2
    kill_unit_step_mul: int = 2
    fully_observable: bool = False
    prob_obs_enemy: float = 1.0
    action_mask: bool = True

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check_type(field.name, str(field.type), getattr(self, field.name))
        _check_values(self)


class Capabilities(NamedTuple):
    """SMACv2's per-episode abilities that the interface carries out."""

    stochastic_attack: bool = False
    observe_attack: bool = True
    attack_low: float = 1.0
    attack_high: float = 1.0
    stochastic_health: bool = False
    observe_health: bool = True
    health_low: float = 0.0
    health_high: float = 0.0
    mask_enemies: bool = False
    mask_keep: float = 1.0
    observe_types: bool = True


SHIPPED = Capabilities()  # of the scenarios as they come


def smac_options(flags: Mapping[str, Any], *, genuine: bool = False) -> Options:
    """The options of SMAC from flags under their genuine names.

    Args:
        flags: the genuine constructor's arguments but for the map and the seed.
        genuine: the genuine game will play, so that flags without influence on the vectors may have any value.

    Raises:
        ValueError: an unknown flag, a value of the wrong kind, or a flag that the engine does not play (says why).
    """
    return Options(**_playable(flags, SmacOptions, "smac", genuine))


def smacv2_options(flags: Mapping[str, Any], *, genuine: bool = False) -> Options:
    """The options of SMACv2 from flags under their genuine names; arguments and errors as for ``smac_options``."""
    return Options(**_playable(flags, Options, "smacv2", genuine))


def _playable(flags: Mapping[str, Any], kind: type[SmacOptions], package: str, genuine: bool) -> dict[str, Any]:
    """The flags that become options; the others must stand at the one value that is played."""
    names = [field.name for field in dataclasses.fields(kind)]
    kept = {}
    for name, value in flags.items():
        if name in names:
            kept[name] = plain(value)
        elif name in FIXED and genuine:
            _check_genuine(name, value)
        elif name in FIXED:
            _refuse_other(name, value, *FIXED[name])
        else:
            raise ValueError(f"{package} has no option {name!r}: {nearest_names(name, sorted([*names, *FIXED]))}")
    return kept


def _refuse_other(name: str, value: Any, played: Any, reason: str) -> None:
    if str(value) != str(played):
        raise ValueError(
            f"{name}={value!r} cannot be played on the embedded engine: {reason}. "
            f"Leave it at {played!r} or use the genuine game with engine=sc2."
        )


def _check_genuine(name: str, value: Any) -> None:
    """What the genuine package would stumble over in a worker."""
    played = FIXED[name][0]
    if name == "difficulty" and value not in DIFFICULTIES:
        raise ValueError(f"difficulty={value!r}: the package has no such text; {nearest_names(value, DIFFICULTIES)}")
    if isinstance(played, bool) and not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, not {value!r}.")
    if is_whole(played) and not (is_whole(value) and value > 0):
        raise ValueError(f"{name} must be a whole number above 0, not {value!r}.")


def _check_type(name: str, kind: str, value: Any) -> None:
    """A flag set from a command line must be what the genuine package computes with."""
    wanted: dict[str, tuple[type, ...]] = {"bool": (bool,), "int": (int,), "float": (int, float)}
    wrong = not isinstance(value, wanted[kind]) or (kind != "bool" and isinstance(value, bool))
    if wrong or (kind != "bool" and not math.isfinite(value)):
        raise ValueError(f"{name} must be a finite {kind}, not {value!r}.")


def _check_values(o: Options) -> None:
    checks = [
        (o.move_amount > 0, f"move_amount must be positive, not {o.move_amount}."),
        (o.reward_scale_rate > 0, f"reward_scale_rate must be positive, not {o.reward_scale_rate}."),
        (o.num_fov_actions >= 1, f"num_fov_actions must be at least 1, not {o.num_fov_actions}."),
        (0 <= o.prob_obs_enemy <= 1, f"prob_obs_enemy must lie in [0, 1], not {o.prob_obs_enemy}."),
        (o.min_attack_range >= 0, f"min_attack_range must not be negative, not {o.min_attack_range}."),
        (o.obs_starcraft or o.obs_timestep_number, "obs_starcraft=False leaves the observation empty; "
         "set obs_timestep_number=True as well."),
        (float(o.move_amount).is_integer() or not (o.obs_pathing_grid or o.obs_terrain_height),
         f"obs_pathing_grid and obs_terrain_height need a whole move_amount, not {o.move_amount}."),
    ]  # fmt: skip
    for ok, message in checks:
        if not ok:
            raise ValueError(message)
