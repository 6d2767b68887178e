"""What an attack is fitted on: games of a frozen team, half of which meet random overrides (ALGORITHMS 2.8)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ibal_lightning.attack import Attack, Threat
from ibal_lightning.backbones.q_learner import Vdn
from ibal_lightning.envs.matrix_game import MatrixGame
from ibal_lightning.evaluation.suite import fit
from ibal_lightning.types import EnvSpec, EpisodeBatch, LossOutput, VictimView


class Always(Attack):
    """Overrides every action by another one."""

    acts = True

    def perturb_actions(self, view: VictimView, actions: Tensor, generator: torch.Generator) -> Tensor:
        return (actions + 1) % self.spec.n_actions


class Witness(Attack):
    """Learns nothing from what it is fitted on, and remembers it."""

    def __init__(self, spec: EnvSpec, threat: Threat) -> None:
        super().__init__(spec, threat)
        self.weight = nn.Parameter(torch.zeros(()))
        self.overridden: list[Tensor] = []

    def loss(self, batch: EpisodeBatch) -> LossOutput:
        self.overridden.append(batch.attacked.any(-1).any(-1))
        return LossOutput(self.weight.square())


@pytest.mark.parametrize(("episodes", "num_envs"), [(8, 8), (12, 8), (4, 16), (32, 4)])
def test_half_of_the_games_meet_the_excitation(episodes: int, num_envs: int) -> None:
    env = MatrixGame(num_envs=num_envs)
    witness = Witness(env.spec, Threat())
    fit(
        witness,
        env,
        Vdn(env.spec),
        Always(env.spec, Threat()),
        episodes=episodes,
        updates=1,
        batch_episodes=999,
        seed=0,
    )
    (overridden,) = witness.overridden
    assert len(overridden) >= episodes
    assert overridden.float().mean() == 0.5
