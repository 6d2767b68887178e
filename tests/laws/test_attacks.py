"""Laws of the simple attacks."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from attacking import generator, intended, play_step, random_view
from hypothesis import given, settings
from hypothesis import strategies as st
from playing import make_spec

from ibal_lightning.attack import Threat
from ibal_lightning.attacks.combined import Combined
from ibal_lightning.attacks.disabled import Disabled
from ibal_lightning.attacks.ibal.attack import Ibal
from ibal_lightning.attacks.initial_health import InitialHealth
from ibal_lightning.attacks.random_action import RandomAction
from ibal_lightning.attacks.random_mask import RandomMask
from ibal_lightning.attacks.random_obs import RandomObs
from ibal_lightning.attacks.scripted import Scripted
from ibal_lightning.functional.subsets import random_subset, top_dims

SPEC = make_spec(5, 6, 8, 7)


def test_random_noise_fills_the_ball_and_spares_the_dead() -> None:
    view = random_view(SPEC, 200, 0)
    change = RandomObs(SPEC, Threat(epsilon=0.3)).perturb_obs(view, generator()) - view.obs
    assert change[~view.alive].abs().max() == 0
    alive = change[view.alive]
    assert 0.29 < float(alive.abs().max()) <= 0.3 + 1e-6
    assert float(alive.mean()) == pytest.approx(0, abs=0.01)
    assert float(alive.std()) == pytest.approx(0.3 / 3**0.5, rel=0.02)  # uniform, not Gaussian


@pytest.mark.parametrize("among", ["all", "visible"])
def test_random_mask_hides_l_dims_for_the_episode(among: str) -> None:
    attack = RandomMask(SPEC, Threat(dims=3), among=among)
    attack.reset(50, generator())
    view = random_view(SPEC, 50, 0)
    view.obs[..., 0] = 0.0
    first = attack.perturb_obs(view, generator(1))
    assert torch.equal(attack.perturb_obs(view, generator(2)), first)
    hidden = (first != view.obs).sum(-1)
    assert (first[hidden == 0] == view.obs[hidden == 0]).all()
    assert hidden[~view.alive].max() == 0
    assert hidden.max() == 3
    if among == "visible":
        assert hidden[view.alive].min() == 3
    else:
        assert hidden[view.alive].min() == 2  # dim 0 already read the fill value
    attack.reset(50, generator(3))
    assert not torch.equal(attack.perturb_obs(view, generator(2)), first)


def test_random_mask_redraws_each_step_on_demand() -> None:
    attack = RandomMask(SPEC, Threat(dims=3), redraw="step")
    attack.reset(20, generator())
    view = random_view(SPEC, 20, 0)
    g = generator(1)
    assert not torch.equal(attack.perturb_obs(view, g), attack.perturb_obs(view, g))


def test_random_mask_writes_the_null_value() -> None:
    spec = make_spec(5, 6, 8, 7)
    spec.null_obs.fill_(-1.0)
    attack = RandomMask(spec, Threat(dims=8, fill="null"))
    attack.reset(4, generator())
    view = random_view(spec, 4, 0)
    assert (attack.perturb_obs(view, generator())[view.alive] == -1).all()


def test_random_actions_are_uniform_legal_and_as_frequent_as_asked() -> None:
    view = random_view(SPEC, 4000, 0)
    actions = intended(view)
    attack = RandomAction(SPEC, Threat(), p=0.25)
    attack.reset(4000, generator(5))
    taken = attack.perturb_actions(view, actions, generator())
    assert view.avail_actions.gather(-1, taken[..., None]).all()
    choices = view.avail_actions.sum(-1)
    expected = 0.25 * ((choices - 1) / choices)[view.alive].mean()
    assert float((taken != actions)[view.alive].float().mean()) == pytest.approx(float(expected), rel=0.05)
    assert torch.equal(taken[~view.alive], actions[~view.alive])


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_disabled_agents_stay_inert_for_the_episode(count: int) -> None:
    attack = Disabled(make_inert(), Threat(), count=count)
    attack.reset(3000, generator())
    assert (attack.disabled.sum(1) == count).all()
    torch.testing.assert_close(attack.disabled.float().mean(0), torch.full((5,), count / 5), rtol=0.15, atol=1e-6)
    for step in range(2):
        view = random_view(attack.spec, 3000, step, step)
        actions = intended(view)
        taken = attack.perturb_actions(view, actions, generator())
        hit = attack.disabled & view.alive
        assert (taken[hit] == 1).all()
        assert torch.equal(taken[~hit], actions[~hit])


def make_inert():
    """A game whose inert action is 1, legal for all who live."""
    import dataclasses

    return dataclasses.replace(SPEC, inert_action=1)


def test_initial_health_is_a_condition_of_the_game() -> None:
    assert InitialHealth(SPEC, Threat(), health_loss=0.15).env_options == {"ally_health": 0.85}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Disabled(SPEC, Threat(), count=6), "between 0 and the team's 5 agents, got 6"),
        (lambda: RandomAction(SPEC, Threat(), p=1.5), "attack.p must be between 0 and 1, got 1.5"),
        (lambda: InitialHealth(SPEC, Threat(), health_loss=-0.1), "attack.health_loss must be between"),
        (lambda: RandomMask(SPEC, Threat(), redraw="epsode"), "did you mean 'episode'"),
        (lambda: RandomMask(SPEC, Threat(dims=9)), "asks to mask 9 dims, an observation has 8"),
    ],
)
def test_bad_options_are_refused_by_name(build, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_random_subsets_are_uniform() -> None:
    sizes = torch.full((60_000,), 2)
    subset = random_subset(sizes, 4, generator())
    assert (subset.sum(1) == 2).all()
    codes = (subset.long() * torch.tensor([1, 2, 4, 8])).sum(1)
    counts = torch.bincount(codes, minlength=16)
    assert (counts > 0).sum() == 6
    assert float(counts[counts > 0].min()) / 10_000 > 0.96


@settings(deadline=None)
@given(st.integers(0, 1_000_000), st.integers(0, 6))
def test_top_dims_are_the_best_and_never_below_the_floor(seed: int, count: int) -> None:
    score = torch.randn(3, 4, 6, generator=generator(seed))
    mask = top_dims(score, count, floor=0.2)
    assert (mask.sum(-1) == (score > 0.2).sum(-1).clamp(max=count)).all()
    worst_in = score.masked_fill(~mask, float("inf")).amin(-1)
    best_out = score.masked_fill(mask, float("-inf")).amax(-1)
    assert ((worst_in >= best_out) | (mask.sum(-1) < count)).all()
    assert (score[mask] > 0.2).all()


def test_a_combined_attack_is_the_sum_of_its_parts() -> None:
    attack = Combined(SPEC, Threat(dims=3), observation=RandomMask, action=partial(RandomAction, p=0.5))
    assert attack.obs_surface == "mask"
    assert attack.acts
    attack.reset(50, generator())
    view = random_view(SPEC, 50, 0)
    actions = intended(view)
    assert torch.equal(attack.perturb_obs(view, generator()), attack.observation.perturb_obs(view, generator()))
    taken = attack.perturb_actions(view, actions, generator())
    assert (taken != actions).any()
    alone = RandomAction(SPEC, Threat(), p=0.5)
    alone.reset(50, generator())
    assert torch.equal(taken, alone.perturb_actions(view, actions, generator()))
    assert Combined(SPEC, Threat(), observation=RandomMask, action=InitialHealth).env_options == {"ally_health": 0.85}
    assert not Combined(SPEC, Threat(dims=3), observation=Ibal, action=RandomAction).warm


@pytest.mark.parametrize(
    ("action", "struck"), [(Disabled, "disabled"), (partial(Scripted, rule="random", count=2), "chosen")]
)
def test_masks_leave_the_choice_of_agents_as_it_is(action, struck: str) -> None:
    alone, combined = action(SPEC, Threat()), Combined(SPEC, Threat(dims=3), observation=RandomMask, action=action)
    one, other = generator(), generator()
    masks = []
    for _ in range(3):  # rollouts of one evaluation
        alone.reset(50, one)
        combined.reset(50, other)
        assert torch.equal(getattr(combined.action, struck), getattr(alone, struck))
        masks.append(combined.observation.rank.clone())
    assert not torch.equal(masks[0], masks[1])


@pytest.mark.parametrize("action", [partial(RandomAction, p=0.3), partial(Scripted, rule="random", count=2, p=0.5)])
def test_masks_leave_the_strikes_as_they_are(action) -> None:
    """The same agents at the same steps with the same actions, also after games that masks made shorter."""
    masked = partial(RandomMask, redraw="step")
    alone, combined = action(SPEC, Threat()), Combined(SPEC, Threat(dims=3), observation=masked, action=action)
    one, other = generator(), generator()
    for lengths in ((4, 2), (3, 3)):
        views = [random_view(SPEC, 50, step, step) for step in range(max(lengths))]
        alone.reset(50, one)
        combined.reset(50, other)
        taken = [alone.perturb_actions(view, intended(view), one) for view in views[: lengths[0]]]
        with_masks = [play_step(combined, view, other)[2] for view in views[: lengths[1]]]
        assert all(map(torch.equal, with_masks, taken))
        assert any((did != intended(view)).any() for did, view in zip(taken, views, strict=False))


def test_masks_beside_a_condition_are_drawn_anew() -> None:
    attack = Combined(SPEC, Threat(dims=3), observation=RandomMask, action=InitialHealth)
    g, masks = generator(), []
    for _ in range(2):
        attack.reset(50, g)
        masks.append(attack.observation.rank.clone())
    assert not torch.equal(masks[0], masks[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dims": 1.5}, "threat.dims must be a share below 1 or a whole number of dims, got 1.5"),
        ({"dims": math.nan}, "threat.dims must be a finite number >= 0, got nan"),
        ({"dims": math.inf}, "threat.dims must be a finite number >= 0, got inf"),
        ({"epsilon": math.nan}, "threat.epsilon must be a finite number >= 0, got nan"),
        ({"epsilon": math.inf}, "threat.epsilon must be a finite number >= 0, got inf"),
        ({"epsilon": -0.1}, "threat.epsilon must be a finite number >= 0, got -0.1"),
    ],
)
def test_a_threat_of_no_number_is_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Threat(**options)  # type: ignore[arg-type]
    assert Threat(dims=2.0).max_dims(SPEC) == 2


def test_the_action_part_of_a_combined_attack_may_not_learn() -> None:
    with pytest.raises(ValueError, match="Ibal does"):
        Combined(SPEC, Threat(), observation=RandomMask, action=Ibal)
