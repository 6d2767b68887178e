"""The learning rate over a training."""

from __future__ import annotations

from typing import Any

import lightning as L

from ibal_lightning.training.data import Experience
from ibal_lightning.training.module import RobustLearner


class LearningRate(L.Callback):
    """Lets the backbone's learning rates fall linearly with env steps, to ``finish`` of theirs at ``env_steps``.

    A run that goes on with a larger budget goes on at the rate that this budget gives. At ``finish = 1`` the rates are
    left to the backbone, which may have a schedule of its own; where a run goes on whose rates were falling, they are
    whole again first.
    """

    def __init__(self, env_steps: int, finish: float) -> None:
        self.env_steps, self.finish = env_steps, finish
        self.moves = finish != 1

    def state_dict(self) -> dict[str, Any]:
        """Whether the rates in the checkpoint are ours."""
        return {"moves": self.moves}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Rates that were falling have to be set once more in any case."""
        self.moves = self.moves or state_dict["moves"]

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Experience, batch_idx: int
    ) -> None:
        """Set the rates for the updates that this rollout pays for."""
        if not self.moves:
            return
        self.moves = self.finish != 1
        assert isinstance(pl_module, RobustLearner)
        done = min(trainer.datamodule.env_steps / self.env_steps, 1.0)  # type: ignore[attr-defined]
        share = 1.0 - (1.0 - self.finish) * done
        for group, rate in zip(trainer.optimizers[0].param_groups, pl_module.learning_rates, strict=True):
            group["lr"] = share * rate
