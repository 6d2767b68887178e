"""The action attack: replace G1's actions by those that tell G2 least (ALGORITHMS 2.6)."""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ibal_lightning.attacks.ibal.options import IbalOptions
from ibal_lightning.attacks.ibal.search import LIMIT, SEARCHES, coordinate_descent, enumerate_joint, joint_actions
from ibal_lightning.attacks.ibal.whatif import NextActions, PresentActions, WhatIf
from ibal_lightning.estimators.lagged_influence import LaggedInfluence
from ibal_lightning.estimators.reconstruction import Reconstruction
from ibal_lightning.estimators.running_mean import RunningMean
from ibal_lightning.estimators.transitions import Context, Transitions
from ibal_lightning.functional.options import check_choice, check_range
from ibal_lightning.types import EnvSpec

SCORES = ("auto", "lagged", "klx", "kl", "pmi")


def resolve_score(score: str, persistent: bool) -> str:
    """What "auto" stands for: "lagged" where overrides persist, "klx" where they come and go (IBAL_STUDY 5.5)."""
    if score != "auto":
        return score
    return "lagged" if persistent else "klx"


class ActionRewrite(nn.Module):
    """Finds for the members of G1 the legal actions of least information.

    Args:
        score: "lagged": how much the action changes what G2 does next. "klx": how far it moves the prediction of
            G2's present actions from its mean over G1's legal actions. "kl": the same from the prediction that sees
            nobody. "pmi": how likely it makes G2's actual choice.
        max_size: largest G1 (K).
        options: of IBAL.
            ``exclude_intended``: never choose the intended action where there is another; None = for "klx" and "kl",
            whose minimum is usually the intended action itself.
            ``support_floor``: leave out actions that the policy itself would choose less often than this ("klx", "kl",
            "pmi").
            ``search``: "independent" scores each member with the other actions held; "coordinate" goes on from there,
            two sweeps over the members; "enumerate" tries every joint action of G1, and where there are more than 4096
            of them falls back to "coordinate", saying so once.
            ``action_context``, ``z_rate``: see ``Reconstruction``. ``hidden`` sizes both models,
            ``rank`` and ``layers`` the lagged one.

    Raises:
        ValueError: an unknown search or context, or a floor that is no probability.
    """

    def __init__(self, spec: EnvSpec, score: str, max_size: int, options: IbalOptions) -> None:
        super().__init__()
        check_range("attack.support_floor", options.support_floor, 0, 1)
        check_choice("attack.search", options.search, SEARCHES)
        self.score, self.support_floor, self.search = score, options.support_floor, options.search
        excluded = options.exclude_intended
        self.exclude_intended = score in ("klx", "kl") if excluded is None else excluded
        self.said = False  # that there are too many joint actions
        self.gain = RunningMean()  # nats of transitions that the model has not learnt from
        self.model: LaggedInfluence | Reconstruction
        if score == "lagged":
            self.model = LaggedInfluence(spec, hidden=options.hidden, rank=options.rank, layers=options.layers)
        else:
            self.model = Reconstruction(
                spec,
                max_visible=max_size,
                hidden=options.hidden,
                context=options.action_context,
                z_rate=options.z_rate,
            )

    def learn(self, rows: Transitions, draw: int) -> Tensor:
        """() loss of the model."""
        self.model.update_moments(rows.now)
        return self.model.loss(rows, draw)

    @torch.no_grad()
    def examine(self, rows: Transitions, draw: int, *, young: bool) -> None:
        """Look at the gain on transitions that the model has not learnt from; ``draw`` numbers the look."""
        if young:
            self.gain.forget()
        self.gain.update(self.model.explained(rows, draw))

    def report(self) -> dict[str, float]:
        """What the visible actions tell about the others', in nats, to be logged."""
        return {"action_gain_nats": float(self.gain)}

    @torch.no_grad()
    def choose(self, now: Context, group: Tensor, avail_actions: Tensor) -> Tensor:
        """(M, N) i64 what to execute, given the intended actions in ``now``; equal to them outside living G1.

        Args:
            now: M moments with the intended actions.
            group: (M, N) i8.
            avail_actions: (M, N, A) bool.
        """
        what_if = self._what_if(now, group, avail_actions)
        candidates = self._candidates(what_if)
        best = what_if.each().masked_fill(~candidates, float("inf")).argmin(-1)
        best = torch.where(what_if.members, best, now.actions)
        return best if self.search == "independent" else self._jointly(what_if, best, candidates)

    def _what_if(self, now: Context, group: Tensor, avail_actions: Tensor) -> WhatIf:
        members, audience = (group == 1) & now.alive, (group == 2) & now.alive
        if isinstance(self.model, LaggedInfluence):
            return NextActions(self.model, now, members, audience, avail_actions)
        return PresentActions(self.model, self.score, now, members, audience, avail_actions)

    def _candidates(self, what_if: WhatIf) -> Tensor:
        """(M, N, A) bool the legal actions that may be chosen."""
        candidates = what_if.avail
        if isinstance(what_if, PresentActions) and self.support_floor > 0:
            candidates = prefer(candidates, what_if.blind().exp() >= self.support_floor)
        if self.exclude_intended:
            candidates = prefer(candidates, F.one_hot(what_if.now.actions, candidates.shape[-1]) == 0)
        return candidates

    def _jointly(self, what_if: WhatIf, start: Tensor, candidates: Tensor) -> Tensor:
        """(M, N) i64 the joint search from the members' independent choices."""
        cost, members = what_if.joint(), what_if.members
        exact = self._enumerable(candidates, members)[:, None]
        best = enumerate_joint(cost, start, candidates, members & exact) if exact.any() else start
        return coordinate_descent(cost, best, candidates, members & ~exact)

    def _enumerable(self, candidates: Tensor, members: Tensor) -> Tensor:
        """(M,) bool the moments whose joint actions are all tried."""
        if self.search != "enumerate":
            return torch.zeros_like(members[:, 0])
        few = joint_actions(candidates, members) <= LIMIT
        if not (few.all() or self.said):
            self.said = True
            logging.getLogger(__name__).warning(
                "attack.search=enumerate: some moments have more than %d joint actions; "
                "these are searched by coordinate descent",
                LIMIT,
            )
        return few


def prefer(candidates: Tensor, wanted: Tensor) -> Tensor:
    """(..., A) bool: the wanted candidates; all of them where none is wanted."""
    both = candidates & wanted
    return torch.where(both.any(-1, keepdim=True), both, candidates)
