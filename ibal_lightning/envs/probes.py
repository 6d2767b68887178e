"""Probe environments: each tests one part of a learner and knows its own value, so that a failure says where.

After "Debugging RL, without the agonizing pain" (A. Jones 2021) and rejax's test environments.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from ibal_lightning.envs.toy import ToyEnv


class Probe(ToyEnv):
    """A tiny game with a known value."""

    @abstractmethod
    def known_value(self, gamma: float) -> Tensor:
        """(B,) optimal discounted return from the current first step of each game."""


class ConstantReward(Probe):
    """One step that pays 1: the value is 1. Fails where loss or optimizer is wrong."""

    name = "constant_reward"
    cued = False

    def pay(self, actions: Tensor) -> Tensor:
        """(B,) ones."""
        return torch.ones(len(actions), device=self.device)

    def known_value(self, gamma: float) -> Tensor:
        """(B,) ones."""
        del gamma
        return torch.ones(self.num_envs, device=self.device)


class ObsReward(Probe):
    """One step that pays the cue: the value is the cue. Fails where observations or state do not reach the value."""

    name = "obs_reward"

    def pay(self, actions: Tensor) -> Tensor:
        """(B,) the cue."""
        del actions
        return self.cue

    def known_value(self, gamma: float) -> Tensor:
        """(B,) the cue."""
        del gamma
        return self.cue


class DelayedReward(Probe):
    """Three steps, the last pays 1: the value is gamma squared. Fails where bootstrapping or termination is wrong."""

    name = "delayed_reward"
    length = 3
    cued = False

    def pay(self, actions: Tensor) -> Tensor:
        """(B,) 1 at the last step."""
        del actions
        return (self.time == self.length - 1).float()

    def known_value(self, gamma: float) -> Tensor:
        """(B,) gamma^2."""
        return torch.full((self.num_envs,), gamma ** (self.length - 1), device=self.device)


class OwnAction(Probe):
    """One step that pays the share of agents choosing action 1: the value is 1. Fails where the maximum is wrong."""

    name = "own_action"
    cued = False

    def pay(self, actions: Tensor) -> Tensor:
        """(B,) share of action 1."""
        return (actions == 1).float().mean(1)

    def known_value(self, gamma: float) -> Tensor:
        """(B,) ones."""
        del gamma
        return torch.ones(self.num_envs, device=self.device)


class CuedAction(Probe):
    """One step that pays the share of agents whose action names the cue's sign: the value is 1.

    Fails where actions and observations of different games, agents or steps are mixed up.
    """

    name = "cued_action"

    def pay(self, actions: Tensor) -> Tensor:
        """(B,) share of agents that choose 1 at a positive cue, 0 at a negative one."""
        return (actions == (self.cue > 0).long().unsqueeze(1)).float().mean(1)

    def known_value(self, gamma: float) -> Tensor:
        """(B,) ones."""
        del gamma
        return torch.ones(self.num_envs, device=self.device)


class Endless(Probe):
    """Pays 1 for ever and is cut after four steps: the value is 1 / (1 - gamma). Fails where truncation ends the value.

    Time is not observed: nothing tells the last slot, whose value is only ever read, from the ones before it.
    """

    name = "endless"
    length = 4
    truncates = True
    cued = False
    timed = False

    def pay(self, actions: Tensor) -> Tensor:
        """(B,) ones."""
        return torch.ones(len(actions), device=self.device)

    def known_value(self, gamma: float) -> Tensor:
        """(B,) 1 / (1 - gamma)."""
        return torch.full((self.num_envs,), 1.0 / (1.0 - gamma), device=self.device)


PROBES: tuple[type[Probe], ...] = (ConstantReward, ObsReward, DelayedReward, OwnAction, CuedAction, Endless)
