"""Small pieces that the estimators share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ibal_lightning.functional.null_band import nearest_rows


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two hidden ReLU layers."""
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, outputs)
    )


def joined(*parts: Tensor | None) -> Tensor:
    """(M, .) the given parts side by side; None is left out."""
    return torch.cat([part for part in parts if part is not None], -1)


def known(x: Tensor, context: Tensor | None) -> Tensor:
    """(M, C) the context; a column of zeros beside x (M, X) where there is none."""
    return x.new_zeros(len(x), 1) if context is None else context


def product_pairs(y: Tensor, context: Tensor | None, neighbours: int) -> Tensor:
    """(M, P) which other rows stand in for draws of y (M, Y) from p(y | c) in each row.

    Without context every other row does. With context only those of the nearest contexts: rows shuffled over all
    contexts would estimate I(x, c; y), not I(x; y | c) (ALGORITHMS 2.5).

    Raises:
        ValueError: a single row has no other.
    """
    rows = len(y)
    if rows < 2:
        raise ValueError(f"an estimate needs at least 2 rows, got {rows}")
    return nearest_rows(y.new_zeros(rows, 1), rows - 1) if context is None else nearest_rows(context, neighbours)
