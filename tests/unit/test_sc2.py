"""Which engine plays, and what a user is told when the genuine game is missing."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from ibal_lightning.envs import sc2
from ibal_lightning.envs.smac import Smac


@pytest.fixture
def genuine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder tree like that of an installed package and game; the tests remove parts of it."""
    (tmp_path / "site" / "smac" / "env" / "starcraft2").mkdir(parents=True)
    (tmp_path / "site" / "smac" / "__init__.py").touch()
    (tmp_path / "game" / "Versions").mkdir(parents=True)
    (tmp_path / "game" / "Maps" / "SMAC_Maps").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("SC2PATH", str(tmp_path / "game"))
    sc2._announce.cache_clear()
    return tmp_path


def test_a_complete_installation_is_found(genuine: Path) -> None:
    assert sc2.find_missing("smac") == ""
    assert sc2.resolve_engine("auto", "smac") == "sc2"
    assert sc2.resolve_engine("sc2", "smac") == "sc2"
    assert sc2.resolve_engine("skirmish", "smac") == "skirmish"


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("site/smac/env/starcraft2", "unrelated package of that name .*oxwhirl/smac.git"),
        ("game/Versions", "no StarCraft II was found in .*game .*SC2PATH"),
        ("game/Maps/SMAC_Maps", "map folder .*SMAC_Maps is missing"),
    ],
)
def test_every_missing_part_is_named_with_its_fix(genuine: Path, missing: str, message: str) -> None:
    (genuine / missing).rmdir()
    with pytest.raises(ValueError, match=f"(?s)env.engine=sc2 needs.*{message}.*env.engine=skirmish"):
        sc2.resolve_engine("sc2", "smac")
    assert sc2.resolve_engine("auto", "smac") == "skirmish"


def test_a_missing_package_is_named_with_its_source(genuine: Path) -> None:
    with pytest.raises(ValueError, match=r"'smacv2' is not installed .*oxwhirl/smacv2.git"):
        sc2.resolve_engine("sc2", "smacv2")


def test_auto_says_what_it_took_once(genuine: Path, caplog: pytest.LogCaptureFixture) -> None:
    (genuine / "game/Versions").rmdir()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            sc2.resolve_engine("auto", "smac")
    assert len(caplog.records) == 1
    assert "embedded engine 'skirmish'" in caplog.text


def test_unknown_engines_and_mixed_options_are_refused(genuine: Path) -> None:
    with pytest.raises(ValueError, match="allowed: auto, sc2, skirmish"):
        sc2.resolve_engine("starcraft", "smac")
    with pytest.raises(ValueError, match=r"env\.spawn is of the embedded engine"):
        Smac(map_name="3m", engine="sc2", spawn="fitted")


@pytest.mark.parametrize("goes_on", [False, True])
def test_the_genuine_game_is_told_what_time_limits_mean(genuine: Path, goes_on: bool) -> None:
    env = Smac(map_name="3m", engine="sc2", num_envs=1, continuing_episode=goes_on, obs_terrain_height=True)
    assert env._games.workers[0].options["options"]["continuing_episode"] is goes_on
    env.close()
