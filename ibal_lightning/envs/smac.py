"""SMAC (Samvelyan et al. 2019, "The StarCraft Multi-Agent Challenge"): all 23 maps."""

from __future__ import annotations

from typing import Any

from ibal_lightning.envs.battle_env import Battle, BattleEnv
from ibal_lightning.envs.skirmish.catalogue import smac_scenario
from ibal_lightning.envs.skirmish.options import smac_options


class Smac(BattleEnv):
    """B battles of one SMAC map; flags have the defaults of the genuine ``StarCraft2Env``.

    Args:
        map_name: one of the 23 maps, such as 3m or MMM2.
        **options: ``num_envs``, ``seed``, ``engine`` and the flags, see ``BattleEnv``.

    Raises:
        ValueError: an unknown map, or as ``BattleEnv``.
    """

    def __init__(self, *, map_name: str = "8m", **options: Any) -> None:
        super().__init__(Battle(smac_scenario(map_name), smac_options, {"map_name": map_name}), **options)
