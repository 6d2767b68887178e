"""The observation model for dims that are often exactly zero: hidden units, flags (ALGORITHMS 2.5, design O2)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ibal_lightning.estimators.observation_model import ObservationModel, gaussian_nll
from ibal_lightning.estimators.transitions import Context
from ibal_lightning.functional.mutual_information import entropy, hurdle_club, hurdle_information
from ibal_lightning.types import EnvSpec

CERTAIN = 30.0  # log-odds of what is never zero


class DimTypes(nn.Module):
    """What kind each dim is, judged by all values seen: constant, binary, often zero, or dense.

    Args:
        often: share of zeros above which a dim has a hurdle.
    """

    def __init__(self, dims: int, often: float = 0.05) -> None:
        super().__init__()
        self.often = often
        self.count: Tensor
        self.zeros: Tensor
        self.other: Tensor
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("zeros", torch.zeros(dims))
        self.register_buffer("other", torch.zeros(dims))  # neither 0 nor 1

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """Take in the rows x (M, D)."""
        self.count += len(x)
        self.zeros += (x == 0).sum(0)
        self.other += ((x != 0) & (x != 1)).sum(0)

    @property
    def hurdle(self) -> Tensor:
        """(D,) bool: whether it is zero is an event of its own."""
        return self.binary | (self.zeros > self.often * self.count)

    @property
    def binary(self) -> Tensor:
        """(D,) bool: nothing but 0 and 1 was ever seen, so there is no value beside the event."""
        return self.other == 0


class HurdleModel(ObservationModel):
    """Dims are zero with a joint additive log-odds, else Gaussian; binary dims have no Gaussian, dense ones no hurdle.

    A Gaussian of its own takes a flag that seldom changes for a near-constant of tiny variance and scores it too high;
    the Bernoulli does not. The score needs every what-if action of every pair, at several times the Gaussian's cost.

    Its options are those of ``ObservationModel``.
    """

    parts: ClassVar[int] = 2  # value, log-odds of not being zero

    def __init__(self, spec: EnvSpec, **options: Any) -> None:
        super().__init__(spec, **options)
        self.types = DimTypes(spec.obs_dim)

    def update_moments(self, now: Context) -> None:
        """Take in the scale of states and of living agents' observations, and what kind their dims are."""
        super().update_moments(now)
        self.types.update(now.obs[now.alive])

    @torch.no_grad()
    def score(self, now: Context, p_ref: Tensor, *, transform: str = "halflog") -> Tensor:
        """As of the Gaussian model; "halflog" is the exact information of the event plus half-log of the value."""
        m, n, _ = p_ref.shape
        everyone = torch.ones(m, n, n, dtype=torch.bool, device=p_ref.device)
        where, value = self._pair_scores(now, p_ref, everyone, transform)
        score = p_ref.new_zeros(m, n, n, value.shape[-1]).index_put(where, value)
        return score.transpose(2, 3)

    @torch.no_grad()
    def group_score(self, now: Context, p_ref: Tensor, cut: Tensor) -> Tensor:
        """(M, N, O) sum of the raw scores over the sources in ``cut`` (M, N, N), each with the others as they are."""
        where, value = self._pair_scores(now, p_ref, cut, "raw")
        total = p_ref.new_zeros(*p_ref.shape[:2], value.shape[-1])
        return total.index_put(where[:2], value, accumulate=True)

    def _pair_scores(
        self, now: Context, p_ref: Tensor, cut: Tensor, transform: str
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """Indices (moment, agent, source) of the P pairs of living agents in ``cut``, and their scores (P, O)."""
        others = ~torch.eye(cut.shape[1], dtype=torch.bool, device=cut.device)
        m, i, j = where = (cut & others & now.alive[:, :, None] & now.alive[:, None]).nonzero(as_tuple=True)
        features = self.joint.trunk(now)
        gates, effects = self.joint.gates(features), self.joint.effects
        played = effects.u[i, j, now.actions[m, j]]
        coefficient = gates[m, i, j][:, None] * (effects.u[i, j] - played[:, None])
        actual = self._base(features, self._encode(now.obs)) + effects(gates, now.actions, now.alive)
        what_if = actual[m, i][:, None] + coefficient @ effects.v[i, j]
        means, logits = what_if.chunk(2, -1)
        variance = self.log_variance(features)[m, i].clamp(*self.bounds).exp()
        bound = hurdle_club if transform == "raw" else hurdle_information
        p = p_ref[m, j]
        value = bound(self._odds(logits), means.masked_fill(self.types.binary, 0.0), variance, p) * self.varies
        return where, value if transform == "raw" else torch.minimum(value, entropy(p)[:, None])

    def _encode(self, obs: Tensor) -> Tensor:
        """(..., 2 * O) values in standard deviations, then whether they are not zero."""
        return torch.cat([super()._encode(obs), (obs != 0).to(obs.dtype)], -1)

    def _nll(self, target: Tensor, predicted: Tensor, log_variance: Tensor) -> Tensor:
        """(..., O) nats of the encoded next observation (..., 2 * O)."""
        (mean, logits), (y, there) = predicted.chunk(2, -1), target.chunk(2, -1)
        event = F.binary_cross_entropy_with_logits(logits, there, reduction="none")
        value = gaussian_nll(y, mean, log_variance, self.bounds)
        has_value = ~self.types.binary & ((there > 0) | ~self.types.hurdle)
        return event * self.types.hurdle + torch.where(has_value, value, 0.0)

    def _odds(self, logits: Tensor) -> Tensor:
        """Log-odds (..., O) of not being zero; certain for dims that have no hurdle."""
        return logits.masked_fill(~self.types.hurdle, CERTAIN)
