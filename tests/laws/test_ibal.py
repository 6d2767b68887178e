"""Laws of the whole IBAL attack: identity, switches, warm-up, checkpoints, bad options (T11 of ALGORITHMS 2.9)."""

from __future__ import annotations

import copy
import dataclasses
import io
import logging
import math

import pytest
import torch
from attacking import generator, intended, play_step, random_view, warm_ibal
from playing import make_spec, random_batch

from ibal_lightning.attack import Attack, Threat
from ibal_lightning.attacks.ibal.attack import Ibal
from ibal_lightning.backbones.q_learner import Vdn
from ibal_lightning.envs.lbf import Lbf
from ibal_lightning.estimators.joint_additive import Trunk
from ibal_lightning.functional.random import seeded
from ibal_lightning.rollout.collector import Collector
from ibal_lightning.types import EpisodeBatch

SPEC = make_spec(6, 5, 8, 7)


def rollout(attack: type[Attack], threat: Threat, **options: float) -> EpisodeBatch:
    """The same games of the same policy under an attack; it may learn from them."""
    env = Lbf(num_envs=4, seed=1, task="Foraging-5x5-3p-1f-v3")
    with seeded(0, "backbone"):
        backbone = Vdn(env.spec)
    with seeded(0, "attack"):
        built = attack(env.spec, threat, **options)
    collector = Collector(env, backbone, built, seed=5)
    assert (built.optimizer() is None) == (built.loss(collector.collect(env_steps=0, explore=True)) is None)
    return collector.collect(env_steps=0, explore=True)


def same_games(one: EpisodeBatch, two: EpisodeBatch) -> bool:
    names = ("obs", "obs_seen", "actions", "actions_taken", "reward", "mask")
    return all(torch.equal(getattr(one, name), getattr(two, name)) for name in names)


def test_k_zero_is_exactly_no_attack() -> None:
    none = rollout(Ibal, Threat(), K=0)
    assert same_games(none, rollout(Attack, Threat()))
    assert not none.group.any()


def test_no_masked_dims_and_no_trigger_is_exactly_no_attack() -> None:
    idle = rollout(Ibal, Threat(dims=0), K=1, p_floor=0.0, alpha=1.0, warmup_updates=0)
    assert idle.group.any()
    assert same_games(idle, rollout(Attack, Threat()))
    assert not same_games(idle, rollout(Ibal, Threat(dims=0), K=1, p_floor=1.0, warmup_updates=0))


def test_switched_off_surfaces_stay_untouched() -> None:
    view = random_view(SPEC, 32, 0)
    for options in ({"observation": False}, {"threat": Threat(obs=False)}, {"threat": Threat(dims=0)}):
        attack = warm_ibal(K=3, strength="max", **options).eval()
        attack.reset(32, generator())
        seen, actions, taken = play_step(attack, view, generator())
        assert seen is view.obs
        assert (taken != actions).any()
    for options in ({"action": False}, {"threat": Threat(actions=False, dims=3)}):
        attack = warm_ibal(K=3, strength="max", **options).eval()
        attack.reset(32, generator())
        seen, actions, taken = play_step(attack, view, generator())
        assert (seen != view.obs).any()
        assert torch.equal(taken, actions)


def test_episodes_are_clean_until_the_estimators_are_warm() -> None:
    attack = Ibal(SPEC, Threat(dims=3), K=3, warmup_updates=2, rows=16, hidden=16)
    batch = random_batch(SPEC, 4)
    for updates in range(3):
        attack.reset(64, generator())
        assert bool((attack.group > 0).any()) == (updates >= 2)
        attack.loss(batch)


def test_an_unfitted_attack_at_test_time_is_random_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    attack = Ibal(SPEC, Threat(dims=3), K=3, strength="max").eval()
    with caplog.at_level(logging.WARNING):
        attack.reset(64, generator())
    assert "have learnt nothing" in caplog.text
    view = random_view(SPEC, 64, 0)
    seen, actions, taken = play_step(attack, view, generator())
    assert (seen != view.obs).any()
    assert (taken != actions).any()


def test_checkpoint_restores_everything_the_attack_needs() -> None:
    attack = warm_ibal(K=3, coupling="joint", p_floor=0.5)
    attack.schedule.update(torch.ones(7))
    attack.schedule.p_max = 0.66
    attack.observe(random_batch(SPEC, 8))
    file = io.BytesIO()
    torch.save(attack.state_dict(), file)
    file.seek(0)
    torch.manual_seed(99)
    other = Ibal(SPEC, Threat(dims=3), K=3, warmup_updates=3, hidden=16, rank=2, rows=32, coupling="joint", p_floor=0.5)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert other.status() == attack.status()
    batch = random_batch(SPEC, 8)
    assert torch.equal(other.loss(batch).loss, attack.loss(batch).loss)
    played = []
    for each in (attack, other):
        g = generator(4)
        each.reset(16, g)
        played.append([play_step(each, random_view(SPEC, 16, s, s), g) for s in range(3)])
    for mine, theirs in zip(*played, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


@pytest.mark.parametrize("action_score", ["lagged", "klx"])
def test_the_width_is_that_of_either_action_model(action_score: str) -> None:
    narrow, wide = (
        sum(p.numel() for p in Ibal(SPEC, Threat(obs=False), action_score=action_score, hidden=h).parameters())
        for h in (8, 64)
    )
    assert narrow < wide


@pytest.mark.parametrize(
    ("threat", "options"),
    [
        (Threat(), {"observation": False, "action": False}),
        (Threat(actions=False), {"observation": False}),
        (Threat(dims=0), {"action": False}),
    ],
)
def test_an_attack_without_a_surface_is_not_trained_with(threat: Threat, options: dict[str, bool]) -> None:
    with pytest.raises(ValueError, match="nothing left to attack"):
        Ibal(SPEC, threat, **options).check_training()
    Ibal(SPEC, threat, K=0, **options).check_training()


def test_a_share_of_the_dims_is_at_least_one() -> None:
    sizes = {dims: Threat(dims=dims).max_dims(SPEC) for dims in (0, 0.001, 0.5, 1, 3)}
    assert sizes == {0: 0, 0.001: 1, 0.5: round(0.5 * SPEC.obs_dim), 1: 1, 3: 3}


def test_the_view_is_left_alone() -> None:
    attack = warm_ibal(K=3, strength="max", p_ref="soft").eval()
    attack.reset(16, generator())
    view = random_view(SPEC, 16, 0)
    copy = {k: v.clone() for k, v in vars(view).items() if isinstance(v, torch.Tensor)}
    actions = intended(view)
    attack.perturb_obs(view, generator())
    attack.perturb_actions(view, actions, generator())
    assert all(torch.equal(getattr(view, k), v) for k, v in copy.items())
    assert torch.equal(actions, intended(view))


def test_estimators_learn_from_executed_actions_clean_observations_and_real_steps() -> None:
    attack = warm_ibal(K=3, action_score="lagged")
    batch = random_batch(SPEC, 8)
    state = copy.deepcopy(attack.state_dict())

    def loss(**changes: torch.Tensor) -> float:
        attack.load_state_dict(state)
        return float(attack.loss(dataclasses.replace(batch, **changes)).loss.detach())

    assert loss(obs_seen=torch.zeros_like(batch.obs)) == loss()
    assert loss(avail_actions=torch.ones_like(batch.avail_actions)) == loss()
    assert loss(actions_taken=batch.actions) != loss()
    real = batch_steps(batch)
    assert loss(state=torch.where(real[..., None], batch.state, 1e5)) == loss()
    assert loss(actions_taken=torch.where(batch.mask[..., None], batch.actions_taken, 0)) == loss()


def batch_steps(batch):
    """(B, T+1) bool: real steps."""
    return torch.cat([batch.mask, torch.zeros_like(batch.mask[:, :1])], 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"K": 4}, r"between 0 and half of the team \(3 of 6 agents\), got 4"),
        ({"K": -1}, "attack.K must be between 0"),
        ({"action_score": "laged"}, "did you mean 'lagged'"),
        ({"trigger": "steps"}, "did you mean 'step'"),
        ({"coupling": "both"}, "attack.coupling must be one of joint, independent"),
        ({"strength": "maximal"}, "did you mean 'max'"),
        ({"score_mode": "tabel"}, "did you mean 'table'"),
        ({"score_transform": "log"}, "halflog"),
        ({"observation_head": "hurdel"}, "did you mean 'hurdle'"),
        ({"p_ref": "softmax"}, "did you mean 'soft'"),
        ({"p_floor": 1.5}, "attack.p_floor must be between 0 and 1"),
        ({"p_floor": "half"}, "must be a probability"),
        ({"p_max_init": 2.0}, "attack.p_max_init"),
        ({"p_max_init": 0.05}, "attack.p_max_init must be at least attack.p_floor, got 0.05 below 0.1"),
        ({"p_max_init": math.nan}, "attack.p_max_init"),
        ({"p_max_limit": 1.5}, "attack.p_max_limit must be between 0 and 1, got 1.5"),
        ({"alpha": 0.9}, "attack.alpha must be >= 1"),
        ({"eta": 1.1}, "attack.eta"),
        ({"window": 0}, "attack.window"),
        ({"hold": 0}, "attack.hold"),
        ({"rows": 0}, "attack.rows must be >= 1, got 0"),
        ({"hidden": 0}, "attack.hidden must be >= 1"),
        ({"rank": 0}, "attack.rank must be >= 1"),
        ({"layers": 0}, "attack.layers must be >= 1"),
        ({"logvar_low": 3.0}, "attack.logvar_low must be below logvar_high, got 3 and 2"),
        ({"logvar_low": -math.inf}, "attack.logvar_low must be a finite number, got -inf"),
        ({"logvar_high": math.nan}, "attack.logvar_high must be a finite number, got nan"),
        ({"lr": 0.0}, "attack.lr must be a finite number above 0, got 0.0"),
        ({"lr": -1.0}, "attack.lr must be a finite number above 0, got -1.0"),
        ({"lr": math.nan}, "attack.lr must be a finite number above 0, got nan"),
        ({"lr": math.inf}, "attack.lr must be a finite number above 0, got inf"),
        ({"warmup_updates": -3}, "attack.warmup_updates must be >= 0, got -3"),
        ({"score_every": 0}, "attack.score_every"),
    ],
)
def test_bad_options_are_refused_by_name(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Ibal(SPEC, Threat(dims=3), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "attack.p_floor=0 keeps P_max at 0 for good, as attack.alpha=1.1 .* set attack.p_max_init"),
        ({"strength": "max"}, "attack.p_floor=0 keeps P_max at 0"),  # which is of evaluation only
        ({"p_max_init": 0.0}, "attack.p_max_init=0 keeps P_max at 0 .* or attack.alpha=1"),
    ],
)
def test_a_training_refuses_a_curriculum_that_cannot_grow(options: dict, message: str) -> None:
    attack = Ibal(SPEC, Threat(dims=3), p_floor=0.0, **options)
    with pytest.raises(ValueError, match=message):
        attack.check_training()


@pytest.mark.parametrize(
    ("threat", "options"),
    [
        (Threat(dims=3), {"action": False}),
        (Threat(dims=3), {"K": 0}),
        (Threat(dims=3, actions=False), {}),
        (Threat(dims=3), {"alpha": 1.0}),
        (Threat(dims=3), {"p_max_init": 0.1}),
    ],
)
def test_where_nothing_grows_from_it_the_floor_may_be_zero(threat: Threat, options: dict) -> None:
    Ibal(SPEC, threat, p_floor=0.0, **options).check_training()


def test_an_evaluation_at_full_strength_needs_no_floor() -> None:
    attack = Ibal(SPEC, Threat(dims=3), p_floor=0.0, strength="max", warmup_updates=0).eval()
    attack.reset(4, torch.Generator().manual_seed(0))
    assert attack.plan is not None
    assert (attack.plan.p_act == 1).all()


def test_a_curriculum_from_no_attack_at_all_grows() -> None:
    attack = Ibal(SPEC, Threat(dims=3), K=3, p_floor=0.0, p_max_init=0.1)
    attack.schedule.update(torch.ones(500))
    assert attack.schedule.p_max > 0.1
    assert Ibal(SPEC, Threat(dims=3), K=3, p_floor=0.0, alpha=1.0).schedule.p_max == 0


@pytest.mark.parametrize("score", ["klx", "lagged"])
@pytest.mark.parametrize("layers", [1, 3])
def test_the_estimators_have_as_many_layers_as_asked_for(score: str, layers: int) -> None:
    attack = Ibal(SPEC, Threat(dims=3), K=3, layers=layers, action_score=score, hidden=16)
    trunks = [module for module in attack.modules() if isinstance(module, Trunk)]
    assert len(trunks) == (2 if score == "lagged" else 1)
    assert all(len(trunk.later) == layers - 1 for trunk in trunks)
