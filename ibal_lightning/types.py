"""The data model: read this file and you know what flows through the package.

Axes always stand in this order under these letters: B games or episodes, T time, N agents,
then A actions, O obs, S state, H hidden. Time fields with T + 1 slots include the last step's successor.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor


class TensorFields:
    """Gives a frozen dataclass of tensors one ``map`` for device moves, slices and casts."""

    def map(self, fn: Callable[[Tensor], Tensor]) -> Self:
        """Return a copy with ``fn`` applied to every tensor, those inside mappings and nested dataclasses included.

        A tensor that stands in two fields stays one tensor: ``obs_seen is obs`` says that nothing perturbs.
        """
        done: dict[int, Tensor] = {}

        def apply(value: object) -> object:
            if isinstance(value, Tensor):
                if id(value) not in done:
                    done[id(value)] = fn(value)
                return done[id(value)]
            if isinstance(value, TensorFields):
                return value.map(fn)
            if isinstance(value, Mapping):
                return {name: apply(item) for name, item in value.items()}
            return value

        changes = {f.name: apply(getattr(self, f.name)) for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]


@dataclass(frozen=True)
class EnvSpec:
    """The sizes and names of a game; everything a backbone or an attack may know in advance."""

    n_agents: int
    n_actions: int
    obs_dim: int
    state_dim: int
    episode_limit: int
    obs_names: tuple[str, ...]  # O strings such as "enemy 3: health"
    action_names: tuple[str, ...]  # A strings such as "attack enemy 3"
    null_obs: Tensor  # (O,) f32: what an agent reads where there is nothing to see
    fingerprint: str  # names engine, game, options and versions; equal fingerprints may share a table
    inert_action: int = 0  # what a disabled agent executes: SMAC "stop", LBF "none"


@dataclass(frozen=True)
class Timestep(TensorFields):
    """What the environment shows of all B games after a reset or a step. All observations are the sensors' own."""

    obs: Tensor  # (B, N, O) f32
    state: Tensor  # (B, S) f32
    avail_actions: Tensor  # (B, N, A) bool, True = legal
    alive: Tensor  # (B, N) bool
    reward: Tensor  # (B,) f32, of the executed actions; 0 after a reset
    terminated: Tensor  # (B,) bool: the game is over, do not bootstrap
    truncated: Tensor  # (B,) bool: the time limit cut the game, bootstrap
    info: Mapping[str, Tensor] = field(default_factory=dict)  # name -> (B,) f32; always "won" in {0, 1}


@dataclass(frozen=True)
class EpisodeBatch(TensorFields):
    """B whole episodes of the induced Dec-POMDP, padded to T steps; ``mask`` tells the real steps."""

    obs: Tensor  # (B, T+1, N, O) f32: the sensors
    obs_seen: Tensor  # (B, T+1, N, O) f32: what the policy read; the very same tensor when nothing perturbs
    state: Tensor  # (B, T+1, S) f32, clean
    avail_actions: Tensor  # (B, T+1, N, A) bool
    alive: Tensor  # (B, T+1, N) bool
    actions: Tensor  # (B, T, N) i64: intended by the policy
    actions_taken: Tensor  # (B, T, N) i64: executed in the game
    attacked: Tensor  # (B, T, N) bool: overridden by the attack (actions_taken != actions)
    group: Tensor  # (B, N) i8: 0 none, 1 G1, 2 G2
    reward: Tensor  # (B, T) f32
    terminated: Tensor  # (B, T) bool
    truncated: Tensor  # (B, T) bool
    mask: Tensor  # (B, T) bool: the step belongs to the episode
    won: Tensor  # (B,) f32 in {0, 1}
    extras: Mapping[str, Tensor] = field(default_factory=dict)  # what a learner adds for itself, (B, T, ...)

    @property
    def return_(self) -> Tensor:
        """(B,) undiscounted team return of each episode."""
        return (self.reward * self.mask).sum(1)

    @property
    def length(self) -> Tensor:
        """(B,) i64 number of steps of each episode."""
        return self.mask.sum(1)

    def __len__(self) -> int:
        return self.obs.shape[0]

    def trim(self) -> EpisodeBatch:
        """Drop the padding behind the longest episode of the batch."""
        steps = max(int(self.length.max()), 1)
        total = self.mask.shape[1]

        def cut(x: Tensor) -> Tensor:
            if x.ndim < 2 or x.shape[1] not in (total, total + 1) or x is self.group:
                return x
            return x[:, : steps + (x.shape[1] - total)]

        return self.map(cut)


@dataclass(frozen=True)
class VictimView:
    """What an attack may see at one step. Attacks must not advance or change any of it."""

    obs: Tensor  # (B, N, O) the sensors
    obs_seen: Tensor  # (B, N, O) what the policy reads at this step; equals obs before the attack has spoken
    state: Tensor  # (B, S)
    hidden: Tensor  # (B, N, H) the policy's memory before this step
    avail_actions: Tensor  # (B, N, A) bool
    alive: Tensor  # (B, N) bool
    last_actions: Tensor  # (B, N) i64 intended one step ago, -1 at the start (what the policy is fed)
    last_actions_taken: Tensor  # (B, N) i64 executed one step ago, -1 at the start
    step: int  # 0 at the start of the episode
    running: Tensor  # (B,) bool: the game is not over
    shown: Tensor  # (B,) bool: the observation is of the episode; also its last one, from which learners bootstrap
    scores: Callable[[Tensor], Tensor]  # obs (B,N,O) -> utilities or logits (B,N,A), differentiable in obs
    logits: bool = False  # scores are logits of the policy, not utilities


@dataclass(frozen=True)
class LossOutput:
    """A differentiable loss, detached scalars to log, and intermediate tensors worth tracing."""

    loss: Tensor  # ()
    logs: Mapping[str, Tensor] = field(default_factory=dict)  # name -> detached ()
    trace: Mapping[str, Tensor] = field(default_factory=dict)


def no_group(num_envs: int, n_agents: int, device: torch.device | str = "cpu") -> Tensor:
    """(B, N) i8 of zeros: nobody belongs to a group."""
    return torch.zeros(num_envs, n_agents, dtype=torch.int8, device=device)
