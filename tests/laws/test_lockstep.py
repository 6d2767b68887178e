"""What every environment refuses before a game moves: masks and joint actions of another shape or kind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ibal_lightning.env import Env
from ibal_lightning.envs.lbf import Lbf
from ibal_lightning.envs.matrix_game import MatrixGame
from ibal_lightning.envs.smac import Smac

GAMES: dict[str, Callable[[], Env]] = {
    "smac": lambda: Smac(map_name="3m", num_envs=2, engine="skirmish"),
    "lbf": lambda: Lbf(num_envs=2, task="Foraging-8x8-3p-1f-v3"),
    "matrix_game": lambda: MatrixGame(num_envs=2),
}


@pytest.fixture(params=GAMES)
def env(request: pytest.FixtureRequest) -> Env:
    return GAMES[request.param]()


def first_legal(env: Env) -> Tensor:
    return env.reset(seed=1).avail_actions.int().argmax(-1)


@pytest.mark.parametrize(
    "mask",
    [
        torch.tensor([True]),
        torch.ones(3, dtype=torch.bool),
        torch.tensor([[False], [True]]),
        torch.tensor(True),
        torch.tensor([0, 1]),
    ],
    ids=lambda mask: f"{mask.dtype}{tuple(mask.shape)}",
)
def test_a_reset_mask_names_every_game_once(env: Env, mask: Tensor) -> None:
    before = env.step(first_legal(env)).obs.clone()
    with pytest.raises(ValueError, match=r"The reset mask must .*\(2,\), not"):
        env.reset(mask=mask)
    assert torch.equal(env.reset(mask=torch.zeros(2, dtype=torch.bool)).obs, before)


@pytest.mark.parametrize("change", ["agents", "games", "agent", "float", "bool", "flat"])
def test_joint_actions_have_a_place_for_everybody(env: Env, change: str) -> None:
    actions = first_legal(env)
    wrong = {
        "agents": actions[:, :1],
        "games": actions[:1],
        "agent": torch.cat([actions, actions[:, :1]], 1),
        "float": actions.float(),
        "bool": actions.bool(),
        "flat": actions.flatten(),
    }[change]
    with pytest.raises(ValueError, match=r"Actions must (have shape|be whole numbers)"):
        env.step(wrong)
    env.step(actions.to(torch.uint8))  # any whole numbers


def test_a_game_that_is_over_ignores_its_actions() -> None:
    env = MatrixGame(num_envs=2)
    env.reset()
    env.step(torch.zeros(2, 2, dtype=torch.long))
    assert env.step(torch.full((2, 2), 99)).reward.tolist() == [0.0, 0.0]


def test_an_action_that_does_not_exist_is_named(env: Env) -> None:
    actions = first_legal(env)
    for action in (-1, env.spec.n_actions):
        actions[1, 1] = action
        with pytest.raises(ValueError, match=rf"Illegal action {action} of agent 1 in game 1; legal: \["):
            env.step(actions)
