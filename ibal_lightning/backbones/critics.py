"""Critics of PPO: one V(s) per game, or one V(tau^i) per agent. M is the number of values per game: 1 or N."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from ibal_lightning.backbones.agents import AgentNet, input_blocks
from ibal_lightning.backbones.ppo_options import PpoOptions
from ibal_lightning.functional.weights import move_towards
from ibal_lightning.types import EnvSpec


class CentralCritic(nn.Module):
    """V(s), over the clean states so far. All agents share it, so it runs once per game (M = 1)."""

    def __init__(self, spec: EnvSpec, options: PpoOptions) -> None:
        super().__init__()
        self.net = AgentNet(spec.state_dim, 1, **options.network)

    def forward(
        self, obs_seen: Tensor, state: Tensor, last_actions: Tensor, hidden: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Values (B, L, 1) and hiddens (B, L, 1, H) from state (B, L, S) and hidden (B, 1, H) before the first slot."""
        del obs_seen
        values, hidden = self.net.unroll(state.unsqueeze(2), last_actions, hidden)
        return values.squeeze(-1), hidden


class LocalCritic(nn.Module):
    """V(tau^i), over what the agent itself has read, one network for all agents (M = N)."""

    def __init__(self, spec: EnvSpec, options: PpoOptions) -> None:
        super().__init__()
        blocks = input_blocks(spec, last_action=options.last_action, agent_id=options.agent_id)
        self.net = AgentNet(spec.obs_dim, 1, blocks=blocks, **options.network)

    def forward(
        self, obs_seen: Tensor, state: Tensor, last_actions: Tensor, hidden: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Values (B, L, N) and hiddens (B, L, N, H) from obs_seen (B, L, N, O), last_actions and hidden (B, N, H)."""
        del state
        values, hidden = self.net.unroll(obs_seen, last_actions, hidden)
        return values.squeeze(-1), hidden


class TargetCritic(nn.Module):
    """A slow copy of a critic, which bootstraps (EPyMARL): it moves towards it by ``tau`` of the distance."""

    def __init__(self, critic: nn.Module, tau: float) -> None:
        super().__init__()
        self.net, self.tau = copy.deepcopy(critic).requires_grad_(False), tau

    def follow(self, critic: nn.Module) -> None:
        """One move."""
        move_towards(self.net, critic, self.tau)

    def forward(self, *inputs: Tensor | None) -> tuple[Tensor, Tensor]:
        """Values and hiddens, as of the critic."""
        return self.net(*inputs)
