"""The threat disposes: projections of an attack's proposal onto what its threat allows.

Every projection is idempotent, leaves whoever the attack did not touch bit-equal, and never returns anything illegal.
"""

from __future__ import annotations

import torch
from torch import Tensor


def project_mask(obs: Tensor, proposal: Tensor, fill: Tensor, max_dims: int) -> Tensor:
    """Allow only masking: a changed dim must read exactly its fill value, any other change is undone.

    Args:
        obs: (B, N, O) the sensors.
        proposal: (B, N, O) what the attack wants the policy to read.
        fill: (O,) what a masked dim reads.
        max_dims: dims that may change per agent; of more, those of the lowest index stay masked.

    Returns:
        (B, N, O).
    """
    masked = (proposal == fill) & (obs != fill)
    allowed = masked & (masked.cumsum(-1) <= max_dims)
    return torch.where(allowed, fill.expand_as(obs), obs)


def project_noise(obs: Tensor, proposal: Tensor, epsilon: float) -> Tensor:
    """Clip the proposal (B, N, O) to the L-infinity ball of radius epsilon (obs units) around obs (B, N, O).

    Entries that are not finite are undone.
    """
    clipped = torch.minimum(torch.maximum(proposal, obs - epsilon), obs + epsilon)
    return torch.where(proposal.isfinite(), clipped, obs)


def project_actions(
    actions: Tensor,
    proposal: Tensor,
    avail_actions: Tensor,
    alive: Tensor,
    max_agents: int | None = None,
    budget_left: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Allow only legal overrides of living agents, within the threat's numbers.

    Args:
        actions: (B, N) i64 intended.
        proposal: (B, N) i64 what the attack wants executed; anything illegal or out of range means no override.
        avail_actions: (B, N, A) bool.
        alive: (B, N) bool; the dead keep their no-op.
        max_agents: overrides per game and step; None = all agents. Of more, the lowest indices count.
        budget_left: (B,) overrides left in the episode; None = unlimited.

    Returns:
        Executed actions (B, N) i64, and the overrides spent (B,) i64.
    """
    n_actions = avail_actions.shape[-1]
    known = (proposal >= 0) & (proposal < n_actions)
    legal = avail_actions.gather(-1, proposal.clamp(0, n_actions - 1)[..., None])[..., 0]
    override = (proposal != actions) & known & legal & alive
    rank = override.cumsum(-1)
    if max_agents is not None:
        override = override & (rank <= max_agents)
    if budget_left is not None:
        override = override & (rank <= budget_left[:, None])
    return torch.where(override, proposal, actions), override.sum(-1)
