"""The contract of a mutual-information estimator. All values are in nats."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

from torch import Tensor, nn


class Estimator(nn.Module):
    """I(x; y | context) from samples. ``bound`` says on which side of the truth the estimate lies."""

    bound: ClassVar[Literal["lower", "upper", "model"]]

    @abstractmethod
    def fit_loss(self, x: Tensor, y: Tensor, context: Tensor | None = None) -> Tensor:
        """() loss whose minimum makes ``estimate`` valid. x (M, X), y (M, Y), context (M, C)."""

    @abstractmethod
    def estimate(self, x: Tensor, y: Tensor, context: Tensor | None = None) -> Tensor:
        """() mutual information in nats. x (M, X), y (M, Y), context (M, C)."""
