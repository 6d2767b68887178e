"""The layer between fc1 and fc2 of an agent: a GRU, or one that remembers nothing. Parameter names are PyMARL's and
EPyMARL's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ibal_lightning.backbones.gru import run_gru, run_packed_gru


class Recurrent(nn.GRU):
    """A GRU layer."""

    def advance(self, x: Tensor, hidden: Tensor) -> Tensor:
        """Hiddens (M, H) after one step of x (M, H) from hidden (M, H)."""
        return torch.gru_cell(x, hidden, *self.all_weights[0])

    def run(self, x: Tensor, hidden: Tensor) -> Tensor:
        """Hiddens (L, M, H) over x (L, M, H) from hidden (M, H)."""
        return run_gru(self, x, hidden)

    def run_packed(self, x: Tensor, sizes: list[int]) -> Tensor:
        """Hiddens (P, H) over packed rows x (P, H), ``sizes`` of them a step, from zero memory."""
        return run_packed_gru(self, x, x.new_zeros(sizes[0], self.hidden_size), sizes)


class FeedForward(nn.Linear):
    """relu of a linear layer, as in EPyMARL's agents with ``use_rnn=False``."""

    def advance(self, x: Tensor, hidden: Tensor) -> Tensor:
        """Hiddens (..., H) of x (..., H)."""
        del hidden
        return torch.relu(self(x))

    run = advance

    def run_packed(self, x: Tensor, sizes: list[int]) -> Tensor:
        """Hiddens (P, H) of packed rows x (P, H)."""
        del sizes
        return torch.relu(self(x))
