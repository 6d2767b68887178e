"""Masks that need no estimator, the baselines of the guided one (ALGORITHMS 2.6, IBAL_STUDY 2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ibal_lightning.functional.obs_names import described_agents
from ibal_lightning.functional.subsets import top_dims
from ibal_lightning.types import EnvSpec, VictimView

BLIND_RULES = ("random_episode", "random_step", "opposite")


class BlindMask(nn.Module):
    """Picks L dims of every agent that is to lose sight of somebody, by chance instead of by information.

    Args:
        dims: L.
        rule: "random_episode" any dims, the same for the whole episode (the fair baseline: a recurrent policy sees
            through masks that change); "random_step" drawn anew at each step; "opposite" only dims that describe the
            opponents, the same for the whole episode.

    Raises:
        ValueError: rule is "opposite" and no dim names an ally.
    """

    def __init__(self, spec: EnvSpec, dims: int, rule: str) -> None:
        super().__init__()
        self.dims, self.rule = dims, rule
        self.shape = (spec.n_agents, spec.obs_dim)
        everything = torch.ones(*self.shape, spec.n_agents)
        self.about: Tensor
        self.register_buffer("about", describes(spec) if rule == "opposite" else everything, persistent=False)

    def begin(self, num_envs: int, warm: bool, generator: torch.Generator) -> None:
        """Rank the dims of B new episodes at random; nothing has to be warm."""
        del warm
        self._rank(num_envs, generator)

    def _rank(self, num_envs: int, generator: torch.Generator) -> None:
        self.rank = 1 - torch.rand(num_envs, *self.shape, generator=generator, device=generator.device)

    def choose(self, view: VictimView, games: Tensor, cut: Tensor, generator: torch.Generator) -> Tensor:
        """(G, N, O) bool dims to hide in the given games (G,) from agents that live; ``cut`` is (G, N, N)."""
        if self.rule == "random_step":
            self._rank(len(view.obs), generator)
        eligible = torch.einsum("iod,gid->gio", self.about, cut.float()) > 0
        return top_dims(self.rank[games] * (eligible & view.alive[games][..., None]), self.dims)


def describes(spec: EnvSpec) -> Tensor:
    """(N, O, N) 1 where a dim of an agent's observation describes another agent.

    Raises:
        ValueError: no dim names an ally.
    """
    about = described_agents(spec)
    if not about.any():
        raise ValueError(
            "attack.mask_rule=opposite needs observations that name allies ('ally 1: ...'); this game has none"
        )
    return about
