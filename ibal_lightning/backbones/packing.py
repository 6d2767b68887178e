"""Recurrent work on real slots only: on a CPU, padding would cost as much as play.

Episodes of a batch differ in length, early in training by a factor of two and more. Games are sorted by length and
their real slots laid out time-major, so that the GRU's batch shrinks as games end. On GPUs, where rows are cheap and
host synchronisation is not, learners work on the padded batch instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """Which slots of a (B, L) grid are real, in the order of the GRU's steps."""

    rows: Tensor  # (P,) i64 positions in the flattened grid, time-major, games by falling length
    sizes: list[int]  # games that are still running, per slot
    shape: tuple[int, int]  # (B, L)

    def pack(self, x: Tensor) -> Tensor:
        """(P, ...) the real slots of x (B, L, ...)."""
        return x.flatten(0, 1).index_select(0, self.rows)

    def unpack(self, x: Tensor) -> Tensor:
        """(B, L, ...) of packed x (P, ...), zero elsewhere."""
        games, slots = self.shape
        grid = x.new_zeros(games * slots, *x.shape[1:])
        return grid.index_copy(0, self.rows, x).unflatten(0, self.shape)


def packing_of(mask: Tensor) -> Packing | None:
    """The real slots of episodes with steps mask (B, T), each with its last step's successor; None on GPUs."""
    if mask.device.type != "cpu":
        return None
    games, slots = mask.shape[0], mask.shape[1] + 1
    lengths = mask.sum(1) + 1
    order = lengths.argsort(descending=True, stable=True)
    time = torch.arange(slots).unsqueeze(1)
    real = time < lengths[order]
    return Packing((order * slots + time)[real], real.sum(1).tolist(), (games, slots))
