"""The contract of a backbone: a CTDE learner (agent networks, mixer or critic, and their loss)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn

from ibal_lightning.types import EnvSpec, EpisodeBatch, LossOutput


class Backbone(nn.Module):
    """Built as ``cls(spec, **options)``; the options are keyword-only and their defaults are the schema."""

    on_policy: ClassVar[bool]

    def __init__(self, spec: EnvSpec) -> None:
        super().__init__()
        self.spec = spec

    @abstractmethod
    def initial_hidden(self, num_envs: int) -> Tensor:
        """(B, N, H) memory at the start of an episode."""

    @abstractmethod
    def scores(self, obs: Tensor, last_actions: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """One step of all agents.

        Args:
            obs: (B, N, O) what the agents read.
            last_actions: (B, N) i64 of one step ago, by ``last_action_source``; -1 at the start of an episode.
            hidden: (B, N, H).

        Returns:
            Utilities or logits (B, N, A), differentiable in obs, not yet masked; the next hidden (B, N, H).
        """

    @abstractmethod
    def select(
        self, scores: Tensor, avail_actions: Tensor, *, env_steps: int, explore: bool, generator: torch.Generator
    ) -> Tensor:
        """Choose legal actions (B, N) i64; greedy unless ``explore``. ``env_steps`` drives exploration schedules."""

    @abstractmethod
    def loss(self, batch: EpisodeBatch) -> LossOutput:
        """The learner's loss on M~: intended actions, obs_seen on both sides of the target, clean state."""

    @abstractmethod
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer of the online parameters."""

    def minibatches(self, batch: EpisodeBatch, generator: torch.Generator) -> Iterator[EpisodeBatch]:
        """The updates to make from one batch; on-policy learners yield epochs x minibatches with ``extras``."""
        del generator
        yield batch

    @property
    def current_device(self) -> torch.device:
        """Where the policy's tensors are."""
        return self.initial_hidden(1).device

    def check_rollout(self, episodes: int) -> None:
        """Raise ``ValueError`` where rollouts of so many episodes cannot be learnt from; called before the first."""
        del episodes

    def after_update(self, updates: int) -> None:
        """Called after every optimizer step with the total count, and with 0 once weights were loaded, for targets."""
        del updates

    def exploration(self, env_steps: int) -> float:
        """The exploration rate to show and log (epsilon, or 0 where the policy itself is stochastic)."""
        del env_steps
        return 0.0

    max_grad_norm: float = 10.0
    may_be_absent: ClassVar[tuple[str, ...]] = ()  # prefixes of what weights to load may lack or have for nothing
    last_action_source: str = "intended"  # what the agents are fed as their last action: "intended" or "executed"
