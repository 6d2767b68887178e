"""How a battle is set up: the request, the sizes and names it leads to, and the games on either engine."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from ibal_lightning.envs.sc2 import make_genuine, resolve_engine
from ibal_lightning.envs.skirmish import VERSION
from ibal_lightning.envs.skirmish.catalogue import Scenario
from ibal_lightning.envs.skirmish.engine import LOOPS_PER_STEP, Engine
from ibal_lightning.envs.skirmish.games import SkirmishGames
from ibal_lightning.envs.skirmish.names import action_names, obs_names
from ibal_lightning.envs.skirmish.options import COSMETIC
from ibal_lightning.envs.skirmish.play import play_shares
from ibal_lightning.envs.skirmish.rules import Rules
from ibal_lightning.envs.skirmish.switches import changed_switches
from ibal_lightning.envs.worker_games import WorkerGames
from ibal_lightning.functional.options import whole
from ibal_lightning.functional.random import derive_seed
from ibal_lightning.types import EnvSpec

logger = logging.getLogger(__name__)

STOP = 1


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a constructor is told beside the genuine package's flags: how many games, of which seed, played by what."""

    num_envs: int
    seed: int
    engine: str  # skirmish or sc2; auto is settled by the constructor
    device: str
    threads: int = 1
    stats: str = "lotv"
    spawn: str = "lattice"
    switches: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        for name, least in (("num_envs", 1), ("seed", None), ("threads", 1)):
            object.__setattr__(self, name, whole(name, getattr(self, name), least))  # numpy's become Python's
        if self.device != "cpu":
            raise ValueError(
                f"env.device={self.device!r}: the battles run on the CPU only; use env.device=cpu. "
                "Networks learn on a GPU with trainer.accelerator=gpu."
            )
        own = {"threads": 1, "stats": "lotv", "spawn": "lattice", "switches": None}
        for name, default in own.items() if self.engine == "sc2" else ():
            if getattr(self, name) != default:
                raise ValueError(f"env.{name} is of the embedded engine; leave it out or use env.engine=skirmish.")


def split_arguments(arguments: Mapping[str, Any], package: str) -> tuple[Request, dict[str, Any]]:
    """A constructor's local variables as its request, with the engine settled, and the genuine package's flags."""
    names = {field.name for field in dataclasses.fields(Request)}
    request = {name: value for name, value in arguments.items() if name in names}
    skipped = {*names, "self", "__class__", "battle"}
    flags = {name: value for name, value in arguments.items() if name not in skipped}
    request["engine"] = resolve_engine(request["engine"], package)
    return Request(**request), flags


def make_spec(scenario: Scenario, rules: Rules, engine: str, matters: Mapping[str, Any]) -> EnvSpec:
    """Sizes, names and fingerprint of a battle.

    Args:
        scenario: the battle, under the name that the fingerprint shows.
        rules: its interface.
        engine: skirmish or sc2.
        matters: every option that changes what is played or seen; hashed into the fingerprint.
    """
    played = {**matters, "continuing_episode": False}  # what a learner makes of a time limit changes no battle
    text = json.dumps(played, sort_keys=True, default=str)
    short = hashlib.sha256(text.encode()).hexdigest()[:8]
    return EnvSpec(
        n_agents=int(rules.n_agents),
        n_actions=int(rules.n_actions),
        obs_dim=int(rules.obs_dim),
        state_dim=int(rules.state_dim),
        episode_limit=int(rules.episode_limit),
        obs_names=obs_names(scenario, rules),
        action_names=action_names(rules),
        null_obs=torch.zeros(int(rules.obs_dim)),
        fingerprint=f"{engine}-{_engine_version(engine, scenario.game)}/{scenario.game}/{scenario.name}/{short}",
        inert_action=STOP,
    )


def _engine_version(engine: str, package: str) -> str:
    if engine == "skirmish":
        return VERSION
    try:
        return version(package)
    except PackageNotFoundError:  # put on the path without being installed
        return "unknown"


def play(
    request: Request, scenario: Scenario, rules: Rules, *, matters: Mapping[str, Any], genuine: Mapping[str, Any]
) -> SkirmishGames | WorkerGames:
    """The games on the engine of the request.

    Args:
        request: how many games, of which seed, on which engine.
        scenario: the battle.
        rules: its interface.
        matters: options that change what is played or seen, for the fingerprint of the embedded engine.
        genuine: the genuine constructor's arguments.
    """
    if request.engine == "sc2":
        return play_genuine(request, scenario, rules, genuine)
    return play_skirmish(request, scenario, rules, matters)


def play_skirmish(request: Request, scenario: Scenario, rules: Rules, matters: Mapping[str, Any]) -> SkirmishGames:
    """The games on the embedded engine; ``matters`` as in ``make_spec``.

    Raises:
        ValueError: a flag or number that the engine does not play.
    """
    if rules.obs_terrain_height:
        raise ValueError(
            "obs_terrain_height=True cannot be played on the embedded engine: the facts of the maps hold no terrain "
            "heights. Leave it at False or use the genuine game with engine=sc2."
        )
    if not 1 <= rules.kill_unit_step_mul < LOOPS_PER_STEP:
        raise ValueError(
            f"kill_unit_step_mul must leave loops of a step before and after it, 1 to {LOOPS_PER_STEP - 1}, not "
            f"{rules.kill_unit_step_mul}."
        )
    announce_compilation()
    switches = request.switches or {}
    engine = Engine(
        scenario,
        rules,
        num_envs=request.num_envs,
        seed=request.seed,
        threads=request.threads,
        stats=request.stats,
        spawn=request.spawn,
        switches=switches,
    )
    ours = {"stats": request.stats, "spawn": request.spawn, "switches": changed_switches(scenario, switches)}
    return SkirmishGames(make_spec(scenario, rules, "skirmish", {**matters, **ours}), rules, engine)


@cache
def announce_compilation() -> None:
    """Say once why the first start of an installation takes longer."""
    if not any(Path(play_shares.stats.cache_path).glob("play.play_shares-*.nbc")):
        logger.warning("Compiling the battle engine: up to 40 seconds, once for this installation.")


def play_genuine(request: Request, scenario: Scenario, rules: Rules, options: Mapping[str, Any]) -> WorkerGames:
    """The games on StarCraft II, one process each; ``options`` are the genuine constructor's."""

    def seeded(base: int) -> list[dict[str, Any]]:
        """Constructor arguments of every game under a seed."""
        seeds = [derive_seed(base, f"sc2 game {game}") % 2**31 for game in range(request.num_envs)]
        return [{"package": scenario.game, "options": {**options, "seed": each}} for each in seeds]

    matters = {name: value for name, value in options.items() if name not in COSMETIC}
    return WorkerGames(make_spec(scenario, rules, "sc2", matters), make_genuine, seeded(request.seed), reseed=seeded)
