"""One game of any of our environments behind PyMARL's MultiAgentEnv interface, which the genuine packages have too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ibal_lightning.env import Env
from ibal_lightning.envs.battle_env import BattleEnv
from ibal_lightning.types import Timestep


class PymarlViews:
    """The looking half of the interface: what a game shows now, and its sizes. Arrays are copies."""

    def __init__(self, env: Env) -> None:
        if env.num_envs != 1:
            raise ValueError(
                f"PyMARL's interface plays one game at a time; build the env with num_envs=1, not {env.num_envs}."
            )
        self.env = env
        self._now: Timestep | None = None

    @property
    def now(self) -> Timestep:
        """The latest time step; resets the game if it has not been reset yet."""
        if self._now is None:
            self._now = self.env.reset()
        return self._now

    def get_obs(self) -> list[NDArray[np.float32]]:
        """Observations (D,) of all agents."""
        return list(self.now.obs[0].numpy().copy())

    def get_obs_agent(self, agent_id: int) -> NDArray[np.float32]:
        """Observation (D,) of one agent."""
        return self.now.obs[0, agent_id].numpy().copy()

    def get_state(self) -> NDArray[np.float32]:
        """Global state (S,)."""
        return self.now.state[0].numpy().copy()

    def get_avail_actions(self) -> list[list[int]]:
        """Masks of all agents, 1 = legal."""
        return self.now.avail_actions[0].int().tolist()

    def get_avail_agent_actions(self, agent_id: int) -> list[int]:
        """Mask of one agent."""
        return self.now.avail_actions[0, agent_id].int().tolist()

    def get_visibility_matrix(self) -> NDArray[np.bool_]:
        """(N, N + E): which units each agent sees, allies first; battles only. Nobody sees before the first reset.

        Raises:
            ValueError: the game is no battle of the embedded engine.
        """
        if not isinstance(self.env, BattleEnv):
            raise ValueError("only SMAC's and SMACv2's battles have a visibility matrix")
        return self.env.visibility()[0].numpy()

    def get_obs_size(self) -> int:
        """D."""
        return self.env.spec.obs_dim

    def get_state_size(self) -> int:
        """S."""
        return self.env.spec.state_dim

    def get_total_actions(self) -> int:
        """A."""
        return self.env.spec.n_actions


class PymarlEnv(PymarlViews):
    """A game that PyMARL, EPyMARL and scripts written for genuine SMAC can play.

    Args:
        env: an environment with ``num_envs=1``, such as ``Smac(num_envs=1, map_name="3m")``. Where it truncates an
            episode, as SMAC does with ``continuing_episode=True``, ``info["episode_limit"]`` is True.
    """

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self._stats = {"battles_won": 0, "battles_game": 0, "battles_draw": 0, "timeouts": 0, "restarts": 0}

    def reset(self) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
        """Start an episode: observations of all agents and the state."""
        self._now = self.env.reset()
        return self.get_obs(), self.get_state()

    def step(self, actions: Sequence[int]) -> tuple[float, bool, dict[str, Any]]:
        """Play one joint action: reward, whether the episode is over, and SMAC's info.

        Raises:
            ValueError: an illegal action.
        """
        self._now = now = self.env.step(torch.tensor([[int(action) for action in actions]]))
        info: dict[str, Any] = {"battle_won": bool(now.info["won"][0])}
        info |= {name: int(now.info[name][0]) for name in ("dead_allies", "dead_enemies") if name in now.info}
        if now.truncated[0]:
            info["episode_limit"] = True
        over = bool(now.terminated[0] or now.truncated[0])
        self._count(over, info["battle_won"], bool(now.info.get("timeout", now.truncated)[0]))
        return float(now.reward[0]), over, info

    def _count(self, over: bool, won: bool, timeout: bool) -> None:
        for name, happened in (("battles_game", over), ("battles_won", won), ("timeouts", timeout)):
            self._stats[name] += over and happened
        self._stats["battles_draw"] = self._stats["timeouts"]

    def get_stats(self) -> dict[str, float]:
        """SMAC's counters over all episodes."""
        return {**self._stats, "win_rate": self._stats["battles_won"] / max(self._stats["battles_game"], 1)}

    def get_env_info(self) -> dict[str, Any]:
        """The sizes under PyMARL's names; of battles also what the state is made of."""
        spec = self.env.spec
        sizes = {
            "state_shape": spec.state_dim,
            "obs_shape": spec.obs_dim,
            "n_actions": spec.n_actions,
            "n_agents": spec.n_agents,
            "episode_limit": spec.episode_limit,
        }
        if not isinstance(self.env, BattleEnv):
            return sizes
        return sizes | dict(zip(("agent_features", "enemy_features"), self.env.state_features(), strict=True))

    def close(self) -> None:
        """Close the environment."""
        self.env.close()
