"""B games in worker processes behind the batched environment contract."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ibal_lightning.envs.workers import Shown, Worker, WorkerDied
from ibal_lightning.functional.lockstep import check_actions, chosen_games
from ibal_lightning.types import EnvSpec, Timestep

log = logging.getLogger(__name__)

MAX_RESTARTS = 3  # of one game in a row, before the fault is taken for a permanent one
NO_RESUME = "StarCraft II cannot save and restore a battle, so this environment cannot be resumed."
INFO = ("won", "battle_won", "dead_allies", "dead_enemies", "dropped")


class Board:
    """What B games show now, as tensors that are written in place."""

    def __init__(self, spec: EnvSpec, num_envs: int) -> None:
        b, n = num_envs, spec.n_agents
        self.obs = torch.zeros(b, n, spec.obs_dim)
        self.state = torch.zeros(b, spec.state_dim)
        self.avail = torch.zeros(b, n, spec.n_actions, dtype=torch.bool)
        self.reward = torch.zeros(b)
        self.terminated = torch.zeros(b, dtype=torch.bool)
        self.truncated = torch.zeros(b, dtype=torch.bool)
        self.info = {name: torch.zeros(b) for name in INFO}

    def running(self) -> Tensor:
        """(B,) bool the games that are not over."""
        return ~(self.terminated | self.truncated)

    def write(self, game: int, shown: Shown) -> None:
        """Put down what a game shows.

        Raises:
            ValueError: its shapes are not those of the spec.
        """
        mine = (self.obs[game], self.state[game], self.avail[game])
        theirs = [torch.from_numpy(array) for array in (shown.obs, shown.state, shown.avail)]
        if (got := [list(t.shape) for t in theirs]) != (wanted := [list(t.shape) for t in mine]):
            raise ValueError(f"Game {game} shows obs, state and mask of shapes {got}, expected {wanted}.")
        for target, source in zip(mine, theirs, strict=True):
            target.copy_(source)
        cut = bool(shown.info.get("episode_limit", False))
        self.reward[game] = shown.reward
        self.terminated[game], self.truncated[game] = shown.over and not cut, shown.over and cut
        for name, values in self.info.items():
            values[game] = float(shown.info.get("battle_won" if name == "won" else name, 0.0))

    def drop(self, game: int) -> None:
        """End the episode of a game that failed: truncated, without reward, marked as dropped."""
        self.reward[game], self.terminated[game], self.truncated[game] = 0.0, False, True
        for name, values in self.info.items():
            values[game] = float(name == "dropped")

    def timestep(self) -> Timestep:
        """All of it; agents are alive unless no-op is legal for them, as in SMAC."""
        alive = ~self.avail[:, :, 0]
        return Timestep(
            self.obs, self.state, self.avail, alive, self.reward, self.terminated, self.truncated, self.info
        )


class WorkerGames:
    """B games in B worker processes, in lock-step. A worker that dies is replaced; its episode is dropped.

    A dropped episode ends as truncated with reward 0 and ``info["dropped"]`` = 1, and counts in ``dropped``.

    Args:
        spec: sizes and names of the game.
        make: builds one PyMARL-style environment inside a worker.
        options: keyword arguments of ``make`` for each game.
        reseed: the options for a new seed, or None if the seed cannot be changed.
        timeout_s: seconds after which a worker that does not answer counts as dead.
    """

    def __init__(
        self,
        spec: EnvSpec,
        make: Callable[..., Any],
        options: Sequence[Mapping[str, Any]],
        *,
        reseed: Callable[[int], Sequence[Mapping[str, Any]]] | None = None,
        timeout_s: float = 120.0,
    ) -> None:
        self.spec, self.num_envs, self.device = spec, len(options), torch.device("cpu")
        self.reseed, self.dropped = reseed, 0
        self.workers = [Worker(make, each, timeout_s=timeout_s) for each in options]
        self.board = Board(spec, self.num_envs)

    def reset(self, *, seed: int | None = None, mask: Tensor | None = None) -> Timestep:
        """New episodes in the games of ``mask`` (B,); a ``seed`` restarts the processes of those games.

        Raises:
            ValueError: the mask has another shape, or these games cannot be given another seed.
            RuntimeError: a game cannot be started.
        """
        chosen = chosen_games(mask, self.num_envs).nonzero().flatten().tolist()
        if seed is not None:
            if self.reseed is None:
                raise ValueError("These games cannot be given another seed.")
            options = self.reseed(seed)
            for game in chosen:
                self.workers[game].options = options[game]
                self.workers[game].start()
        for game in chosen:
            self._ask(game, "reset")
        for game in chosen:
            self.board.write(game, self._first_look(game))
        return self.board.timestep()

    def step(self, actions: Tensor) -> Timestep:
        """One step of the games that are not over with actions (B, N) i64.

        Raises:
            ValueError: another shape or an illegal action; no game has moved then.
        """
        running = self.board.running()
        check_actions(actions, self.board.avail, running)
        games = running.nonzero().flatten().tolist()
        self.board.reward.zero_()
        for game in games:
            self._ask(game, actions[game].tolist())
        for game in games:
            try:
                shown = self.workers[game].receive()
            except WorkerDied as death:
                self._drop(game, str(death))
                self.workers[game].start()
                continue
            self.board.write(game, shown)
            if shown.over and not shown.info:  # how the genuine package reports that StarCraft II crashed
                self._drop(game, "StarCraft II crashed")
        return self.board.timestep()

    def _ask(self, game: int, request: Any) -> None:
        """Send a request; a worker found dead says so at the next receive."""
        try:
            self.workers[game].ask(request)
        except WorkerDied as death:
            log.warning("Game %d: %s", game, death)

    def _first_look(self, game: int) -> Shown:
        """What a reset shows, from a new process if the old one dies on it."""
        worker = self.workers[game]
        for _ in range(MAX_RESTARTS - 1):
            try:
                return worker.receive()
            except WorkerDied as death:
                log.warning("Game %d could not be reset and is restarted: %s", game, death)
                worker.start()
                self._ask(game, "reset")
        try:
            return worker.receive()
        except WorkerDied as death:
            raise RuntimeError(f"Game {game} failed {MAX_RESTARTS} times in a row; at last: {death}") from death

    def _drop(self, game: int, cause: str) -> None:
        log.warning("Game %d: its episode is dropped: %s", game, cause)
        self.dropped += 1
        self.board.drop(game)

    def configure(self, **options: float) -> None:
        """The genuine game offers no condition to change."""
        if options:
            raise ValueError(
                f"The genuine StarCraft II environments cannot set {', '.join(options)}; use env.engine=skirmish."
            )

    def state_dict(self) -> Mapping[str, Any]:
        """Not possible: StarCraft II cannot save a battle."""
        raise NotImplementedError(NO_RESUME)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Not possible, see ``state_dict``."""
        raise NotImplementedError(NO_RESUME)

    def close(self) -> None:
        """End all processes; they close their games side by side."""
        for worker in self.workers:
            with contextlib.suppress(OSError):
                worker.pipe.send(None)
        for worker in self.workers:
            worker.close()
