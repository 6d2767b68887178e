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

from ibal_lightning.functional.options import check_range

TINY = 1e-10  # keeps QPLEX's weights positive, as published


def fused_towers(x: Tensor, nets: Sequence[nn.Module]) -> tuple[Tensor, ...]:
    """Outputs (R, out_k) of several towers on one input (R, in); their first layers are one matrix product."""
    firsts = [net[0] if isinstance(net, nn.Sequential) else net for net in nets]
    weights: list[Tensor] = [layer.get_parameter("weight") for layer in firsts]
    bias = torch.cat([layer.get_parameter("bias") for layer in firsts])
    parts = F.linear(x, torch.cat(weights), bias).split([weight.shape[0] for weight in weights], dim=1)
    return tuple(rest_of(net, part) for net, part in zip(nets, parts, strict=True))


def rest_of(net: nn.Module, x: Tensor) -> Tensor:
    """Output of a tower from the output x of its first layer."""
    for layer in list(net)[1:] if isinstance(net, nn.Sequential) else ():
        x = layer(x)
    return x


def tower(in_dim: int, widths: Sequence[int], out_dim: int) -> nn.Module:
    """A linear layer, behind a relu layer for each of ``widths``."""
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Linear(in_dim, width), nn.ReLU()]
        in_dim = width
    last = nn.Linear(in_dim, out_dim)
    return nn.Sequential(*layers, last) if layers else last


class VdnMixer(nn.Module):
    """Q_tot = sum_i Q_i (Sunehag et al. 2018)."""

    def forward(self, q_taken: Tensor, state: Tensor, actions: Tensor, q_max: Tensor) -> Tensor:
        """(R,) from q_taken (R, N)."""
        del state, actions, q_max
        return q_taken.sum(1)


class QmixMixer(nn.Module):
    """Q_tot = |W2(s)|^T elu(|W1(s)|^T q + b1(s)) + V(s), monotone in every Q_i (Rashid et al. 2018).

    Args:
        n_agents: N.
        state_dim: S.
        mixing_dim: width of the mixing network.
        hypernet_dim: hidden units of the hypernetworks.
        hypernet_layers: their layers, 1 or 2; one has no hidden units (PyMARL's name).

    Raises:
        ValueError: another number of layers, or a width below 1.
    """

    def __init__(
        self, n_agents: int, state_dim: int, *, mixing_dim: int = 32, hypernet_dim: int = 64, hypernet_layers: int = 2
    ) -> None:
        super().__init__()
        check_range("backbone.hypernet_layers", hypernet_layers, 1, 2)
        check_range("backbone.mixing_dim", mixing_dim, 1)
        check_range("backbone.hypernet_dim", hypernet_dim, 1)
        self.n_agents, self.mixing_dim = n_agents, mixing_dim
        widths = [hypernet_dim] * (hypernet_layers - 1)
        self.hyper_w_1 = tower(state_dim, widths, mixing_dim * n_agents)
        self.hyper_w_final = tower(state_dim, widths, mixing_dim)
        self.hyper_b_1 = nn.Linear(state_dim, mixing_dim)
        self.V = tower(state_dim, [mixing_dim], 1)

    def forward(self, q_taken: Tensor, state: Tensor, actions: Tensor, q_max: Tensor) -> Tensor:
        """(R,) from q_taken (R, N) and state (R, S)."""
        del actions, q_max
        towers = (self.hyper_w_1, self.hyper_w_final, self.V, self.hyper_b_1)
        w_1, w_final, v, b_1 = fused_towers(state, towers)
        w_1 = w_1.abs().view(-1, self.n_agents, self.mixing_dim)
        hidden = F.elu((q_taken.unsqueeze(2) * w_1).sum(1) + b_1)  # faster than bmm, which makes R small products
        return (hidden * w_final.abs()).sum(1) + v.squeeze(1)


class QplexMixer(nn.Module):
    """Q_tot = sum_i V~_i + sum_i lambda_i(s, a) A~_i, with lambda_i > 0 and A~_i <= 0 (Wang et al. 2021).

    With positive weights w_i(s): Q~_i = w_i Q_i + v_i, V~_i its best legal value and A~_i = Q~_i - V~_i, so the joint
    and the individual greedy actions agree while lambda, which sees the joint action, can represent any joint value.
    lambda_i sums |key(s)| x sigmoid(agent_i(s)) x sigmoid(action_i(s, a)) over attention heads.

    Args:
        n_agents: N.
        n_actions: A.
        state_dim: S.
        hypernet_dim: hidden units of the networks of w and v.
        num_kernel: attention heads.
        adv_hypernet_layers: layers of the networks behind lambda, 1 to 3 (WALL uses 1, pymarl2 2).
        adv_hypernet_dim: their hidden units.
        stop_gradient: keep the gradient of the weighted advantages away from the utilities, as published.
        weighted_head: use w and v; without, Q~_i = Q_i. Their layers stay, as in the published files.
        is_minus_one: weigh A~_i by lambda_i - 1 beside sum_i Q~_i, which is the equation; without, by lambda_i.

    Raises:
        ValueError: a number of layers, of heads or a width is out of range.
    """

    def __init__(
        self,
        n_agents: int,
        n_actions: int,
        state_dim: int,
        *,
        hypernet_dim: int = 64,
        num_kernel: int = 2,
        adv_hypernet_layers: int = 1,
        adv_hypernet_dim: int = 64,
        stop_gradient: bool = True,
        weighted_head: bool = True,
        is_minus_one: bool = True,
    ) -> None:
        super().__init__()
        check_range("backbone.adv_hypernet_layers", adv_hypernet_layers, 1, 3)
        check_range("backbone.num_kernel", num_kernel, 1)
        check_range("backbone.hypernet_dim", hypernet_dim, 1)
        check_range("backbone.adv_hypernet_dim", adv_hypernet_dim, 1)
        self.n_actions, self.stop_gradient = n_actions, stop_gradient
        self.weighted_head, self.is_minus_one = weighted_head, is_minus_one
        self.hyper_w_final = tower(state_dim, [hypernet_dim], n_agents)
        self.V = tower(state_dim, [hypernet_dim], n_agents)
        widths = [adv_hypernet_dim] * (adv_hypernet_layers - 1)
        self.si_weight = QplexWeight(n_agents, n_actions, state_dim, num_kernel=num_kernel, widths=widths)

    def forward(self, q_taken: Tensor, state: Tensor, actions: Tensor, q_max: Tensor) -> Tensor:
        """(R,) from q_taken (R, N), state (R, S), actions (R, N) i64 and q_max (R, N)."""
        q, advantage = q_taken, q_taken - q_max
        if self.weighted_head:
            w, v = fused_towers(state, (self.hyper_w_final, self.V))
            w = w.abs() + TINY
            q, advantage = w * q_taken + v, w * advantage
        if self.stop_gradient:
            advantage = advantage.detach()
        one_hot = F.one_hot(actions, self.n_actions).flatten(1).to(state.dtype)
        lambda_ = self.si_weight(state, torch.cat([state, one_hot], 1))
        weight = lambda_ - 1.0 if self.is_minus_one else lambda_
        return q.sum(1) + (advantage * weight).sum(1)


class QplexWeight(nn.Module):
    """The attention weights lambda_i(s, a) > 0 of QPLEX."""

    def __init__(
        self, n_agents: int, n_actions: int, state_dim: int, *, num_kernel: int, widths: Sequence[int]
    ) -> None:
        super().__init__()
        joint_dim = state_dim + n_agents * n_actions
        self.key_extractors = nn.ModuleList(tower(state_dim, widths, 1) for _ in range(num_kernel))
        self.agents_extractors = nn.ModuleList(tower(state_dim, widths, n_agents) for _ in range(num_kernel))
        self.action_extractors = nn.ModuleList(tower(joint_dim, widths, n_agents) for _ in range(num_kernel))

    def forward(self, state: Tensor, joint: Tensor) -> Tensor:
        """(R, N) from state (R, S) and joint = [state | one-hot actions] (R, S + N A)."""
        total = torch.zeros((), device=state.device)
        heads = zip(self.key_extractors, self.agents_extractors, self.action_extractors, strict=True)
        for key, agents, action in heads:
            total = total + (key(state).abs() + TINY) * torch.sigmoid(agents(state)) * torch.sigmoid(action(joint))
        return total
