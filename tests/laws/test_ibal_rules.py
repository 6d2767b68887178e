"""Laws of IBAL's variants: how dims are chosen, how they are disturbed, what replaces actions (ALGORITHMS 2.6)."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from attacking import generator, intended, random_view, warm_ibal
from playing import make_spec

from ibal_lightning.attack import Threat
from ibal_lightning.attacks.ibal.ablations import IbalFgsm, IbalGaussian
from ibal_lightning.attacks.ibal.attack import Ibal
from ibal_lightning.attacks.ibal.groups import Plan
from ibal_lightning.attacks.ibal.mask import aggregate
from ibal_lightning.estimators.transitions import Context
from ibal_lightning.functional.mutual_information import uniform_legal
from ibal_lightning.types import VictimView

NAMES = ("ally 1: x", "ally 1: y", "ally 2: x", "ally 3: x", "ally 4: x", "ally 5: x", "own: x", "own: y")
SPEC = dataclasses.replace(
    make_spec(6, 5, 8, 7), obs_names=NAMES, action_names=("no-op", "stop", "move west", "hit", "heal"), inert_action=1
)
GAMES = 64


def alive_view(step: int) -> VictimView:
    """A moment at which every game runs."""
    view = random_view(SPEC, GAMES, step, step)
    view.running.fill_(True)
    return view


def hidden_dims(attack: Ibal, steps: int) -> list[torch.Tensor]:
    """(B, N, O) changed dims of a few steps, the living of which nobody dies."""
    view = alive_view(1)
    views = [dataclasses.replace(view, step=step) for step in range(steps)]
    g = generator(5)
    return [attack.perturb_obs(view, g) != view.obs for view in views]


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("rule", ["guided", "bottom", "random_episode", "random_step", "opposite"])
def test_every_rule_hides_l_dims_of_those_it_may_strike(rule: str, symmetric: bool) -> None:
    attack = warm_ibal(SPEC, K=3, mask_rule=rule, symmetric=symmetric, strength="max").eval()
    attack.reset(GAMES, generator())
    view = alive_view(1)
    for hidden in hidden_dims(attack, 3):
        struck = view.alive & ((attack.group > 0) if symmetric else (attack.group == 1))
        assert (hidden.sum(-1)[struck] <= 3).all()
        assert (hidden.sum(-1)[struck] == 3).float().mean() > 0.9
        assert not hidden[~struck].any()


def test_random_dims_stand_for_the_episode_or_change_each_step() -> None:
    for rule, stands in (("random_episode", True), ("random_step", False)):
        attack = warm_ibal(SPEC, K=3, mask_rule=rule, strength="max").eval()
        attack.reset(GAMES, generator())
        first, second = hidden_dims(attack, 2)
        assert torch.equal(first, second) == stands
        if stands:
            attack.reset(GAMES, generator(9))
            assert not torch.equal(hidden_dims(attack, 1)[0], first)


def test_random_dims_fall_evenly_on_all_dims() -> None:
    attack = warm_ibal(SPEC, K=3, mask_rule="random_step", strength="max").eval()
    attack.reset(GAMES, generator())
    share = torch.stack(hidden_dims(attack, 60))[:, alive_view(1).alive].float().mean((0, 1))
    torch.testing.assert_close(share, torch.full((8,), 3 / 8), rtol=0.05, atol=0)


def test_bottom_is_the_other_end_of_the_scores() -> None:
    options: dict[str, Any] = {"K": 3, "strength": "max", "p_ref": "uniform"}
    attack = warm_ibal(SPEC, mask_rule="bottom", **options).eval()
    attack.reset(GAMES, generator())
    before, now = alive_view(0), alive_view(1)
    attack.perturb_obs(before, generator())
    hidden = attack.perturb_obs(now, generator()) != now.obs
    then = Context(before.state, before.obs, now.last_actions_taken, before.alive, torch.zeros(GAMES))
    score = attack.mask.model.score(then, uniform_legal(before.avail_actions), transform="raw")
    value = aggregate(score, attack.cut)
    scored = (value > 1e-6) & now.alive[..., None]
    lowest = value.masked_fill(~scored, float("inf")).argsort(-1).argsort(-1) < 3
    assert torch.equal(hidden, lowest & scored)


@pytest.mark.parametrize("score_eps", [0.0, 1e-6, 0.5, 3.0])
@pytest.mark.parametrize("rule", ["guided", "bottom"])
def test_dims_of_no_score_and_no_others_are_left_out(
    rule: str, score_eps: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    attack = warm_ibal(SPEC, K=3, mask_rule=rule, score_eps=score_eps, strength="max").eval()
    value = torch.tensor([0.0, 0.1, 0.4, 0.9, 2.0, 5.0, 30.0, 4e6]).expand(GAMES, 6, 8)
    monkeypatch.setattr(attack.mask, "_value", lambda view, games, cut: value)
    attack.mask.dims = 8
    attack.reset(GAMES, generator())
    view = alive_view(1)
    hidden = attack.mask.choose(view, torch.arange(GAMES), attack.cut, generator())
    assert torch.equal(hidden, (value > score_eps) & view.alive[..., None])


@pytest.mark.parametrize("rule", ["guided", "bottom"])
def test_random_dims_know_no_least_score(rule: str) -> None:
    picked = []
    for score_eps in (0.0, 1e-6, 2.0, 1e9):
        attack = warm_ibal(SPEC, K=3, mask_rule=rule, score_eps=score_eps, strength="max").eval()
        attack.mask.health.explained.value.fill_(-1.0)
        attack.reset(GAMES, generator())
        picked.append(hidden_dims(attack, 1)[0])
    alive = alive_view(1).alive
    assert (picked[0].sum(-1)[alive] == 3).float().mean() > 0.9
    assert all(torch.equal(hidden, picked[0]) for hidden in picked)


@pytest.mark.parametrize("rule", ["random_episode", "opposite"])
def test_blind_rules_need_no_estimator_and_no_warm_up(rule: str) -> None:
    attack = Ibal(SPEC, Threat(dims=3), K=3, mask_rule=rule, action_score="random")
    assert attack.optimizer() is None
    assert attack.warm
    attack.reset(GAMES, generator())
    assert (attack.group > 0).any()
    assert Ibal(SPEC, Threat(dims=3), K=3, mask_rule=rule).optimizer() is not None  # the rewrite's


def test_a_one_sided_fallback_spares_g2() -> None:
    attack = warm_ibal(SPEC, K=3, symmetric=False, strength="max").eval()
    attack.mask.health.explained.value.fill_(-1.0)
    attack.reset(GAMES, generator())
    hidden = hidden_dims(attack, 1)[0]
    assert hidden[attack.group == 1].any()
    assert not hidden[attack.group == 2].any()


@pytest.mark.parametrize("rule", ["random", "inert", "min_q", "move west"])
def test_action_rules_strike_as_often_as_the_rewrite_would(rule: str) -> None:
    attack = Ibal(SPEC, Threat(dims=3), K=3, observation=False, action_score=rule, coupling="joint", p_floor=0.5)
    assert attack.optimizer() is None
    g = generator()
    attack.reset(GAMES, g)
    view = alive_view(1)
    actions = intended(view)
    struck = []
    for step in range(200):
        taken = attack.perturb_actions(dataclasses.replace(view, step=step), actions, g)
        assert view.avail_actions.gather(-1, taken[..., None]).all()
        changed = taken != actions
        assert not changed[(attack.group != 1) | ~view.alive].any()
        if rule in ("inert", "move west"):
            assert (taken[changed] == SPEC.action_names.index("stop" if rule == "inert" else rule)).all()
        elif rule == "min_q":
            worst = (-view.scores(view.obs)).masked_fill(~view.avail_actions, -torch.inf).argmax(-1)
            assert torch.equal(taken[changed], worst[changed])
        struck.append(changed.any(1))
    rate = torch.stack(struck).float().mean(0)
    assert float(rate[rate > 0].mean()) == pytest.approx(0.8 * 0.5 if rule == "random" else 0.5, abs=0.12)


@pytest.mark.parametrize("kind", [IbalGaussian, IbalFgsm])
@pytest.mark.parametrize("rule", ["guided", "random_episode"])
def test_disturbed_dims_are_those_the_rule_chose(kind: type[Ibal], rule: str) -> None:
    torch.manual_seed(0)
    attack = kind(SPEC, Threat(dims=3, epsilon=0.2), K=3, strength="max", mask_rule=rule, warmup_updates=0).eval()
    if attack.guided is not None:
        attack.guided.table.uniform_(0.5, 1)
    attack.reset(GAMES, generator())
    view = alive_view(0)
    change = (attack.perturb_obs(view, generator()) - view.obs).abs()
    assert float(change.max()) <= 0.2 + 1e-6
    assert ((change > 0).sum(-1) <= 3).all()
    assert (change > 0).sum(-1)[view.alive].float().mean() > 2.5
    assert not (change > 0)[~view.alive].any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask_rule": "opposit"}, "did you mean 'opposite'"),
        ({"action_score": "min_Q"}, "did you mean 'min_q'"),
        ({"action_score": "move_west"}, "did you mean 'move west'"),
    ],
)
def test_mistyped_rules_name_the_nearest(options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Ibal(SPEC, Threat(dims=3), **options)


def test_the_opposite_rule_wants_names() -> None:
    with pytest.raises(ValueError, match="name allies"):
        Ibal(make_spec(6, 5, 8, 7), Threat(dims=3), mask_rule="opposite")


def test_masks_and_overrides_each_follow_their_own_plan() -> None:
    attack = warm_ibal(SPEC, Threat(dims=3), coupling="independent")
    attack.reset(GAMES, generator())
    masked = torch.arange(GAMES) < GAMES // 2
    group = torch.tensor([1, 2, 2, 2, 2, 2], dtype=torch.int8).expand(GAMES, -1).clone()
    attack.plan = Plan(group=group, p_act=torch.ones(GAMES), masks=masked, overrides=~masked)
    attack.cut = attack.plan.group[:, :, None] != attack.plan.group[:, None, :]
    view, g = alive_view(1), generator(1)
    changed = (attack.perturb_obs(view, g) != view.obs).flatten(1).any(1)
    actions = intended(view)
    replaced = (attack.perturb_actions(view, actions, g) != actions).any(1)
    assert changed[masked].any()
    assert not changed[~masked].any()
    assert replaced[~masked].any()
    assert not replaced[masked].any()


def test_hidden_dims_read_what_the_environment_calls_nothing() -> None:
    spec = dataclasses.replace(SPEC, null_obs=torch.full((8,), -3.0))
    attack = warm_ibal(spec, Threat(dims=3, fill="null"))
    attack.reset(GAMES, generator())
    view = alive_view(1)
    seen = attack.perturb_obs(view, generator(1))
    changed = seen != view.obs
    assert changed.any()
    assert (seen[changed] == -3.0).all()
