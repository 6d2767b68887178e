"""The contract of an environment: B games in lock-step, tensors in and out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from ibal_lightning.types import EnvSpec, Timestep


@runtime_checkable
class Env(Protocol):
    """A batch of cooperative games.

    Constructors take ``num_envs`` and ``seed`` as keywords beside the environment's own options. ``step`` never
    resets: the collector resets finished games by mask. A game that is over ignores its actions, keeps its last
    observation and its terminated/truncated flag, and pays reward 0.
    Returned tensors may share memory with the environment and are valid until the next reset or step.
    """

    spec: EnvSpec
    num_envs: int
    device: torch.device

    def reset(self, *, seed: int | None = None, mask: Tensor | None = None) -> Timestep:
        """Start new episodes in the games of ``mask`` (B,) bool (all by default).

        A ``seed`` restarts the random streams of these games; in battles later episodes of the others follow it too.

        Raises:
            ValueError: a mask of another shape or kind, or a seed that is no whole number.
        """
        ...

    def step(self, actions: Tensor) -> Timestep:
        """Advance one step with the joint actions (B, N) i64; raises ``ValueError`` for an illegal one."""
        ...

    def configure(self, **options: float) -> None:
        """Set conditions of the game that attacks may change (``ally_health=0.85``), from the next reset on.

        Conditions that are not named return to their defaults, so ``configure()`` restores the ordinary game.

        Raises:
            ValueError: this environment has no such condition.
        """
        ...

    def state_dict(self) -> Mapping[str, Any]:
        """Tensors and plain containers from which ``load_state_dict`` restores exactly.

        Raises:
            NotImplementedError: this environment cannot be resumed (it says why).
        """
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` gave."""
        ...

    def close(self) -> None:
        """Free processes and files."""
        ...
