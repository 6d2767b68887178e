"""Probe environments and matrix games: they keep their contract, and every backbone finds the known values."""

from __future__ import annotations

import pytest
import torch
from playing import play, train
from torch import Tensor

from ibal_lightning.backbone import Backbone
from ibal_lightning.backbones.agents import last_actions
from ibal_lightning.backbones.ppo import Ippo, Mappo, Ppo
from ibal_lightning.backbones.q_learner import Qmix, Qplex, Vdn
from ibal_lightning.env import Env
from ibal_lightning.envs.matrix_game import MatrixGame
from ibal_lightning.envs.probes import PROBES, ConstantReward, CuedAction, OwnAction, Probe
from ibal_lightning.types import EpisodeBatch

GAMMA = 0.8
Q_OPTIONS = {
    "gamma": GAMMA,
    "lr": 1e-2,
    "td_lambda": 0.6,
    "target_interval": 5,
    "target_tau": 1.0,
    "epsilon_start": 0.3,
    "epsilon_finish": 0.3,
}
PPO_OPTIONS = {"gamma": GAMMA, "lr": 3e-3, "critic_lr": 1e-2, "epochs": 5, "value_norm_decay": 0.9}
LEARNERS = {
    "vdn": (Vdn, Q_OPTIONS, 120),
    "qmix": (Qmix, Q_OPTIONS, 120),
    "qplex": (Qplex, Q_OPTIONS, 200),
    "mappo": (Mappo, PPO_OPTIONS, 30),
    "ippo": (Ippo, PPO_OPTIONS, 30),
}
ENVS = (*PROBES, MatrixGame)


@torch.no_grad()
def learnt_value(backbone: Backbone, batch: EpisodeBatch) -> Tensor:
    """(B,) greedy value, or the critics' mean value, of the first step."""
    last = last_actions(batch, "intended")
    if isinstance(backbone, Ppo):
        values, _ = backbone.critic(batch.obs_seen, batch.state, last, None)
        assert backbone.value_norm is not None
        return backbone.value_norm.denormalize(values)[:, 0].mean(1)
    best, actions = backbone.unroll(batch.obs_seen, last)[0][:, 0].max(-1)  # type: ignore[operator]
    return backbone.mixer(best, batch.state[:, 0], actions, best)  # type: ignore[operator]


def greedy_actions(backbone: Backbone, batch: EpisodeBatch) -> Tensor:
    """(B, N) greedy actions at the first step."""
    start = torch.full(batch.actions.shape[::2], -1)
    scores, _ = backbone.scores(batch.obs[:, 0], start, backbone.initial_hidden(len(batch)))
    return scores.argmax(-1)


# The simplest probe tells where to look when the others fail; when they pass it adds nothing.
SIMPLEST = pytest.param(ConstantReward, marks=pytest.mark.slow)


@pytest.mark.parametrize("probe", [SIMPLEST, *PROBES[1:]], ids=lambda p: p.name)
@pytest.mark.parametrize("learner", LEARNERS)
def test_every_backbone_finds_the_known_value(learner: str, probe: type[Probe]) -> None:
    cls, options, rollouts = LEARNERS[learner]
    env = probe(num_envs=32, seed=1)
    torch.manual_seed(0)
    backbone = cls(env.spec, **options)
    train(env, backbone, rollouts=rollouts)
    batch = play(env, backbone, torch.Generator().manual_seed(1))
    known = env.known_value(GAMMA)
    torch.testing.assert_close(learnt_value(backbone, batch), known, atol=0.05, rtol=0.05)
    actions = greedy_actions(backbone, batch)
    if probe is OwnAction:
        assert bool((actions == 1).all())
    if probe is CuedAction:
        assert torch.equal(actions, (batch.state[:, 0, :1] > 0).long().expand_as(actions))


@pytest.mark.parametrize("probe", PROBES, ids=lambda p: p.name)
def test_the_known_value_is_the_return_of_optimal_play(probe: type[Probe]) -> None:
    env = probe(num_envs=8, seed=3)
    now = env.reset()
    value, gain, total = env.known_value(GAMMA), 1.0, torch.zeros(8)
    cue = (now.state[:, :1] > 0).long()
    best = cue.expand(8, 2) if probe is CuedAction else torch.ones(8, 2, dtype=torch.long)
    for _ in range(env.spec.episode_limit):
        now = env.step(best)
        total += gain * now.reward
        gain *= GAMMA
    total += gain * value * now.truncated
    torch.testing.assert_close(total, value)


@pytest.mark.parametrize("cls", ENVS, ids=lambda e: e.name)
def test_toy_games_keep_the_contract(cls: type[MatrixGame] | type[Probe]) -> None:
    env = cls(num_envs=5, seed=0)
    assert isinstance(env, Env)
    now = env.reset()
    assert now.obs.shape == (5, env.spec.n_agents, env.spec.obs_dim)
    assert now.state.shape == (5, env.spec.state_dim)
    assert now.avail_actions.shape == (5, env.spec.n_agents, env.spec.n_actions)
    assert not bool((now.terminated | now.truncated).any())
    actions = torch.ones(5, env.spec.n_agents, dtype=torch.long)
    for _ in range(env.spec.episode_limit):
        now = env.step(actions)
    over = now.terminated ^ now.truncated
    assert bool(over.all())
    after = env.step(actions)
    assert float(after.reward.abs().sum()) == 0.0
    assert torch.equal(after.obs, now.obs)
    half = torch.tensor([True, False, True, False, False])
    again = env.reset(mask=half)
    assert torch.equal(again.terminated | again.truncated, ~half)


def test_one_seed_gives_one_game_and_a_saved_state_resumes() -> None:
    env, twin = CuedAction(num_envs=64, seed=5), CuedAction(num_envs=64, seed=5)
    assert torch.equal(env.reset().state, twin.reset().state)
    saved = {name: value.clone() for name, value in env.state_dict().items()}
    following = env.reset().state
    other = CuedAction(num_envs=64, seed=9)
    other.load_state_dict(saved)
    assert torch.equal(other.reset().state, following)
    assert not torch.equal(env.reset(seed=1).state, env.reset(seed=2).state)
    assert torch.equal(env.reset(seed=0).state, CuedAction(num_envs=64, seed=0).reset().state)


@pytest.mark.parametrize(("game", "best"), [("climbing", (0, 0)), ("penalty", (0, 0)), ("qtran", (0, 0))])
def test_matrix_games_pay_their_matrix_and_know_their_winner(game: str, best: tuple[int, int]) -> None:
    env = MatrixGame(num_envs=9, seed=0, game=game, penalty=-50.0)
    joint = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    now = env.step(joint)
    assert torch.equal(now.reward.view(3, 3), env.matrix)
    assert bool(now.info["won"].view(3, 3)[best] == 1)
    assert torch.equal(now.info["won"] == 1, now.reward == now.reward.max())


def test_wrong_games_and_actions_are_named() -> None:
    with pytest.raises(ValueError, match="did you mean 'climbing'"):
        MatrixGame(num_envs=1, seed=0, game="climing")
    with pytest.raises(ValueError, match="num_envs must be a whole number of at least 1, not 0"):
        MatrixGame(num_envs=0, seed=0)
    env = MatrixGame(num_envs=2, seed=0)
    env.reset()
    for seed in (True, 1.5, "a"):
        with pytest.raises(ValueError, match="seed must be a whole number"):
            env.reset(seed=seed)
    with pytest.raises(ValueError, match=r"Illegal action 3 of agent 0 in game 1; legal: \[0, 1, 2\]"):
        env.step(torch.tensor([[0, 0], [3, 0]]))
    with pytest.raises(ValueError, match="ally_health"):
        env.configure(ally_health=0.5)
