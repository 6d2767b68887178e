"""Options of learners: signatures that add up along a family, and checks that name what contradicts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

from ibal_lightning.functional.options import check_range


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


def check_ranges(options: object, names: Sequence[str], low: float, high: float = float("inf")) -> None:
    """Raise ``ValueError`` naming the first of the attributes ``names`` that is set and outside [low, high]."""
    for name in names:
        value = getattr(options, name)
        if value is not None:
            check_range(name, value, low, high)
