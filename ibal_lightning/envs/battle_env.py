"""What SMAC and SMACv2 share: one set of rules and names, played by the embedded engine or the genuine game."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ibal_lightning.envs.battle_setup import play, split_arguments
from ibal_lightning.envs.skirmish.catalogue import Scenario
from ibal_lightning.envs.skirmish.games import SkirmishGames
from ibal_lightning.envs.skirmish.names import state_features
from ibal_lightning.envs.skirmish.options import SHIPPED, Capabilities, Options
from ibal_lightning.envs.skirmish.recording import Recorder
from ibal_lightning.envs.skirmish.rules import make_rules
from ibal_lightning.envs.skirmish.visibility import visibility_matrix
from ibal_lightning.functional.options import whole
from ibal_lightning.types import Timestep


@dataclass(frozen=True)
class Battle:
    """Which battle, and what its package has beside the flags that both packages share."""

    scenario: Scenario
    parse: Callable[..., Options]  # the package's flags to options
    genuine: Mapping[str, Any]  # further arguments of the genuine constructor, such as map_name
    flags: Mapping[str, Any] = field(default_factory=dict)  # the package's own flags
    capabilities: Capabilities = SHIPPED
    asked: Any = None  # what the fingerprint shows of teams, starts and abilities


def what_matters(battle: Battle, options: Options) -> dict[str, Any]:
    """Everything asked for that changes what is played or seen, for the fingerprint."""
    matters = {**dataclasses.asdict(options), "capability_config": battle.asked}
    if not battle.capabilities.stochastic_health:
        del matters["kill_unit_step_mul"]  # nobody dies of it
    if battle.scenario.game == "smacv2" and options.obs_instead_of_state:
        matters["state"] = "one more look"
    return matters


class BattleEnv:
    """B battles behind the ``Env`` contract, whoever plays them.

    ``info`` holds, as (B,) float32: won and battle_won (the same, the second under SMAC's name), dead_allies,
    dead_enemies; on the embedded engine also timeout (the time limit came before the battle was over); in the genuine
    game also dropped (the game crashed and its episode does not count).

    Flags have the names and meanings of the genuine ``StarCraft2Env``. The embedded engine honours every flag that
    changes observation, state, mask or reward and refuses the others with a reason.

    Args:
        battle: what the subclass chose.
        num_envs: B.
        seed: of every random stream.
        engine: auto (StarCraft II if it is installed, else skirmish), sc2 or skirmish.
        device: cpu.
        threads: how many threads share the games (skirmish).
        stats: weapons, lotv (as seen in the game) or liberty (as in the mod's files) (skirmish).
        spawn: placement rule, lattice or fitted (skirmish).
        switches: unsettled battle rules by name (skirmish); see ``envs/skirmish/switches.py``.
        continuing_episode: the time limit cuts the episode and values go on beyond it (``truncated``); by default it
            ends it (``terminated``), as in SMAC, whose learners value nothing beyond.

    Raises:
        ValueError: an unknown engine, a flag that cannot be played, or a value out of range.
    """

    def __init__(
        self,
        battle: Battle,
        *,
        num_envs: int = 32,
        seed: int = 0,
        engine: str = "auto",
        device: str = "cpu",
        threads: int = 1,
        stats: str = "lotv",
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
        request, flags = split_arguments(locals(), battle.scenario.game)
        flags |= battle.flags
        options = battle.parse(flags, genuine=request.engine == "sc2")
        rules = make_rules(battle.scenario, options, capabilities=battle.capabilities)
        matters, genuine = what_matters(battle, options), {**flags, **battle.genuine}
        self._games = play(request, battle.scenario, rules, matters=matters, genuine=genuine)
        self._rules = rules
        self.spec, self.num_envs, self.device = self._games.spec, self._games.num_envs, self._games.device

    def reset(self, *, seed: int | None = None, mask: Tensor | None = None) -> Timestep:
        """Start new episodes in the games of ``mask`` (B,) (all by default); ``seed`` restarts every stream."""
        return self._games.reset(seed=None if seed is None else whole("seed", seed), mask=mask)

    def step(self, actions: Tensor) -> Timestep:
        """One step of all games that are not over, with the joint actions (B, N) i64.

        Raises:
            ValueError: an action is illegal; names game, agent, action and what was legal. No game has moved then.
        """
        return self._games.step(actions)

    def configure(self, **options: float) -> None:
        """``ally_health=0.85``: all allies start with that share of their health, from the next reset on."""
        self._games.configure(**options)

    def state_features(self) -> tuple[list[str], list[str]]:
        """What the state tells of each agent and of each enemy: SMAC's ``agent_features`` and ``enemy_features``."""
        return state_features(self._rules)

    def visibility(self) -> Tensor:
        """(B, N, N + E) bool: whether an agent sees a unit, allies first, as SMAC's ``get_visibility_matrix``.

        Raises:
            ValueError: the genuine game plays.
        """
        games = self._embedded("tells who sees whom: use env.engine=skirmish, or ask SC2's own environment")
        return torch.from_numpy(visibility_matrix(self._rules, games.engine.arena.units))

    def record(self, games: Sequence[int]) -> Recorder:
        """Record positions, orders, targets and damage in every game loop of ``games`` from now on; ``[]`` stops.

        Raises:
            ValueError: a game that does not exist, or the genuine game plays (it keeps replays of its own).
        """
        embedded = self._embedded("records battles: use env.engine=skirmish, or save SC2's replays")
        return embedded.engine.record(games)

    def _embedded(self, service: str) -> SkirmishGames:
        """The games, for what only the embedded engine does."""
        if not isinstance(self._games, SkirmishGames):
            raise ValueError(f"only the embedded engine {service}")
        return self._games

    def state_dict(self) -> Mapping[str, Any]:
        """Everything needed to go on exactly, also mid-battle; the genuine game raises ``NotImplementedError``."""
        return self._games.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` gave."""
        self._games.load_state_dict(state)

    def close(self) -> None:
        """Free processes."""
        self._games.close()
