"""Options held against the constructor: names and types, with messages that name both."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from ibal_lightning import plugins
from ibal_lightning.option_types import check_options, convert


class Parent:
    def __init__(self, spec: Any, *, width: int = 8, gain: float | None = None, **others: Any) -> None:
        self.width, self.gain, self.others = width, gain, others


class Closed(Parent):
    def __init__(self, spec: Any, *, mode: Literal["soft", "hard"] = "soft", on: bool = True, **options: int) -> None:
        super().__init__(spec, **options)
        self.mode, self.on = mode, on


class Strict(Closed):
    def __init__(self, spec: Any, *, name: str = "x") -> None:
        super().__init__(spec)
        self.name = name


@given(st.integers(-(10**9), 10**9))
def test_whole_numbers_fit_int_and_float(value: int) -> None:
    assert convert(value, int) == value
    assert convert(float(value), int) == value
    assert type(convert(float(value), int)) is int
    assert type(convert(value, float)) is float
    assert convert(value, int | None) == value


@given(st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: not x.is_integer()))
def test_fractions_do_not_fit_int(value: float) -> None:
    with pytest.raises(TypeError):
        convert(value, int)
    assert convert(value, int | float) == value


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (True, int),
        (True, float),
        (1, bool),
        ("1", int),
        (1, str),
        (None, int),
        ("mild", Literal["soft"]),
        ([1], str | None),
    ],
)
def test_other_types_are_refused(value: object, hint: object) -> None:
    with pytest.raises(TypeError):
        convert(value, hint)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nmae": "y"}, r"attack\.nmae: Strict has no such option; did you mean 'name'\?; it has name"),
        ({"name": 3}, r"attack\.name=3: expected str, got int"),
    ],
)
def test_messages_name_option_value_and_type(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_options("attack", Strict, options)


def test_options_of_parents_are_known_and_judged() -> None:
    assert check_options("x", Closed, {"mode": "hard", "width": 4.0, "gain": 2}) == {
        "mode": "hard",
        "width": 4,
        "gain": 2.0,
    }
    with pytest.raises(ValueError, match=r"x\.mode='mild': expected one of 'soft', 'hard', got str"):
        check_options("x", Closed, {"mode": "mild"})
    with pytest.raises(ValueError, match=r"x\.gain='big': expected float or null, got str"):
        check_options("x", Closed, {"gain": "big"})


def test_build_gives_positional_and_supplied_arguments_and_builds_nested_nodes() -> None:
    here = f"{__name__}.Closed"
    node = OmegaConf.create({"_target_": here, "width": 3, "on": False, "inner": {"_target_": here, "spec": 5}})
    built = plugins.build(node, "spec", width=7)
    assert (built.width, built.on) == (7, False)
    assert isinstance(built.others["inner"], Closed)
