"""Options of learners: signatures that add up along a family, and checks that name what contradicts."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Sequence

INFINITY = float("inf")


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


def check_choice(name: str, value: str, allowed: Sequence[str]) -> None:
    """Raise ``ValueError`` with the allowed values and the nearest one unless ``value`` is among them."""
    if value not in allowed:
        near = difflib.get_close_matches(str(value), allowed, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}{hint}")


def check_range(options: object, names: Sequence[str], low: float, high: float) -> None:
    """Raise ``ValueError`` naming the first of the attributes ``names`` that is set and outside [low, high]."""
    for name in names:
        value = getattr(options, name)
        if value is not None and not low <= value <= high:
            limit = f">= {low}" if high == INFINITY else f"in [{low}, {high}]"
            raise ValueError(f"{name} must be {limit}, got {value}")
