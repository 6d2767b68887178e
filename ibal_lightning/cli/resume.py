"""``training.resume``: go on with a run, to the numbers that it would have had. What is refused changes no file."""

from __future__ import annotations

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from ibal_lightning.cli.run_directory import RunDirectory, load_part
from ibal_lightning.functional.tensor_files import load_tensors
from ibal_lightning.training.callbacks import replay_file
from ibal_lightning.training.data import InducedDecPOMDP
from ibal_lightning.training.module import RobustLearner

FREE = ("training.", "evaluation.")  # options that a resumed run may change


def open_run(cfg: DictConfig) -> tuple[RunDirectory, DictConfig]:
    """The run directory and its config; a resumed run keeps its own config but for training and evaluation.

    Raises:
        ValueError: there is no such run, it is an imported policy, or a word would change what cannot be changed, the
            number of games included.
    """
    if cfg.training.resume is None:
        return RunDirectory(HydraConfig.get().runtime.output_dir), cfg
    directory = RunDirectory.existing(cfg.training.resume, "training.resume")
    if not directory.is_training():
        raise ValueError(
            f"{directory.path} holds an imported policy, not a training: start from it with "
            f"training.init_from={directory.path}"
        )
    given = list(HydraConfig.get().overrides.task)
    fixed = [word for word in given if not word.startswith(FREE) or word.startswith("training.init_from=")]
    if fixed:
        raise ValueError(f"a resumed run keeps its own config: {', '.join(fixed)} cannot be changed")
    defaults = {name: OmegaConf.to_container(cfg[name]) for name in ("training", "evaluation")}  # the run may lack some
    config = OmegaConf.merge(defaults, directory.config(), OmegaConf.from_dotlist(given))
    assert isinstance(config, DictConfig)
    _check_games(config, directory)
    return directory, config


def restore(config: DictConfig, directory: RunDirectory, data: InducedDecPOMDP, module: RobustLearner) -> Path | None:
    """The checkpoint to resume from, or None; its weights, counters, games and replay are loaded already.

    Raises:
        ValueError: it is of another environment, or its replay is missing or of another size.
    """
    if config.training.resume is None:
        return None
    directory.check_fingerprint(data.collector.env.spec.fingerprint)
    checkpoint = directory.checkpoint()
    for part, owner in (("backbone", module.backbone), ("attack", module.attack)):
        load_part(owner, checkpoint, part, directory.path)
    saved = checkpoint["InducedDecPOMDP"]
    data.env_steps = saved["env_steps"]
    if data.env_steps < config.training.env_steps:
        data.load_state_dict(saved)
        _restore_replay(directory, data)
    return directory.checkpoints / "last.ckpt"


def _check_games(config: DictConfig, directory: RunDirectory) -> None:
    """Refuse another number of games before any are started: their state is saved game by game."""
    played, asked = directory.config().training.num_envs, config.training.num_envs
    if asked != played:
        raise ValueError(
            f"{directory.path} plays {played} games side by side and can only go on with these; training.num_envs="
            f"{asked} needs a run of its own: training.init_from={directory.path}"
        )


def _restore_replay(directory: RunDirectory, data: InducedDecPOMDP) -> None:
    if data.replay is None:
        return
    replay = replay_file(directory.checkpoints, data.env_steps)
    anew = f"Start anew from its policy: training.init_from={directory.path}"
    if not replay.is_file():
        raise ValueError(
            f"{replay} is missing, so {directory.path} cannot be resumed exactly; a finished run keeps its replay "
            f"with training.keep_replay=true. {anew}"
        )
    try:
        saved = load_tensors(replay, "a replay")
    except ValueError as error:
        raise ValueError(f"{error}. {anew}") from error
    data.replay.load_state_dict(saved)
