"""Random masks: the baseline of every guided mask."""

from __future__ import annotations

import torch
from torch import Tensor

from ibal_lightning.attack import Attack, Threat
from ibal_lightning.functional.options import check_choice
from ibal_lightning.functional.subsets import top_dims
from ibal_lightning.types import EnvSpec, VictimView


class RandomMask(Attack):
    """Every living agent loses L random dims (``threat.dims``).

    Args:
        redraw: "episode" keeps the draw for the whole episode (the fair baseline: a recurrent policy sees through
            masks that change), "step" draws anew at each step.
        among: "all" dims, or only those "visible" now, which do not already read the fill value.

    Raises:
        ValueError: an unknown word.
    """

    obs_surface = "mask"

    def __init__(self, spec: EnvSpec, threat: Threat, *, redraw: str = "episode", among: str = "all") -> None:
        super().__init__(spec, threat)
        check_choice("attack.redraw", redraw, ("episode", "step"))
        check_choice("attack.among", among, ("all", "visible"))
        self.redraw, self.among = redraw, among
        self.dims = threat.max_dims(spec)
        self.register_buffer("fill", threat.fill_obs(spec), persistent=False)
        self.fill: Tensor

    def reset(self, num_envs: int, generator: torch.Generator) -> None:
        """Rank the dims of B new episodes at random."""
        shape = (num_envs, self.spec.n_agents, self.spec.obs_dim)
        self.rank = torch.rand(shape, generator=generator, device=generator.device)

    def perturb_obs(self, view: VictimView, generator: torch.Generator) -> Tensor:
        """(B, N, O) with up to L dims per living agent at the fill value."""
        if self.redraw == "step":
            self.reset(len(view.obs), generator)
        eligible = view.alive[..., None].expand_as(view.obs)
        if self.among == "visible":
            eligible = eligible & (view.obs != self.fill)
        mask = top_dims(self.rank.masked_fill(~eligible, -1.0), self.dims, floor=-0.5)
        return torch.where(mask, self.fill, view.obs)
