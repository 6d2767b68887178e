"""What all agents have seen and done so far, in one code: stands in for the state (``history=gru``, ALGORITHMS 2.5)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ibal_lightning.types import EnvSpec

UNITS = 64


class JointHistory(nn.Module):
    """A GRU over each agent's clean, standardised observations and last executed actions, mean over the agents.

    It has no loss of its own: the model that conditions on the code trains it, through whole episodes.
    """

    def __init__(self, spec: EnvSpec) -> None:
        super().__init__()
        self.obs = nn.Linear(spec.obs_dim, UNITS)
        self.action = nn.Embedding(spec.n_actions + 1, UNITS)  # the first: nobody has acted yet
        self.agent = nn.Parameter(0.1 * torch.randn(spec.n_agents, UNITS))
        self.memory = nn.GRU(UNITS, UNITS, batch_first=True)
        self.width = UNITS

    def unroll(self, obs: Tensor, actions: Tensor) -> Tensor:
        """(B, T+1, H) codes of every moment of whole episodes.

        Args:
            obs: (B, T+1, N, O).
            actions: (B, T, N) i64 executed after each but the last.
        """
        nobody = torch.full_like(actions[:, :1], -1)
        tokens = self._tokens(obs, torch.cat([nobody, actions], 1))
        b, t, n, _ = tokens.shape
        codes, _ = self.memory(tokens.transpose(1, 2).reshape(b * n, t, UNITS))
        return codes.view(b, n, t, UNITS).mean(1)

    @torch.no_grad()
    def advance(self, obs: Tensor, last_actions: Tensor, hidden: Tensor | None) -> tuple[Tensor, Tensor]:
        """(B, H) code of this moment, and the memory (1, B * N, H) to go on with; None begins episodes.

        Args:
            obs: (B, N, O).
            last_actions: (B, N) i64 executed one step ago, -1 at the start.
        """
        tokens = self._tokens(obs, last_actions).flatten(0, 1)[:, None]
        codes, hidden = self.memory(tokens, hidden)
        return codes.view(*obs.shape[:2], UNITS).mean(1), hidden

    def _tokens(self, obs: Tensor, last_actions: Tensor) -> Tensor:
        """(..., N, H) what the memory reads of each agent."""
        return torch.relu(self.obs(obs) + self.action(last_actions + 1) + self.agent)
