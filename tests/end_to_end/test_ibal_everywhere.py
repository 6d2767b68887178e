"""IBAL through the command line: both kinds of learner on every kind of game, and what shows its workings."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from ibal_lightning.cli import figures
from ibal_lightning.cli.app import main

GAMES = {
    "smac": ["env=smac", "env.map_name=3m"],
    "smacv2": ["env=smacv2", "env.scenario=terran_5_vs_5"],
    "lbf": ["env=lbf", "env.task=Foraging-5x5-4p-1f-v3"],
}
TINY = [
    "debug=fast", "training.env_steps=900", "training.attack_updates_per_episode=1", "evaluation.attacks=[natural]",
    "attack.warmup_updates=4", "attack.rows=16", "attack.hidden=8",
]  # fmt: skip


def train(run: Path, *words: str) -> Path:
    assert main([*words, f"hydra.run.dir={run}"]) == 0
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """One IBAL run for each learner and game."""
    found = {}
    for backbone in ("qmix", "mappo"):
        for game, words in GAMES.items():
            folder = tmp_path_factory.mktemp("runs") / "run"
            found[backbone, game] = train(folder, "method=ibal", f"backbone={backbone}", *words, *TINY)
    return found


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("backbone", ["qmix", "mappo"])
def test_ibal_attacks_and_learns(runs: dict[tuple[str, str], Path], backbone: str, game: str) -> None:
    run = runs[backbone, game]
    state = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert int(state["attack.updates"]) >= 4
    metrics = pl.read_csv(run / "csv/metrics.csv", infer_schema_length=None)
    assert metrics["attack/actions_changed_frac"].max() > 0  # type: ignore[operator]
    assert metrics["attack/p_max"].drop_nulls().len() > 0
    assert len(pl.read_parquet(run / "results.parquet")) == 4


def test_no_group_is_vanilla_for_policy_gradients_too(tmp_path: Path) -> None:
    words = ["backbone=mappo", *GAMES["lbf"], "debug=fast", "evaluation.attacks=[natural]"]
    plain = train(tmp_path / "plain", *words, "method=vanilla")
    none = train(tmp_path / "none", *words, "method=ibal", "attack.K=0")
    first, second = (
        torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for run in (plain, none)
    )
    names = [name for name in first if name.startswith("backbone.")]
    assert names
    assert all(torch.equal(first[name], second[name]) for name in names)


def test_influence_is_measured_and_kept(runs: dict[tuple[str, str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    run = runs["qmix", "lbf"]
    words = ["influence", f"run={run}", "episodes=16", "num_envs=8", "updates=5", "moments=8", "draws=16"]
    assert main(words) == 0
    assert "redundancy" in capsys.readouterr().out
    first = (run / "influence.json").read_text()
    nats = json.loads(first)["nats"]
    assert all(agent != source for agent, source in json.loads(first)["pairs"])
    assert nats["redundancy"]["mean"] == pytest.approx(nats["observation"]["mean"] - nats["bound"]["mean"], abs=1e-6)
    assert main(words) == 0
    assert (run / "influence.json").read_text() == first


def test_influence_refuses_what_it_cannot_measure(
    runs: dict[tuple[str, str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs["qmix", "lbf"]
    assert main(["influence", f"run={run}", "K=3"]) == 2
    assert "between 0 and half of the team (2 of 4 agents)" in capsys.readouterr().err
    assert main(["influence", f"run={run}", "moments=0"]) == 2
    assert "moments must be >= 1" in capsys.readouterr().err
    few = ["episodes=8", "updates=2", "draws=1"]  # the least that there is something to measure in
    assert main(["influence", f"run={run}", *few, "every=1"]) == 0
    assert "NaN" not in (run / "influence.json").read_text()
    assert main(["influence", f"run={run}", *few, "every=1", "moments=1"]) == 2
    assert "leave steps of 1 held-out games to measure on" in capsys.readouterr().err


def test_figures_are_drawn(runs: dict[tuple[str, str], Path]) -> None:
    pytest.importorskip("matplotlib")
    run = runs["qmix", "smac"]
    assert main(["figures", f"run={run}", "games=8"]) == 0
    for name in ("masked_dims", "strength"):
        assert (run / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert not list(run.glob(".*.tmp"))


def test_figures_of_another_attack(runs: dict[tuple[str, str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, Any] = {}
    ready = figures.ready_attack
    monkeypatch.setattr(figures, "ready_attack", lambda name, *rest: drawn.setdefault(name, ready(name, *rest)))
    monkeypatch.setattr(figures, "strength_figure", lambda rows: rows)
    monkeypatch.setattr(figures, "mask_figure", lambda batch, *which: batch)  # matplotlib may be missing
    monkeypatch.setattr(figures, "save", lambda figure, path: drawn.update({path.name: figure}))
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: drawn.update(threads=threads))
    few = ["evaluation.fit_episodes=4", "evaluation.fit_updates=2", "evaluation.threads=3"]
    assert main(["figures", f"run={runs['qmix', 'lbf']}", "under=ibal_max", "games=4", *few]) == 0
    assert drawn.keys() == {"threads", "strength.png", "ibal_max", "masked_dims.png"}
    assert drawn["threads"] == 3
    assert drawn["ibal_max"].options.strength == "max"
    assert ((drawn["masked_dims.png"].group == 1).sum(1) == 1).all()


def test_figures_say_what_they_need(
    runs: dict[tuple[str, str], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["figures", f"run={runs['qmix', 'smac']}"]) == 2
    assert "pip install 'ibal-lightning[plots]'" in capsys.readouterr().err
