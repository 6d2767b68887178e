"""Worlds of known information for the estimators' laws, and a plain fitting loop."""

from __future__ import annotations

from collections.abc import Callable

import torch
from playing import make_spec
from torch import Tensor, nn

from ibal_lightning.estimators.joint_additive import parameter_groups
from ibal_lightning.estimators.observation_model import ObservationModel
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


def fitted(
    world: World, *, steps: int = 400, lr: float = 3e-3, head: type[ObservationModel] = ObservationModel
) -> tuple[ObservationModel, Transitions]:
    """A model fitted to the world, and rows it has not seen."""
    torch.manual_seed(0)
    held_out = world(2000, torch.Generator().manual_seed(2))
    model = head(world_spec(held_out), hidden=64, rank=3)
    model.update_moments(held_out.now)
    fit(model, lambda rows, _: model.loss(rows), world, steps=steps, lr=lr)
    return model, held_out


def bernoulli(p: Tensor, generator: torch.Generator) -> Tensor:
    return (torch.rand(p.shape, generator=generator) < p).long()


def overlap(effect: float) -> World:
    """o'_0 = c + effect a + .5 noise, where a is likelier for large c: effect and confounder overlap (T2, T3)."""

    def draw(rows: int, g: torch.Generator) -> Transitions:
        c = torch.randn(rows, 1, generator=g)
        actions = torch.cat([torch.randint(2, (rows, 1), generator=g), bernoulli(torch.sigmoid(2 * c), g)], 1)
        noise = 0.5 * torch.randn(rows, 1, generator=g)
        obs = torch.stack([c, torch.randn(rows, 1, generator=g)], 1)
        return transitions(c, obs, actions, torch.stack([c + effect * actions[:, 1:] + noise, obs[:, 1]], 1), 2)

    return draw


def company(rows: int, g: torch.Generator) -> Transitions:
    """Agents 1 and 2 nearly always do the same; only agent 1 moves agent 0's dim 0, only agent 2 its dim 1."""
    same = torch.randint(2, (rows,), generator=g)
    other = torch.where(torch.rand(rows, generator=g) < 0.9, same, 1 - same)
    actions = torch.stack([torch.randint(2, (rows,), generator=g), same, other], 1)
    noise = 0.3 * torch.randn(rows, 3, 2, generator=g)
    noise[:, 0] += torch.stack([same, 0.5 * other], 1)
    return transitions(torch.zeros(rows, 1), torch.randn(rows, 3, 2, generator=g), actions, noise, 2)
