"""Mixers: joint values from per-agent utilities. Parameter names are PyMARL's, so its ``mixer.th`` files fit.

Every mixer is called on flattened rows R = B x T as ``mixer(q_taken (R,N), state (R,S), actions (R,N), q_max (R,N))``
and gives q_tot (R,). ``actions`` are the intended joint actions and ``q_max`` the best legal utilities; only QPLEX
reads them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def fused_linear(x: Tensor, layers: Sequence[nn.Linear]) -> tuple[Tensor, ...]:
    """Outputs (R, out_k) of several linear layers on one input (R, in), as one matrix product."""
    weight = torch.cat([layer.weight for layer in layers])
    bias = torch.cat([layer.bias for layer in layers])
    return F.linear(x, weight, bias).split([layer.out_features for layer in layers], dim=1)


def mlp(in_dim: int, hidden_dim: int, out_dim: int) -> nn.Sequential:
    """Linear - relu - linear."""
    return nn.Sequential(nn.Linear(in_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, out_dim))


class VdnMixer(nn.Module):
    """Q_tot = sum_i Q_i (Sunehag et al. 2018)."""

    def forward(self, q_taken: Tensor, state: Tensor, actions: Tensor, q_max: Tensor) -> Tensor:
        """(R,) from q_taken (R, N)."""
        del state, actions, q_max
        return q_taken.sum(1)


class QmixMixer(nn.Module):
    """Q_tot = |W2(s)|^T elu(|W1(s)|^T q + b1(s)) + V(s), monotone in every Q_i (Rashid et al. 2018)."""

    def __init__(self, n_agents: int, state_dim: int, *, mixing_dim: int = 32, hypernet_dim: int = 64) -> None:
        super().__init__()
        self.n_agents, self.mixing_dim = n_agents, mixing_dim
        self.hyper_w_1 = mlp(state_dim, hypernet_dim, mixing_dim * n_agents)
        self.hyper_w_final = mlp(state_dim, hypernet_dim, mixing_dim)
        self.hyper_b_1 = nn.Linear(state_dim, mixing_dim)
        self.V = mlp(state_dim, mixing_dim, 1)

    def forward(self, q_taken: Tensor, state: Tensor, actions: Tensor, q_max: Tensor) -> Tensor:
        """(R,) from q_taken (R, N) and state (R, S)."""
        del actions, q_max
        first = (self.hyper_w_1[0], self.hyper_w_final[0], self.V[0], self.hyper_b_1)
        x_1, x_final, x_v, b_1 = fused_linear(state, first)
        w_1 = self.hyper_w_1[2](torch.relu(x_1)).abs().view(-1, self.n_agents, self.mixing_dim)
        w_final = self.hyper_w_final[2](torch.relu(x_final)).abs()
        hidden = F.elu(torch.bmm(q_taken.unsqueeze(1), w_1).squeeze(1) + b_1)
        return (hidden * w_final).sum(1) + self.V[2](torch.relu(x_v)).squeeze(1)
