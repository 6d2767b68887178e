"""What the benchmarks accept on their command lines: a number that measures something, a file that can be written."""

from __future__ import annotations

import argparse
import math
import shutil
from collections.abc import Callable
from pathlib import Path


def above_zero(kind: type[int] | type[float], what: str) -> Callable[[str], float]:
    """A parser of finite numbers above 0 of a kind, which refuses anything else as not being ``what``."""

    def parse(text: str) -> float:
        try:
            number = kind(text)
        except ValueError:
            number = 0
        if not 0 < number < math.inf:
            raise argparse.ArgumentTypeError(f"{what}, not {text!r}")
        return number

    return parse


count = above_zero(int, "a whole number from 1 on")
duration = above_zero(float, "a number of seconds above 0")


def program(text: str) -> str:
    """A program that can be run.

    Raises:
        argparse.ArgumentTypeError: there is none of that name.
    """
    if shutil.which(text) is None:
        raise argparse.ArgumentTypeError(f"there is no program {text!r}")
    return text


def output_file(text: str) -> Path:
    """A path in a folder that exists: known before the work, not after it.

    Raises:
        argparse.ArgumentTypeError: there is no such folder, or the path is a folder.
    """
    path = Path(text)
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{path}: no such directory: {path.parent}")
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a directory")
    return path
