"""Options of a config held against the constructor that will receive them: names and types."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

from ibal_lightning.messages import did_you_mean
from ibal_lightning.signatures import open_ended, runtime_options


def check_options(where: str, target: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as the constructor wants them (3 for a float becomes 3.0, 1e5 for an int becomes 100000).

    Args:
        where: what the message calls the owner, such as ``attack``.
        target: the class or function to be called.
        values: options by name.

    Raises:
        ValueError: names an unknown option with the nearest known one, or an option, its value and the type expected.
    """
    known = runtime_options(target)
    for name in values:
        if name not in known and not open_ended(target):
            own = ", ".join(option.name for option in known.values() if not option.required) or "no options"
            raise ValueError(
                f"{where}.{name}: {_name(target)} has no such option{did_you_mean(name, known)}; it has {own}"
            )
    hints = _hints(target)
    return {name: _converted(f"{where}.{name}", value, hints.get(name, Any)) for name, value in values.items()}


def _converted(name: str, value: Any, hint: Any) -> Any:
    try:
        return convert(value, hint)
    except TypeError:
        raise ValueError(f"{name}={value!r}: expected {_words(hint)}, got {type(value).__name__}") from None


def convert(value: Any, hint: Any) -> Any:
    """The value as an instance of a plain type, a union or a literal; other hints are not judged.

    Raises:
        TypeError: it is not one.
    """
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _convert_union(value, get_args(hint))
    if origin is Literal:
        accepted: bool = value in get_args(hint)
    elif hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    elif hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    elif hint in (bool, int, float, str, type(None)):
        accepted = isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
    else:
        accepted = True
    if not accepted:
        raise TypeError
    return value


def _convert_union(value: Any, members: tuple[Any, ...]) -> Any:
    if type(value) in members:
        return value
    for member in members:
        try:
            return convert(value, member)
        except TypeError:
            continue
    raise TypeError


def _hints(target: Any) -> dict[str, Any]:
    """Type hints of the constructor's parameters, those of parents included; empty where they cannot be resolved."""
    classes = target.__mro__ if inspect.isclass(target) else (target,)
    functions = (
        [vars(cls)["__init__"] for cls in classes if "__init__" in vars(cls)] if inspect.isclass(target) else classes
    )
    hints: dict[str, Any] = {}
    for function in functions:
        try:
            hints = typing.get_type_hints(function) | hints
        except (NameError, TypeError):  # names imported for type checkers only
            continue
    return hints


def _words(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(repr, get_args(hint)))
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(_words(member) for member in get_args(hint))
    return "null" if hint is type(None) else getattr(hint, "__name__", str(hint))


def _name(target: Any) -> str:
    return getattr(target, "__name__", str(target))
