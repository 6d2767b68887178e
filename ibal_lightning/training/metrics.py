"""Statistics of finished episodes, on torchmetrics, under PyMARL's names."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torchmetrics import MeanMetric, MetricCollection

from ibal_lightning.types import EpisodeBatch

NAMES = ("battle_won_mean", "return_mean", "ep_length_mean")


def outcomes(batch: EpisodeBatch) -> dict[str, Tensor]:
    """``battle_won_mean`` (0 or 1), ``return_mean``, ``ep_length_mean`` (env steps) of each episode, (B,), copied."""
    values = (batch.won, batch.return_, batch.length.float())
    return {name: value.to("cpu", copy=True) for name, value in zip(NAMES, values, strict=True)}


class EpisodeMetrics(MetricCollection):
    """The means of ``outcomes`` over all episodes since ``reset``; ``prefix`` is "test_" for tests."""

    def __init__(self, prefix: str = "") -> None:
        super().__init__({name: MeanMetric() for name in NAMES}, prefix=prefix, compute_groups=False)

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Take in the ``outcomes`` of some episodes."""
        for name, metric in self.items(keep_base=True):
            metric.update(values[name])

    def floats(self) -> dict[str, float]:
        """The means, with the prefix."""
        return {name: float(value) for name, value in self.compute().items()}
