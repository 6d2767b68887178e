"""What the names of an environment's observations say."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from ibal_lightning.types import EnvSpec


def described_agents(spec: EnvSpec) -> Tensor:
    """(N, O, N) 1 where a dim of an agent's observation describes another agent, else 0; read from ``obs_names``.

    "ally 1: health" is agent i's first teammate: teammates stand in the order of the team with i left out. All zero
    where no name says "ally" (in LBF "player 1" is whoever is in sight first, so its names do not tell).
    """
    about = torch.zeros(spec.n_agents, spec.obs_dim, spec.n_agents)
    for dim, name in enumerate(spec.obs_names):
        found = re.match(r"ally (\d+):", name)
        for agent in range(spec.n_agents) if found else ():
            slot = int(found[1]) - 1 if found else 0
            about[agent, dim, slot if slot < agent else slot + 1] = 1
    return about
