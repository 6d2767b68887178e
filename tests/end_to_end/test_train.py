"""The main job through the command line: same command, same numbers; killed and resumed, same numbers."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
import torch
from omegaconf import OmegaConf

from ibal_lightning.cli.app import main
from ibal_lightning.cli.run_directory import RunDirectory
from ibal_lightning.evaluation.results import COLUMNS

TINY = [
    "env=lbf",
    "env.task=Foraging-5x5-3p-1f-v3",
    "debug=fast",
    "training.env_steps=1200",
    "training.checkpoint_interval=400",
    "training.updates_per_episode=0.5",
    "training.attack_updates_per_episode=1",
    "evaluation.attacks=[natural,dis_1]",
]
IBAL = ["method=ibal", "attack.warmup_updates=8", "attack.rows=16", "attack.hidden=8"]


def weights(run: Path, part: str = "backbone.") -> dict[str, torch.Tensor]:
    state = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    return {name: value for name, value in state.items() if name.startswith(part) and isinstance(value, torch.Tensor)}


def same(first: Path, second: Path, part: str = "backbone.") -> bool:
    one, two = weights(first, part), weights(second, part)
    known = [name for name in one if not one[name].isnan().all()]  # a health that nothing tells is NaN, as it should be
    return bool(known) and one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in known)


def train(run: Path, *words: str) -> Path:
    assert main([*TINY, *words, f"hydra.run.dir={run}"]) == 0
    return run


@pytest.fixture(scope="module")
def ibal_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("ibal") / "run", *IBAL, "evaluation.attacks=[natural,dis_1,ibal]")


def test_a_run_directory_holds_what_others_rely_on(ibal_run: Path) -> None:
    manifest = json.loads((ibal_run / "manifest.json").read_text())
    assert manifest["fingerprint"].startswith("lbforaging-")
    assert {"sha", "dirty"} <= manifest["git"].keys()
    assert manifest["versions"]["torch"] == torch.__version__.split("+")[0] or manifest["versions"]["torch"]
    rows = pl.read_parquet(ibal_run / "results.parquet")
    assert set(COLUMNS) <= set(rows.columns)
    assert rows.group_by("attack").len().sort("attack").rows() == [("dis_1", 4), ("ibal", 4), ("natural", 4)]
    metrics = pl.read_csv(ibal_run / "csv/metrics.csv", infer_schema_length=None)
    assert {"t_env", "test_battle_won_mean", "battle_won_mean", "loss", "attack/p_max"} <= set(metrics.columns)
    assert metrics["t_env"].max() >= 1000
    assert list((ibal_run / "tensorboard").glob("events*"))


def test_the_same_command_gives_the_same_numbers(ibal_run: Path, tmp_path: Path) -> None:
    again = train(tmp_path / "run", *IBAL, "evaluation.attacks=[natural,dis_1,ibal]")
    assert same(ibal_run, again)
    assert same(ibal_run, again, "attack.")
    columns = ["attack", "episode", "return", "length", "won"]
    assert pl.read_parquet(ibal_run / "results.parquet")[columns].equals(
        pl.read_parquet(again / "results.parquet")[columns]
    )


def test_training_stops_at_the_first_test_that_reaches_what_was_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(tmp_path / "run", "method=vanilla", "training.stop_metric=test_ep_length_mean", "training.stop_at=1")
    state = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    assert 250 <= state["InducedDecPOMDP"]["env_steps"] < 600
    assert re.search(r"trained for \d+ s: .*\w+ \d+ %, ", capsys.readouterr().err)
    tests = pl.read_csv(run / "csv/metrics.csv", infer_schema_length=None).drop_nulls("time/cpu_s")
    assert len(tests) == 1


def test_no_group_is_vanilla_bit_for_bit(tmp_path: Path) -> None:
    vanilla = train(tmp_path / "vanilla", "method=vanilla")
    nobody = train(tmp_path / "nobody", *IBAL, "attack.K=0")
    assert same(vanilla, nobody)


def test_the_attack_does_change_training(ibal_run: Path, tmp_path: Path) -> None:
    assert not same(ibal_run, train(tmp_path / "vanilla", "method=vanilla"))


def test_a_stopped_run_resumes_to_the_same_numbers(ibal_run: Path, tmp_path: Path) -> None:
    run = train(tmp_path / "half", *IBAL, "training.env_steps=600", "training.keep_replay=true")
    assert main(["training.env_steps=1200", f"training.resume={run}"]) == 0
    assert same(ibal_run, run)
    assert same(ibal_run, run, "attack.")
    earlier = [pl.read_csv(file)["t_env"].max() for file in (run / "csv").glob("metrics_until_*.csv")]
    assert len(earlier) == 1
    assert earlier[0] < pl.read_csv(run / "csv/metrics.csv")["t_env"].max()
    whole, parts = RunDirectory(ibal_run).metrics(), RunDirectory(run).metrics()
    assert parts["t_env"].is_sorted()
    for column in ("attack/p_max", "test_battle_won_mean"):
        assert parts[column].drop_nulls().len() >= whole[column].drop_nulls().len() > 0
    same_logs(ibal_run, run)


def test_a_stopped_run_of_an_on_policy_learner_resumes_to_the_same_numbers(tmp_path: Path) -> None:
    words = ("backbone=mappo", "backbone.minibatches=2", "method=random_breaking")
    whole = train(tmp_path / "whole", *words)
    half = train(tmp_path / "half", *words, "training.env_steps=600")
    assert main(["training.env_steps=1200", f"training.resume={half}"]) == 0
    assert same(whole, half)
    same_logs(whole, half)


def same_logs(first: Path, second: Path) -> None:
    """Every value that both runs logged, times apart."""
    one, two = RunDirectory(first).metrics(), RunDirectory(second).metrics()
    columns = [name for name in one.columns if not name.startswith("time/")]
    assert two.select(columns).equals(one.select(columns))


def test_metrics_of_a_killed_run_are_told_once_and_not_lost(tmp_path: Path) -> None:
    run, metrics = RunDirectory(tmp_path), tmp_path / "csv" / "metrics.csv"
    assert run.metrics().is_empty()
    metrics.parent.mkdir()
    for part in ([100, 400, 700], [500, 600], [500, 800]):  # killed twice beyond its checkpoint at 400
        pl.DataFrame({"t_env": part, f"won_{part[0]}": [1.0] * len(part)}).write_csv(metrics)
        run.set_metrics_aside(400)
    assert run.metrics()["t_env"].to_list() == [100, 400, 500, 800]
    assert run.metrics()["won_500"].to_list() == [None, None, 1.0, 1.0]


def test_an_attack_that_never_began_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["method=ibal", "training.env_steps=300", "attack.rows=16", "attack.hidden=8"]
    train(tmp_path / "cold", *words)
    said = re.sub(r"\s+", " ", capfd.readouterr().err)
    assert "attack.warmup_updates" in said
    assert "training.attack_warmup_updates_per_episode (2)" in said
    train(tmp_path / "warm", *words, "attack.warmup_updates=1", "training.env_steps=600")
    assert "warmup_updates" not in capfd.readouterr().err


def test_a_falling_learning_rate_goes_on_where_it_stood(tmp_path: Path) -> None:
    words = ["method=vanilla", "training.lr_finish=0"]
    whole = train(tmp_path / "whole", *words)
    stop = ["training.keep_replay=true", "training.stop_metric=test_ep_length_mean", "training.stop_at=1"]
    run = train(tmp_path / "part", *words, *stop)
    assert not same(whole, run)
    assert main([f"training.resume={run}", "training.stop_at=null"]) == 0
    assert same(whole, run)
    optimizer = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["optimizer_states"][0]
    assert 0 <= optimizer["param_groups"][0]["lr"] < 0.1 * 1e-3


def test_resuming_a_finished_run_evaluates_its_policy(ibal_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(ibal_run, run)
    before = pl.read_parquet(run / "results.parquet")
    assert main([f"training.resume={run}"]) == 0
    after = pl.read_parquet(run / "results.parquet")
    columns = ["attack", "episode", "return", "length", "won"]
    assert after[columns].equals(before[columns])
    assert same(ibal_run, run)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["backbone.lr=1"], "keeps its own config: backbone.lr=1"),
        (["training.env_steps=2000"], "is missing, so"),
        (["training.init_from=elsewhere"], "keeps its own config: training.init_from=elsewhere"),
        (["training.env_steps=2000", "training.num_envs=2"], "games side by side and can only go on with these"),
        (["evaluation.attacks=[]"], "evaluation.attacks is empty"),
    ],
)
def test_a_refused_resume_changes_nothing(
    ibal_run: Path, words: list[str], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(ibal_run, run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert main([f"training.resume={run}", *words]) == 2
    assert said in capfd.readouterr().err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_damaged_replay_is_named_with_a_way_on(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = train(tmp_path / "run", "method=vanilla", "training.env_steps=60", "training.keep_replay=true")
    (replay,) = (run / "checkpoints").glob("replay_*.pt")
    replay.write_bytes(replay.read_bytes()[:1000])
    assert main([f"training.resume={run}", "training.env_steps=9000"]) == 2
    said = capfd.readouterr().err
    assert f"{replay} is corrupt or not a replay" in said
    assert f"training.init_from={run}" in said


def test_figures_name_a_log_that_is_none(ibal_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = damage(ibal_run, tmp_path / "run")
    (run / "csv").mkdir()
    for text in ("x,y\n1", ""):
        (run / "csv" / "metrics.csv").write_text(text)
        assert main(["figures", f"run={run}"]) == 2
        assert "metrics.csv is no log of a run" in capfd.readouterr().err


def test_the_last_line_of_a_log_may_be_cut(tmp_path: Path) -> None:
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv" / "metrics.csv").write_text("t_env,loss\n100,0.5\n200,\n300,1e-\n-")
    rows = RunDirectory(tmp_path).metrics()
    assert rows.to_dict(as_series=False) == {"t_env": [100, 200, 300], "loss": [0.5, None, None]}


def test_a_learning_rate_that_no_longer_falls_is_the_whole_one(tmp_path: Path) -> None:
    words = ["method=vanilla", "training.env_steps=300", "training.keep_replay=true"]
    run = train(tmp_path / "run", *words, "training.lr_finish=0.1")
    assert main([f"training.resume={run}", "training.env_steps=600", "training.lr_finish=1"]) == 0
    optimizer = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["optimizer_states"][0]
    assert optimizer["param_groups"][0]["lr"] == 1e-3


def test_weights_that_are_no_numbers_never_replace_a_good_checkpoint(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    words = ["method=vanilla", "backbone.lr=1e39", "training.updates_per_episode=0.25", "training.num_envs=4"]
    late = ["training.checkpoint_interval=1", "training.batch_episodes=12"]
    assert main([*TINY, *words, *late, f"hydra.run.dir={run}"]) == 1
    assert "a weight of the backbone became NaN or infinite at update 1;" in capfd.readouterr().err
    weights = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert all(bool(x.isfinite().all()) for x in weights.values())


def test_evaluate_adds_rows_of_the_same_form(ibal_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = pl.read_parquet(ibal_run / "results.parquet")
    assert main(["evaluate", f"run={ibal_run}", "attacks=[natural,random_action]", "evaluation.episodes=6"]) == 0
    after = pl.read_parquet(ibal_run / "results.parquet")
    assert after.columns == before.columns
    counts = dict(after.group_by("attack").len().rows())
    assert counts == {"natural": 6, "dis_1": 4, "ibal": 4, "random_action": 6}
    said = capsys.readouterr().out
    assert "random_action" in said
    assert said.endswith("replaced the earlier rows of natural\n")
    assert main(["evaluate", f"run={ibal_run}", "attacks=[min_q]", "evaluation.episodes=4", "evaluation.seed=7"]) == 0
    assert "replaced" not in capsys.readouterr().out
    seeds = pl.read_parquet(ibal_run / "results.parquet").group_by("attack").agg(pl.col("evaluation_seed").unique())
    assert dict(seeds.rows()) == {name: [7 if name == "min_q" else 0] for name in [*counts, "min_q"]}


def test_a_trained_policy_initialises_another_run(ibal_run: Path, tmp_path: Path) -> None:
    words = ["method=vanilla", "training.env_steps=1", "training.updates_per_episode=0"]
    run = train(tmp_path / "run", *words, f"training.init_from={ibal_run}")
    assert same(ibal_run, run, "backbone.agent")


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c_saves_a_checkpoint_and_says_how_to_go_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = [*TINY, "method=vanilla", "training.env_steps=10000000", f"hydra.run.dir={run}"]
    process = subprocess.Popen([sys.executable, "-m", "ibal_lightning", *words], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (run / "checkpoints/last.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"training.resume={run}" in said
    assert "Traceback" not in said
    assert len(list((run / "checkpoints").glob("replay_*.pt"))) == 1
    assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["InducedDecPOMDP"]["env_steps"] > 0


@pytest.mark.parametrize("word", ["threat.obs=false", "threat.dims=0", "threat.actions=false"])
def test_an_attack_is_evaluated_with_less_than_it_was_trained_with(word: str, ibal_run: Path, tmp_path: Path) -> None:
    run = damage(ibal_run, tmp_path / "run")
    assert main(["evaluate", f"run={run}", "attacks=[ibal]", "evaluation.episodes=4", word]) == 0
    spent = pl.read_parquet(run / "results.parquet")
    column = "overridden_frac" if "actions" in word else "perturbed_dims_mean"
    assert spent[column].max() == 0


def test_a_run_from_before_an_option_resumes(ibal_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(ibal_run, run)
    config = OmegaConf.load(run / "config.yaml")
    for section, name in (("training", "log_interval"), ("evaluation", "threads"), ("backbone", "n_step")):
        del config[section][name]
    OmegaConf.save(config, run / "config.yaml")
    assert main([f"training.resume={run}", "evaluation.attacks=[natural]"]) == 0


def test_a_loss_that_is_no_number_is_a_failure_with_the_batch_saved(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    wild = ["method=vanilla", "backbone.lr=1e30", "training.checkpoint_interval=1", "training.batch_episodes=8"]
    assert main([*TINY, *wild, f"hydra.run.dir={run}"]) == 1
    said = capfd.readouterr().err
    assert "became NaN or infinite at update" in said
    assert f"the last good checkpoint is {run / 'checkpoints/last.ckpt'}" in said
    assert "Traceback" not in said
    batch = torch.load(run / "nonfinite_batch.pt", weights_only=True)
    assert batch["obs"].shape[0] == 8
    assert all(bool(value.isfinite().all()) for value in weights(run).values())
    assert not (run / "results.parquet").exists()


def damage(run: Path, copy: Path) -> Path:
    """A copy of a run that a test may break."""
    for name in ("config.yaml", "manifest.json", "checkpoints/last.ckpt"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((run / name).read_bytes())
    return copy


def refuses(run: Path, capfd: pytest.CaptureFixture[str]) -> str:
    capfd.readouterr()
    assert main(["evaluate", f"run={run}"]) == 2
    said = capfd.readouterr().err
    assert "Traceback" not in said
    assert not (run / "results.parquet").exists()
    return said


@pytest.mark.parametrize("size", [0, 1000])
def test_a_corrupt_checkpoint_is_named(
    ibal_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], size: int
) -> None:
    run = damage(ibal_run, tmp_path / "run")
    file = run / "checkpoints/last.ckpt"
    file.write_bytes(file.read_bytes()[:size])
    assert "last.ckpt is corrupt" in refuses(run, capfd)


def test_a_hostile_checkpoint_is_not_executed(
    ibal_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'owned'}",)

    run = damage(ibal_run, tmp_path / "run")
    torch.save({"state_dict": Hostile()}, run / "checkpoints/last.ckpt")
    assert "last.ckpt is corrupt or not a checkpoint" in refuses(run, capfd)
    assert not (tmp_path / "owned").exists()


def test_a_checkpoint_of_another_environment_shows_both(
    ibal_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = damage(ibal_run, tmp_path / "run")
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("Foraging-5x5-3p-1f-v3", "Foraging-6x6-3p-1f-v3"))
    said = refuses(run, capfd)
    assert "Foraging-5x5-3p-1f-v3" in said
    assert "Foraging-6x6-3p-1f-v3" in said


def test_weights_of_another_size_name_the_layers(
    ibal_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = damage(ibal_run, tmp_path / "run")
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("hidden_dim: 64", "hidden_dim: 32"))
    said = refuses(run, capfd)
    assert "agent.fc1.weight" in said
    assert "(64, " in said
    assert "(32, " in said
