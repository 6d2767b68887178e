"""Types of the options that belong to a command rather than to a class. Their values stand in ``configs/``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, IntegerNode, OmegaConf


@dataclass
class Training:
    """``training.*`` of ``train``."""

    env_steps: int = MISSING  # the budget, simulated steps summed over games
    threads: int = MISSING  # CPU threads of torch; idle ones spin, so more than one pays only on a quiet machine
    num_envs: int = MISSING  # games played side by side
    replay_episodes: int = MISSING  # capacity of the replay
    batch_episodes: int = MISSING  # episodes in one update
    updates_per_episode: float = MISSING  # learner updates for each finished episode
    lr_finish: float = MISSING  # the backbone's learning rate falls to this share at env_steps; 1 leaves it alone
    attack_updates_per_episode: float = MISSING  # the same for the attack's own loss
    attack_warmup_updates_per_episode: float = MISSING  # and until it is warm
    attack_window: int = MISSING  # the attack learns from this many newest episodes
    test_interval: int = MISSING  # env steps between greedy tests
    test_episodes: int = MISSING  # games of one test
    stop_metric: str = MISSING  # a mean of the greedy tests, test_battle_won_mean or another, for `stop_at`
    stop_at: float | None = MISSING  # end the training at the first test that reaches it
    log_interval: int = MISSING  # env steps between logged rows
    checkpoint_interval: int = MISSING  # env steps between checkpoints
    keep_replay: bool = MISSING  # keep a finished run's replay, to resume it with a larger budget
    init_from: str | None = MISSING  # run directory whose policy to start from
    resume: str | None = MISSING  # run directory to go on with


@dataclass
class Evaluation:
    """``evaluation.*`` of ``train`` and ``evaluate``."""

    episodes: int = MISSING  # games per attack
    num_envs: int = MISSING  # games played side by side
    threads: int = MISSING  # CPU threads of torch in `evaluate` and `figures`
    seed: int = MISSING  # of the games, apart from the training's seed
    fit_episodes: int = MISSING  # games to fit an attack that learns to a frozen policy
    fit_excitation: str = MISSING  # the attack met in half of them, so that actions vary
    fit_updates: int = MISSING  # its updates
    fit_batch_episodes: int = MISSING  # episodes in one of them


@dataclass
class TrainEvaluation(Evaluation):
    """``evaluation.*`` of ``train``."""

    attacks: list[str] = MISSING  # choices of the group attack


@dataclass
class Evaluate:
    """The whole config of ``evaluate``."""

    run: str = MISSING  # run directory
    attacks: list[str] = MISSING  # choices of the group attack
    evaluation: Evaluation = field(default_factory=Evaluation)
    threat: dict[str, Any] = field(default_factory=dict)  # threat options that differ from the run's


@dataclass
class Matrix:
    """The whole config of ``matrix``."""

    runs: Any = MISSING  # run directories: a path or glob, or a list of them
    attacks: list[str] | None = MISSING  # only these columns, in this order
    out: str | None = MISSING  # write <out>.csv, <out>.tex and <out>.json
    allow_mixed: bool = MISSING  # let results of different environments share the table


@dataclass
class ExportPymarl:
    """The whole config of ``export-pymarl``."""

    run: str = MISSING  # run directory
    out: str = MISSING  # folder for the files


@dataclass
class Figures:
    """The whole config of ``figures``."""

    run: str = MISSING  # run directory
    under: str = MISSING  # choice of the group attack; the run's own keeps what it learnt, another is fitted
    games: int = MISSING  # games to pick one from
    evaluation: Evaluation = field(default_factory=Evaluation)


@dataclass
class Influence:
    """The whole config of ``influence``."""

    run: str = MISSING  # run directory
    K: int | None = MISSING  # size of G1; null by team size
    episodes: int = MISSING  # games, three quarters of them to fit the models, the others to measure
    num_envs: int = MISSING  # games played side by side
    threads: int = MISSING  # CPU threads of torch
    every: int = MISSING  # all actions are drawn at every so many-th step, and greedy in between
    eps_ref: float = MISSING  # uniform share of the distribution that they are drawn from
    t_ref: float = MISSING  # temperature of the other share
    updates: int = MISSING  # of the models
    moments: int = MISSING  # held-out steps to measure at, at most
    draws: int = MISSING  # Monte Carlo draws of G2's joint action at each
    seed: int = MISSING  # of games, models and draws


@dataclass
class Sweep:
    """The whole config of ``sweep``; ``configs/sweep/`` holds the search spaces."""

    name: str = MISSING  # of the study in the storage
    trials: int = MISSING  # finished or pruned trials that the study is to have in all
    overrides: list[str] = MISSING  # words of `ibal train` that every trial has
    space: dict[str, Any] = field(default_factory=dict)  # option -> a list of values, or {low, high} with step or log
    attacks: list[str] = MISSING  # the score is the mean over these
    metric: str = MISSING  # won or return
    seed: int = MISSING  # of the sampler
    prune: bool = MISSING  # stop trials whose tests are in the lowest quarter of those so far
    dir: str = MISSING  # the trials' run directories, trials.csv, the storage
    storage: str = MISSING  # database that several workers may share, by the URL of SQLAlchemy


@dataclass
class List:
    """The whole config of ``list``."""

    group: str | None = MISSING  # only this group


def register() -> None:
    """Let Hydra check these types; configs include them as ``types/<name>``."""
    store = ConfigStore.instance()
    store.store(group="types", name="training", node=Training, package="training")
    store.store(group="types", name="evaluation", node=TrainEvaluation, package="evaluation")
    evaluate = OmegaConf.structured(Evaluate)
    OmegaConf.set_struct(evaluate.threat, False)  # its keys are those of the run's threat, checked when it is built
    store.store(group="types", name="evaluate", node=evaluate, package="_global_")
    seed = OmegaConf.create({"seed": IntegerNode(MISSING, is_optional=False)})
    store.store(group="types", name="seed", node=seed, package="_global_")
    store.store(group="types", name="matrix", node=Matrix, package="_global_")
    store.store(group="types", name="export_pymarl", node=ExportPymarl, package="_global_")
    store.store(group="types", name="figures", node=Figures, package="_global_")
    store.store(group="types", name="influence", node=Influence, package="_global_")
    sweep = OmegaConf.structured(Sweep)
    OmegaConf.set_struct(sweep.space, False)  # any option of `ibal train`, checked when a trial begins
    store.store(group="types", name="sweep", node=sweep, package="_global_")
    store.store(group="types", name="list", node=List, package="_global_")
