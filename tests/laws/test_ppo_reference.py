"""PPO's loss against its definition (Schulman et al. 2017; Yu et al. 2022), written out step by step in float64."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from ibal_lightning.backbones.agents import last_actions
from ibal_lightning.backbones.ppo import Ippo, Mappo
from ibal_lightning.types import EpisodeBatch
from tests.laws.playing import make_spec, random_batch

CLIP, DELTA, GAMMA, LAMBDA, KEEP = 0.1, 0.5, 0.9, 0.6, 0.8
ENTROPY, VALUE = 0.3, 0.7
STEPS = 9  # the episode limit of ``make_spec``: one chunk holds a whole episode
OPTIONS: list[dict[str, Any]] = [
    {},
    {"value_clip": False},
    {"value_active_masks": True},
    {"policy_active_masks": False},
    {"drop_overridden": True},
    {"value_norm": False},
    {"target_tau": 0.5},
    {"n_step": 2},
    {"n_step": 2, "target_tau": 0.5},
    {"last_action_source": "executed"},
]


class Played(NamedTuple):
    """What networks say of a batch: log-probabilities (B, T+1, N, A), normalised values (B, T+1, M)."""

    log_p: Tensor
    values: Tensor


def shift(module: nn.Module, by: float) -> None:
    """Move every trainable weight a little, so that old and new policy differ."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(by * torch.randn_like(parameter))


def outputs(backbone: Mappo | Ippo, batch: EpisodeBatch, critic: nn.Module | None = None) -> Played:
    last = last_actions(batch, backbone.last_action_source)
    logits = backbone.unroll(batch.obs_seen, last)[0]
    log_p = logits.masked_fill(~batch.avail_actions, float("-inf")).log_softmax(-1)
    values = (critic or backbone.critic)(batch.obs_seen, batch.state, last, None)[0]
    return Played(log_p.detach().double(), values.detach().double())


def statistics(backbone: Mappo | Ippo) -> tuple[float, float]:
    norm = backbone.value_norm
    if norm is None:
        return 0.0, 1.0
    mean = float(norm.mean / norm.weight)
    return mean, math.sqrt(max(float(norm.mean_square / norm.weight) - mean**2, 1e-2))


def returns(batch: EpisodeBatch, boot: Tensor, n_step: int) -> Tensor:
    """(B, T, M) targets of every real step: generalised advantages and values, or n rewards and a value."""
    target = torch.zeros(len(batch), STEPS, boot.shape[-1], dtype=torch.float64)
    for b in range(len(batch)):
        end = int(batch.length[b])
        after = [(1.0 - float(batch.terminated[b, t])) * boot[b, t + 1] for t in range(end)]
        gain = torch.zeros(boot.shape[-1], dtype=torch.float64)
        for t in reversed(range(end)):
            gain = float(batch.reward[b, t]) + GAMMA * after[t] - boot[b, t] + GAMMA * LAMBDA * gain
            target[b, t] = gain + boot[b, t]
            if n_step:
                last = min(t + n_step, end)
                rewards = sum(GAMMA ** (i - t) * float(batch.reward[b, i]) for i in range(t, last))
                target[b, t] = rewards + GAMMA ** (last - t) * after[last - 1]
    return target


def normalised(target: Tensor, real: Tensor, backbone: Mappo | Ippo) -> Tensor:
    """The targets by the statistics that they have updated themselves."""
    norm = backbone.value_norm
    if norm is None:
        return target
    flat = target[real].flatten()
    first = KEEP * float(norm.mean) + (1 - KEEP) * flat.mean()
    second = KEEP * float(norm.mean_square) + (1 - KEEP) * (flat**2).mean()
    weight = KEEP * float(norm.weight) + 1 - KEEP
    return (target - first / weight) / (second / weight - (first / weight) ** 2).clamp(min=1e-2).sqrt()


def policy_terms(batch: EpisodeBatch, old: Tensor, new: Tensor, advantage: Tensor, used: Tensor) -> tuple[float, float]:
    """Clipped gain and entropy over the agents' steps that are used (B, T, N)."""
    rows = used.nonzero().tolist()
    chosen = torch.stack([advantage[b, t, i if advantage.shape[-1] > 1 else 0] for b, t, i in rows])
    chosen = (chosen - chosen.mean()) / (chosen.std(correction=0) + 1e-5)
    gain, nats, clipped = 0.0, 0.0, 0
    for (b, t, i), a in zip(rows, chosen.tolist(), strict=True):
        action = int(batch.actions[b, t, i])
        ratio = math.exp(float(new[b, t, i, action] - old[b, t, i, action]))
        near = min(max(ratio, 1 - CLIP), 1 + CLIP)
        clipped += near != ratio
        gain += min(ratio * a, near * a) / len(rows)
        p = new[b, t, i].exp()
        nats -= float((p[p > 0] * p[p > 0].log()).sum()) / len(rows)
    assert 0.1 < clipped / len(rows) < 0.9  # both branches are in play
    return gain, nats


def huber(error: Tensor) -> Tensor:
    return torch.where(error.abs() <= DELTA, 0.5 * error**2, DELTA * (error.abs() - 0.5 * DELTA))


def value_term(old: Tensor, new: Tensor, target: Tensor, used: Tensor, clip: bool) -> float:
    """The larger of the plain and the clipped error, in normalised units."""
    error = huber(new - target)
    if clip:
        error = torch.maximum(error, huber(old + (new - old).clamp(-CLIP, CLIP) - target))
    return float(error[used].mean())


@pytest.mark.parametrize("make", [Mappo, Ippo])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_loss_is_ppos(make: Callable[..., Mappo | Ippo], options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    fixed = {"clip": CLIP, "entropy_coef": ENTROPY, "value_coef": VALUE, "huber_delta": DELTA, "gamma": GAMMA}
    fixed |= {"gae_lambda": LAMBDA, "epochs": 1, "chunk_length": STEPS, "value_norm_decay": KEEP, "last_action": True}
    backbone = make(make_spec(), **{**fixed, **options})
    batch = random_batch(make_spec(), 6)
    shift(backbone, 0.1)
    backbone.prepare(random_batch(make_spec(), 5, 7))  # the statistics of before
    shift(backbone.critic, 0.1)
    before = copy.deepcopy(backbone)
    (part,) = backbone.minibatches(batch, torch.Generator())
    shift(backbone.actor, 0.05)
    shift(backbone.critic, 0.05)
    found = backbone.loss(part)
    old, new = outputs(before, batch), outputs(backbone, batch)

    mean, std = statistics(before)
    boot = old.values
    if before.target_critic is not None:
        before.target_critic.follow(before.critic)
        boot = outputs(before, batch, before.target_critic).values
    target = returns(batch, boot * std + mean, options.get("n_step", 0))
    advantage = target - (old.values[:, :-1] * std + mean)
    used = batch.mask[..., None] & (batch.alive[:, :-1] | (not options.get("policy_active_masks", True)))
    used &= ~(batch.attacked & options.get("drop_overridden", False))
    gain, nats = policy_terms(batch, old.log_p, new.log_p, advantage, used)
    valued = batch.mask[..., None].expand_as(target).clone()
    if options.get("value_active_masks") and target.shape[-1] > 1:
        valued &= batch.alive[:, :-1]
    goal = normalised(target, batch.mask, before)
    error = value_term(old.values[:, :-1], new.values[:, :-1], goal, valued, options.get("value_clip", True))

    expected = {"policy_loss": -gain, "entropy": nats, "value_loss": error}
    assert {name: float(found.logs[name]) for name in expected} == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert float(found.loss.detach()) == pytest.approx(-gain - ENTROPY * nats + VALUE * error, rel=1e-4, abs=1e-4)
