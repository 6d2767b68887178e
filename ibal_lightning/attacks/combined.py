"""Two attacks at once: one on what the agents read, the other on what they do or how they start."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ibal_lightning.attack import Attack, Threat
from ibal_lightning.functional.random import beside
from ibal_lightning.types import EnvSpec, EpisodeBatch, LossOutput, VictimView


class Combined(Attack):
    """Observations by one attack; actions and conditions of the game by another.

    It tells robustness to a perturbation from the ability to notice it: a policy that took masked observations as a
    sign of being attacked differs on the same override with and without masks (IBAL_STUDY 4).

    Args:
        observation: builds the attack on observations from ``(spec, threat)``.
        action: the same for actions and conditions.

    Raises:
        ValueError: both learn; only the first can be fitted.
    """

    def __init__(
        self,
        spec: EnvSpec,
        threat: Threat,
        *,
        observation: Callable[[EnvSpec, Threat], Attack],
        action: Callable[[EnvSpec, Threat], Attack],
    ) -> None:
        super().__init__(spec, threat)
        self.observation, self.action = observation(spec, threat), action(spec, threat)
        self.obs_surface, self.acts = self.observation.obs_surface, self.action.acts
        if self.action.optimizer() is not None:
            raise ValueError(f"the action part of a combined attack cannot learn, {type(self.action).__name__} does")

    @property
    def env_options(self) -> Mapping[str, float]:
        """Conditions of the action part."""
        return self.action.env_options

    @property
    def group(self) -> Tensor | None:
        """(B, N) i8 groups of the observation part."""
        return self.observation.group

    @property
    def warm(self) -> bool:
        """Whether the observation part has learnt enough to be used."""
        return self.observation.warm

    def check_training(self) -> None:
        """Whatever either part refuses."""
        if self.threat.obs:
            self.observation.check_training()
        self.action.check_training()

    def reset(self, num_envs: int, generator: torch.Generator) -> None:
        """Begin B new episodes in both parts.

        The action part draws from the stream that it has alone, and the observation part beside it: one seed strikes
        the same agents at the same steps with and without masks. An action part that draws at every step has to do so
        from a ``branch`` that it takes here, for games of other lengths draw another number of times.
        """
        before = generator.get_state()
        self.action.reset(num_envs, generator)
        moved = not torch.equal(before, generator.get_state())  # where it stands still, masks would repeat themselves
        self.stream = beside(generator, "observation") if moved else generator
        self.observation.reset(num_envs, self.stream)

    def perturb_obs(self, view: VictimView, generator: torch.Generator) -> Tensor:
        """(B, N, O) of the observation part."""
        del generator
        return self.observation.perturb_obs(view, self.stream)

    def perturb_actions(self, view: VictimView, actions: Tensor, generator: torch.Generator) -> Tensor:
        """(B, N) i64 of the action part."""
        return self.action.perturb_actions(view, actions, generator)

    def loss(self, batch: EpisodeBatch) -> LossOutput | None:
        """What the observation part learns from."""
        return self.observation.loss(batch)

    def optimizer(self) -> torch.optim.Optimizer | None:
        """The observation part's."""
        return self.observation.optimizer()

    def observe(self, batch: EpisodeBatch) -> None:
        """Finished training episodes, for the observation part's curriculum."""
        self.observation.observe(batch)

    def status(self) -> Mapping[str, float]:
        """The observation part's numbers."""
        return self.observation.status()
