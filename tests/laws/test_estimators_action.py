"""Laws of the action models against exact tables (ALGORITHMS 2.9: T5, T6)."""

from __future__ import annotations

import pytest
import torch
from channels import fit, transitions, world_spec
from torch import Tensor

from ibal_lightning.attacks.ibal.options import IbalOptions
from ibal_lightning.attacks.ibal.rewrite import ActionRewrite
from ibal_lightning.estimators.lagged_influence import LaggedInfluence
from ibal_lightning.estimators.reconstruction import Reconstruction
from ibal_lightning.estimators.state_view import StateCode, nats
from ibal_lightning.estimators.transitions import Transitions
from ibal_lightning.functional.mutual_information import uniform_legal

N_ACTIONS = 4
TABLE = torch.rand(N_ACTIONS, N_ACTIONS, generator=torch.Generator().manual_seed(3)) ** 2 + 0.02
TABLE = TABLE / TABLE.sum()  # p(a0, a1): what a team of two plays together
GROUP = torch.tensor([[1, 2]], dtype=torch.int8)


def together(rows: int, g: torch.Generator) -> Transitions:
    """Joint actions drawn from the table; nothing else carries information."""
    both = torch.multinomial(TABLE.flatten(), rows, replacement=True, generator=g)
    actions = torch.stack([both // N_ACTIONS, both % N_ACTIONS], 1)
    zeros = torch.zeros(rows, 2, 2)
    return transitions(zeros[:, 0], zeros, actions, zeros, N_ACTIONS)


def echo(rows: int, g: torch.Generator) -> Transitions:
    """Action 1 of agent 0 makes agent 1 play 1 next, action 2 makes it play 2; 0 and 3 leave it its own habit."""
    actions = torch.randint(N_ACTIONS, (rows, 2), generator=g)
    obey = torch.rand(rows, generator=g) < 0.8
    habit = torch.tensor([0.4, 0.1, 0.1, 0.4]).expand(rows, -1)
    free = torch.multinomial(habit, 1, generator=g)[:, 0]
    told = (actions[:, 0] == 1) | (actions[:, 0] == 2)
    following = torch.stack([actions[:, 0], torch.where(told & obey, actions[:, 0], free)], 1)
    zeros = torch.zeros(rows, 2, 2)
    return transitions(zeros[:, 0], zeros, actions, zeros, N_ACTIONS, following)


@pytest.fixture(scope="module")
def pattern() -> Reconstruction:
    """A reconstruction model fitted to the table."""
    torch.manual_seed(0)
    rows = together(10, torch.Generator().manual_seed(2))
    model = Reconstruction(world_spec(rows), max_visible=1)
    fit(model, lambda rows, draw: model.loss(rows, draw), together, steps=700, lr=3e-3)
    return model


def predict(model: Reconstruction, seen_first: bool) -> Tensor:
    """(4, A) log r(a1 | a0), or log r(a1 | nobody seen)."""
    joint = torch.stack([torch.arange(N_ACTIONS), torch.zeros(N_ACTIONS, dtype=torch.long)], 1)
    seen = torch.tensor([seen_first, False]).expand(N_ACTIONS, -1)
    alive = torch.ones(N_ACTIONS, 2, dtype=torch.bool)
    avail = torch.ones(N_ACTIONS, 2, N_ACTIONS, dtype=torch.bool)
    situation = torch.cat([alive.float(), torch.zeros(N_ACTIONS, 1)], 1)
    return model(model.encode(joint, seen), situation, avail)[:, 1]


def test_group_information_equals_the_table(pattern: Reconstruction) -> None:
    marginal, conditional = TABLE.sum(0), TABLE / TABLE.sum(1, keepdim=True)
    truth = (TABLE * (conditional.log() - marginal.log())).sum()
    with torch.no_grad():
        seen, blind = predict(pattern, True), predict(pattern, False)
    found = (TABLE.sum(1, keepdim=True) * seen.exp() * (seen - blind)).sum()
    assert float(found) == pytest.approx(float(truth), rel=0.1)
    held_out = together(20_000, torch.Generator().manual_seed(9))
    assert float(pattern.explained(held_out)) > 0.3 * float(truth)


@pytest.mark.parametrize("score", ["pmi", "kl", "klx"])
def test_rewrite_equals_brute_force(pattern: Reconstruction, score: str) -> None:
    rewrite = ActionRewrite(world_spec(together(2, torch.Generator())), score, 1, IbalOptions())
    rewrite.model = pattern
    conditional = TABLE / TABLE.sum(1, keepdim=True)
    against = TABLE.sum(0) if score == "kl" else conditional.mean(0)
    kl = (conditional * (conditional / against).log()).sum(-1)
    for mine in range(N_ACTIONS):
        for other in range(N_ACTIONS):
            cost = conditional[:, other].log() if score == "pmi" else kl.clone()
            if score != "pmi":
                cost[mine] = float("inf")  # the intended action is excluded
            zeros = torch.zeros(1, 2, 2)
            now = transitions(zeros[:, 0], zeros, torch.tensor([[mine, other]]), zeros, N_ACTIONS)
            taken = rewrite.choose(now.now, GROUP, now.avail_actions)
            assert taken[0, 1] == other
            margin = (cost - cost.min()).masked_fill(cost == cost.min(), 1.0).min()
            assert margin < 0.02 or taken[0, 0] == cost.argmin()


def test_rewrite_keeps_to_supported_and_legal_actions(pattern: Reconstruction) -> None:
    rare = TABLE.sum(1) < TABLE.sum(1).median()
    floor = IbalOptions(support_floor=float(TABLE.sum(1).median()))
    rewrite = ActionRewrite(world_spec(together(2, torch.Generator())), "pmi", 1, floor)
    rewrite.model = pattern
    rows = together(200, torch.Generator().manual_seed(4))
    taken = rewrite.choose(rows.now, GROUP.expand(200, -1), rows.avail_actions)
    assert not rare[taken[:, 0]].any()
    only = torch.nn.functional.one_hot(rows.intended, N_ACTIONS).bool()
    forced = rewrite.choose(rows.now, GROUP.expand(200, -1), only)
    assert torch.equal(forced, rows.intended)


def test_lagged_influence_finds_who_is_listened_to() -> None:
    torch.manual_seed(0)
    rows = echo(2000, torch.Generator().manual_seed(2))
    model = LaggedInfluence(world_spec(rows), hidden=32, rank=3)
    fit(model, lambda rows, _: model.loss(rows), echo, steps=400, lr=3e-3)
    members = (GROUP == 1).expand(2000, -1)
    score = model.influence(rows.now, members, ~members, rows.avail_actions)
    habit = torch.tensor([0.4, 0.1, 0.1, 0.4])
    told = 0.8 * torch.eye(N_ACTIONS) + 0.2 * habit
    w = torch.stack([habit, told[1], told[2], habit])
    truth = (w * (w / w.mean(0)).log()).sum(-1)
    torch.testing.assert_close(score[:, 0].mean(0), truth, rtol=0.1, atol=0.02)
    assert (score[:, 1] == 0).all()
    assert float(model.explained(rows)) > 0.2
    reverse = model.influence(rows.now, ~members, members, rows.avail_actions)  # nobody listens to agent 1
    assert reverse[:, 1].mean(0).max() < 0.02


def test_influence_equals_enumeration_of_what_ifs() -> None:
    torch.manual_seed(0)
    rows = echo(30, torch.Generator().manual_seed(2))
    model = LaggedInfluence(world_spec(rows), hidden=16, rank=3)
    torch.nn.init.normal_(model.joint.effects.v)
    members = (GROUP == 1).expand(30, -1)
    joint = model.joint
    logs = []
    for u in range(N_ACTIONS):
        actions = rows.intended.clone()
        actions[:, 0] = u
        features = joint.trunk(rows.now)  # agent 1's own context does not hold agent 0's action
        logits = joint.base(features) + joint.effects(joint.gates(features), actions, rows.now.alive)
        logs.append(logits[:, 1].log_softmax(-1))
    log_w = torch.stack(logs, 1)
    mixture = (log_w.exp() * uniform_legal(rows.avail_actions)[:, 0, :, None]).sum(1, keepdim=True)
    truth = (log_w.exp() * (log_w - mixture.log())).sum(-1)
    score = model.influence(rows.now, members, ~members, rows.avail_actions)
    torch.testing.assert_close(score[:, 0], truth, rtol=1e-3, atol=1e-5)


def factorised(rows: int, g: torch.Generator) -> Transitions:
    """Both agents follow a common cue on their own: dependent without the cue, independent given it (T6)."""
    cue = torch.rand(rows, 1, generator=g)
    actions = (torch.rand(rows, 2, generator=g) < torch.where(cue < 0.5, 0.15, 0.85)).long()
    drawn = transitions(cue, torch.zeros(rows, 2, 2), actions, torch.zeros(rows, 2, 2), 2)
    drawn.now.time.copy_(cue[:, 0])  # which the coarse context holds, as it does not hold the state
    return drawn


def blind_to_cue(rows: int, g: torch.Generator) -> Transitions:
    drawn = factorised(rows, g)
    drawn.now.time.zero_()
    return drawn


def test_the_reconstruction_vanishes_given_the_full_context() -> None:
    gains = []
    for world, context in ((factorised, "coarse"), (blind_to_cue, "coarse"), (blind_to_cue, "state")):
        torch.manual_seed(0)
        model = Reconstruction(world_spec(world(2, torch.Generator())), max_visible=1, context=context)
        model.update_moments(world(4000, torch.Generator()).now)
        fit(model, lambda rows, draw, model=model: model.loss(rows, draw), world, steps=500, lr=5e-3)
        gains.append(float(model.explained(world(50_000, torch.Generator().manual_seed(2)))))
    assert max(abs(gains[0]), abs(gains[2])) < 0.01
    assert gains[1] > 0.05


@torch.no_grad()
def nats_held(view: StateCode, state: Tensor) -> float:
    return float(nats(*view.distribution(state)).mean())


def bottleneck(rate: float) -> tuple[float, float]:
    """Nats that the others' actions still tell, and nats that the code holds, at the given rate."""
    torch.manual_seed(0)
    world = blind_to_cue
    model = Reconstruction(world_spec(world(2, torch.Generator())), max_visible=1, context="vib", z_rate=rate)
    model.update_moments(world(4000, torch.Generator()).now)
    fit(model, lambda rows, draw: model.loss(rows, draw), world, steps=1000, lr=5e-3)
    test = world(50_000, torch.Generator().manual_seed(2))
    assert isinstance(model.view, StateCode)
    return float(model.explained(test)), nats_held(model.view, test.now.state)


def test_a_bottleneck_lies_between_no_state_and_the_state() -> None:
    """What the code says of the cue of T6, the other's action no longer tells; and it says no more than it may."""
    rates = (0.0, 0.5, 2.0)
    told, held = zip(*(bottleneck(rate) for rate in rates), strict=True)
    assert told[0] > told[1] + 0.02 > told[2] + 0.04 > 0.04
    assert told[0] > 0.1  # as without the state
    assert all(code <= 1.05 * rate + 0.01 for code, rate in zip(held, rates, strict=True))
