"""Writing files so that nobody ever finds half of one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def write_then_rename(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write`` on a temporary name beside ``path``, then rename; nothing is left behind when it fails.

    Raises:
        OSError: the folder cannot be written or its disk is full; ``path`` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
