"""``list``: what it says about plugins that work, fail, clash, or miss something."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ibal_lightning import plugins
from ibal_lightning.cli.app import main
from ibal_lightning.cli.availability import availability, missing_packages
from ibal_lightning.offers import PluginError, offers

Install = Callable[..., Path]
WORKING = "class Theirs:\n    def __init__(self, spec, threat, *, rate: float = 0.5): ...\n"
ENTRY = {"ibal_lightning.attack": {"theirs": "their_attack:Theirs"}}


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")


def listed(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The line of an attack in ``ibal list``."""
    assert main(["list", "group=attack"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if f" {name} " in line)
    return line


def test_a_working_plugin(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install("their-attack", {"their_attack.py": WORKING}, ENTRY)
    line = listed("theirs", capsys)
    assert "their-attack 1.2" in line
    assert line.split()[-1] == "yes"


def test_a_plugin_that_fails_on_import(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install("their-attack", {"their_attack.py": "raise RuntimeError('[boom]')\n"}, ENTRY)
    line = listed("theirs", capsys)
    assert "their-attack 1.2" in line
    assert "no: fails on import: RuntimeError: [boom]" in line
    assert listed("random_obs", capsys).split()[-1] == "yes"


def test_a_clash(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install("their-attack", {"their_attack.py": WORKING}, {"ibal_lightning.attack": {"ibal": "their_attack:Theirs"}})
    line = listed("ibal", capsys)
    assert "no: attack=ibal is offered twice" in line
    assert "their-attack 1.2" in line
    assert "ibal-lightning" in line


def test_an_extra_that_is_not_installed_is_named_before_anything_runs(install: Install) -> None:
    entry = {"ibal_lightning.attack": {"theirs": "their_attack:Theirs [fast]"}}
    needs = 'Requires-Dist: no-such-distribution; extra == "fast"'
    install("their-attack", {"their_attack.py": WORKING}, entry, "Provides-Extra: fast", needs)
    advice = "needs no-such-distribution: pip install 'their-attack[fast]'"
    assert availability(offers()["attack", "theirs"]) == (False, advice)
    with pytest.raises(PluginError, match="no-such-distribution"):
        plugins.build(plugins.choice("attack", "theirs"), None, None)


def test_missing_packages_are_found_in_the_source_of_our_modules() -> None:
    assert missing_packages("ibal_lightning.attacks.disabled") == set()
    assert missing_packages("no_such_package.module") == {"no_such_package"}
