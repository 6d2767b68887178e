"""Theorem 4.2 on a tabular game: the attack's value is that of the induced Dec-POMDP (ALGORITHMS 1.3, T12)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

S, A, GAMMA = 4, 9, 0.9  # states, joint actions of two agents with three actions each


def rows(*shape: int, seed: int) -> Tensor:
    """Random distributions over the last axis."""
    weight = torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) ** 3
    return weight / weight.sum(-1, keepdim=True)


P = rows(S, A, S, seed=0)  # P(s' | s, executed)
R = torch.rand(S, A, S, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
SEES = rows(S, S, seed=2)  # f_adv: the state that the masked observation looks like
POLICY = rows(S, A, seed=3)  # pi(intended | seen), product form is not needed
REWRITE = rows(S, A, A, seed=4)  # pi_adv(executed | s, intended)
INTENDED = SEES @ POLICY  # pi(intended | s) through the masked observation


def composite_value() -> Tensor:
    """(S,) value of pi_adv o pi o f_adv in the attacked game."""
    executed = torch.einsum("si,sie->se", INTENDED, REWRITE)
    step = torch.einsum("se,sen->sn", executed, P)
    reward = torch.einsum("se,sen,sen->s", executed, P, R)
    return torch.linalg.solve(torch.eye(S, dtype=torch.float64) - GAMMA * step, reward)


def induced_value(literal: bool) -> Tensor:
    """(S, A) value of pi in the induced game with states (s, executed one step ago), solved as one linear system.

    The corrected transition is pi_adv(e | s, i) P(s' | s, e); the literal one follows the intention, P(s' | s, i).
    """
    if literal:
        joint = torch.einsum("si,sie,sin->sien", INTENDED, REWRITE, P)
    else:
        joint = torch.einsum("si,sie,sen->sien", INTENDED, REWRITE, P)
    step = torch.einsum("sien->sne", joint)  # to the state (s', e)
    reward = torch.einsum("sien,sen->s", joint, R)
    transition = step[:, None].expand(S, A, S, A).reshape(S * A, S * A)
    pay = reward[:, None].expand(S, A).flatten()
    return torch.linalg.solve(torch.eye(S * A, dtype=torch.float64) - GAMMA * transition, pay).view(S, A)


def test_the_induced_game_has_the_value_of_the_attacked_one() -> None:
    induced = induced_value(literal=False)
    assert float((induced - composite_value()[:, None]).abs().max()) < 1e-12


def test_the_literal_transition_has_another_value() -> None:
    gap = float((induced_value(literal=True) - composite_value()[:, None]).abs().max())
    assert gap > 0.05


def test_sampled_targets_need_no_correction_for_the_rewrite() -> None:
    """Averaging r + gamma V over executed actions gives the Bellman target of the intended one."""
    value = composite_value()
    executed = torch.einsum("sie,sen->sien", REWRITE, P)
    target = torch.einsum("sien,sen->si", executed, R) + GAMMA * torch.einsum("sien,n->si", executed, value)
    assert float(((INTENDED * target).sum(-1) - value).abs().max()) == pytest.approx(0, abs=1e-12)
