"""The contracts of an attack (how) and of a threat (what is allowed). The attack proposes, the threat disposes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ibal_lightning.types import EnvSpec, EpisodeBatch, LossOutput, VictimView

ObsSurface = Literal["none", "mask", "noise"]


@dataclass(frozen=True)
class Threat:
    """Who may be attacked, on which surface, and how much. Strengths stand here once, for all attacks.

    Attacks read their strength from the threat they are built with; the collector enforces it after every proposal.
    """

    obs: bool = True  # observations may be perturbed
    actions: bool = True  # actions may be overridden
    epsilon: float = 0.1  # L-infinity radius of additive noise, in obs units
    dims: float = 0.25  # masked dims per agent and step: a share of O when below 1, else a count
    fill: Literal["zero", "null"] = "zero"  # what a masked dim reads: 0, or the environment's own null value
    agents: int | None = None  # agents whose actions may be overridden in one step; None = all
    overrides: int | None = None  # overridden agent-steps per episode; None = unlimited

    def __post_init__(self) -> None:
        for name in ("epsilon", "dims"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"threat.{name} must be a finite number >= 0, got {getattr(self, name)}")
        if self.dims > 1 and self.dims != int(self.dims):
            raise ValueError(f"threat.dims must be a share below 1 or a whole number of dims, got {self.dims}")
        if self.fill not in ("zero", "null"):
            raise ValueError(f"threat.fill must be 'zero' or 'null', got {self.fill!r}")
        for name in ("agents", "overrides"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"threat.{name} must be >= 0 or null, got {value}")

    def max_dims(self, spec: EnvSpec) -> int:
        """L, the number of dims that may be masked per agent and step; at least one of any share above 0.

        Raises:
            ValueError: more dims are asked for than an observation has.
        """
        dims = int(self.dims) if self.dims >= 1 else max(round(self.dims * spec.obs_dim), int(self.dims > 0))
        if dims > spec.obs_dim:
            raise ValueError(f"threat.dims={self.dims} asks to mask {dims} dims, an observation has {spec.obs_dim}")
        return dims

    def fill_obs(self, spec: EnvSpec) -> Tensor:
        """(O,) what masked dims read."""
        return torch.zeros(spec.obs_dim) if self.fill == "zero" else spec.null_obs.clone()


class Attack(nn.Module):
    """Built as ``cls(spec, threat, **options)``. Every method does nothing by default: override what you need.

    Attacks work on all B games at once, never change the view and never advance the policy's memory.
    """

    obs_surface: ObsSurface = "none"  # how perturb_obs changes observations
    acts: bool = False  # whether perturb_actions overrides actions
    max_grad_norm: ClassVar[float] = 10.0  # L2 norm to which the gradients of what it learns are clipped

    def __init__(self, spec: EnvSpec, threat: Threat) -> None:
        super().__init__()
        self.spec = spec
        self.threat = threat

    @property
    def env_options(self) -> Mapping[str, float]:
        """Conditions for ``Env.configure`` (initial health and the like)."""
        return {}

    @property
    def group(self) -> Tensor | None:
        """(B, N) i8 groups of the current episodes: 0 none, 1 G1, 2 G2; None when the attack has none."""
        return None

    @property
    def warm(self) -> bool:
        """Whether the attack has learnt enough to be used; until then training gives it more updates."""
        return True

    def check_training(self) -> None:
        """Raise ``ValueError`` where training would not meet the attack that was asked for; called before it begins."""

    def reset(self, num_envs: int, generator: torch.Generator) -> None:
        """Begin B new episodes: draw groups, probabilities, victims."""

    def perturb_obs(self, view: VictimView, generator: torch.Generator) -> Tensor:
        """Propose what the agents read, (B, N, O)."""
        del generator
        return view.obs

    def perturb_actions(self, view: VictimView, actions: Tensor, generator: torch.Generator) -> Tensor:
        """Propose the executed actions (B, N), given the intended ones (B, N)."""
        del view, generator
        return actions

    def loss(self, batch: EpisodeBatch) -> LossOutput | None:
        """The attack's own loss (learned attackers, estimators); None when there is nothing to learn."""
        del batch
        return None

    def optimizer(self) -> torch.optim.Optimizer | None:
        """The attack's own optimizer; None when it has no parameters."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        return torch.optim.Adam(parameters, lr=5e-4) if parameters else None

    def observe(self, batch: EpisodeBatch) -> None:
        """Finished training episodes, for curricula."""

    def status(self) -> Mapping[str, float]:
        """Numbers to show and log, such as the current attack probability ``p_max``."""
        return {}
