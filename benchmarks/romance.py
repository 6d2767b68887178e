"""ROMANCE's table for 2s3z on the embedded engine: its released policies under its released attackers.

    python benchmarks/romance.py --games 64

Reads romance/2s3z/<name>/agent.th and romance/2s3z/attackers/ from IBAL_ORACLE_DIR (default ../shared/data/oracle).
The agents are fed executed last actions, as in ROMANCE's code.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import torch

from ibal_lightning.attack import Attack, Threat
from ibal_lightning.attacks.ega import Ega
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


def wins(env: Smac, backbone: Vdn, attack: Attack, games: int, seed: int) -> int:
    """Games won under an attack."""
    return sum(row["won"] for row in play(env, backbone, attack, episodes=games, seed=seed))


def main() -> None:
    """Play every group under every column and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(os.environ.get("IBAL_ORACLE_DIR", "../shared/data/oracle"))
    parser.add_argument("--policies", type=Path, default=default)
    parser.add_argument("--games", type=int, default=64, help="games per policy and column")
    args = parser.parse_args()
    folder = args.policies / "romance" / "2s3z"
    if not (folder / "vanilla" / "agent.th").exists():
        sys.exit(f"no policies under {folder}: set IBAL_ORACLE_DIR, see docs/fidelity.md")
    torch.set_num_threads(1)
    env = Smac(num_envs=args.games, seed=0, map_name="2s3z")
    threat = Threat()
    ega = Ega(env.spec, threat, weights=str(folder / "attackers"), budget=8)
    columns = (Attack(env.spec, threat), RandomAction(env.spec, threat, p=0.1), ega)
    print("| victim | policies | natural | random action | EGA, K = 8 | published |\n|---|---|---|---|---|---|")
    for group, published in PUBLISHED.items():
        paths = sorted(p for p in folder.iterdir() if p.name.split("_")[0] == group)
        cells = []
        for attack in columns:
            won = sum(wins(env, victim(env, path), attack, args.games, seed) for seed, path in enumerate(paths))
            low, high = wilson_interval(won, args.games * len(paths))
            cells.append(f"{100 * won / (args.games * len(paths)):.1f} [{100 * low:.1f}, {100 * high:.1f}]")
        print(
            f"| {group} | {len(paths)} | " + " | ".join(cells) + f" | {' / '.join(map(str, published))} |", flush=True
        )


if __name__ == "__main__":
    main()
