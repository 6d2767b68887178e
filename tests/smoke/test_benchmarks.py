"""The commands of ``benchmarks/`` start from a checkout, name mistakes, and write what others read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ibal_lightning.backbones.pymarl import export
from ibal_lightning.backbones.q_learner import Qmix, Vdn
from ibal_lightning.envs.smac import Smac
from ibal_lightning.envs.smacv2 import SmacV2
from ibal_lightning.functional.random import seeded
from tests.oracle import ORACLE

FOLDER = Path(__file__).parents[2] / "benchmarks"
COMMANDS = ("engine", "estimators", "fidelity", "learning", "optimizer_states", "romance", "victims")


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
        (["--games", "0"], "--games: a whole number from 1 on, not '0'"),
        (["--json", "/nowhere/rows.json"], "no such directory: /nowhere"),
        (["--policies", "/nowhere"], "No policies at /nowhere"),
    ],
)
def test_mistakes_are_named_before_anything_is_played(words: list[str], message: str) -> None:
    answer = run("fidelity", "--policies", str(FOLDER), *words)
    assert answer.returncode != 0
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize("option", ["--seeds", "--jobs", "--env-steps", "--test-interval", "--epymarl-pairs"])
def test_a_number_of_nothing_is_refused_before_anything_trains(option: str) -> None:
    answer = run("learning", option, "0")
    assert answer.returncode == 2
    assert f"{option}: a whole number from 1 on, not '0'" in answer.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seconds", "nan"], "--seconds: a number of seconds above 0, not 'nan'"),
        (["--peer-python", "/nonexistent"], "--peer-python: there is no program '/nonexistent'"),
    ],
)
def test_the_engine_is_not_measured_before_its_words_are_read(words: list[str], message: str) -> None:
    answer = run("engine", *words)
    assert answer.returncode == 2
    assert message in answer.stderr


def test_fidelity_plays_extended_partial_observability_and_passes_over_what_is_no_policy(tmp_path: Path) -> None:
    spec = SmacV2(num_envs=1, scenario="zerg_5_vs_5_epo", engine="skirmish").spec
    export(Qmix(spec), tmp_path / "lab/zerg_5_vs_5_epo/mine")
    broken = tmp_path / "lab/qmix/3m"
    broken.mkdir(parents=True)
    torch.save({"fc1.weight": torch.tensor(1.0)}, broken / "agent.th")
    answer = run("fidelity", "--policies", str(tmp_path), "--games", "2", "--json", str(tmp_path / "rows.json"))
    assert answer.returncode == 0, answer.stderr
    written = json.loads((tmp_path / "rows.json").read_text())
    assert [row["map"] for row in written["rows"]] == ["zerg_5_vs_5_epo"]
    assert [row["folder"] for row in written["skipped"]] == [str(broken)]


@pytest.mark.parametrize("left", ["policies", "attackers"])
def test_romance_names_what_is_missing(tmp_path: Path, left: str) -> None:
    folder = tmp_path / "romance/2s3z"
    if left == "attackers":
        export(Vdn(Smac(num_envs=1, map_name="2s3z", engine="skirmish").spec), folder / "vanilla")
    answer = run("romance", "--policies", str(tmp_path), "--games", "2")
    assert answer.returncode == 1
    assert f"no {left}" in answer.stderr
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


def test_optimizer_states_are_read_as_shares_of_slots_and_deaths(tmp_path: Path) -> None:
    """2s3z: slot 0 held a stalker in three of four steps, and agent 4 was dead in half of them."""
    spec = Smac(num_envs=1, map_name="2s3z", engine="skirmish").spec
    folder = tmp_path / "qmix/2s3z"
    with seeded(0, "backbone"):  # some untrained teams stay out of reach and lose nobody
        export(Qmix(spec), folder)
    inputs, state = torch.zeros(64, 96), torch.zeros(32, spec.state_dim)
    inputs[:, 4 + 6 : 4 + 8] = torch.tensor([1.0, 3.0])  # zealot and stalker, behind the moves and six features
    inputs[:, 4 + 3 * 8 + 6 : 4 + 3 * 8 + 8] = torch.tensor([2.0, 0.0])
    state[:, -spec.n_actions : -spec.n_actions + 2] = 5.0  # no-op and stop
    memories = {0: {"square_avg": inputs}, 1: {"square_avg": state}}
    torch.save({"state": memories, "param_groups": []}, folder / "opt.th")
    answer = run("optimizer_states", "--policies", str(tmp_path), "--json", str(tmp_path / "rows.json"))
    assert answer.returncode == 0, answer.stderr
    (row,) = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert row["seen"][0] == pytest.approx([0.25, 0, 0, 1, 0])
    assert row["seen"][1] == pytest.approx([0.75, 0, 0, 0, 0])
    assert row["dead_seen"] == pytest.approx([0, 0, 0, 0, 0.5])
    assert row["from_ends"][1] == pytest.approx([0.75, 0.25, 0, 0.25, 0.75], abs=0.03)
    assert all(0 < share < 1 for share in row["dead_played"])  # an untrained team loses everybody, one after the other


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (None, "No optimizer state"),
        ([1, 2], "holds no optimizer's memories"),
        ({0: 3}, "holds no optimizer's memories"),
        ({0: {"square_avg": torch.full((64, 96), torch.nan)}}, "negative or not finite"),
        ({0: {"exp_avg_sq": torch.ones(64, 96)}}, "no layer reads this map's observations"),
    ],
)
def test_optimizer_states_that_cannot_be_read_are_named(tmp_path: Path, state: object, message: str) -> None:
    folder = tmp_path / "qmix/2s3z"
    folder.mkdir(parents=True)
    if state is not None:
        torch.save({"state": state, "param_groups": []}, folder / "opt.th")
    answer = run("optimizer_states", "--policies", str(tmp_path))
    assert answer.returncode != 0
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr
