"""Compares the heads of IBAL's observation model on a frozen victim: held-out nats, attribution, CPU time.

    python benchmarks/estimators.py RUN [RUN ...] --episodes 1024 --updates 1000 --rows 512

RUN is a run directory (``ibal import-pymarl`` makes one of a released policy). Half of the games meet random overrides
(p = 0.1), the victim explores at its final rate, a tenth of the rollouts is held out. Times are CPU time of one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from arguments import count

from ibal_lightning.attack import Attack, Threat
from ibal_lightning.attacks.ibal.mask import HEADS
from ibal_lightning.attacks.random_action import RandomAction
from ibal_lightning.cli.saved_team import SavedTeam
from ibal_lightning.estimators.health import attribution, chance_share
from ibal_lightning.estimators.joint_additive import parameter_groups
from ibal_lightning.estimators.observation_model import ObservationModel
from ibal_lightning.estimators.transitions import Transitions, draw_steps, transitions_at
from ibal_lightning.functional.mutual_information import uniform_legal
from ibal_lightning.functional.obs_names import described_agents
from ibal_lightning.rollout.collector import Collector
from ibal_lightning.types import EnvSpec, EpisodeBatch


def games(run: Path, episodes: int) -> tuple[EnvSpec, list[EpisodeBatch]]:
    """Rollouts of 32 games each, every other one under random overrides."""
    team = SavedTeam.open(str(run), num_envs=32, stream="evaluation")
    env, backbone = team.env, team.backbone
    attacks = Attack(env.spec, Threat()), RandomAction(env.spec, Threat(), p=0.1)
    collectors = [Collector(env, backbone, attack, seed=7) for attack in attacks]
    rollouts = range(max(episodes // 32, 10))
    return env.spec, [collectors[k % 2].collect(env_steps=10**12, explore=True).map(torch.clone) for k in rollouts]


def drawn_rows(batch: EpisodeBatch, rows: int, spec: EnvSpec, draw: int) -> Transitions:
    """Steps drawn from the batch, as IBAL draws them."""
    return transitions_at(batch, *draw_steps(batch, rows, draw), spec.episode_limit)


def fit(
    model: ObservationModel, spec: EnvSpec, batches: list[EpisodeBatch], updates: int, rows: int
) -> tuple[float, float]:
    """CPU milliseconds per update of (rows,) and per look at 32 games' scores for half of the pairs."""
    optimizer = torch.optim.Adam(parameter_groups(model, 1e-3))
    spent = 0.0
    for update in range(updates):
        drawn = drawn_rows(batches[update % len(batches)], rows, spec, update)
        start = time.process_time()
        model.update_moments(drawn.now)
        optimizer.zero_grad(set_to_none=True)
        model.loss(drawn).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        spent += time.process_time() - start
    some = drawn_rows(batches[0], 32, spec, 0)
    first = torch.arange(spec.n_agents) < max(spec.n_agents // 4, 1)
    cut = (first[:, None] != first).expand(len(some.intended), -1, -1)
    p_ref = uniform_legal(some.avail_actions)
    return 1e3 * spent / updates, clock(lambda: model.group_score(some.now, p_ref, cut))


def clock(call: Callable[[], object], times: int = 30) -> float:
    """Mean CPU milliseconds of a call."""
    call()
    start = time.process_time()
    for _ in range(times):
        call()
    return 1e3 * (time.process_time() - start) / times


def quality(model: ObservationModel, spec: EnvSpec, held_out: list[EpisodeBatch]) -> tuple[float, float]:
    """Held-out nats beyond the null model per agent and step, and the attribution share (both means over rollouts)."""
    rows: list[Transitions] = [drawn_rows(b, 512, spec, -1) for b in held_out]
    about = described_agents(spec)
    scores = [model.score(r.now, uniform_legal(r.avail_actions)).mean(0) for r in rows]
    share = attribution(torch.stack(scores).mean(0), about)
    return float(torch.stack([model.explained(r) for r in rows]).mean()), float(share)


def main() -> None:
    """Fit every head to every run's games and print one row each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--episodes", type=count, default=1024)
    parser.add_argument("--updates", type=count, default=1000)
    parser.add_argument("--rows", type=count, default=512)
    parser.add_argument("--seeds", type=count, default=2)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("| run | head | seed | nats | attribution (chance) | update ms | score ms |\n|---|---|---|---|---|---|---|")
    for run in args.runs:
        spec, batches = games(run, args.episodes)
        held_out = len(batches) // 10
        for seed in range(args.seeds):
            for name, head in HEADS.items():
                torch.manual_seed(seed)
                model = head(spec)
                update, look = fit(model, spec, batches[:-held_out], args.updates, args.rows)
                nats, share = quality(model, spec, batches[-held_out:])
                chance = float(chance_share(described_agents(spec), model.varies))
                cells = f"{nats:.2f} | {share:.2f} ({chance:.2f}) | {update:.1f} | {look:.1f}"
                print(f"| {run.name} | {name} | {seed} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
