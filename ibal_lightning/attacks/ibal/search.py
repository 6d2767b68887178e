"""Searching G1's joint action (ALGORITHMS 2.6). Ties go to the lowest action of the lowest agent."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# moments (Q,) i64 and what everyone does in them (Q, N) i64 -> (Q,) cost
JointCost = Callable[[Tensor, Tensor], Tensor]

SEARCHES = ("independent", "coordinate", "enumerate")
LIMIT = 4096  # joint actions of one moment that are still enumerated
CHUNK = 8192  # what-ifs evaluated at once, a bound on memory


def coordinate_descent(cost: JointCost, start: Tensor, candidates: Tensor, members: Tensor, sweeps: int = 2) -> Tensor:
    """Improve one member after the other, the rest held. Never worse than ``start`` if that consists of candidates.

    Args:
        cost: of joint actions.
        start: (M, N) i64 joint actions to begin with.
        candidates: (M, N, A) bool actions that each member may take, at least one.
        members: (M, N) bool whose actions may change (G1).

    Returns:
        (M, N) i64.
    """
    best = start.clone()
    for agent in [*range(start.shape[1])] * sweeps:
        m, u = (candidates[:, agent] & members[:, agent, None]).nonzero(as_tuple=True)
        if len(m) == 0:
            continue
        trial = best[m]
        trial[:, agent] = u
        value = torch.full((len(start), candidates.shape[-1]), float("inf"), device=start.device)
        value[m, u] = in_chunks(cost, m, trial)
        best[:, agent] = torch.where(members[:, agent], value.argmin(-1), best[:, agent])
    return best


def enumerate_joint(cost: JointCost, start: Tensor, candidates: Tensor, members: Tensor) -> Tensor:
    """(M, N) i64 the joint action of least cost among all of the members'; shapes as in ``coordinate_descent``.

    Memory grows with the number of joint actions: ask ``joint_actions`` first.
    """
    options = torch.where(members, candidates.sum(-1), 1)
    count = options.prod(-1)
    m = torch.arange(len(start), device=start.device).repeat_interleave(count)
    position = torch.arange(len(m), device=start.device) - (count.cumsum(0) - count)[m]
    rest, trial = position, start[m]
    by_index = candidates.to(torch.int8).argsort(dim=-1, descending=True, stable=True)
    for agent in reversed(range(start.shape[1])):  # digits of the position, the last agent's the fastest
        digit = rest % options[m, agent]
        rest = rest // options[m, agent]
        trial[:, agent] = torch.where(members[m, agent], by_index[m, agent, digit], trial[:, agent])
    value = torch.full((len(start), max(int(count.max()), 1)), float("inf"), device=start.device)
    value[m, position] = in_chunks(cost, m, trial)
    return trial[count.cumsum(0) - count + value.argmin(-1)]


def joint_actions(candidates: Tensor, members: Tensor) -> Tensor:
    """(M,) f64 number of joint actions of the members, given candidates (M, N, A) and members (M, N)."""
    return torch.where(members, candidates.sum(-1), 1).double().prod(-1)


def in_chunks(cost: JointCost, m: Tensor, actions: Tensor) -> Tensor:
    """(Q,) costs of Q joint actions, CHUNK at a time."""
    return torch.cat([cost(*part) for part in zip(m.split(CHUNK), actions.split(CHUNK), strict=True)])
