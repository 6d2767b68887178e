"""How well policies that were trained on the real StarCraft II play on the embedded battle engine, untrained.

    python benchmarks/fidelity.py [--policies DIR] [--games N] [--maps 3m ...] [--json FILE] [--set rule=value ...]

Plays every ``agent.th`` below DIR greedily, in the layouts ``<source>/<learner>/<map>/agent.th`` and
``<source>/<map>/<name>/agent.th``. DIR is $IBAL_ORACLE_DIR, else ../shared/data/oracle. The mean TD error
|r + 0.99 Q(s') - Q(s)| needs ``mixer.th`` beside the agent. Sizes of networks are read from the weights; a policy that
fits no learner is named, also in the JSON, and the others are played.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from arguments import count, output_file
from battle_rules import add_rules, chosen_rules
from fitting import fitting_learner
from plain_json import write_json
from references import reference
from torch import Tensor

from ibal_lightning.backbones.q_learner import QLearner
from ibal_lightning.envs.skirmish.catalogue import smac_maps, smacv2_scenarios
from ibal_lightning.envs.skirmish.placement import SPAWNS
from ibal_lightning.envs.smac import Smac
from ibal_lightning.envs.smacv2 import EPO, SmacV2
from ibal_lightning.evaluation.statistics import wilson_interval
from ibal_lightning.types import Timestep

GAMMA = 0.99
EARLY = 5  # steps whose TD errors react to spawn and timing rather than to combat
Z95 = 1.959964


@dataclass(frozen=True)
class Policy:
    """One trained policy and where it comes from."""

    source: str
    name: str  # learner (qmix, vdn, qplex) or the policy's own name
    map_name: str
    folder: Path


@dataclass
class Tally:
    """What greedy games gave: (G,) each but ``dead``, and TD errors (G, T) that are NaN after the end of a game."""

    won: Tensor
    returns: Tensor
    lengths: Tensor
    survivors: Tensor
    dead: Tensor  # (N,) share of all steps in which each agent was dead
    first_value: Tensor
    discounted: Tensor
    td: Tensor


def find_policies(root: Path) -> Iterator[Policy]:
    """Every policy below ``root`` in one of the two layouts; others are named on stderr."""
    known = {*smac_maps(), *smacv2_scenarios(), *(name + EPO for name in smacv2_scenarios())}
    for file in sorted(root.rglob("agent.th")):
        parts = file.parent.relative_to(root).parts
        if len(parts) >= 3 and parts[-1] in known:
            yield Policy(parts[0], parts[-2], parts[-1], file.parent)
        elif len(parts) >= 3 and parts[-2] in known:
            yield Policy(parts[0], parts[-1], parts[-2], file.parent)
        else:
            print(f"skipped {file}: neither SOURCE/LEARNER/MAP nor SOURCE/MAP/NAME", file=sys.stderr)


def make_env(map_name: str, games: int, options: dict[str, Any]) -> Smac | SmacV2:
    """The embedded battle of that map or scenario."""
    if map_name in smac_maps():
        return Smac(num_envs=games, map_name=map_name, engine="skirmish", **options)
    return SmacV2(num_envs=games, scenario=map_name, engine="skirmish", **options)


@torch.no_grad()
def play(learner: QLearner, env: Smac | SmacV2) -> Tally:
    """One greedy episode in each game; everything in float32 on the CPU."""
    step, games = env.reset(), env.num_envs
    hidden = learner.initial_hidden(games)
    last_actions = torch.full((games, env.spec.n_agents), -1)
    running, reward = torch.ones(games, dtype=torch.bool), torch.zeros(games)
    won, lengths, returns, discounted = torch.zeros(4, games)
    survivors, value = torch.zeros(games), torch.zeros(games)
    td: list[Tensor] = []
    dead = torch.zeros(env.spec.n_agents)
    first_value = torch.zeros(games)
    while True:
        scores, hidden = learner.scores(step.obs, last_actions, hidden)
        actions = learner.select(scores, step.avail_actions, env_steps=0, explore=False, generator=torch.Generator())
        now = joint_value(learner, scores, step, actions) * running
        if not td:
            first_value = now
        td.append(torch.where(lengths > 0, (reward + GAMMA * now - value).abs(), torch.nan))
        value, active = now, running.clone()
        if not active.any():
            break
        dead += (~step.alive[active]).sum(0)
        step = env.step(actions)
        reward = step.reward.clone()
        discounted += torch.where(active, GAMMA**lengths * reward, 0.0)
        returns += torch.where(active, reward, 0.0)
        lengths += active
        ended = active & (step.terminated | step.truncated)
        won += ended & (step.info["won"] > 0)
        survivors += torch.where(ended, step.alive.sum(1), 0)
        running = active & ~ended
        last_actions = actions
    errors = mask_ended(torch.stack(td[1:], 1), lengths)
    return Tally(won, returns, lengths, survivors, dead / lengths.sum(), first_value, discounted, errors)


def mask_ended(td: Tensor, lengths: Tensor) -> Tensor:
    """(G, T) TD errors with NaN after each game's last step."""
    return torch.where(torch.arange(td.shape[1]) < lengths[:, None], td, torch.nan)


def joint_value(learner: QLearner, scores: Tensor, step: Timestep, actions: Tensor) -> Tensor:
    """(G,) the mixer's value of the chosen actions, which are the greedy ones."""
    taken = scores.gather(2, actions[..., None]).squeeze(2)
    return learner.mixer(taken, step.state, actions, taken)


def mean_interval(values: Tensor) -> tuple[float, float, float]:
    """Mean and its normal 95 % interval over games."""
    mean = float(values.mean())
    half = Z95 * float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return mean, mean - half, mean + half


def summarize(policy: Policy, tally: Tally, with_mixer: bool) -> dict[str, Any]:
    """One row of the table."""
    row: dict[str, Any] = {"source": policy.source, "name": policy.name, "map": policy.map_name}
    row["games"] = len(tally.won)
    row["win_rate"] = (float(tally.won.mean()), *wilson_interval(float(tally.won.sum()), len(tally.won)))
    row["return"] = mean_interval(tally.returns)
    row["length"] = mean_interval(tally.lengths)
    row["survivors"] = mean_interval(tally.survivors)
    if with_mixer:
        row["td_error"] = mean_interval(tally.td.nanmean(1))
        row["early_td_error"] = mean_interval(tally.td[:, :EARLY].nanmean(1))
        row["first_value"] = mean_interval(tally.first_value)
        row["discounted_return"] = mean_interval(tally.discounted)
    return row | reference(policy.source, policy.name, policy.map_name)


def show(row: dict[str, Any]) -> str:
    """One line: ours with 95 % intervals, then what others measured."""

    def cell(name: str, digits: int) -> str:
        if name not in row:
            return "-".rjust(19)
        mean, low, high = row[name]
        return f"{mean:6.{digits}f} [{low:5.{digits}f},{high:5.{digits}f}]".rjust(19)

    head = f"{row['source']:<8}{row['map']:<16}{row['name']:<10}"
    digits = (("win_rate", 3), ("return", 2), ("length", 1), ("survivors", 2), ("td_error", 3), ("early_td_error", 3))
    ours = " ".join(cell(name, d) for name, d in digits)
    others = " ".join(
        f"{row[k]:9.3f}" if row[k] is not None else "-".rjust(9) for k in ("published", "study", "stand_in")
    )
    return f"{head} {ours} {others}"


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(os.environ.get("IBAL_ORACLE_DIR", "../shared/data/oracle"))
    parser.add_argument("--policies", type=Path, default=default)
    parser.add_argument("--games", type=count, default=256)
    parser.add_argument("--maps", nargs="*", help="only these maps")
    parser.add_argument("--sources", nargs="*", help="only these sources")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--spawn", choices=SPAWNS, default=SPAWNS[0])
    add_rules(parser)
    parser.add_argument("--json", type=output_file)
    return parser.parse_args()


def measure(policy: Policy, games: int, options: dict[str, Any]) -> dict[str, Any]:
    """Play one policy: its row of the table, or ``skipped``, the reason why it cannot be played."""
    try:
        env = make_env(policy.map_name, games, options)
        learner, with_mixer = fitting_learner(env.spec, policy.folder)
    except (OSError, ValueError) as error:
        print(f"skipped {policy.folder}: {error}", file=sys.stderr)
        return {"folder": str(policy.folder), "skipped": str(error)}
    row = summarize(policy, play(learner, env), with_mixer)
    print(show(row), flush=True)
    return row


def main() -> None:
    """Play all policies and print the table."""
    args = parse_arguments()
    if not args.policies.is_dir():
        sys.exit(
            f"No policies at {args.policies}: set IBAL_ORACLE_DIR or --policies to a folder with the weights of "
            "WALL (pretrain_model/) or ROMANCE, as SOURCE/LEARNER/MAP/agent.th or SOURCE/MAP/NAME/agent.th."
        )
    options = {"seed": args.seed, "spawn": args.spawn, **chosen_rules(args)}
    rows: list[dict[str, Any]] = []
    print("source  map             name        win rate            return              length              survivors"
          "           TD error            TD of 5 first       published     study  stand-in")  # fmt: skip
    for policy in find_policies(args.policies):
        wanted = (not args.maps or policy.map_name in args.maps) and (not args.sources or policy.source in args.sources)
        if wanted:
            rows.append(measure(policy, args.games, options))
    played, skipped = ([row for row in rows if ("skipped" in row) == missed] for missed in (False, True))
    if args.json:
        write_json(args.json, {"settings": options, "rows": played, "skipped": skipped})
    if not played:
        sys.exit(f"Nothing was played: of the policies in {args.policies} {len(rows)} were wanted and none fits.")


if __name__ == "__main__":
    main()
