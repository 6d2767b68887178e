"""Which dims of an agent's next observation carry what another agent does (ALGORITHMS 2.5, IBAL_STUDY 1)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from ibal_lightning.estimators.joint_additive import JointAdditive
from ibal_lightning.estimators.transition_model import BesideNull
from ibal_lightning.estimators.transitions import Context, Transitions
from ibal_lightning.functional.mutual_information import entropy, halflog
from ibal_lightning.types import EnvSpec

LOG_VARIANCE = (-6.0, 2.0)  # of a dim in its own standard deviations: bounds the score of near-deterministic dims
STEP_NATS = 20.0  # an observation counts for at most so many nats in ``gains``: one surprise can cost thousands


class ObservationModel(BesideNull):
    """Gaussian model of the next clean observation given all executed actions, and its conditional CLUB scores.

    ``o'^i_d ~ N(mu_d(x^i, a^{-i}), s2_d(x^i))`` in standard deviations of each dim, with mu joint additive. Beside it
    an action-free null model is fitted on the same (detached) features: the held-out gain over it, in nats, tells
    whether the scores mean anything. (Switching the effects off would not: base and effects share an offset.)

    Args:
        hidden: width of the trunk.
        rank: rank of each pair's effect.
        layers: of the trunk.
        bounds: of every log-variance.
    """

    parts: ClassVar[int] = 1  # numbers that base and effects predict for each dim

    def __init__(
        self,
        spec: EnvSpec,
        *,
        hidden: int = 64,
        rank: int = 6,
        layers: int = 2,
        bounds: tuple[float, float] = LOG_VARIANCE,
    ) -> None:
        super().__init__()
        self.bounds = bounds
        dims, width = spec.obs_dim, self.parts * spec.obs_dim
        self.joint = JointAdditive(spec, width, hidden=hidden, rank=rank, layers=layers)
        self.log_variance = nn.Linear(hidden, dims)
        self.persistence = nn.Parameter(torch.ones(width))  # most of the next observation is the present one
        self.null = nn.Linear(hidden, width + dims)
        self.null_persistence = nn.Parameter(torch.ones(width))

    @property
    def varies(self) -> Tensor:
        """(O,) bool: dims that are not constant."""
        return self.joint.trunk.obs_moments.varies

    @torch.no_grad()
    def explained(self, rows: Transitions, draw: int = 0) -> Tensor:
        """() gain over the null in all dims, nats per agent and step."""
        return super().explained(rows, draw) * self.varies.sum()

    def nats(self, rows: Transitions) -> Tensor:
        """(2,) negative log-likelihood of model and null, nats per dim, agent and step."""
        features, seen = self.joint.trunk(rows.now), rows.seen.flatten().nonzero()[:, 0]
        effects = self.joint.effects(self.joint.gates(features), rows.now.actions, rows.now.alive)
        effects, features, obs, next_obs = taken(seen, effects, features, rows.now.obs, rows.next_obs)
        present, target = self._encode(obs), self._encode(next_obs)
        model = self._nll(target, self._base(features, present) + effects, self.log_variance(features))
        null = self._null_nll(features.detach(), present, target)
        weight = self.varies / (len(obs) * self.varies.sum()).clamp(min=1)
        return torch.stack([model.sum(0), null.sum(0)]) @ weight

    @torch.no_grad()
    def gains(self, rows: Transitions) -> Callable[[Tensor], Tensor]:
        """What others' actions (M, N) explain: a function to (N,) nats beyond the null per step that each agent saw.

        It takes other actions than the executed ones too, to see what chance explains. A step counts for at most
        ``STEP_NATS``: where a near-deterministic dim surprises, a Gaussian model loses more than all others gain.
        """
        features, seen, now = self.joint.trunk(rows.now), rows.seen.flatten().nonzero()[:, 0], rows.now
        gates, count = self.joint.gates(features), rows.seen.sum(0).clamp(min=1)
        features, obs, next_obs = taken(seen, features, now.obs, rows.next_obs)
        present, target = self._encode(obs), self._encode(next_obs)
        base, log_variance = self._base(features, present), self.log_variance(features)
        null = self._null_nll(features, present, target)

        @torch.no_grad()
        def gain(sources: Tensor) -> Tensor:
            (effects,) = taken(seen, self.joint.effects(gates, sources, now.alive))
            nats = (null - self._nll(target, base + effects, log_variance)) @ self.varies.to(null.dtype)
            return null.new_zeros(len(count)).index_add(0, seen % len(count), nats.clamp(-STEP_NATS, STEP_NATS)) / count

        return gain

    @torch.no_grad()
    def score(self, now: Context, p_ref: Tensor, *, transform: str = "halflog") -> Tensor:
        """Conditional CLUB I(o'^i_d; a^j | x^i) under a reference distribution of j's action, in nats.

        Args:
            now: M moments.
            p_ref: (M, N, A) reference distribution of each source's action.
            transform: "halflog" gives 1/2 log(1 + S), capped by the entropy of p_ref; "raw" gives S.

        Returns:
            (M, N, O, N): agent, dim, source. 0 for i = j, for the dead and for constant dims.
        """
        covariance, precision = self._channel(now, p_ref)
        score = self.joint.effects.variance(covariance) * precision[:, None]
        if transform == "halflog":
            score = torch.minimum(halflog(score), entropy(p_ref).t()[:, :, None])
        return (score * now.alive.t()[:, :, None]).permute(2, 0, 3, 1)

    @torch.no_grad()
    def group_score(self, now: Context, p_ref: Tensor, cut: Tensor) -> Tensor:
        """Conditional CLUB I(o'^i_d; actions of all sources in ``cut`` (M, N, N) | x^i), in nats: (M, N, O).

        Effects add up and reference actions are independent, so this equals the sum of the raw scores over the
        sources, at half their cost.
        """
        covariance, precision = self._channel(now, p_ref)
        heard = cut & now.alive[:, None, :]
        return (self.joint.effects.total_variance(covariance, heard) * precision).transpose(0, 1)

    def _channel(self, now: Context, p_ref: Tensor) -> tuple[Tensor, Tensor]:
        """(N, N, M, R * R) covariance of the inputs, (N, M, O) precision of the outputs: 0 where dead or constant."""
        features = self.joint.trunk(now)
        precision = (-self.log_variance(features).clamp(*self.bounds)).exp() * self.varies
        covariance = self.joint.effects.covariance(self.joint.gates(features), p_ref)
        return covariance, (precision * now.alive[..., None]).transpose(0, 1)

    def _base(self, features: Tensor, present: Tensor) -> Tensor:
        """(..., parts * O) parameters of the next observation but for the effects of the others' actions.

        ``present`` (..., parts * O) is the observation of now, encoded.
        """
        return self.persistence * present + self.joint.base(features)

    def _null_nll(self, features: Tensor, present: Tensor, target: Tensor) -> Tensor:
        """(..., O) nats of the encoded next observation ``target`` under the model that knows nobody else's action."""
        base, log_variance = self.null(features).tensor_split([len(self.null_persistence)], -1)
        return self._nll(target, base + self.null_persistence * present, log_variance)

    def _encode(self, obs: Tensor) -> Tensor:
        """(..., parts * O) of observations (..., O): what each parameter would be if they stayed as they are."""
        return self.joint.trunk.obs_moments.normalise(obs)

    def _nll(self, target: Tensor, predicted: Tensor, log_variance: Tensor) -> Tensor:
        """(..., O) nats of the encoded next observation (..., parts * O)."""
        return gaussian_nll(target, predicted, log_variance, self.bounds)


def taken(which: Tensor, *rows: Tensor) -> tuple[Tensor, ...]:
    """(K, ...) those of the M * N moments of agents, numbered by ``which`` (K,), from each of the rows (M, N, ...)."""
    return tuple(x.flatten(0, 1).index_select(0, which) for x in rows)


def gaussian_nll(y: Tensor, mean: Tensor, log_variance: Tensor, bounds: tuple[float, float] = LOG_VARIANCE) -> Tensor:
    """-log N(y; mean, exp(log_variance)) elementwise, in nats; the log-variance is clamped to ``bounds``."""
    log_variance = log_variance.clamp(*bounds)
    square = torch.addcmul(log_variance + math.log(2 * math.pi), (y - mean).square(), (-log_variance).exp())
    return 0.5 * square
