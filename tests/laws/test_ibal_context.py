"""Laws of what IBAL's observation model conditions on: a code of the joint history, and a model of the policy."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from attacking import generator, random_view
from playing import make_spec, random_batch
from torch import Tensor
from torch.nn import functional as F

from ibal_lightning.attack import Threat
from ibal_lightning.attacks.ibal.attack import Ibal
from ibal_lightning.estimators.history import JointHistory
from ibal_lightning.types import EpisodeBatch, VictimView

SPEC = make_spec(n_agents=2, n_actions=3, obs_dim=3, state_dim=2, limit=8)
FLAG, HEARD = 0, 1  # dims: shown at the start only; what the other agent's last action was, by the flag


def flagged_episodes(games: int, seed: int) -> EpisodeBatch:
    """Each agent is shown a sign at the start, then always the other's action times that sign; the state is empty."""
    batch, steps, g = random_batch(SPEC, games, seed), SPEC.episode_limit, generator(seed)
    sign = torch.randint(0, 2, (games, 1, 2), generator=g) * 2.0 - 1
    actions = torch.randint(0, 3, (games, steps, 2), generator=g)
    obs = torch.zeros(games, steps + 1, 2, 3)
    obs[:, :1, :, FLAG] = sign
    obs[:, 1:, :, HEARD] = sign * (actions.flip(-1) - 1.0)
    return dataclasses.replace(
        batch,
        obs=obs,
        obs_seen=obs,
        state=torch.zeros(games, steps + 1, 2),
        avail_actions=torch.ones(games, steps + 1, 2, 3, dtype=torch.bool),
        alive=torch.ones(games, steps + 1, 2, dtype=torch.bool),
        actions=actions,
        actions_taken=actions,
        mask=torch.ones(games, steps, dtype=torch.bool),
    )


def fitted(updates: int, **options: str) -> Ibal:
    torch.manual_seed(0)
    attack = Ibal(SPEC, Threat(dims=1), K=1, action=False, warmup_updates=1, rows=256, lr=3e-3, **options)
    optimizer = attack.optimizer()
    for update in range(updates):
        out = attack.loss(flagged_episodes(32, update))
        optimizer.zero_grad()
        out.loss.backward()
        optimizer.step()
    return attack


@pytest.fixture(scope="module")
def with_history() -> Ibal:
    attack = fitted(500, history="gru")
    attack.observe(flagged_episodes(256, 10**6))
    return attack


def test_a_history_tells_what_the_state_does_not(with_history: Ibal) -> None:
    """Without the flag an action moves the observation either way; only at the first step both are known."""
    without = fitted(300)
    without.observe(flagged_episodes(256, 10**6))
    assert float(without.mask.health.explained) < 0.6
    assert float(with_history.mask.health.explained) > 1.2


def test_masks_by_history_hide_what_was_heard(with_history: Ibal) -> None:
    """Guided by what the game showed so far, every look from the second step on hides the one dim that tells."""
    attack, games = with_history.eval(), 16
    attack.reset(games, generator())
    batch = flagged_episodes(games, 7)
    for step in range(1, SPEC.episode_limit + 1):
        hidden = attack.perturb_obs(view_of(batch, step - 1), generator()) != batch.obs[:, step - 1]
        if step > 2:
            heard = batch.obs[:, step - 1, :, HEARD] != 0  # hiding a zero changes nothing
            assert torch.equal(hidden[..., HEARD], heard)
            assert not hidden[..., FLAG].any()


def view_of(batch: EpisodeBatch, step: int) -> VictimView:
    """The moment of a batch that an attack is shown."""
    view = random_view(SPEC, len(batch), 0, step)
    last = batch.actions_taken[:, step - 1] if step else torch.full((len(batch), 2), -1)
    changes = {name: getattr(batch, name)[:, step] for name in ("obs", "state", "avail_actions", "alive")}
    running = torch.ones(len(batch), dtype=torch.bool)
    changes |= {"last_actions": last, "last_actions_taken": last, "running": running, "shown": running}
    return dataclasses.replace(view, **changes)


def test_playing_on_gives_the_codes_of_whole_episodes() -> None:
    spec = make_spec()
    history, batch = JointHistory(spec), random_batch(spec, 5)
    codes, hidden = history.unroll(batch.obs, batch.actions_taken), None
    for step in range(spec.episode_limit + 1):
        last = batch.actions_taken[:, step - 1] if step else torch.full((5, spec.n_agents), -1)
        code, hidden = history.advance(batch.obs[:, step], last, hidden)
        torch.testing.assert_close(code, codes[:, step], atol=1e-5, rtol=0)


def test_the_future_does_not_enter_a_code() -> None:
    spec = make_spec()
    history, batch = JointHistory(spec), random_batch(spec, 5)
    later = batch.obs.clone()
    later[:, 4:] += 1.0
    actions = batch.actions_taken.clone()
    actions[:, 4:] = 0
    first, second = history.unroll(batch.obs, batch.actions_taken), history.unroll(later, actions)
    assert torch.equal(first[:, :4], second[:, :4])
    assert not torch.equal(first[:, 4], second[:, 4])


def test_a_behaviour_model_learns_how_often_actions_are_taken() -> None:
    """Agent 0 mostly takes action 2, agent 1 only what its first dim says; illegal actions stay at probability 0."""
    spec, choice = make_spec(n_agents=2, n_actions=3, obs_dim=2, state_dim=2), torch.tensor([0.1, 0.2, 0.7])
    torch.manual_seed(0)
    attack = Ibal(spec, Threat(dims=1), K=1, action=False, rows=256, lr=3e-3, p_ref="behaviour_model", eps_ref=0.0)
    optimizer = attack.optimizer()
    for update in range(300):
        batch, g = random_batch(spec, 32, update), generator(update)
        drawn = choice.multinomial(32 * spec.episode_limit, replacement=True, generator=g).view(32, -1)
        told = (batch.obs[:, :-1, 1, 0] > 0).long()
        batch = dataclasses.replace(
            batch, actions=torch.stack([drawn, told], -1), avail_actions=torch.ones_like(batch.avail_actions)
        )
        optimizer.zero_grad()
        attack.loss(batch).loss.backward()
        optimizer.step()
    p = reference(attack, torch.ones(64, 2, 3, dtype=torch.bool))
    torch.testing.assert_close(p[:, 0].mean(0), choice, atol=0.05, rtol=0)
    torch.testing.assert_close(p[:, 1], F.one_hot((OBS[:, 1, 0] > 0).long(), 3).float(), atol=0.2, rtol=0)
    legal = torch.tensor([True, False, True]).expand(64, 2, 3)
    p = reference(attack, legal)
    assert not p[..., 1].any()
    torch.testing.assert_close(p.sum(-1), torch.ones(64, 2))


OBS = torch.randn(64, 2, 2, generator=generator(5)).sign()


def reference(attack: Ibal, avail_actions: Tensor) -> Tensor:
    """(B, N, A) "what if it acted otherwise"; the policy's own scores must not be asked."""

    def ask(obs: Tensor) -> Tensor:
        raise AssertionError("the policy was asked")

    view = random_view(attack.spec, len(OBS), 0)
    view = dataclasses.replace(view, obs=OBS, avail_actions=avail_actions, scores=ask)
    return attack.mask.reference(view, attack.mask.behaviour)


def test_mistyped_contexts_are_named() -> None:
    with pytest.raises(ValueError, match=r"attack\.history.*state, gru"):
        Ibal(SPEC, Threat(), history="grue")
    with pytest.raises(ValueError, match=r"attack\.p_ref.*behaviour_model"):
        Ibal(SPEC, Threat(), p_ref="behavior_model")
