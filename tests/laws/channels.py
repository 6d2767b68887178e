"""Worlds of known information for the estimators' laws, and a plain fitting loop."""

from __future__ import annotations

from collections.abc import Callable

import torch
from playing import make_spec
from torch import Tensor, nn

from ibal_lightning.estimators.joint_additive import parameter_groups
from ibal_lightning.estimators.transitions import Context, Transitions
from ibal_lightning.types import EnvSpec

World = Callable[[int, torch.Generator], Transitions]


def world_spec(rows: Transitions) -> EnvSpec:
    """The sizes of the world that these rows come from."""
    return make_spec(
        rows.intended.shape[1], rows.avail_actions.shape[-1], rows.next_obs.shape[-1], rows.now.state.shape[-1]
    )


def transitions(
    state: Tensor, obs: Tensor, actions: Tensor, next_obs: Tensor, n_actions: int, next_actions: Tensor | None = None
) -> Transitions:
    """Rows in which everybody lives, everything is legal and every intention is executed."""
    alive = torch.ones(actions.shape, dtype=torch.bool)
    return Transitions(
        now=Context(state, obs, actions, alive, torch.zeros(len(state))),
        intended=actions,
        avail_actions=torch.ones(*actions.shape, n_actions, dtype=torch.bool),
        next_obs=next_obs,
        next_alive=alive,
        next_intended=actions if next_actions is None else next_actions,
        acts_next=alive,
    )


def fit(model: nn.Module, loss: Callable[[Transitions, int], Tensor], world: World, *, steps: int, lr: float) -> None:
    """Adam on fresh rows of the world; the last third at a tenth of the rate."""
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(parameter_groups(model, lr))
    for step in range(steps):
        if step == 2 * steps // 3:
            for group in optimizer.param_groups:
                group["lr"] /= 10
        optimizer.zero_grad()
        loss(world(256, generator), step).backward()
        optimizer.step()
