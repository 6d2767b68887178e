"""SMACv2 (Ellis et al. 2023, "SMACv2: An Improved Benchmark for Cooperative MARL"): 15 scenarios and their variants."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ibal_lightning.envs.battle_env import BattleEnv, play, split_arguments
from ibal_lightning.envs.skirmish.capabilities import apply_capabilities, shipped_capabilities
from ibal_lightning.envs.skirmish.catalogue import Scenario, nearest_names, smacv2_scenario, smacv2_scenarios
from ibal_lightning.envs.skirmish.options import smacv2_options
from ibal_lightning.envs.skirmish.rules import make_rules

EPO = "_epo"  # extended partial observability: who has not seen an enemy first never sees it, and any target is legal


class SmacV2(BattleEnv):
    """B battles of one SMACv2 scenario, with a new team and new positions in every episode.

    Flags have the names and meanings of the genuine ``StarCraft2Env`` of ``smacv2``, and the values of the YAML files
    that ship with it, which differ from the constructor's in ``obs_own_pos`` and ``use_unit_ranges``. The embedded
    engine honours every flag that changes observation, state, mask or reward and refuses the others with a reason.

    Observations depend on the order in which the agents look (see ``envs/skirmish/visits.py``); what follows a reset
    is the second look of the episode, as in PyMARL, whose runner calls ``reset()`` and then ``get_obs()``.

    Args:
        num_envs: B.
        seed: of every random stream.
        scenario: terran, protoss or zerg and a size, such as terran_5_vs_5 or zerg_20_vs_23; ``_epo`` behind it
            for extended partial observability.
        engine: auto (StarCraft II if it is installed, else skirmish), sc2 or skirmish.
        device: cpu.
        threads: how many threads share the games (skirmish).
        stats: unit numbers, liberty or lotv (skirmish).
        spawn: placement rule, lattice or fitted (skirmish).
        switches: unsettled battle rules by name (skirmish); see ``envs/skirmish/switches.py``.
        capability_config: in the genuine format; None for the scenario's own teams and starts.
        prob_obs_enemy: None for the scenario's own: 1, or 0 with ``_epo``.
        action_mask: None for the scenario's own: True, or False with ``_epo``.

    Raises:
        ValueError: an unknown scenario or engine, a flag that cannot be played, or a value out of range.
    """

    def __init__(
        self,
        *,
        num_envs: int = 32,
        seed: int = 0,
        scenario: str = "terran_5_vs_5",
        engine: str = "auto",
        device: str = "cpu",
        threads: int = 1,
        stats: str = "liberty",
        spawn: str = "lattice",
        switches: Mapping[str, Any] | None = None,
        capability_config: Mapping[str, Any] | None = None,
        step_mul: int = 8,
        move_amount: float = 2,
        difficulty: str = "7",
        game_version: str | None = None,
        continuing_episode: bool = False,
        obs_all_health: bool = True,
        obs_own_health: bool = True,
        obs_last_action: bool = False,
        obs_pathing_grid: bool = False,
        obs_terrain_height: bool = False,
        obs_instead_of_state: bool = False,
        obs_timestep_number: bool = False,
        obs_own_pos: bool = True,
        obs_starcraft: bool = True,
        conic_fov: bool = False,
        num_fov_actions: int = 12,
        state_last_action: bool = True,
        state_timestep_number: bool = False,
        reward_sparse: bool = False,
        reward_only_positive: bool = True,
        reward_death_value: float = 10,
        reward_win: float = 200,
        reward_defeat: float = 0,
        reward_negative_scale: float = 0.5,
        reward_scale: bool = True,
        reward_scale_rate: float = 20,
        use_unit_ranges: bool = True,
        min_attack_range: float = 2,
        kill_unit_step_mul: int = 2,
        fully_observable: bool = False,
        prob_obs_enemy: float | None = None,
        action_mask: bool | None = None,
        replay_dir: str = "",
        replay_prefix: str = "",
        window_size_x: int = 1920,
        window_size_y: int = 1200,
        heuristic_ai: bool = False,
        heuristic_rest: bool = False,
        debug: bool = False,
    ) -> None:
        request, flags = split_arguments(locals(), "smacv2")
        del flags["scenario"], flags["capability_config"]
        battle, own = find_scenario(scenario)
        flags |= {name: value for name, value in own.items() if flags[name] is None}
        options = smacv2_options(flags, genuine=request.engine == "sc2")
        battle, capabilities = apply_capabilities(battle, capability_config)
        rules = make_rules(battle, options, capabilities=capabilities)
        config = shipped_capabilities(battle) if capability_config is None else _plain(capability_config)
        flags |= {"map_name": f"10gen_{scenario.split('_')[0]}", "capability_config": config}
        matters = {**dataclasses.asdict(options), "capability_config": config}
        super().__init__(play(request, battle, rules, matters=matters, genuine=flags))


def find_scenario(name: str) -> tuple[Scenario, dict[str, Any]]:
    """The scenario of that name and its own values of ``prob_obs_enemy`` and ``action_mask``.

    Raises:
        ValueError: no such scenario; names the nearest.
    """
    known = [*smacv2_scenarios(), *(scenario + EPO for scenario in smacv2_scenarios())]
    if name not in known:
        raise ValueError(f"Unknown SMACv2 scenario {name!r}: {nearest_names(name, known)}")
    hidden = name.endswith(EPO)
    scenario = dataclasses.replace(smacv2_scenario(name.removesuffix(EPO)), name=name)
    return scenario, {"prob_obs_enemy": 0.0 if hidden else 1.0, "action_mask": not hidden}


def _plain(config: Any) -> Any:
    """Nested mappings and sequences as dicts and lists, which can travel to a worker process."""
    if isinstance(config, Mapping):
        return {key: _plain(value) for key, value in config.items()}
    return [_plain(item) for item in config] if isinstance(config, list | tuple) else config
