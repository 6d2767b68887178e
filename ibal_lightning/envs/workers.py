"""Environments in processes of their own, watched, replaced when they die; by default one PyMARL-style game a process.

Serves any object with ``reset``, ``step``, ``get_obs``, ``get_state``, ``get_avail_actions`` and ``get_env_info`` of
PyMARL's MultiAgentEnv. Genuine StarCraft II environments need this: ``smac`` and ``smacv2`` cannot share a process, and
a game that crashes must not take the training run with it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FIRST_ANSWER_S = 600.0  # a StarCraft II client may take minutes to load its first map


class Shown(NamedTuple):
    """What one game shows after a reset or a step."""

    obs: NDArray[np.float32]  # (n, D)
    state: NDArray[np.float32]  # (S,)
    avail: NDArray[np.bool_]  # (n, A)
    reward: float = 0.0
    over: bool = False
    info: Mapping[str, Any] = {}


Answer = Callable[[Any, Any], Any]  # (environment, request) -> reply


class WorkerDied(RuntimeError):
    """The process of a game is gone, hangs, or its environment raised an error."""


def serve(pipe: Connection, make: Callable[..., Any], options: Mapping[str, Any], answer: Answer) -> None:
    """The worker's life: build the environment, answer until told to stop or the parent is gone."""
    if hasattr(os, "setsid"):
        os.setsid()  # a group of its own, so that the game it starts can be ended with it
    signal.signal(signal.SIGTERM, stop)
    env = None
    try:
        env = make(**options)
        pipe.send(dict(env.get_env_info()))
        while (request := pipe.recv()) is not None:
            pipe.send(answer(env, request))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        pass
    except Exception:
        with contextlib.suppress(OSError):
            pipe.send(traceback.format_exc())
    finally:
        if env is not None:
            env.close()


def stop(*_: Any) -> None:
    """Leave by an exception, so that the environment is closed and the game it started ends."""
    raise KeyboardInterrupt


def answer_pymarl(env: Any, request: Any) -> Shown:
    """Reset (request "reset") or step (request: list of actions), then look in PyMARL's order: state, mask, obs."""
    if isinstance(request, str):
        env.reset()
        reward, over, info = 0.0, False, {}
    else:
        reward, over, info = env.step(request)
    state, avail = env.get_state(), env.get_avail_actions()
    return Shown(
        np.stack(env.get_obs()).astype(np.float32),
        np.asarray(state, np.float32),
        np.asarray(avail, bool),
        float(reward),
        bool(over),
        dict(info),
    )


class Worker:
    """One game's process. ``ask`` and ``receive`` raise ``WorkerDied`` when it fails; ``start`` replaces it.

    Args:
        make: module-level function that builds the environment in the new process.
        options: its keyword arguments; they must be picklable.
        answer: module-level function that carries out a request; by default those of one PyMARL-style game.
        timeout_s: how long an answer may take, in seconds, before the process counts as hung.
    """

    def __init__(
        self,
        make: Callable[..., Any],
        options: Mapping[str, Any],
        *,
        answer: Answer = answer_pymarl,
        timeout_s: float = 120.0,
    ) -> None:
        self.make, self.options, self.answer, self.timeout_s = make, options, answer, timeout_s
        self.starts = 0
        self.start()

    def start(self) -> None:
        """Start the process, ending an old one; returns at once, the process gets ready meanwhile."""
        if self.starts:
            self.kill()
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, self.make, self.options, self.answer), daemon=True)
        self.process.start()
        theirs.close()
        self.env_info: Mapping[str, Any] | None = None
        self.failure = ""
        self.starts += 1

    def get_ready(self) -> Mapping[str, Any]:
        """The environment's ``get_env_info``; waits for a process that is still starting."""
        if self.env_info is None:
            self.env_info = self._next(FIRST_ANSWER_S)
        return self.env_info

    def ask(self, request: Any) -> None:
        """Send a request: of a PyMARL-style game "reset" or a list of actions."""
        self.get_ready()
        try:
            self.pipe.send(request)
        except OSError as error:
            raise self._died(f"process {self.process.pid} is gone ({self._cause()})") from error

    def receive(self) -> Any:
        """The answer to the last request: a ``Shown`` of a PyMARL-style game."""
        return self._next(self.timeout_s)

    def _next(self, patience_s: float) -> Any:
        if self.failure:
            raise WorkerDied(self.failure)
        try:
            if not self.pipe.poll(patience_s):
                raise self._died(f"process {self.process.pid} gave no answer for {patience_s:g} s")
            reply = self.pipe.recv()
        except (EOFError, OSError) as error:
            raise self._died(f"process {self.process.pid} is gone ({self._cause()})") from error
        if isinstance(reply, str):
            raise self._died(f"its environment failed:\n{reply}")
        return reply

    def _died(self, failure: str) -> WorkerDied:
        """Remember the first failure: later ones only follow from it."""
        self.failure = self.failure or failure
        return WorkerDied(self.failure)

    def _cause(self) -> str:
        self.process.join(1.0)
        code = self.process.exitcode
        return "still running" if code is None else f"exit code {code}"

    def kill(self) -> None:
        """End the process and everything it started."""
        self.pipe.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg") and self.process.pid and self.process.is_alive():
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()

    def close(self) -> None:
        """Let the environment close itself, and end the process if it does not."""
        with contextlib.suppress(OSError):
            self.pipe.send(None)
            self.process.join(10.0)
        self.kill()
