"""A policy in PyMARL's layout becomes a run that can be evaluated, through the command line."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import torch

from ibal_lightning import plugins
from ibal_lightning.backbones import pymarl
from ibal_lightning.cli.app import main

TASK = ["env=lbf", "env.task=Foraging-5x5-3p-1f-v3"]


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of a random policy, saved twice as PyMARL does, at 200 and at 1000 env steps."""
    monkeypatch.chdir(tmp_path)
    node = plugins.choice("env", "lbf")
    node.task = "Foraging-5x5-3p-1f-v3"
    spec = plugins.build(node, num_envs=1, seed=0).spec
    for steps in (200, 1000):
        torch.manual_seed(steps)
        pymarl.export(plugins.build(plugins.choice("backbone", "qmix"), spec), tmp_path / "models" / str(steps))
    return tmp_path / "models"


def test_the_last_policy_is_imported_bit_for_bit_and_plays(saved: Path) -> None:
    assert main(["import-pymarl", f"from={saved}", *TASK, "out=run"]) == 0
    weights = torch.load("run/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    agent = pymarl.read_weights(saved / "1000" / "agent.th")
    for name, value in agent.items():
        ours = f"backbone.agent.{name}_l0" if name.startswith("rnn.") else f"backbone.agent.{name}"
        assert torch.equal(weights[ours], value)
    assert main(["evaluate", "run=run", "attacks=[natural,dis_1]", "evaluation.episodes=3"]) == 0
    rows = pl.read_parquet("run/results.parquet")
    assert rows["attack"].to_list() == ["natural"] * 3 + ["dis_1"] * 3
    assert set(rows["method"]) == {"imported"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["from=nowhere", *TASK], "agent.th"),
        (["from=models/200", *TASK, "backbone=mappo"], "Q-learners"),
        (["from=models/200", "env=lbf"], "fc1.weight"),
        (["from=broken.th", *TASK], "not a PyMARL weights file"),
        (TASK, "from: a value is required"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(
    words: list[str], message: str, saved: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("broken.th").write_bytes(b"no weights")
    assert main(["import-pymarl", *words, "out=run"]) == 2
    assert message in capfd.readouterr().err
    assert not Path("run").exists()
