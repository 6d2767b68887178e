"""The group mask that needs no estimator: hide what names the other group."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ibal_lightning.attack import Attack, ObsSurface, Threat
from ibal_lightning.attacks.ibal.groups import draw_groups, largest_group, opponents
from ibal_lightning.functional.obs_names import described_agents
from ibal_lightning.functional.subsets import top_dims
from ibal_lightning.types import EnvSpec, VictimView


class OppositeMask(Attack):
    """Every agent loses the dims that describe members of the other group, up to L in random order (IBAL_STUDY 2).

    Args:
        K: size of the group G1; null = by team size.

    Raises:
        ValueError: an impossible group size, or an environment whose observations name no allies.
    """

    obs_surface: ClassVar[ObsSurface] = "mask"

    def __init__(self, spec: EnvSpec, threat: Threat, *, K: int | None = None) -> None:
        super().__init__(spec, threat)
        self.K, self.dims = largest_group(spec.n_agents, K), threat.max_dims(spec)
        self._group: Tensor | None = None
        self.about: Tensor
        self.fill: Tensor
        self.register_buffer("about", describes(spec), persistent=False)
        self.register_buffer("fill", threat.fill_obs(spec), persistent=False)

    def reset(self, num_envs: int, generator: torch.Generator) -> None:
        """Draw groups and the order of dims of B new episodes."""
        sizes = torch.full((num_envs,), self.K, device=generator.device)
        self._group = draw_groups(sizes, self.spec.n_agents, generator)
        cut = opponents(self._group, symmetric=True).float()
        order = torch.rand(num_envs, *self.about.shape[:2], generator=generator, device=generator.device)
        self.rank = (torch.einsum("iod,bid->bio", self.about, cut) > 0) * (order + 1)

    @property
    def group(self) -> Tensor | None:
        """(B, N) i8 groups of the current episodes."""
        return self._group

    def perturb_obs(self, view: VictimView, generator: torch.Generator) -> Tensor:
        """(B, N, O) without the opposite group."""
        del generator
        mask = top_dims(self.rank * view.alive[..., None], self.dims)
        return torch.where(mask, self.fill, view.obs)


def describes(spec: EnvSpec) -> Tensor:
    """(N, O, N) 1 where a dim of an agent's observation describes another agent.

    Raises:
        ValueError: no dim names an ally.
    """
    about = described_agents(spec)
    if not about.any():
        raise ValueError("attack=opposite_mask needs observations that name allies ('ally 1: ...'); this game has none")
    return about
