"""Checks of options that name a choice: one clear message for every mistyped word."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import torch


def check_choice(name: str, value: object, allowed: Sequence[str]) -> None:
    """Refuse a value outside ``allowed``.

    Raises:
        ValueError: names the option, the allowed values and the nearest one.
    """
    if value in allowed:
        return
    near = difflib.get_close_matches(str(value), allowed, 1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}{hint}")


def check_range(name: str, value: float, low: float, high: float = float("inf")) -> None:
    """Refuse a number outside the closed interval.

    Raises:
        ValueError: names the option and the interval.
    """
    if not low <= value <= high:
        limits = f">= {low:g}" if high == float("inf") else f"between {low:g} and {high:g}"
        raise ValueError(f"{name} must be {limits}, got {value}")


def check_counts(**counts: int) -> None:
    """Refuse an attack's count below 1.

    Raises:
        ValueError: names the option.
    """
    for name, value in counts.items():
        check_range(f"attack.{name}", value, 1)


def usable_device(name: str, value: str) -> torch.device:
    """The device that an option names.

    Raises:
        ValueError: torch knows no such device, or this machine has none.
    """
    try:
        device = torch.device(value)
    except RuntimeError:
        raise ValueError(f"{name} must name a device of torch such as cpu or cuda, got {value!r}") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"{name}={value!r}: torch finds no GPU here; use {name}=cpu")
    return device
