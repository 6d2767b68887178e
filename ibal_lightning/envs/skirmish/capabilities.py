"""SMACv2's ``capability_config``: what teams, starts and abilities are drawn from at each episode."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ibal_lightning.envs.skirmish.battle import TEAM_KINDS
from ibal_lightning.envs.skirmish.catalogue import MAP_CELLS, Scenario, Teams
from ibal_lightning.envs.skirmish.checks import is_number, is_whole, plain
from ibal_lightning.envs.skirmish.options import SHIPPED, Capabilities
from ibal_lightning.envs.skirmish.placement import MAX_SIDE
from ibal_lightning.envs.skirmish.rules import TYPE_BITS
from ibal_lightning.envs.skirmish.state import KINDS
from ibal_lightning.messages import nearest_names

REASONS = {"fixed": "a list of cases to test on, of which the package itself makes neither teams nor starts"}
PLAYED = {
    "team_gen": ("weighted_teams", "all_teams"),
    "start_positions": ("surrounded_and_reflect", "surrounded", "reflect_position"),
    "attack": ("per_agent_uniform",),
    "health": ("per_agent_uniform",),
    "enemy_mask": ("mask",),
}
SIZES = ("n_units", "n_enemies")
WRITTEN = ("env_key", *SIZES)  # what the package writes into its distributions
KEYS = {
    "team_gen": ("dist_type", "unit_types", "weights", "exception_unit_types", "observe", *WRITTEN),
    "start_positions": ("dist_type", "p", "map_x", "map_y", *WRITTEN),
    "attack": ("dist_type", "lower_bound", "upper_bound", "observe", *WRITTEN),
    "health": ("dist_type", "lower_bound", "upper_bound", "observe", *WRITTEN),
    "enemy_mask": ("dist_type", "mask_probability", *WRITTEN),
}


class Distribution:
    """One distribution of a ``capability_config``, whose keys and ``dist_type`` are known to be good.

    Raises:
        ValueError: no mapping, an unknown key, or a distribution that the embedded engine does not play.
    """

    def __init__(self, name: str, config: Any) -> None:
        self.name = f"capability_config.{name}"
        if not isinstance(config, Mapping):
            raise ValueError(f"{self.name} must be a mapping with a dist_type, not {config!r}.")
        self.config = config
        for key in config:
            if key not in KEYS[name]:
                raise ValueError(f"{self.name} has no key {key!r}; {nearest_names(str(key), KEYS[name])}")
        self.kind = str(self["dist_type"])
        if self.kind not in PLAYED[name]:
            reason = f" ({REASONS[self.kind]})" if self.kind in REASONS else ""
            raise ValueError(
                f"{self.name}.dist_type={config['dist_type']!r} cannot be played on the embedded engine{reason}; "
                f"{nearest_names(self.kind, PLAYED[name])}"
            )

    def __getitem__(self, key: str) -> Any:
        if key not in self.config:
            raise ValueError(f"{self.name}.{key} is missing; it is needed here.")
        return self.config[key]

    def observed(self) -> bool:
        """Whether agents are shown what was drawn."""
        value = self.config.get("observe", True)
        if not isinstance(value, bool):
            raise ValueError(f"{self.name}.observe must be true or false, not {value!r}.")
        return value

    def share(self, key: str) -> float:
        """A probability; a bound, which the package writes as a list of one value an agent, holds one."""
        value = self[key]
        if key.endswith("_bound") and isinstance(value, list) and len(value) == 1:
            value = value[0]
        if not is_number(value) or not 0 <= value <= 1:
            raise ValueError(f"{self.name}.{key} must lie in [0, 1], not {value!r}.")
        return float(value)

    def bounds(self) -> tuple[float, float]:
        """Of a uniform draw for each agent."""
        low, high = self.share("lower_bound"), self.share("upper_bound")
        if low > high:
            raise ValueError(f"{self.name}.lower_bound={low} lies above upper_bound={high}.")
        return low, high

    def items(self, key: str) -> list[Any]:
        """A list of one entry or more."""
        value = self[key]
        if not isinstance(value, list) or not value:
            raise ValueError(f"{self.name}.{key} must be a list of one entry or more, not {value!r}.")
        return value


def apply_capabilities(scenario: Scenario, config: Mapping[str, Any] | None) -> tuple[Scenario, Capabilities]:
    """The scenario and abilities that a ``capability_config`` asks for; None keeps the scenario's own.

    Raises:
        ValueError: an unknown or missing key, a distribution that the embedded engine does not play, or numbers out of
            range.
    """
    if config is None:
        return scenario, SHIPPED
    config = complete(scenario, config)
    parts = {key: Distribution(key, value) for key, value in config.items() if key not in SIZES}
    n_agents, n_enemies = (_count(config[size], size) for size in SIZES)
    scenario = dataclasses.replace(scenario, n_agents=n_agents, n_enemies=n_enemies)
    teams = _apply_starts(_draw_teams(scenario, parts["team_gen"]), parts.get("start_positions"))
    return dataclasses.replace(scenario, teams=teams), _abilities(parts)


def complete(scenario: Scenario, config: Any) -> dict[str, Any]:
    """A ``capability_config`` as the package needs it, from one that may name only what differs from the scenario's.

    One with a ``team_gen`` is taken for the whole: without ``start_positions`` its sides start at fixed points, as in
    the package.

    Raises:
        ValueError: no mapping, an unknown key, or a scenario of fixed teams.
    """
    if not isinstance(config, Mapping):
        raise ValueError(f"capability_config must be a mapping, not {config!r}.")
    for key in config:
        if key not in PLAYED and key not in SIZES:
            raise ValueError(f"capability_config has no key {key!r}; {nearest_names(str(key), (*SIZES, *PLAYED))}")
    shipped = shipped_capabilities(scenario)
    if "team_gen" in config:
        del shipped["start_positions"]
    return {key: _spelled_out(key, plain(value)) for key, value in {**shipped, **config}.items()}


def _spelled_out(key: str, value: Any) -> Any:
    """A distribution with what the package insists on: whether it is observed, and bounds as lists."""
    if not isinstance(value, Mapping):
        return value
    value = {"observe": True, **value} if "observe" in KEYS[key] else dict(value)
    for bound in ("lower_bound", "upper_bound"):
        if is_number(value.get(bound)):
            value[bound] = [value[bound]]
    return value


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
    starts = {"dist_type": "surrounded_and_reflect", "p": teams.reflected, "map_x": MAP_CELLS, "map_y": MAP_CELLS}
    return {
        "n_units": scenario.n_agents,
        "n_enemies": scenario.n_enemies,
        "team_gen": team_gen,
        "start_positions": starts,
    }


def _abilities(parts: Mapping[str, Distribution]) -> Capabilities:
    attack, health, mask = parts.get("attack"), parts.get("health"), parts.get("enemy_mask")
    attack_low, attack_high = attack.bounds() if attack else (1.0, 1.0)
    health_low, health_high = health.bounds() if health else (0.0, 0.0)
    if health_low >= 1:
        raise ValueError("capability_config.health.lower_bound must lie below 1: health is divided by 1 - level.")
    return Capabilities(
        stochastic_attack=attack is not None,
        observe_attack=attack.observed() if attack else True,
        attack_low=attack_low,
        attack_high=attack_high,
        stochastic_health=health is not None,
        observe_health=health.observed() if health else True,
        health_low=health_low,
        health_high=health_high,
        mask_enemies=mask is not None,
        mask_keep=mask.share("mask_probability") if mask else 1.0,
        observe_types=parts["team_gen"].observed(),
    )


def _apply_starts(teams: Teams, starts: Distribution | None) -> Teams:
    if starts is None:
        return dataclasses.replace(teams, fixed_starts=True)
    for key in ("map_x", "map_y"):
        if starts.config.get(key, MAP_CELLS) != MAP_CELLS:
            raise ValueError(f"{starts.name}.{key} must be {MAP_CELLS}, the map's size, not {starts[key]!r}.")
    fixed = {"surrounded": 0.0, "reflect_position": 1.0}
    reflected = fixed[starts.kind] if starts.kind in fixed else starts.share("p")
    return dataclasses.replace(teams, reflected=reflected)


def _draw_teams(scenario: Scenario, gen: Distribution) -> Teams:
    allowed = TYPE_BITS[scenario.map_type][0]
    kinds = tuple(_kind(name, gen, allowed) for name in gen.items("unit_types"))
    named = gen.items("exception_unit_types") if gen.config.get("exception_unit_types") else ()
    exceptions = tuple(_kind(name, gen, allowed) for name in named)
    if len(kinds) > TEAM_KINDS:
        raise ValueError(f"{gen.name}.unit_types must name at most {TEAM_KINDS} units, not {len(kinds)}.")
    alike = gen.kind == "all_teams"
    weights = _even_weights(scenario, gen, len(kinds)) if alike else _weights(gen, len(kinds))
    if all(kind in exceptions for kind, weight in zip(kinds, weights, strict=True) if weight > 0):
        raise ValueError(f"{gen.name}: every unit type is an exception, so no team can be drawn.")
    return dataclasses.replace(_teams(scenario), kinds=kinds, weights=weights, exceptions=exceptions, all_teams=alike)


def _weights(gen: Distribution, kinds: int) -> tuple[float, ...]:
    weights = gen.items("weights")
    good = len(weights) == kinds and all(is_number(weight) and weight >= 0 for weight in weights)
    if not good or abs(sum(weights) - 1) > 1e-6:
        raise ValueError(f"{gen.name}.weights must be {kinds} shares that add up to 1: {weights}")
    return tuple(float(weight) for weight in weights)


def _even_weights(scenario: Scenario, gen: Distribution, kinds: int) -> tuple[float, ...]:
    """Of all_teams, which gives both sides the same team."""
    if "weights" in gen.config:
        raise ValueError(f"{gen.name}.weights: all_teams draws every team alike; leave them out.")
    if scenario.n_agents != scenario.n_enemies:
        raise ValueError(f"{gen.name}: all_teams gives both sides one team, so n_units must equal n_enemies.")
    return (1 / kinds,) * kinds


def _teams(scenario: Scenario) -> Teams:
    if scenario.teams is None:
        raise ValueError(f"Scenario {scenario.name!r} has fixed teams; capability_config is for SMACv2's scenarios.")
    return scenario.teams


def _kind(name: Any, gen: Distribution, allowed: tuple[str, ...]) -> int:
    if name not in allowed:
        raise ValueError(f"{gen.name}: unknown unit {name!r} for this race; {nearest_names(str(name), allowed)}")
    return KINDS.index(name)


def _count(value: Any, name: str) -> int:
    if not is_whole(value) or not 1 <= value <= MAX_SIDE:
        raise ValueError(f"capability_config.{name} must be a whole number from 1 to {MAX_SIDE}, not {value!r}.")
    return value
