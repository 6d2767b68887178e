"""How the battle's functions are compiled, and how old compilations are noticed.

Scalar functions that touch one game: no allocation, no Python objects, no threads inside, so that threads can run
them side by side without the interpreter's lock and the same source can be compiled for a GPU.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit, typeof

STAMP = "skirmish-kernels.sha256"

OPTIONS = {"nogil": True, "error_model": "numpy", "_nrt": False, "no_rewrites": True}
# A function called once a game step or more rarely; also from Python.
kernel = njit(cache=True, no_cfunc_wrapper=True, **OPTIONS)
# A piece of one that runs once or a few times a game step, compiled on its own.
block = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **OPTIONS)
# A part of one: always inlined, because a call would copy every array header it is given. Not callable from Python
# (two wrappers less to compile): test it through ``kernel(part.py_func)``.
part = njit(forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, **OPTIONS)
# A function that does little but call others: pasted into its caller before that is compiled, so that what it calls is
# not compiled once more for it. Only where few lines are pasted few times: otherwise compilation takes minutes.
thin = njit(inline="always", **OPTIONS)


def bound(function: Any, *arguments: Any) -> Callable[..., None]:
    """A kernel with its first arguments, and further ones that keep the types of the first call, which compiles it.

    Numba would find out the types of all arguments at every call: 8 us for an arena, 2 us without.
    """
    entry: Callable[..., None] | None = None

    def call(*further: Any) -> None:
        nonlocal entry
        if entry is None:
            entry = function.compile(tuple(typeof(argument) for argument in (*arguments, *further)))
        entry(*arguments, *further)

    return call


def drop_stale_kernels(folder: Path) -> None:
    """Delete the compilations below ``folder`` if a source there has changed since they were made.

    Numba looks only at the file of the compiled function, not at the files of the functions it calls.
    """
    sources = sorted(folder.glob("*.py"))
    stamp = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    cache = folder / "__pycache__"
    with contextlib.suppress(OSError):  # a read-only installation keeps what it was shipped with
        cache.mkdir(exist_ok=True)
        note = cache / STAMP
        if note.exists() and note.read_text() == stamp:
            return
        for old in [*cache.glob("*.nbi"), *cache.glob("*.nbc")]:
            old.unlink(missing_ok=True)
        note.write_text(stamp)
