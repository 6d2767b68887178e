"""The contract of what IBAL learns from transitions; ``Estimator`` is the one of bounds between two variables."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from ibal_lightning.estimators.joint_additive import JointAdditive
from ibal_lightning.estimators.transitions import Context, Transitions


class TransitionModel(nn.Module):
    """A model of what agents see or do, given the actions of others. Information is in nats.

    Its gain is what the others' actions tell beyond a model, fitted beside it or within it, that does not see them.
    """

    @abstractmethod
    def update_moments(self, now: Context) -> None:
        """Take in the scale of the inputs."""

    @abstractmethod
    def loss(self, rows: Transitions, draw: int = 0) -> Tensor:
        """() what to minimise; ``draw`` numbers what is drawn."""

    @abstractmethod
    def explained(self, rows: Transitions, draw: int = 0) -> Tensor:
        """() the gain on transitions, without gradients; ``draw`` as in ``loss``."""


class BesideNull(TransitionModel):
    """A joint additive model, and an action-free null model that learns beside it from the same (detached) features."""

    joint: JointAdditive

    @abstractmethod
    def nats(self, rows: Transitions) -> Tensor:
        """(2,) cross-entropy of model and null, mean nats per agent and step, or per dim of these."""

    def update_moments(self, now: Context) -> None:
        """Take in the scale of states and of living agents' observations."""
        self.joint.trunk.update_moments(now)

    def loss(self, rows: Transitions, draw: int = 0) -> Tensor:
        """() the cross-entropy of both."""
        del draw
        return self.nats(rows).sum()

    @torch.no_grad()
    def explained(self, rows: Transitions, draw: int = 0) -> Tensor:
        """() gain over the null, nats per agent and step."""
        del draw
        model, null = self.nats(rows)
        return null - model
