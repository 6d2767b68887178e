"""Draws learning curves from the JSON files of ``learning.py``: a row a map, a panel a backbone.

    python benchmarks/curves.py FILE... --out docs/figures/learning.png [--against cpu_s]

Needs matplotlib (``pip install -e '.[plots]'``).
"""

from __future__ import annotations

import argparse
import itertools
import json
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


def panel(axes: Any, run: dict[str, Any], against: str) -> None:
    """Every seed of one backbone on one map, thin, and their median."""
    lbf = run["map"].startswith("Foraging")
    places, scores = band(run, against)
    axes.plot(places, scores.T, color="tab:blue", alpha=0.35, linewidth=0.8)
    axes.plot(places, np.median(scores, 0), color="tab:blue", linewidth=2)
    axes.axhline(0.8 if lbf else 0.9, color="grey", linewidth=0.8, linestyle=":")
    axes.set(ylim=(0, 1.02), xlim=(0, places[-1]))
    axes.set_title(f"{run['map']}, {run['backbone']}, {len(scores)} seed{'s' * (len(scores) > 1)}", fontsize=10)
    axes.locator_params(axis="x", nbins=4)


def main() -> None:
    """Draw and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/figures/learning.png"))
    parser.add_argument("--against", choices=sorted(LABELS), default="env_steps")
    args = parser.parse_args()
    runs = {(run["map"], run["backbone"]): run for run in (json.loads(file.read_text()) for file in args.files)}
    maps, backbones = (list(dict.fromkeys(names)) for names in zip(*runs, strict=True))
    size = (2.9 * len(backbones), 2.1 * len(maps))
    figure, grid = plt.subplots(
        len(maps), len(backbones), figsize=size, squeeze=False, layout="constrained", sharey=True
    )
    for (row, name), (column, backbone) in itertools.product(enumerate(maps), enumerate(backbones)):
        if (name, backbone) in runs:
            panel(grid[row, column], runs[name, backbone], args.against)
        else:
            grid[row, column].set_axis_off()
    figure.supxlabel(LABELS[args.against], fontsize=10)
    figure.supylabel("greedy test score", fontsize=10)  # games won; on LBF the return, which is 1 at most
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out, dpi=110)


if __name__ == "__main__":
    main()
