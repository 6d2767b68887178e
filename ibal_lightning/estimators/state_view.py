"""How much of the state the model of simultaneous actions conditions on (``action_context``, ALGORITHMS 2.6)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ibal_lightning.estimators.moments import RunningMoments
from ibal_lightning.functional.options import check_choice

CODE_DIMS = 8
PENALTY = 4.0  # per nat above the rate: a nat about the state is worth at most one nat an agent


class WholeState(nn.Module):
    """The state itself, in standard deviations of each dim."""

    def __init__(self, state_dim: int) -> None:
        super().__init__()
        self.width = state_dim
        self.moments = RunningMoments(state_dim)

    def forward(self, state: Tensor) -> Tensor:
        """(M, width) of states (M, S)."""
        return self.moments.normalise(state)

    def learn(self, state: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """What to condition on in training, (M, width), and () what to add to the loss."""
        del generator
        return self(state), state.new_zeros(())


class StateCode(WholeState):
    """A code of 8 dims, learnt to hold at most ``rate`` nats about the state (bottleneck, Alemi et al. 2017).

    ``z = m(s) + sigma(s) eps``; ``I(z; s) <= E KL(N(m, sigma) || N(0, 1))``, of which what exceeds the rate is
    punished. At play z is its mean, so that the attack draws no noise; the rate bounds what was learnt from.
    """

    def __init__(self, state_dim: int, rate: float) -> None:
        super().__init__(state_dim)
        self.width, self.rate = CODE_DIMS, rate
        self.encoder = nn.Linear(state_dim, 2 * CODE_DIMS)

    def forward(self, state: Tensor) -> Tensor:
        """(M, 8) mean codes of states (M, S)."""
        return self.distribution(state)[0]

    def learn(self, state: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(M, 8) drawn codes, and () the penalty of their rate."""
        mean, log_sigma = self.distribution(state)
        noise = torch.randn(mean.shape, generator=generator).to(mean.device)
        excess = (nats(mean, log_sigma).mean() - self.rate).clamp(min=0)
        return mean + log_sigma.exp() * noise, PENALTY * excess

    def distribution(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """(M, 8) means and logs of sigma."""
        mean, log_sigma = self.encoder(self.moments.normalise(state)).chunk(2, -1)
        return mean, log_sigma.clamp(-6, 2)


VIEWS = ("coarse", "vib", "state")


def state_view(context: str, state_dim: int, rate: float) -> WholeState | None:
    """What ``action_context`` names; None for "coarse", which reads no state.

    Raises:
        ValueError: another word.
    """
    check_choice("attack.action_context", context, VIEWS)
    if context == "coarse":
        return None
    return StateCode(state_dim, rate) if context == "vib" else WholeState(state_dim)


def nats(mean: Tensor, log_sigma: Tensor) -> Tensor:
    """(M,) KL(N(mean, sigma) || N(0, 1)) summed over the last axis."""
    return (0.5 * (mean.square() + (2 * log_sigma).exp() - 1) - log_sigma).sum(-1)
