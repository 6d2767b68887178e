"""The coordination pattern of a policy: each action given any set of the others (ALGORITHMS 2.6, design A1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ibal_lightning.estimators.network import joined
from ibal_lightning.estimators.state_view import state_view
from ibal_lightning.estimators.transition_model import TransitionModel
from ibal_lightning.estimators.transitions import Context, Transitions
from ibal_lightning.functional.masking import legal, masked_mean
from ibal_lightning.functional.random import stream
from ibal_lightning.functional.subsets import random_subset
from ibal_lightning.types import EnvSpec


class Reconstruction(TransitionModel):
    """r(a^j | {a^i}_{i in V}, z) for any visible set V: a sum over agents' tokens, then an MLP (DeepSets).

    The context z is coarse on purpose (who is alive, the time): given a full history the actions of decentralised
    policies are independent and every score vanishes (ALGORITHMS 2.4). Learns the intended actions: the object is the
    policy's pattern, not the attacker's.

    Args:
        max_visible: largest visible set to train on (K).
        hidden: width of the network.
        context: z: "coarse"; "vib", with a code of at most ``z_rate`` nats about the state; or "state", all of it: what
            is left then is what observations do not share.
        z_rate: nats of "vib".
    """

    def __init__(
        self, spec: EnvSpec, *, max_visible: int, hidden: int = 64, context: str = "coarse", z_rate: float = 1.0
    ) -> None:
        super().__init__()
        self.max_visible = max_visible
        self.view = state_view(context, spec.state_dim, z_rate)
        self.shape = (spec.n_agents, spec.n_actions)
        self.token = nn.Parameter(0.1 * torch.randn(spec.n_agents, spec.n_actions, hidden))
        self.context = nn.Linear(spec.n_agents + 1 + (self.view.width if self.view is not None else 0), hidden)
        self.head = nn.Sequential(
            nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, spec.n_agents * spec.n_actions)
        )

    def update_moments(self, now: Context) -> None:
        """Take in the scale of states, where they are read."""
        if self.view is not None:
            self.view.moments.update(now.state)

    def situation(self, now: Context) -> Tensor:
        """(M, Z) the context z of M moments."""
        return self._with(now, self.view(now.state) if self.view is not None else None)

    def encode(self, actions: Tensor, seen: Tensor) -> Tensor:
        """(M, H) code of the visible actions: those of the ``seen`` (M, N) bool among actions (M, N) i64."""
        n, a = self.shape
        tokens = F.embedding(actions + a * torch.arange(n, device=actions.device), self.token.flatten(0, 1))
        return (tokens * seen[..., None]).sum(1)

    def forward(self, code: Tensor, situation: Tensor, avail_actions: Tensor) -> Tensor:
        """(M, N, A) log-probabilities of everyone's action, -inf where illegal.

        Args:
            code: (M, H) visible actions.
            situation: (M, Z).
            avail_actions: (M, N, A) bool.
        """
        logits = self.head(code + self.context(situation)).unflatten(-1, self.shape)
        logits = legal(logits, avail_actions)
        return logits - logits.logsumexp(-1, keepdim=True)  # faster than log_softmax over a short last axis

    def loss(self, rows: Transitions, draw: int = 0) -> Tensor:
        """() cross-entropy of the hidden agents' actions, nats per hidden agent.

        Half of the rows see nobody, the others a random set of 1..max_visible agents; ``draw`` numbers the draw.
        """
        generator = stream(draw, "reconstruction")
        seen = self._visible(rows, generator)
        seen[: len(seen) // 2] = False
        code, penalty = (None, 0.0) if self.view is None else self.view.learn(rows.now.state, generator)
        cross_entropy = self._cross_entropy(rows, seen, self._with(rows.now, code))
        return masked_mean(cross_entropy, rows.now.alive & ~seen) + penalty

    @torch.no_grad()
    def explained(self, rows: Transitions, draw: int = 0) -> Tensor:
        """() gain of seeing a random set of 1..max_visible agents, nats per hidden agent."""
        seen, situation = self._visible(rows, stream(draw, "reconstruction")), self.situation(rows.now)
        some = self._cross_entropy(rows, seen, situation)
        none = self._cross_entropy(rows, torch.zeros_like(seen), situation)
        return masked_mean(none - some, rows.now.alive & ~seen)

    def _visible(self, rows: Transitions, generator: torch.Generator) -> Tensor:
        """(M, N) bool a random set of 1..max_visible agents in each row."""
        sizes = torch.randint(1, self.max_visible + 1, (len(rows.intended),), generator=generator)
        return random_subset(sizes, self.shape[0], generator).to(rows.intended.device)

    def _with(self, now: Context, code: Tensor | None) -> Tensor:
        """(M, Z) who is alive, the time, and what is read of the state."""
        return joined(now.alive.to(now.time.dtype), now.time[:, None], code)

    def _cross_entropy(self, rows: Transitions, seen: Tensor, situation: Tensor) -> Tensor:
        """(M, N) -log r(a^j | actions of the seen (M, N), situation (M, Z))."""
        code = self.encode(rows.intended, seen & rows.now.alive)
        log_r = self(code, situation, rows.avail_actions)
        return -log_r.gather(-1, rows.intended[..., None])[..., 0]
