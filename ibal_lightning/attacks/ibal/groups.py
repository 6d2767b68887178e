"""Groups: who is cut off from whom in an episode (ALGORITHMS 2.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ibal_lightning.attacks.ibal.options import IbalOptions
from ibal_lightning.functional.options import check_choice, check_range
from ibal_lightning.functional.subsets import random_subset

COUPLINGS = ("joint", "independent")
STRENGTHS = ("as_trained", "max")


@dataclass(frozen=True)
class Plan:
    """What the attack drew for B episodes."""

    group: Tensor  # (B, N) i8: 0 none (a clean episode), 1 G1, 2 G2
    p_act: Tensor  # (B,) probability that a trigger fires
    masks: Tensor  # (B,) bool: observations are masked
    overrides: Tensor  # (B,) bool: actions may be rewritten


class Planner:
    """Draws the plans of episodes.

    Args:
        n_agents: N.
        surfaces: whether there are masks, and whether there are overrides.
        options: ``p_floor`` (see ``probability_floor``), ``coupling`` (see ``draw_surfaces``) and ``strength`` of IBAL.
        K: largest group.

    Raises:
        ValueError: an unknown word or no probability.
    """

    def __init__(self, n_agents: int, surfaces: tuple[bool, bool], options: IbalOptions, *, K: int) -> None:
        check_choice("attack.coupling", options.coupling, COUPLINGS)
        check_choice("attack.strength", options.strength, STRENGTHS)
        self.n_agents, self.K, self.strength = n_agents, K, options.strength
        # With a single surface every attacked episode meets it: none is clean by the luck of the draw.
        self.coupling = options.coupling if all(surfaces) else "joint"
        self.p_floor = probability_floor(options.p_floor, K)

    def training(self, num_envs: int, p_max: float, generator: torch.Generator) -> Plan:
        """B training episodes: k ~ Unif{0..K}, P_act ~ Unif(floor, P_max)."""
        sizes = draw_sizes(num_envs, 0, self.K, generator)
        p_act = draw_probabilities(num_envs, self.p_floor, p_max, generator)
        masks, overrides = draw_surfaces(sizes > 0, self.coupling, generator)
        return Plan(draw_groups(sizes, self.n_agents, generator), p_act, masks, overrides)

    def test(self, num_envs: int, p_max: float, generator: torch.Generator) -> Plan:
        """B test episodes, all attacked on both surfaces at the strength asked for."""
        strongest = self.strength == "max"
        sizes = draw_sizes(num_envs, self.K if strongest else min(1, self.K), self.K, generator)
        p_act = torch.full((num_envs,), 1.0 if strongest else max(p_max, self.p_floor), device=sizes.device)
        return Plan(draw_groups(sizes, self.n_agents, generator), p_act, sizes > 0, sizes > 0)

    def clean(self, num_envs: int, generator: torch.Generator) -> Plan:
        """B episodes without attack."""
        sizes = torch.zeros(num_envs, dtype=torch.long, device=generator.device)
        groups = draw_groups(sizes, self.n_agents, generator)
        return Plan(groups, torch.zeros(num_envs, device=sizes.device), sizes > 0, sizes > 0)


def probability_floor(p_floor: float | str, K: int) -> float:
    """The lower end of P_act.

    "1/K" is the description's. It is 1 for K = 1: every step is attacked and P_max has nowhere to grow.

    Raises:
        ValueError: neither a probability nor that word.
    """
    if p_floor == "1/K":
        return 1 / max(K, 1)
    if isinstance(p_floor, str):
        raise ValueError(f'attack.p_floor must be a probability or "1/K", got {p_floor!r}')
    check_range("attack.p_floor", p_floor, 0, 1)
    return p_floor


def largest_group(n_agents: int, K: int | None) -> int:
    """The maximum size K of G1; None chooses by team size: 1 up to 5 agents, 2 up to 7, 4 beyond, at most N/2.

    Raises:
        ValueError: K is negative or exceeds half of the team.
    """
    limit = n_agents // 2
    if K is None:
        return min(1 if n_agents <= 5 else 2 if n_agents <= 7 else 4, limit)
    if not 0 <= K <= limit:
        raise ValueError(f"attack.K must be between 0 and half of the team ({limit} of {n_agents} agents), got {K}")
    return K


def draw_sizes(num_envs: int, low: int, high: int, generator: torch.Generator) -> Tensor:
    """(B,) i64 group sizes k, uniform on low..high."""
    return torch.randint(low, high + 1, (num_envs,), generator=generator, device=generator.device)


def draw_groups(sizes: Tensor, n_agents: int, generator: torch.Generator) -> Tensor:
    """(B, N) i8: a uniform subset of the given size is G1, the others G2; nobody belongs to a group where k = 0."""
    first = random_subset(sizes, n_agents, generator)
    return torch.where(first, 1, 2).to(torch.int8) * (sizes > 0)[:, None]


def draw_probabilities(num_envs: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """(B,) P_act ~ Unif(low, high); ``low`` where the interval is empty."""
    share = torch.rand(num_envs, generator=generator, device=generator.device)
    return low + share * max(high - low, 0.0)


def draw_surfaces(attacked: Tensor, coupling: str, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Which surfaces an episode suffers: (B,) masks and (B,) overrides.

    "joint" attacks both in every attacked episode, as the description has it. "independent" draws both, masks only or
    overrides only, a third each: masked dims are no signal then that overrides will come (IBAL_STUDY 4b), but a third
    of the attacked episodes teaches nothing about masks.
    """
    if coupling == "joint":
        return attacked, attacked
    kind = torch.randint(0, 3, attacked.shape, generator=generator, device=attacked.device)
    return attacked & (kind != 1), attacked & (kind != 2)


def opponents(group: Tensor, symmetric: bool) -> Tensor:
    """(B, N, N) bool: whose influence is cut out of whose observation (agent, source).

    G1 loses sight of G2; with ``symmetric`` G2 loses sight of G1 too.
    """
    first, second = group == 1, group == 2
    cut = first[:, :, None] & second[:, None, :]
    return cut | cut.transpose(1, 2) if symmetric else cut
