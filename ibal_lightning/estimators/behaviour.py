"""How often agents mean to take each action, learnt from play (``p_ref=behaviour_model``, ALGORITHMS 2.4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ibal_lightning.estimators.moments import RunningMoments
from ibal_lightning.estimators.network import mlp
from ibal_lightning.estimators.transitions import Transitions
from ibal_lightning.functional.masking import legal, masked_mean
from ibal_lightning.types import EnvSpec


class BehaviourModel(nn.Module):
    """Each agent's intended action from what its sensors read now: a reference that asks the policy for no scores.

    It has no memory and learns from training play, so that it holds the team's exploration.
    """

    def __init__(self, spec: EnvSpec, *, hidden: int) -> None:
        super().__init__()
        self.moments = RunningMoments(spec.obs_dim)
        self.agents: Tensor
        self.register_buffer("agents", torch.eye(spec.n_agents), persistent=False)
        self.net = mlp(spec.obs_dim + spec.n_agents, hidden, spec.n_actions)

    def forward(self, obs: Tensor) -> Tensor:
        """(M, N, A) logits given the observations (M, N, O)."""
        seen = self.moments.normalise(obs)
        return self.net(torch.cat([seen, self.agents.expand(*seen.shape[:-1], -1)], -1))

    def learn(self, rows: Transitions) -> Tensor:
        """() cross-entropy of what the living meant to do, among what was legal; takes in the observations' scale."""
        self.moments.update(rows.now.obs[rows.now.alive])
        logits = legal(self(rows.now.obs), rows.avail_actions)
        loss = F.cross_entropy(logits.flatten(0, 1), rows.intended.flatten(), reduction="none")
        return masked_mean(loss.view_as(rows.intended), rows.now.alive)
