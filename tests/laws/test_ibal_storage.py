"""What an attacked rollout stores, and what each learner reads of it (ALGORITHMS 1.4)."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from attacking import warm_ibal
from playing import make_spec, random_batch
from torch import Tensor

from ibal_lightning.attack import Threat
from ibal_lightning.attacks.ibal.attack import Ibal
from ibal_lightning.backbones.agents import last_actions
from ibal_lightning.backbones.ppo import Ippo, Mappo
from ibal_lightning.backbones.q_learner import Qmix, Qplex, Vdn
from ibal_lightning.envs.lbf import Lbf
from ibal_lightning.functional.masking import greedy
from ibal_lightning.functional.random import seeded
from ibal_lightning.rollout.collector import Collector
from ibal_lightning.rollout.replay import Replay
from ibal_lightning.types import EpisodeBatch, Timestep


class Watched(Lbf):
    """Remembers what was executed and what it showed."""

    def __init__(self, *, continuing_episode: bool = False) -> None:
        super().__init__(num_envs=16, seed=1, task="Foraging-5x5-3p-1f-v3", continuing_episode=continuing_episode)
        self.moves: list[Tensor] = []
        self.shown: list[Timestep] = []

    def step(self, actions: Tensor) -> Timestep:
        self.moves.append(actions.clone())
        now = super().step(actions)
        self.shown.append(now.map(torch.clone))
        return now


def attacked_rollout() -> tuple[Watched, Vdn, Ibal, EpisodeBatch]:
    """Greedy games under masks and overrides."""
    env = Watched()
    with seeded(0, "backbone"):
        backbone = Vdn(env.spec)
    attack = warm_ibal(env.spec, K=1, coupling="joint", strength="max").eval()
    batch = Collector(env, backbone, attack, seed=3).collect(env_steps=0, explore=False)
    return env, backbone, attack, batch


def test_stored_is_the_intended_and_the_executed_the_clean_and_the_seen() -> None:
    env, backbone, _, batch = attacked_rollout()
    real = batch.mask
    steps = range(batch.mask.shape[1])
    assert batch.attacked.any()
    assert (batch.obs_seen != batch.obs).any()
    executed, shown = torch.stack([env.moves[t] for t in steps], 1), [env.shown[t] for t in steps]
    assert torch.equal(batch.actions_taken[real], executed[real])
    assert torch.equal(batch.obs[:, 1:][real], torch.stack([now.obs for now in shown], 1)[real])
    assert torch.equal(batch.state[:, 1:][real], torch.stack([now.state for now in shown], 1)[real])
    assert torch.equal(batch.reward[real], torch.stack([now.reward for now in shown], 1)[real])
    assert torch.equal(batch.attacked[real], (batch.actions != batch.actions_taken)[real])
    meant = greedy(backbone.unroll(batch.obs_seen, last_actions(batch, "intended"))[0], batch.avail_actions)
    assert torch.equal(batch.actions[real], meant[:, :-1][real])


def test_the_observation_that_learners_bootstrap_from_is_masked_too() -> None:
    """Of a game cut by the time limit as of one that is over, beside games that go on or ended before."""
    env = Watched(continuing_episode=True)
    threat, backbone = Threat(dims=0.5), Vdn(env.spec)
    attack = Ibal(env.spec, threat, K=1, mask_rule="random_episode", action_score="inert", strength="max").eval()
    batch = Collector(env, backbone, attack, seed=3).collect(env_steps=0, explore=True)
    games, last = torch.arange(len(batch)), batch.length
    assert len(set(last.tolist())) > 1
    hidden = (batch.obs_seen != batch.obs).any(-1)
    assert hidden[games, last].all()
    assert batch.truncated[games, last - 1].any()


def test_the_stored_mask_is_never_computed_anew() -> None:
    env, backbone, attack, batch = attacked_rollout()
    replay = Replay(env.spec, attack, capacity=16)
    replay.add(batch)
    seen, loss = batch.obs_seen.clone(), backbone.loss(batch).loss
    torch.nn.init.normal_(attack.mask.model.joint.effects.v, std=9.0)  # estimators that would hide other dims
    attack.mask.table.uniform_()
    attack.reset(16, torch.Generator().manual_seed(9))
    taken = replay.take(torch.arange(16))
    assert torch.equal(taken.obs_seen, seen)
    torch.testing.assert_close(backbone.loss(taken).loss, loss)


def touched(batch: EpisodeBatch, slot: int) -> EpisodeBatch:
    """The batch with other masked observations in one slot; the sensors as they were."""
    seen = batch.obs_seen.clone()
    seen[:, slot] += 1.0
    return dataclasses.replace(batch, obs_seen=seen)


def test_q_learning_gathers_the_intended_and_reads_what_was_seen_on_both_sides() -> None:
    torch.manual_seed(0)
    backbone, batch = Vdn(make_spec(), td_lambda=0.0), random_batch(make_spec(), 6)
    trace = backbone.loss(batch).trace
    utilities = backbone.unroll(batch.obs_seen, last_actions(batch, "intended"))[0]
    q_tot = utilities[:, :-1].gather(-1, batch.actions[..., None])[..., 0].sum(-1)
    torch.testing.assert_close(trace["q_tot"][batch.mask], q_tot[batch.mask], atol=1e-5, rtol=1e-5)
    assert (batch.actions != batch.actions_taken)[batch.mask].any()
    slot = 4
    other = backbone.loss(touched(batch, slot)).trace
    going_on = batch.mask[:, slot]
    assert torch.equal(trace["q_tot"][:, :slot], other["q_tot"][:, :slot])
    assert (trace["q_tot"][:, slot] != other["q_tot"][:, slot])[going_on].all()
    assert torch.equal(trace["targets"][:, : slot - 1], other["targets"][:, : slot - 1])
    assert (trace["targets"][:, slot - 1] != other["targets"][:, slot - 1])[going_on].all()


@pytest.mark.parametrize("cls", [Qmix, Qplex])
def test_mixers_read_the_clean_state_on_both_sides(cls: type[Qmix] | type[Qplex]) -> None:
    torch.manual_seed(0)
    backbone, batch = cls(make_spec(), td_lambda=0.0), random_batch(make_spec(), 6)
    trace, slot = backbone.loss(batch).trace, 4
    state = batch.state.clone()
    state[:, slot] += 1.0
    other = backbone.loss(dataclasses.replace(batch, state=state)).trace
    going_on = batch.mask[:, slot]
    for name, changed in (("q_tot", slot), ("targets", slot - 1)):
        differs = (trace[name] != other[name])[going_on]
        assert differs[:, changed].all()
        differs[:, changed] = False
        assert not differs.any()


@pytest.mark.parametrize("cls", [Mappo, Ippo])
def test_ppo_weighs_the_intended_action_under_what_was_seen(cls: type[Mappo] | type[Ippo]) -> None:
    torch.manual_seed(0)
    backbone, batch = cls(make_spec()), random_batch(make_spec(), 6)
    extras, _ = backbone.prepare(batch)
    logits = backbone.unroll(batch.obs_seen, last_actions(batch, backbone.last_action_source))[0][:, :-1]
    log_pi = logits.masked_fill(~batch.avail_actions[:, :-1], float("-inf")).log_softmax(-1)
    expected = log_pi.gather(-1, batch.actions[..., None])[..., 0]
    torch.testing.assert_close(extras["log_prob"][batch.mask], expected[batch.mask], atol=1e-5, rtol=1e-5)


def test_the_critic_of_mappo_reads_the_clean_state_and_that_of_ippo_what_was_seen() -> None:
    batch = random_batch(make_spec(), 6)
    changes = {
        "seen": dataclasses.replace(batch, obs_seen=batch.obs_seen + 1),
        "clean": dataclasses.replace(batch, obs=batch.obs + 1),
        "state": dataclasses.replace(batch, state=batch.state + 1),
    }
    reads = {Mappo: {"state"}, Ippo: {"seen"}}
    for cls, expected in reads.items():
        torch.manual_seed(0)
        backbone = cls(make_spec())
        value = backbone.prepare(batch)[0]["value"][batch.mask]
        found = {n for n, b in changes.items() if not torch.equal(backbone.prepare(b)[0]["value"][batch.mask], value)}
        assert found == expected
