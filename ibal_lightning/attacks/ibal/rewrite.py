"""The action attack: replace G1's actions by those that tell G2 least (ALGORITHMS 2.6)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ibal_lightning.estimators.lagged_influence import LaggedInfluence
from ibal_lightning.estimators.reconstruction import Reconstruction
from ibal_lightning.estimators.transitions import Context, Transitions
from ibal_lightning.functional.mutual_information import categorical_kl
from ibal_lightning.functional.options import check_range
from ibal_lightning.types import EnvSpec

SCORES = ("auto", "lagged", "klx", "kl", "pmi")


def resolve_score(score: str, persistent: bool) -> str:
    """What "auto" stands for: "lagged" where overrides persist, "klx" where they come and go (IBAL_STUDY 5.5)."""
    if score != "auto":
        return score
    return "lagged" if persistent else "klx"


class ActionRewrite(nn.Module):
    """Finds for each member of G1, the others' actions held, the legal action of least information.

    Args:
        score: "lagged": how much the action changes what G2 does next. "klx": how far it moves the prediction of
            G2's present actions from its mean over G1's legal actions. "kl": the same from the prediction that sees
            nobody. "pmi": how likely it makes G2's actual choice.
        max_size: largest G1 (K).
        exclude_intended: never choose the intended action where there is another; None = for "klx" and "kl", whose
            minimum is usually the intended action itself.
        support_floor: leave out actions that the policy itself would choose less often than this ("klx", "kl", "pmi").
        hidden, rank: size of the lagged model.
    """

    def __init__(
        self,
        spec: EnvSpec,
        score: str,
        max_size: int,
        exclude_intended: bool | None = None,
        support_floor: float = 0.0,
        hidden: int = 64,
        rank: int = 6,
    ) -> None:
        super().__init__()
        check_range("attack.support_floor", support_floor, 0, 1)
        self.score, self.support_floor = score, support_floor
        self.exclude_intended = score in ("klx", "kl") if exclude_intended is None else exclude_intended
        self.model: LaggedInfluence | Reconstruction
        if score == "lagged":
            self.model = LaggedInfluence(spec, hidden=hidden, rank=rank)
        else:
            self.model = Reconstruction(spec, max_visible=max_size)

    def update_moments(self, now: Context) -> None:
        """Take in the scale of the model's inputs."""
        if isinstance(self.model, LaggedInfluence):
            self.model.joint.trunk.update_moments(now)

    def loss(self, rows: Transitions, draw: int) -> tuple[Tensor, Tensor]:
        """() loss of the model and its detached gain over a model that does not see the others, in nats."""
        if isinstance(self.model, LaggedInfluence):
            return self.model.loss(rows)
        return self.model.loss(rows, draw)

    @torch.no_grad()
    def choose(self, now: Context, group: Tensor, avail_actions: Tensor) -> Tensor:
        """(M, N) i64 what to execute, given the intended actions in ``now``; equal to them outside living G1.

        Args:
            now: M moments with the intended actions.
            group: (M, N) i8.
            avail_actions: (M, N, A) bool.
        """
        members, audience = (group == 1) & now.alive, (group == 2) & now.alive
        if isinstance(self.model, LaggedInfluence):
            cost, candidates = self.model.influence(now, members, audience, avail_actions), avail_actions
        else:
            blind = self._blind(self.model, now, avail_actions)
            cost = self._pattern_cost(self.model, now, members, audience, avail_actions, blind)
            candidates = prefer(avail_actions, blind.exp() >= self.support_floor)
        if self.exclude_intended:
            candidates = prefer(candidates, F.one_hot(now.actions, avail_actions.shape[-1]) == 0)
        best = cost.masked_fill(~candidates, float("inf")).argmin(-1)
        return torch.where(members, best, now.actions)

    def _pattern_cost(
        self, model: Reconstruction, now: Context, members: Tensor, audience: Tensor, avail: Tensor, blind: Tensor
    ) -> Tensor:
        """(M, N, A) cost of each legal action of each member under the reconstruction model; 0 elsewhere."""
        m, i, u = (avail & members[..., None]).nonzero(as_tuple=True)  # Q what-ifs: i plays u in moment m
        code = model.encode(now.actions, members)[m] - model.token[i, now.actions[m, i]] + model.token[i, u]
        log_r = model(code, now.alive[m], now.time[m], avail[m])  # (Q, N, A)
        if self.score == "pmi":
            value = log_r.gather(-1, now.actions[m][..., None])[..., 0]
        elif self.score == "kl":
            value = categorical_kl(log_r, blind[m])
        else:
            value = categorical_kl(log_r, log_mean_of(log_r, m * avail.shape[1] + i))
        total = torch.zeros(avail.shape, device=avail.device)
        return total.index_put((m, i, u), value.masked_fill(~audience[m], 0.0).sum(1))

    @staticmethod
    def _blind(model: Reconstruction, now: Context, avail: Tensor) -> Tensor:
        """(M, N, A) log-probabilities of everyone's action when nobody is seen."""
        nobody = torch.zeros_like(now.alive)
        return model(model.encode(now.actions, nobody), now.alive, now.time, avail)


def log_mean_of(log_p: Tensor, family: Tensor) -> Tensor:
    """(Q, ...) log of the mean distribution of each row's family, for log-probabilities (Q, ...) and families (Q,)."""
    _, index, size = family.unique(return_inverse=True, return_counts=True)
    total = torch.zeros(len(size), *log_p.shape[1:], device=log_p.device).index_add(0, index, log_p.exp())
    return (total / size.view(-1, *[1] * (log_p.ndim - 1))).log()[index]


def prefer(candidates: Tensor, wanted: Tensor) -> Tensor:
    """(..., A) bool: the wanted candidates; all of them where none is wanted."""
    both = candidates & wanted
    return torch.where(both.any(-1, keepdim=True), both, candidates)
