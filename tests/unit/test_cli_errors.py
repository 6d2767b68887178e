"""Bad input on the command line: one clear message, the right exit code, nothing left behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from ibal_lightning.cli.app import main, verbs
from ibal_lightning.cli.completion import with_verb
from ibal_lightning.cli.errors import explain
from ibal_lightning.cli.naming import safe
from ibal_lightning.functional.tensor_files import save_tensors

# what is typed, words that the message must hold
MISTAKES = [
    ("env=matrix_gam", ["env=matrix_gam: no such choice", "'matrix_game'", "lbf"]),
    ("attack=ibl env=lbf", ["attack=ibl: no such choice", "'ibal'"]),
    ("env=lbf training.env_step=1", ["training.env_step: no such option", "'env_steps'", "num_envs"]),
    ("env=lbf env.tsk=1", ["env.tsk: no such option", "'task'"]),
    ("env=lbf +env.tsk=1", ["env.tsk: Lbf has no such option", "'task'"]),
    ("env=lbf metod=ibal", ["metod: no such option", "'method'"]),
    ("env=lbf training.env_steps=abc", ["training.env_steps=abc", "whole number"]),
    ("env=lbf training.env_steps=-5", ["training.env_steps must be >= 1, got -5"]),
    ("env=lbf training.updates_per_episode=-1", ["training.updates_per_episode must be >= 0"]),
    ("env=lbf training.log_interval=-1", ["training.log_interval must be >= 0, got -1"]),
    ("env.obs_terrain_height=true", ["obs_terrain_height=True cannot be played", "no terrain heights"]),
    ("env=smacv2 env.capability_config={n_units:700}", ["n_units must be a whole number from 1 to 441, not 700"]),
    ("env=smacv2 env.capability_config={team_gen:3}", ["team_gen must be a mapping with a dist_type, not 3"]),
    ("env=lbf training.stop_metric=test_won", ["training.stop_metric must be one of", "'test_battle_won_mean'"]),
    ("env=lbf training.stop_at=1 training.test_interval=0", ["training.stop_at=1.0 needs tests", "test_interval"]),
    ("env=lbf evaluation.episodes=0", ["evaluation.episodes must be >= 1"]),
    ("env=lbf evaluation.fit_episodes=0", ["evaluation.fit_episodes must be >= 1, got 0"]),
    ("env=lbf evaluation.fit_excitation=randm_action", ["attack=randm_action: no such choice", "'random_action'"]),
    ("env=lbf evaluation.fit_excitation=ibal", ["fit_excitation=ibal does not override actions from the first game"]),
    ("env=lbf evaluation.fit_excitation=fgsm", ["fit_excitation=fgsm", "such as random_action"]),
    ("env=lbf attack=ibal_no_obs threat.actions=false", ["nothing left to attack", "method=vanilla"]),
    ("evaluate run=x evaluation.fit_batch_episodes=0", ["evaluation.fit_batch_episodes must be >= 1, got 0"]),
    ("evaluate run=x evaluation.fit_updates=-3", ["evaluation.fit_updates must be >= 1, got -3"]),
    ("figures run=x evaluation.fit_updates=0", ["evaluation.fit_updates must be >= 1, got 0"]),
    ("figures run=x games=0", ["games must be >= 1, got 0"]),
    ("influence run=x every=0", ["every must be >= 1, got 0"]),
    ("influence run=x draws=0", ["draws must be >= 1, got 0"]),
    ("influence run=x episodes=7", ["episodes must be >= 8, got 7"]),
    (
        "env=lbf attack=ibal training.attack_warmup_updates_per_episode=0",
        ["training.attack_warmup_updates_per_episode=0", "attack.warmup_updates=0"],
    ),
    ("env=lbf attack=ibal attack.p_floor=0", ["attack.p_floor=0 keeps P_max at 0", "p_max_init", "alpha=1"]),
    ("env=lbf attack=ibal_max attack.p_floor=0", ["attack.p_floor=0 keeps P_max at 0", "p_max_init", "alpha=1"]),
    ("env=lbf attack=ibal attack.lr=-1", ["attack.lr must be a finite number above 0, got -1"]),
    ("env=lbf backbone.lr=0", ["backbone.lr must be a finite number above 0, got 0"]),
    ("env=lbf backbone.max_grad_norm=0", ["backbone.max_grad_norm must be >= 1e-12, got 0"]),
    ("env=lbf backbone=ippo backbone.critic_lr=0", ["backbone.critic_lr must be a finite number above 0, got 0"]),
    ("env=lbf threat.dims=1.5", ["threat.dims must be a share below 1 or a whole number of dims, got 1.5"]),
    ("env=lbf training.keep_replay=3.5", ["training.keep_replay=3.5", "true or false"]),
    ("env=lbf evaluation.attacks=natural", ["evaluation.attacks=natural", "expected a list"]),
    ("env=lbf evaluation.attacks=[natural,ibl]", ["attack=ibl: no such choice", "'ibal'"]),
    ("env=lbf backbone.hidden_dim=wide", ["backbone.hidden_dim='wide'", "expected int", "str"]),
    ("env=smac env.device=cuda", ["env.device='cuda'", "CPU only", "trainer.accelerator=gpu"]),
    ("env=smac env.switches=5", ["switches must name battle switches", "not 5"]),
    ("env=smac env.switches=[a]", ["switches must name battle switches"]),
    ("env=lbf training.updates_per_episode=inf", ["training.updates_per_episode must be a finite number"]),
    ("env=lbf +trainer.max_epochs=3", ["trainer.max_epochs cannot be set"]),
    ("env=lbf +trainer.callbacks=[x]", ["trainer.callbacks cannot be set: training.* says"]),
    ("env=lbf +trainer.logger=x", ["trainer.logger cannot be set", "logger=[csv,tensorboard]"]),
    ("env=lbf +trainer.default_root_dir=/tmp/x", ["trainer.default_root_dir cannot be set", "hydra.run.dir="]),
    ("env=lbf +trainer.gradient_clip_val=1", ["trainer.gradient_clip_val cannot be set", "max_grad_norm"]),
    ("env=lbf +trainer.determinstic=true", ["trainer.determinstic cannot be set", "'deterministic'"]),
    ("env=lbf backbone.mixing_dim=0", ["backbone.mixing_dim must be >= 1"]),
    ("env=lbf env.device=cuda", ["env.device='cuda'", "CPU only"]),
    ("env=matrix_game env.device=cudda", ["env.device must name a device of torch", "'cudda'"]),
    ("env=lbf trainer.accelerator=gpuu", ["trainer.accelerator must be one of cpu, gpu", "'gpu'"]),
    ("env=lbf trainer.devices=2", ["trainer.devices=2", "one device"]),
    (
        "env=lbf backbone=mappo backbone.minibatches=5",
        ["divide training.num_envs=32: use backbone.minibatches=4"],
    ),
    ("env=lbf backbone=mappo backbone.chunk_length=999", ["chunk_length=999 is longer than an episode"]),
    ("env=lbf backbone.n_step=3", ["n_step=3 and backbone.td_lambda=0.8 exclude each other"]),
    (
        "env=lbf training.batch_episodes=9000",
        ["batch_episodes=9000 is more than training.replay_episodes=5000"],
    ),
    ("env=lbf threat.fill=one", ["threat.fill", "'zero'", "'null'"]),
    ("env=lbf threat.dims=9999", ["threat.dims=9999", "9999 dims"]),
    ("env=lbf attack=ibal attack.K=2", ["attack.K", "half", "2"]),
    ("env=lbf env.task=Foraging-8x8-2p-3f", ["env.task", "Foraging-8x8-2p-3f-v3"]),
    ("env=lbf training.env_steps=[", ["cannot read the override 'training.env_steps=['"]),
    ("env=lbf seed=abc", ["seed=abc", "whole number"]),
    ("env=lbf seed=null", ["seed=null: a value is needed"]),
    ("env=lbf experiment=finetunee", ["experiment=finetunee: no such choice", "'finetune'"]),
    ("env=lbf debug=fastt", ["debug=fastt: no such choice", "'fast'"]),
    ("sweep sweep=attack_strengt", ["sweep=attack_strengt: no such choice", "'attack_strength'"]),
    ("sweep overrides=[method=vanilla]", ["cannot read the override", "quoted: ['a=b', 'c=d']"]),
    ("env=lbf +seeds=[0,0]", ["seed 0 stands there twice"]),
    ("trian env=lbf", ["'trian' is not a command", "'train'", "evaluate"]),
    ("evaluate", ["run: a value is required"]),
    ("evaluate run=nowhere", ["run=nowhere", "no such directory"]),
    ("evaluate run=. attacks=[ibal]", ["run=.", "not a finished run"]),
    ("evaluate rum=x", ["rum: no such option", "'run'"]),
    ("list group=attak", ["group=attak: no such group", "'attack'"]),
]


@pytest.mark.parametrize(("line", "words"), MISTAKES, ids=[line for line, _ in MISTAKES])
def test_a_mistake_gets_one_message_and_leaves_nothing(
    line: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(line.split()) == 2
    said = capfd.readouterr().err
    for word in words:
        assert word in said
    assert said.count("error:") == 1
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="no such directory"):
        main(["evaluate", "run=nowhere", "--debug"])
    monkeypatch.setenv("IBAL_DEBUG", "1")
    with pytest.raises(ValueError, match="no such directory"):
        main(["evaluate", "run=nowhere"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["env=lbf", "trainer.accelerator=gpu"]) == 2
    said = capfd.readouterr().err
    assert "trainer.accelerator=gpu: " in said
    assert f"torch {torch.__version__}" in said
    assert "trainer.accelerator=cpu" in said
    assert list(tmp_path.iterdir()) == []


def test_a_resume_with_other_games_is_refused_before_any_are_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    played = "env: {_target_: never.built}\ntraining: {num_envs: 4}\ntrainer: {}\n"
    (tmp_path / "run" / "config.yaml").write_text(played)
    for file in ("manifest.json", "checkpoints/last.ckpt"):
        (tmp_path / "run" / file).write_text("{}")
    assert main(["training.resume=run", "training.num_envs=2"]) == 2
    assert "run plays 4 games side by side and can only go on with these" in capfd.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="needs a path below a file")
def test_an_impossible_run_directory_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert main(["env=lbf", "hydra.run.dir=file/run"]) == 1
    said = capfd.readouterr().err
    assert "file/run" in said
    assert "hydra.run.dir" in said
    assert "Traceback" not in said


def test_a_full_disk_is_a_failure_with_advice() -> None:
    message, code = explain(OSError(28, "No space left on device", "/full/last.ckpt"))
    assert code == 1
    assert "No space left on device: /full/last.ckpt" in message
    for word in ("hydra.run.dir=", "hydra.sweep.dir=", "sweep: dir=", "out="):  # whatever the command
        assert word in message


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_told_whoever_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch raises an error of its own that says nothing of the disk."""
    file = tmp_path / "replay.pt"
    file.write_text("before")
    monkeypatch.setattr(Path, "open", lambda path, mode: open("/dev/full", mode, buffering=0))  # noqa: SIM115
    with pytest.raises(OSError, match="No space left on device"):
        save_tensors(file, {"x": torch.zeros(9)})
    monkeypatch.undo()
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]


def test_a_bug_is_not_called_a_mistake() -> None:
    try:
        {}["missing"]
    except KeyError as error:
        message, code = explain(error)
    assert code == 1
    assert "unexpected KeyError" in message
    assert "--debug" in message


def test_help_and_cfg_of_every_verb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for verb in verbs():
        with pytest.raises(SystemExit) as stop:
            main([verb, "--help"])
        assert stop.value.code == 0
        assert main([verb, "--cfg", "job"]) == 0
        assert capfd.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_flags_may_stand_anywhere(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["env=lbf", "--cfg", "job", "seed=7", "--package", "seed", "attack=dis_2"]) == 0
    assert capfd.readouterr().out.split() == ["7"]


def test_a_mistake_in_one_of_many_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["list", "-m", "group=attack,attak"]) == 2
    said = capfd.readouterr()
    assert "random_obs" in said.out
    assert "group=attak: no such group" in said.err


def test_completion_knows_verbs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    query = ["-sc", "query=bash"]
    monkeypatch.setenv("COMP_LINE", "ibal eval")
    assert with_verb(query, ["evaluate", "list"]) == query
    assert capsys.readouterr().out.split() == ["evaluate"]
    monkeypatch.setenv("COMP_LINE", "ibal evaluate ru")
    assert with_verb(query, ["evaluate", "list"]) == ["evaluate", *query]
    assert os.environ["COMP_LINE"] == "ibal ru"


def test_run_names_hold_nothing_that_a_file_system_refuses() -> None:
    assert safe("pz:mpe/simple spread") == "pz_mpe_simple_spread"
