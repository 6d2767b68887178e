"""The embedded engine behind the batched environment contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ibal_lightning.envs.skirmish.checks import check_seed, check_share
from ibal_lightning.envs.skirmish.engine import Engine
from ibal_lightning.envs.skirmish.memory import allocate_memory
from ibal_lightning.envs.skirmish.rules import Rules
from ibal_lightning.functional.lockstep import chosen_games
from ibal_lightning.types import EnvSpec, Timestep

INFO = ("won", "dead_allies", "dead_enemies", "timeout")


class SkirmishGames:
    """B battles on the embedded engine.

    There is one ``Timestep``, allocated once; torch shares the engine's arrays, so tensors are valid until the next
    call.
    """

    def __init__(self, spec: EnvSpec, rules: Rules, engine: Engine) -> None:
        self.spec, self.num_envs, self.device = spec, engine.num_envs, torch.device("cpu")
        self.rules, self.engine = rules, engine
        shared = {name: torch.from_numpy(array) for name, array in engine.outputs._asdict().items()}
        shared["avail_actions"] = shared.pop("avail")
        self._flags = [(shared.pop(name), torch.zeros(self.num_envs)) for name in INFO]
        info = {name: as_float for name, (_, as_float) in zip(INFO, self._flags, strict=True)}
        self._now = Timestep(**shared, info=info | {"battle_won": info["won"]})

    def reset(self, *, seed: int | None = None, mask: Tensor | None = None) -> Timestep:
        """New episodes in the games of ``mask`` (B,); a ``seed`` makes those games as good as new, and is that of
        the others' later episodes.

        Raises:
            ValueError: the mask has another shape or kind, or the seed is none; then nothing has changed.
        """
        chosen = chosen_games(mask, self.num_envs).cpu().numpy()
        if seed is not None:
            self.engine.seed = check_seed(seed)
            fresh = allocate_memory(self.rules, self.num_envs)
            for name, new in fresh._asdict().items():
                getattr(self.engine.arena.memory, name)[chosen] = new[chosen]
        self.engine.reset(chosen)
        return self._timestep()

    def step(self, actions: Tensor) -> Timestep:
        """One env step with actions (B, N) i64; raises ``ValueError`` for an illegal one and then moves no game."""
        self.engine.step(actions.cpu().numpy())
        return self._timestep()

    def _timestep(self) -> Timestep:
        for flag, as_float in self._flags:
            as_float.copy_(flag)
        return self._now

    def configure(self, **options: float) -> None:
        """``ally_health``: share of their health with which all allies start, in (0, 1], 1 when it is not named."""
        unknown = sorted(set(options) - {"ally_health"})
        if unknown:
            raise ValueError(f"The battle has no condition {unknown[0]!r}; it has ally_health.")
        self.engine.ally_health = check_share("ally_health", options.get("ally_health", 1.0))

    def state_dict(self) -> Mapping[str, Any]:
        """The whole battle, mid-episode, as tensors and plain numbers."""
        state = self.engine.state_dict()
        return state | {"arrays": {name: torch.from_numpy(array) for name, array in state["arrays"].items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` gave.

        Raises:
            ValueError: it is no such state, or one of another battle; then nothing has changed.
        """
        arrays = state.get("arrays") if isinstance(state, Mapping) else None
        if not isinstance(arrays, Mapping) or not all(isinstance(array, Tensor) for array in arrays.values()):
            raise ValueError("This is no saved battle: what state_dict gives holds arrays by name.")
        self.engine.load_state_dict({**state, "arrays": {name: tensor.numpy() for name, tensor in arrays.items()}})
        self._timestep()

    def close(self) -> None:
        """Nothing to free."""
