"""Laws of the estimators' health: held-out gain, chance, attribution, fall-back (IBAL_STUDY 1, ALGORITHMS 2.5)."""

from __future__ import annotations

import dataclasses
import logging
import math

import pytest
import torch
from attacking import generator
from channels import fitted, overlap, transitions, world_spec
from playing import make_spec, random_batch
from torch import Tensor

from ibal_lightning.attack import Threat
from ibal_lightning.attacks.ibal.attack import Ibal
from ibal_lightning.estimators.club import ClubGaussian
from ibal_lightning.estimators.health import Health, attribution, chance_share, pair_bands, strata
from ibal_lightning.estimators.running_mean import RunningMean
from ibal_lightning.estimators.transitions import Transitions
from ibal_lightning.functional.null_band import nearest_rows, null_band, redraw_from, redraw_near
from ibal_lightning.functional.obs_names import described_agents
from ibal_lightning.types import EpisodeBatch

SPEC = make_spec(6, 5, 8, 7)


def channel(effect: float, seed: int) -> EpisodeBatch:
    """Random games in which the others' action 1 moves dim 0 of what everybody sees next by ``effect``."""
    batch = random_batch(SPEC, 16, seed)
    struck = ((batch.actions_taken == 1) & batch.alive[:, :-1]).float()
    batch.obs[:, 1:, :, 0] += effect * (struck.sum(-1, keepdim=True) - struck)
    return batch


def test_without_any_effect_masks_are_random_until_there_is_one(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    attack = Ibal(SPEC, Threat(dims=3), K=3, coupling="joint", warmup_updates=20, rows=64, hidden=16, rank=2, lr=5e-3)
    optimizer = attack.optimizer()
    assert optimizer is not None

    def live(effect: float, rounds: int, first: int) -> list[str]:
        caplog.clear()
        for seed in range(first, first + rounds):
            optimizer.zero_grad()
            attack.loss(channel(effect, seed)).loss.backward()
            optimizer.step()
            if seed % 2:
                attack.observe(channel(effect, 10_000 + seed))
        attack.reset(4, generator())
        return [record.getMessage() for record in caplog.records]

    with caplog.at_level(logging.WARNING):
        (said,) = live(0.0, 40, 0)  # once, though every later look finds the same
        assert "explains nothing" in said
        assert attack.mask.rank is not None
        assert attack.status()["explained_nats"] <= max(attack.status()["chance_nats"], 0)
        assert "guided again" in live(3.0, 80, 1000)[-1]
        assert attack.mask.rank is None
        assert attack.status()["explained_nats"] > attack.status()["chance_nats"]
        assert "random dims" in live(0.0, 40, 2000)[-1]  # what was learnt is wrong now
        assert attack.mask.rank is not None


def test_health_is_not_judged_while_the_estimators_warm_up(caplog: pytest.LogCaptureFixture) -> None:
    attack = Ibal(SPEC, Threat(dims=3), K=3, warmup_updates=30, rows=64, hidden=16, rank=2)
    with caplog.at_level(logging.WARNING):
        for seed in range(5):
            attack.loss(channel(0.0, seed))
            attack.observe(channel(0.0, 100 + seed))
    assert not caplog.records
    assert not attack.mask.health.good  # its latest look is known
    assert int(attack.mask.health.explained.count) == 1
    with caplog.at_level(logging.WARNING):
        attack.eval().reset(4, generator())
    assert "explains nothing" in caplog.text  # whoever uses it so young is told
    assert attack.mask.rank is not None


def test_a_running_mean_is_plain_at_first_and_follows_later() -> None:
    mean = RunningMean()
    assert math.isnan(float(mean))
    for value in (-8.0, float("nan"), 2.0, 3.0):
        mean.update(torch.tensor(value))
    assert float(mean) == pytest.approx(-1.0)
    for _ in range(100):
        mean.update(torch.tensor(5.0))
    assert float(mean) == pytest.approx(5.0, abs=1e-3)
    before = float(mean)
    mean.update(torch.tensor(15.0))
    assert float(mean) == pytest.approx(0.9 * before + 1.5)


def named(n_agents: int) -> Health:
    names = (*(f"ally {k}: {what}" for k in range(1, n_agents) for what in ("x", "y")), "own: x")
    return Health(dataclasses.replace(make_spec(n_agents, 2, len(names)), obs_names=names))


def test_attribution_is_the_share_in_the_dims_that_describe_the_source() -> None:
    about = named(3).about
    score = torch.zeros(3, 5, 3)
    score[0, :, 1] = torch.tensor([2.0, 1.0, 1.0, 0.0, 0.0])  # ally 1 of agent 0 is agent 1: dims 0 and 1
    score[2, :, 0] = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0])  # dim 2 is about agent 1
    torch.testing.assert_close(attribution(score, about), torch.tensor((0.75 + 0.0) / 2))
    everything = torch.ones(3, 5, 3)
    assert float(attribution(everything, about)) == pytest.approx(0.4)
    assert float(chance_share(about, torch.ones(5, dtype=torch.bool))) == pytest.approx(0.4)
    assert float(chance_share(about, torch.tensor([True, True, True, True, False]))) == pytest.approx(0.5)


def neighbourly(rows: int, g: torch.Generator) -> Transitions:
    """Each agent's action moves its first coordinate, which every other agent sees in its own block."""
    actions = torch.randint(2, (rows, 3), generator=g)
    obs, following = torch.randn(rows, 3, 5, generator=g), torch.randn(rows, 3, 5, generator=g)
    about = named(3).about[:, ::2]  # the first dim of each block
    following[:, :, ::2] += 2 * torch.einsum("iod,md->mio", about, actions.float())
    return transitions(torch.zeros(rows, 1), obs, actions, following, 2)


def test_attribution_of_a_fitted_model_finds_the_block_of_the_source() -> None:
    model, rows = fitted(neighbourly, steps=200)
    health = named(3)
    health.examine(model, rows, generator())
    report = health.report(model)
    assert health.good
    assert report["attribution_share"] > 0.9
    assert report["attribution_chance"] == pytest.approx(0.4)
    assert report["explained_nats"] > 0.5 > 0 > report["chance_nats"]


def test_nothing_is_said_of_attribution_where_names_do_not_tell() -> None:
    assert described_agents(SPEC).sum() == 0
    model, rows = fitted(neighbourly, steps=2)
    health = Health(world_spec(rows))
    health.examine(model, rows, generator())
    assert set(health.report(model)) == {"explained_nats", "chance_nats"}


def policy(rows: Transitions) -> Tensor:
    """(M, 2, 2) how the agents of ``overlap`` choose."""
    p = torch.sigmoid(2 * rows.now.state)
    return torch.stack([torch.full_like(p, 0.5).expand(-1, 2), torch.cat([1 - p, p], 1)], 1)


@pytest.mark.parametrize("null", ["policy", "strata"])
@pytest.mark.parametrize("effect", [0.0, 0.7])
def test_only_a_true_effect_is_above_the_band(effect: float, null: str) -> None:
    """T2 and T3: agent 1 acts on what moves agent 0's view; its action itself moves it, or does not."""
    model, rows = fitted(overlap(effect), steps=200)
    redraw = redraw_from(policy(rows)) if null == "policy" else strata(rows)
    value, chance = pair_bands(model, rows, redraw, generator(), draws=99, level=0.01)
    assert bool((value > chance)[0, 1]) == (effect > 0)


def test_a_permutation_that_ignores_the_context_takes_company_for_effect() -> None:
    """T2: x and y have a common cause c and nothing else; shuffled over all c the null is too easy to beat."""
    g = generator(1)
    c = torch.randn(800, 1, generator=g)
    x, y = (c + 0.5 * torch.randn(800, 1, generator=g) for _ in range(2))
    torch.manual_seed(0)
    blind = ClubGaussian(1, 1, hidden=16)
    optimizer = torch.optim.Adam(blind.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        blind.fit_loss(x, y).backward()
        optimizer.step()

    def above(near: Tensor) -> bool:
        chance = null_band(lambda drawn: blind.estimate(drawn, y), redraw_near(x, near), generator(), draws=39)
        return bool(blind.estimate(x, y) > chance)

    assert above(nearest_rows(torch.zeros(800, 1), 799))
    assert not above(nearest_rows(c, 3))


def test_a_statistic_without_effect_is_above_its_band_one_time_in_twenty() -> None:
    g = generator(3)
    p = torch.tensor([0.3, 0.7]).expand(50, 2)
    hits = 0
    for _ in range(400):
        y, real = torch.randn(50, generator=g), redraw_from(p)(g)
        chance = null_band(lambda a, y=y: (a * y).mean(), redraw_from(p), g, draws=59)
        hits += int((real * y).mean() > chance)
    assert 0.02 < hits / 400 < 0.09


def test_one_moment_alone_says_nothing() -> None:
    model, rows = fitted(overlap(0.7), steps=1)
    health = Health(world_spec(rows))
    health.examine(model, rows.map(lambda x: x[:1]), generator())
    assert math.isnan(float(health.explained))
    assert not health.good


def test_rows_borrow_only_from_the_nearest_who_are_eligible() -> None:
    context = torch.tensor([[0.0], [1.0], [2.0], [10.0]])
    assert nearest_rows(context, 1)[:, 0].tolist() == [1, 0, 1, 2]
    even = torch.arange(4) % 2 == 0
    near = nearest_rows(context, 2, even[:, None] & even)
    assert near.tolist() == [[2, 0], [1, 1], [0, 2], [3, 3]]  # rows 1 and 3 have nobody but themselves
    actions = torch.tensor([5, 6, 7, 8])
    drawn = torch.stack([redraw_near(actions, near)(generator(seed)) for seed in range(30)])
    assert set(drawn[:, 0].tolist()) == {5, 7}
    assert set(drawn[:, 3].tolist()) == {8}
