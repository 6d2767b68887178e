"""Laws of the learners: targets, ends of episodes, padding, order of games, rollout = unroll, exploration."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from playing import make_spec, random_batch
from torch import Tensor, nn

from ibal_lightning.backbone import Backbone
from ibal_lightning.backbones.agents import AgentNet, last_actions
from ibal_lightning.backbones.mixers import QmixMixer
from ibal_lightning.backbones.ppo import Ippo, Mappo
from ibal_lightning.backbones.ppo_options import PpoOptions
from ibal_lightning.backbones.ppo_terms import policy_mask
from ibal_lightning.backbones.q_learner import Qmix, Qplex, Vdn
from ibal_lightning.backbones.reward_norm import RewardNorm
from ibal_lightning.backbones.value_norm import ValueNorm
from ibal_lightning.cli.run_directory import load_part
from ibal_lightning.functional.masking import legal
from ibal_lightning.types import EpisodeBatch

Q_LEARNERS = (Vdn, Qmix, Qplex)
READ_STATE = (Qmix, Qplex, Mappo)
ALL = (*Q_LEARNERS, Mappo, Ippo)
OTHER_OPTIONS = {"use_rnn": False, "standardise_rewards": True}


def build(cls: type[Backbone], seed: int = 0, **options: object) -> Backbone:
    """A backbone with weights of its own and, for Q-learners, other weights in the target networks."""
    torch.manual_seed(seed)
    backbone = cls(make_spec(**options.pop("sizes", {})), **options)  # type: ignore[arg-type]
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            parameter.add_(0.1 * torch.randn_like(parameter) * name.startswith("target"))
    return backbone


def losses(backbone: Backbone, batch: EpisodeBatch) -> list[Tensor]:
    """The loss of every minibatch, each followed by its gradients; the backbone is left as it was."""
    backbone, found = copy.deepcopy(backbone), []
    for part in backbone.minibatches(batch, torch.Generator().manual_seed(0)):
        backbone.zero_grad()
        loss = backbone.loss(part).loss
        loss.backward()
        found += [loss.detach(), *(p.grad for p in backbone.parameters() if p.grad is not None)]
    return found


def same(ones: list[Tensor], others: list[Tensor]) -> bool:
    """Bit for bit, losses and gradients. A PPO loss alone may not tell: at ratio 1 it is nearly a constant."""
    return all(torch.equal(one, other) for one, other in zip(ones, others, strict=True))


def spoil_padding(batch: EpisodeBatch) -> EpisodeBatch:
    """Other content in every padded step and slot: flags, actions, huge observations, nothing legal."""
    slot = torch.cat([torch.ones_like(batch.mask[:, :1]), batch.mask], 1)

    def outside(x: Tensor, value: float) -> Tensor:
        mask = batch.mask if x.shape[1] == batch.mask.shape[1] else slot
        return x.masked_fill(~mask.view(*mask.shape, *[1] * (x.ndim - 2)), value)

    return dataclasses.replace(
        batch,
        obs=outside(batch.obs, 1e3),
        obs_seen=outside(batch.obs_seen, -1e3),
        state=outside(batch.state, 1e3),
        avail_actions=outside(batch.avail_actions, False),
        alive=outside(batch.alive, True),
        actions=outside(batch.actions, 3),
        reward=outside(batch.reward, float("nan")),
        terminated=outside(batch.terminated, True),
        truncated=outside(batch.truncated, True),
    )


@pytest.mark.parametrize("options", [{}, OTHER_OPTIONS])
@pytest.mark.parametrize("cls", ALL)
def test_padding_has_no_influence_to_the_bit(cls: type[Backbone], options: dict[str, bool]) -> None:
    backbone, batch = build(cls, **options), random_batch(make_spec(), 6)
    assert same(losses(backbone, batch), losses(backbone, spoil_padding(batch)))


@pytest.mark.parametrize("cls", ALL)
def test_longer_padding_has_no_influence(cls: type[Backbone]) -> None:
    backbone, batch = build(cls), random_batch(make_spec(), 6)
    short = dataclasses.replace(batch, mask=batch.mask & (torch.arange(9) < 5))
    assert short.trim().mask.shape[1] == 5
    assert same(losses(backbone, short), losses(backbone, short.trim()))


@pytest.mark.parametrize("options", [{}, OTHER_OPTIONS])
@pytest.mark.parametrize("cls", ALL)
def test_the_order_of_games_does_not_matter(cls: type[Backbone], options: dict[str, bool]) -> None:
    backbone, batch = build(cls, **options), random_batch(make_spec(), 6)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(1))
    for here, there in zip(losses(backbone, batch), losses(backbone, batch.map(lambda x: x[order])), strict=True):
        torch.testing.assert_close(here, there, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize(
    "options", [{}, {"last_action": False, "agent_id": False}, {"last_action": True}, {"use_rnn": False}]
)
def test_step_by_step_equals_the_unrolled_sequence(cls: type[Backbone], options: dict[str, bool]) -> None:
    backbone, batch = build(cls, **options), random_batch(make_spec(), 4)
    last, hidden = last_actions(batch, "intended"), backbone.initial_hidden(4)
    whole, hiddens = backbone.unroll(batch.obs_seen, last)  # type: ignore[operator]
    for t in range(10):
        scores, hidden = backbone.scores(batch.obs_seen[:, t], last[:, t], hidden)
        torch.testing.assert_close(scores, whole[:, t], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(hidden, hiddens[:, -1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("use_rnn", [True, False])
@pytest.mark.parametrize("cls", ALL)
def test_only_agents_with_memory_remember(cls: type[Backbone], use_rnn: bool) -> None:
    backbone, batch = build(cls, use_rnn=use_rnn), random_batch(make_spec(), 4)
    other = batch.obs_seen.clone()
    other[:, 0] += 1
    last = last_actions(batch, "intended")
    before, after = (backbone.unroll(obs, last)[0][:, 1:] for obs in (batch.obs_seen, other))  # type: ignore[operator]
    assert torch.equal(before, after) != use_rnn


@pytest.mark.parametrize("cls", ALL)
def test_the_looked_up_inputs_are_the_one_hot_ones(cls: type[Backbone]) -> None:
    backbone = build(cls, last_action=True)
    net = backbone.actor if backbone.on_policy else backbone.agent
    obs, last = torch.randn(4, 3, 6), torch.tensor([[-1, 0, 4], [1, -1, 2], [0, 0, 0], [-1, -1, -1]])
    one_hot = nn.functional.one_hot(last + 1, 6)[..., 1:].float()
    x = torch.cat([net._norm(0, obs), one_hot, torch.eye(3).expand(4, 3, 3)], -1)
    expected = net._norm(1, torch.relu(net.fc1(x)))
    torch.testing.assert_close(net.embed(obs, last), expected, atol=1e-6, rtol=1e-5)


def double_dqn_targets(backbone: Qmix, batch: EpisodeBatch) -> Tensor:
    """r + gamma (1 - terminated) Q^-(s', argmax_a Q(s', a)) of the single agent, written out."""
    last = last_actions(batch, "intended")
    online = legal(backbone.unroll(batch.obs_seen, last)[0], batch.avail_actions)[:, 1:, 0]
    slow = backbone.target_agent.unroll(batch.obs_seen, last)[0][:, 1:, 0]
    bootstrap = slow.gather(-1, online.argmax(-1, keepdim=True)).squeeze(-1)
    return batch.reward + 0.99 * (~batch.terminated) * bootstrap


def identity_mixer(mixer: QmixMixer, shift: float) -> None:
    """Q_tot = 1 x elu(1 x q + shift) - shift, which is q itself wherever q > -shift."""
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.zero_()
        mixer.hyper_w_1[2].bias[0] = 1.0
        mixer.hyper_w_final[2].bias[0] = 1.0
        mixer.hyper_b_1.bias[0] = shift
        mixer.V[2].bias[0] = -shift


@pytest.mark.parametrize("cls", [Vdn, Qmix])
def test_the_target_of_a_single_agent_is_double_dqns(cls: type[Backbone]) -> None:
    """VDN's mixer is the identity for one agent; QMIX's is where its hypernetworks give weights of one."""
    backbone = build(cls, sizes={"n_agents": 1}, td_lambda=0.0)
    if cls is Qmix:
        identity_mixer(backbone.target_mixer, shift=8.0)  # type: ignore[arg-type]
    batch = random_batch(make_spec(n_agents=1), 6)
    targets = backbone.loss(batch).trace["targets"]
    expected = double_dqn_targets(backbone, batch)
    torch.testing.assert_close(targets[batch.mask], expected[batch.mask], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cls", Q_LEARNERS)
def test_plain_targets_maximise_with_the_target_network(cls: type[Backbone]) -> None:
    backbone, batch = build(cls, td_lambda=0.0, double_q=False), random_batch(make_spec(), 5)
    slow = backbone.target_agent.unroll(batch.obs_seen, last_actions(batch, "intended"))[0]
    best, actions = legal(slow, batch.avail_actions).max(-1)
    rows = (best[:, 1:], batch.state[:, 1:], actions[:, 1:], best[:, 1:])
    q_tot = backbone.target_mixer(*[x.flatten(0, 1) for x in rows]).view(5, 9)
    expected = batch.reward + 0.99 * (~batch.terminated) * q_tot
    targets = backbone.loss(batch).trace["targets"]
    torch.testing.assert_close(targets[batch.mask], expected[batch.mask], atol=1e-5, rtol=1e-5)


def joint_bootstraps(backbone: Backbone, batch: EpisodeBatch) -> Tensor:
    """(B, T) Q_tot^-(s', argmax_a Q(s', a)): the online network chooses, the target network values, written out."""
    last = last_actions(batch, "intended")
    chosen = legal(backbone.unroll(batch.obs_seen, last)[0], batch.avail_actions).argmax(-1)
    slow = legal(backbone.target_agent.unroll(batch.obs_seen, last)[0], batch.avail_actions)  # type: ignore[operator, union-attr]
    taken = slow.gather(-1, chosen.unsqueeze(-1)).squeeze(-1)
    rows = (taken, batch.state, chosen, slow.max(-1).values)
    return backbone.target_mixer(*[x[:, 1:].flatten(0, 1) for x in rows]).view(batch.reward.shape)  # type: ignore[operator]


@pytest.mark.parametrize("options", [{"td_lambda": 0.8}, {"td_lambda": 0.0, "n_step": 3}], ids=["lambda", "n_step"])
@pytest.mark.parametrize("cls", Q_LEARNERS)
def test_targets_of_teams_look_ahead_as_asked(cls: type[Backbone], options: dict[str, float]) -> None:
    """Game by game and step by step from the definitions: Peng's lambda returns, and n-step returns."""
    backbone, batch, gamma = build(cls, **options), random_batch(make_spec(), 6), 0.99
    values, targets = joint_bootstraps(backbone, batch), backbone.loss(batch).trace["targets"]
    for game, length in enumerate(batch.length.tolist()):
        reward, value = batch.reward[game], values[game] * ~batch.terminated[game]
        expected = torch.zeros(length)
        for t in reversed(range(length)):
            if "n_step" in options:
                end = min(t + 3, length)
                rewards = sum(gamma ** (k - t) * reward[k] for k in range(t, end))
                expected[t] = rewards + gamma ** (end - t) * value[end - 1]
            else:
                ahead = value[t] if t == length - 1 else 0.2 * value[t] + 0.8 * expected[t + 1]
                expected[t] = reward[t] + gamma * ahead
        torch.testing.assert_close(targets[game, :length], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cls", ALL)
def test_learners_read_intended_actions_and_what_was_seen(cls: type[Backbone]) -> None:
    backbone, batch = build(cls), random_batch(make_spec(), 6)
    blind = dataclasses.replace(batch, obs=torch.randn_like(batch.obs), actions_taken=batch.actions_taken * 0)
    assert same(losses(backbone, batch), losses(backbone, blind))
    other = dataclasses.replace(batch, obs_seen=batch.obs)
    assert not same(losses(backbone, batch), losses(backbone, other))


@pytest.mark.parametrize("cls", ALL)
def test_what_terminates_is_valued_otherwise_than_what_is_truncated(cls: type[Backbone]) -> None:
    backbone, batch = build(cls), random_batch(make_spec(), 6)
    ends = batch.terminated | batch.truncated
    nothing = torch.zeros_like(ends)
    ended = dataclasses.replace(batch, terminated=ends, truncated=nothing)
    cut = dataclasses.replace(batch, terminated=nothing, truncated=ends)
    later = dataclasses.replace(cut, terminated=nothing, truncated=nothing)
    assert losses(backbone, ended)[0] != losses(backbone, cut)[0]
    assert losses(backbone, cut)[0] == losses(backbone, later)[0]


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("explore", [False, True])
def test_selected_actions_are_legal(cls: type[Backbone], explore: bool) -> None:
    backbone, batch = build(cls), random_batch(make_spec(), 50)
    avail = batch.avail_actions[:, 0]
    scores, _ = backbone.scores(batch.obs[:, 0], torch.full((50, 3), -1), backbone.initial_hidden(50))
    select: Callable[..., Tensor] = backbone.select
    actions = select(scores, avail, env_steps=0, explore=explore, generator=torch.Generator().manual_seed(0))
    assert bool(avail.gather(-1, actions[..., None]).all())


def test_no_time_to_anneal_begins_at_the_end() -> None:
    assert build(Vdn, epsilon_anneal=0, epsilon_finish=0.1).options.epsilon(0) == 0.1


def test_epsilon_anneals_over_env_steps_and_governs_exploration() -> None:
    backbone = build(Vdn, epsilon_start=0.9, epsilon_finish=0.1, epsilon_anneal=100)
    assert [round(backbone.exploration(t), 6) for t in (0, 50, 100, 10_000)] == [0.9, 0.5, 0.1, 0.1]
    scores, avail = torch.tensor([0.0, 1.0]).expand(20_000, 3, 2), torch.ones(20_000, 3, 2, dtype=torch.bool)
    actions = backbone.select(scores, avail, env_steps=50, explore=True, generator=torch.Generator().manual_seed(0))
    assert float((actions == 0).float().mean()) == pytest.approx(0.25, abs=0.01)


def test_policies_are_sampled_as_their_softmax_over_legal_actions_says() -> None:
    scores, avail = torch.tensor([0.0, 1.0, 2.0, 9.0]), torch.tensor([True, True, True, False])
    actions = build(Mappo).select(
        scores.expand(30_000, 1, 4),
        avail.expand(30_000, 1, 4),
        env_steps=0,
        explore=True,
        generator=torch.Generator().manual_seed(0),
    )
    shares = torch.bincount(actions.flatten(), minlength=4) / 30_000
    torch.testing.assert_close(shares, legal(scores, avail).softmax(-1), atol=0.01, rtol=0.0)


def test_hard_and_soft_target_updates() -> None:
    hard, soft = build(Qmix, target_interval=3, target_tau=1.0), build(Qmix, target_interval=1, target_tau=0.25)
    before = soft.target_agent.fc1.weight.clone()
    for updates in (1, 2):
        hard.after_update(updates)
        assert not torch.equal(hard.target_agent.fc1.weight, hard.agent.fc1.weight)
    hard.after_update(3)
    for slow, online in ((hard.target_agent, hard.agent), (hard.target_mixer, hard.mixer)):
        assert all(map(torch.equal, slow.parameters(), online.parameters()))
    soft.after_update(1)
    torch.testing.assert_close(soft.target_agent.fc1.weight, 0.75 * before + 0.25 * soft.agent.fc1.weight)


@pytest.mark.parametrize("cls", Q_LEARNERS)
def test_no_gradient_reaches_the_target_networks(cls: type[Backbone]) -> None:
    backbone = build(cls)
    backbone.loss(random_batch(make_spec(), 4)).loss.backward()
    for name, parameter in backbone.named_parameters():
        assert (parameter.grad is None) == name.startswith("target"), name


@pytest.mark.parametrize("cls", [Mappo, Ippo])
@pytest.mark.parametrize("chunk_length", [1, 2, 4, 9])
def test_chunks_start_from_the_stored_memory(cls: type[Backbone], chunk_length: int) -> None:
    """Before any update the policy of the chunks is the policy of the whole episodes: every ratio is one."""
    backbone, batch = build(cls, chunk_length=chunk_length, epochs=1), random_batch(make_spec(), 6)
    (part,) = backbone.minibatches(batch, torch.Generator())
    out = backbone.loss(part)
    assert float(out.logs["approx_kl"]) == pytest.approx(0.0, abs=1e-6)
    values = out.trace["values"].masked_fill(~part.mask[..., None], 0.0)
    torch.testing.assert_close(values, part.extras["value"].masked_fill(~part.mask[..., None], 0.0))
    assert int(part.mask.sum()) == int(batch.mask.sum())


def test_minibatches_deal_every_game_once_per_epoch() -> None:
    backbone, batch = build(Mappo, chunk_length=2, epochs=2, minibatches=3), random_batch(make_spec(), 6)
    parts = list(backbone.minibatches(batch, torch.Generator().manual_seed(0)))
    assert len(parts) == 6
    for epoch in (parts[:3], parts[3:]):
        rewards = torch.cat([part.reward[part.mask] for part in epoch])
        torch.testing.assert_close(rewards.sort().values, batch.reward[batch.mask].sort().values)


def test_dead_and_overridden_agents_leave_the_policy_loss() -> None:
    batch = random_batch(make_spec(), 6)
    plain = policy_mask(batch, PpoOptions())
    assert torch.equal(plain, batch.mask[..., None] & batch.alive[:, :-1])
    every = policy_mask(batch, PpoOptions(policy_active_masks=False))
    assert torch.equal(every, batch.mask[..., None].expand_as(every))
    dropped = policy_mask(batch, PpoOptions(drop_overridden=True))
    assert torch.equal(dropped, plain & ~batch.attacked)


@pytest.mark.parametrize("cls", [Mappo, Ippo])
def test_n_step_targets_are_td_at_one_step_and_monte_carlo_beyond_the_end(cls: type[Backbone]) -> None:
    spec, batch = make_spec(), random_batch(make_spec(), 6)

    def target(**options: object) -> Tensor:
        return build(cls, value_norm=False, **options).prepare(batch.trim())[0]["target"]

    torch.testing.assert_close(target(n_step=1), target(gae_lambda=0.0))
    torch.testing.assert_close(target(n_step=spec.episode_limit), target(gae_lambda=1.0))


@pytest.mark.parametrize("cls", [Mappo, Ippo])
def test_the_target_critic_bootstraps_and_follows_once_a_batch(cls: type[Backbone]) -> None:
    batch, plain, slow = random_batch(make_spec(), 6), build(cls), build(cls, target_tau=0.25)
    assert [p.requires_grad for p in slow.target_critic.parameters()].count(True) == 0
    slow.load_state_dict({**slow.state_dict(), **plain.state_dict()})
    slow.after_update(0)
    for one, two in zip(losses(plain, batch), losses(slow, batch), strict=True):
        torch.testing.assert_close(one, two)  # while both critics are the same
    with torch.no_grad():
        before = [p.clone() for p in slow.critic.parameters()]
        for parameter in slow.critic.parameters():
            parameter.add_(1.0)
    slow.prepare(batch.trim())
    for was, now in zip(before, slow.target_critic.parameters(), strict=True):
        torch.testing.assert_close(now, was + 0.25)


def test_value_norm_measures_and_inverts() -> None:
    norm, returns = ValueNorm(0.9), torch.randn(1000, generator=torch.Generator().manual_seed(0)) * 5 + 20
    torch.testing.assert_close(norm.normalize(returns), returns)
    norm.update(torch.cat([returns, torch.full((10,), float("nan"))]), torch.arange(1010) < 1000)
    scaled = norm.normalize(returns)
    assert float(scaled.mean()) == pytest.approx(0.0, abs=1e-4)
    assert float(scaled.std()) == pytest.approx(1.0, abs=1e-2)
    torch.testing.assert_close(norm.denormalize(scaled), returns, atol=1e-4, rtol=1e-4)


def with_groups(batch: EpisodeBatch) -> EpisodeBatch:
    group = torch.tensor([[1, 2, 2], [0, 0, 0], [2, 1, 1]], dtype=torch.int8)
    return dataclasses.replace(batch, group=group[torch.arange(len(batch)) % 3])


@pytest.mark.parametrize("cls", READ_STATE)
def test_a_group_context_starts_at_the_values_without_it(cls: type[Backbone], tmp_path: Path) -> None:
    """Weights go over both ways as ``training.init_from`` takes them."""
    batch, plain, told = with_groups(random_batch(make_spec(), 6)), build(cls), build(cls, 1, mixer_context="group")
    load_part(told, {"state_dict": {f"backbone.{k}": v for k, v in plain.state_dict().items()}}, "backbone", tmp_path)
    for backbone in (plain, told):
        backbone.after_update(0)
    untold = losses(told, batch)
    assert torch.equal(losses(plain, batch)[0], untold[0])
    with torch.no_grad():
        told.context.members.add_(1.0)
    assert not same(untold, losses(told, batch))
    back = build(cls, 2)
    load_part(back, {"state_dict": {f"backbone.{k}": v for k, v in told.state_dict().items()}}, "backbone", tmp_path)
    back.after_update(0)
    assert same(losses(plain, batch), losses(back, batch))


@pytest.mark.parametrize("cls", [Qmix, Qplex])
def test_targets_read_the_target_context_which_follows(cls: type[Backbone]) -> None:
    backbone, batch = build(cls, mixer_context="group", target_tau=0.5), with_groups(random_batch(make_spec(), 6))
    targets = backbone.loss(batch).trace["targets"]
    with torch.no_grad():
        backbone.target_context.members.zero_()
        backbone.context.members.fill_(2.0)
    unmoved = backbone.loss(batch).trace["targets"]
    backbone.after_update(1)
    assert torch.equal(backbone.target_context.members, torch.ones_like(backbone.context.members))
    attacked = (batch.group == 1).any(1)
    moved = backbone.loss(batch).trace["targets"] - unmoved
    assert targets.shape == moved.shape
    assert (moved[attacked] != 0).any()


@pytest.mark.parametrize(("context", "least", "most"), [("none", 0.15, 1.1), ("group", 0.0, 0.05)])
@pytest.mark.parametrize("cls", READ_STATE)
def test_only_a_group_context_tells_attacked_games_apart(
    cls: type[Backbone], context: str, least: float, most: float
) -> None:
    """Two games that differ in who is attacked and in what they pay, and in nothing that agents read."""
    one = random_batch(make_spec(), 1)
    both = one.map(lambda x: torch.cat([x, x]))
    group = torch.tensor([[1, 2, 2], [0, 0, 0]], dtype=torch.int8)
    last = torch.zeros_like(both.reward)
    last[:, int(one.length) - 1] = torch.tensor([-1.0, 1.0])
    ends = {"terminated": last != 0, "truncated": last > 1}
    both = dataclasses.replace(both, group=group, reward=last, **ends)
    settings = {"epochs": 1, "critic_lr": 3e-3} if cls is Mappo else {"td_lambda": 1.0}
    backbone = build(cls, mixer_context=context, gamma=1.0, lr=3e-3, **settings)
    optimizer = backbone.optimizer()
    for update in range(150):
        for part in backbone.minibatches(both, torch.Generator().manual_seed(update)):
            out = backbone.loss(part)
            optimizer.zero_grad()
            out.loss.backward()
            optimizer.step()
        backbone.after_update(update + 1)
    error = out.logs["value_loss"] if cls is Mappo else out.logs["loss"]
    assert least < float(error) < most


@pytest.mark.slow
@pytest.mark.parametrize("cls", [Qmix, Qplex])
def test_a_compiled_mixer_learns_the_same(cls: type[Backbone]) -> None:
    batch = random_batch(make_spec(), 6)
    plain, compiled = (build(cls, compile_mixer=choice) for choice in (False, True))
    assert compiled.mixer._compiled_call_impl is not None
    for backbone in (plain, compiled):
        backbone.loss(batch).loss.backward()
    for here, there in zip(plain.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(here.grad, there.grad, atol=1e-5, rtol=1e-4)


def test_rewards_are_standardised_by_all_that_were_given() -> None:
    norm, g = RewardNorm(), torch.Generator().manual_seed(0)
    seen = torch.zeros(0)
    for length in (5, 2, 9, 40):
        reward = torch.randn(3, length, generator=g) * 0.01 + 100  # far from 0
        mask = torch.rand(reward.shape, generator=g) < 0.7
        seen = torch.cat([seen, reward[mask]])
        found = norm(reward.masked_fill(~mask, float("nan")), mask)
        expected = (reward - seen.mean()) / seen.std(correction=0)
        torch.testing.assert_close(found[mask], expected[mask], atol=0.02, rtol=0.01)


def test_last_targets_are_the_standardised_rewards() -> None:
    backbone, batch = build(Vdn, standardise_rewards=True, td_lambda=0.0), random_batch(make_spec(), 6).trim()
    targets = backbone.loss(batch).trace["targets"]
    real = batch.reward[batch.mask]
    ends = batch.mask & batch.terminated
    assert bool(ends.any())
    expected = (batch.reward - real.mean()) / real.std(correction=0)
    torch.testing.assert_close(targets[ends], expected[ends], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("cls", "options", "words"),
    [
        (Vdn, {"mixer_context": "group"}, ["mixer_context=group", "qmix or qplex"]),
        (Ippo, {"mixer_context": "group"}, ["mixer_context=group", "mappo"]),
        (Mappo, {"mixer_context": "groups"}, ["mixer_context", "none, group"]),
        (Vdn, {"n_step": 3}, ["n_step=3", "td_lambda=0.8"]),
        (Qmix, {"optimizer": "adm"}, ["optimizer", "adam, rmsprop", "did you mean 'adam'"]),
        (Qmix, {"td_lambda": 1.5}, ["td_lambda", "between 0 and 1", "1.5"]),
        (Qmix, {"hypernet_layers": 3}, ["hypernet_layers", "between 1 and 2", "3"]),
        (Qplex, {"adv_hypernet_layers": 4}, ["adv_hypernet_layers", "between 1 and 3", "4"]),
        (Mappo, {"chunk_length": 10}, ["chunk_length=10", "episode_limit=9"]),
        (Mappo, {"optim_eps": 0.0}, ["optim_eps", ">= 1e-12"]),
        (Mappo, {"target_tau": 2.0}, ["backbone.target_tau", "between 0 and 1"]),
        (Ippo, {"minibatches": 0}, ["minibatches", ">= 1", "0"]),
        (Mappo, {"huber_delta": 0.0}, ["backbone.huber_delta", ">= 1e-12"]),
        (Mappo, {"value_norm_decay": 1.0}, ["backbone.value_norm_decay=1", "backbone.value_norm=false"]),
        (Ippo, {"fc_layers": 0}, ["backbone.fc_layers", ">= 1"]),
        (Qmix, {"mixing_dim": 0}, ["backbone.mixing_dim", ">= 1", "0"]),
        (Qmix, {"hypernet_dim": -1}, ["backbone.hypernet_dim", ">= 1", "-1"]),
        (Qplex, {"hypernet_dim": 0}, ["backbone.hypernet_dim", ">= 1", "0"]),
        (Qplex, {"adv_hypernet_dim": -3, "adv_hypernet_layers": 2}, ["backbone.adv_hypernet_dim", ">= 1", "-3"]),
    ],
)
def test_contradictions_are_named(cls: type[Backbone], options: dict[str, object], words: list[str]) -> None:
    with pytest.raises(ValueError, match=r"\w") as error:
        build(cls, **options)
    assert all(word in str(error.value) for word in words), error.value


def test_minibatches_that_do_not_divide_are_named() -> None:
    with pytest.raises(ValueError, match=r"minibatches=4 does not divide .*num_envs=6: use backbone.minibatches=3"):
        build(Mappo, minibatches=4).check_rollout(6)


@pytest.mark.parametrize("games", [1, 2, 5])
def test_a_batch_that_lost_games_is_still_learnt_from_whole(games: int) -> None:
    """A crashed game is dropped from its batch: minibatches are smaller or fewer, and every game is in one."""
    backbone, batch = build(Mappo, epochs=1, minibatches=3), random_batch(make_spec(), games)
    parts = list(backbone.minibatches(batch, torch.Generator().manual_seed(0)))
    assert len(parts) == min(games, 3)
    rewards = torch.cat([part.reward[part.mask] for part in parts])
    torch.testing.assert_close(rewards.sort().values, batch.reward[batch.mask].sort().values)


@pytest.mark.parametrize("cls", [Mappo, Ippo])
def test_more_layers_stand_before_the_memory(cls: type[Backbone]) -> None:
    """on-policy's base: relu and LayerNorm behind every layer, here by hand; orthogonal with relu's gain."""
    plain, deep = build(cls).actor, build(cls, fc_layers=3).actor
    extra = set(deep.state_dict()) - set(plain.state_dict())
    assert len(extra) == 2 * 4
    obs, last = torch.randn(5, 3, deep.obs_dim), torch.full((5, 3), -1)
    x = AgentNet.embed(plain_with(plain, deep), obs, last)
    for linear, norm in ((deep.more[0], deep.more[2]), (deep.more[3], deep.more[5])):
        gram = linear.weight @ linear.weight.t()
        torch.testing.assert_close(gram, 2 * torch.eye(len(gram)), atol=1e-4, rtol=1e-4)
        x = norm((x @ linear.weight.t() + linear.bias).relu())
    torch.testing.assert_close(deep.embed(obs, last), x)


def plain_with(plain: AgentNet, deep: AgentNet) -> AgentNet:
    """The shallow network with the weights that both have."""
    names = plain.state_dict()
    plain.load_state_dict({name: value for name, value in deep.state_dict().items() if name in names})
    return plain


def test_a_ppo_loss_without_its_extras_is_refused() -> None:
    with pytest.raises(ValueError, match="minibatches"):
        build(Ippo).loss(random_batch(make_spec(), 4))
