"""Laws of stuck controls."""

from __future__ import annotations

import pytest
import torch
from ibal_sticky_actions import StickyActions

from ibal_lightning.attack import Threat
from ibal_lightning.types import EnvSpec, VictimView

B, N, A = 400, 3, 5
SPEC = EnvSpec(N, A, 4, 4, 10, ("x",) * 4, ("a",) * A, torch.zeros(4), "test")


def view(last: torch.Tensor) -> VictimView:
    """A step in which everything is legal and ``last`` (B, N) was executed before."""
    obs = torch.zeros(B, N, 4)
    legal, alive = torch.ones(B, N, A, dtype=torch.bool), torch.ones(B, N, dtype=torch.bool)
    running = torch.ones(B, dtype=torch.bool)
    scores = torch.zeros(B, N, A)
    return VictimView(obs, obs, obs[:, 0], obs, legal, alive, last, last, 1, running, running, lambda x: scores)


def proposed(probability: float, last: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    attack = StickyActions(SPEC, Threat(), probability=probability)
    return attack.perturb_actions(view(last), actions, torch.Generator().manual_seed(0))


def test_probability_one_always_repeats_and_zero_never() -> None:
    last, actions = torch.full((B, N), 2), torch.full((B, N), 4)
    assert torch.equal(proposed(1.0, last, actions), last)
    assert torch.equal(proposed(0.0, last, actions), actions)


def test_nothing_can_be_repeated_at_the_first_step() -> None:
    actions = torch.full((B, N), 4)
    assert torch.equal(proposed(1.0, torch.full((B, N), -1), actions), actions)


def test_the_share_of_repeats_is_the_probability() -> None:
    last, actions = torch.full((B, N), 2), torch.full((B, N), 4)
    share = (proposed(0.25, last, actions) == last).float().mean().item()
    assert share == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / (B * N)) ** 0.5)


def test_an_impossible_probability_is_refused() -> None:
    with pytest.raises(ValueError, match=r"attack\.probability must be between 0 and 1, got 2"):
        StickyActions(SPEC, Threat(), probability=2)
