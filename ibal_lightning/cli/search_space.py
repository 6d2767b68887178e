"""What a sweep may vary: options of ``train`` and the values to try, and how they are spelt as overrides."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from ibal_lightning.functional.options import check_choice

KEYS = ("low", "high", "step", "log")
# What would change the test along with the training, or where a trial lies.
FIXED = ("threat", "evaluation", "hydra", "logger", "seed", "seeds")
PLAIN = re.compile(r"[A-Za-z_][\w./:-]*", re.ASCII)


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
        taken = {word.partition("=")[0].lstrip("+~") for word in overrides}
        for name in map(str, space):
            if re.split(r"[./@]", name.lstrip("+~"))[0] in FIXED:
                raise ValueError(f"space.{name} cannot be searched: it would change how trials are tested")
            if name in taken:
                raise ValueError(f"{name} stands in overrides and in space; leave it out of one")
        return cls({str(name): distribution(str(name), values) for name, values in space.items()})

    def suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """The values of a trial."""
        return {name: suggest(trial, name, values) for name, values in self.options.items()}

    def words(self, values: Mapping[str, Any]) -> list[str]:
        """Overrides that set these values."""
        return [f"{name}={spelt(value)}" for name, value in values.items()]


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
        ValueError: neither a list nor a range.
    """
    try:
        if isinstance(values, list) and values and all(isinstance(v, bool | int | float | str | None) for v in values):
            return CategoricalDistribution(values)
        if isinstance(values, dict) and {"low", "high"} <= set(values):
            for key in values:
                check_choice(f"space.{name}", key, KEYS)
            whole = all(isinstance(values.get(key, 0), int) for key in ("low", "high", "step"))
            step = {"step": values["step"]} if "step" in values else {}
            kind = IntDistribution if whole else FloatDistribution
            return kind(values["low"], values["high"], log=bool(values.get("log", False)), **step)
    except (TypeError, ValueError) as error:
        raise ValueError(f"space.{name}: {error}") from error
    raise ValueError(f"space.{name}={values}: expected a list of values, or {{low: .., high: ..}} with step or log")


def spelt(value: Any) -> str:
    """A value as Hydra reads it; text that it would take for something else in quotes."""
    if value is None:
        return "null"
    if not isinstance(value, str):
        return str(value).lower() if isinstance(value, bool) else str(value)
    if PLAIN.fullmatch(value) and value.lower() not in ("null", "true", "false", "nan", "inf"):
        return value
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", value)  # backslashes count before a quote only
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return f"'{escaped}{escaped[len(escaped) - trailing :]}'"
