"""The network that all agents share: fc - GRU - fc, as in PyMARL and on-policy, or fc - fc - fc."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ibal_lightning.backbones.memory import FeedForward, Recurrent
from ibal_lightning.backbones.packing import Packing, packing_of
from ibal_lightning.types import EnvSpec, EpisodeBatch


def last_actions(batch: EpisodeBatch, source: str) -> Tensor:
    """(B, T+1, N) i64 "intended" or "executed" action one step before each slot, -1 at the start."""
    return F.pad(batch.actions if source == "intended" else batch.actions_taken, (0, 0, 1, 0), value=-1)


def input_blocks(spec: EnvSpec, *, last_action: bool, agent_id: bool) -> tuple[int, int]:
    """Widths of the last-action and the agent-id block behind the observation; 0 leaves a block out."""
    return spec.n_actions if last_action else 0, spec.n_agents if agent_id else 0


class AgentNet(nn.Module):
    """One network for all agents: relu(fc1) - GRU - fc2 on [obs | one-hot last action | one-hot agent id].

    Layer names and input columns are PyMARL's, so its ``agent.th`` files fit. One-hot last actions are never built:
    they pick columns of ``fc1``, which are looked up and added. With ``normalize`` the network is on-policy's:
    LayerNorm on the observation, after fc1 and after the GRU, orthogonal weights, gain ``output_gain`` at the end,
    and ``fc_layers`` - 1 more layers like fc1 before the GRU.
    Without ``use_rnn`` a linear layer with relu stands where the GRU does; the hidden passed on is then never read.
    """

    def __init__(
        self,
        obs_dim: int,
        n_outputs: int,
        *,
        blocks: tuple[int, int] = (0, 0),
        hidden_dim: int = 64,
        fc_layers: int = 1,
        use_rnn: bool = True,
        normalize: bool = False,
        output_gain: float = 1.0,
    ) -> None:
        """``blocks`` are the widths that ``input_blocks`` gives."""
        super().__init__()
        self.obs_dim, self.hidden_dim = obs_dim, hidden_dim
        self.n_actions, self.n_agents = blocks
        self.fc1 = nn.Linear(obs_dim + sum(blocks), hidden_dim)
        self.rnn = (Recurrent if use_rnn else FeedForward)(hidden_dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, n_outputs)
        self.norms = nn.ModuleList(nn.LayerNorm(d) for d in (obs_dim, hidden_dim, hidden_dim)) if normalize else None
        more = [(nn.Linear(hidden_dim, hidden_dim), nn.ReLU(), nn.LayerNorm(hidden_dim)) for _ in range(fc_layers - 1)]
        self.more = nn.Sequential(*itertools.chain(*more))
        if normalize:
            self._orthogonal(output_gain)

    def _orthogonal(self, output_gain: float) -> None:
        relu = nn.init.calculate_gain("relu")
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                inner = relu if name.endswith(".weight") else 1.0  # a GRU's weights have other names
                nn.init.orthogonal_(parameter, output_gain if name == "fc2.weight" else inner)
            elif "bias" in name:
                nn.init.zeros_(parameter)

    def _norm(self, index: int, x: Tensor) -> Tensor:
        return x if self.norms is None else self.norms[index](x)

    def embed(self, obs: Tensor, last_actions: Tensor) -> Tensor:
        """(..., N, H) input of the hidden layer from obs (..., N, O) and last_actions (..., N) i64, -1 for none."""
        seen = self._norm(0, obs)
        if self.n_actions:
            # Written over the looked-up rows: at training size a fresh tensor costs more than the arithmetic in it.
            weight = self.fc1.weight[:, : self.obs_dim]
            x = self._offsets(last_actions).addmm_(seen.reshape(-1, self.obs_dim), weight.t())
        else:
            if self.n_agents:
                agents = torch.eye(self.n_agents, dtype=seen.dtype, device=seen.device)
                seen = torch.cat([seen, agents.expand(*seen.shape[:-2], -1, -1)], -1)
            x = self.fc1(seen).view(-1, self.hidden_dim)
        return self.more(self._norm(1, x.relu_())).view(*obs.shape[:-1], self.hidden_dim)

    def _offsets(self, last_actions: Tensor) -> Tensor:
        """(M, H) what bias, last action and agent id add to fc1, looked up for last_actions (..., N)."""
        _, weight_last, weight_id = self.fc1.weight.split([self.obs_dim, self.n_actions, self.n_agents], 1)
        table, index = F.pad(weight_last.t(), (0, 0, 1, 0)) + self.fc1.bias, last_actions + 1
        if self.n_agents:
            agents = torch.arange(self.n_agents, device=index.device)
            index = index + agents * len(table)
            table = (weight_id.t().unsqueeze(1) + table).flatten(0, 1)
        return F.embedding(index.flatten(), table)

    def step(self, obs: Tensor, last_actions: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """One step: outputs (B, N, A) and the next hidden (B, N, H) from obs (B, N, O), last_actions, hidden."""
        x, shape = self.embed(obs, last_actions).flatten(0, 1), hidden.shape
        hidden = self.rnn.advance(x, hidden.flatten(0, 1)).view(shape)
        return self.fc2(self._norm(2, hidden)), hidden

    def unroll(self, obs: Tensor, last_actions: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """A whole sequence in one call.

        Args:
            obs: (B, L, N, O).
            last_actions: (B, L, N) i64, -1 for none.
            hidden: (B, N, H) before the first slot; zeros by default.

        Returns:
            Outputs (B, L, N, A) and hidden after each slot (B, L, N, H); both are views of time-major tensors.
        """
        games, slots, agents = obs.shape[:3]
        x = self.embed(obs.transpose(0, 1), last_actions.transpose(0, 1)).flatten(1, 2)
        start = x.new_zeros(games * agents, self.hidden_dim) if hidden is None else hidden.flatten(0, 1)
        hiddens = self.rnn.run(x, start).view(slots, games, agents, self.hidden_dim)
        return self.fc2(self._norm(2, hiddens)).transpose(0, 1), hiddens.transpose(0, 1)

    def unroll_packed(self, obs: Tensor, last_actions: Tensor, packing: Packing) -> Tensor:
        """``unroll`` over the real slots only, from zero memory.

        Args:
            obs: (P, N, O) packed.
            last_actions: (P, N) i64 packed.
            packing: of the episodes.

        Returns:
            Outputs (P, N, A).
        """
        agents = obs.shape[1]
        x = self.embed(obs, last_actions).flatten(0, 1)
        sizes = [size * agents for size in packing.sizes]
        hidden = self.rnn.run_packed(x, sizes)
        return self.fc2(self._norm(2, hidden)).view(-1, agents, self.fc2.out_features)


@dataclass(frozen=True)
class Slots:
    """What the agents read in all slots of a batch, packed where that pays; several networks may run over it."""

    obs: Tensor  # (B, T+1, N, O), packed (P, N, O)
    last_actions: Tensor  # (B, T+1, N), packed (P, N)
    packing: Packing | None

    @classmethod
    def of(cls, batch: EpisodeBatch, source: str) -> Slots:
        """The seen observations and last actions ("intended" or "executed") of a batch."""
        last, packing = last_actions(batch, source), packing_of(batch.mask)
        if packing is None:
            return cls(batch.obs_seen, last, None)
        return cls(packing.pack(batch.obs_seen), packing.pack(last), packing)

    def through(self, net: AgentNet) -> Tensor:
        """Outputs (B, T+1, N, A); 0 on padding where packed."""
        if self.packing is None:
            return net.unroll(self.obs, self.last_actions)[0]
        return self.packing.unpack(net.unroll_packed(self.obs, self.last_actions, self.packing))
