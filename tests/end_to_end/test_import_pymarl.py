"""Policies in PyMARL's layout come in and go out through the command line, play, and are trained on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

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
        (["from=broken.th", *TASK], "corrupt or not a state dict of tensors"),
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


FINETUNE = [*TASK, "debug=fast", "method=vanilla", "evaluation.attacks=[natural]", "experiment=finetune"]


def checkpoint(run: str | Path) -> dict[str, Any]:
    return torch.load(Path(run) / "checkpoints/last.ckpt", weights_only=True)


def same_weights(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("backbone", ["vdn", "qmix", "qplex"])
def test_a_run_goes_out_and_comes_back_bit_for_bit(
    backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [*TASK, f"backbone={backbone}"]
    tiny = ["debug=fast", "method=vanilla", "evaluation.attacks=[natural]", "training.updates_per_episode=1"]
    assert main([*words, *tiny, "hydra.run.dir=trained"]) == 0
    assert main(["export-pymarl", "run=trained", "out=theirs"]) == 0
    assert main(["import-pymarl", "from=theirs", *words, "out=back"]) == 0
    assert main(["export-pymarl", "run=back"]) == 0
    for file in (pymarl.AGENT_FILE, pymarl.MIXER_FILE):
        assert same_weights(pymarl.read_weights(f"theirs/{file}"), pymarl.read_weights(f"back/pymarl/{file}"))
    trained, back = checkpoint("trained"), checkpoint("back")
    online = [name for name in back["state_dict"] if not name.startswith("backbone.target")]
    assert all(torch.equal(back["state_dict"][name], trained["state_dict"][name]) for name in online)
    moments, returned = (point["optimizer_states"][0]["state"] for point in (trained, back))
    assert moments
    assert all(same_weights(moments[index], returned[index]) for index in moments)


def test_an_imported_policy_is_trained_on_with_one_command(
    saved: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["import-pymarl", f"from={saved}", *TASK, "out=run"]) == 0
    nothing = ["training.env_steps=1", "training.updates_per_episode=0"]
    assert main([*FINETUNE, "training.init_from=run", *nothing, "hydra.run.dir=still"]) == 0
    imported, still = checkpoint("run")["state_dict"], checkpoint("still")["state_dict"]
    assert all(torch.equal(imported[name], still[name]) for name in imported)
    assert all(torch.equal(still[n], still[n.replace("target_", "")]) for n in still if "target_" in n)
    assert main([*FINETUNE, "training.init_from=run", "hydra.run.dir=tuned"]) == 0
    assert not torch.equal(
        checkpoint("tuned")["state_dict"]["backbone.agent.fc1.weight"], still["backbone.agent.fc1.weight"]
    )
    config = OmegaConf.load("tuned/config.yaml")
    assert (config.backbone.epsilon_start, config.backbone.epsilon_finish, config.backbone.lr) == (0.05, 0.05, 0.0005)
    epsilon = pl.read_csv("tuned/csv/metrics.csv")["epsilon"].drop_nulls()
    assert set(epsilon) == {0.05}


def test_moments_are_taken_over_where_the_optimizer_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    first = [*TASK, "debug=fast", "method=vanilla", "evaluation.attacks=[natural]", "training.updates_per_episode=1"]
    assert main([*first, "hydra.run.dir=first"]) == 0
    nothing = ["training.env_steps=1", "training.updates_per_episode=0", "training.init_from=first"]
    assert main([*FINETUNE, *nothing, "backbone.lr=0.001", "hydra.run.dir=same"]) == 0
    before, after = (checkpoint(run)["optimizer_states"][0] for run in ("first", "same"))
    assert all(same_weights(before["state"][index], after["state"][index]) for index in before["state"])
    assert after["param_groups"][0]["lr"] == 0.001
    assert main([*FINETUNE, *nothing, "backbone.optimizer=rmsprop", "hydra.run.dir=other"]) == 0
    assert "The optimizer starts fresh: the saved optimizer is no RMSprop" in capfd.readouterr().err
    assert checkpoint("other")["optimizer_states"][0]["state"] == {}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["experiment=finetune"], "training.init_from=<run directory>: there is no such directory"),
        (["training.init_from=run", "backbone.hidden_dim=8"], "agent.fc1.weight: (64, 21) in the file, (8, 21) here"),
        (["training.init_from=run", "backbone.hidden_dim=8"], "backbone.hidden_dim: 64 there, 8 here"),
        (["training.init_from=run", "backbone=vdn"], "mixer.hyper_w_1.0.weight: unknown to this module"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused(
    words: list[str], message: str, saved: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["import-pymarl", f"from={saved}", *TASK, "out=run"]) == 0
    assert main([*TASK, "debug=fast", *words, "hydra.run.dir=new"]) == 2
    assert message in capfd.readouterr().err
    assert not Path("new").exists()


@pytest.mark.parametrize(
    ("words", "message"), [([], "run: a value is required"), (["run=nowhere"], "no such directory")]
)
def test_export_names_what_is_wrong(words: list[str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["export-pymarl", *words]) == 2
    assert message in capfd.readouterr().err
