"""Laws of the threat's projections: idempotent, bit-equal where untouched, never beyond what is allowed."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ibal_lightning.functional.masking import random_legal
from ibal_lightning.functional.projection import project_actions, project_mask, project_noise

SEEDS = st.integers(0, 1_000_000)


def observations(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Sensors, a wild proposal (some dims filled, some forged, some not finite, some agents untouched), and a fill."""
    g = torch.Generator().manual_seed(seed)
    fill = torch.randint(-1, 1, (7,), generator=g).float()
    obs = torch.randn(4, 3, 7, generator=g) * (torch.rand(4, 3, 7, generator=g) < 0.7)
    what = torch.randint(0, 4, obs.shape, generator=g)
    forged = obs + 5 * torch.randn(obs.shape, generator=g)
    proposal = torch.where(what == 0, fill, torch.where(what == 1, forged, obs))
    proposal[what == 3] = float("nan")
    proposal[:, 1] = obs[:, 1]
    return obs, proposal, fill


@settings(deadline=None)
@given(SEEDS, st.integers(0, 7))
def test_mask_projection(seed: int, max_dims: int) -> None:
    obs, proposal, fill = observations(seed)
    seen = project_mask(obs, proposal, fill, max_dims)
    changed = seen != obs
    assert (changed.sum(-1) <= max_dims).all()
    assert (seen == torch.where(changed, fill, obs)).all()
    assert not (changed & (proposal != fill)).any()
    assert torch.equal(seen[:, 1], obs[:, 1])
    assert torch.equal(project_mask(obs, seen, fill, max_dims), seen)
    asked = ((proposal == fill) & (obs != fill)).sum(-1)
    assert torch.equal(changed.sum(-1), asked.clamp(max=max_dims))  # nothing allowed is lost


@settings(deadline=None)
@given(SEEDS, st.floats(0, 2))
def test_noise_projection(seed: int, epsilon: float) -> None:
    obs, proposal, _ = observations(seed)
    seen = project_noise(obs, proposal, epsilon)
    assert seen.isfinite().all()
    assert ((seen - obs).abs() <= epsilon + 1e-5).all()
    inside = (proposal - obs).abs() < 0.999 * epsilon
    assert torch.equal(seen[inside], proposal[inside])
    assert torch.equal(seen[:, 1], obs[:, 1])
    assert torch.equal(project_noise(obs, seen, epsilon), seen)


@settings(deadline=None)
@given(SEEDS, st.none() | st.integers(0, 4), st.booleans())
def test_action_projection(seed: int, max_agents: int | None, budgeted: bool) -> None:
    g = torch.Generator().manual_seed(seed)
    avail = torch.rand(5, 4, 6, generator=g) < 0.4
    avail[..., 0] = True
    alive = torch.rand(5, 4, generator=g) < 0.8
    actions = random_legal(avail, g)
    proposal = torch.randint(-3, 9, (5, 4), generator=g)
    left = torch.randint(0, 4, (5,), generator=g) if budgeted else None
    taken, spent = project_actions(actions, proposal, avail, alive, max_agents, left)
    assert avail.gather(-1, taken[..., None]).all()
    overridden = taken != actions
    assert torch.equal(overridden.sum(-1), spent)
    assert (taken[overridden] == proposal[overridden]).all()
    assert not overridden[~alive].any()
    assert max_agents is None or (spent <= max_agents).all()
    assert left is None or (spent <= left).all()
    again, _ = project_actions(actions, taken, avail, alive, max_agents, left)
    assert torch.equal(again, taken)
    if max_agents is None and left is None:
        in_range = (proposal >= 0) & (proposal < 6)
        legal = in_range & avail.gather(-1, proposal.clamp(0, 5)[..., None])[..., 0]
        assert torch.equal(taken, torch.where(legal & alive, proposal, actions))
