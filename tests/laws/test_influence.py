"""Laws of the group-level quantities, against closed forms (IBAL section 4; D4 of ALGORITHMS 2.4)."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from attacking import generator
from channels import transitions, world_spec
from playing import make_spec
from torch import Tensor

from ibal_lightning.attack import Threat
from ibal_lightning.attacks.ibal.influence import Influence, InfluenceModels
from ibal_lightning.attacks.ibal.probe import Drawn, Probe, combine, redrawn, take
from ibal_lightning.attacks.ibal.reference import Reference
from ibal_lightning.backbones.q_learner import Vdn
from ibal_lightning.envs.lbf import Lbf
from ibal_lightning.functional.influence import (
    clustered_mean,
    gaussian_channel_information,
    mixed_information,
    scalar_information,
    whitening,
)
from ibal_lightning.functional.random import seeded
from ibal_lightning.rollout.collector import Collector

LOG2 = math.log(2)


def numeric_information(means: list[float], p: list[float]) -> float:
    """I(y; b) by plain numeric integration."""
    y = np.linspace(min(means) - 9, max(means) + 9, 40_001)
    density = np.exp(-0.5 * (y[None] - np.array(means)[:, None]) ** 2) / math.sqrt(2 * math.pi)
    mixture = np.array(p) @ density
    terms = density * (np.log(np.maximum(density, 1e-300)) - np.log(np.maximum(mixture, 1e-300)))
    return float(np.array(p) @ np.trapezoid(terms, y))


CHANNELS = [
    ([0.0, 0.3], [0.5, 0.5]),
    ([0.0, 1.0, 2.5], [0.2, 0.5, 0.3]),
    ([0.0, 4.0], [0.7, 0.3]),
    ([-1.0, 0.0, 1.0, 6.0], [0.1, 0.4, 0.4, 0.1]),
]


@pytest.mark.parametrize(("means", "p"), CHANNELS)
def test_quadrature_is_the_integral(means: list[float], p: list[float]) -> None:
    found = scalar_information(torch.tensor(means, dtype=torch.float64)[:, None], torch.tensor(p, dtype=torch.float64))
    assert float(found) == pytest.approx(numeric_information(means, p), rel=0.01, abs=1e-5)


@pytest.mark.parametrize("strength", [0.1, 1.0, 5.0, 60.0, 2000.0])
def test_what_one_of_two_sources_tells_is_a_difference_of_entropies(strength: float) -> None:
    effects = strength * torch.tensor([[[0.0], [1.0]], [[0.0], [1.5]]], dtype=torch.float64)
    p = torch.tensor([[0.5, 0.5], [0.3, 0.7]], dtype=torch.float64)
    sums, weights = [0.0, 1.5, 1.0, 2.5], [0.15, 0.35, 0.15, 0.35]
    both = numeric_information([strength * s for s in sums], weights)
    each = [numeric_information([0.0, strength * s], p[j].tolist()) for j, s in enumerate((1.0, 1.5))]
    found = mixed_information(effects, p)[:, 0].tolist()
    assert found == pytest.approx([both - each[1], both - each[0]], abs=2e-3)


def test_no_effect_is_no_information_and_a_clear_one_is_the_entropy() -> None:
    p = torch.tensor([0.25, 0.75])
    means = torch.tensor([[1.0, 0.0], [1.0, 30.0]])
    entropy = -float((p * p.log()).sum())
    torch.testing.assert_close(scalar_information(means, p), torch.tensor([0.0, entropy]), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("means", "p"), CHANNELS)
def test_one_source_through_many_dims_is_one_dim_of_its_total_strength(means: list[float], p: list[float]) -> None:
    direction = torch.tensor([0.6, 0.0, -0.8])
    effects = (torch.tensor(means)[:, None] * direction)[None, None]
    found = gaussian_channel_information(
        effects.expand(40, 1, -1, -1), torch.tensor(p).expand(40, 1, -1), draws=500, generator=generator()
    )
    assert float(found.mean()) == pytest.approx(numeric_information(means, p), abs=0.02)


def test_sources_in_dims_of_their_own_add_up() -> None:
    effects = torch.zeros(1, 2, 3, 2)
    effects[0, 0, :, 0] = torch.tensor([0.0, 1.0, 2.5])
    effects[0, 1, :, 1] = torch.tensor([0.0, 3.0, -1.0])
    p = torch.tensor([[0.2, 0.5, 0.3], [0.3, 0.3, 0.4]])[None]
    each = sum(numeric_information(effects[0, j, :, j].tolist(), p[0, j].tolist()) for j in range(2))
    effects, p = effects.expand(40, -1, -1, -1), p.expand(40, -1, -1)
    assert float(gaussian_channel_information(effects, p, draws=500, generator=generator()).mean()) == pytest.approx(
        each, abs=0.03
    )


def test_the_joint_term_cannot_exceed_the_logarithm_of_its_draws() -> None:
    effects = 100 * torch.eye(64)[None, None]
    p = torch.full((1, 1, 64), 1 / 64)
    few = float(gaussian_channel_information(effects, p, draws=16, generator=generator()))
    assert few <= math.log(16) + 1e-5
    assert float(gaussian_channel_information(effects, p, draws=4000, generator=generator())) == pytest.approx(
        math.log(64), abs=0.05
    )


def test_whitening_makes_noise_white() -> None:
    root = torch.randn(5, 5, generator=generator(), dtype=torch.float64)
    covariance = root @ root.T + torch.eye(5)
    w = whitening(covariance)
    torch.testing.assert_close(w @ covariance @ w.T, torch.eye(5, dtype=torch.float64))
    singular = torch.ones(3, 3)
    assert whitening(singular).isfinite().all()


def test_errors_count_episodes_not_steps() -> None:
    x = torch.randn(400, generator=generator())
    mean, error = clustered_mean(x, torch.arange(400))
    assert mean == pytest.approx(float(x.mean()), abs=1e-6)
    assert error == pytest.approx(float(x.std() / 20), rel=1e-5)
    repeated = clustered_mean(x.repeat_interleave(7), torch.arange(400).repeat_interleave(7))
    assert repeated == pytest.approx((mean, error))


def drawn(actions: Tensor, seen: Tensor, intended: Tensor | None = None) -> Drawn:
    """Steps in which agent 0 (G1) sees ``seen`` (M, O) after uniform actions (M, N)."""
    m, n = actions.shape
    obs = torch.randn(m, n, seen.shape[1], generator=generator(9))  # dims that never vary count as constant
    following = torch.cat([seen[:, None], torch.zeros(m, n - 1, seen.shape[1])], 1)
    rows = transitions(torch.zeros(m, 1), obs, actions, following, 2)
    rows = dataclasses.replace(rows, intended=actions if intended is None else intended)
    group = torch.full((m, n), 2, dtype=torch.int8)
    group[:, 0] = 1
    return Drawn(rows, torch.full((m, n, 2), 0.5), group, torch.arange(m))


def influence(world, *, updates: int = 350, null: bool = False) -> Influence:
    """Fitted to 6000 steps, measured at 400 others."""
    steps = world(generator(1))
    if null:
        steps = redrawn(steps, generator(2))
    with seeded(0, "models"):
        models = InfluenceModels(world_spec(steps.rows), K=1)
    models.fit(take(steps, torch.arange(6000)), updates=updates, lr=3e-3)
    return models.measure(take(steps, torch.arange(6000, 6400)), draws=400)


def noisy(x: Tensor, g: torch.Generator, scale: float) -> Tensor:
    return x + scale * torch.randn(x.shape, generator=g)


def own_dims(g: torch.Generator) -> Drawn:
    """Agents 1 and 2 each move a dim of their own by one, noise .5."""
    actions = torch.randint(2, (6400, 3), generator=g)
    return drawn(actions, noisy(actions[:, 1:].float(), g, 0.5))


def copies(g: torch.Generator) -> Drawn:
    """Agent 1 moves three dims alike, each very clearly."""
    actions = torch.randint(2, (6400, 2), generator=g)
    return drawn(actions, noisy(actions[:, 1:].float().expand(-1, 3), g, 0.1))


def common_noise(g: torch.Generator) -> Drawn:
    """Agent 1 moves dim 1, but large noise, the same in dim 0, hides it from anyone who reads one dim."""
    actions = torch.randint(2, (6400, 2), generator=g)
    noise = 1.5 * torch.randn(6400, 1, generator=g)
    return drawn(actions, noisy(torch.cat([noise, noise + actions[:, 1:]], 1), g, 0.15))


def xor(g: torch.Generator) -> Drawn:
    """Dim 0 is a random bit, dim 1 the same bit flipped by agent 1."""
    actions = torch.randint(2, (6400, 2), generator=g)
    bit = torch.randint(2, (6400,), generator=g)
    return drawn(actions, torch.stack([bit, bit ^ actions[:, 1]], 1).float())


def nothing(g: torch.Generator) -> Drawn:
    """Nobody moves anything."""
    return drawn(torch.randint(2, (6400, 3), generator=g), torch.randn(6400, 3, generator=g))


def test_separate_channels_have_no_redundancy() -> None:
    found = influence(own_dims)
    truth = 2 * numeric_information([0.0, 2.0], [0.5, 0.5])
    assert float(found.bound.mean()) == pytest.approx(truth, rel=0.1)
    assert float(found.channel.mean()) == pytest.approx(truth, rel=0.1)
    assert float(found.decoded.mean()) == pytest.approx(truth, abs=0.15)
    assert abs(float(found.redundancy.mean())) < 0.1


def test_two_sources_of_one_dim_are_synergy_to_the_lemma_and_none_to_the_ranking() -> None:
    def one_dim(g: torch.Generator) -> Drawn:
        actions = torch.randint(2, (6400, 3), generator=g)
        moved = actions[:, 1:].sum(1, keepdim=True).float()
        return drawn(actions, noisy(torch.cat([moved, torch.zeros_like(moved)], 1), g, 0.5))

    found = influence(one_dim)
    alone = numeric_information([0.0, 2.0], [0.5, 0.5])
    both = numeric_information([0.0, 2.0, 4.0], [0.25, 0.5, 0.25])  # each source also blurs the other
    assert float(found.channel.mean()) == pytest.approx(both, rel=0.1)
    assert float(found.bound.mean()) == pytest.approx(2 * (both - alone), rel=0.1)
    assert float(found.ranked.mean()) == pytest.approx(2 * alone, rel=0.1)
    assert float(found.channel.mean() - found.bound.mean()) == pytest.approx(2 * alone - both, abs=0.05)


def test_copies_are_redundant_and_the_bound_holds_with_room() -> None:
    found = influence(copies)
    assert float(found.bound.mean()) == pytest.approx(3 * LOG2, rel=0.05)
    assert float(found.observation.mean()) == pytest.approx(LOG2, abs=0.05)
    assert float(found.redundancy.mean()) == pytest.approx(-2 * LOG2, rel=0.08)


def test_common_noise_hides_from_single_dims_what_the_covariance_shows() -> None:
    found = influence(common_noise)
    assert float(found.bound.mean()) == pytest.approx(numeric_information([0.0, 1 / 1.5], [0.5, 0.5]), abs=0.03)
    assert float(found.channel.mean()) > 4 * float(found.bound.mean())
    assert float(found.redundancy.mean()) > 0.25


def test_xor_is_all_synergy_and_only_the_decoder_sees_it() -> None:
    found = influence(xor)
    assert float(found.bound.mean()) < 0.03
    assert float(found.decoded.mean()) == pytest.approx(LOG2, abs=0.05)
    assert float(found.redundancy.mean()) > 0.6


def test_where_nothing_happens_nothing_is_found() -> None:
    for found in (influence(nothing), influence(copies, null=True)):
        assert float(found.bound.mean()) < 0.05
        assert float(found.channel.mean()) < 0.05
        assert float(found.decoded.mean()) < 0.02


def test_the_action_term_is_the_information_of_the_pattern() -> None:
    def pattern(g: torch.Generator) -> Drawn:
        intended = torch.randint(2, (6400, 2), generator=g)
        same = torch.rand(6400, generator=g) < 0.9
        intended[:, 1] = torch.where(same, intended[:, 0], 1 - intended[:, 0])
        actions = torch.randint(2, (6400, 2), generator=g)
        return drawn(actions, torch.randn(6400, 2, generator=g), intended)

    found = influence(pattern)
    truth = LOG2 + 0.9 * math.log(0.9) + 0.1 * math.log(0.1)
    assert float(found.action.mean()) == pytest.approx(truth, abs=0.04)
    assert (
        abs(float(influence(pattern, null=True).action.mean())) < 0.01
    )  # drawn apart, nobody's action tells another's


def test_the_probe_draws_from_what_it_says_and_leaves_the_rest_alone() -> None:
    env = Lbf(num_envs=16, seed=1, task="Foraging-5x5-3p-1f-v3")
    with seeded(0, "backbone"):
        backbone = Vdn(env.spec)
    probe = Probe(env.spec, Threat(), Reference("soft", 0.5, 2.0), every=2)
    batch = Collector(env, backbone, probe, seed=3).collect(env_steps=0, explore=False)
    steps = combine([probe.drawn(batch, torch.arange(16), 1, generator())] * 2)
    odd = torch.arange(batch.mask.shape[1]) % 2 == 1
    assert not batch.attacked[:, odd].any()
    assert batch.attacked[:, ~odd].any()
    assert len(steps.p) == 2 * int(batch.mask[:, ~odd].sum())
    assert len(steps.episode.unique()) == 32
    torch.testing.assert_close(steps.p.sum(-1), torch.ones(steps.p.shape[:2]))
    assert (steps.p.gather(-1, steps.rows.now.actions[..., None]) > 0).all()
    assert ((steps.group == 1).sum(1) == 1).all()
    drawn_prob = steps.p.gather(-1, steps.rows.now.actions[..., None]).mean()
    assert float(drawn_prob) == pytest.approx(float(steps.p.square().sum(-1).mean()), rel=0.15)


def test_a_dropped_game_takes_its_distributions_with_it() -> None:
    def play(lost: list[int]) -> Drawn:
        env = Lbf(num_envs=6, seed=1, task="Foraging-5x5-3p-1f-v3")
        with seeded(0, "backbone"):
            backbone = Vdn(env.spec)
        probe = Probe(env.spec, Threat(), Reference("soft", 0.1, 0.5), every=2)
        collector = Collector(env, backbone, probe, seed=3)
        recorder = collector.recorder
        if lost:
            recorder.counts_dropped = True
            recorder.dropped[lost] = True
        batch = collector.collect(env_steps=0, explore=False)
        return probe.drawn(batch, recorder.kept, 1, generator())

    every, left = play([]), play([0, 3])
    kept = (every.episode != 0) & (every.episode != 3)
    assert not kept.all()
    torch.testing.assert_close(left.p, every.p[kept])
    assert torch.equal(left.rows.now.actions, every.rows.now.actions[kept])
    assert len(left.episode.unique()) == 4


def test_the_spec_of_a_team_of_two_allows_groups_of_one() -> None:
    assert InfluenceModels(make_spec(2, 3, 4, 5), K=1).pattern.max_visible == 1
