"""Laws of the observation model: it credits the channel of an action, not the company it keeps (ALGORITHMS 2.9)."""

from __future__ import annotations

import math

import pytest
import torch
from channels import company, fitted, overlap, transitions, world_spec
from torch import Tensor
from torch.nn import functional as F

from ibal_lightning.estimators.kl import CategoricalKl
from ibal_lightning.estimators.observation_model import ObservationModel
from ibal_lightning.estimators.transitions import Transitions
from ibal_lightning.functional.mutual_information import uniform_legal


def xor(rows: int, g: torch.Generator) -> Transitions:
    """o'_0 is a random bit, o'_1 the same bit flipped by agent 1: one dim alone tells nothing, both tell all (T7)."""
    actions = torch.randint(2, (rows, 2), generator=g)
    bit = torch.randint(2, (rows,), generator=g)
    seen = torch.stack([bit, bit ^ actions[:, 1]], -1).float()
    next_obs = torch.stack([seen, torch.zeros(rows, 2)], 1)
    return transitions(torch.zeros(rows, 1), torch.zeros(rows, 2, 2), actions, next_obs, 2)


def toggle(rows: int, g: torch.Generator) -> Transitions:
    """Agent 1's action 1 flips dim 2 of what agent 0 sees, the others drift: an effect that depends on what is (T9)."""
    actions = torch.randint(3, (rows, 2), generator=g)
    obs = torch.rand(rows, 2, 5, generator=g)
    obs[:, 0, 2] = obs[:, 0, 2].round()
    following = obs + 0.1 * torch.randn(obs.shape, generator=g)
    following[:, 0, 2] = torch.where(actions[:, 1] == 1, 1 - obs[:, 0, 2], obs[:, 0, 2])
    return transitions(obs[:, 0], obs, actions, following, 3)


def score(model: ObservationModel, rows: Transitions, p_ref: Tensor | None = None, transform: str = "raw") -> Tensor:
    return model.score(rows.now, uniform_legal(rows.avail_actions) if p_ref is None else p_ref, transform=transform)


def test_effect_beside_a_confounder_is_measured_exactly() -> None:
    model, rows = fitted(overlap(0.7))
    p = torch.sigmoid(2 * rows.now.state)
    p_ref = torch.stack([torch.full_like(p, 0.5).expand(-1, 2), torch.cat([1 - p, p], 1)], 1)
    truth = float((p * (1 - p)).mean()) * 0.7**2 / 0.5**2
    assert score(model, rows, p_ref)[:, 0, 0, 1].mean() == pytest.approx(truth, rel=0.1)


def test_confounded_action_without_effect_scores_nothing() -> None:
    model, rows = fitted(overlap(0.0))
    assert score(model, rows)[:, 0, 0, 1].mean() < 0.02


def test_company_is_not_credited_with_the_others_effect() -> None:
    model, rows = fitted(company)
    mean = score(model, rows).mean(0)[0]  # (O, source) of agent 0
    assert mean[0, 1] == pytest.approx(0.25 / 0.09, rel=0.2)
    assert mean[1, 2] == pytest.approx(0.25 * 0.25 / 0.09, rel=0.2)
    assert mean[0, 2] < 0.1 * mean[0, 1]
    assert mean[1, 1] < 0.1 * mean[1, 2]
    assert model.explained(rows) > 0.1


def test_the_lower_bound_of_the_log_variance_bounds_the_scores() -> None:
    """Where the model holds every dim for certain, an effect counts e^-low times its variance."""
    model, rows = fitted(company)
    model.log_variance.weight.data.zero_()
    model.log_variance.bias.data.fill_(-50.0)
    strict = score(model, rows)
    model.bounds = (-2.0, 2.0)
    torch.testing.assert_close(strict, score(model, rows) * math.exp(4.0))
    assert strict.max() > 0


def test_single_dims_of_a_xor_score_nothing() -> None:
    model, rows = fitted(xor)
    assert score(model, rows, transform="halflog").max() < 0.01
    together = CategoricalKl(2, 2, hidden=16)
    optimizer, g = torch.optim.Adam(together.parameters(), lr=1e-2), torch.Generator().manual_seed(3)
    for _ in range(150):
        drawn = xor(256, g)
        optimizer.zero_grad()
        together.fit_loss(drawn.next_obs[:, 0], F.one_hot(drawn.now.actions[:, 1], 2).float()).backward()
        optimizer.step()
    both = together.estimate(rows.next_obs[:, 0], torch.zeros(len(rows.intended), 2))
    assert float(both) == pytest.approx(math.log(2), rel=0.02)


def test_the_one_toggled_dim_ranks_first() -> None:
    model, rows = fitted(toggle, steps=700)
    first = score(model, rows)[:, 0, :, 1].argmax(-1) == 2
    assert first.float().mean() > 0.99


@pytest.fixture(scope="module")
def random_model() -> ObservationModel:
    """A model with effects in every pair."""
    rows = company(64, torch.Generator().manual_seed(5))
    torch.manual_seed(0)
    model = ObservationModel(world_spec(rows), hidden=16, rank=2)
    model.joint.trunk.update_moments(rows.now)
    torch.nn.init.normal_(model.joint.effects.v)
    return model


def test_closed_form_variance_equals_enumeration(random_model: ObservationModel) -> None:
    rows = company(20, torch.Generator().manual_seed(6))
    joint = random_model.joint
    gates = joint.gates(joint.trunk(rows.now))
    p = torch.rand(20, 3, 2, generator=torch.Generator().manual_seed(7))
    p = p / p.sum(-1, keepdim=True)
    nobody = torch.zeros(20, 3, dtype=torch.bool)
    for source in range(3):
        alone = nobody.clone()
        alone[:, source] = True
        effects = torch.stack([joint.effects(gates, torch.full((20, 3), b), alone) for b in range(2)], 1)
        weight = p[:, source, :, None, None]
        variance = (weight * (effects - (weight * effects).sum(1, keepdim=True)).square()).sum(1)
        ours = joint.effects.variance(joint.effects.covariance(gates, p))[:, source].transpose(0, 1)
        torch.testing.assert_close(ours, variance, rtol=1e-3, atol=1e-5)


def test_group_score_is_the_sum_of_the_sources(random_model: ObservationModel) -> None:
    rows = company(20, torch.Generator().manual_seed(6))
    cut = torch.rand(20, 3, 3, generator=torch.Generator().manual_seed(8)) < 0.5
    p_ref = uniform_legal(rows.avail_actions)
    summed = torch.einsum("biod,bid->bio", score(random_model, rows), cut.float())
    torch.testing.assert_close(random_model.group_score(rows.now, p_ref, cut), summed, rtol=1e-3, atol=1e-5)


def test_no_score_for_the_dead_for_oneself_and_for_constant_dims(random_model: ObservationModel) -> None:
    rows = company(20, torch.Generator().manual_seed(6))
    rows.now.alive[:, 1] = False
    scores = score(random_model, rows)
    assert scores.diagonal(dim1=1, dim2=3).abs().max() == 0
    assert scores[:, 1].abs().max() == 0
    assert scores[..., 1].abs().max() == 0
    assert scores[:, 0, :, 2].min() > 0
    model = ObservationModel(world_spec(rows), hidden=16, rank=2)
    torch.nn.init.normal_(model.joint.effects.v)
    rows.now.obs[..., 1] = 3.0
    model.joint.trunk.update_moments(rows.now)
    assert score(model, rows)[:, :, 1].abs().max() == 0


def test_masked_dims_tell_nothing() -> None:
    """A constant carries no information (data processing): re-estimated on masked data the masked dim scores 0."""

    def masked(rows: int, g: torch.Generator) -> Transitions:
        drawn = company(rows, g)
        drawn.now.obs[:, 0, 0] = 0
        drawn.next_obs[:, 0, 0] = 0
        return drawn

    model, rows = fitted(masked, steps=150)
    assert score(model, rows)[:, 0, 0].mean(0).max() < 0.01
    assert score(model, rows)[:, 0, 1, 2].mean() > 0.3


def test_unlearnt_model_scores_nothing_and_explains_nothing() -> None:
    rows = company(50, torch.Generator().manual_seed(6))
    model = ObservationModel(world_spec(rows), hidden=16, rank=2)
    model.joint.trunk.update_moments(rows.now)
    assert score(model, rows).abs().max() == 0


def test_dead_rows_do_not_teach() -> None:
    rows = company(40, torch.Generator().manual_seed(6))
    rows.next_alive[:20, 0] = False
    torch.manual_seed(0)
    model = ObservationModel(world_spec(rows), hidden=16, rank=2)
    model.joint.trunk.update_moments(rows.now)
    loss = model.loss(rows)
    rows.next_obs[:20, 0] = 1e6
    assert torch.equal(model.loss(rows), loss)
