"""A ring of whole episodes. Observations stand there once, beside a mask of the perturbed dims."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ibal_lightning.attack import Attack, ObsSurface
from ibal_lightning.types import EnvSpec, EpisodeBatch

_STEP_FIELDS = ("actions", "actions_taken", "attacked", "reward", "terminated", "truncated", "mask")
_SLOT_FIELDS = ("obs", "state", "avail_actions", "alive")


class Replay:
    """Holds the last ``capacity`` episodes; ``sample`` draws without replacement and trims to the longest drawn."""

    def __init__(self, spec: EnvSpec, attack: Attack, *, capacity: int, device: torch.device | str = "cpu") -> None:
        if capacity < 1:
            raise ValueError(f"training.replay_episodes must be at least 1, got {capacity}")
        self.capacity, self.device = capacity, device
        self.fill = attack.threat.fill_obs(spec).to(device)
        self.surface = stored_surface(attack)
        self.size, self.cursor = 0, 0
        self.data = {name: self._zeros(shape, dtype) for name, (shape, dtype) in layout(spec, self.surface).items()}

    def _zeros(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.zeros((self.capacity, *shape), dtype=dtype, device=self.device)

    def add(self, batch: EpisodeBatch) -> None:
        """Store a batch, the oldest episodes give way."""
        rows = (torch.arange(len(batch), device=self.device) + self.cursor) % self.capacity
        steps = batch.mask.shape[1]
        for name in (*_STEP_FIELDS, *_SLOT_FIELDS):
            source = getattr(batch, name)
            self.data[name][rows, : source.shape[1]] = source.to(self.data[name].dtype)
        self.data["mask"][rows, steps:] = False
        self.data["group"][rows], self.data["won"][rows] = batch.group, batch.won
        if self.surface == "mask":
            self.data["obs_masked"][rows, : steps + 1] = batch.obs_seen != batch.obs
        elif self.surface == "noise":
            self.data["obs_seen"][rows, : steps + 1] = batch.obs_seen
        self.cursor = int((self.cursor + len(batch)) % self.capacity)
        self.size = min(self.size + len(batch), self.capacity)

    def sample(self, episodes: int, generator: torch.Generator, *, newest: int | None = None) -> EpisodeBatch:
        """Draw ``episodes`` different episodes, from the ``newest`` ones only where given.

        Raises:
            ValueError: fewer episodes are stored than asked for.
        """
        pool = self.size if newest is None else min(newest, self.size)
        if episodes > pool:
            raise ValueError(f"cannot sample {episodes} episodes from {pool} stored ones")
        age = torch.randperm(pool, generator=generator)[:episodes] + 1
        return self.take(((self.cursor - age) % self.capacity).to(self.device))

    def take(self, rows: Tensor) -> EpisodeBatch:
        """The episodes of these rows (B,), trimmed to the longest."""
        steps = max(int(self.data["mask"][rows].sum(1).max()), 1)
        fields: dict[str, Any] = {name: self._taken(name, rows, steps) for name in _STEP_FIELDS}
        fields |= {name: self._taken(name, rows, steps + 1) for name in _SLOT_FIELDS}
        fields["actions"], fields["actions_taken"] = fields["actions"].long(), fields["actions_taken"].long()
        return EpisodeBatch(
            **fields,
            obs_seen=self._seen(rows, steps, fields["obs"]),
            group=self.data["group"][rows],
            won=self.data["won"][rows],
        )

    def _seen(self, rows: Tensor, steps: int, obs: Tensor) -> Tensor:
        if self.surface == "mask":
            return torch.where(self._taken("obs_masked", rows, steps + 1), self.fill, obs)
        if self.surface == "noise":
            return self._taken("obs_seen", rows, steps + 1)
        return obs

    def _taken(self, name: str, rows: Tensor, length: int) -> Tensor:
        """(B, length, ...) the beginning of a field of these episodes; ``index_select`` copies whole rows at once."""
        return self.data[name][:, :length].index_select(0, rows)

    def state_dict(self) -> Mapping[str, Any]:
        """The stored episodes and the cursor."""
        stored = {name: values[: self.size] for name, values in self.data.items()}
        return {"capacity": self.capacity, "size": self.size, "cursor": self.cursor, "data": stored}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` gave.

        Raises:
            ValueError: it was written by a replay of another capacity or layout.
        """
        size, names = int(state["size"]), set(state["data"])
        if state["capacity"] != self.capacity:
            raise ValueError(
                f"the saved replay has room for {state['capacity']} episodes, this one for {self.capacity}: "
                "resume with the same training.replay_episodes (training.attack_window with mappo and ippo)"
            )
        if names != set(self.data):
            raise ValueError(f"the saved replay holds {sorted(names)}, this one {sorted(self.data)}")
        for name, saved in state["data"].items():
            self.data[name][:size] = saved
        self.size, self.cursor = size, int(state["cursor"])


def stored_surface(attack: Attack) -> ObsSurface:
    """How observations may differ from the sensors' in stored episodes."""
    return attack.obs_surface if attack.threat.obs else "none"


def layout(spec: EnvSpec, surface: ObsSurface) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Shape (behind the episode axis) and type of every stored field."""
    t, n, a, o = spec.episode_limit, spec.n_agents, spec.n_actions, spec.obs_dim
    fields: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
        "obs": ((t + 1, n, o), torch.float32),
        "state": ((t + 1, spec.state_dim), torch.float32),
        "avail_actions": ((t + 1, n, a), torch.bool),
        "alive": ((t + 1, n), torch.bool),
        "actions": ((t, n), torch.int16),
        "actions_taken": ((t, n), torch.int16),
        "attacked": ((t, n), torch.bool),
        "reward": ((t,), torch.float32),
        "terminated": ((t,), torch.bool),
        "truncated": ((t,), torch.bool),
        "mask": ((t,), torch.bool),
        "group": ((n,), torch.int8),
        "won": ((), torch.float32),
    }
    if surface == "mask":
        fields["obs_masked"] = ((t + 1, n, o), torch.bool)
    elif surface == "noise":
        fields["obs_seen"] = ((t + 1, n, o), torch.float32)
    return fields


def episode_bytes(spec: EnvSpec, attack: Attack) -> int:
    """Bytes that one stored episode takes."""
    fields = layout(spec, stored_surface(attack)).values()
    return sum(math.prod(shape) * dtype.itemsize for shape, dtype in fields)
