"""Reference bounds from a critic T(x, y, c) (ALGORITHMS appendix A): slow and noisy, used to check the others."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ibal_lightning.estimator import Estimator
from ibal_lightning.estimators.network import joined, mlp, product_pairs


class CriticBound(Estimator):
    """A bound computed from critic values on true pairs (M,) and on pairs of the product distribution (M, P).

    Args:
        x_dim, y_dim, context_dim: widths of the samples.
        hidden: width of the critic.
        neighbours: rows of similar context that stand in for draws from p(y | c).
    """

    bound: ClassVar[Literal["lower", "upper", "model"]] = "lower"

    def __init__(self, x_dim: int, y_dim: int, context_dim: int = 0, *, hidden: int = 64, neighbours: int = 16) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.critic = mlp(x_dim + y_dim + context_dim, hidden, 1)

    @abstractmethod
    def value(self, joint: Tensor, product: Tensor) -> Tensor:
        """() the bound in nats, from critic values joint (M,) and product (M, P)."""

    def objective(self, joint: Tensor, product: Tensor) -> Tensor:
        """() what training maximises; the bound itself unless said otherwise."""
        return self.value(joint, product)

    def fit_loss(self, x: Tensor, y: Tensor, context: Tensor | None = None) -> Tensor:
        """() loss of the critic. x (M, X), y (M, Y), context (M, C)."""
        return -self.objective(*self._critic(x, y, context))

    @torch.no_grad()
    def estimate(self, x: Tensor, y: Tensor, context: Tensor | None = None) -> Tensor:
        """() the bound in nats. x (M, X), y (M, Y), context (M, C)."""
        return self.value(*self._critic(x, y, context))

    def _critic(self, x: Tensor, y: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        pairs = product_pairs(y, context, self.neighbours)
        known = joined(x, context)
        joint = self.critic(joined(known, y))[:, 0]
        known = known[:, None].expand(-1, pairs.shape[1], -1)
        return joint, self.critic(torch.cat([known, y[pairs]], -1))[..., 0]


class InfoNce(CriticBound):
    """``E[T(x,y) - log mean_{y'} exp T(x,y')]``, the true y among the y'; at most the log of their number."""

    def value(self, joint: Tensor, product: Tensor) -> Tensor:
        """() the bound in nats."""
        every = torch.cat([joint[:, None], product], 1)
        return (joint - every.logsumexp(1) + math.log(every.shape[1])).mean()


class Nwj(CriticBound):
    """``E_p[T] - E_prod[exp(T - 1)]`` (Nguyen, Wainwright, Jordan 2010)."""

    def value(self, joint: Tensor, product: Tensor) -> Tensor:
        """() the bound in nats."""
        return joint.mean() - (product - 1).exp().mean()


class Mine(CriticBound):
    """``E_p[T] - log E_prod[exp T]``; a running mean of the denominator takes the bias out of its gradient."""

    DECAY = 0.99

    def __init__(self, x_dim: int, y_dim: int, context_dim: int = 0, *, hidden: int = 64, neighbours: int = 16) -> None:
        super().__init__(x_dim, y_dim, context_dim, hidden=hidden, neighbours=neighbours)
        self.denominator: Tensor
        self.register_buffer("denominator", torch.ones(()))

    def value(self, joint: Tensor, product: Tensor) -> Tensor:
        """() the bound in nats."""
        return joint.mean() - log_mean_exp(product)

    def objective(self, joint: Tensor, product: Tensor) -> Tensor:
        """() whose gradient is that of the bound with the running denominator."""
        mean = product.exp().mean()
        self.denominator.mul_(self.DECAY).add_((1 - self.DECAY) * mean.detach())
        return joint.mean() - mean / self.denominator


class Smile(CriticBound):
    """MINE with the density ratio clipped to [e^-tau, e^tau] (Song and Ermon 2020); no bound, but little variance.

    The critic is trained on the Jensen-Shannon objective, because the clip has no gradient.
    """

    bound: ClassVar[Literal["lower", "upper", "model"]] = "model"
    TAU = 5.0

    def value(self, joint: Tensor, product: Tensor) -> Tensor:
        """() the estimate in nats."""
        return joint.mean() - log_mean_exp(product.clamp(-self.TAU, self.TAU))

    def objective(self, joint: Tensor, product: Tensor) -> Tensor:
        """() Jensen-Shannon lower bound."""
        return -F.softplus(-joint).mean() - F.softplus(product).mean()


def log_mean_exp(x: Tensor) -> Tensor:
    """() log of the mean of exp over everything."""
    return x.flatten().logsumexp(0) - math.log(x.numel())
