"""Laws of the attacks that read the victim or the names of its observations."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from attacking import generator, intended, random_view, warm_ibal
from playing import make_spec
from torch import Tensor

from ibal_lightning.attack import Attack, Threat
from ibal_lightning.attacks.fgsm import Fgsm
from ibal_lightning.attacks.ibal.ablations import IbalFgsm, IbalGaussian
from ibal_lightning.attacks.ibal.attack import Ibal
from ibal_lightning.attacks.ibal.blind import describes
from ibal_lightning.attacks.ibal.groups import opponents
from ibal_lightning.attacks.scripted import Scripted
from ibal_lightning.functional.gradient_sign import gradient_sign
from ibal_lightning.functional.masking import greedy, legal
from ibal_lightning.functional.projection import project_noise

SPEC = make_spec(6, 5, 8, 7)


def loss_at(view, obs: Tensor) -> Tensor:
    """(B, N) cross-entropy of the policy at obs against the clean greedy action."""
    log_p = legal(view.scores(obs), view.avail_actions).log_softmax(-1)
    return -log_p.gather(-1, greedy(view.scores(view.obs), view.avail_actions)[..., None])[..., 0]


@pytest.mark.parametrize("steps", [1, 10])
def test_gradient_sign_hurts_more_than_noise_inside_the_ball(steps: int) -> None:
    view = random_view(SPEC, 200, 0)
    attack = Fgsm(SPEC, Threat(epsilon=0.2), steps=steps)
    seen = attack.perturb_obs(view, generator())
    assert ((seen - view.obs).abs() <= 0.2 + 1e-6).all()
    assert torch.equal(project_noise(view.obs, seen, 0.2), seen)
    assert torch.equal(seen[~view.alive], view.obs[~view.alive])
    noise = view.obs + 0.2 * torch.randn(view.obs.shape, generator=generator()).sign() * view.alive[..., None]
    clean, noisy, hurt = (loss_at(view, obs)[view.alive].mean() for obs in (view.obs, noise, seen))
    assert hurt > noisy + 0.1
    assert hurt > clean + 0.1


def test_gradient_sign_is_the_sign_of_the_gradient() -> None:
    view = random_view(SPEC, 20, 1)
    probe = view.obs.clone().requires_grad_()
    loss_at(view, probe).sum().backward()
    support = torch.rand(view.obs.shape, generator=generator()) < 0.5
    moved = gradient_sign(view.obs, view.scores, view.avail_actions, epsilon=0.1, support=support)
    torch.testing.assert_close(moved, view.obs + 0.1 * probe.grad.sign() * support)


def test_respecting_the_support_leaves_the_invisible_invisible() -> None:
    view = random_view(SPEC, 50, 0)
    view.obs[..., 2:4] = 0.0
    seen = Fgsm(SPEC, Threat(), respect_support=True).perturb_obs(view, generator())
    assert (seen[..., 2:4] == 0).all()
    assert (seen[view.alive] != view.obs[view.alive]).any()


@pytest.mark.parametrize("kind", [IbalGaussian, IbalFgsm])
def test_ablations_disturb_the_very_dims_that_ibal_erases(kind: type) -> None:
    threat = Threat(dims=3, epsilon=0.2)
    erasing = warm_ibal(threat=threat, K=3, coupling="joint")
    other = kind(SPEC, threat, K=3, coupling="joint", warmup_updates=3, hidden=16, rank=2, rows=32)
    other.load_state_dict(erasing.state_dict())
    seen = []
    for attack in (erasing, other):
        attack.reset(32, generator())
        views = [random_view(SPEC, 32, s, s) for s in range(2)]
        attack.perturb_obs(views[0], generator(1))
        seen.append(attack.perturb_obs(views[1], generator(1)))
    erased, disturbed = (each != views[1].obs for each in seen)
    assert disturbed.any()
    assert not (disturbed & ~erased).any()
    assert float((seen[1] - views[1].obs).abs().max()) <= 0.2 + 1e-6


@pytest.mark.parametrize("rule", ["inert", "random", "min_q", "action 3"])
def test_scripted_rules(rule: str) -> None:
    attack = Scripted(SPEC, Threat(), rule=rule, count=2, p=0.7)
    attack.reset(500, generator())
    assert (attack.chosen.sum(1) == 2).all()
    view = random_view(SPEC, 500, 0)
    actions = intended(view)
    taken = attack.perturb_actions(view, actions, generator(1))
    struck = taken != actions
    assert not struck[~attack.chosen].any()
    assert view.avail_actions.gather(-1, taken[..., None]).all()
    free = attack.chosen & view.alive
    if rule == "min_q":
        scores = view.scores(view.obs)
        worst = torch.where(view.avail_actions, scores, float("inf")).argmin(-1)
        assert (taken[struck] == worst[struck]).all()
        meant = float((actions == worst)[free].float().mean())
        assert float((taken == worst)[free].float().mean()) == pytest.approx(0.7 + 0.3 * meant, abs=0.1)
    elif rule != "random":
        assert (taken[struck] == (SPEC.inert_action if rule == "inert" else 3)).all()
    always = Scripted(SPEC, Threat(), rule="action 3", count=6)
    always.reset(500, generator())
    legal_3 = view.avail_actions[..., 3] & view.alive
    assert (always.perturb_actions(view, actions, generator())[legal_3] == 3).all()


def named_spec():
    """Two dims for each of two teammates, one of its own."""
    names = ("ally 1: x", "ally 1: y", "ally 2: x", "ally 2: y", "own: x")
    return dataclasses.replace(make_spec(3, 4, 5, 7), obs_names=names)


def test_names_tell_who_is_described() -> None:
    about = describes(named_spec())
    assert about[0].argmax(-1)[:4].tolist() == [1, 1, 2, 2]
    assert about[1].argmax(-1)[:4].tolist() == [0, 0, 2, 2]
    assert about[2].argmax(-1)[:4].tolist() == [0, 0, 1, 1]
    assert about[:, 4].sum() == 0
    with pytest.raises(ValueError, match="name allies"):
        describes(SPEC)


@pytest.mark.parametrize("dims", [1, 4])
def test_opposite_mask_hides_the_other_group_and_nothing_else(dims: int) -> None:
    spec = named_spec()
    attack = Ibal(spec, Threat(dims=dims), K=1, mask_rule="opposite", action=False, strength="max").eval()
    attack.reset(64, generator())
    view = random_view(spec, 64, 0)
    view.running.fill_(True)
    hidden = attack.perturb_obs(view, generator()) != view.obs
    about = torch.einsum("iod,bid->bio", describes(spec), opponents(attack.group, True).float()) > 0
    assert not (hidden & ~about).any()
    expected = about.sum(-1).clamp(max=dims)
    assert torch.equal(hidden.sum(-1)[view.alive], expected[view.alive])
    assert not hidden[~view.alive].any()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Scripted(SPEC, Threat(), rule="minq"), "did you mean 'min_q'"),
        (lambda: Scripted(SPEC, Threat(), count=7), "attack.count must be between 0 and 6, got 7"),
        (lambda: Fgsm(SPEC, Threat(), steps=0), "attack.steps must be >= 1"),
        (lambda: Ibal(named_spec(), Threat(), K=2, mask_rule="opposite"), "half of the team"),
    ],
)
def test_bad_options_are_refused_by_name(build: Callable[[], Attack], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
