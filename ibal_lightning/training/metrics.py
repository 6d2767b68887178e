"""Running statistics of finished episodes, on torchmetrics, under PyMARL's names."""

from __future__ import annotations

from torchmetrics import MeanMetric, Metric, MetricCollection
from torchmetrics.wrappers import Running

from ibal_lightning.types import EpisodeBatch

NAMES = ("battle_won_mean", "return_mean", "ep_length_mean")


class EpisodeMetrics(MetricCollection):
    """``battle_won_mean`` (fraction), ``return_mean`` and ``ep_length_mean`` (env steps) of finished episodes.

    Args:
        prefix: "" for training, "test_" for tests.
        window: batches (rollouts) that count; null = all since ``reset``.
    """

    def __init__(self, prefix: str = "", window: int | None = None) -> None:
        def mean() -> Metric:
            return MeanMetric() if window is None else Running(MeanMetric(), window=window)

        super().__init__({name: mean() for name in NAMES}, prefix=prefix, compute_groups=False)

    def add(self, batch: EpisodeBatch) -> None:
        """Take in the episodes of a batch."""
        values = {"battle_won_mean": batch.won, "return_mean": batch.return_, "ep_length_mean": batch.length.float()}
        for name, metric in self.items(keep_base=True):
            metric.update(values[name].cpu())

    def floats(self) -> dict[str, float]:
        """The means, with the prefix."""
        return {name: float(value) for name, value in self.compute().items()}
