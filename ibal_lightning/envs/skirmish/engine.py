"""The batched battle engine: allocates everything once and steps B games, shared by threads."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ibal_lightning.envs.skirmish import VERSION
from ibal_lightning.envs.skirmish.arena import Arena, changing_arrays, make_arena, settings
from ibal_lightning.envs.skirmish.catalogue import Scenario
from ibal_lightning.envs.skirmish.checks import check_seed, check_share, is_whole
from ibal_lightning.envs.skirmish.commands import find_illegal
from ibal_lightning.envs.skirmish.kernel import bound
from ibal_lightning.envs.skirmish.memory import Outputs
from ibal_lightning.envs.skirmish.placement import MAX_SIDE
from ibal_lightning.envs.skirmish.play import play_shares
from ibal_lightning.envs.skirmish.recording import Recorder
from ibal_lightning.envs.skirmish.rules import Rules
from ibal_lightning.envs.skirmish.work import BOARD_SIZE, SHARES_PER_THREAD, Crew

LOOPS_PER_STEP = 8  # step_mul of both packages


class Engine:
    """B battles of one scenario in lock-step.

    Args:
        scenario: the battle (``catalogue``).
        rules: the interface's rules for it (``make_rules``).
        num_envs: B, at least 1.
        seed: of every random stream; a game's course depends on (seed, game index, episode) and the actions only.
        threads: how many threads share the games.
        stats: weapons, lotv (as seen in the game) or liberty (as in the mod's files).
        spawn: placement rule, lattice or fitted.
        switches: battle rules by the names of ``Switches``.

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
        stats: str = "lotv",
        spawn: str = "lattice",
        switches: Mapping[str, Any] | None = None,
    ) -> None:
        check_sizes(scenario, num_envs, threads)
        self.scenario, self.num_envs = scenario, num_envs
        self.ally_health = 1.0
        self.seed = check_seed(seed)
        self._arena = make_arena(scenario, rules, num_envs, stats=stats, spawn=spawn, switches=switches or {})
        self._kill = LOOPS_PER_STEP - int(rules.kill_unit_step_mul) if rules.stochastic_health else -1
        named = {"engine": VERSION, "scenario": scenario.name, "stats": stats, "spawn": spawn}
        self._settings = named | settings(self._arena)
        self.recorder: Recorder | None = None
        self._crew = hire(self._arena, min(threads, num_envs))

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
            ValueError: the mask has another shape or kind, or ``ally_health`` is not in (0, 1].
        """
        chosen = np.ones(self.num_envs, bool) if mask is None else mask
        if chosen.shape != (self.num_envs,) or chosen.dtype != bool:
            raise ValueError(
                f"The reset mask must be bool of shape ({self.num_envs},), not {chosen.dtype} {chosen.shape}"
            )
        check_share("ally_health", self.ally_health)
        self._arena.chosen[:] = chosen
        self._play(True, int(self._arena.world[0]["switches"]["initial_loops"]))
        return self.outputs

    def step(self, actions: NDArray[np.int64]) -> Outputs:
        """One env step with the joint actions (B, n). If one is illegal, no game moves.

        Raises:
            ValueError: wrong shape, no whole numbers, or an illegal action (names game, agent, action and what was
                legal).
        """
        out = self.outputs
        if actions.shape != out.alive.shape:
            raise ValueError(f"Actions must have shape {out.alive.shape}, not {actions.shape}")
        if actions.dtype.kind not in "iu":
            raise ValueError(f"Actions must be whole numbers, not {actions.dtype}")
        actions = np.ascontiguousarray(actions, np.int64)
        wrong = find_illegal(out.avail, out.terminated, out.truncated, actions)
        if wrong >= 0:
            raise ValueError(describe_illegal(actions, out, *divmod(wrong, self.scenario.n_agents)))
        self._arena.actions[:] = actions
        self._play(False, LOOPS_PER_STEP)
        return out

    def record(self, games: Iterable[int]) -> Recorder:
        """Record every game loop of ``games`` from now on; with no games at no cost again.

        Raises:
            ValueError: a game that does not exist.
        """
        games = list(games)
        recorder = Recorder(self._arena.fighters, games)
        self.recorder = recorder if games else None
        return recorder

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes, copied: restores mid-battle exactly."""
        arrays = {name: np.array(array) for name, array in changing_arrays(self._arena).items()}
        return {"arrays": arrays, "seed": self.seed, "ally_health": self.ally_health, "settings": self._settings}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` gave.

        Raises:
            ValueError: it belongs to another scenario, number of games, or rules of battle or interface.
        """
        saved_settings = state.get("settings")
        if not isinstance(saved_settings, Mapping):
            raise ValueError("The saved state holds no settings of a battle")
        for name, value in self._settings.items():
            if name not in saved_settings or saved_settings[name] != value:
                held = repr(saved_settings[name]) if name in saved_settings else "nothing (an older version saved it)"
                raise ValueError(f"This engine plays with {name}={value!r}, the saved state holds {held}")
        mine, saved = changing_arrays(self._arena), state["arrays"]
        for name, array in mine.items():
            if name not in saved or tuple(saved[name].shape) != array.shape:
                found = tuple(saved[name].shape) if name in saved else "nothing"
                raise ValueError(f"This engine's {name} has shape {array.shape}, the saved state holds {found}")
        if missing := {"seed", "ally_health"} - set(state):
            raise ValueError(f"The saved state holds no {min(missing)}")
        seed, ally_health = check_seed(state["seed"]), check_share("ally_health", state["ally_health"])
        for name, array in mine.items():
            array[...] = saved[name]
        self.seed, self.ally_health = seed, ally_health

    def _play(self, restart: bool, loops: int) -> None:
        """A new episode of the chosen games, or an env step of all; with a recorder in parts."""
        kill = -1 if restart else self._kill
        if self.recorder is None:
            self._turn(restart, True, True, loops, kill)
            return
        out = self.outputs
        playing = self._arena.chosen if restart else ~(out.terminated | out.truncated)
        self._turn(restart, True, False, 0)
        for loop in range(loops):
            self._turn(restart, False, False, 1, kill - loop)
            if not restart:
                self.recorder.look(playing)
        self._turn(restart, False, True, 0)
        if restart:
            self.recorder.begin(playing)

    def _turn(self, restart: bool, begins: bool, ends: bool, loops: int, kill: int = -1) -> None:
        """One call of the compiled loop; ``kill`` as in ``JOB``."""
        self._arena.job[0] = restart, begins, ends, loops, kill, self.seed, self.ally_health
        self._crew.play_turn()


def hire(arena: Arena, threads: int) -> Crew:
    """The crew that plays an arena's games; a single thread has one share only."""
    games = len(arena.fighters)
    size = math.ceil(games / (threads * SHARES_PER_THREAD)) if threads > 1 else games
    board = np.zeros(BOARD_SIZE, np.int64)
    return Crew(bound(play_shares, arena, board, size), board, math.ceil(games / size), threads - 1)


def describe_illegal(actions: NDArray[np.int64], outputs: Outputs, game: int, agent: int) -> str:
    """The error message for an illegal action: where it was, and what was legal there."""
    legal = np.flatnonzero(outputs.avail[game, agent]).tolist()
    return f"Illegal action {actions[game, agent]} of agent {agent} in game {game}; legal: {legal}"


def check_sizes(scenario: Scenario, num_envs: int, threads: int) -> None:
    """Raise ValueError for sizes that no engine can have."""
    for name, value in (("num_envs", num_envs), ("threads", threads)):
        if not is_whole(value) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")
    for side, count in (("allies", scenario.n_agents), ("enemies", scenario.n_enemies)):
        if not 1 <= count <= MAX_SIDE:
            raise ValueError(f"A battle needs 1 to {MAX_SIDE} {side}, not {count}")
