"""The whole learning path on a device that is not the environment's: nothing is made or left on the wrong one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from other_device import ELSEWHERE, Elsewhere, ElsewhereGenerator, Mode
from torch import Tensor

from ibal_lightning import plugins
from ibal_lightning.attack import Attack, Threat
from ibal_lightning.backbone import Backbone
from ibal_lightning.env import Env
from ibal_lightning.evaluation.suite import fit, play
from ibal_lightning.functional.random import derive_seed
from ibal_lightning.rollout import collector
from ibal_lightning.training.data import InducedDecPOMDP
from ibal_lightning.training.metrics import EpisodeMetrics, outcomes
from ibal_lightning.training.module import RobustLearner

pytestmark = pytest.mark.skipif(ELSEWHERE is None, reason="this torch cannot emulate a device")


def mostly_slow(names: Sequence[str], quick: Sequence[str]) -> list[Any]:
    """All of them as parameters, those that are not ``quick`` marked slow."""
    return [pytest.param(name, marks=[] if name in quick else [pytest.mark.slow]) for name in names]


BACKBONES = ("vdn", "qmix", "qplex", "mappo", "ippo")
PAIRS = [f"{backbone} {attack}" for attack in ("natural", "ibal") for backbone in BACKBONES]
ATTACKS = """natural random_obs random_mask random_action disabled fgsm min_q hp_15 opposite_mask
    ibal ibal_gaussian ibal_fgsm"""
SMALL = {"warmup_updates": 1, "rows": 16, "hidden": 8}  # of the attacks that learn


def gru_cell(x: Tensor, hidden: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> Tensor:
    """``torch.gru_cell``, which is one fused kernel on GPUs that a CPU does not have."""
    r, z, n = torch.nn.functional.linear(x, w_ih, b_ih).chunk(3, 1)
    hr, hz, hn = torch.nn.functional.linear(hidden, w_hh, b_hh).chunk(3, 1)
    update = torch.sigmoid(z + hz)
    return (1 - update) * torch.tanh(n + torch.sigmoid(r + hr) * hn) + update * hidden


def gru(layer: torch.nn.GRU, x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """``nn.GRU`` of one layer, which is made of that kernel there."""
    now, outputs = hidden[0], []
    for row in x:
        now = gru_cell(row, now, *layer.all_weights[0])
        outputs.append(now)
    return torch.stack(outputs), now[None]


@pytest.fixture(autouse=True)
def _streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random streams of the CPU under both devices' names: both devices play the same games."""

    def stream(seed: int, name: str, device: torch.device) -> torch.Generator:
        kind = ElsewhereGenerator if device == ELSEWHERE else torch.Generator
        return kind().manual_seed(derive_seed(seed, name))

    monkeypatch.setattr(collector, "stream", stream)
    monkeypatch.setattr(torch, "gru_cell", gru_cell)
    monkeypatch.setattr(torch.nn.GRU, "forward", gru)


def parts(backbone: str, attack: str, device: torch.device) -> tuple[Env, Backbone, Attack]:
    """3m on the CPU, backbone and attack on the device, with the same weights on every device."""
    env = plugins.build(plugins.choice("env", "smac"), num_envs=4, seed=0)
    torch.manual_seed(0)
    node = plugins.choice("attack", attack)
    node.update({name: value for name, value in SMALL.items() if name in node})
    learner = plugins.build(plugins.choice("backbone", backbone), env.spec)
    return env, learner.to(device), plugins.build(node, env.spec, Threat()).to(device)


def learn(backbone: str, attack: str, device: torch.device) -> tuple[list[Tensor], dict[str, Tensor]]:
    """The actions of three rollouts with updates between them, and the weights at the end, both on the CPU."""
    env, learner, attacker = parts(backbone, attack, device)
    options = {"replay_episodes": 12, "batch_episodes": 4, "updates_per_episode": 0.5}
    data = InducedDecPOMDP(env, learner, attacker, seed=0, attack_updates_per_episode=0.5, device=device, **options)
    module = RobustLearner(learner, attacker, seed=0)
    module.manual_backward = lambda loss: loss.backward()  # type: ignore[method-assign]
    optimizers, metrics, actions = module.configure_optimizers(), EpisodeMetrics(), []
    for _ in range(3):
        experience = data.collect()
        assert all(x.device == device for x in vars(experience.fresh).values() if isinstance(x, Tensor))
        actions.append(experience.fresh.actions_taken.clone().cpu())
        metrics.add(outcomes(experience.fresh))
        for batch in experience.batches:
            module._learn(batch, optimizers[0])
        for batch in experience.attack_batches:
            module._learn_attack(batch, optimizers[1])
    assert module.updates > 0
    assert all(value == value for value in {**module.drain(), **metrics.floats(), **attacker.status()}.values())
    return actions, on_cpu(learner.state_dict())


def on_cpu(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu() for name, value in weights.items()}


@pytest.mark.parametrize("pair", mostly_slow(PAIRS, ["qmix ibal", "mappo natural"]))
def test_learning_elsewhere_is_learning_here(pair: str) -> None:
    here = learn(*pair.split(), torch.device("cpu"))
    with Mode():
        there = learn(*pair.split(), ELSEWHERE)
    assert torch.equal(here[0][0], there[0][0])
    for name, value in here[1].items():
        torch.testing.assert_close(there[1][name], value, atol=2e-3, rtol=1e-2)


@pytest.mark.parametrize("attack", mostly_slow(ATTACKS.split(), ["fgsm", "opposite_mask"]))
def test_every_attack_plays_and_is_fitted_elsewhere(attack: str) -> None:
    def rows(device: torch.device) -> list[float]:
        env, backbone, attacker = parts("qmix", attack, device)
        excitation = plugins.build(plugins.choice("attack", "random_action"), env.spec, Threat()).to(device)
        fit(attacker, env, backbone, excitation, episodes=8, updates=2, batch_episodes=4, seed=0)
        return [row["return"] for row in play(env, backbone, attacker.eval(), episodes=4, seed=0)]

    here = rows(torch.device("cpu"))
    with Mode():
        assert rows(ELSEWHERE) == pytest.approx(here)


def test_the_other_device_refuses_strangers() -> None:
    with Mode():
        there = torch.ones(3, device=ELSEWHERE)
        assert isinstance(there, Elsewhere)
        with pytest.raises(RuntimeError, match="on the CPU"):
            there + torch.ones(3)
