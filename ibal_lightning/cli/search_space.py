"""What a sweep may vary: options of ``train`` and the values to try, and how they are spelt as overrides."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from ibal_lightning.functional.options import check_choice

KEYS = ("low", "high", "step", "log")
# What would change the game or the tests along with the training, or where a trial lies.
FIXED = (
    *("env", "threat", "evaluation", "training.test_interval", "training.test_episodes"),
    *("experiment", "debug", "training.resume", "hydra", "logger", "seed", "seeds"),
)
PLAIN = re.compile(r"[\w./:-]+", re.ASCII)


@dataclass(frozen=True)
class Space:
    """Option -> distribution."""

    options: Mapping[str, BaseDistribution]

    @classmethod
    def parse(cls, space: Any, overrides: Sequence[str]) -> Space:
        """From the config: a list of values, or ``{low, high}`` with ``step`` or ``log``; whole numbers stay whole.

        Raises:
            ValueError: nothing to vary, an option that may not or cannot vary, or values that make no range.
        """
        if not space:
            raise ValueError(
                "space is empty: choose a search, sweep=attack_strength, or name an option and its values, "
                "'space={attack.eta:{low:0.4,high:0.9}}'"
            )
        taken = {setting(word) for word in overrides}
        for name in map(str, space):
            if within(name, FIXED):
                raise ValueError(f"space.{name} cannot be searched: it would change the game or how trials are tested")
            if setting(name) in taken:
                raise ValueError(f"{name} stands in overrides and in space; leave it out of one")
        return cls({str(name): distribution(str(name), values) for name, values in space.items()})

    def suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """The values of a trial."""
        return {name: suggest(trial, name, values) for name, values in self.options.items()}

    def words(self, values: Mapping[str, Any]) -> list[str]:
        """Overrides that set these values."""
        return [f"{name}={spelt(values[name])}" for name in self.options]


def setting(word: str) -> str:
    """The option or group that a word sets, dotted: ``hydra.launcher`` for ``+hydra/launcher@x=y``."""
    return re.split("[@=]", word.lstrip("+~"))[0].replace("/", ".")


def within(word: str, settings: Sequence[str]) -> bool:
    """Whether a word sets one of these or something below it."""
    return any(f"{setting(word)}.".startswith(f"{name}.") for name in settings)


def suggest(trial: optuna.Trial, name: str, values: BaseDistribution) -> Any:
    """The trial's value of one option."""
    if isinstance(values, CategoricalDistribution):
        return trial.suggest_categorical(name, values.choices)
    if isinstance(values, IntDistribution):
        return trial.suggest_int(name, values.low, values.high, step=values.step, log=values.log)
    assert isinstance(values, FloatDistribution)
    return trial.suggest_float(name, values.low, values.high, step=values.step, log=values.log)


def distribution(name: str, values: Any) -> BaseDistribution:
    """The values of one option.

    Raises:
        ValueError: neither a list of different values nor a range.
    """
    try:
        if isinstance(values, list) and values and all(isinstance(v, bool | int | float | str | None) for v in values):
            return choices(values)
        if isinstance(values, dict) and {"low", "high"} <= set(values):
            return number_range(values)
    except ValueError as error:
        raise ValueError(f"space.{name}: {error}") from error
    raise ValueError(f"space.{name}={values}: expected a list of values, or {{low: .., high: ..}} with step or log")


def choices(values: Sequence[Any]) -> CategoricalDistribution:
    """One of these.

    Raises:
        ValueError: two are equal, as 1 and true are to Optuna; they would be one value with twice the chance.
    """
    for number, value in enumerate(values):
        if value in values[:number]:
            raise ValueError(f"{spelt(values[values.index(value)])} and {spelt(value)} are equal; leave one out")
    return CategoricalDistribution(values)


def number_range(values: Mapping[str, Any]) -> BaseDistribution:
    """The numbers from ``low`` to ``high``, whole where all that is given is whole.

    Raises:
        ValueError: an unknown key, an end or a step that is no finite number, a ``log`` that is not true or false, or
            no number between the ends.
    """
    for key, value in values.items():
        check_choice("a key", key, KEYS)
        if key == "log" and not isinstance(value, bool):
            raise ValueError(f"log must be true or false, got {value!r}")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if key != "log" and not (number and math.isfinite(value)):
            raise ValueError(f"{key} must be a finite number, got {value!r}")
    whole = all(isinstance(value, int) for value in values.values())  # true and false are whole, too
    return (IntDistribution if whole else FloatDistribution)(**values)


def spelt(value: Any) -> str:
    """A value as Hydra reads it; text that it would take for something else in quotes."""
    if value is None:
        return "null"
    if not isinstance(value, str):
        return str(value).lower() if isinstance(value, bool) else str(value)
    if PLAIN.fullmatch(value) and OverridesParser.create().parse_override(f"key={value}").value() == value:
        return value
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", value)  # backslashes count before a quote only
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return f"'{escaped}{escaped[len(escaped) - trailing :]}'"
