"""Figures of what IBAL does: its strength while training, and which dims it hides in a game."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl
import torch

from ibal_lightning.types import EpisodeBatch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVES = {  # column of metrics.csv -> label
    "test_battle_won_mean": "natural win rate (greedy tests)",
    "attack/attacked_won": "win rate of attacked episodes (window)",
    "attack/p_max": "P_max",
}


def strength_figure(metrics: pl.DataFrame) -> Figure:
    """P_max, the natural and the attacked win rate over env steps.

    Args:
        metrics: rows of a run's ``metrics.csv``.

    Raises:
        ValueError: the run has no P_max: it was not trained under IBAL.
    """
    if "attack/p_max" not in metrics.columns:
        raise ValueError("this run logged no attack/p_max: it was not trained under ibal")
    figure = _figure(7, 4)
    axes = figure.subplots()
    for (column, label), style in zip(CURVES.items(), ("-", ".:", "--"), strict=True):
        if column in metrics.columns:
            rows = metrics.select("t_env", column).drop_nulls().drop_nans().sort("t_env")
            axes.plot(rows["t_env"], rows[column], style, label=label)
    axes.set(xlabel="env steps", ylabel="share", ylim=(-0.02, 1.02))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=3, fontsize=8)
    return figure


def mask_figure(batch: EpisodeBatch, game: int, agent: int, names: Sequence[str], rows: int = 40) -> Figure:
    """Which dims of an agent's observation are hidden at each step of a game, by name, most often hidden first.

    Only dims that would have told something are marked: a hidden dim that reads the fill value anyway is not. Steps
    at which the agent's action was overridden are marked below.

    Args:
        names: (O,) of the dims.
        rows: dims to show at most.

    Raises:
        ValueError: nothing is hidden from this agent.
    """
    steps = int((batch.mask[game] & batch.alive[game, :-1, agent]).sum())
    hidden = (batch.obs_seen != batch.obs)[game, :steps, agent]
    order = hidden.sum(0).argsort(descending=True, stable=True)
    order = order[hidden.sum(0)[order] > 0][:rows]
    if len(order) == 0:
        raise ValueError(f"nothing is hidden from agent {agent} in game {game}: name an attack that masks observations")
    figure = _figure(8, 1.6 + 0.19 * len(order))
    axes = figure.subplots()
    axes.imshow(hidden[:, order].T.numpy(), aspect="auto", cmap="Greys", interpolation="nearest", vmin=0, vmax=1.3)
    axes.set_yticks(range(len(order)), [names[int(dim)] for dim in order], fontsize=7)
    struck = batch.attacked[game, :steps, agent].nonzero()[:, 0].tolist()
    axes.plot(struck, [len(order)] * len(struck), "r|", markersize=6, clip_on=False)
    axes.locator_params("x", integer=True)
    axes.set(xlabel="step (red: action overridden)", ylim=(len(order) + 0.5, -0.5))
    axes.set_title(_title(batch, game, agent), fontsize=9)
    return figure


def _title(batch: EpisodeBatch, game: int, agent: int) -> str:
    """Who is shown, and which allies, by the numbers that the dims use, are of the other group."""
    group = batch.group[game].tolist()
    opponents = [str(j + 1 if j < agent else j) for j, other in enumerate(group) if 0 < other != group[agent]]
    against = f", group {group[agent]}, cut off from ally {', '.join(opponents)}" if opponents else ""
    return f"agent {agent}{against}; game {'won' if batch.won[game] else 'lost'}"


def most_hidden(batch: EpisodeBatch) -> tuple[int, int]:
    """The game and the member of G1 that loses most over the game; any agent where there is no G1."""
    steps = (batch.mask[..., None] & batch.alive[:, :-1])[..., None]
    lost = ((batch.obs_seen != batch.obs)[:, :-1] & steps).sum((1, 3))
    if (batch.group == 1).any():
        lost = torch.where(batch.group == 1, lost, -1)
    game, agent = divmod(int(lost.argmax()), lost.shape[1])
    return game, agent


def _figure(width: float, height: float) -> Figure:
    """An empty figure, in inches; no window system is asked for.

    Raises:
        ValueError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise ValueError("figures need matplotlib: pip install 'ibal-lightning[plots]'") from None
    return Figure(figsize=(width, height), layout="constrained")
