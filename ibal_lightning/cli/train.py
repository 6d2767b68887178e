"""``train``: learn, attack the result, print the robustness table."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from ibal_lightning import plugins
from ibal_lightning.attack import Attack, Threat
from ibal_lightning.cli.errors import Failure
from ibal_lightning.cli.evaluate import check_evaluation, evaluate, playable, show
from ibal_lightning.cli.experiment import (
    build_attack,
    build_backbone,
    build_env,
    build_regularizer,
    build_threat,
    compute_device,
)
from ibal_lightning.cli.resume import open_run, restore
from ibal_lightning.cli.run_directory import RunDirectory
from ibal_lightning.cli.terminal import say
from ibal_lightning.cli.warm_start import start_from
from ibal_lightning.evaluation.results import write_rows
from ibal_lightning.functional.options import check_choice, check_range
from ibal_lightning.functional.tensor_files import save_tensors
from ibal_lightning.messages import did_you_mean
from ibal_lightning.option_types import check_options
from ibal_lightning.rollout.collector import Collector
from ibal_lightning.training.callbacks import (
    Budget,
    Checkpoint,
    Metrics,
    PeriodicTest,
)
from ibal_lightning.training.data import InducedDecPOMDP
from ibal_lightning.training.learning_rate import LearningRate
from ibal_lightning.training.metrics import NAMES
from ibal_lightning.training.module import NonFiniteLoss, RobustLearner
from ibal_lightning.training.progress import EnvStepProgress
from ibal_lightning.training.time_split import TimeSplit

logger = logging.getLogger(__name__)
# Arguments of Lightning's Trainer that mean something where learners step their own optimizers once a rollout.
SETTABLE = ("accelerator", "devices", "deterministic", "benchmark", "detect_anomaly", "profiler")
INSTEAD = {  # of others
    "logger": "logger=[csv,tensorboard] chooses the loggers",
    "default_root_dir": "hydra.run.dir=... chooses the run directory",
    "gradient_clip_val": "backbone.max_grad_norm clips gradients",
}


def run(cfg: DictConfig) -> float:
    """Train, evaluate under every attack of ``evaluation.attacks``, return the natural win rate for sweepers.

    Raises:
        ValueError: a value of the config is impossible.
        KeyboardInterrupt: Ctrl-C; the checkpoint is saved first.
    """
    directory, config = open_run(cfg)
    _check(config)
    device = compute_device(config)
    torch.set_num_threads(config.training.threads)
    env = build_env(config, num_envs=config.training.num_envs, stream="train")
    backbone = build_backbone(config, env.spec)
    attack = build_attack(config.attack, config, env.spec, build_threat(config, env.spec))
    attacks = playable(config, env)  # a mistyped name must not cost the training
    warm = start_from(config, backbone, env.spec.fingerprint)
    loggers = [plugins.build(node, save_dir=str(directory.path)) for node in (config.logger or {}).values()]
    data = InducedDecPOMDP(env, backbone, attack, seed=config.seed, device=device, **_data_options(config))
    regularizer = build_regularizer(config, env.spec)
    module = RobustLearner(backbone, attack, regularizer, seed=config.seed, optimizer_state=warm)
    resume = restore(config, directory, data, module)
    _check_warm_up(data)
    directory.begin(config, seed=config.seed, fingerprint=env.spec.fingerprint)
    if resume is not None:
        directory.set_metrics_aside(data.env_steps)
    _fit(config, directory, data, module, loggers, resume)
    _tell_if_cold(data)
    env.close()
    games = build_env(config, num_envs=min(config.evaluation.num_envs, config.evaluation.episodes), stream="evaluation")
    rows = evaluate(config, attacks, directory.path, games, backbone.to(device), attack)
    write_rows(directory.results, rows)
    show(rows, directory)
    natural = rows.filter(rows["attack"] == "natural")
    return float((natural if len(natural) else rows)["won"].mean())  # type: ignore[arg-type]


def _check(config: DictConfig) -> None:
    """Refuse numbers that would train nothing, before anything is built."""
    for name in ("env_steps", "threads", "num_envs", "batch_episodes", "test_episodes"):
        check_range(f"training.{name}", config.training[name], 1)
    updates = ("updates_per_episode", "attack_updates_per_episode", "attack_warmup_updates_per_episode")
    for name in (*updates, "test_interval", "checkpoint_interval", "log_interval"):
        check_range(f"training.{name}", config.training[name], 0)
        if math.isinf(config.training[name]):
            raise ValueError(f"training.{name} must be a finite number, got {config.training[name]}")
    check_range("training.lr_finish", config.training.lr_finish, 0, 1)
    check_evaluation(config.evaluation)
    check_choice("training.stop_metric", config.training.stop_metric, [f"test_{name}" for name in NAMES])
    if config.training.stop_at is not None and not config.training.test_interval:
        raise ValueError(f"training.stop_at={config.training.stop_at} needs tests: set training.test_interval above 0")
    for name in config.trainer:
        if name not in SETTABLE:
            instead = INSTEAD.get(name, "training.* says when a run ends, what it logs and what it keeps")
            settable = f"trainer takes {', '.join(SETTABLE)}{did_you_mean(name, SETTABLE)}"
            raise ValueError(f"trainer.{name} cannot be set: {instead}; {settable}")
    check_options("trainer", L.Trainer, config.trainer)


def _check_warm_up(data: InducedDecPOMDP) -> None:
    """Refuse an attack that waits for updates and is to get none."""
    if data.attack_learns and not data.attack.warm and data.attack_warmup_updates_per_episode == 0:
        raise ValueError(
            "training.attack_warmup_updates_per_episode=0 would never begin this attack, which learns before it "
            "strikes: set it above 0, or attack.warmup_updates=0 to strike from the first episode on"
        )


def _tell_if_cold(data: InducedDecPOMDP) -> None:
    """Say that the training was over before its attack had learnt enough to strike."""
    if data.attack_learns and not data.attack.warm:
        logger.warning(
            "The training ended before its attack had the updates that it needs to strike (attack.warmup_updates): an "
            "attack such as ibal left all its episodes clean. Train longer, lower attack.warmup_updates, or raise "
            "training.attack_warmup_updates_per_episode (%g)",
            data.attack_warmup_updates_per_episode,
        )


def _data_options(config: DictConfig) -> dict[str, Any]:
    names = (
        "replay_episodes",
        "batch_episodes",
        "updates_per_episode",
        "attack_updates_per_episode",
        "attack_warmup_updates_per_episode",
        "attack_window",
    )
    return {name: config.training[name] for name in names}


def _fit(
    config: DictConfig,
    directory: RunDirectory,
    data: InducedDecPOMDP,
    module: RobustLearner,
    loggers: list[Logger],
    resume: Path | None,
) -> None:
    options = config.training
    checkpoint = Checkpoint(
        directory.checkpoints, interval=options.checkpoint_interval, keep_replay=options.keep_replay
    )
    split = TimeSplit()
    test = _test(config, data, split)
    metrics = Metrics(split, interval=options.log_interval)
    budget = Budget(options.env_steps, test, checkpoint)
    progress = EnvStepProgress(options.env_steps, metrics, test)
    rate = LearningRate(options.env_steps, options.lr_finish)
    callbacks = [rate, test, metrics, progress, budget, checkpoint, split]
    trainer = _trainer(config, data.collector.device, directory.path, loggers, callbacks)
    if data.env_steps < options.env_steps:
        try:
            trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
        except NonFiniteLoss as error:
            raise Failure(_save_batch(error, directory)) from error
    if budget.interrupted:
        say(f"stopped; checkpoint: {directory.checkpoints / 'last.ckpt'}", stderr=True)
        say(f"go on with: ibal training.resume={directory.path}", stderr=True)
        raise KeyboardInterrupt


def _test(config: DictConfig, data: InducedDecPOMDP, split: TimeSplit) -> PeriodicTest:
    options = config.training
    env = build_env(config, num_envs=min(options.test_episodes, options.num_envs), stream="test")
    natural = Attack(env.spec, Threat())
    collector = Collector(env, data.backbone, natural, seed=config.seed, device=data.collector.device)
    return PeriodicTest(
        collector,
        split,
        interval=options.test_interval,
        episodes=options.test_episodes,
        seed=config.seed,
        stop_metric=options.stop_metric,
        stop_at=options.stop_at,
    )


def _trainer(
    config: DictConfig, device: torch.device, folder: Path, loggers: list[Logger], callbacks: Sequence[L.Callback]
) -> L.Trainer:
    """Lightning drives devices, optimizer states and hooks; stopping, logging and schedules count env steps."""
    for noisy in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*`IterableDataset` has `__len__` defined.*")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*Experiment logs directory.*exists and is not empty.*")
    return L.Trainer(
        **{**config.trainer, "accelerator": device.type, "devices": 1 if device.index is None else [device.index]},
        default_root_dir=folder,
        max_epochs=-1,
        logger=loggers,
        callbacks=list(callbacks),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _save_batch(error: NonFiniteLoss, directory: RunDirectory) -> str:
    path = directory.path / "nonfinite_batch.pt"
    save_tensors(path, vars(error.batch))
    last = directory.checkpoints / "last.ckpt"
    kept = f"the last good checkpoint is {last}" if last.is_file() else "there is no checkpoint yet"
    return f"{error}; the batch is saved in {path}; {kept}"
