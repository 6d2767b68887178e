"""One source at a time: the forms that IBAL's joint additive model is compared with and checked against.

x and y are one-hot where they are actions. None of them knows what the others do at the same moment, so each credits a
source with the effects of its company (IBAL_STUDY 1): right where sources act independently given the context.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ibal_lightning.estimator import Estimator
from ibal_lightning.estimators.network import known, mlp
from ibal_lightning.estimators.observation_model import LOG_VARIANCE, gaussian_nll
from ibal_lightning.functional.mutual_information import channel_information, gaussian_club


class ClubChannel(Estimator):
    """Conditional CLUB of a Gaussian channel that one agent's action drives: IBAL's per-pair form (ALGORITHMS 2.5, O1).

    ``y ~ N(base(c) + Delta_x(c), s2(c))``, the effect Delta zero until learnt; the reference distribution of the action
    is a head of its own, p(x | c).

    Args:
        x_dim: actions; x is one-hot.
        y_dim, context_dim: widths of the samples.
        hidden: width of the networks.
    """

    bound: ClassVar[Literal["lower", "upper", "model"]] = "upper"

    def __init__(self, x_dim: int, y_dim: int, context_dim: int = 0, *, hidden: int = 64) -> None:
        super().__init__()
        self.shape = (x_dim, y_dim)
        self.trunk = nn.Sequential(mlp(max(context_dim, 1), hidden, hidden), nn.ReLU())
        self.base = nn.Linear(hidden, y_dim)
        self.log_variance = nn.Linear(hidden, y_dim)
        self.effect = nn.Linear(hidden, x_dim * y_dim)
        self.choice = nn.Linear(hidden, x_dim)
        nn.init.zeros_(self.effect.weight)
        nn.init.zeros_(self.effect.bias)

    def fit_loss(self, x: Tensor, y: Tensor, context: Tensor | None = None) -> Tensor:
        """() negative log-likelihood of y (M, Y) given x (M, X) one-hot and context (M, C), and of x given context."""
        means, log_variance, log_p = self._channel(x, context)
        mean = (x[..., None] * means).sum(1)
        return gaussian_nll(y, mean, log_variance).sum(-1).mean() - (x * log_p).sum(-1).mean()

    @torch.no_grad()
    def estimate(self, x: Tensor, y: Tensor, context: Tensor | None = None) -> Tensor:
        """() upper bound in nats, over all of y; y is not looked at."""
        del y
        return self.per_dim(x, context).sum()

    @torch.no_grad()
    def per_dim(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(Y,) upper bound in nats for each dim of y alone."""
        means, log_variance, log_p = self._channel(x, context)
        return gaussian_club(means, log_variance.clamp(*LOG_VARIANCE).exp(), log_p.exp()).mean(0)

    def _channel(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """(M, X, Y) means for each action, (M, Y) log-variance, (M, X) log-probabilities of the actions."""
        features = self.trunk(known(x, context))
        means = self.base(features)[:, None] + self.effect(features).unflatten(-1, self.shape)
        return means, self.log_variance(features), self.choice(features).log_softmax(-1)


class CategoricalPosterior(Estimator):
    """``E[log q(y | x_d, c) - log q(y | c)]`` for each dim d of x alone, y being an action (ALGORITHMS 2.5, O3).

    A Barber-Agakov lower bound as far as the x-free head is right. It needs the outcome and a row a dim: offline only.

    Args:
        x_dim: dims that are looked at one by one.
        y_dim: actions; y is one-hot.
        context_dim: width of the context.
        hidden: width of the networks.
    """

    bound: ClassVar[Literal["lower", "upper", "model"]] = "lower"

    def __init__(self, x_dim: int, y_dim: int, context_dim: int = 0, *, hidden: int = 64) -> None:
        super().__init__()
        self.context = nn.Linear(max(context_dim, 1), hidden)
        self.dim = nn.Parameter(0.1 * torch.randn(x_dim, hidden))
        self.slope = nn.Parameter(torch.randn(x_dim, hidden))
        self.posterior = nn.Sequential(nn.ReLU(), mlp(hidden, hidden, y_dim))
        self.prior = mlp(max(context_dim, 1), hidden, y_dim)

    def fit_loss(self, x: Tensor, y: Tensor, context: Tensor | None = None) -> Tensor:
        """() cross-entropy of y (M, Y) one-hot given each dim of x (M, X), mean over dims, and given the context."""
        posterior, prior = self._log_probabilities(x, context)
        return -(y[:, None] * posterior).sum(-1).mean() - (y * prior).sum(-1).mean()

    @torch.no_grad()
    def estimate(self, x: Tensor, y: Tensor, context: Tensor | None = None) -> Tensor:
        """() nats of the most telling dim: no more than all of x tells."""
        return self.per_dim(x, y, context).max()

    @torch.no_grad()
    def per_dim(self, x: Tensor, y: Tensor, context: Tensor | None = None) -> Tensor:
        """(X,) lower bound in nats for each dim of x alone."""
        posterior, prior = self._log_probabilities(x, context)
        return (y[:, None] * (posterior - prior[:, None])).sum(-1).mean(0)

    def _log_probabilities(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """(M, X, Y) log q(y | x_d, c) and (M, Y) log q(y | c)."""
        context = known(x, context)
        first = self.context(context)[:, None] + self.dim + self.slope * x[..., None]
        return self.posterior(first).log_softmax(-1), self.prior(context).log_softmax(-1)


class PolicyIntrinsicKl(Estimator):
    """``E KL(q(y | x, c) || sum_b p(b | c) q(y | b, c))``, what one agent's action tells about another's (design A3).

    With c the memory of the acting agent this is the literal action term. Decentralised policies choose independently
    given their histories, so it vanishes as the context grows to hold them: report it, do not attack with it
    (ALGORITHMS 2.4, D2). The marginal is the mixture of the model itself, hence never a mismatch of two heads.

    Args:
        x_dim, y_dim: actions of the two agents; x and y are one-hot.
        context_dim: width of the context.
        hidden: width of the networks.
    """

    bound: ClassVar[Literal["lower", "upper", "model"]] = "model"

    def __init__(self, x_dim: int, y_dim: int, context_dim: int = 0, *, hidden: int = 64) -> None:
        super().__init__()
        self.shape = (x_dim, y_dim)
        self.choice = mlp(max(context_dim, 1), hidden, x_dim)
        self.answer = mlp(max(context_dim, 1), hidden, x_dim * y_dim)

    def fit_loss(self, x: Tensor, y: Tensor, context: Tensor | None = None) -> Tensor:
        """() cross-entropy of x (M, X) given context (M, C), and of y (M, Y) given both."""
        log_p, log_q = self._log_probabilities(x, context)
        return -(x * log_p).sum(-1).mean() - (x[..., None] * y[:, None] * log_q).sum((1, 2)).mean()

    @torch.no_grad()
    def estimate(self, x: Tensor, y: Tensor, context: Tensor | None = None) -> Tensor:
        """() mutual information under the model, in nats; y is not looked at."""
        del y
        log_p, log_q = self._log_probabilities(x, context)
        return channel_information(log_q, log_p.exp()).mean()

    def _log_probabilities(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """(M, X) log p(x | c) and (M, X, Y) log q(y | x, c)."""
        context = known(x, context)
        return self.choice(context).log_softmax(-1), self.answer(context).unflatten(-1, self.shape).log_softmax(-1)
