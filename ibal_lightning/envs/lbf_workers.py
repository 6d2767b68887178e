"""Level-Based Foraging games shared among worker processes, each watched and replaced when it dies."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ibal_lightning.envs.foraging import make_foraging
from ibal_lightning.envs.lbf_games import Field, LbfGames, answer
from ibal_lightning.envs.workers import Worker, WorkerDied
from ibal_lightning.functional.random import derive_seed

Games = NDArray[np.intp]  # indices of the games of one worker

log = logging.getLogger(__name__)

MAX_TRIES = 3  # of one request, before the fault is taken for a permanent one


class LbfWorkers:
    """What ``LbfGames`` does, with its games in ``workers`` processes of equal shares.

    Games run the same course as in one process. A worker that dies or hangs is replaced: the episodes that it played
    are ``dropped`` (truncated, without reward), and its games go on with new random streams.

    Args:
        task: a registered task.
        seeds: of the B games.
        workers: processes, at most B.
        timeout_s: seconds after which a worker that does not answer counts as dead.
    """

    def __init__(self, task: str, seeds: Sequence[int], *, workers: int, timeout_s: float = 120.0) -> None:
        self.seeds = list(seeds)
        self.shares = np.array_split(np.arange(len(seeds)), workers)
        options = [{"task": task, "seeds": [self.seeds[game] for game in share]} for share in self.shares]
        self.workers = [Worker(LbfGames, each, answer=answer, timeout_s=timeout_s) for each in options]
        self.shown = Field.empty(make_foraging(task), len(seeds))
        self.dropped = np.zeros(len(seeds), bool)
        self.waiting = np.zeros(len(seeds), bool)  # lost with their worker and not yet reset

    def seed(self, seeds: Mapping[int, int]) -> None:
        """Restart the random streams of games (index -> seed), which are to be reset then."""
        for game, seed in seeds.items():
            self.seeds[game] = seed
        self._ask_all("seed", lambda share: {i: seeds[game] for i, game in enumerate(share.tolist()) if game in seeds})

    def reset(self, games: Sequence[int]) -> Field:
        """Start new episodes in these games.

        Raises:
            RuntimeError: a worker cannot be started.
        """
        chosen = np.isin(np.arange(len(self.seeds)), list(games))
        replies = self._ask_all("reset", lambda share: np.flatnonzero(chosen[share]).tolist())
        self.dropped &= ~chosen
        self.waiting &= ~chosen
        self._write(replies)
        return self.shown

    def step(self, actions: Sequence[Sequence[int]]) -> Field:
        """One step of every game that is not over with legal actions (B, N)."""
        self._write(self._ask("step", lambda share: [actions[game] for game in share], range(len(self.workers))))
        return self.shown

    def save(self) -> list[dict[str, Any]]:
        """Every game's state, see ``LbfGames.save``."""
        replies = self._ask_all("save", lambda share: None)
        return [state for index in sorted(replies) for state in replies[index]]

    def load(self, states: Sequence[Any]) -> Field:
        """Restore what ``save`` gave."""
        replies = self._ask_all("load", lambda share: [states[game] for game in share])
        self.dropped[:] = self.waiting[:] = False
        self._write(replies)
        return self.shown

    def _ask_all(self, name: str, argument: Callable[[Games], Any]) -> dict[int, Any]:
        """The answer of every worker; one that dies on the request is replaced and asked again."""
        replies: dict[int, Any] = {}
        for _ in range(MAX_TRIES):
            missing = [index for index in range(len(self.workers)) if index not in replies]
            replies |= self._ask(name, argument, missing)
        failed = sorted(set(range(len(self.workers))) - replies.keys())
        if failed:
            raise RuntimeError(f"LBF worker {failed[0]} failed {MAX_TRIES} times in a row, see the warnings above")
        return replies

    def _ask(self, name: str, argument: Callable[[Games], Any], whom: Iterable[int]) -> dict[int, Any]:
        """Answers by worker, of those that did not die on it."""
        replies, whom = {}, list(whom)
        for index in whom:
            with contextlib.suppress(WorkerDied):  # it says so again when its answer is awaited
                self.workers[index].ask((name, argument(self.shares[index])))
        for index in whom:
            try:
                replies[index] = self.workers[index].receive()
            except WorkerDied as death:
                self._replace(index, death)
        return replies

    def _replace(self, index: int, death: WorkerDied) -> None:
        """Drop the episodes of a dead worker and start another with new random streams."""
        worker, share = self.workers[index], self.shares[index]
        lost = share[~(self.shown.terminated | self.shown.truncated)[share]]
        log.warning("LBF worker %d is replaced, %d episodes are dropped: %s", index, len(lost), death)
        self.dropped[lost] = self.shown.truncated[lost] = True
        self.shown.reward[share] = 0.0
        self.waiting[share] = True
        fresh = [derive_seed(self.seeds[game], f"restart {worker.starts}") % 2**32 for game in share]
        worker.options = {**worker.options, "seeds": fresh}
        worker.start()

    def _write(self, replies: Mapping[int, Field]) -> None:
        """Put down what the workers' games show, but for those that wait for a reset."""
        for index, reply in replies.items():
            here = ~self.waiting[self.shares[index]]
            for mine, theirs in zip(self.shown, reply, strict=True):
                mine[self.shares[index][here]] = theirs[here]

    def close(self) -> None:
        """End all processes."""
        for worker in self.workers:
            worker.close()
