"""SMACv2 (Ellis et al. 2023, "SMACv2: An Improved Benchmark for Cooperative MARL"): 15 scenarios and their variants."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ibal_lightning.envs.battle_env import Battle, BattleEnv
from ibal_lightning.envs.skirmish.capabilities import apply_capabilities, complete
from ibal_lightning.envs.skirmish.catalogue import Scenario, smacv2_scenario, smacv2_scenarios
from ibal_lightning.envs.skirmish.checks import plain
from ibal_lightning.envs.skirmish.options import smacv2_options
from ibal_lightning.messages import nearest_names

EPO = "_epo"  # extended partial observability: who has not seen an enemy first never sees it, and any target is legal


class SmacV2(BattleEnv):
    """B battles of one SMACv2 scenario, with a new team and new positions in every episode.

    Flags have the values of the YAML files that ship with the package, which differ from the genuine constructor's in
    ``obs_own_pos`` and ``use_unit_ranges``. Observations depend on the order in which the agents look (see
    ``envs/skirmish/visits.py``); what follows a reset is the second look of the episode, as in PyMARL, whose runner
    calls ``reset()`` and then ``get_obs()``.

    Args:
        scenario: terran, protoss or zerg and a size, such as terran_5_vs_5 or zerg_20_vs_23; ``_epo`` behind it
            for extended partial observability.
        capability_config: in the genuine format, or only what differs from the scenario's own; see ``complete``.
        kill_unit_step_mul: game loops at the end of a step that agents below their level of the capability ``health``
            no longer see, 1 to 7 on the embedded engine.
        prob_obs_enemy: None for the scenario's own: 1, or 0 with ``_epo``.
        action_mask: None for the scenario's own: True, or False with ``_epo``.
        **options: ``num_envs``, ``seed``, ``engine`` and the flags of SMAC, see ``BattleEnv``.

    Raises:
        ValueError: an unknown scenario, a bad capability, or as ``BattleEnv``.
    """

    def __init__(
        self,
        *,
        scenario: str = "terran_5_vs_5",
        capability_config: Mapping[str, Any] | None = None,
        obs_own_pos: bool = True,
        obs_starcraft: bool = True,
        conic_fov: bool = False,
        num_fov_actions: int = 12,
        use_unit_ranges: bool = True,
        min_attack_range: float = 2,
        kill_unit_step_mul: int = 2,
        fully_observable: bool = False,
        prob_obs_enemy: float | None = None,
        action_mask: bool | None = None,
        **options: Any,
    ) -> None:
        own, named = locals(), ("self", "__class__", "scenario", "capability_config", "options")
        flags = {name: value for name, value in own.items() if name not in named}
        battle, defaults = find_scenario(scenario)
        flags |= {name: value for name, value in defaults.items() if flags[name] is None}
        battle, capabilities = apply_capabilities(battle, capability_config)
        config = complete(battle, capability_config or {})
        genuine = {"map_name": f"10gen_{scenario.split('_')[0]}", "capability_config": config}
        asked = config if capability_config is None else plain(capability_config)
        if battle.teams is not None and battle.teams.fixed_starts:
            asked = {**asked, "start_positions": None}
        super().__init__(Battle(battle, smacv2_options, genuine, flags, capabilities, asked), **options)


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
