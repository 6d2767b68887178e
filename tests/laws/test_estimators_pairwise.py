"""Laws of the one-source-at-a-time forms: closed forms, cross-checks, and what they get wrong (ALGORITHMS 2.5, 2.6)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from channels import company, fitted, overlap
from torch import Tensor
from torch.nn import functional as F

from ibal_lightning.estimator import Estimator
from ibal_lightning.estimators.pairwise import CategoricalPosterior, ClubChannel, PolicyIntrinsicKl
from ibal_lightning.estimators.transitions import Transitions
from ibal_lightning.functional.mutual_information import channel_information, gaussian_club, halflog, uniform_legal

Sample = tuple[Tensor, Tensor, Tensor | None]
MEANS, NOISE, P = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.5, 0.2]]), 0.5, torch.tensor([0.5, 0.3, 0.2])


def trained(
    estimator: Estimator, draw: Callable[[torch.Generator], Sample], steps: int = 300, lr: float = 5e-3
) -> None:
    g = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(estimator.parameters(), lr=5e-3)
    for step in range(steps):
        if step == 2 * steps // 3:
            optimizer.param_groups[0]["lr"] /= 10
        optimizer.zero_grad()
        estimator.fit_loss(*draw(g)).backward()
        optimizer.step()


def gaussian_channel(g: torch.Generator, rows: int = 512) -> tuple[Tensor, Tensor]:
    """An action of three and what it does to two dims (T1)."""
    action = torch.multinomial(P, rows, replacement=True, generator=g)
    return F.one_hot(action, 3).float(), MEANS[action] + NOISE * torch.randn(rows, 2, generator=g)


def information(mean: Tensor) -> float:
    """I(action; MEANS + noise) of one dim by a fine sum."""
    y = torch.linspace(-4, 6, 20_001)
    density = torch.distributions.Normal(mean[:, None], NOISE).log_prob(y)
    mixture = torch.logsumexp(density + P.log()[:, None], 0)
    return float((P[:, None] * density.exp() * (density - mixture)).sum() * (y[1] - y[0]))


def test_posterior_and_club_hold_the_truth_between_them() -> None:
    torch.manual_seed(0)
    above, below = ClubChannel(3, 2, hidden=32), CategoricalPosterior(2, 3, hidden=32)
    trained(above, lambda g: (*gaussian_channel(g), None))
    trained(below, lambda g: (*gaussian_channel(g)[::-1], None))
    action, seen = gaussian_channel(torch.Generator().manual_seed(2), 20_000)
    truth, club = information(MEANS[:, 0]), gaussian_club(MEANS, torch.full((2,), NOISE**2), P)
    torch.testing.assert_close(above.per_dim(action), club, rtol=0.12, atol=0.01)
    assert float(above.estimate(action, seen)) == pytest.approx(float(club.sum()), rel=0.12)
    assert float(below.per_dim(seen, action)[0]) == pytest.approx(truth, rel=0.1)
    assert float(below.estimate(seen, action)) == pytest.approx(truth, rel=0.1)
    assert float(below.per_dim(seen, action)[1]) < 0.02
    assert float(below.estimate(seen, action)) <= truth + 0.02 <= float(halflog(club[0])) + 0.02


def pair(rows: Transitions, source: int) -> tuple[Tensor, Tensor, Tensor]:
    """x = the source's action, y = what agent 0 sees next, context = what it sees and does now."""
    n_actions = rows.avail_actions.shape[-1]
    action = F.one_hot(rows.now.actions, n_actions).float()
    return action[:, source], rows.next_obs[:, 0], torch.cat([rows.now.obs[:, 0], action[:, 0]], -1)


def test_one_source_at_a_time_credits_company_and_the_joint_model_does_not() -> None:
    """The confounding test: two agents nearly always act alike, each moves one dim of agent 0's view.

    This is why the joint additive model is the default: the per-pair form and the posterior see each of the two in
    both dims.
    """
    model, rows = fitted(company)
    joint = model.score(rows.now, uniform_legal(rows.avail_actions), transform="raw")[:, 0].mean(0)  # (O, source)
    for source, own, other in ((1, 0, 1), (2, 1, 0)):
        torch.manual_seed(0)
        channel, posterior = ClubChannel(2, 2, 4, hidden=32), CategoricalPosterior(2, 2, 4, hidden=32)
        trained(channel, lambda g, source=source: pair(company(256, g), source))
        trained(posterior, lambda g, source=source: posterior_sample(pair(company(256, g), source)))
        x, y, c = pair(rows, source)
        assert joint[other, source] < 0.05 * joint[other, 3 - source]
        assert float(channel.per_dim(x, c)[other]) > 0.3 * float(joint[other, 3 - source])
        assert float(posterior.per_dim(y, x, c)[other]) > 0.05
        assert float(posterior.per_dim(y, x, c)[own]) > 0.05


def posterior_sample(sample: Sample) -> Sample:
    x, y, c = sample
    return y, x, c


def test_given_the_confounder_one_source_alone_is_measured_rightly() -> None:
    """T2 and T3 for the per-pair form: agent 1 is the only source, and the context holds what it acts on."""
    for effect in (0.0, 0.7):
        world = overlap(effect)
        torch.manual_seed(0)
        channel = ClubChannel(2, 1, 3, hidden=32)
        trained(channel, lambda g, world=world: pair(world(512, g), 1), steps=400)
        rows = world(4000, torch.Generator().manual_seed(2))
        p = torch.sigmoid(2 * rows.now.state)
        truth = float((p * (1 - p)).mean()) * effect**2 / 0.25
        assert float(channel.estimate(*pair(rows, 1))) == pytest.approx(truth, rel=0.15, abs=0.02)


def test_channel_information_equals_the_table() -> None:
    joint = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
    joint = joint / joint.sum()
    p = joint.sum(1)
    truth = (joint * (joint / (p[:, None] * joint.sum(0))).log()).sum()
    torch.testing.assert_close(channel_information((joint / p[:, None]).log(), p), truth)


def memories(g: torch.Generator, rows: int = 512) -> tuple[Tensor, Tensor, Tensor]:
    """Actions of two agents that remember a common cue, each choosing on its own, and that memory (T6)."""
    cue = torch.randint(2, (rows, 1), generator=g).float()
    memory = torch.cat([cue + 0.1 * torch.randn(rows, 1, generator=g), torch.randn(rows, 2, generator=g)], -1)
    actions = (torch.rand(rows, 2, generator=g) < torch.where(cue == 1, 0.85, 0.15)).long()
    first, second = F.one_hot(actions, 2).float().unbind(1)
    return first, second, memory


def test_the_literal_action_term_vanishes_given_the_memory() -> None:
    found = []
    for remembers in (True, False):

        def draw(g: torch.Generator, rows: int = 512, remembers: bool = remembers) -> Sample:
            first, second, memory = memories(g, rows)
            return first, second, memory if remembers else None

        torch.manual_seed(0)
        estimator = PolicyIntrinsicKl(2, 2, 3 if remembers else 0, hidden=16)
        trained(estimator, draw)
        found.append(float(estimator.estimate(*draw(torch.Generator().manual_seed(2), 20_000))))
    both, one = 0.5 * (0.85**2 + 0.15**2), 0.85 * 0.15
    table = torch.tensor([[both, one], [one, both]])
    truth = float((table * (table / 0.25).log()).sum())
    assert found[0] < 0.01
    assert found[1] == pytest.approx(truth, rel=0.1)
    assert truth > 0.05
