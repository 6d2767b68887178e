"""Helpers of the attacks' laws: random moments of a game and warm IBAL attacks."""

from __future__ import annotations

from typing import Any

import torch
from playing import make_spec, random_batch
from torch import Tensor

from ibal_lightning.attack import Attack, Threat
from ibal_lightning.attacks.ibal.attack import Ibal
from ibal_lightning.functional.masking import random_legal
from ibal_lightning.types import EnvSpec, VictimView


def random_view(spec: EnvSpec, games: int, seed: int, step: int = 1) -> VictimView:
    """A moment in which some are dead (only action 0 is legal for them) and some games are over."""
    g = torch.Generator().manual_seed(seed)
    shape = (games, spec.n_agents)
    alive = torch.rand(shape, generator=g) < 0.8
    avail = torch.rand(*shape, spec.n_actions, generator=g) < 0.6
    avail[..., 1] = True
    avail[~alive] = False
    avail[..., 0] = ~alive
    obs = torch.randn(*shape, spec.obs_dim, generator=g) * alive[..., None]
    weight = torch.randn(spec.obs_dim, spec.n_actions, generator=g)
    last = random_legal(avail, g) if step else torch.full(shape, -1)
    running = torch.rand(games, generator=g) < 0.9
    return VictimView(
        obs=obs,
        obs_seen=obs,
        state=torch.randn(games, spec.state_dim, generator=g),
        hidden=torch.zeros(*shape, 4),
        avail_actions=avail,
        alive=alive,
        last_actions=last,
        last_actions_taken=last,
        step=step,
        running=running,
        shown=running,
        scores=lambda seen: seen @ weight,
    )


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def intended(view: VictimView, seed: int = 0) -> Tensor:
    """(B, N) legal actions that a policy might mean."""
    return random_legal(view.avail_actions, torch.Generator().manual_seed(seed))


def warm_ibal(spec: EnvSpec | None = None, threat: Threat | None = None, **options: Any) -> Ibal:
    """An attack after a few updates, with effects in every pair, healthy and ready."""
    spec = spec or make_spec(6, 5, 8, 7)
    torch.manual_seed(0)
    attack = Ibal(spec, threat or Threat(dims=3), warmup_updates=3, hidden=16, rank=2, rows=32, **options)
    optimizer = attack.optimizer()
    batch = random_batch(spec, 8)
    for _ in range(4):
        out = attack.loss(batch)
        if out is not None and optimizer is not None:
            optimizer.zero_grad()
            out.loss.backward()
            optimizer.step()
    if attack.guided is not None:
        torch.nn.init.normal_(attack.mask.model.joint.effects.v)
        attack.mask.table.uniform_(generator=torch.Generator().manual_seed(0))
        attack.mask.health.explained.value.fill_(1.0)
        attack.mask.health.chance.value.fill_(0.0)
        attack.mask.health.attribution.value.fill_(0.5)
    return attack


def play_step(attack: Attack, view: VictimView, g: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Proposed observations, intended actions and proposed actions of one step."""
    seen = attack.perturb_obs(view, g)
    actions = intended(view)
    return seen, actions, attack.perturb_actions(view, actions, g)
