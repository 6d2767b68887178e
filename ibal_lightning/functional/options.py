"""Options: signatures that add up along a family, and checks with one clear message for every mistake."""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ibal_lightning.messages import did_you_mean

SMALLEST_EPS = 1e-12  # an optimizer's eps of 0 divides 0 by 0 where a gradient has always been 0


def adds_options(source: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate an ``__init__(self, spec, *, own=..., **options)``: its signature also shows the keywords of ``source``.

    ``source`` is a parent class or a dataclass of options. The constructor signature is the configuration schema;
    without this every class of a family would state every default again.
    """

    def decorate(init: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(init).parameters.values() if p.kind is not p.VAR_KEYWORD]
        names = {p.name for p in own}
        inherited = inspect.signature(source.__init__).parameters.values()  # type: ignore[misc]
        merged = own + [p for p in inherited if p.kind is p.KEYWORD_ONLY and p.name not in names]
        init.__signature__ = inspect.Signature(merged)  # type: ignore[attr-defined]
        init.__annotations__ = {p.name: p.annotation for p in merged if p.annotation is not p.empty} | {"return": None}
        return init

    return decorate


def split_options(options: Mapping[str, Any], source: type) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options that are keywords of ``source``, and the others."""
    names = {p.name for p in inspect.signature(source).parameters.values() if p.kind is p.KEYWORD_ONLY}
    return {k: v for k, v in options.items() if k in names}, {k: v for k, v in options.items() if k not in names}


def check_choice(name: str, value: object, allowed: Sequence[str]) -> None:
    """Refuse a value outside ``allowed``.

    Raises:
        ValueError: names the option, the allowed values and the nearest one.
    """
    if value in allowed:
        return
    raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}{did_you_mean(value, allowed)}")


def check_range(name: str, value: float, low: float, high: float = float("inf")) -> None:
    """Refuse a number outside the closed interval.

    Raises:
        ValueError: names the option and the interval.
    """
    if not low <= value <= high:
        limits = f">= {low:g}" if high == float("inf") else f"between {low:g} and {high:g}"
        raise ValueError(f"{name} must be {limits}, got {value}")


def check_rate(name: str, value: float) -> None:
    """Refuse a learning rate that learns nothing or is no number.

    Raises:
        ValueError: names the option.
    """
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be a finite number above 0, got {value}")


def whole(name: str, value: object, least: int | None = None) -> int:
    """A whole number as an ``int``: numpy's and torch's count, true and false do not.

    Raises:
        ValueError: it is none, or below ``least``; names the option.
    """
    try:
        truth = isinstance(value, bool) or str(getattr(value, "dtype", "")).endswith("bool")
        number = None if truth else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None or (least is not None and number < least):
        limit = "" if least is None else f" of at least {least}"
        raise ValueError(f"{name} must be a whole number{limit}, not {value!r}")
    return number


def check_ranges(
    options: object, names: Sequence[str], low: float, high: float = float("inf"), *, prefix: str = ""
) -> None:
    """Raise ``ValueError`` naming the first of the attributes ``names`` that is set and outside [low, high]."""
    for name in names:
        value = getattr(options, name)
        if value is not None:
            check_range(f"{prefix}{name}", value, low, high)


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
