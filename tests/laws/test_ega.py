"""EGA from files in ROMANCE's layout (weights made here): budget, targets, probabilities, bad files."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from attacking import make_spec, random_view

from ibal_lightning.attack import Threat
from ibal_lightning.attacks.ega import Ega, choice_probabilities
from ibal_lightning.functional.random import stream

SPEC = make_spec(4, 5, 6, 7)


def write(folder: Path, name: str, state_dim: int, bias: list[float]) -> None:
    sizes = (state_dim + 1, 64, 64, len(bias))
    weights = {}
    for index, (inputs, outputs) in enumerate(itertools.pairwise(sizes), 1):
        weights[f"fc{index}.weight"] = torch.zeros(outputs, inputs)
        weights[f"fc{index}.bias"] = torch.zeros(outputs)
    weights["fc3.bias"] = torch.tensor(bias)
    torch.save(weights, folder / name)


def test_the_choice_is_the_released_form() -> None:
    values = torch.tensor([[0.1, -0.05, 0.02, 0.0]])
    z = np.array([0.05 / 3] * 3 + [0.95]) * np.exp(values[0].numpy() / 0.04)
    p = np.exp(z) / np.exp(z).sum()
    np.testing.assert_allclose(choice_probabilities(values)[0], p * (1 - 0.02 * 4) + 0.02, rtol=1e-5)
    extreme = choice_probabilities(torch.tensor([[50.0, -50.0, 0.0, 0.0]]))
    assert torch.isfinite(extreme).all()
    assert extreme.argmax() == 0


def test_it_forces_the_least_valued_legal_action_until_the_budget_is_spent(tmp_path: Path) -> None:
    write(tmp_path, "attacker_0.th", SPEC.state_dim, [0.0, 1.0, 0.0, 0.0, 0.0])  # always agent 1
    attack = Ega(SPEC, Threat(), weights=str(tmp_path), budget=3)
    generator = stream(0, "attack")
    attack.reset(16, generator)
    picks = torch.zeros(16)
    for step in range(40):
        view = random_view(SPEC, 16, step)
        actions = view.avail_actions.float().argmax(-1)
        taken = attack.perturb_actions(view, actions, generator)
        worst = view.scores(view.obs_seen).masked_fill(~view.avail_actions, float("inf")).argmin(-1)
        changed = taken != actions
        assert (taken == worst)[changed].all()
        assert (changed.sum(1) <= 1).all()
        picks += changed.any(1)
    assert (attack.used == 3).all() or not view.running.all()
    assert (picks <= 3).all()
    assert picks.sum() > 16


def test_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no attacker"):
        Ega(SPEC, Threat(), weights=str(tmp_path))
    write(tmp_path, "attacker_0.th", 9, [0.0] * 5)
    with pytest.raises(ValueError, match=r"attacker_0.th: fc1.weight is \(64, 10\), this game needs \(64, 8\)"):
        Ega(SPEC, Threat(), weights=str(tmp_path))
