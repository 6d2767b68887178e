"""Laws of IBAL's masks and rewrites (ALGORITHMS 2.2 to 2.6; T8 of 2.9)."""

from __future__ import annotations

import itertools
import logging
from dataclasses import replace

import pytest
import torch
from attacking import generator, play_step, random_view, warm_ibal
from hypothesis import given, settings
from hypothesis import strategies as st
from playing import make_spec, random_batch
from torch import Tensor

from ibal_lightning.attack import Threat
from ibal_lightning.attacks.ibal.attack import Ibal
from ibal_lightning.attacks.ibal.groups import draw_groups, opponents
from ibal_lightning.attacks.ibal.mask import aggregate
from ibal_lightning.estimators.transitions import Context
from ibal_lightning.functional.mutual_information import uniform_legal
from ibal_lightning.functional.projection import project_actions
from ibal_lightning.types import VictimView

SPEC = make_spec(6, 5, 8, 7)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 100_000), st.booleans(), st.sampled_from(["raw", "halflog"]), st.sampled_from(["gaussian", "hurdle"])
)
def test_masks_keep_to_l_dims_of_the_living_in_attacked_games(
    seed: int, symmetric: bool, transform: str, head: str
) -> None:
    options = {"symmetric": symmetric, "score_transform": transform, "observation_head": head}
    attack = warm_ibal(K=3, coupling="joint", **options)
    g = generator(seed)
    attack.reset(16, g)
    for step in range(3):
        view = random_view(SPEC, 16, seed + step, step)
        seen = attack.perturb_obs(view, g)
        changed = seen != view.obs
        assert changed.sum(-1).max() <= 3
        assert (seen[changed] == 0).all()
        assert not changed[~view.alive].any()
        assert not changed[~view.running].any()
        assert not changed[attack.group == 0].any()
        if not symmetric:
            assert not changed[attack.group == 2].any()


def test_masked_dims_are_the_top_of_the_aggregated_scores() -> None:
    attack = warm_ibal(K=3, coupling="joint", p_ref="uniform")
    attack.reset(16, generator())
    views = [random_view(SPEC, 16, seed, step) for step, seed in enumerate((3, 4))]
    attack.perturb_obs(views[0], generator())
    seen = attack.perturb_obs(views[1], generator())
    before, now = views
    games = (attack.plan.masks & now.running).nonzero()[:, 0]
    context = Context(before.state, before.obs, now.last_actions_taken, before.alive, torch.zeros(16))
    score = attack.mask.model.score(context, uniform_legal(before.avail_actions), transform="raw")
    value = aggregate(score, opponents(attack.group, True)) * now.alive[..., None]
    for game in games.tolist():
        for agent in range(6):
            order = value[game, agent].argsort(descending=True)[:3]
            expected = now.obs[game, agent].clone()
            expected[order[value[game, agent, order] > 1e-6]] = 0
            assert torch.equal(seen[game, agent], expected)


def test_masked_dims_stand_between_two_looks_at_the_scores() -> None:
    attack = warm_ibal(K=3, coupling="joint", score_every=3)
    attack.reset(64, generator())
    hidden = []
    for step in range(7):
        view = random_view(SPEC, 64, step, step)
        view.alive.fill_(True)
        view.running.fill_(True)
        view.obs.normal_()
        hidden.append(attack.perturb_obs(view, generator()) != view.obs)
    same = [torch.equal(before, after) for before, after in itertools.pairwise(hidden)]
    assert same == [False, True, False, True, True, False]


def test_other_groups_need_no_new_scores() -> None:
    """Scores do not know the groups: one tensor serves every partition."""
    attack = warm_ibal(K=3)
    view = random_view(SPEC, 4, 0)
    context = Context(view.state, view.obs, view.last_actions, view.alive, torch.zeros(4))
    p_ref = uniform_legal(view.avail_actions)
    score = attack.mask.model.score(context, p_ref, transform="raw")
    for seed in range(5):
        group = draw_groups(torch.full((4,), 1 + seed % 3), 6, generator(seed))
        cut = opponents(group, True)
        fresh = attack.mask.model.group_score(context, p_ref, cut)
        torch.testing.assert_close(aggregate(score, cut), fresh, rtol=1e-3, atol=1e-4)


def test_first_step_uses_the_table() -> None:
    attack = warm_ibal(K=3, coupling="joint")
    attack.mask.table.zero_()
    attack.mask.table[:, 5] = 1.0
    attack.reset(16, generator())
    view = random_view(SPEC, 16, 0, step=0)
    changed = attack.perturb_obs(view, generator()) != view.obs
    assert not changed[..., :5].any()
    assert not changed[..., 6:].any()
    struck = (attack.plan.masks & view.running)[:, None] & view.alive
    heard = (attack.cut & view.alive[:, None]).any(-1)
    assert changed[..., 5][struck & heard].all()
    assert not changed[..., 5][struck & ~heard].any()  # the dead tell nothing


def test_without_living_opponents_nothing_is_hidden_whatever_picks_the_dims() -> None:
    for options in ({"score_mode": "table"}, {}):
        attack = warm_ibal(K=3, coupling="joint", **options)
        attack.mask.health.explained.value.fill_(1.0 if options else -1.0)  # or random dims
        attack.reset(16, generator())
        view = random_view(SPEC, 16, 0)
        alone = replace(view, alive=view.alive & (attack.group != 2))
        assert torch.equal(attack.perturb_obs(alone, generator()), view.obs)
        assert not torch.equal(attack.perturb_obs(view, generator()), view.obs)


def test_scores_follow_executed_actions_and_the_policy_not_what_was_meant() -> None:
    attack = warm_ibal(K=3, coupling="joint", score_every=1)
    games, cut = torch.arange(16), torch.rand(16, 6, 6, generator=generator()) < 0.5
    view = random_view(SPEC, 16, 0)

    def scores(before: VictimView = view, **now: Tensor) -> Tensor:
        attack.mask.begin(16, True, generator())
        attack.mask._remember(before)
        return attack.mask._scores(replace(view, **now), games, cut)

    other = random_view(SPEC, 16, 1).last_actions_taken
    assert torch.equal(scores(last_actions=other), scores())
    assert not torch.equal(scores(last_actions_taken=other), scores())
    assert not torch.equal(scores(replace(view, scores=lambda seen: 0 * view.scores(seen))), scores())


def test_only_what_describes_allies_may_be_ruled_maskable() -> None:
    names = ("own: x", *(f"ally {k}: {what}" for k in range(1, 6) for what in ("x", "y")))
    spec = replace(make_spec(6, 5, len(names), 7), obs_names=names)
    for healthy in (1.0, -1.0):  # guided, and the random fall-back
        attack = warm_ibal(spec, Threat(dims=11), K=3, coupling="joint", maskable="ally_features")
        attack.mask.health.explained.value.fill_(healthy)
        attack.reset(16, generator())
        view = random_view(spec, 16, 0)
        changed = attack.perturb_obs(view, generator()) != view.obs
        assert changed[..., 1:].any()
        assert not changed[..., 0].any()
    with pytest.raises(ValueError, match="no dim of this environment is named after an agent"):
        Ibal(SPEC, Threat(dims=3), K=3, maskable="ally_features")
    with pytest.raises(ValueError, match="not with random_step"):
        Ibal(spec, Threat(dims=3), K=3, maskable="ally_features", mask_rule="random_step")
    Ibal(SPEC, Threat(dims=3), K=3, maskable="ally_features", observation=False)  # hides nothing


def test_a_test_time_attack_is_used_after_any_number_of_updates_and_judged_by_its_health() -> None:
    attack = warm_ibal(K=3, coupling="joint")
    attack.options = replace(attack.options, warmup_updates=1000)
    attack.reset(8, generator())
    assert (attack.group == 0).all()  # in training it would wait
    attack.eval().reset(8, generator())
    assert attack.mask.rank is None
    attack.mask.health.explained.value.fill_(float("nan"))
    attack.reset(8, generator())
    assert attack.mask.rank is not None  # nobody has looked


def test_the_rewrite_reads_what_is_true_not_what_is_shown() -> None:
    attack = warm_ibal(K=3, coupling="joint", action_score="lagged", p_floor="1/K").eval()
    view = random_view(SPEC, 64, 0)

    def taken(**changes: Tensor) -> Tensor:
        attack.reset(64, generator())
        return play_step(attack, replace(view, **changes), generator())[2]

    assert torch.equal(taken(obs_seen=torch.zeros_like(view.obs)), taken())
    assert not torch.equal(taken(obs=3 * view.obs.flip(0)), taken())


def test_table_follows_the_scores_of_what_is_learnt_from() -> None:
    attack = warm_ibal(K=3)
    attack.mask.table.zero_()
    attack.updates.zero_()
    attack.loss(random_batch(attack.spec, 8))
    assert (attack.mask.table.diagonal(dim1=0, dim2=2) == 0).all()
    assert (attack.mask.table > 0).float().mean() > 0.7


def test_ill_health_falls_back_to_random_dims_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    attack = warm_ibal(K=3, coupling="joint")
    attack.mask.model.joint.effects.v.data.mul_(50)  # effects that are wrong: worse than the null model
    batch = random_batch(attack.spec, 8)
    with caplog.at_level(logging.WARNING):
        attack.mask.health.explained.value.fill_(float("nan"))
        attack.observe(batch)
        attack.observe(batch)
    assert float(attack.mask.health.explained) < 0
    assert [r for r in caplog.records if "random dims" in r.getMessage()].__len__() == 1
    attack.reset(16, generator())
    view = random_view(SPEC, 16, 0, step=1)
    first = attack.perturb_obs(view, generator())
    assert torch.equal(attack.perturb_obs(view, generator(1)), first)  # fixed for the episode
    heard = (attack.cut & view.alive[:, None]).any(-1)
    struck = (attack.plan.masks & view.running)[:, None] & view.alive & heard
    assert ((first != view.obs).sum(-1)[struck] == 3).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 100_000), st.sampled_from(["lagged", "klx", "kl", "pmi"]), st.booleans())
def test_rewritten_actions_are_legal_and_only_the_living_of_g1_are_struck(seed: int, score: str, test: bool) -> None:
    attack = warm_ibal(K=3, action_score=score, p_floor=0.7)
    attack.train(not test)
    g = generator(seed)
    attack.reset(16, g)
    for step in range(2):
        view = random_view(SPEC, 16, seed + step, step)
        _, actions, taken = play_step(attack, view, g)
        assert torch.equal(project_actions(actions, taken, view.avail_actions, view.alive)[0], taken)
        struck = taken != actions
        assert not struck[attack.group != 1].any()
        assert not struck[~view.alive].any()
        assert not struck[~view.running].any()


@pytest.mark.parametrize("score", ["klx", "kl"])
def test_excluding_the_intended_action_always_changes_it_where_it_can(score: str) -> None:
    attack = warm_ibal(K=3, action_score=score, strength="max").eval()
    attack.reset(64, generator())
    view = random_view(SPEC, 64, 0)
    _, actions, taken = play_step(attack, view, generator())
    struck = (attack.group == 1) & view.alive & view.running[:, None]
    choice = view.avail_actions.sum(-1) > 1
    assert (taken != actions)[struck & choice].all()


def test_action_score_follows_the_persistence_of_overrides() -> None:
    assert warm_ibal(K=1).rewrite.score == "klx"
    assert warm_ibal(K=1, p_floor="1/K").rewrite.score == "lagged"
    assert warm_ibal(K=3).rewrite.score == "klx"
    assert warm_ibal(K=3, trigger="hold").rewrite.score == "lagged"
    assert warm_ibal(K=3, action_score="pmi").rewrite.score == "pmi"
