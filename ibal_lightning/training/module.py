"""The one LightningModule: a CTDE learner and the attack's estimators under manual optimisation (DESIGN 6)."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor

from ibal_lightning.attack import Attack
from ibal_lightning.backbone import Backbone
from ibal_lightning.functional.random import stream
from ibal_lightning.functional.weights import adopt_moments
from ibal_lightning.regularizer import Regularizer
from ibal_lightning.training.data import Experience
from ibal_lightning.types import EpisodeBatch

logger = logging.getLogger(__name__)


class NonFiniteLoss(RuntimeError):
    """A loss, its gradient or a weight became NaN or infinite; carries the batch for inspection."""

    def __init__(self, what: str, updates: int, batch: EpisodeBatch) -> None:
        super().__init__(f"{what} became NaN or infinite at update {updates}")
        self.batch = batch


class RobustLearner(L.LightningModule):
    """Learns on M~: after each rollout the backbone's updates, then the attack's own.

    One ``training_step`` is one rollout with all its updates: Lightning's overhead is paid once for many updates.
    Counters are ours (``updates``), because Lightning counts every optimizer's step under manual optimisation.
    """

    def __init__(
        self,
        backbone: Backbone,
        attack: Attack,
        regularizer: Regularizer | None = None,
        *,
        seed: int = 0,
        optimizer_state: Mapping[str, Any] | None = None,
    ) -> None:
        """``optimizer_state`` is that of the run whose policy the backbone starts from."""
        super().__init__()
        self.automatic_optimization = False
        self.backbone, self.attack, self.regularizer = backbone, attack, regularizer
        self.minibatch_stream = stream(seed, "minibatch")
        self.optimizer_state = optimizer_state
        self.updates, self.attack_updates = 0, 0
        self.learning_rates: list[float] = []  # of the backbone's parameter groups, as configured
        self.seconds = {"learn": 0.0, "attack_learn": 0.0}
        self._meter: defaultdict[str, list[Tensor]] = defaultdict(list)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """The backbone's optimizer, then the attack's where it has one."""
        learner, attacker = self.backbone.optimizer(), self.attack.optimizer()
        if self.optimizer_state is not None:
            try:
                adopt_moments(learner, self.optimizer_state, spare=optional_parameters(self.backbone))
            except ValueError as error:
                logger.warning("The optimizer starts fresh: %s", error)
        self.learning_rates = [group["lr"] for group in learner.param_groups]
        return [learner] if attacker is None else [learner, attacker]

    def training_step(self, experience: Experience, batch_idx: int) -> None:
        """All updates that one rollout pays for."""
        del batch_idx
        optimizers = self.optimizers(use_pl_optimizer=False)
        optimizers = optimizers if isinstance(optimizers, list) else [optimizers]
        start = time.perf_counter()
        for batch in experience.batches:
            self._learn(batch.map(lambda x: x.to(self.device)), optimizers[0])
        learnt = time.perf_counter()
        for batch in experience.attack_batches:
            self._learn_attack(batch.map(lambda x: x.to(self.device)), optimizers[1])
        self.seconds["learn"] += learnt - start
        self.seconds["attack_learn"] += time.perf_counter() - learnt
        for who, module in (("backbone", self.backbone), ("attack", self.attack)):
            if not has_finite_weights(module):  # before a checkpoint of them replaces a good one
                raise NonFiniteLoss(f"a weight of the {who}", self.updates, experience.fresh)

    def _learn(self, batch: EpisodeBatch, optimizer: torch.optim.Optimizer) -> None:
        networks = [group["params"] for group in optimizer.param_groups]  # actor and critic are clipped each for itself
        for part in self.backbone.minibatches(batch, self.minibatch_stream):
            out = self.backbone.loss(part)
            loss = out.loss if self.regularizer is None else out.loss + self.regularizer.loss(self.backbone, part)
            norm = self._step("backbone", loss, optimizer, networks, self.backbone.max_grad_norm, part)
            self.updates += 1
            self.backbone.after_update(self.updates)
            self._record({"loss": loss.detach(), "grad_norm": norm, **out.logs})

    def _learn_attack(self, batch: EpisodeBatch, optimizer: torch.optim.Optimizer) -> None:
        out = self.attack.loss(batch)
        if out is None:
            return
        learnt = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self._step("attack", out.loss, optimizer, [learnt], self.attack.max_grad_norm, batch)
        self.attack_updates += 1
        self._record({f"attack/{name}": value for name, value in out.logs.items()})

    def _step(
        self,
        who: str,
        loss: Tensor,
        optimizer: torch.optim.Optimizer,
        networks: Sequence[Sequence[Tensor]],
        max_norm: float,
        batch: EpisodeBatch,
    ) -> Tensor:
        """One step of the optimizer; returns the gradient's norm before that of each network was clipped."""
        optimizer.zero_grad(set_to_none=True)
        self.manual_backward(loss)
        norm = torch.stack([torch.nn.utils.clip_grad_norm_(network, max_norm) for network in networks]).norm()
        if not torch.isfinite(loss.detach() + norm):
            raise NonFiniteLoss(f"the {who} loss or its gradient", self.updates, batch)
        optimizer.step()
        return norm

    def _record(self, logs: Mapping[str, Tensor]) -> None:
        for name, value in logs.items():
            self._meter[name].append(value.detach())

    def drain(self) -> dict[str, float]:
        """Means of what was recorded since the last call."""
        means = {name: float(torch.stack(values).float().mean()) for name, values in self._meter.items()}
        self._meter.clear()
        return means

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Our counters, streams and what is to be logged travel with the weights."""
        checkpoint["ibal"] = {
            "updates": self.updates,
            "attack_updates": self.attack_updates,
            "minibatch_stream": self.minibatch_stream.get_state(),
            "meter": {name: torch.stack(values) for name, values in self._meter.items()},
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore what was saved."""
        saved = checkpoint["ibal"]
        self.updates, self.attack_updates = saved["updates"], saved["attack_updates"]
        self.minibatch_stream.set_state(saved["minibatch_stream"])
        for name, values in saved.get("meter", {}).items():  # checkpoints of before have none
            self._meter[name].extend(values)


def has_finite_weights(module: torch.nn.Module) -> bool:
    """Whether one could go on with the weights of a module."""
    finite = [parameter.detach().isfinite().all() for parameter in module.parameters()]
    return not finite or bool(torch.stack(finite).all())


def optional_parameters(backbone: Backbone) -> int:
    """How many parameters that learn may be absent where the backbone is loaded from."""
    return sum(p.requires_grad and name.startswith(backbone.may_be_absent) for name, p in backbone.named_parameters())
