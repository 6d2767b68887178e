"""The falling learning rate: it moves the rates where it was asked to, and leaves them to the backbone elsewhere."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ibal_lightning.attack import Attack, Threat
from ibal_lightning.backbones.q_learner import Vdn
from ibal_lightning.envs.matrix_game import MatrixGame
from ibal_lightning.training.learning_rate import LearningRate
from ibal_lightning.training.module import RobustLearner


class Learning:
    """What the callback meets in a training of a backbone whose rate is 1."""

    def __init__(self) -> None:
        spec = MatrixGame(num_envs=1).spec
        self.module = RobustLearner(Vdn(spec, lr=1.0), Attack(spec, Threat()))
        (self.optimizer,) = self.module.configure_optimizers()

    def rate(self, callback: LearningRate, env_steps: int) -> float:
        """The rate of the updates after a rollout."""
        trainer = SimpleNamespace(datamodule=SimpleNamespace(env_steps=env_steps), optimizers=[self.optimizer])
        callback.on_train_batch_start(trainer, self.module, None, 0)  # type: ignore[arg-type]
        return self.optimizer.param_groups[0]["lr"]

    def set(self, rate: float) -> None:
        """As a schedule of the backbone's own does, or a checkpoint that is loaded."""
        self.optimizer.param_groups[0]["lr"] = rate


def test_it_falls_linearly_with_env_steps() -> None:
    learning, callback = Learning(), LearningRate(100, 0.2)
    rates = [learning.rate(callback, env_steps) for env_steps in (0, 50, 100, 150)]
    assert rates == pytest.approx([1.0, 0.6, 0.2, 0.2])


def test_a_schedule_of_the_backbone_is_left_alone() -> None:
    learning, callback = Learning(), LearningRate(100, 1.0)
    for rate in (0.5, 0.25):
        learning.set(rate)
        assert learning.rate(callback, 50) == rate


def test_a_rate_that_no_longer_falls_is_whole_again_and_then_left_alone() -> None:
    falling, callback, later = LearningRate(100, 0.2), LearningRate(200, 1.0), LearningRate(300, 1.0)
    learning = Learning()
    learning.set(0.6)
    callback.load_state_dict(falling.state_dict())
    assert callback.state_dict() == falling.state_dict()  # saved before any update: the rate is the fallen one still
    assert learning.rate(callback, 100) == 1.0
    learning.set(0.5)
    assert learning.rate(callback, 150) == 0.5
    later.load_state_dict(callback.state_dict())
    assert learning.rate(later, 200) == 0.5


def test_a_rate_that_is_to_fall_from_now_on_falls() -> None:
    learning, callback = Learning(), LearningRate(100, 0.2)
    callback.load_state_dict(LearningRate(100, 1.0).state_dict())
    assert learning.rate(callback, 50) == pytest.approx(0.6)
