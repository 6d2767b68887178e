"""The commands of ``benchmarks/`` start from a checkout, name mistakes, and write what others read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.oracle import ORACLE

FOLDER = Path(__file__).parents[2] / "benchmarks"
COMMANDS = ("engine", "estimators", "fidelity", "learning", "romance", "victims")


def run(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FOLDER / f"{name}.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    answer = run(name, "--help")
    assert answer.returncode == 0, answer.stderr
    assert f"{name}.py" in answer.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "jiter=true"], "Unknown battle switch 'jiter': did you mean jitter"),
        (["--set", "stats=liberty"], "Unknown battle switch 'stats'"),
        (["--set", "jitter"], "'jitter' is not RULE=VALUE"),
        (["--set", "armor=false", "--set", "jitter=1"], "jitter must be true or false"),
        (["--games", "0"], "--games must be at least 1"),
        (["--policies", "/nowhere"], "No policies at /nowhere"),
    ],
)
def test_mistakes_are_named_before_anything_is_played(words: list[str], message: str) -> None:
    answer = run("fidelity", "--policies", str(FOLDER), *words)
    assert answer.returncode != 0
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.skipif(not (ORACLE / "wall").is_dir(), reason="needs policies of the real game, see docs/fidelity.md")
def test_fidelity_writes_its_rows(tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    words = ["--policies", str(ORACLE), "--sources", "wall", "--maps", "3m", "--games", "4", "--json", str(out)]
    answer = run("fidelity", *words, "--set", "armor=false", "--set", "jitter=false")
    assert answer.returncode == 0, answer.stderr
    written = json.loads(out.read_text())
    assert written["settings"]["switches"] == {"armor": False, "jitter": False}
    assert {row["name"] for row in written["rows"]} == {"qmix", "vdn", "qplex"}
    for row in written["rows"]:
        assert row["games"] == 4
        assert 0 <= row["win_rate"][1] <= row["win_rate"][0] <= row["win_rate"][2] + 1e-9
