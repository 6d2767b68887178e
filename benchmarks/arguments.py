"""What the benchmarks accept on their command lines: a number that measures something, a file that can be written."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path


def count(text: str) -> int:
    """A whole number from 1 on.

    Raises:
        argparse.ArgumentTypeError: anything else.
    """
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1 on, not {text!r}")
    return number


def seconds(text: str) -> float:
    """A time above 0.

    Raises:
        argparse.ArgumentTypeError: anything else.
    """
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"a number of seconds above 0, not {text!r}")
    return number


def program(text: str) -> str:
    """A program that can be run.

    Raises:
        argparse.ArgumentTypeError: there is none of that name.
    """
    if shutil.which(text) is None:
        raise argparse.ArgumentTypeError(f"there is no program {text!r}")
    return text


def new_file(text: str) -> Path:
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
