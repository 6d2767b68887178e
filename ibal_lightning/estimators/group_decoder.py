"""What one group's next observations tell about the other group's actions, all dims and agents together."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ibal_lightning.estimators.moments import RunningMoments
from ibal_lightning.estimators.network import mlp
from ibal_lightning.estimators.transitions import Transitions
from ibal_lightning.types import EnvSpec


class GroupDecoder(nn.Module):
    """q(a^j | o'^G1, a^G1, s) for j in G2, any partition: a lower bound of I(o'^G1; a^G2 | a^G1, tau).

    ``E log q(a^j | o', ..) - log p(a^j | tau)`` summed over G2 is the bound of Barber and Agakov (2003); it holds for
    any q because the p are known and independent given the history. It makes no assumption on how dims vary together,
    so it sees what no dim tells alone. q starts at p.

    Args:
        hidden: width of the network.
    """

    def __init__(self, spec: EnvSpec, *, hidden: int = 128) -> None:
        super().__init__()
        n, a = spec.n_agents, spec.n_actions
        self.moments = RunningMoments(spec.obs_dim)
        self.change_moments = RunningMoments(spec.obs_dim)  # a move shows in what changed
        self.state_moments = RunningMoments(spec.state_dim)
        self.network = mlp(n * (3 * spec.obs_dim + a + 1) + spec.state_dim, hidden, n * a)
        nn.init.zeros_(self.network[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.network[-1].bias)  # type: ignore[arg-type]

    def update_moments(self, rows: Transitions) -> None:
        """Take in the scale of observations and states."""
        self.moments.update(rows.now.obs[rows.now.alive])
        self.change_moments.update((rows.next_obs - rows.now.obs)[rows.seen])
        self.state_moments.update(rows.now.state)

    def forward(self, rows: Transitions, group: Tensor, p: Tensor) -> Tensor:
        """(M,) nats gained on the executed actions of living G2.

        Args:
            rows: M transitions whose actions were drawn from p.
            group: (M, N) i8.
            p: (M, N, A) distributions of the actions.
        """
        listens, change = (group == 1) & rows.seen, self.change_moments.normalise(rows.next_obs - rows.now.obs)
        seen = torch.cat([self.moments.normalise(rows.now.obs), self.moments.normalise(rows.next_obs), change], -1)
        actions = F.one_hot(rows.now.actions, p.shape[-1])
        own = torch.cat([seen, actions, torch.ones_like(seen[..., :1])], -1) * listens[..., None]
        known = torch.cat([own.flatten(1), self.state_moments.normalise(rows.now.state)], -1)
        log_p = p.log()
        log_q = (log_p + self.network(known).view_as(p)).log_softmax(-1)
        gain = (log_q - log_p).gather(-1, rows.now.actions[..., None])[..., 0]
        return gain.masked_fill(~((group == 2) & rows.now.alive), 0.0).sum(-1)
