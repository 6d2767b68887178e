"""What a sweep may vary, and that Hydra reads values as they were."""

from __future__ import annotations

import math
from typing import Any

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st

from ibal_lightning.cli.search_space import Space, spelt

SPACE = {
    "attack.eta": {"low": 0.4, "high": 0.9},
    "attack.K": {"low": 1, "high": 3},
    "attack.alpha": {"low": 1.02, "high": 1.5, "log": True},
    "attack.trigger": ["step", "hold"],
    "attack.symmetric": [True, False],
    "attack.p_max_init": [None, 1],
}


def test_values_are_inside_the_space_and_spelt_as_hydra_reads_them() -> None:
    space, study = Space.parse(SPACE, []), optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(50):
        values = space.suggest(study.ask())
        assert 0.4 <= values["attack.eta"] <= 0.9
        assert values["attack.K"] in (1, 2, 3)
        assert isinstance(values["attack.K"], int)
        assert 1.02 <= values["attack.alpha"] <= 1.5
        words = space.words(values)
        assert f"attack.eta={values['attack.eta']}" in words
        assert f"attack.symmetric={'true' if values['attack.symmetric'] else 'false'}" in words
        assert f"attack.p_max_init={'null' if values['attack.p_max_init'] is None else 1}" in words


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({}, ["space is empty"]),
        ({"attack.eta": 0.5}, ["space.attack.eta", "expected a list of values"]),
        ({"attack.eta": []}, ["space.attack.eta", "expected a list of values"]),
        ({"attack.eta": {"low": 1}}, ["space.attack.eta", "expected a list of values"]),
        ({"attack.eta": {"low": 0.9, "high": 0.4}}, ["space.attack.eta", "low"]),
        ({"attack.eta": {"low": 0.1, "high": 0.4, "logg": True}}, ["space.attack.eta", "did you mean 'log'"]),
        ({"attack.K": {"low": "one", "high": 2}}, ["space.attack.K: low must be a finite number, got 'one'"]),
        ({"attack.K": {"low": False, "high": 2}}, ["space.attack.K: low must be a finite number, got False"]),
        ({"attack.eta": {"low": math.nan, "high": 0.4}}, ["space.attack.eta: low must be a finite number, got nan"]),
        ({"attack.eta": {"low": 0.1, "high": math.inf}}, ["space.attack.eta: high must be a finite number, got inf"]),
        ({"attack.eta": {"low": 0.1, "high": 0.4, "log": "false"}}, ["log must be true or false, got 'false'"]),
        ({"attack.K": [1, 2, 1]}, ["space.attack.K: 1 and 1 are equal; leave one out"]),
        ({"attack.symmetric": [1, True]}, ["space.attack.symmetric: 1 and true are equal"]),
        ({"threat.dims": [0.1, 0.2]}, ["space.threat.dims", "how trials are tested"]),
        ({"+threat.dims": [0.1, 0.2]}, ["threat.dims", "how trials are tested"]),
        ({"threat": ["default"]}, ["space.threat", "how trials are tested"]),
        ({"hydra/launcher": ["basic"]}, ["hydra/launcher", "how trials are tested"]),
        ({"seed": [0, 1]}, ["space.seed", "how trials are tested"]),
        ({"attack.alpha": [1.1, 1.2]}, ["attack.alpha", "overrides and in space"]),
        ({"+attack.alpha": [1.1, 1.2]}, ["attack.alpha", "overrides and in space"]),
    ],
)
def test_impossible_spaces_are_named(space: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        Space.parse(space, ["env.map_name=3m", "attack.alpha=1.3"])
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize(
    "name",
    [
        *("env", "env.map_name", "++env.switches.stats", "env@_global_", "debug", "experiment", "training.resume"),
        *("experiment/by_backbone@_global_", "training.test_interval", "training.test_episodes"),
    ],
)
def test_trials_play_one_game_and_meet_one_test(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be searched: it would change the game or how trials are tested"):
        Space.parse({name: ["a", "b"]}, [])


def test_how_trials_train_may_be_searched() -> None:
    names = ["training", "training.init_from", "training.stop_at", "backbone.lr", "method", "attack"]
    assert list(Space.parse({name: ["a", "b"] for name in names}, ["env.map_name=3m"]).options) == names


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]))


@given(TEXTS | st.text("019aeEfFiInNuU_.:/-+"))
@example("a,b")
@example("null")
@example("1")
@example("it's \\'")
@example("C:\\x\\")
def test_text_reaches_hydra_as_it_was(text: str) -> None:
    override = OverridesParser.create().parse_override(f"key={spelt(text)}")
    assert override.value() == text
    assert isinstance(override.value(), str)


@pytest.mark.parametrize("text", ["3m", "2s3z", "2c_vs_64zg", "outputs/2024-01-01/run", "step"])
def test_plain_text_has_no_quotes(text: str) -> None:
    assert spelt(text) == text
