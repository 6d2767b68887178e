"""What counts as a number, and checks of a map's facts: a malformed file is named before a battle stands on it."""

from __future__ import annotations

from typing import Any

RACES = ("T", "P", "Z")


def is_number(value: Any) -> bool:
    """Whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def check_whole(name: str, what: str, value: Any, least: int) -> int:
    """``value`` if it is a whole number of at least ``least``.

    Raises:
        ValueError: it is not; names the map and the entry.
    """
    if not is_whole(value) or value < least:
        raise ValueError(f"Map {name!r}: {what} must be a whole number of at least {least}, not {value!r}")
    return int(value)


def check_race(name: str, what: str, value: Any) -> str:
    """``value`` if it is one of RACES.

    Raises:
        ValueError: it is not.
    """
    if value not in RACES:
        raise ValueError(f"Map {name!r}: {what} must be one of {', '.join(RACES)}, not {value!r}")
    return str(value)


def check_point(name: str, what: str, point: Any, cells: int) -> tuple[float, float]:
    """(x, y) if both lie on a map of ``cells`` x ``cells``.

    Raises:
        ValueError: they do not, or are no numbers.
    """
    if len(point) != 2 or not all(is_number(v) and 0 <= v <= cells for v in point):
        raise ValueError(f"Map {name!r}: {what} must be [x, y] within 0 and {cells}, not {point!r}")
    return float(point[0]), float(point[1])
