"""One-step games of two agents and one payoff matrix: the classics on which value decomposition fails or succeeds."""

from __future__ import annotations

import torch
from torch import Tensor

from ibal_lightning.envs.toy import ToyEnv
from ibal_lightning.functional.options import check_choice

CLIMBING = ((11.0, -30.0, 0.0), (-30.0, 7.0, 6.0), (0.0, 0.0, 5.0))  # Claus and Boutilier 1998, figure 3
QTRAN = ((8.0, -12.0, -12.0), (-12.0, 0.0, 0.0), (-12.0, 0.0, 0.0))  # Son et al. 2019, table 1


def payoff_matrix(game: str, penalty: float) -> Tensor:
    """(3, 3) team reward of each joint action; the penalty game is Claus and Boutilier 1998, figure 2, with k.

    Raises:
        ValueError: there is no such game.
    """
    matrices = {
        "climbing": CLIMBING,
        "penalty": ((10.0, 0.0, penalty), (0.0, 2.0, 0.0), (penalty, 0.0, 10.0)),
        "qtran": QTRAN,
    }
    check_choice("game", game, list(matrices))
    return torch.tensor(matrices[game])


class MatrixGame(ToyEnv):
    """One step, a constant state, reward from the matrix; a game is won at the matrix's best entry.

    Args:
        num_envs: B.
        seed: of the random streams (the game itself draws nothing).
        game: "climbing", "penalty" or "qtran".
        penalty: k of the penalty game.
        device: where the tensors live.

    Raises:
        ValueError: there is no such game, or num_envs is below 1.
    """

    name = "matrix_game"
    n_actions = 3
    cued = False

    def __init__(
        self,
        *,
        num_envs: int = 32,
        seed: int = 0,
        game: str = "climbing",
        penalty: float = -100.0,
        device: str = "cpu",
    ) -> None:
        matrix = payoff_matrix(game, penalty)
        options = f"/{game}" + (f"/{penalty:g}" if game == "penalty" else "")
        super().__init__(num_envs=num_envs, seed=seed, options=options, device=device)
        self.matrix = matrix.to(self.device)

    def pay(self, actions: Tensor) -> Tensor:
        """(B,) entry of the matrix."""
        return self.matrix[actions[:, 0], actions[:, 1]]

    def won(self, actions: Tensor) -> Tensor:
        """(B,) 1 at the best entry."""
        return (self.pay(actions) == self.matrix.max()).float()
