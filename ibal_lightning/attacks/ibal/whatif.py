"""What G2 would do if G1 acted otherwise: the costs that the action attack minimises (ALGORITHMS 2.6)."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from ibal_lightning.attacks.ibal.search import JointCost
from ibal_lightning.estimators.lagged_influence import LaggedInfluence
from ibal_lightning.estimators.reconstruction import Reconstruction
from ibal_lightning.estimators.transitions import Context
from ibal_lightning.functional.mutual_information import categorical_kl


class WhatIf(ABC):
    """M moments in which G1 may act otherwise.

    Args:
        now: the moments with the intended actions.
        members: (M, N) bool who may act otherwise (living G1).
        audience: (M, N) bool whose behaviour counts (living G2).
        avail: (M, N, A) bool.
    """

    def __init__(self, now: Context, members: Tensor, audience: Tensor, avail: Tensor) -> None:
        self.now, self.members, self.audience, self.avail = now, members, audience, avail

    @abstractmethod
    def each(self) -> Tensor:
        """(M, N, A) cost of each legal action of each member, all else as intended; 0 elsewhere."""

    @abstractmethod
    def predict(self, m: Tensor, actions: Tensor) -> Tensor:
        """(Q, N, A) log-probabilities of what everyone would do in moments m (Q,) of joint actions (Q, N)."""

    def joint(self) -> JointCost:
        """Cost of joint actions: how far they move the prediction of G2 from ``mixture``, in nats, summed over G2."""
        reference = self.mixture()

        def cost(m: Tensor, actions: Tensor) -> Tensor:
            return self._heard(categorical_kl(self.predict(m, actions), reference[m]), m)

        return cost

    def mixture(self) -> Tensor:
        """(M, N, A) log of the mean prediction over all legal changes of one member, each member counting the same.

        One fixed yardstick for all joint actions of a moment, linear in their number of members; for a single member
        it is the mean over its legal actions.
        """
        m, i, u = self.changes()
        actions = self.now.actions[m]
        actions[torch.arange(len(m), device=m.device), i] = u
        weight = 1 / (self.avail.sum(-1)[m, i] * self.members.sum(-1)[m])
        total = torch.zeros(self.avail.shape, device=m.device)
        return total.index_add(0, m, self.predict(m, actions).exp() * weight[:, None, None]).log()

    def changes(self) -> tuple[Tensor, Tensor, Tensor]:
        """All what-ifs of one member: moment, member and legal action, each (Q,), in this order."""
        m, i, u = (self.avail & self.members[..., None]).nonzero(as_tuple=True)
        return m, i, u

    def _heard(self, value: Tensor, m: Tensor) -> Tensor:
        """(Q,) sum over the audience of values (Q, N) in moments m (Q,)."""
        return value.masked_fill(~self.audience[m], 0.0).sum(1)


class NextActions(WhatIf):
    """Lagged: G1's action now, G2's action one step later."""

    def __init__(self, model: LaggedInfluence, now: Context, members: Tensor, audience: Tensor, avail: Tensor) -> None:
        super().__init__(now, members, audience, avail)
        self.model = model

    def each(self) -> Tensor:
        """(M, N, A) influence on G2 of each legal action, as ``LaggedInfluence.influence`` has it."""
        return self.model.influence(self.now, self.members, self.audience, self.avail)

    def predict(self, m: Tensor, actions: Tensor) -> Tensor:
        """(Q, N, A) log-probabilities of everyone's next action."""
        joint = self.model.joint
        features = joint.trunk(self.now)  # of the intended actions: those who listen do what they intend
        effects = joint.effects(joint.gates(features)[m], actions, self.now.alive[m])
        return (joint.base(features)[m] + effects).log_softmax(-1)


class PresentActions(WhatIf):
    """The pattern of simultaneous actions: G1's action now, G2's action at the same moment.

    Args:
        score: "klx" distance from the mean over G1's legal actions, "kl" from the prediction that sees nobody, "pmi"
            the log-probability of what G2 actually does.
    """

    def __init__(
        self, model: Reconstruction, score: str, now: Context, members: Tensor, audience: Tensor, avail: Tensor
    ) -> None:
        super().__init__(now, members, audience, avail)
        self.model, self.score = model, score
        self.situation = model.situation(now)

    def each(self) -> Tensor:
        """(M, N, A) cost of each legal action of each member."""
        m, i, u = self.changes()
        seen, token = self.model.encode(self.now.actions, self.members), self.model.token
        log_p = self._log_p(seen[m] - token[i, self.now.actions[m, i]] + token[i, u], m)
        if self.score == "pmi":
            value = self._of_actual(log_p, m)
        else:
            family = m * self.avail.shape[1] + i
            value = categorical_kl(log_p, self.blind()[m] if self.score == "kl" else log_mean_of(log_p, family))
        return torch.zeros(self.avail.shape, device=m.device).index_put((m, i, u), self._heard(value, m))

    def predict(self, m: Tensor, actions: Tensor) -> Tensor:
        """(Q, N, A) log-probabilities of everyone's action, G1's being seen."""
        return self._log_p(self.model.encode(actions, self.members[m]), m)

    def joint(self) -> JointCost:
        """Cost of joint actions; for "pmi" the log-probability of what G2 does, summed over G2."""
        if self.score != "pmi":
            return super().joint()
        return lambda m, actions: self._heard(self._of_actual(self.predict(m, actions), m), m)

    def mixture(self) -> Tensor:
        """(M, N, A) the yardstick: for "kl" the prediction that sees nobody."""
        return self.blind() if self.score == "kl" else super().mixture()

    def blind(self) -> Tensor:
        """(M, N, A) log-probabilities of everyone's action when nobody is seen."""
        nobody = torch.zeros_like(self.members)
        return self.model(self.model.encode(self.now.actions, nobody), self.situation, self.avail)

    def _log_p(self, code: Tensor, m: Tensor) -> Tensor:
        return self.model(code, self.situation[m], self.avail[m])

    def _of_actual(self, log_p: Tensor, m: Tensor) -> Tensor:
        return log_p.gather(-1, self.now.actions[m][..., None])[..., 0]


def log_mean_of(log_p: Tensor, family: Tensor) -> Tensor:
    """(Q, ...) log of the mean distribution of each row's family, for log-probabilities (Q, ...).

    Args:
        family: (Q,) numbers, equal ones side by side.
    """
    _, index, size = family.unique_consecutive(return_inverse=True, return_counts=True)
    total = torch.zeros(len(size), *log_p.shape[1:], device=log_p.device).index_add(0, index, log_p.exp())
    return (total / size.view(-1, *[1] * (log_p.ndim - 1))).log()[index]
