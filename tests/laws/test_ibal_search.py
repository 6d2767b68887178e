"""Laws of the search for G1's joint action (ALGORITHMS 2.6)."""

from __future__ import annotations

import itertools
import logging

import pytest
import torch
from attacking import generator, intended, random_view, warm_ibal
from hypothesis import given, settings
from hypothesis import strategies as st
from playing import make_spec
from torch import Tensor

from ibal_lightning.attacks.ibal import rewrite as rewrite_module
from ibal_lightning.attacks.ibal.groups import draw_groups
from ibal_lightning.attacks.ibal.rewrite import ActionRewrite
from ibal_lightning.attacks.ibal.search import SEARCHES, JointCost, coordinate_descent, enumerate_joint, joint_actions
from ibal_lightning.attacks.ibal.whatif import WhatIf
from ibal_lightning.estimators.transitions import Context

SPEC = make_spec(6, 5, 8, 7)
MOMENTS, AGENTS, ACTIONS = 7, 4, 5
SCORES = ("lagged", "klx", "kl", "pmi")


def problem(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Start (M, N), candidates (M, N, A) and members (M, N); some moments have no member at all."""
    g = generator(seed)
    candidates = torch.rand(MOMENTS, AGENTS, ACTIONS, generator=g) < 0.5
    candidates.scatter_(-1, torch.randint(ACTIONS, (MOMENTS, AGENTS, 1), generator=g), True)
    start = torch.multinomial(candidates.flatten(0, 1).float(), 1, generator=g).view(MOMENTS, AGENTS)
    return start, candidates, torch.rand(MOMENTS, AGENTS, generator=g) < 0.6


def table_cost(table: Tensor) -> JointCost:
    """Costs from a table (M, A, A, A, A)."""
    return lambda m, actions: table[(m, *actions.unbind(1))]


def brute_force(table: Tensor, start: Tensor, candidates: Tensor, members: Tensor) -> Tensor:
    """The first joint action of least cost, in the order of agents and actions."""
    best = []
    for m in range(MOMENTS):
        options = [
            candidates[m, i].nonzero()[:, 0].tolist() if members[m, i] else [int(start[m, i])] for i in range(AGENTS)
        ]
        best.append(min(itertools.product(*options), key=lambda u, m=m: float(table[(m, *u)])))
    return torch.tensor(best)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 100_000), st.booleans())
def test_enumeration_is_brute_force(seed: int, ties: bool) -> None:
    start, candidates, members = problem(seed)
    table = torch.rand(MOMENTS, *[ACTIONS] * AGENTS, generator=generator(seed + 1))
    table = (4 * table).round() if ties else table
    found = enumerate_joint(table_cost(table), start, candidates, members)
    assert torch.equal(found, brute_force(table, start, candidates, members))
    assert torch.equal(joint_actions(candidates, members), joint_counts(candidates, members))


def joint_counts(candidates: Tensor, members: Tensor) -> Tensor:
    """Products by hand."""
    counts = [[int(candidates[m, i].sum()) for i in range(AGENTS) if members[m, i]] for m in range(MOMENTS)]
    return torch.tensor([float(torch.tensor(c).prod()) if c else 1.0 for c in counts], dtype=torch.float64)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 100_000))
def test_coordinate_descent_never_loses_and_ends_where_no_member_gains(seed: int) -> None:
    start, candidates, members = problem(seed)
    table = torch.rand(MOMENTS, *[ACTIONS] * AGENTS, generator=generator(seed + 1))
    cost, rows = table_cost(table), torch.arange(MOMENTS)
    values = [cost(rows, coordinate_descent(cost, start, candidates, members, sweeps)) for sweeps in (0, 1, 2, 3, 9)]
    assert torch.equal(values[0], cost(rows, start))
    assert all((after <= before).all() for before, after in itertools.pairwise(values))
    best = cost(rows, enumerate_joint(cost, start, candidates, members))
    assert (values[-1] >= best).all()
    end = coordinate_descent(cost, start, candidates, members, 9)
    assert torch.equal(end[~members], start[~members])
    assert torch.equal(coordinate_descent(cost, end, candidates, members, 1), end)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 100_000))
def test_additive_costs_need_no_joint_search(seed: int) -> None:
    start, candidates, members = problem(seed)
    each = torch.randint(9, (MOMENTS, AGENTS, ACTIONS), generator=generator(seed + 1)).float()  # ties included

    def cost(m: Tensor, actions: Tensor) -> Tensor:
        return each[m].gather(-1, actions[..., None])[..., 0].sum(-1)

    independent = torch.where(members, each.masked_fill(~candidates, torch.inf).argmin(-1), start)
    assert torch.equal(enumerate_joint(cost, start, candidates, members), independent)
    assert torch.equal(coordinate_descent(cost, start, candidates, members, 1), independent)


def moments(seed: int, size: int) -> tuple[Context, Tensor, Tensor]:
    """Intended actions of 32 moments with k = size, groups and legal actions."""
    view = random_view(SPEC, 32, seed)
    now = Context(view.state, view.obs, intended(view, seed), view.alive, torch.full((32,), 0.3))
    return now, draw_groups(torch.full((32,), size), 6, generator(seed)), view.avail_actions


def fitted(score: str, search: str = "independent", **options: object) -> ActionRewrite:
    """A rewrite whose model has effects."""
    rewrite = warm_ibal(SPEC, K=3, action_score=score, search=search, **options).rewrite
    assert rewrite is not None
    for name, parameter in rewrite.model.named_parameters():
        if name.endswith(("token", "effects.v")):
            torch.nn.init.normal_(parameter, generator=generator(1))
    return rewrite


def joint_value(rewrite: ActionRewrite, now: Context, group: Tensor, avail: Tensor, actions: Tensor) -> Tensor:
    """(M,) joint cost of joint actions (M, N)."""
    with torch.no_grad():
        return rewrite._what_if(now, group, avail).joint()(torch.arange(len(actions)), actions)


@pytest.mark.parametrize("score", SCORES)
def test_a_single_member_is_searched_alike(score: str) -> None:
    for seed in range(5):
        choices = [
            fitted(score, search).choose(*moments(seed, 1)) for search in ("independent", "coordinate", "enumerate")
        ]
        assert torch.equal(choices[0], choices[1])
        assert torch.equal(choices[0], choices[2])


@pytest.mark.parametrize("score", SCORES)
def test_the_more_thorough_search_finds_the_smaller_cost(score: str) -> None:
    case, rewrite, values = moments(3, 3), fitted(score), []
    for rewrite.search in SEARCHES:
        values.append(joint_value(rewrite, *case, rewrite.choose(*case)))
    assert all((after <= before + 1e-5).all() for before, after in itertools.pairwise(values))
    assert (values[2] < values[0] - 1e-4).any()  # the members' costs do not simply add up


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("search", ["coordinate", "enumerate"])
def test_joint_choices_are_legal_and_keep_to_the_candidates(score: str, search: str) -> None:
    rewrite = fitted(score, search, exclude_intended=True)
    now, group, avail = moments(5, 3)
    taken = rewrite.choose(now, group, avail)
    struck = (group == 1) & now.alive
    assert avail.gather(-1, taken[..., None]).all()
    assert torch.equal(taken[~struck], now.actions[~struck])
    assert (taken != now.actions)[struck & (avail.sum(-1) > 1)].all()


def test_too_many_joint_actions_fall_back_to_coordinate_descent_and_say_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    case = moments(5, 3)
    rewrite, coordinate, exact = (fitted("klx", search) for search in ("enumerate", "coordinate", "enumerate"))
    monkeypatch.setattr(rewrite_module, "LIMIT", 6)
    with caplog.at_level(logging.WARNING):
        taken = rewrite.choose(*case)
        rewrite.choose(*case)
    assert [record.getMessage() for record in caplog.records] == [
        "attack.search=enumerate: some moments have more than 6 joint actions; these are searched by coordinate descent"
    ]
    what_if: WhatIf = rewrite._what_if(*case)
    many = joint_actions(rewrite._candidates(what_if), what_if.members) > 6
    assert many.any()
    assert not many.all()
    assert torch.equal(taken[many], coordinate.choose(*case)[many])
    monkeypatch.undo()
    assert torch.equal(taken[~many], exact.choose(*case)[~many])


def test_the_mixture_of_one_member_is_the_mean_over_its_actions() -> None:
    now, group, avail = moments(2, 1)
    rewrite = fitted("klx")
    with torch.no_grad():
        what_if = rewrite._what_if(now, group, avail)
        mixture, cost = what_if.mixture(), what_if.joint()
        m, i, u = what_if.changes()
        actions = now.actions[m]
        actions[torch.arange(len(m)), i] = u
        torch.testing.assert_close(cost(m, actions), what_if.each()[m, i, u], rtol=1e-4, atol=1e-5)
    present = what_if.members.any(1)
    torch.testing.assert_close(mixture.exp().sum(-1)[present], torch.ones(int(present.sum()), 6))
