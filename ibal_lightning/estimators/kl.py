"""Information about a discrete variable as a KL divergence of learnt distributions (ALGORITHMS 2.6)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from ibal_lightning.estimators.club import ClubCategorical
from ibal_lightning.functional.mutual_information import categorical_kl


class CategoricalKl(ClubCategorical):
    """``E KL(q(y|x,c) || q(y|c))``: never negative and low in variance, as right as its two heads."""

    bound: ClassVar[Literal["lower", "upper", "model"]] = "model"

    @torch.no_grad()
    def estimate(self, x: Tensor, y: Tensor, context: Tensor | None = None) -> Tensor:
        """() mutual information under the model, in nats; y is not looked at."""
        del y
        return categorical_kl(*self.log_probabilities(x, context)).mean()
