"""``influence``: how much the groups of a saved team influence each other, in nats."""

from __future__ import annotations

import json

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from torch import Tensor

from ibal_lightning.attack import Threat
from ibal_lightning.attacks.ibal.groups import largest_group
from ibal_lightning.attacks.ibal.influence import Influence, InfluenceModels
from ibal_lightning.attacks.ibal.probe import Drawn, Probe, combine, redrawn, take
from ibal_lightning.attacks.ibal.reference import Reference
from ibal_lightning.backbone import Backbone
from ibal_lightning.cli.saved_team import SavedTeam
from ibal_lightning.cli.terminal import say
from ibal_lightning.env import Env
from ibal_lightning.estimators.health import pair_bands
from ibal_lightning.evaluation.tables import plain_table
from ibal_lightning.functional.files import write_then_rename
from ibal_lightning.functional.influence import clustered_mean
from ibal_lightning.functional.null_band import redraw_from
from ibal_lightning.functional.options import check_range
from ibal_lightning.functional.random import derive_seed, seeded, stream
from ibal_lightning.rollout.collector import Collector, play_episodes

TERMS = {
    "observation": "cross-group influence I(o'G1; aG2 | aG1, history), the larger of two bounds:",
    "channel": "  under the observation model",
    "decoded": "  by decoding actions",
    "action": "I(aG1; aG2 | alive, time)",
    "bound": "sum over agents, dims, sources of I(o'i_d; aj | ai, history)",
    "redundancy": "observation - bound",
    "ranked": "the sum given all other actions too, as masks rank",
}


def run(cfg: DictConfig) -> float:
    """Measure a saved policy, print the table, write ``influence.json`` to its directory. Returns the influence."""
    check_range("episodes", cfg.episodes, 8)  # a quarter measures, and an error needs two
    for name in ("updates", "moments", "num_envs", "threads", "every", "draws"):
        check_range(name, cfg[name], 1)
    torch.set_num_threads(cfg.threads)
    team = SavedTeam.open(cfg.run, num_envs=min(cfg.num_envs, cfg.episodes), stream="influence")
    env, directory = team.env, team.directory
    K = largest_group(env.spec.n_agents, cfg.K)
    check_range("K", K, 1)
    drawn = play_drawn(env, team.backbone, cfg, K)
    held_out = drawn.episode >= int(0.75 * (int(drawn.episode.max()) + 1))
    learnt, seen = take(drawn, ~held_out), sample(take(drawn, held_out), cfg.moments, cfg.seed)
    check_held_out(seen, cfg)
    models, measured = fit_and_measure(learnt, seen, env, cfg, K)
    generator = stream(cfg.seed, "influence null")
    _, null = fit_and_measure(redrawn(learnt, generator), redrawn(seen, generator), env, cfg, K)
    rows, pairs = summarise(measured, null, seen.episode), pairs_above_chance(models, seen, generator)
    found = {"fingerprint": env.spec.fingerprint, "K": K, "moments": len(seen.p), "nats": rows, "pairs": pairs}
    text = json.dumps(found, indent=2) + "\n"
    write_then_rename(directory.path / "influence.json", lambda path: path.write_text(text))
    n = env.spec.n_agents
    what = f"{env.spec.fingerprint}: k = {K} of {n}, {len(seen.p)} held-out steps"
    Console().print(influence_table(rows, what))
    say(f"{len(pairs)} of {n * (n - 1)} ordered pairs (agent, source) tell more than 95 % of redrawn actions")
    return float(measured.observation.mean())


def check_held_out(seen: Drawn, cfg: DictConfig) -> None:
    """Raise ``ValueError`` where the steps to measure on are of fewer than two games, from which no error follows."""
    games = len(seen.episode.unique())
    if games < 2:
        raise ValueError(
            f"every={cfg.every} and moments={cfg.moments} leave steps of {games} held-out games to measure on, two are "
            "needed: lower every, or raise moments or episodes"
        )


def play_drawn(env: Env, backbone: Backbone, cfg: DictConfig, K: int) -> Drawn:
    """Greedy games in which every few steps everybody's action is drawn from its reference distribution."""
    reference = Reference("soft", cfg.eps_ref, cfg.t_ref)
    probe = Probe(env.spec, Threat(), reference, every=cfg.every)
    collector = Collector(env, backbone, probe, seed=derive_seed(cfg.seed, "influence"))
    generator = stream(cfg.seed, "influence groups")
    games = play_episodes(collector, cfg.episodes, seed=derive_seed(cfg.seed, "influence games"))
    return combine([probe.drawn(batch, collector.recorder.kept, K, generator) for batch in games])


def sample(drawn: Drawn, moments: int, seed: int) -> Drawn:
    """At most so many of the steps, at random."""
    order = torch.randperm(len(drawn.p), generator=stream(seed, "influence moments"))
    return take(drawn, order[:moments])


def fit_and_measure(learnt: Drawn, seen: Drawn, env: Env, cfg: DictConfig, K: int) -> tuple[InfluenceModels, Influence]:
    """Fresh models, fitted and applied to other games."""
    with seeded(cfg.seed, "influence models"):
        models = InfluenceModels(env.spec, K=K)
    models.fit(learnt, updates=cfg.updates, seed=cfg.seed)
    return models, models.measure(seen, draws=cfg.draws, seed=cfg.seed)


def pairs_above_chance(models: InfluenceModels, seen: Drawn, generator: torch.Generator) -> list[list[int]]:
    """[agent, source] pairs whose next observation and action tell more of each other than redrawn actions do."""
    gain, chance = pair_bands(models.observation, seen.rows, redraw_from(seen.p), generator, draws=99, level=0.05)
    above: list[list[int]] = ((gain > chance) & ~torch.eye(len(gain), dtype=torch.bool)).nonzero().tolist()
    return above


def summarise(measured: Influence, null: Influence, episode: Tensor) -> dict[str, dict[str, float]]:
    """Mean, standard error over episodes, and the mean where actions are drawn anew, of every term."""
    rows: dict[str, dict[str, float]] = {}
    for name in TERMS:
        mean, error = clustered_mean(getattr(measured, name), episode)
        rows[name] = {"mean": mean, "standard_error": error, "null": float(getattr(null, name).mean())}
    return rows


def influence_table(rows: dict[str, dict[str, float]], title: str) -> Table:
    """The terms for the terminal."""
    table = plain_table(title)
    for name in ("term", "what", "nats", "+-", "null"):
        text = name in ("term", "what")
        table.add_column(name, justify="left" if text else "right", no_wrap=name != "what")
    for name, row in rows.items():
        cells = (f"{row[key]:.3f}" for key in ("mean", "standard_error", "null"))
        table.add_row(name, TERMS[name], *cells)
    return table
