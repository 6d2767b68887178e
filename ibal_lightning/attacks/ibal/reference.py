"""What the scores of masks hold an action against: what the agent might have done instead (ALGORITHMS 2.2)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ibal_lightning.estimators.behaviour import BehaviourModel
from ibal_lightning.functional.mutual_information import reference_policy, uniform_legal
from ibal_lightning.functional.options import check_choice, check_range
from ibal_lightning.types import VictimView


@dataclass(frozen=True)
class Reference:
    """The distribution over "what if it acted otherwise".

    ``kind`` is "uniform" over legal actions, "soft": the victim's own policy, or of utilities a softmax at a
    temperature, mixed with a share of uniform, or "behaviour_model": a model of the policy, mixed likewise.
    """

    kind: str
    uniform_share: float
    temperature: float

    def __post_init__(self) -> None:
        check_choice("attack.p_ref", self.kind, ("uniform", "soft", "behaviour_model"))
        check_range("attack.eps_ref", self.uniform_share, 0, 1)
        check_range("attack.t_ref", self.temperature, 1e-3)

    def __call__(self, view: VictimView, behaviour: BehaviourModel | None = None) -> Tensor:
        """(B, N, A) of each agent at this step."""
        if self.kind == "uniform":
            return uniform_legal(view.avail_actions)
        return reference_policy(
            view.scores(view.obs) if behaviour is None else behaviour(view.obs),
            view.avail_actions,
            uniform_share=self.uniform_share,
            temperature=None if view.logits or behaviour is not None else self.temperature,
        )
