"""ROMANCE's table for 2s3z on the embedded engine: its released policies under its released attackers.

    python benchmarks/romance.py --games 128 [--victims vanilla ...] [--stats liberty] [--set RULE=VALUE ...]

Reads romance/2s3z/<name>/agent.th and romance/2s3z/attackers/ from IBAL_ORACLE_DIR (default ../shared/data/oracle).
The agents are fed executed last actions, as in ROMANCE's code. Its evaluation averages the five attackers of the
archive that hurt the victim most: with seven in the archive, the column "EGA" leaves out the two weakest.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from statistics import mean

import torch
from arguments import count
from battle_rules import add_rules, chosen_rules

from ibal_lightning.attack import Attack, Threat
from ibal_lightning.attacks.ega import Ega, attacker_files
from ibal_lightning.attacks.random_action import RandomAction
from ibal_lightning.backbones.pymarl import load_agent
from ibal_lightning.backbones.q_learner import Vdn
from ibal_lightning.envs.smac import Smac
from ibal_lightning.evaluation.statistics import wilson_interval
from ibal_lightning.evaluation.suite import play

# Published on the real game, per cent (ROMANCE, AAAI 2023, table 1): natural, random action p = 0.1, EGA with K = 8.
PUBLISHED = {
    "vanilla": (92.8, 78.8, 26.7),
    "rarl": (96.4, 84.3, 56.1),
    "rap": (98.1, 87.3, 64.1),
    "magag": (97.9, 89.1, 81.6),
}


def victim(env: Smac, path: Path) -> Vdn:
    """A released agent; only its greedy choices matter, so any mixer will do."""
    backbone = Vdn(env.spec, last_action_source="executed")
    load_agent(backbone, path / "agent.th")
    return backbone.eval()


STRONGEST = 5  # attackers that ROMANCE's evaluation averages


def ega_games(env: Smac, folder: Path) -> list[Attack]:
    """One attack for every attacker of the archive, K = 8."""
    return [Ega(env.spec, Threat(), weights=str(path), budget=8) for path in attacker_files(folder)]


def wins(env: Smac, backbone: Vdn, attack: Attack, games: int, seed: int) -> int:
    """Games won under an attack."""
    return sum(row["won"] for row in play(env, backbone, attack, episodes=games, seed=seed))


def main() -> None:
    """Play every group under every column and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(os.environ.get("IBAL_ORACLE_DIR", "../shared/data/oracle"))
    parser.add_argument("--policies", type=Path, default=default)
    parser.add_argument("--games", type=count, default=128, help="games per policy and column")
    parser.add_argument("--victims", nargs="+", choices=PUBLISHED, default=list(PUBLISHED), help="only these")
    add_rules(parser)
    args = parser.parse_args()
    folder = args.policies / "romance" / "2s3z"
    if not (folder / "vanilla" / "agent.th").exists():
        sys.exit(f"no policies under {folder}: set IBAL_ORACLE_DIR, see docs/fidelity.md")
    torch.set_num_threads(1)
    env = Smac(num_envs=args.games, seed=0, map_name="2s3z", engine="skirmish", **chosen_rules(args))
    threat = Threat()
    milder = (Attack(env.spec, threat), RandomAction(env.spec, threat, p=0.1))
    try:
        archive = ega_games(env, folder / "attackers")
    except FileNotFoundError as error:
        sys.exit(f"no attackers of ROMANCE's released archive: {error}")
    print("| victim | policies | natural | random action | EGA, whole archive | EGA | published |\n|" + "---|" * 7)
    for group in args.victims:
        columns: list[list[float]] = [[], [], [], []]  # won games of each policy, scaled to --games
        paths = sorted(p.parent for p in folder.glob("*/agent.th") if p.parent.name.split("_")[0] == group)
        if not paths:
            print(f"no policies of {group} under {folder}", file=sys.stderr)
            continue
        for seed, path in enumerate(paths):
            agent = victim(env, path)
            hurt = sorted(wins(env, agent, attack, args.games, seed) for attack in archive)
            shown = [wins(env, agent, attack, args.games, seed) for attack in milder]
            for column, won in zip(columns, (*shown, mean(hurt), mean(hurt[:STRONGEST])), strict=True):
                column.append(won)
        played = args.games * len(paths)
        cells = " | ".join(interval(sum(column), played) for column in columns)
        print(f"| {group} | {len(paths)} | {cells} | {' / '.join(map(str, PUBLISHED[group]))} |", flush=True)


def interval(won: float, played: int) -> str:
    """Win rate in per cent with its Wilson interval (EGA's columns rest on more games than ``played``)."""
    low, high = wilson_interval(round(won), played)
    return f"{100 * won / played:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


if __name__ == "__main__":
    main()
