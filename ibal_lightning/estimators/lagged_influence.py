"""How much an agent's action changes what the others do next (ALGORITHMS 2.6, design A2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ibal_lightning.estimators.joint_additive import JointAdditive
from ibal_lightning.estimators.transition_model import BesideNull
from ibal_lightning.estimators.transitions import Context, Transitions
from ibal_lightning.functional.masking import masked_mean
from ibal_lightning.functional.mutual_information import uniform_legal
from ibal_lightning.types import EnvSpec


class LaggedInfluence(BesideNull):
    """w(a^j_{t+1} | a_t, s_t, o^j_t) with joint additive logits, and the influence of each possible action.

    Learns from executed actions now and the policy's choice one step later, so its scores stay above zero for
    deterministic policies, unlike any mutual information within one step (ALGORITHMS 2.4).

    Args:
        hidden: width of the trunk.
        rank: rank of each pair's effect.
        layers: of the trunk.
    """

    def __init__(self, spec: EnvSpec, *, hidden: int = 64, rank: int = 6, layers: int = 2) -> None:
        super().__init__()
        self.joint = JointAdditive(spec, spec.n_actions, hidden=hidden, rank=rank, layers=layers)
        self.null = nn.Linear(hidden, spec.n_actions)

    def nats(self, rows: Transitions) -> Tensor:
        """(2,) cross-entropy of model and null per agent and step."""
        features = self.joint.trunk(rows.now)
        effects = self.joint.effects(self.joint.gates(features), rows.now.actions, rows.now.alive)
        target = rows.next_intended[..., None]
        model = -(self.joint.base(features) + effects).log_softmax(-1).gather(-1, target)[..., 0]
        null = -self.null(features.detach()).log_softmax(-1).gather(-1, target)[..., 0]
        counts = rows.acts_next & rows.now.alive
        return torch.stack([masked_mean(model, counts), masked_mean(null, counts)])

    @torch.no_grad()
    def influence(self, now: Context, members: Tensor, audience: Tensor, avail_actions: Tensor) -> Tensor:
        """Score of each possible action of each member, the other actions held.

        ``score(u) = sum_{j in audience} KL( w^j(. | u) || mean_{u' legal} w^j(. | u') )``

        Args:
            now: M moments with the intended actions.
            members: (M, N) bool whose actions are scored (G1).
            audience: (M, N) bool whose next behaviour counts (G2).
            avail_actions: (M, N, A) bool.

        Returns:
            (M, N, A) nats; 0 outside the members.
        """
        listening = (audience & now.alive)[:, :, None] & (members & now.alive)[:, None, :]
        m, j, i = listening.nonzero(as_tuple=True)
        log_w = self._what_if(now, m, j, i)
        w = log_w.exp()
        mixture = (w @ uniform_legal(avail_actions)[m, i][..., None]).log()
        score = (w * (log_w - mixture)).sum(1)
        total = torch.zeros(avail_actions.shape, device=score.device)
        return total.index_put((m, i), score, accumulate=True)

    def _what_if(self, now: Context, m: Tensor, j: Tensor, i: Tensor) -> Tensor:
        """(P, A, U) log w^j(next action | i plays u, all else as it is) for P triples of moment, listener, source.

        The possible actions u come last: a softmax over a short last axis is five times slower on CPU.
        """
        joint, effects = self.joint, self.joint.effects
        features = joint.trunk(now)
        gates = joint.gates(features)
        logits = joint.base(features) + effects(gates, now.actions, now.alive)
        u, played = effects.u[j, i], effects.u[j, i, now.actions[m, i]]
        coefficient = gates[m, j, i][:, None] * (u - played[:, None])
        change = effects.v[j, i].transpose(1, 2) @ coefficient.transpose(1, 2)
        return (logits[m, j][..., None] + change).log_softmax(1)
