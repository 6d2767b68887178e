"""CLUB, the contrastive log-ratio upper bound (Cheng et al. 2020; ALGORITHMS appendix A)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from ibal_lightning.estimator import Estimator
from ibal_lightning.estimators.network import joined, known, mlp, product_pairs
from ibal_lightning.estimators.observation_model import gaussian_nll


class ClubGaussian(Estimator):
    """``E_p log q(y|x,c) - E_{p(c)p(x|c)p(y|c)} log q(y|x,c)`` with a diagonal Gaussian q; an upper bound if q = p.

    Args:
        x_dim, y_dim, context_dim: widths of the samples.
        hidden: width of the network.
        neighbours: rows of similar context that stand in for draws from p(y | c).
    """

    bound: ClassVar[Literal["lower", "upper", "model"]] = "upper"

    def __init__(self, x_dim: int, y_dim: int, context_dim: int = 0, *, hidden: int = 64, neighbours: int = 16) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.network = mlp(x_dim + context_dim, hidden, 2 * y_dim)

    def fit_loss(self, x: Tensor, y: Tensor, context: Tensor | None = None) -> Tensor:
        """() negative log-likelihood of y (M, Y) given x (M, X) and context (M, C)."""
        return gaussian_nll(y, *self.network(joined(x, context)).chunk(2, -1)).sum(-1).mean()

    @torch.no_grad()
    def estimate(self, x: Tensor, y: Tensor, context: Tensor | None = None) -> Tensor:
        """() upper bound in nats."""
        mean, log_variance = self.network(joined(x, context)).chunk(2, -1)
        others = y[product_pairs(y, context, self.neighbours)]
        positive = gaussian_nll(y, mean, log_variance).sum(-1)
        negative = gaussian_nll(others, mean[:, None], log_variance[:, None]).sum(-1).mean(1)
        return (negative - positive).mean()


class ClubCategorical(Estimator):
    """CLUB for a discrete y, the expectation over p(y | c) taken exactly under a second, x-free head.

    Args:
        x_dim, y_dim, context_dim: widths of the samples; y is one-hot.
        hidden: width of the networks.
    """

    bound: ClassVar[Literal["lower", "upper", "model"]] = "upper"

    def __init__(self, x_dim: int, y_dim: int, context_dim: int = 0, *, hidden: int = 64) -> None:
        super().__init__()
        self.posterior = mlp(x_dim + context_dim, hidden, y_dim)
        self.prior = mlp(max(context_dim, 1), hidden, y_dim)

    def fit_loss(self, x: Tensor, y: Tensor, context: Tensor | None = None) -> Tensor:
        """() cross-entropy of both heads; x (M, X), y (M, Y) one-hot, context (M, C)."""
        posterior, prior = self.log_probabilities(x, context)
        return -(y * (posterior + prior)).sum(-1).mean()

    @torch.no_grad()
    def estimate(self, x: Tensor, y: Tensor, context: Tensor | None = None) -> Tensor:
        """() upper bound in nats."""
        posterior, prior = self.log_probabilities(x, context)
        return ((y - prior.exp()) * posterior).sum(-1).mean()

    def log_probabilities(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """(M, Y) log q(y | x, c) and log q(y | c)."""
        return self.posterior(joined(x, context)).log_softmax(-1), self.prior(known(x, context)).log_softmax(-1)
