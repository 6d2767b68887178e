"""Replays recordings of the genuine packages through the functions that the battle engine itself calls.

One file is one batch: the record index is the game index. The format stands in data/README.md; options come from
``meta_json``, so any set of files in that format can be checked (``IBAL_GOLDEN_DIR``).
"""

from __future__ import annotations

import dataclasses
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from ibal_lightning.envs.skirmish.capabilities import apply_capabilities
from ibal_lightning.envs.skirmish.catalogue import Scenario, smac_scenario, smacv2_scenario
from ibal_lightning.envs.skirmish.commands import command_game
from ibal_lightning.envs.skirmish.memory import Memory, Outputs, allocate_memory, allocate_outputs
from ibal_lightning.envs.skirmish.observe import look_game
from ibal_lightning.envs.skirmish.options import smac_options, smacv2_options
from ibal_lightning.envs.skirmish.outcome import begin_game, outcome_game
from ibal_lightning.envs.skirmish.rules import Rules, make_rules
from ibal_lightning.envs.skirmish.state import KINDS, Commands, Units, allocate_commands, allocate_units
from ibal_lightning.envs.skirmish.visits import release_dead

ABILITIES = ("attack", "enemy_mask")  # of a capability_config: those that agents are shown
NOT_INTERFACE = ("map_name", "capability_config")  # constructor arguments that choose the scenario


def golden_files() -> list[Path]:
    """Every recording of the folder under test."""
    folder = Path(os.environ.get("IBAL_GOLDEN_DIR", Path(__file__).parent / "data"))
    return sorted(folder.rglob("*.npz"))


def files_with(name: str) -> list[Path]:
    """The recordings that hold an array of that name."""
    return [path for path in golden_files() if name in np.load(path).files]


def name_of(path: Path) -> str:
    """What a test calls a recording."""
    return f"{path.parent.name}/{path.stem}"


# Not cached on disk: numba would not notice a change of the functions called.
compiled = njit(nogil=True, error_model="numpy", _nrt=False)


class Recording(NamedTuple):
    """One file: its arrays, what the package was asked for, and our rules for that."""

    data: dict[str, np.ndarray]
    meta: dict[str, Any]
    rules: Rules

    @property
    def size(self) -> int:
        return len(self.data["t"])

    @property
    def later(self) -> np.ndarray:
        """(R,) records that a step led to."""
        return self.data["t"] > 0


class Replayed(NamedTuple):
    """What our functions made of a recording's raw unit values."""

    recording: Recording
    commands: Commands
    memory: Memory
    out: Outputs


@compiled
def begin_records(rules: Rules, units: Units, memory: Memory, games: np.ndarray, out: Outputs) -> None:
    for g in games:
        begin_game(rules, units, memory, 0, g, out)


@compiled
def command_records(
    rules: Rules, units: Units, memory: Memory, games: np.ndarray, actions: np.ndarray, commands: Commands
) -> None:
    for g in games:
        command_game(rules, units, memory, g, actions, commands)


@compiled
def outcome_records(rules: Rules, units: Units, memory: Memory, games: np.ndarray, out: Outputs) -> None:
    for g in games:
        outcome_game(rules, units, memory, g, out)


@compiled
def release_records(rules: Rules, units: Units, memory: Memory, games: np.ndarray) -> None:
    for g in games:
        release_dead(rules, units, memory, g)


@compiled
def look_records(rules: Rules, units: Units, memory: Memory, games: np.ndarray, out: Outputs) -> None:
    for g in games:
        look_game(rules, units, memory, g, out)


@lru_cache(maxsize=2)
def load(path: Path) -> Recording:
    data = dict(np.load(path))
    meta = json.loads(str(data["meta_json"]))
    scenario = dataclasses.replace(
        recorded_scenario(meta, data), pathing=data["pathing_grid"], limit=int(data["episode_limit"])
    )
    flags = {name: value for name, value in meta["options"].items() if name not in NOT_INTERFACE}
    options = smac_options(flags) if meta["package"] == "smac" else smacv2_options(flags)
    height = data["terrain_height_sent"][::-1] / 255  # sent from the north
    config = meta.get("capability_config") or {}
    shown = {name: config[name] for name in ABILITIES if name in config}
    abilities = apply_capabilities(scenario, shown or None)[1]
    return Recording(data, meta, make_rules(scenario, options, capabilities=abilities, height=height))


def recorded_scenario(meta: dict[str, Any], data: dict[str, np.ndarray]) -> Scenario:
    if meta["package"] == "smac":
        return smac_scenario(meta["map_name"])
    n_agents, n_enemies = int(data["n_agents"]), int(data["n_enemies"])
    return dataclasses.replace(
        smacv2_scenario(f"{meta['race']}_5_vs_5"), n_agents=n_agents, n_enemies=n_enemies, name="recorded"
    )


def sides(data: dict[str, np.ndarray], name: str, prefix: str = "") -> np.ndarray:
    """(R, U) a raw value of all units, allies first."""
    return np.concatenate([data[f"{prefix}ally_{name}"], data[f"{prefix}enemy_{name}"]], axis=1)


def recorded_units(recording: Recording, *, before: bool) -> Units:
    """Units as the package saw them at each record, or one step before it."""
    data = recording.data
    units = allocate_units(recording.size, recording.rules.n_agents + recording.rules.n_enemies)
    units.kind[:] = [[KINDS.index(name) for name in row] for row in sides(data, "type")]
    prefix = "prev_" if before else ""
    for name in ("x", "y", "health", "shield", "energy"):
        getattr(units, name)[:] = sides(data, name, prefix)
    units.cooldown[:] = sides(data, "weapon_cooldown", prefix)
    for name in ("health_max", "shield_max"):
        getattr(units, name)[:] = sides(data, name)
    for name in ("health", "shield"):
        getattr(units, f"prev_{name}")[:] = sides(data, name, "prev_")
    return units


def recorded_memory(recording: Recording) -> Memory:
    """Memory as it was just before the step that led to each record."""
    data, rules = recording.data, recording.rules
    memory = allocate_memory(rules, recording.size)
    memory.max_reward[:] = data["max_reward"]
    memory.step[:] = np.maximum(data["episode_step"] - 1, 0)
    memory.fov[:] = data.get("fov_direction", [1.0, 0.0])
    looked = (data["actions"] >= 6) & (data["actions"] < rules.n_actions_no_attack)
    memory.fov[looked] = np.nan  # a look replaces the direction, whatever it was
    return memory


def inject_visits(recording: Recording, memory: Memory) -> None:
    """SMACv2: the flags, visiting order and draws with which the package observed."""
    data = recording.data
    if "seen_before" in data:
        memory.seen[:] = data["seen_before"]
        memory.owner[:] = data["seen_owner_before"]
        memory.order[:] = data["obs_visit_order"]
    if "seen_draws" in data:
        memory.draws[:] = data["seen_draws"]


def outcomes(recording: Recording, *, continuing: bool) -> Outputs:
    """What came of every step, were the package asked for time limits that cut an episode, or for such that end it."""
    rules = recording.rules.copy()
    rules.continuing_episode = continuing
    out, units = allocate_outputs(rules, recording.size), recorded_units(recording, before=False)
    outcome_records(rules, units, recorded_memory(recording), np.flatnonzero(recording.later), out)
    return out


@lru_cache(maxsize=2)
def replay(path: Path) -> Replayed:
    """Command, outcome and observation of every record of a file, from the raw values of that record."""
    recording = load(path)
    rules, size = recording.rules, recording.size
    before, now = recorded_units(recording, before=True), recorded_units(recording, before=False)
    memory, out = recorded_memory(recording), allocate_outputs(rules, size)
    commands = allocate_commands(size, rules.n_agents)
    actions = recording.data["actions"].astype(np.int64)
    later = np.flatnonzero(recording.later)
    command_records(rules, before, memory, later, actions, commands)
    outcome_records(rules, now, memory, later, out)
    inject_visits(recording, memory)
    look_records(rules, now, memory, np.arange(size), out)
    return Replayed(recording, commands, memory, out)
