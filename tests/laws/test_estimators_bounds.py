"""Laws of mutual-information estimates against closed forms and quadrature (ALGORITHMS 2.9: T1, T2, T4, T10)."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ibal_lightning.estimator import Estimator
from ibal_lightning.estimators.bounds import InfoNce, Mine, Nwj, Smile
from ibal_lightning.estimators.club import ClubCategorical, ClubGaussian
from ibal_lightning.estimators.kl import CategoricalKl
from ibal_lightning.functional.mutual_information import (
    categorical_kl,
    entropy,
    gaussian_club,
    halflog,
    reference_policy,
)

LOWER = (InfoNce, Nwj, Mine)


def quadrature(means: Tensor, noise: float, p: Tensor) -> float:
    """I(b; y) of y ~ N(means_b, noise^2), b ~ p, by a fine sum in double precision."""
    y = torch.linspace(float(means.min()) - 10 * noise, float(means.max()) + 10 * noise, 40_001, dtype=torch.float64)
    density = torch.distributions.Normal(means.double()[:, None], noise).log_prob(y)
    mixture = torch.logsumexp(density + p.double().log()[:, None], 0)
    return float((p.double()[:, None] * density.exp() * (density - mixture)).sum() * (y[1] - y[0]))


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 8), st.sampled_from([0.3, 0.5, 1.0, 2.0]), st.integers(0, 10_000))
def test_gaussian_club_and_halflog_are_upper_bounds(n_inputs: int, noise: float, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    means = 2 * torch.randn(n_inputs, generator=g)
    p = torch.rand(n_inputs, generator=g) + 0.05
    p = p / p.sum()
    club = gaussian_club(means[:, None], torch.tensor([noise**2]), p)[0]
    pairwise = sum(
        p[b] * p[c] * (means[b] - means[c]) ** 2 / (2 * noise**2) for b in range(n_inputs) for c in range(n_inputs)
    )
    truth = quadrature(means, noise, p)
    assert float(club) == pytest.approx(float(pairwise), rel=1e-3)  # the mean KL of all pairs of inputs
    assert truth <= float(entropy(p)) + 1e-6
    assert truth <= float(halflog(club)) + 1e-4
    assert float(halflog(club)) <= float(club) + 1e-6


def test_gaussian_club_is_zero_exactly_where_means_agree() -> None:
    means = torch.tensor([[1.0, 2.0], [1.0, -2.0]])
    club = gaussian_club(means, torch.ones(2), torch.tensor([0.3, 0.7]))
    assert club[0] == 0
    assert float(club[1]) == pytest.approx(0.21 * 16, rel=1e-5)


def test_categorical_kl_ignores_the_impossible() -> None:
    sure, mixture = torch.tensor([1.0, 0.0]).log(), torch.tensor([0.75, 0.25]).log()
    torch.testing.assert_close(categorical_kl(sure, mixture), torch.tensor(math.log(1 / 0.75)))
    assert float(categorical_kl(sure, sure)) == 0
    assert float(categorical_kl(mixture, sure)) == float("inf")


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(-50, 50), st.floats(0.1, 100))
def test_reference_policy_does_not_see_scale_and_offset(seed: int, offset: float, scale: float) -> None:
    g = torch.Generator().manual_seed(seed)
    scores = torch.randn(4, 6, generator=g)
    avail = torch.rand(4, 6, generator=g) < 0.6
    avail[:, 0] = True
    p = reference_policy(scores, avail, uniform_share=0.2, temperature=0.5)
    q = reference_policy(scale * scores + offset, avail, uniform_share=0.2, temperature=0.5)
    torch.testing.assert_close(p, q, rtol=2e-2, atol=2e-3)
    torch.testing.assert_close(p.sum(-1), torch.ones(4))
    assert (p[~avail] == 0).all()
    assert (p[avail] >= 0.2 / 6 - 1e-6).all()


def test_the_reference_of_logits_is_the_policy_itself() -> None:
    scores, avail = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)), torch.ones(4, 6, dtype=torch.bool)
    avail[:, 2] = False
    policy = scores.masked_fill(~avail, float("-inf")).softmax(-1)
    p = reference_policy(scores, avail, uniform_share=0.2, temperature=None)
    torch.testing.assert_close(p, 0.8 * policy + 0.2 * avail / 5)


def gaussians(rho: float, rows: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two unit Gaussians of correlation rho."""
    x, noise = torch.randn(rows, 1, generator=g), torch.randn(rows, 1, generator=g)
    return x, rho * x + math.sqrt(1 - rho**2) * noise


def fitted(estimator: Estimator, rho: float, *, steps: int, batch: int = 64, held_out: int = 800) -> float:
    """The estimate on rows that were not fitted."""
    g = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(estimator.parameters(), lr=2e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        estimator.fit_loss(*gaussians(rho, batch, g)).backward()
        optimizer.step()
    return float(estimator.estimate(*gaussians(rho, held_out, torch.Generator().manual_seed(2))))


@pytest.mark.parametrize("rho", [0.2, 0.5, 0.9])
def test_fitted_club_is_the_closed_form_and_above_the_truth(rho: float) -> None:
    torch.manual_seed(0)
    club = fitted(ClubGaussian(1, 1, hidden=32), rho, steps=500, batch=512, held_out=8000)
    assert club == pytest.approx(rho**2 / (1 - rho**2), rel=0.1, abs=0.007)
    assert club >= -0.5 * math.log(1 - rho**2)


@pytest.mark.parametrize("rho", [0.5, 0.9])
@pytest.mark.parametrize("kind", [InfoNce, Nwj, Mine, Smile])
def test_critics_find_the_truth_from_below(kind: type[Estimator], rho: float) -> None:
    torch.manual_seed(0)
    found, truth = fitted(kind(1, 1, hidden=32), rho, steps=400, held_out=600), -0.5 * math.log(1 - rho**2)
    assert found == pytest.approx(truth, rel=0.15, abs=0.05)
    assert found < rho**2 / (1 - rho**2)  # CLUB's closed form, on the other side of the truth
    if kind.bound == "lower":
        assert found <= truth + 0.06


@pytest.mark.parametrize("kind", [ClubGaussian, *LOWER, Smile])
def test_independent_variables_carry_no_information(kind: type[Estimator]) -> None:
    torch.manual_seed(0)
    assert abs(fitted(kind(1, 1, hidden=16), 0.0, steps=200)) < 0.05


def test_infonce_saturates_at_the_log_of_its_candidates() -> None:
    estimator = InfoNce(1, 1, hidden=32)
    x = torch.linspace(-50, 50, 40)[:, None]
    estimator.critic = torch.nn.Sequential(Closeness())
    assert float(estimator.estimate(x, x)) == pytest.approx(math.log(40), abs=1e-3)


class Closeness(torch.nn.Module):
    """A perfect critic: sure of equal pairs."""

    def forward(self, pair: Tensor) -> Tensor:
        return -100 * (pair[..., :1] - pair[..., 1:]).abs()


def test_a_common_cause_is_no_conditional_information() -> None:
    """Given their cause x and y are independent; only an estimate that is blind to the cause sees something (T2)."""

    def draw(rows: int, g: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        c = torch.randn(rows, 1, generator=g)
        return c + 0.5 * torch.randn(rows, 1, generator=g), c + 0.5 * torch.randn(rows, 1, generator=g), c

    torch.manual_seed(0)
    aware, blind = ClubGaussian(1, 1, 1, hidden=32), ClubGaussian(1, 1, hidden=32)
    optimizer = torch.optim.Adam([*aware.parameters(), *blind.parameters()], lr=3e-3)
    g = torch.Generator().manual_seed(1)
    for _ in range(400):
        x, y, c = draw(256, g)
        optimizer.zero_grad()
        (aware.fit_loss(x, y, c) + blind.fit_loss(x, y)).backward()
        optimizer.step()
    x, y, c = draw(1500, torch.Generator().manual_seed(2))
    assert abs(float(aware.estimate(x, y, c))) < 0.05
    assert float(blind.estimate(x, y)) > 0.5


@pytest.mark.parametrize("kind", [ClubCategorical, CategoricalKl])
def test_discrete_estimates_equal_the_table(kind: type[Estimator]) -> None:
    """y in {0, 1, 2} given x in {0, 1} and a context bit, against the exact values."""
    table = torch.tensor([[[0.8, 0.1, 0.1], [0.2, 0.5, 0.3]], [[0.3, 0.3, 0.4], [0.3, 0.3, 0.4]]])  # context, x, y

    def draw(rows: int, g: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        c, x = (torch.randint(2, (rows,), generator=g) for _ in range(2))
        y = torch.multinomial(table[c, x], 1, generator=g)[:, 0]
        return tuple(torch.nn.functional.one_hot(v, k).float() for v, k in ((x, 2), (y, 3), (c, 2)))

    prior = table.mean(1)
    if kind is ClubCategorical:
        truth = ((table - prior[:, None]) * table.log()).sum(-1).mean()
    else:
        truth = (table * (table.log() - prior[:, None].log())).sum(-1).mean()
    torch.manual_seed(0)
    estimator = kind(2, 3, 2, hidden=16)
    optimizer = torch.optim.Adam(estimator.parameters(), lr=5e-3)
    g = torch.Generator().manual_seed(1)
    for _ in range(400):
        x, y, c = draw(512, g)
        optimizer.zero_grad()
        estimator.fit_loss(x, y, c).backward()
        optimizer.step()
    estimate = float(estimator.estimate(*draw(50_000, torch.Generator().manual_seed(2))))
    assert estimate == pytest.approx(float(truth), rel=0.1)


def test_a_single_row_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 rows"):
        ClubGaussian(1, 1).estimate(torch.zeros(1, 1), torch.zeros(1, 1))


@pytest.mark.slow
@pytest.mark.parametrize("information", [2.0, 4.0, 6.0, 8.0, 10.0])
def test_club_protocol_in_twenty_dimensions(information: float) -> None:
    """The protocol of the CLUB paper: 20 dims, batches of 64; the estimate stands above the truth and grows with it."""
    rho = math.sqrt(1 - math.exp(-2 * information / 20))
    torch.manual_seed(0)
    estimator, g = ClubGaussian(20, 20, hidden=15), torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(estimator.parameters(), lr=5e-3)
    for _ in range(4000):
        x = torch.randn(64, 20, generator=g)
        y = rho * x + math.sqrt(1 - rho**2) * torch.randn(64, 20, generator=g)
        optimizer.zero_grad()
        estimator.fit_loss(x, y).backward()
        optimizer.step()
    x = torch.randn(1000, 20, generator=g)
    y = rho * x + math.sqrt(1 - rho**2) * torch.randn(1000, 20, generator=g)
    assert information * 0.9 < float(estimator.estimate(x, y)) < 20 * rho**2 / (1 - rho**2) * 1.2
