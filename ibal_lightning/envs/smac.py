"""SMAC (Samvelyan et al. 2019, "The StarCraft Multi-Agent Challenge"): all 23 maps."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ibal_lightning.envs.battle_env import BattleEnv, play, split_arguments
from ibal_lightning.envs.skirmish.catalogue import smac_scenario
from ibal_lightning.envs.skirmish.options import smac_options
from ibal_lightning.envs.skirmish.rules import make_rules


class Smac(BattleEnv):
    """B battles of one SMAC map.

    Flags have the names, meanings and defaults of the genuine ``StarCraft2Env``. The embedded engine honours every
    flag that changes observation, state, mask or reward and refuses the others with a reason.

    Args:
        num_envs: B.
        seed: of every random stream.
        map_name: one of the 23 maps, such as 3m or MMM2.
        engine: auto (StarCraft II if it is installed, else skirmish), sc2 or skirmish.
        device: cpu.
        threads: how many threads share the games (skirmish).
        stats: unit numbers, liberty or lotv (skirmish).
        spawn: placement rule, lattice or fitted (skirmish).
        switches: unsettled battle rules by name (skirmish); see ``envs/skirmish/switches.py``.

    Raises:
        ValueError: an unknown map or engine, a flag that cannot be played, or a value out of range.
    """

    def __init__(
        self,
        *,
        num_envs: int = 32,
        seed: int = 0,
        map_name: str = "8m",
        engine: str = "auto",
        device: str = "cpu",
        threads: int = 1,
        stats: str = "liberty",
        spawn: str = "lattice",
        switches: Mapping[str, Any] | None = None,
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
        replay_dir: str = "",
        replay_prefix: str = "",
        window_size_x: int = 1920,
        window_size_y: int = 1200,
        heuristic_ai: bool = False,
        heuristic_rest: bool = False,
        debug: bool = False,
    ) -> None:
        request, flags = split_arguments(locals(), "smac")
        scenario = smac_scenario(flags.pop("map_name"))
        options = smac_options(flags, genuine=request.engine == "sc2")
        rules = make_rules(scenario, options)
        flags["map_name"] = map_name
        super().__init__(play(request, scenario, rules, matters=dataclasses.asdict(options), genuine=flags))
