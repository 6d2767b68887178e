"""Draws learning curves from the JSON files of ``learning.py``: one panel a map, a median with the range of the seeds.

    python benchmarks/curves.py FILE... --out docs/figures/learning.png [--against cpu_s]

Needs matplotlib (``pip install -e '.[plots]'``).
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt

LABELS = {"env_steps": "env steps", "cpu_s": "CPU seconds, tests included", "wall_s": "wall seconds, tests included"}


def band(run: dict[str, Any], against: str) -> tuple[np.ndarray, np.ndarray]:
    """Places (P,) that all seeds reached and scores (seeds, P) there; a seed that stopped keeps its last score."""
    curves = [seed["curve"] for seed in run["seeds"]]
    places = np.linspace(0, max(curve[against][-1] for curve in curves), 200)
    scores = [np.interp(places, [0, *curve[against]], [0, *curve["score"]]) for curve in curves]
    return places, np.array(scores)


def panel(axes: Any, runs: list[dict[str, Any]], against: str) -> None:
    """All backbones on one map."""
    lbf = runs[0]["map"].startswith("Foraging")
    for run in sorted(runs, key=lambda run: run["backbone"]):
        places, scores = band(run, against)
        (line,) = axes.plot(places, np.median(scores, 0), label=f"{run['backbone']} ({len(scores)} seeds)")
        axes.fill_between(places, scores.min(0), scores.max(0), color=line.get_color(), alpha=0.2, linewidth=0)
    axes.axhline(0.8 if lbf else 0.9, color="grey", linewidth=0.8, linestyle=":")
    axes.set(title=runs[0]["map"], xlabel=LABELS[against], ylim=(0, 1.02), xlim=(0, None))
    axes.set_ylabel("return of greedy tests (1 at most)" if lbf else "win rate of greedy tests")
    axes.locator_params(axis="x", nbins=4)
    axes.legend(loc="lower right", fontsize=8)


def main() -> None:
    """Draw and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/figures/learning.png"))
    parser.add_argument("--against", choices=sorted(LABELS), default="env_steps")
    args = parser.parse_args()
    maps: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for file in args.files:
        run = json.loads(file.read_text())
        maps[run["map"]].append(run)
    figure, grid = plt.subplots(1, len(maps), figsize=(4.2 * len(maps), 3.4), squeeze=False, layout="constrained")
    for axes, runs in zip(grid[0], maps.values(), strict=True):
        panel(axes, runs, args.against)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out, dpi=110)


if __name__ == "__main__":
    main()
