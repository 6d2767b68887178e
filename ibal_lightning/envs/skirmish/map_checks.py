"""Checks of what a map's facts say, so that a malformed file is named before a battle stands on it."""

from __future__ import annotations

import math
from typing import Any

RACES = ("T", "P", "Z")


def check_whole(name: str, what: str, value: Any, least: int) -> int:
    """``value`` if it is a whole number of at least ``least``.

    Raises:
        ValueError: it is not; names the map and the entry.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"Map {name!r}: {what} must be a whole number of at least {least}, not {value!r}")
    return value


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
    numbers = [v for v in point if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)]
    if len(point) != 2 or len(numbers) != 2 or not all(0 <= v <= cells for v in numbers):
        raise ValueError(f"Map {name!r}: {what} must be [x, y] within 0 and {cells}, not {point!r}")
    return float(point[0]), float(point[1])
