"""What a batch of games is asked: which of them begin anew, and with which joint actions they go on."""

from __future__ import annotations

import torch
from torch import Tensor


def chosen_games(mask: Tensor | None, num_envs: int) -> Tensor:
    """(B,) bool the games that a reset with this mask starts anew; all without one.

    Raises:
        ValueError: the mask has another shape or kind.
    """
    if mask is None:
        return torch.ones(num_envs, dtype=torch.bool)
    if not isinstance(mask, Tensor):
        raise ValueError(f"The reset mask must be a tensor of shape ({num_envs},), not a {type(mask).__name__}")
    if mask.dtype != torch.bool or tuple(mask.shape) != (num_envs,):
        raise ValueError(
            f"The reset mask must be bool of shape ({num_envs},), not {mask.dtype} of shape {tuple(mask.shape)}"
        )
    return mask


def check_actions(actions: Tensor, avail: Tensor, running: Tensor) -> None:
    """Refuse joint actions that a game could not play; games that are over ignore theirs.

    Args:
        actions: (B, N) whole numbers.
        avail: (B, N, A) bool.
        running: (B,) bool.

    Raises:
        ValueError: another shape or kind, or an illegal action; names game, agent, action and what was legal.
    """
    shape, n_actions = tuple(avail.shape[:2]), avail.shape[-1]
    if tuple(actions.shape) != shape:
        raise ValueError(f"Actions must have shape {shape}, not {tuple(actions.shape)}")
    if actions.is_floating_point() or actions.is_complex() or actions.dtype == torch.bool:
        raise ValueError(f"Actions must be whole numbers, not {actions.dtype}")
    inside = (actions >= 0) & (actions < n_actions)
    legal = avail.gather(-1, actions.long().clamp(0, n_actions - 1).unsqueeze(-1)).squeeze(-1) & inside
    wrong = (~legal & running[:, None]).nonzero()
    if len(wrong):
        game, agent = wrong[0].tolist()
        action, allowed = int(actions[game, agent]), avail[game, agent].nonzero().flatten().tolist()
        raise ValueError(f"Illegal action {action} of agent {agent} in game {game}; legal: {allowed}")
