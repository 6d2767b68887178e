"""What counts as a number, and checks of a map's facts: a malformed file is named before a battle stands on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from numbers import Integral, Real
from typing import Any

import numpy as np

RACES = ("T", "P", "Z")
MOST = 1_000_000  # steps of an episode, units of a group


def is_number(value: Any) -> bool:
    """Whether a value is a number, numpy's too; true and false are none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number, numpy's too; true and false are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def plain(value: Any) -> Any:
    """A value of a configuration as Python's own mapping, list, number or text."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, Set):
        return sorted(map(plain, value), key=str)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value


def check_seed(seed: Any) -> int:
    """``seed`` if the compiled functions can hold it.

    Raises:
        ValueError: it is no whole number of 64 bits.
    """
    if not is_whole(seed) or not -(2**63) <= seed < 2**63:
        raise ValueError(f"The seed must be a whole number of at most 64 bits, not {seed!r}")
    return int(seed)


def check_share(name: str, value: Any) -> float:
    """``value`` if it is in (0, 1].

    Raises:
        ValueError: it is not.
    """
    if not is_number(value) or not 0 < value <= 1:
        raise ValueError(f"{name} must be in (0, 1], not {value!r}")
    return float(value)


def check_whole(name: str, what: str, value: Any, least: int) -> int:
    """``value`` if it is a whole number of at least ``least``, and no more than anybody needs.

    Raises:
        ValueError: it is not; names the map and the entry.
    """
    if not is_whole(value) or value < least:
        raise ValueError(f"Map {name!r}: {what} must be a whole number of at least {least}, not {value!r}")
    if value > MOST:
        raise ValueError(f"Map {name!r}: {what} must be at most {MOST:,}, not {value!r}")
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
    pair = isinstance(point, list | tuple) and len(point) == 2
    if not pair or not all(is_number(v) and 0 <= v <= cells for v in point):
        raise ValueError(f"Map {name!r}: {what} must be [x, y] within 0 and {cells}, not {point!r}")
    return float(point[0]), float(point[1])
