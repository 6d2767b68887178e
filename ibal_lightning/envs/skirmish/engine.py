"""The batched battle engine: allocates everything once and steps B games, sharded over threads."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ibal_lightning.envs.skirmish.arena import Arena, changing_arrays, make_arena
from ibal_lightning.envs.skirmish.catalogue import Scenario
from ibal_lightning.envs.skirmish.commands import command_game, find_illegal
from ibal_lightning.envs.skirmish.dynamics import advance_game
from ibal_lightning.envs.skirmish.kernel import kernel, part
from ibal_lightning.envs.skirmish.memory import Outputs
from ibal_lightning.envs.skirmish.observe import observe_game
from ibal_lightning.envs.skirmish.outcome import begin_game, outcome_game
from ibal_lightning.envs.skirmish.rules import Rules
from ibal_lightning.envs.skirmish.spawn import EpisodeName, report_start, start_game

MAX_UNITS = 32_000  # unit indices are int16


class Conditions(NamedTuple):
    """What may differ between two calls: the seed of every stream, and how healthy allies start."""

    seed: int
    ally_health: float


@part
def is_over(outputs: Outputs, g: int) -> bool:
    """Whether game g has come to its end and waits for a reset."""
    return outputs.terminated[g] or outputs.truncated[g]


@kernel
def reset_games(arena: Arena, first: int, last: int, conditions: Conditions, mask: NDArray[np.bool_]) -> None:
    """Start a new episode in the games first..last-1 of ``mask`` (B,)."""
    a, seed = arena, conditions.seed
    for g in range(first, last):
        if mask[g]:
            a.memory.episode[g] += 1
            name = EpisodeName(seed, g, a.memory.episode[g])
            start_game(a.world[0], a.fighters[g], a.start, a.offsets, name)
            report_start(a.world[0], a.fighters[g], a.units, g, conditions.ally_health)
            begin_game(a.rules, a.units, a.memory, seed, g, a.outputs)
            observe_game(a.rules, a.units, a.memory, g, a.outputs)


@part
def first_illegal(arena: Arena, actions: NDArray[np.int64]) -> int:
    """g * n_agents + i of the first illegal action in a game that is not over, else -1."""
    a = arena
    for g in range(actions.shape[0]):
        if not is_over(a.outputs, g):
            agent = find_illegal(a.rules, a.units, a.memory, g, actions)
            if agent >= 0:
                return g * a.rules.n_agents + agent
    return -1


@kernel
def step_games(arena: Arena, first: int, last: int, actions: NDArray[np.int64], check: bool) -> int:
    """One env step of the games first..last-1; those that are over keep their outputs and earn nothing.

    With ``check`` nobody moves if an action of any game is illegal. Returns what ``first_illegal`` says, else -1.
    """
    a = arena
    if check:
        wrong = first_illegal(a, actions)
        if wrong >= 0:
            return wrong
    for g in range(first, last):
        if is_over(a.outputs, g):
            a.outputs.reward[g] = 0.0
            continue
        command_game(a.rules, a.units, a.memory, g, actions, a.commands)
        advance_game(a.world[0], a.fighters[g], a.units, g, a.commands)
        outcome_game(a.rules, a.units, a.memory, g, a.outputs)
        observe_game(a.rules, a.units, a.memory, g, a.outputs)
    return -1


class Engine:
    """B battles of one scenario in lock-step.

    Args:
        scenario: the battle (``catalogue``).
        rules: the interface's rules for it (``make_rules``).
        num_envs: B, at least 1.
        seed: of every random stream; a game's course depends on (seed, game index, episode) and the actions only.
        threads: how many threads share the games.
        stats: unit numbers, liberty or lotv.
        spawn: placement rule, lattice or fitted.
        **switches: battle rules by the names of ``Switches``.

    Raises:
        ValueError: sizes out of range, or an unknown stats, spawn or switch.
    """

    def __init__(
        self,
        scenario: Scenario,
        rules: Rules,
        *,
        num_envs: int,
        seed: int,
        threads: int = 1,
        stats: str = "liberty",
        spawn: str = "lattice",
        **switches: Any,
    ) -> None:
        check_sizes(scenario, num_envs, threads)
        self.scenario, self.num_envs = scenario, num_envs
        self.ally_health = 1.0
        self.seed = seed
        self._arena = make_arena(scenario, rules, num_envs, stats=stats, spawn=spawn, switches=switches)
        self._shards = split_games(num_envs, min(threads, num_envs))
        self._pool = ThreadPoolExecutor(len(self._shards) - 1) if len(self._shards) > 1 else None

    @property
    def outputs(self) -> Outputs:
        """The arrays that ``reset`` and ``step`` write, shared, not copied."""
        return self._arena.outputs

    @property
    def arena(self) -> Arena:
        """Everything else, shared, for viewers and tests."""
        return self._arena

    def reset(self, mask: NDArray[np.bool_] | None = None) -> Outputs:
        """Start new episodes in the games of ``mask`` (B,), by default all.

        Raises:
            ValueError: the mask has another shape, or ``ally_health`` is not in (0, 1].
        """
        mask = np.ones(self.num_envs, bool) if mask is None else np.ascontiguousarray(mask, bool)
        if mask.shape != (self.num_envs,):
            raise ValueError(f"The reset mask must have shape ({self.num_envs},), not {mask.shape}")
        if not 0 < self.ally_health <= 1:
            raise ValueError(f"ally_health must be in (0, 1], not {self.ally_health}")
        conditions = Conditions(int(self.seed), float(self.ally_health))
        self._run(reset_games, conditions, mask)
        return self.outputs

    def step(self, actions: NDArray[np.int64]) -> Outputs:
        """One env step with the joint actions (B, n). If one is illegal, no game moves.

        Raises:
            ValueError: wrong shape, or an illegal action (names game, agent, action and what was legal).
        """
        actions = np.ascontiguousarray(actions, np.int64)
        if actions.shape != self.outputs.alive.shape:
            raise ValueError(f"Actions must have shape {self.outputs.alive.shape}, not {actions.shape}")
        alone = self._pool is None
        wrong = step_games(self._arena, 0, self.num_envs if alone else 0, actions, True)
        if wrong >= 0:
            raise ValueError(describe_illegal(actions, self.outputs, *divmod(wrong, self.scenario.n_agents)))
        if not alone:
            self._run(step_games, actions, False)
        return self.outputs

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes, copied: restores mid-battle exactly."""
        arrays = {name: torch.from_numpy(np.array(array)) for name, array in changing_arrays(self._arena).items()}
        return {"arrays": arrays, "seed": self.seed, "ally_health": self.ally_health, "scenario": self.scenario.name}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` gave.

        Raises:
            ValueError: it belongs to another scenario or number of games.
        """
        if state["scenario"] != self.scenario.name:
            raise ValueError(f"This state is of {state['scenario']!r}, the engine plays {self.scenario.name!r}")
        mine, saved = changing_arrays(self._arena), state["arrays"]
        for name, array in mine.items():
            if name not in saved or tuple(saved[name].shape) != array.shape:
                found = tuple(saved[name].shape) if name in saved else "nothing"
                raise ValueError(f"This engine's {name} has shape {array.shape}, the saved state holds {found}")
        for name, array in mine.items():
            array[...] = saved[name].numpy()
        self.seed, self.ally_health = state["seed"], state["ally_health"]

    def _run(self, loop: Callable[..., Any], *inputs: Any) -> None:
        """Call a compiled loop on every shard of games, the first one in this thread."""
        jobs = []
        if self._pool is not None:
            jobs = [self._pool.submit(loop, self._arena, *shard, *inputs) for shard in self._shards[1:]]
        loop(self._arena, *self._shards[0], *inputs)
        for job in jobs:
            job.result()


def describe_illegal(actions: NDArray[np.int64], outputs: Outputs, game: int, agent: int) -> str:
    """The error message for an illegal action: where it was, and what was legal there."""
    legal = np.flatnonzero(outputs.avail[game, agent]).tolist()
    return f"Illegal action {actions[game, agent]} of agent {agent} in game {game}; legal: {legal}"


def check_sizes(scenario: Scenario, num_envs: int, threads: int) -> None:
    """Raise ValueError for sizes that no engine can have."""
    if num_envs < 1:
        raise ValueError(f"num_envs must be at least 1, not {num_envs}")
    if threads < 1:
        raise ValueError(f"threads must be at least 1, not {threads}")
    if scenario.n_agents < 1 or scenario.n_enemies < 1 or scenario.n_units > MAX_UNITS:
        raise ValueError(f"A battle needs 1 to {MAX_UNITS} units with both sides present, not {scenario.n_units}")


def split_games(num_envs: int, shards: int) -> list[tuple[int, int]]:
    """Ranges first..last-1 of nearly equal size that cover 0..num_envs-1."""
    size = math.ceil(num_envs / shards)
    return [(first, min(first + size, num_envs)) for first in range(0, num_envs, size)]
