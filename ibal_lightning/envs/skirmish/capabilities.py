"""SMACv2's ``capability_config``: what teams, starts and abilities are drawn from at each episode."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ibal_lightning.envs.skirmish.catalogue import MAP_CELLS, Scenario, Teams, nearest_names
from ibal_lightning.envs.skirmish.rules import SHIPPED, TYPE_BITS, Capabilities
from ibal_lightning.envs.skirmish.state import KINDS

REASONS = {
    "health": "units would have to be killed inside a step",
    "fixed": "its items are the package's own test lists",
    "all_teams": "it draws from an enumeration of all teams",
}
PLAYED = {
    "team_gen": ("weighted_teams",),
    "start_positions": ("surrounded_and_reflect", "surrounded", "reflect_position"),
    "attack": ("per_agent_uniform",),
    "enemy_mask": ("mask",),
}


def apply_capabilities(scenario: Scenario, config: Mapping[str, Any] | None) -> tuple[Scenario, Capabilities]:
    """The scenario and abilities that a ``capability_config`` asks for; None keeps the scenario's own.

    Raises:
        ValueError: an unknown key, a distribution that the embedded engine does not play, or numbers out of range.
    """
    if config is None:
        return scenario, SHIPPED
    _check_keys(config)
    attack, mask = config.get("attack"), config.get("enemy_mask")
    abilities = Capabilities(
        stochastic_attack=attack is not None,
        observe_attack=_flag(attack, "attack"),
        attack_low=_share(_first(attack, "lower_bound"), "attack.lower_bound") if attack else 1.0,
        attack_high=_share(_first(attack, "upper_bound"), "attack.upper_bound") if attack else 1.0,
        mask_enemies=mask is not None,
        mask_keep=_share(mask["mask_probability"], "enemy_mask.mask_probability") if mask else 1.0,
        observe_types=_flag(config.get("team_gen"), "team_gen"),
    )
    return _apply_teams(scenario, config), abilities


def shipped_capabilities(scenario: Scenario) -> dict[str, Any]:
    """The ``capability_config`` of the YAML file that ships with SMACv2 for this scenario, in the genuine format."""
    teams = _teams(scenario)
    team_gen = {
        "dist_type": "weighted_teams",
        "unit_types": [KINDS[kind] for kind in teams.kinds],
        "weights": list(teams.weights),
        "observe": True,
    }
    if teams.exceptions:
        team_gen["exception_unit_types"] = [KINDS[kind] for kind in teams.exceptions]
    starts = {"dist_type": "surrounded_and_reflect", "p": 1 - teams.surrounded, "map_x": MAP_CELLS, "map_y": MAP_CELLS}
    return {
        "n_units": scenario.n_agents,
        "n_enemies": scenario.n_enemies,
        "team_gen": team_gen,
        "start_positions": starts,
    }


def _check_keys(config: Mapping[str, Any]) -> None:
    for key, value in config.items():
        if key in ("n_units", "n_enemies"):
            continue
        if key in REASONS:
            raise ValueError(f"capability_config.{key} cannot be played on the embedded engine: {REASONS[key]}.")
        if key not in PLAYED:
            known = ("n_units", "n_enemies", *PLAYED, "health")
            raise ValueError(f"capability_config has no key {key!r}; {nearest_names(key, known)}")
        kind = value.get("dist_type")
        if kind not in PLAYED[key]:
            reason = f" ({REASONS[kind]})" if kind in REASONS else ""
            raise ValueError(
                f"capability_config.{key}.dist_type={kind!r} cannot be played on the embedded engine{reason}; "
                f"{nearest_names(str(kind), PLAYED[key])}"
            )


def _apply_teams(scenario: Scenario, config: Mapping[str, Any]) -> Scenario:
    teams, gen, starts = _teams(scenario), config.get("team_gen"), config.get("start_positions")
    if gen:
        allowed = TYPE_BITS[scenario.map_type][0]
        kinds = [_kind(name, allowed) for name in gen["unit_types"]]
        exceptions = [_kind(name, allowed) for name in gen.get("exception_unit_types", ())]
        weights = [float(weight) for weight in gen["weights"]]
        if len(weights) != len(kinds) or min(weights) < 0 or abs(sum(weights) - 1) > 1e-6:
            raise ValueError(
                f"capability_config.team_gen.weights must be {len(kinds)} shares that add up to 1: {weights}"
            )
        if all(kind in exceptions for kind, weight in zip(kinds, weights, strict=True) if weight > 0):
            raise ValueError("capability_config.team_gen: every unit type is an exception, so no team can be drawn.")
        teams = dataclasses.replace(teams, kinds=tuple(kinds), weights=tuple(weights), exceptions=tuple(exceptions))
    if starts:
        fixed = {"surrounded": 1.0, "reflect_position": 0.0}
        kind = starts["dist_type"]
        surrounded = fixed[kind] if kind in fixed else 1 - _share(starts["p"], "start_positions.p")
        teams = dataclasses.replace(teams, surrounded=surrounded)
    return dataclasses.replace(
        scenario,
        teams=teams,
        n_agents=_count(config.get("n_units", scenario.n_agents), "n_units"),
        n_enemies=_count(config.get("n_enemies", scenario.n_enemies), "n_enemies"),
    )


def _teams(scenario: Scenario) -> Teams:
    if scenario.teams is None:
        raise ValueError(f"Scenario {scenario.name!r} has fixed teams; capability_config is for SMACv2's scenarios.")
    return scenario.teams


def _kind(name: str, allowed: tuple[str, ...]) -> int:
    if name not in allowed:
        raise ValueError(
            f"capability_config.team_gen: unknown unit {name!r} for this race; {nearest_names(name, allowed)}"
        )
    return KINDS.index(name)


def _first(config: Mapping[str, Any] | None, name: str) -> Any:
    """Genuine bounds are lists with one entry a value per agent; there is one here."""
    bound = config[name] if config else 1.0
    return bound if isinstance(bound, int | float) else bound[0]


def _flag(config: Mapping[str, Any] | None, name: str) -> bool:
    value = True if config is None else config.get("observe", True)
    if not isinstance(value, bool):
        raise ValueError(f"capability_config.{name}.observe must be true or false, not {value!r}.")
    return value


def _share(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"capability_config.{name} must lie in [0, 1], not {value!r}.")
    return float(value)


def _count(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"capability_config.{name} must be a whole number of at least 1, not {value!r}.")
    return value
