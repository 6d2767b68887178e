"""Which dims of an agent's next observation carry what another agent does (ALGORITHMS 2.5, IBAL_STUDY 1)."""

from __future__ import annotations

import math
from typing import ClassVar

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

    parts: ClassVar[int] = 1  # numbers that base and effects predict for each dim

    def __init__(self, spec: EnvSpec, *, hidden: int = 64, rank: int = 6) -> None:
        super().__init__()
        dims, width = spec.obs_dim, self.parts * spec.obs_dim
        self.joint = JointAdditive(spec, width, hidden=hidden, rank=rank)
        self.log_variance = nn.Linear(hidden, dims)
        self.persistence = nn.Parameter(torch.ones(width))  # most of the next observation is the present one
        self.null = nn.Linear(hidden, width + dims)
        self.null_persistence = nn.Parameter(torch.ones(width))

    @property
    def varies(self) -> Tensor:
        """(O,) bool: dims that are not constant."""
        return self.joint.trunk.obs_moments.varies

    def update_moments(self, now: Context) -> None:
        """Take in the scale of states and of living agents' observations."""
        self.joint.trunk.update_moments(now)

    def loss(self, rows: Transitions) -> tuple[Tensor, Tensor]:
        """() negative log-likelihood of model and null model per dim, and the detached gain over the null in nats."""
        features = self.joint.trunk(rows.now)
        model, null = self._model_nll(rows, features, rows.now.actions), self._null_nll(rows, features.detach())
        per_dim = rows.seen[..., None] & self.varies
        gain = masked_mean((null - model).detach().masked_fill(~self.varies, 0.0).sum(-1), rows.seen)
        return masked_mean(model, per_dim) + masked_mean(null, per_dim), gain

    @torch.no_grad()
    def gain(self, rows: Transitions, sources: Tensor) -> Tensor:
        """(M, N) nats beyond the null model that actions ``sources`` (M, N) of the others explain of what each saw."""
        features = self.joint.trunk(rows.now)
        nats = self._null_nll(rows, features) - self._model_nll(rows, features, sources)
        return nats.masked_fill(~self.varies, 0.0).sum(-1)

    @torch.no_grad()
    def explained(self, rows: Transitions) -> Tensor:
        """() nats per agent and step that the others' actions tell about the next observation, beyond the null."""
        return masked_mean(self.gain(rows, rows.now.actions), rows.seen)

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
        precision = (-self.log_variance(features).clamp(*LOG_VARIANCE)).exp() * self.varies
        covariance = self.joint.effects.covariance(self.joint.gates(features), p_ref)
        return covariance, (precision * now.alive[..., None]).transpose(0, 1)

    def _model_nll(self, rows: Transitions, features: Tensor, sources: Tensor) -> Tensor:
        """(M, N, O) nats under the model, its effects driven by the actions ``sources`` (M, N)."""
        return self._nll(rows.next_obs, self._predict(rows.now, features, sources), self.log_variance(features))

    def _null_nll(self, rows: Transitions, features: Tensor) -> Tensor:
        """(M, N, O) nats under the model that knows nobody else's action."""
        base, log_variance = self.null(features).tensor_split([len(self.null_persistence)], -1)
        return self._nll(rows.next_obs, base + self.null_persistence * self._encode(rows.now.obs), log_variance)

    def _predict(self, now: Context, features: Tensor, sources: Tensor) -> Tensor:
        """(M, N, parts * O) parameters of the next observation."""
        effects = self.joint.effects(self.joint.gates(features), sources, now.alive)
        return self.persistence * self._encode(now.obs) + self.joint.base(features) + effects

    def _encode(self, obs: Tensor) -> Tensor:
        """(M, N, parts * O) of observations (M, N, O), each where it persists in."""
        return self.joint.trunk.obs_moments.normalise(obs)

    def _nll(self, next_obs: Tensor, predicted: Tensor, log_variance: Tensor) -> Tensor:
        """(M, N, O) nats of the next observation (M, N, O)."""
        return gaussian_nll(self.joint.trunk.obs_moments.normalise(next_obs), predicted, log_variance)


def gaussian_nll(y: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """-log N(y; mean, exp(log_variance)) elementwise, in nats; the log-variance is clamped."""
    log_variance = log_variance.clamp(*LOG_VARIANCE)
    return 0.5 * ((y - mean).square() * (-log_variance).exp() + log_variance + math.log(2 * math.pi))
