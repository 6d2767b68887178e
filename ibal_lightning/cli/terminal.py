"""Lines for the terminal as they are: paths and names keep their brackets, long lines stay one line."""

from __future__ import annotations

from rich.console import Console


def say(text: str, *, stderr: bool = False) -> None:
    """Print one message."""
    Console(stderr=stderr).print(text, highlight=False, markup=False, soft_wrap=True)
