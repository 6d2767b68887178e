"""Disabled teammates (Dis-1, Dis-2)."""

from __future__ import annotations

import torch
from torch import Tensor

from ibal_lightning.attack import Attack, Threat
from ibal_lightning.functional.subsets import random_subset
from ibal_lightning.types import EnvSpec, VictimView


class Disabled(Attack):
    """Some agents, drawn per episode, execute the inert action from first to last (ALGORITHMS 3.8, ``inert``).

    They stay visible and can be shot; where the inert action is not legal they do what they intended.

    Args:
        count: disabled agents per episode.

    Raises:
        ValueError: more agents than the team has.
    """

    acts = True

    def __init__(self, spec: EnvSpec, threat: Threat, *, count: int = 1) -> None:
        super().__init__(spec, threat)
        if not 0 <= count <= spec.n_agents:
            raise ValueError(f"attack.count must be between 0 and the team's {spec.n_agents} agents, got {count}")
        self.count = count

    def reset(self, num_envs: int, generator: torch.Generator) -> None:
        """Draw the disabled agents of B new episodes."""
        sizes = torch.full((num_envs,), self.count, device=generator.device)
        self.disabled = random_subset(sizes, self.spec.n_agents, generator)

    def perturb_actions(self, view: VictimView, actions: Tensor, generator: torch.Generator) -> Tensor:
        """(B, N) i64: the inert action for the disabled."""
        del generator
        legal = view.avail_actions[..., self.spec.inert_action]
        return torch.where(self.disabled & view.alive & legal, self.spec.inert_action, actions)
