"""Evolved attackers of ROMANCE (Yuan et al., AAAI 2023), from their released files."""

from __future__ import annotations

import itertools
from pathlib import Path

import torch
from torch import Tensor, nn

from ibal_lightning.attack import Attack, Threat
from ibal_lightning.functional.masking import greedy
from ibal_lightning.functional.options import check_range
from ibal_lightning.functional.weights import read_weights
from ibal_lightning.types import EnvSpec, VictimView

TEMPERATURE, SPARSITY, SMOOTHING = 0.04, 0.05, 0.02  # lambda, delta and b of ROMANCE's code
OVERFLOW = 1e8  # where ROMANCE's code cuts exponentials


class Ega(Attack):
    """At each step an attacker picks one agent, or nobody; that agent executes what it values least.

    Each episode meets one attacker of the archive, drawn uniformly. An attacker is a network v on [state | share of
    the budget left]; its choice a has p ~ softmax(p_ref(a) exp(v_a / lambda)), smoothed by b, the form in which the
    released files were trained (ALGORITHMS 3.4 names the correct one for newly trained attackers).

    Args:
        weights: an ``attacker_*.th`` file or a folder of them.
        budget: picks per episode (K); 8 on 2s3z.

    Raises:
        FileNotFoundError: there are no such files.
        ValueError: they do not fit the game; names the layer and both shapes.
    """

    acts = True

    def __init__(self, spec: EnvSpec, threat: Threat, *, weights: str, budget: int = 8) -> None:
        super().__init__(spec, threat)
        check_range("attack.budget", budget, 1)
        self.budget = budget
        self.archive = nn.ModuleList(load_attacker(path, spec) for path in attacker_files(Path(weights)))

    def reset(self, num_envs: int, generator: torch.Generator) -> None:
        """Draw the attacker of each of B new episodes."""
        device = generator.device
        self.drawn = torch.randint(len(self.archive), (num_envs,), generator=generator, device=device)
        self.used = torch.zeros(num_envs, device=device)

    def perturb_actions(self, view: VictimView, actions: Tensor, generator: torch.Generator) -> Tensor:
        """(B, N) i64 with the picked agent's action replaced by its least valued legal one."""
        left = (1 - self.used / self.budget)[:, None]
        values = torch.stack([attacker(torch.cat([view.state, left], 1)) for attacker in self.archive], 1)
        p = choice_probabilities(values[torch.arange(len(actions), device=actions.device), self.drawn])
        pick = torch.multinomial(p, 1, generator=generator)[:, 0]
        strikes = (pick < self.spec.n_agents) & (self.used < self.budget) & view.running
        self.used = self.used + strikes
        worst = greedy(-view.scores(view.obs_seen), view.avail_actions)
        picked = torch.arange(self.spec.n_agents, device=actions.device) == pick[:, None]
        return torch.where(picked & strikes[:, None], worst, actions)


def choice_probabilities(values: Tensor) -> Tensor:
    """(B, N+1) probability of picking each agent, or nobody (last), from an attacker's values (B, N+1)."""
    n_agents = values.shape[1] - 1
    prior = torch.full_like(values, SPARSITY / n_agents)
    prior[:, -1] = 1 - SPARSITY
    p = torch.softmax((prior * (values / TEMPERATURE).exp()).clamp(max=OVERFLOW), 1)
    return p * (1 - SMOOTHING * (n_agents + 1)) + SMOOTHING


def attacker_files(path: Path) -> list[Path]:
    """The file itself, or every ``attacker_*.th`` of a folder in order.

    Raises:
        FileNotFoundError: there is none.
    """
    files = [path] if path.is_file() else sorted(path.glob("attacker_*.th"))
    if not files:
        raise FileNotFoundError(2, "no attacker_*.th there", str(path))
    return files


def load_attacker(path: Path, spec: EnvSpec) -> nn.Sequential:
    """The MLP of one file, frozen.

    Raises:
        ValueError: a layer is missing or of another shape; names it and both shapes.
    """
    weights, sizes = read_weights(path), (spec.state_dim + 1, 64, 64, spec.n_agents + 1)
    layers: list[nn.Module] = []
    for index, (inputs, outputs) in enumerate(itertools.pairwise(sizes), 1):
        layer = nn.Linear(inputs, outputs).requires_grad_(False)
        for name in ("weight", "bias"):
            theirs, ours = weights.get(f"fc{index}.{name}"), getattr(layer, name)
            if theirs is None or theirs.shape != ours.shape:
                shape = "missing" if theirs is None else tuple(theirs.shape)
                raise ValueError(f"{path}: fc{index}.{name} is {shape}, this game needs {tuple(ours.shape)}")
            ours.copy_(theirs)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])
