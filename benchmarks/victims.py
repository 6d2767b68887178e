"""Imports the released WALL policies and plays each under every attack; prints the table of docs/fidelity.md.

    python benchmarks/victims.py --episodes 256 --out outputs/victims

Policies are read from IBAL_ORACLE_DIR (default ../shared/data/oracle), laid out as wall/<learner>/<map>/agent.th.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import polars as pl
from arguments import count

from ibal_lightning.cli.app import main as ibal

ATTACKS = ("natural", "random_obs", "random_mask", "random_action", "dis_1", "dis_2", "hp_15", "ibal_fitted")


def imported(source: Path, out: Path) -> Path:
    """A run directory with the policy of ``source`` (.../<learner>/<map>)."""
    learner, name = source.parts[-2:]
    run = out / f"{learner}_{name}"
    if not (run / "checkpoints/last.ckpt").exists():
        words = [f"from={source}", "env=smac", f"env.map_name={name}", f"backbone={learner}", f"out={run}"]
        if ibal(["import-pymarl", *words]):
            sys.exit(f"{source} cannot be imported")
    return run


def row(run: Path, attacks: list[str], episodes: int) -> str:
    """One markdown row: the win rate of each attack, per cent."""
    if ibal(["evaluate", f"run={run}", f"attacks=[{','.join(attacks)}]", f"evaluation.episodes={episodes}"]):
        sys.exit(f"{run} cannot be evaluated")
    won = pl.read_parquet(run / "results.parquet").group_by("attack").agg(pl.col("won").mean())
    rates = dict(won.rows())
    return f"| {run.name.replace('_', ' ')} | " + " | ".join(f"{100 * rates[a]:.1f}" for a in attacks) + " |"


def main() -> None:
    """Play everything, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(os.environ.get("IBAL_ORACLE_DIR", "../shared/data/oracle"))
    parser.add_argument("--policies", type=Path, default=default)
    parser.add_argument("--episodes", type=count, default=256)
    parser.add_argument("--out", type=Path, default=Path("outputs/victims"))
    parser.add_argument("--attacks", nargs="+", default=list(ATTACKS))
    args = parser.parse_args()
    sources = sorted(path.parent for path in (args.policies / "wall").glob("*/*/agent.th"))
    if not sources:
        sys.exit(f"no policies under {args.policies / 'wall'}: set IBAL_ORACLE_DIR, see docs/fidelity.md")
    rows = [row(imported(source, args.out), args.attacks, args.episodes) for source in sources]
    print("| policy | " + " | ".join(args.attacks) + " |")
    print("|---" * (len(args.attacks) + 1) + "|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
