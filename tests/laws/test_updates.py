"""What one rollout pays for: plain clipped optimizer steps of learner and attack; what the stream counts and draws."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ibal_lightning.attack import Attack, Threat
from ibal_lightning.attacks.random_action import RandomAction
from ibal_lightning.backbone import Backbone
from ibal_lightning.backbones.agents import last_actions
from ibal_lightning.backbones.ppo import Mappo
from ibal_lightning.backbones.q_learner import QLearner, Qmix, Qplex, Vdn
from ibal_lightning.envs.lbf import Lbf
from ibal_lightning.regularizer import Regularizer
from ibal_lightning.rollout.replay import Replay
from ibal_lightning.training.data import Experience, InducedDecPOMDP
from ibal_lightning.training.module import RobustLearner
from ibal_lightning.types import EpisodeBatch, VictimView
from tests.laws.attacking import warm_ibal
from tests.laws.playing import make_spec, random_batch
from tests.laws.test_rollout import TASK

NORM = 0.05  # small, so that gradients are clipped
RATES = {Qmix: {"target_interval": 2, "target_tau": 0.5}, Mappo: {"epochs": 2, "minibatches": 3, "critic_lr": 3e-2}}


class Pull(Regularizer):
    """Pulls every weight to zero."""

    def loss(self, backbone: Backbone, batch: EpisodeBatch) -> Tensor:
        del batch
        return torch.stack([x.square().sum() for x in backbone.parameters() if x.requires_grad]).sum()


def plain_step(networks: Iterable[list[nn.Parameter]], loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """One step on gradients of which each network's are scaled down to ``NORM``."""
    optimizer.zero_grad()
    loss.backward()
    for parameters in networks:
        held = [x for x in parameters if x.grad is not None]
        norm = torch.stack([x.grad.norm() for x in held]).norm()
        for x in held:
            x.grad *= min(1.0, NORM / (float(norm) + 1e-6))
    optimizer.step()


def follow(twin: Qmix) -> None:
    """The soft copy of the targets, written out."""
    with torch.no_grad():
        for slow, online in ((twin.target_agent, twin.agent), (twin.target_mixer, twin.mixer)):
            for x, y in zip(slow.parameters(), online.parameters(), strict=True):
                x += 0.5 * (y - x)


def networks_of(backbone: Any) -> list[list[nn.Parameter]]:
    if isinstance(backbone, Qmix):
        return [[*backbone.agent.parameters(), *backbone.mixer.parameters()]]
    return [list(backbone.actor.parameters()), list(backbone.critic.parameters())]


def learner_of(backbone: Backbone, attack: Attack, regularizer: Regularizer | None = None) -> RobustLearner:
    """A module without a trainer around it."""
    module = RobustLearner(backbone, attack, regularizer, seed=3)
    module.manual_backward = lambda loss: loss.backward()  # type: ignore[method-assign]
    optimizers = module.configure_optimizers()
    module.optimizers = lambda use_pl_optimizer: optimizers  # type: ignore[method-assign]
    return module


@pytest.mark.parametrize("make", [Qmix, Mappo])
@pytest.mark.parametrize("pull", [False, True])
def test_the_module_learns_by_plain_clipped_steps(make: type, pull: bool) -> None:
    torch.manual_seed(0)
    spec = make_spec()
    backbone = make(spec, max_grad_norm=NORM, lr=1e-2, **RATES[make])
    twin = copy.deepcopy(backbone)
    regularizer = Pull(spec) if pull else None
    module = learner_of(backbone, Attack(spec, Threat()), regularizer)
    optimizer, order, updates = twin.optimizer(), learner_of(twin, Attack(spec, Threat())).minibatch_stream, 0
    batches = [random_batch(spec, 6, seed) for seed in range(3)]
    module.training_step(Experience(batches[0], iter(batches), iter(())), 0)
    for batch in batches:
        for part in twin.minibatches(batch, order):
            extra = Pull(spec).loss(twin, part) if pull else 0.0
            plain_step(networks_of(twin), twin.loss(part).loss + extra, optimizer)
            updates += 1
            if make is Qmix and updates % 2 == 0:
                follow(twin)
    assert module.updates == updates
    for (name, mine), plain in zip(backbone.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, plain, atol=2e-5, rtol=1e-3, msg=name)


def test_the_attack_learns_by_steps_of_its_own() -> None:
    spec = make_spec()
    attack = warm_ibal(spec)
    before = {name: value.clone() for name, value in attack.named_parameters()}
    module = learner_of(Vdn(spec), attack)
    kept = copy.deepcopy(module.backbone.state_dict())
    batch = random_batch(spec, 6)
    module.training_step(Experience(batch, iter(()), iter([batch, batch])), 0)
    assert (module.updates, module.attack_updates) == (0, 2)
    assert any(not torch.equal(before[name], value) for name, value in attack.named_parameters())
    assert all(torch.equal(kept[name], value) for name, value in module.backbone.state_dict().items())


class Listener(Attack):
    """Keeps what it is told of the rollouts."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.told: list[EpisodeBatch] = []

    def observe(self, batch: EpisodeBatch) -> None:
        self.told.append(batch)


def test_the_stream_counts_real_steps_explores_and_tells_the_attack() -> None:
    env = Lbf(num_envs=8, seed=1, task=TASK)
    attack = Listener(env.spec, Threat())
    data = InducedDecPOMDP(env, Vdn(env.spec), attack, seed=0, replay_episodes=64, batch_episodes=8)
    calls: list[dict[str, Any]] = []
    play = data.collector.collect
    data.collector.collect = lambda **words: calls.append(words) or play(**words)  # type: ignore[method-assign]
    first = data.collect().fresh
    steps = int(first.mask.sum())
    second = data.collect().fresh
    assert calls == [{"env_steps": 0, "explore": True}, {"env_steps": steps, "explore": True}]
    assert data.env_steps == steps + int(second.mask.sum())
    assert attack.told == [first, second]


class Watching(RandomAction):
    """Keeps what it is shown of the last executed actions."""

    def perturb_actions(self, view: VictimView, *rest: Any) -> Tensor:
        self.shown = [*getattr(self, "shown", []), view.last_actions_taken.clone()]
        return super().perturb_actions(view, *rest)


def test_every_rollout_begins_without_memory_and_shows_the_attack_what_was_executed() -> None:
    env = Lbf(num_envs=8, seed=1, task=TASK)
    attack = Watching(env.spec, Threat(), p=0.5)
    data = InducedDecPOMDP(env, Vdn(env.spec), attack, seed=0, replay_episodes=64, batch_episodes=8)
    memories: list[Tensor] = []
    score = data.backbone.scores
    data.backbone.scores = lambda *seen: memories.append(seen[-1].clone()) or score(*seen)  # type: ignore
    for _ in range(2):
        memories.clear()
        attack.shown = []
        fresh = data.collect().fresh
        assert not memories[0].any()
        assert memories[1].any()
        steps = fresh.mask.shape[1] - 1
        real, before = fresh.mask[:, 1:], torch.stack(attack.shown[1 : steps + 1], 1)
        assert torch.equal(before[real], fresh.actions_taken[:, :-1][real])
        assert not torch.equal(fresh.actions[fresh.mask], fresh.actions_taken[fresh.mask])


def test_the_learner_draws_from_all_that_is_stored_and_the_attack_from_the_newest() -> None:
    spec = make_spec()
    replay = Replay(spec, Attack(spec, Threat()), capacity=16)
    for index in range(4):
        batch = random_batch(spec, 4, index)
        batch.won[:] = torch.arange(4) + 4 * index
        replay.add(batch)
    g = torch.Generator().manual_seed(0)
    drawn = {name: {int(x) for _ in range(100) for x in replay.sample(3, g, newest=name).won} for name in (None, 5)}
    assert drawn == {None: set(range(16)), 5: set(range(11, 16))}


def test_a_short_episode_in_the_place_of_a_long_one_keeps_none_of_its_steps() -> None:
    spec = make_spec()
    replay = Replay(spec, Attack(spec, Threat()), capacity=1)
    long, short = random_batch(spec, 1, 0), random_batch(spec, 1, 1)
    replay.add(long)
    steps = 3
    short.mask[:] = torch.arange(spec.episode_limit) < steps
    replay.add(short.trim())
    assert int(replay.take(torch.arange(1)).length[0]) == steps


def test_agents_explore_one_by_one_and_evenly_among_what_is_legal() -> None:
    backbone = Vdn(make_spec(), epsilon_start=0.4, epsilon_finish=0.4)
    avail = torch.tensor([True, True, False, True, True]).expand(20_000, 3, 5)
    scores = torch.tensor([0.0, 9.0, 99.0, 0.0, 0.0]).expand(20_000, 3, 5)
    g = torch.Generator().manual_seed(0)
    actions = backbone.select(scores, avail, env_steps=0, explore=True, generator=g)
    shares = torch.bincount(actions.flatten(), minlength=5) / actions.numel()
    torch.testing.assert_close(shares, torch.tensor([0.1, 0.7, 0.0, 0.1, 0.1]), atol=0.01, rtol=0)
    off = (actions != 1).double()
    assert float((off[:, 0] * off[:, 1]).mean()) == pytest.approx(0.3**2, abs=0.01)


@pytest.mark.parametrize("last_action", [False, True])
@pytest.mark.parametrize("make", [Vdn, Mappo])
def test_agents_that_read_the_same_differ_by_their_id(make: type, last_action: bool) -> None:
    torch.manual_seed(0)
    backbone = make(make_spec(), last_action=last_action)
    net = backbone.actor if make is Mappo else backbone.agent
    seen = net.embed(torch.randn(4, 1, 6).expand(4, 3, 6), torch.full((4, 3), -1))
    assert not torch.allclose(seen[:, 0], seen[:, 1], atol=1e-3)
    assert not torch.allclose(seen[:, 1], seen[:, 2], atol=1e-3)


@pytest.mark.parametrize("make", [Vdn, Qmix, Qplex])
def test_the_loss_is_the_mean_square_over_real_steps_of_the_mixed_utilities(make: type[QLearner]) -> None:
    torch.manual_seed(0)
    backbone, batch = make(make_spec()), random_batch(make_spec(), 6)
    out = backbone.loss(batch)
    error = (out.trace["q_tot"] - out.trace["targets"])[batch.mask]
    torch.testing.assert_close(out.loss.detach(), error.square().mean())
    scores = backbone.unroll(batch.obs_seen, last_actions(batch, "intended"))[0][:, :-1]
    taken = scores.gather(-1, batch.actions[..., None])[..., 0]
    best = scores.masked_fill(~batch.avail_actions[:, :-1], float("-inf")).amax(-1)
    rows = [x[batch.mask] for x in (taken, batch.state[:, :-1], batch.actions, best)]
    torch.testing.assert_close(out.trace["q_tot"][batch.mask], backbone.mixer(*rows).detach(), atol=1e-5, rtol=1e-5)


def test_rmsprop_is_pymarls() -> None:
    options = [{}, {"optim_alpha": 0.5, "optim_eps": 0.1}]
    groups = [Qmix(make_spec(), optimizer="rmsprop", **words).optimizer().param_groups[0] for words in options]
    assert [(group["alpha"], group["eps"]) for group in groups] == [(0.99, 1e-5), (0.5, 0.1)]


def test_the_critic_has_a_learning_rate_of_its_own() -> None:
    backbone = Mappo(make_spec(), lr=1e-3, critic_lr=3e-3)
    found = [(group["lr"], {id(x) for x in group["params"]}) for group in backbone.optimizer().param_groups]
    expected = [(1e-3, backbone.actor), (3e-3, backbone.critic)]
    assert found == [(lr, {id(x) for x in network.parameters()}) for lr, network in expected]


def test_minibatches_are_shuffled_anew_in_every_pass() -> None:
    backbone, batch = Mappo(make_spec(), epochs=2, minibatches=6), random_batch(make_spec(), 6)

    def order(seed: int) -> list[float]:
        return [float(part.reward.sum()) for part in backbone.minibatches(batch, torch.Generator().manual_seed(seed))]

    assert order(0) == order(0)
    assert order(0) != order(1)
    assert order(0)[:6] != order(0)[6:]
