"""Laws of IBAL's episodes: groups, probabilities, schedule, trigger (ALGORITHMS 2.1)."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from attacking import generator, warm_ibal
from playing import make_spec, random_batch

from ibal_lightning.attacks.ibal.groups import Planner, largest_group, opponents
from ibal_lightning.attacks.ibal.options import IbalOptions
from ibal_lightning.attacks.ibal.schedule import Schedule
from ibal_lightning.attacks.ibal.trigger import Trigger

SPEC = make_spec(6, 5, 8, 7)


def planner(surfaces: tuple[bool, bool] = (True, True), **options) -> Planner:
    K = options.pop("K", 3)
    return Planner(6, surfaces, IbalOptions(**({"p_floor": "1/K", "coupling": "joint"} | options)), K=K)


def test_training_groups_are_uniform_in_size_and_membership() -> None:
    plan = planner().training(40_000, 0.5, generator())
    size = (plan.group == 1).sum(1)
    assert torch.equal(plan.group == 0, (size == 0)[:, None].expand(-1, 6))
    torch.testing.assert_close(torch.bincount(size) / 40_000, torch.full((4,), 0.25), rtol=0.04, atol=0)
    codes = ((plan.group == 1).long() * 2 ** torch.arange(6)).sum(1)
    counts = torch.bincount(codes[size == 2], minlength=64)
    assert (counts > 0).sum() == 15
    assert float(counts[counts > 0].min() / counts[counts > 0].float().mean()) > 0.85
    torch.testing.assert_close((plan.group == 1).float().mean(0), torch.full((6,), 0.25), rtol=0.05, atol=0)


def test_attack_probability_lies_between_floor_and_p_max() -> None:
    plan = planner().training(5000, 0.6, generator())
    assert 1 / 3 <= float(plan.p_act.min()) < 0.34
    assert 0.59 < float(plan.p_act.max()) <= 0.6
    assert (planner().training(50, 0.1, generator()).p_act == 1 / 3).all()
    assert (planner(K=1).training(50, 1.0, generator()).p_act == 1).all()
    assert float(planner(K=1, p_floor=0.25).training(500, 0.5, generator()).p_act.max()) <= 0.5


@pytest.mark.parametrize(("coupling", "both"), [("joint", 1.0), ("independent", 1 / 3)])
def test_coupling(coupling: str, both: float) -> None:
    plan = planner(coupling=coupling).training(20_000, 0.5, generator())
    attacked = plan.group[:, 0] > 0
    assert not (plan.masks | plan.overrides)[~attacked].any()
    assert (plan.masks | plan.overrides)[attacked].all()
    assert float((plan.masks & plan.overrides)[attacked].float().mean()) == pytest.approx(both, abs=0.02)
    assert float(plan.masks[attacked].float().mean()) == pytest.approx((1 + both) / 2, abs=0.02)


@pytest.mark.parametrize("surfaces", [(True, False), (False, True)])
def test_with_one_surface_every_attacked_episode_meets_it(surfaces: tuple[bool, bool]) -> None:
    plan = planner(surfaces, coupling="independent").training(2000, 0.5, generator())
    attacked = plan.group[:, 0] > 0
    struck = plan.masks if surfaces[0] else plan.overrides
    assert torch.equal(struck, attacked)


@pytest.mark.parametrize(("option", "masks"), [("observation", False), ("action", True)])
def test_an_ablation_has_no_attacked_episode_without_attack(option: str, masks: bool) -> None:
    attack = warm_ibal(SPEC, K=3, **{option: False})
    attack.reset(2000, generator())
    attacked = attack.group[:, 0] > 0
    assert torch.equal(attack.plan.masks if masks else attack.plan.overrides, attacked)


def test_test_episodes_are_all_attacked_at_the_strength_asked_for() -> None:
    trained = planner().test(3000, 0.4, generator())
    assert set((trained.group == 1).sum(1).tolist()) == {1, 2, 3}
    assert torch.equal(trained.p_act, torch.full((3000,), 0.4))
    strongest = planner(strength="max").test(100, 0.4, generator())
    assert ((strongest.group == 1).sum(1) == 3).all()
    assert (strongest.p_act == 1).all()
    for plan in (trained, strongest):
        assert (plan.masks & plan.overrides).all()


@pytest.mark.parametrize(("n_agents", "largest"), [(1, 0), (2, 1), (3, 1), (5, 1), (6, 2), (7, 2), (8, 4), (10, 4)])
def test_default_group_size(n_agents: int, largest: int) -> None:
    assert largest_group(n_agents, None) == largest


def test_opponents_are_each_others_and_one_sided_on_demand() -> None:
    group = torch.tensor([[1, 2, 2], [0, 0, 0]], dtype=torch.int8)
    assert opponents(group, True)[0].tolist() == [[False, True, True], [True, False, False], [True, False, False]]
    assert opponents(group, False)[0].tolist() == [[False, True, True], [False] * 3, [False] * 3]
    assert not opponents(group, True)[1].any()


def test_schedule_grows_on_success_and_starts_a_new_window() -> None:
    schedule = Schedule(p_max=0.5, limit=1.0, alpha=1.2, eta=0.6, window=10)
    schedule.update(torch.ones(9))
    assert schedule.p_max == 0.5
    schedule.update(torch.ones(1))
    assert schedule.p_max == pytest.approx(0.6)
    assert len(schedule.outcomes) == 0
    assert math.isnan(schedule.win_rate)  # no game is not a game lost
    schedule.update(torch.tensor([1.0] * 6 + [0.0] * 4))  # 0.6 is not more than 0.6
    assert schedule.p_max == pytest.approx(0.6)
    schedule.update(torch.ones(6))
    assert schedule.p_max == pytest.approx(0.6)
    schedule.update(torch.ones(1))  # the window slides: 7 of 10 once a loss has left
    assert schedule.p_max == pytest.approx(0.72)
    schedule.update(torch.ones(1000))
    assert schedule.p_max == 1.0
    schedule.update(torch.zeros(1000))
    assert schedule.p_max == 1.0


def test_schedule_stops_at_its_limit() -> None:
    schedule = Schedule(p_max=0.1, limit=0.25, alpha=1.1, eta=0.6, window=10)
    schedule.update(torch.ones(90))
    assert schedule.p_max == pytest.approx(0.1 * 1.1**9)
    schedule.update(torch.ones(1000))
    assert schedule.p_max == 0.25
    beyond = Schedule(p_max=0.5, limit=0.25, alpha=1.1, eta=0.6, window=10)
    beyond.update(torch.ones(1000))
    assert beyond.p_max == 0.5


def test_only_attacked_training_episodes_enter_the_schedule() -> None:
    attack = warm_ibal(K=3)
    batch = dataclasses.replace(random_batch(attack.spec, 8), won=torch.ones(8))
    attack.observe(batch)
    assert len(attack.schedule.outcomes) == 0
    batch.group[:3] = torch.tensor([1, 1, 2, 2, 2, 2], dtype=torch.int8)
    attack.observe(batch)
    assert len(attack.schedule.outcomes) == 3
    attack.eval()
    attack.observe(batch)
    assert len(attack.schedule.outcomes) == 3


@pytest.mark.parametrize(("kind", "period"), [("step", 1), ("hold", 4), ("episode", 1000)])
def test_trigger_holds_and_keeps_its_share(kind: str, period: int) -> None:
    trigger, g = Trigger(kind, 4), generator()
    p = torch.full((4000,), 0.3)
    fired = torch.stack([trigger.fire(p, step, g) for step in range(16)])
    assert float(fired.float().mean()) == pytest.approx(0.3, abs=0.03)
    flips = (fired[1:] != fired[:-1]).any(1)
    assert flips.tolist() == [(step + 1) % period == 0 for step in range(15)]


def test_the_coin_of_an_episode_is_thrown_anew_in_the_next() -> None:
    trigger, g, p = Trigger("episode", 4), generator(), torch.full((1000,), 0.5)
    first, second = trigger.fire(p, 0, g).clone(), trigger.fire(p, 0, g)
    assert 0.4 < float((first == second).float().mean()) < 0.6
