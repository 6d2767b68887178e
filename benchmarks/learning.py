"""How long a backbone learns from scratch until greedy tests reach the threshold, seed by seed, through ``ibal train``.

    python benchmarks/learning.py --map 3m --backbone qmix --seeds 5 --json FILE [option=value ...]

The threshold is 0.9 of the games won, on LBF tasks (``--map Foraging-8x8-2p-3f-v3``) 0.8 of the return, which is 1 at
most. A run stops there, or at ``--env-steps``; with ``--to-end`` it goes on to the budget, which shows whether what was
learnt stays. Times count from the start of training, tests included, on one thread. Further words are overrides of
``ibal train``. ``--jobs`` runs seeds side by side.

    python benchmarks/learning.py --map Foraging-8x8-2p-3f-v3 --epymarl DIR --epymarl-python PYTHON

compares env steps per CPU second with EPyMARL's QMIX at the same updates per episode and batch; see ``epymarl.py``.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import epymarl
import polars as pl
from arguments import count, output_file
from plain_json import write_json

SPLIT = ("env", "policy", "attack", "learn", "attack_learn", "test", "other")
CURVE = ("env_steps", "score", "wall_s", "cpu_s")


def task(name: str) -> tuple[list[str], str, float]:
    """Overrides that choose the game, the metric of its tests and the threshold."""
    if name.startswith("Foraging"):
        return ["env=lbf", f"env.task={name}"], "test_return_mean", 0.8
    return ["env=smac", f"env.map_name={name}", "env.engine=skirmish"], "test_battle_won_mean", 0.9


def words(args: argparse.Namespace, seed: int, folder: Path) -> list[str]:
    """The command of one run, without the program."""
    game, metric, threshold = task(args.map)
    stop = [] if args.to_end else [f"training.stop_metric={metric}", f"training.stop_at={threshold}"]
    return [
        *(*game, f"backbone={args.backbone}", "method=vanilla", f"seed={seed}", "logger=csv"),
        *(f"training.env_steps={args.env_steps}", f"training.test_interval={args.test_interval}", *stop),
        "training.checkpoint_interval=0",
        *("evaluation.attacks=[natural]", "evaluation.episodes=128", f"hydra.run.dir={folder}", *args.overrides),
    ]


def run(args: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Train one seed in a process of its own and read what it left."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "run")
        command = [sys.executable, "-m", "ibal_lightning", *words(args, seed, folder)]
        done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"seed {seed} failed:\n{done.stderr}")
        return {"seed": seed, **read(folder, args.map)}


def read(folder: Path, map_name: str) -> dict[str, Any]:
    """The learning curve, the first passage of the threshold, the time split and the final policy of a run."""
    _, metric, threshold = task(map_name)
    rows = pl.read_csv(folder / "csv/metrics.csv", infer_schema_length=None)
    columns = ["t_env", metric, "time/wall_s", "time/cpu_s"]
    tests = rows.filter(rows[metric].is_not_null())[columns].rename(dict(zip(columns, CURVE, strict=True)))
    passed = tests.filter(tests["score"] >= threshold)
    split = rows.filter(rows["time/other_frac"].is_not_null())[-1]
    final = pl.read_parquet(folder / "results.parquet")
    return {
        "threshold": passed.row(0, named=True) if len(passed) else None,
        "below_after": share_below(tests["score"].to_list(), threshold),
        "total": tests.row(-1, named=True),
        "split": {name: split[f"time/{name}_frac"].item() for name in SPLIT},
        "final_won": final["won"].mean(),
        "final_return": final["return"].mean(),
        "curve": tests.to_dict(as_series=False),
    }


def share_below(scores: list[float], threshold: float) -> float | None:
    """Share of the tests after the first passage that fall below the threshold again by more than 0.1."""
    first = next((index for index, score in enumerate(scores) if score >= threshold), len(scores))
    later = scores[first + 1 :]
    return sum(score < threshold - 0.1 for score in later) / len(later) if later else None


def cells(row: dict[str, Any]) -> dict[str, str]:
    """One line of the table: to the threshold, over the whole run, and the split of its time in per cent."""
    first, total = row["threshold"], row["total"]
    split = {f"{name} %": f"{100 * row['split'][name]:.0f}" for name in SPLIT}
    return {
        "seed": str(row["seed"]),
        "env steps": f"{first['env_steps']:,}" if first else "never",
        "wall s": f"{first['wall_s']:.0f}" if first else "-",
        "CPU s": f"{first['cpu_s']:.0f}" if first else "-",
        "end": f"{total['env_steps']:,}",
        "end CPU s": f"{total['cpu_s']:.0f}",
        "won": f"{row['final_won']:.2f}",
        "return": f"{row['final_return']:.2f}",
        "below": "-" if row["below_after"] is None else f"{row['below_after']:.2f}",
        **split,
    }


def show(values: Iterable[str]) -> None:
    """Print a line of the table."""
    print(*(f"{value:>10}" for value in values), flush=True)


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over seeds; a seed that never passed counts as infinite."""
    reached = [row["threshold"] for row in rows]
    names = ("env_steps", "wall_s", "cpu_s")
    never = dict.fromkeys(names, float("inf"))
    medians = {name: statistics.median((first or never)[name] for first in reached) for name in names}
    final = {name: statistics.median(row[name] for row in rows) for name in ("final_won", "final_return")}
    return {"reached": sum(first is not None for first in reached), "seeds": len(rows), **medians, **final}


def main() -> None:
    """Train every seed, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--map", default="3m")
    parser.add_argument("--backbone", default="qmix")
    parser.add_argument("--seeds", type=count, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--env-steps", type=count, default=300_000, help="budget of a run")
    parser.add_argument("--test-interval", type=count, default=10_000)
    parser.add_argument("--to-end", action="store_true", help="go on behind the threshold")
    parser.add_argument("--jobs", type=count, default=1)
    parser.add_argument("--json", type=output_file)
    epymarl.add_arguments(parser)
    parser.add_argument("overrides", nargs="*", help="option=value")
    args = parser.parse_intermixed_args()
    if args.epymarl:
        return epymarl.compare(args)
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}"
    print(machine)
    rows: list[dict[str, Any]] = []
    with ThreadPoolExecutor(args.jobs) as pool:
        for row in pool.map(lambda seed: run(args, seed), range(args.first_seed, args.first_seed + args.seeds)):
            if not rows:
                show(cells(row))
            show(cells(row).values())
            rows.append(row)
    found = summary(rows)
    print("median", found)
    if args.json:
        asked = {name: getattr(args, name) for name in ("map", "backbone", "env_steps", "to_end", "overrides")}
        write_json(args.json, {"machine": machine, **asked, "summary": found, "seeds": rows})


if __name__ == "__main__":
    main()
