"""Laws of the data path: the attack proposes, the threat disposes; storage loses nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ibal_lightning.attack import Attack, Threat
from ibal_lightning.attacks.ibal.attack import Ibal
from ibal_lightning.attacks.random_mask import RandomMask
from ibal_lightning.attacks.random_obs import RandomObs
from ibal_lightning.backbone import Backbone
from ibal_lightning.backbones.ppo import Mappo
from ibal_lightning.backbones.q_learner import Vdn
from ibal_lightning.envs.lbf import Lbf
from ibal_lightning.functional.random import seeded
from ibal_lightning.rollout.collector import Collector
from ibal_lightning.rollout.replay import Replay, episode_bytes
from ibal_lightning.training import data as streaming
from ibal_lightning.training.data import InducedDecPOMDP
from ibal_lightning.types import EpisodeBatch, Timestep, VictimView

TASK = "Foraging-5x5-3p-1f-v3"


class Rogue(Attack):
    """Breaks every rule: perturbs everything, far too much, and executes illegal actions for everybody."""

    acts = True

    def perturb_obs(self, view: VictimView, generator: torch.Generator) -> Tensor:
        return view.obs * 0 if self.obs_surface == "mask" else view.obs + 100.0

    def perturb_actions(self, view: VictimView, actions: Tensor, generator: torch.Generator) -> Tensor:
        return torch.full_like(actions, 5)  # LOAD is legal next to food only


class RogueMask(Rogue):
    obs_surface = "mask"


class RogueNoise(Rogue):
    obs_surface = "noise"


def play(attack_class: type[Attack], threat: Threat | None = None, seed: int = 3) -> tuple[Collector, EpisodeBatch]:
    env = Lbf(num_envs=6, seed=1, task=TASK)
    with seeded(0, "backbone"):
        backbone = Vdn(env.spec)
    collector = Collector(env, backbone, attack_class(env.spec, threat or Threat()), seed=seed)
    return collector, collector.collect(env_steps=0, explore=True)


def own(batch: EpisodeBatch) -> EpisodeBatch:
    """A copy that the next rollout does not overwrite."""
    return batch.map(torch.clone)


def test_rollout_records_whole_episodes_of_executed_actions() -> None:
    _, batch = play(Attack)
    ends = batch.terminated | batch.truncated
    assert (ends.sum(1) == 1).all()
    assert (ends.float().argmax(1) + 1 == batch.length).all()
    assert batch.obs_seen is batch.obs
    assert not batch.attacked.any()
    eaten = (batch.reward * batch.mask).sum(1) > 0.999  # all food, whose shares add up to 1
    assert (batch.won.bool() == eaten).all()
    legal = batch.avail_actions[:, :-1].gather(-1, batch.actions_taken[..., None])[..., 0]
    assert legal[batch.mask].all()


@pytest.mark.parametrize("rogue", [RogueMask, RogueNoise])
def test_no_attack_exceeds_its_threat(rogue: type[Attack]) -> None:
    threat = Threat(epsilon=0.25, dims=3, agents=1, overrides=4)
    _, batch = play(rogue, threat)
    real = torch.cat([batch.mask, torch.zeros_like(batch.mask[:, :1])], 1)
    changed = (batch.obs_seen != batch.obs)[real]
    if rogue.obs_surface == "mask":
        assert changed.sum(-1).max() == 3
        assert (batch.obs_seen[real][changed] == 0).all()
    else:
        difference = (batch.obs_seen - batch.obs)[real].abs()
        assert 0.24 < difference.max() <= 0.25 + 1e-6
    assert (batch.attacked.sum(2) <= 1).all()
    assert (batch.attacked.sum((1, 2)) <= 4).all()
    legal = batch.avail_actions[:, :-1].gather(-1, batch.actions_taken[..., None])[..., 0]
    assert legal[batch.mask].all()
    assert (batch.actions_taken == batch.actions)[~batch.attacked].all()


def test_a_forbidden_surface_is_left_alone() -> None:
    _, clean = play(Attack)
    _, batch = play(RogueMask, Threat(obs=False, actions=False))
    assert torch.equal(batch.obs_seen, clean.obs)
    assert torch.equal(batch.actions_taken, clean.actions_taken)
    assert torch.equal(batch.reward, clean.reward)


def test_an_attack_of_no_strength_changes_no_random_stream() -> None:
    _, clean = play(Attack)
    _, batch = play(RandomObs, Threat(epsilon=0.0))
    for name in ("obs", "actions", "actions_taken", "reward", "mask"):
        assert torch.equal(getattr(batch, name), getattr(clean, name)), name


@pytest.mark.parametrize("attack", [Attack, RandomMask, RandomObs])
def test_replay_returns_exactly_what_was_stored(attack: type[Attack]) -> None:
    collector, batch = play(attack)
    replay = Replay(collector.env.spec, collector.attack, capacity=6)
    replay.add(batch)
    taken = replay.take(torch.arange(6))
    for field in dataclasses.fields(EpisodeBatch):
        if field.name in ("extras", "obs_seen", "actions", "actions_taken", "terminated", "truncated"):
            continue
        assert torch.equal(getattr(taken, field.name), getattr(batch, field.name)), field.name
    assert torch.equal(taken.obs_seen, batch.obs_seen)
    assert torch.equal(taken.actions[batch.mask], batch.actions[batch.mask])


def test_replay_is_a_ring_and_samples_without_replacement() -> None:
    collector, _ = play(Attack)
    replay = Replay(collector.env.spec, collector.attack, capacity=10)
    batches = []
    for _ in range(3):
        batches.append(own(collector.collect(env_steps=0, explore=True)))
        replay.add(batches[-1])
    assert replay.size == 10
    newest = replay.sample(6, torch.Generator().manual_seed(0), newest=6)
    assert sorted(newest.return_.tolist()) == sorted(batches[-1].return_.tolist())
    everything = replay.sample(10, torch.Generator().manual_seed(0))
    expected = batches[1].return_.tolist()[2:] + batches[2].return_.tolist()
    assert sorted(everything.return_.tolist()) == sorted(expected)
    with pytest.raises(ValueError, match="cannot sample 11 episodes from 10"):
        replay.sample(11, torch.Generator())


def test_stream_resumes_to_the_same_numbers() -> None:
    def stream() -> InducedDecPOMDP:
        env = Lbf(num_envs=4, seed=1, task=TASK)
        with seeded(0, "backbone"):
            backbone = Vdn(env.spec)
        return InducedDecPOMDP(
            env, backbone, RandomMask(env.spec, Threat()), seed=5, replay_episodes=9, batch_episodes=4
        )

    first = stream()
    for _ in range(3):
        list(first.collect().batches)
    state, replay = first.state_dict(), first.replay.state_dict()
    state = {**state, "collector": {**state["collector"]}}
    replay = {**replay, "data": {k: v.clone() for k, v in replay["data"].items()}}
    again = stream()
    again.load_state_dict(state)
    again.replay.load_state_dict(replay)
    for _ in range(3):
        one, two = first.collect(), again.collect()
        assert torch.equal(one.fresh.obs_seen, two.fresh.obs_seen)
        for a, b in zip(one.batches, two.batches, strict=True):
            assert torch.equal(a.obs_seen, b.obs_seen)
            assert torch.equal(a.reward, b.reward)
    assert first.env_steps == again.env_steps


def test_updates_per_episode_do_not_depend_on_the_number_of_games() -> None:
    counts = []
    for num_envs in (2, 8):
        env = Lbf(num_envs=num_envs, seed=1, task=TASK)
        data = InducedDecPOMDP(
            env, Vdn(env.spec), Attack(env.spec, Threat()), seed=0, batch_episodes=2, updates_per_episode=0.375
        )
        counts.append(sum(len(list(data.collect().batches)) for _ in range(16 // num_envs)))
    assert counts == [6, 6]


def test_one_draw_of_episodes_serves_several_updates_of_an_attack() -> None:
    env = Lbf(num_envs=8, seed=1, task=TASK)
    attack = Ibal(env.spec, Threat(), K=1, warmup_updates=0)
    data = InducedDecPOMDP(
        env, Vdn(env.spec), attack, seed=0, batch_episodes=4, updates_per_episode=0, attack_updates_per_episode=0.375
    )
    first, second = [list(data.collect().attack_batches) for _ in range(2)]
    assert [len(first), len(second)] == [3, 3]
    assert all(batch is first[0] for batch in first)
    assert second[0] is not first[0]


def test_an_attack_that_is_not_warm_gets_more_updates_from_more_episodes() -> None:
    env = Lbf(num_envs=8, seed=1, task=TASK)
    attack = Ibal(env.spec, Threat(), K=1, warmup_updates=20)
    data = InducedDecPOMDP(
        env, Vdn(env.spec), attack, seed=0, batch_episodes=4, updates_per_episode=0, attack_updates_per_episode=0.25,
        attack_warmup_updates_per_episode=2.5,
    )  # fmt: skip
    cold = list(data.collect().attack_batches)
    assert (len(cold), len({id(batch) for batch in cold})) == (20, 3)
    attack.updates += len(cold)
    assert len(list(data.collect().attack_batches)) == 2


@pytest.mark.parametrize("attack", [Attack, RandomMask, RandomObs])
def test_the_announced_size_of_a_replay_is_what_it_takes(attack: type[Attack]) -> None:
    collector, _ = play(attack)
    replay = Replay(collector.env.spec, collector.attack, capacity=7)
    taken = sum(x.numel() * x.element_size() for x in replay.data.values())
    assert 7 * episode_bytes(collector.env.spec, collector.attack) == taken


def test_the_size_of_a_replay_is_said_before_it_is_allocated(caplog: pytest.LogCaptureFixture) -> None:
    env = Lbf(num_envs=1, task=TASK)
    attack = Attack(env.spec, Threat())
    with caplog.at_level("INFO"):
        InducedDecPOMDP(env, Vdn(env.spec), attack, seed=0, replay_episodes=2000)
    size = 2000 * episode_bytes(env.spec, attack) / 1e9
    assert caplog.messages == [f"The replay takes {size:.2f} GB for 2,000 episodes."]


def test_a_replay_that_does_not_fit_is_refused_with_two_ways_out() -> None:
    env = Lbf(num_envs=1, task=TASK)
    with pytest.raises(ValueError, match=r"needs about .* GB.*training.replay_episodes=\d+.*backbone=mappo"):
        InducedDecPOMDP(env, Vdn(env.spec), Attack(env.spec, Threat()), seed=0, replay_episodes=10**9)


@pytest.mark.parametrize(
    ("backbone", "size", "ways_out"),
    [
        (Vdn, "replay_episodes", r"training.replay_episodes=\d+, or backbone=mappo method=vanilla, which needs none"),
        (Mappo, "attack_window", r"training.attack_window=\d+, or method=vanilla, which needs none"),
    ],
)
def test_an_attack_that_learns_needs_a_replay_beside_any_backbone(
    backbone: type[Backbone], size: str, ways_out: str
) -> None:
    env = Lbf(num_envs=1, task=TASK)
    with pytest.raises(ValueError, match=ways_out):
        InducedDecPOMDP(env, backbone(env.spec), Ibal(env.spec, Threat(), K=1), seed=0, **{size: 10**9})


def test_a_container_has_what_it_may_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "CONTAINER_LIMIT", tmp_path / "memory.max")
    physical = streaming.memory(torch.device("cpu"))
    assert physical is not None
    for text, expected in (("max\n", physical), ("1000000\n", 1_000_000), (f"{2 * physical}\n", physical)):
        (tmp_path / "memory.max").write_text(text)
        assert streaming.memory(torch.device("cpu")) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"replay_episodes": 20, "batch_episodes": 32}, "training.batch_episodes=32 .*training.replay_episodes=20"),
        ({"replay_episodes": 2, "batch_episodes": 1}, "training.num_envs=4 .*training.replay_episodes=2"),
        ({"attack_window": 10}, "training.batch_episodes=32 .*training.attack_window=10"),
    ],
)
def test_a_replay_that_is_too_small_is_refused(options: dict[str, int], message: str) -> None:
    env = Lbf(num_envs=4, task=TASK)
    with pytest.raises(ValueError, match=message):
        InducedDecPOMDP(env, Vdn(env.spec), Ibal(env.spec, Threat()), seed=0, **options)


class Crashing(Lbf):
    """Loses game 2 in its third step, as an environment does whose worker process died."""

    def step(self, actions: Tensor) -> Timestep:
        now = super().step(actions)
        crash = (torch.arange(self.num_envs) == 2) & (self.games.games[2].current_step >= 3)
        self.games.shown.truncated[crash.numpy()] = True
        return dataclasses.replace(now, info={**now.info, "dropped": crash.float()})


def test_a_dropped_episode_leaves_the_batch_and_nothing_else() -> None:
    env = Crashing(num_envs=6, seed=1, task=TASK)
    with seeded(0, "backbone"):
        backbone = Vdn(env.spec)
    collector = Collector(env, backbone, Attack(env.spec, Threat()), seed=3)
    batch = collector.collect(env_steps=0, explore=True)
    _, whole = play(Attack)
    kept = torch.tensor([0, 1, 3, 4, 5])
    steps = batch.mask.shape[1]
    assert torch.equal(batch.obs, whole.obs[kept, : steps + 1])
    assert torch.equal(batch.mask, whole.mask[kept, :steps])
    assert batch.obs_seen is batch.obs
