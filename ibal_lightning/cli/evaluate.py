"""``evaluate``: a saved run under any attacks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track

from ibal_lightning import plugins
from ibal_lightning.attack import Attack
from ibal_lightning.backbone import Backbone
from ibal_lightning.cli.experiment import build_attack, build_threat
from ibal_lightning.cli.run_directory import RunDirectory
from ibal_lightning.cli.saved_team import SavedTeam
from ibal_lightning.cli.terminal import say
from ibal_lightning.env import Env
from ibal_lightning.evaluation.results import robustness_table, summarise, write_rows
from ibal_lightning.evaluation.suite import fit, play
from ibal_lightning.evaluation.tables import print_whole
from ibal_lightning.functional.options import check_range

logger = logging.getLogger(__name__)


def run(cfg: DictConfig) -> float:
    """Evaluate a saved run; rows of the same attack and run are replaced. Returns the worst win rate."""
    check_evaluation(cfg.evaluation)
    if not cfg.attacks:
        raise ValueError("attacks is empty; name at least one attack, such as [natural]")
    torch.set_num_threads(cfg.evaluation.threads)
    changes = {"evaluation": cfg.evaluation, "threat": cfg.threat}
    num_envs = min(cfg.evaluation.num_envs, cfg.evaluation.episodes)
    team = SavedTeam.open(cfg.run, num_envs=num_envs, stream="evaluation", changes=changes)
    trained, directory = team.attack(spare=True), team.directory
    rows = evaluate(team.config, list(cfg.attacks), directory.path, team.env, team.backbone, trained)
    replaced = write_rows(directory.results, rows, append=True)
    worst = show(rows, directory)
    if replaced:
        say(f"replaced the earlier rows of {', '.join(replaced)}")
    return worst


def check_evaluation(options: DictConfig) -> None:
    """Refuse ``evaluation.*`` that would play or fit nothing, in every command that has them.

    Raises:
        ValueError: a number is below 1, or there is no attack of the name ``fit_excitation``.
    """
    for name in ("episodes", "num_envs", "threads", "fit_episodes", "fit_updates", "fit_batch_episodes"):
        check_range(f"evaluation.{name}", options[name], 1)
    plugins.choice("attack", options.fit_excitation)


def excitation(config: DictConfig, env: Env) -> Attack:
    """The attack under which an attack that learns is fitted; the threat limits what is fitted, not what on.

    Raises:
        ValueError: it cannot be built, never overrides actions, or has to learn first.
    """
    name = config.evaluation.fit_excitation
    free = replace(build_threat(config, env.spec), actions=True, agents=None, overrides=None)
    try:
        attack = build_attack(plugins.choice("attack", name), config, env.spec, free)
    except ValueError as error:
        raise ValueError(f"evaluation.fit_excitation={name}: {error}") from error
    if not (attack.acts and attack.warm):
        raise ValueError(
            f"evaluation.fit_excitation={name} does not override actions from the first game on: name an attack that "
            "does, such as random_action"
        )
    return attack


def evaluate(
    config: DictConfig, attacks: Sequence[str], run: Path, env: Env, backbone: Backbone, trained: Attack
) -> pl.DataFrame:
    """Rows of a policy under every named attack, played on the backbone's device.

    The attack that the policy was trained with keeps its trained estimators; another one that learns is fitted first.
    """
    backbone.eval()
    nodes = {name: plugins.choice("attack", name) for name in attacks}
    identity = {
        "run": str(run),
        "seed": int(config.seed),
        "evaluation_seed": int(config.evaluation.seed),
        "env": env.spec.fingerprint.split("/", 1)[-1].rsplit("/", 1)[0],
        "fingerprint": env.spec.fingerprint,
        "backbone": config.backbone_name,
        "method": config.method_name,
    }
    rows = []
    for name, node in track(nodes.items(), description="evaluate", console=Console(stderr=True), transient=True):
        attack = ready_attack(name, node, config, env, backbone, trained)
        games = play(env, backbone, attack, episodes=config.evaluation.episodes, seed=config.evaluation.seed)
        rows += [{**identity, "attack": name, **row} for row in games]
    env.configure()
    return pl.DataFrame(rows, infer_schema_length=None)


def playable(config: DictConfig, env: Env) -> list[str]:
    """Those of ``evaluation.attacks`` that this environment knows; says which are left out, and why.

    Raises:
        ValueError: there is no attack of that name, or one that learns could not be fitted.
    """
    threat, found, fitted = build_threat(config, env.spec), [], False
    if not config.evaluation.attacks:
        raise ValueError("evaluation.attacks is empty; name at least one attack, such as [natural]")
    for name in config.evaluation.attacks:
        node = plugins.choice("attack", name)
        try:
            attack = build_attack(node, config, env.spec, threat)
            env.configure(**attack.env_options)
            found.append(name)
            fitted = fitted or (attack.optimizer() is not None and name != config.attack_name)
        except ValueError as error:
            logger.warning("The evaluation leaves out %s: %s", name, error)
    env.configure()
    if fitted:
        excitation(config, env)
    return found


def ready_attack(
    name: str, node: DictConfig, config: DictConfig, env: Env, backbone: Backbone, trained: Attack
) -> Attack:
    """The attack ready to play: trained beside the policy, fitted to it, or with nothing to learn."""
    device = backbone.current_device
    if name == config.get("attack_name"):
        return trained.to(device).eval()
    attack = build_attack(node, config, env.spec, build_threat(config, env.spec)).to(device)
    if attack.optimizer() is None:  # composing the excitation takes a tenth of a second
        return attack.eval()
    options = config.evaluation
    fit(
        attack,
        env,
        backbone,
        excitation(config, env).to(device),
        episodes=options.fit_episodes,
        updates=options.fit_updates,
        batch_episodes=options.fit_batch_episodes,
        seed=options.seed,
    )
    return attack.eval()


def show(rows: pl.DataFrame, directory: RunDirectory) -> float:
    """Print the table, say where the files are, return the worst win rate."""
    summary = summarise(rows)
    first = rows.row(0, named=True)
    what = f"\n{first['method']} / {first['backbone']} on {first['fingerprint']}"
    say(what)
    title = f"seed {first['seed']}, greedy, {rows['episode'].n_unique()} games under each attack"
    print_whole(robustness_table(summary, title))
    say(f"rows: {directory.results}")
    return float(summary["win_rate"].min())  # type: ignore[arg-type]
