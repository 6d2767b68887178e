"""Work shared by threads: games are played in shares, and whoever is free takes the next one.

A batch's step lasts a fraction of a millisecond, less than a thread pool needs to hand it over, so nothing is handed
over: the caller opens the shares and plays them itself, and helpers that look at the same two counters play along. A
helper looks without the interpreter's lock for a fifth of a millisecond after its last share, about what its caller
needs until the next step, and then sleeps until the next turn rings; one that wakes too late finds nothing left to do.
Which thread plays a game changes nothing in it.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from ibal_lightning.envs.skirmish.kernel import kernel, part

# Counters of the board, on cache lines of their own: the next share to take, and how many have been played.
NEXT, PLAYED, BOARD_SIZE = 0, 8, 16
# Looks at the board before a helper sleeps, about a nanosecond each. Waking takes longer than many steps of a small
# map last: with a tenth of this, two threads play 3m 1.3 times as fast as one, with this 1.6 times.
PATIENCE = 200_000
SHARES_PER_THREAD = 8  # so that a thread that was held up leaves little for the others to wait for

Board = NDArray[np.int64]
atomic: Any = intrinsic  # its functions are called without the typing context they are written with


def _counter(context: Any, builder: Any, kind: Any, board: Any, index: Any) -> Any:
    """Pointer to one counter of the board."""
    array = cgutils.create_struct_proxy(kind)(context, builder, board)
    return builder.gep(array.data, [index])


@atomic
def load(typing_context: Any, board: Any, index: Any) -> Any:
    """``board[index]`` as the threads see it now, and with it everything written before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(_counter(context, builder, board, *arguments), "acquire", 8)

    return types.int64(board, types.int64), generate


@atomic
def store(typing_context: Any, board: Any, index: Any, value: Any) -> Any:
    """``board[index] = value``, seen by the threads after everything written before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store_atomic(arguments[2], _counter(context, builder, board, *arguments[:2]), "release", 8)
        return context.get_dummy_value()

    return types.void(board, types.int64, types.int64), generate


@atomic
def add_one(typing_context: Any, board: Any, index: Any) -> Any:
    """Increment ``board[index]`` in one piece; returns what it was."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        one = ir.Constant(ir.IntType(64), 1)
        return builder.atomic_rmw("add", _counter(context, builder, board, *arguments), one, "acq_rel")

    return types.int64(board, types.int64), generate


@part
def open_shares(board: Board) -> None:
    """Begin a turn; every share of the former one has been played."""
    store(board, PLAYED, 0)
    store(board, NEXT, 0)


@part
def take_share(board: Board, shares: int, patience: int) -> int:
    """The share to play next; -1 if none is open during ``patience`` further looks."""
    for _ in range(patience + 1):
        if load(board, NEXT) < shares:
            share = add_one(board, NEXT)
            if share < shares:
                return share
    return -1


@part
def count_share(board: Board) -> None:
    """A share has been played."""
    add_one(board, PLAYED)


@kernel
def all_played(board: Board, shares: int, patience: int) -> bool:
    """Whether every share of this turn has been played, looked at up to ``patience`` times."""
    looks = 0
    while load(board, PLAYED) < shares and looks < patience:
        looks += 1
    return looks < patience


class Crew:
    """Threads that play a turn together with the one that calls it.

    Args:
        play: plays shares until none is open: ``play(opens, patience)``, where ``opens`` begins a turn. It must hold no
            reference to what owns the crew, which ends with its owner.
        board: the counters that ``play`` uses.
        shares: how many shares a turn has.
        helpers: how many further threads there are.
    """

    def __init__(self, play: Callable[[bool, int], Any], board: Board, shares: int, helpers: int) -> None:
        self._play, self._board, self._shares = play, board, shares
        board[:] = shares  # nothing to do before the first turn
        self._bells = [threading.Lock() for _ in range(helpers)]
        running = threading.Event()
        running.set()
        # Where threads are more than processors, looking would take time from those that play.
        patience = PATIENCE if helpers < count_processors() else 0
        for bell in self._bells:
            bell.acquire()
            threading.Thread(target=help_out, args=(play, bell, running, patience), daemon=True).start()
        self.close = weakref.finalize(self, dismiss, self._bells, running)

    def play_turn(self) -> None:
        """Play all shares once."""
        self._wait()  # for a turn that Ctrl-C left
        for bell in self._bells:
            ring(bell)
        self._play(True, 0)
        self._wait()

    def _wait(self) -> None:
        """Until the helpers have played what they took."""
        while self._bells and not all_played(self._board, self._shares, PATIENCE):
            pass  # in Python now and then, for Ctrl-C


def count_processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ring(bell: threading.Lock) -> None:
    """Wake whoever waits for the bell, or let the next one who would wait go on."""
    if bell.locked():
        bell.release()


def help_out(play: Callable[[bool, int], Any], bell: threading.Lock, running: threading.Event, patience: int) -> None:
    """What a helper does: sleep until it is rung for, play along, look for more for a while."""
    while bell.acquire() and running.is_set():
        play(False, patience)


def dismiss(bells: list[threading.Lock], running: threading.Event) -> None:
    """Let the helpers end."""
    running.clear()
    for bell in bells:
        ring(bell)
