"""Laws of the Bernoulli and hurdle heads: exact sums over actions, quadrature, typed dims (T1 of ALGORITHMS 2.9)."""

from __future__ import annotations

import pytest
import torch
from channels import fitted, transitions, world_spec
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Bernoulli, Normal, kl_divergence

from ibal_lightning.estimators.hurdle import CERTAIN, DimTypes, HurdleModel
from ibal_lightning.estimators.observation_model import LOG_VARIANCE
from ibal_lightning.estimators.transitions import Transitions
from ibal_lightning.functional.mutual_information import (
    bernoulli_club,
    bernoulli_information,
    gaussian_club,
    halflog,
    hurdle_club,
    hurdle_information,
    uniform_legal,
)

Channel = tuple[Tensor, Tensor, Tensor, Tensor]
seeds = st.integers(0, 10_000)


def random_channel(seed: int) -> Channel:
    """Logits and means (A, 3) for each of A inputs, variance (3,), distribution of the input (A,), in doubles."""
    g = torch.Generator().manual_seed(seed)
    n = 2 + seed % 6
    p = torch.rand(n, generator=g).double() + 0.02
    logits, means = (2 * torch.randn(2, n, 3, generator=g)).double()
    return logits, means, torch.rand(3, generator=g).double() + 0.05, p / p.sum()


def every_pair(logits: Tensor) -> tuple[Bernoulli, Bernoulli]:
    """(A, A, D) coins of the first and of the second input."""
    shape = (len(logits), *logits.shape)
    return Bernoulli(logits=logits[:, None].expand(shape)), Bernoulli(logits=logits.expand(shape))


def pairwise(kl: Tensor, p: Tensor) -> Tensor:
    """(D,) sum_bc p_b p_c KL_bc of kl (A, A, D)."""
    return torch.einsum("b,c,bcd->d", p, p, kl)


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_bernoulli_club_is_the_mean_divergence_of_all_pairs(seed: int) -> None:
    logits, _, _, p = random_channel(seed)
    every = Bernoulli(logits=logits)
    exact = pairwise(kl_divergence(*every_pair(logits)), p)
    torch.testing.assert_close(bernoulli_club(logits, p), exact)
    mean = Bernoulli(probs=(p[:, None] * every.probs).sum(0).expand_as(logits))
    truth = (p[:, None] * kl_divergence(every, mean)).sum(0)
    torch.testing.assert_close(bernoulli_information(logits, p), truth)
    assert (truth <= exact + 1e-12).all()


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_hurdle_club_is_the_mean_divergence_of_all_pairs(seed: int) -> None:
    logits, means, variance, p = random_channel(seed)
    event = kl_divergence(*every_pair(logits))
    value = (means[:, None] - means[None]).square() / (2 * variance)
    exact = pairwise(event + logits.sigmoid()[:, None] * value, p)
    torch.testing.assert_close(hurdle_club(logits, means, variance, p), exact)


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_hurdle_information_lies_between_the_truth_and_club(seed: int) -> None:
    """The truth by quadrature: an atom at zero and a density elsewhere."""
    logits, means, variance, p = random_channel(seed)
    y = torch.linspace(-20, 20, 20_001, dtype=torch.float64)
    for d in range(3):
        share = logits[:, d].sigmoid()
        density = share[:, None] * Normal(means[:, d, None], variance[d].sqrt()).log_prob(y).exp()
        mixture = (p[:, None] * density).sum(0)
        ratio = (density.clamp(min=1e-300) / mixture.clamp(min=1e-300)).log()
        atom = (p * (1 - share) * ((1 - share) / (p * (1 - share)).sum()).log()).sum()
        truth = (p[:, None] * density * ratio).sum() * (y[1] - y[0]) + atom
        tight = hurdle_information(logits, means, variance, p)[d]
        assert truth <= tight + 1e-4
        assert tight <= hurdle_club(logits, means, variance, p)[d] + 1e-9


def test_without_a_hurdle_the_gaussian_is_left() -> None:
    _, means, variance, p = random_channel(5)
    sure = torch.full_like(means, CERTAIN)
    torch.testing.assert_close(hurdle_club(sure, means, variance, p), gaussian_club(means, variance, p))
    tight = hurdle_information(sure, means, variance, p)
    torch.testing.assert_close(tight, halflog(gaussian_club(means, variance, p)), atol=1e-9, rtol=1e-9)


def test_dims_are_typed_by_what_was_seen() -> None:
    types, g = DimTypes(5), torch.Generator().manual_seed(0)
    flag = (torch.rand(1000, generator=g) < 0.3).float()
    value = torch.randn(1000, generator=g)
    rare = torch.where(torch.rand(1000, generator=g) < 0.02, 0.0, value)
    rows = torch.stack([torch.zeros(1000), flag, value * flag, value, rare], -1)
    for part in rows.split(100):
        types.update(part)
    assert types.hurdle.tolist() == [True, True, True, False, False]
    assert types.binary.tolist() == [True, True, False, False, False]


def sight(rows: int, g: torch.Generator) -> Transitions:
    """Action 1 of agent 1 mostly takes it out of sight of agent 0; in sight, action 2 moves it by one."""
    actions = torch.randint(3, (rows, 2), generator=g)
    share = torch.tensor([0.9, 0.2, 0.9])[actions[:, 1]]
    flag = (torch.rand(rows, generator=g) < share).float()
    value = (2 + 0.5 * torch.randn(rows, generator=g) + (actions[:, 1] == 2)) * flag
    dense = torch.randn(rows, generator=g) + 0.5 * (actions[:, 1] == 2)
    seen = torch.stack([flag, value, dense, torch.zeros(rows)], -1)
    obs = torch.stack(
        [torch.stack([flag, value, dense, torch.zeros(rows)], -1)[torch.randperm(rows, generator=g)]] * 2, 1
    )
    return transitions(torch.zeros(rows, 1), obs, actions, torch.stack([seen, obs[:, 1]], 1), 3)


def test_fitted_scores_equal_the_closed_form() -> None:
    model, rows = fitted(sight, steps=500, head=HurdleModel)
    p = torch.full((3,), 1 / 3)
    logits = torch.tensor([0.9, 0.2, 0.9]).logit()[:, None]
    moved = torch.tensor([[2.0], [2.0], [3.0]])
    truth = {
        0: bernoulli_club(logits, p),
        1: hurdle_club(logits, moved, torch.tensor([0.25]), p),
        2: gaussian_club(0.5 * (moved - 2), torch.tensor([1.0]), p),
    }
    score = model.score(rows.now, uniform_legal(rows.avail_actions), transform="raw")[:, 0, :, 1].mean(0)
    for dim, value in truth.items():
        assert float(score[dim]) == pytest.approx(float(value), rel=0.12)
    assert score[3] == 0
    tight = model.score(rows.now, uniform_legal(rows.avail_actions))[:, 0, :, 1].mean(0)
    assert float(tight[0]) == pytest.approx(float(bernoulli_information(logits, p)), rel=0.12)
    assert float(model.explained(rows)) > 0.15


def test_sure_coins_tell_nothing_and_stay_finite() -> None:
    """A mean of ones may exceed one by a rounding."""
    p = torch.full((7,), 1 / 7) * (1 + 1e-6)
    assert bernoulli_information(torch.full((7, 2), 40.0), p).abs().max() == 0


@pytest.fixture(scope="module")
def random_hurdle() -> tuple[HurdleModel, Transitions]:
    """A model with effects in every pair, and rows of all types of dims in which somebody is dead."""
    rows = sight(40, torch.Generator().manual_seed(6))
    torch.manual_seed(0)
    model = HurdleModel(world_spec(rows), hidden=16, rank=2)
    model.update_moments(rows.now)
    torch.nn.init.normal_(model.joint.effects.v)
    rows.now.alive[:10, 1] = False
    return model, rows


def test_scores_equal_enumeration_of_what_ifs(random_hurdle: tuple[HurdleModel, Transitions]) -> None:
    model, rows = random_hurdle
    p_ref = torch.rand(40, 2, 3, generator=torch.Generator().manual_seed(7))
    p_ref = p_ref / p_ref.sum(-1, keepdim=True)
    features = model.joint.trunk(rows.now)
    predicted = []
    for b in range(3):
        actions = rows.now.actions.clone()
        actions[:, 1] = b
        effects = model.joint.effects(model.joint.gates(features), actions, rows.now.alive)
        predicted.append((model._base(features, model._encode(rows.now.obs)) + effects)[:, 0])
    means, logits = torch.stack(predicted, 1).chunk(2, -1)
    variance = model.log_variance(features)[:, 0].clamp(*LOG_VARIANCE).exp()
    event, value = bernoulli_club(logits, p_ref[:, 1]), hurdle_club(logits, means, variance, p_ref[:, 1])
    dense = gaussian_club(means, variance, p_ref[:, 1])
    expected = torch.stack([event[:, 0], value[:, 1], dense[:, 2], torch.zeros(40)], -1)
    expected[:10] = 0
    score = model.score(rows.now, p_ref, transform="raw")
    torch.testing.assert_close(score[:, 0, :, 1], expected, rtol=1e-3, atol=1e-4)
    assert score.diagonal(dim1=1, dim2=3).abs().max() == 0


def test_group_score_is_the_sum_of_the_sources(random_hurdle: tuple[HurdleModel, Transitions]) -> None:
    model, rows = random_hurdle
    cut = torch.rand(40, 2, 2, generator=torch.Generator().manual_seed(8)) < 0.7
    p_ref = uniform_legal(rows.avail_actions)
    summed = torch.einsum("biod,bid->bio", model.score(rows.now, p_ref, transform="raw"), cut.float())
    torch.testing.assert_close(model.group_score(rows.now, p_ref, cut), summed, rtol=1e-4, atol=1e-5)
