"""Which dims of an agent's next observation carry what another agent does (ALGORITHMS 2.5, IBAL_STUDY 1)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ibal_lightning.estimators.joint_additive import JointAdditive
from ibal_lightning.estimators.transitions import Context, Transitions
from ibal_lightning.functional.masking import masked_mean
from ibal_lightning.functional.mutual_information import entropy, halflog
from ibal_lightning.types import EnvSpec

LOG_VARIANCE = (-6.0, 2.0)  # bounds the score of near-deterministic dims


class ObservationModel(nn.Module):
    """Gaussian model of the next clean observation given all executed actions, and its conditional CLUB scores.

    ``o'^i_d ~ N(mu_d(x^i, a^{-i}), s2_d(x^i))`` in standard deviations of each dim, with mu joint additive. Beside it
    an action-free null model is fitted on the same (detached) features: the held-out gain over it, in nats, tells
    whether the scores mean anything. (Switching the effects off would not: base and effects share an offset.)

    Args:
        hidden: width of the trunk.
        rank: rank of each pair's effect.
    """

    def __init__(self, spec: EnvSpec, *, hidden: int = 64, rank: int = 6) -> None:
        super().__init__()
        dims = spec.obs_dim
        self.joint = JointAdditive(spec, dims, hidden=hidden, rank=rank)
        self.log_variance = nn.Linear(hidden, dims)
        self.persistence = nn.Parameter(torch.ones(dims))  # most of the next observation is the present one
        self.null = nn.Linear(hidden, 2 * dims)
        self.null_persistence = nn.Parameter(torch.ones(dims))

    def loss(self, rows: Transitions) -> tuple[Tensor, Tensor]:
        """() negative log-likelihood of model and null model per dim, and the detached gain over the null in nats."""
        model, null, seen = self._nll(rows)
        varies = self.joint.trunk.obs_moments.varies
        per_dim = seen[..., None] & varies
        gain = masked_mean((null - model).detach().masked_fill(~varies, 0.0).sum(-1), seen)
        return masked_mean(model, per_dim) + masked_mean(null, per_dim), gain

    @torch.no_grad()
    def explained(self, rows: Transitions) -> Tensor:
        """() nats per agent and step that the others' actions tell about the next observation, beyond the null."""
        return self.loss(rows)[1]

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
        precision = (-self.log_variance(features).clamp(*LOG_VARIANCE)).exp() * self.joint.trunk.obs_moments.varies
        covariance = self.joint.effects.covariance(self.joint.gates(features), p_ref)
        return covariance, (precision * now.alive[..., None]).transpose(0, 1)

    def _nll(self, rows: Transitions) -> tuple[Tensor, Tensor, Tensor]:
        """(M, N, O) of the model and of the null in nats, and (M, N) which observations are real."""
        joint, moments = self.joint, self.joint.trunk.obs_moments
        features = joint.trunk(rows.now)
        present, target = moments.normalise(rows.now.obs), moments.normalise(rows.next_obs)
        effects = joint.effects(joint.gates(features), rows.now.actions, rows.now.alive)
        mean = self.persistence * present + joint.base(features) + effects
        null_mean, null_log_variance = self.null(features.detach()).chunk(2, -1)
        null_mean = null_mean + self.null_persistence * present
        seen = rows.now.alive & rows.next_alive
        return (
            gaussian_nll(target, mean, self.log_variance(features)),
            gaussian_nll(target, null_mean, null_log_variance),
            seen,
        )


def gaussian_nll(y: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """-log N(y; mean, exp(log_variance)) elementwise, in nats; the log-variance is clamped."""
    log_variance = log_variance.clamp(*LOG_VARIANCE)
    return 0.5 * ((y - mean).square() * (-log_variance).exp() + log_variance + math.log(2 * math.pi))
