"""The joint additive form of IBAL's models: one regression on all simultaneous actions.

``f^i = base(x^i) + sum_{j != i} Delta_ij(a^j, x^i)`` with per-pair low-rank effects and state-dependent gates,
``Delta_ij(b, x)_d = sum_r g_ijr(x) u_ijbr v_ijrd``. Conditioning on everybody's action at once keeps a team that acts
together from being credited with each other's effects (IBAL_STUDY 1), and needs N rows a game instead of N(N-1).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ibal_lightning.estimators.moments import RunningMoments
from ibal_lightning.estimators.transitions import Context
from ibal_lightning.types import EnvSpec


class Trunk(nn.Module):
    """Features of x^i = [state, obs^i, a^i, i, time] after ``layers`` ReLU layers.

    The first is split, so that the state enters once a game.
    """

    def __init__(self, spec: EnvSpec, hidden: int, layers: int) -> None:
        super().__init__()
        self.state_moments = RunningMoments(spec.state_dim)
        self.obs_moments = RunningMoments(spec.obs_dim)
        self.state = nn.Linear(spec.state_dim, hidden)
        self.obs = nn.Linear(spec.obs_dim, hidden, bias=False)
        self.action = nn.Parameter(0.1 * torch.randn(spec.n_actions, hidden))
        self.agent = nn.Parameter(0.1 * torch.randn(spec.n_agents, hidden))
        self.time = nn.Parameter(0.1 * torch.randn(hidden))
        self.later = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(layers - 1))

    def update_moments(self, now: Context) -> None:
        """Take in the scale of states and of living agents' observations."""
        self.state_moments.update(now.state)
        self.obs_moments.update(now.obs[now.alive])

    def forward(self, now: Context) -> Tensor:
        """(M, N, H) features."""
        game = self.state(self.state_moments.normalise(now.state)) + now.time[:, None] * self.time
        own = self.obs(self.obs_moments.normalise(now.obs)) + F.embedding(now.actions, self.action) + self.agent
        x = torch.relu(own + game[:, None])
        for layer in self.later:
            x = torch.relu(layer(x))
        return x


class PairEffects(nn.Module):
    """Low-rank effects of every agent's action on every other agent's D outputs; zero until learnt.

    Gates are (M, N, N, R): row i, source j. An agent has no effect on itself (its own action is in the trunk).
    """

    def __init__(self, n_agents: int, n_actions: int, dims: int, rank: int) -> None:
        super().__init__()
        self.u = nn.Parameter(torch.randn(n_agents, n_agents, n_actions, rank) / rank**0.5)
        self.v = nn.Parameter(torch.zeros(n_agents, n_agents, rank, dims))
        self.others: Tensor
        self.register_buffer("others", 1 - torch.eye(n_agents)[..., None, None], persistent=False)

    def forward(self, gates: Tensor, actions: Tensor, alive: Tensor) -> Tensor:
        """(M, N, D) sum of the effects of the actions (M, N) of those alive (M, N)."""
        chosen = F.one_hot(actions, self.u.shape[2]).to(gates.dtype) * alive[..., None]
        coefficient = gates * torch.einsum("mja,ijar->mijr", chosen, self.u * self.others)
        return torch.einsum("mijr,ijrd->mid", coefficient, self.v)

    def covariance(self, gates: Tensor, p: Tensor) -> Tensor:
        """(N, N, M, R * R) covariance of the coefficients g_r u_br over b ~ p (M, N, A); row, source first."""
        u = (self.u - self.u.mean(2, keepdim=True)) * self.others  # centred: the covariance loses no digits
        by_source = p.transpose(0, 1)
        first, second = by_source @ u, by_source @ outer(u)
        return (second - outer(first)) * outer(gates.permute(1, 2, 0, 3).contiguous())

    def variance(self, covariance: Tensor) -> Tensor:
        """(N, N, M, D) exact variance of each source's effect, v_d' C v_d, given ``covariance`` C."""
        return (covariance @ self._products()).clamp(min=0)

    def total_variance(self, covariance: Tensor, cut: Tensor) -> Tensor:
        """(N, M, D) variance of the summed effects of the sources in ``cut`` (M, N, N): independent sources add up."""
        n, _, m, _ = covariance.shape
        chosen = covariance.permute(0, 2, 1, 3) * cut.transpose(0, 1)[..., None]
        return (chosen.reshape(n, m, -1) @ self._products().flatten(1, 2)).clamp(min=0)

    def _products(self) -> Tensor:
        """(N, N, R * R, D) products v_rd v_sd."""
        return outer(self.v.transpose(2, 3)).transpose(2, 3)


class JointAdditive(nn.Module):
    """Trunk, gates and pair effects, shared by the models of next observations and of next actions.

    Args:
        dims: outputs D per agent.
        hidden: width of the trunk.
        rank: rank R of each pair's effect.
        layers: of the trunk.
    """

    def __init__(self, spec: EnvSpec, dims: int, *, hidden: int, rank: int, layers: int) -> None:
        super().__init__()
        self.shape = (spec.n_agents, spec.n_agents, rank)
        self.trunk = Trunk(spec, hidden, layers)
        self.base = nn.Linear(hidden, dims)
        self.gate = nn.Linear(hidden, spec.n_agents * rank)
        self.effects = PairEffects(spec.n_agents, spec.n_actions, dims, rank)

    def gates(self, features: Tensor) -> Tensor:
        """(M, N, N, R) of features (M, N, H); around 1, so that effects can grow from the first update."""
        return 1 + self.gate(features).unflatten(-1, self.shape[1:])


def parameter_groups(module: nn.Module, lr: float) -> list[dict[str, Any]]:
    """Optimizer groups of a model: pair factors learn three times as fast as everything else (IBAL_STUDY 5.1)."""
    fast = [p for name, p in module.named_parameters() if ".effects." in f".{name}"]
    slow = [p for name, p in module.named_parameters() if ".effects." not in f".{name}"]
    return [{"params": group, "lr": rate} for group, rate in ((slow, lr), (fast, 3 * lr)) if group]


def outer(x: Tensor) -> Tensor:
    """(..., R * R) products of all pairs of the last axis of x (..., R)."""
    return (x[..., :, None] * x[..., None, :]).flatten(-2)
