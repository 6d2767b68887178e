"""What the interface remembers of each game between steps, and the arrays it writes for the learner.

B games, n agents, E enemies, A actions, D observation, S state.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ibal_lightning.envs.skirmish.rules import Rules


class Memory(NamedTuple):
    """The interface's own state; the engine sets ``episode``, the interface functions everything else."""

    key: NDArray[np.int64]  # (B,) bits of the OBSERVE stream of the current episode
    episode: NDArray[np.int64]  # (B,) index of the current episode, advanced by the engine before it spawns
    step: NDArray[np.int64]  # (B,) steps played in this episode
    played: NDArray[np.bool_]  # (B,) an episode of this game has come to its end: max_reward is fixed
    max_reward: NDArray[np.float64]  # (B,) what reward_scale divides by
    last_actions: NDArray[np.int64]  # (B, n) executed in the last step, -1 after a reset
    fov: NDArray[np.float64]  # (B, n, 2) viewing direction (conic_fov)
    seen: NDArray[np.bool_]  # (B, E, n) SMACv2: enemy e may be shown to agent i
    owner: NDArray[np.int16]  # (B, E) SMACv2: agent that saw enemy e first, -1 nobody
    order: NDArray[np.int64]  # (B, n) SMACv2: in this order the agents look
    draws: NDArray[np.float64]  # (B, E*(n-1)) uniforms that decide who else sees an enemy; unused if none can matter
    first_row: NDArray[np.int16]  # (B, n) enemy rows below this one are wiped (0 in SMAC)
    attack_probability: NDArray[np.float64]  # (B, n) capability "attack"; ones without it
    health_level: NDArray[np.float64]  # (B, n) capability "health": the share of health below which it dies, or zeros
    enemy_hidden: NDArray[np.bool_]  # (B, n, E) capability "enemy_mask"; False without it


class Outputs(NamedTuple):
    """What a step shows; torch shares these arrays without a copy."""

    obs: NDArray[np.float32]  # (B, n, D)
    state: NDArray[np.float32]  # (B, S)
    avail: NDArray[np.bool_]  # (B, n, A) True = legal
    alive: NDArray[np.bool_]  # (B, n)
    reward: NDArray[np.float32]  # (B,)
    terminated: NDArray[np.bool_]  # (B,) the battle is over, or the episode limit ended it
    truncated: NDArray[np.bool_]  # (B,) the episode limit cut the battle (continuing_episode)
    timeout: NDArray[np.bool_]  # (B,) the episode limit came before the battle was over
    won: NDArray[np.bool_]  # (B,)
    dead_allies: NDArray[np.int16]  # (B,)
    dead_enemies: NDArray[np.int16]  # (B,)


def allocate_memory(rules: Rules, num_envs: int) -> Memory:
    """The memory of B games none of which has been played."""
    b, n, e = num_envs, rules.n_agents, rules.n_enemies
    base = e * rules.reward_death_value + rules.reward_win
    return Memory(
        key=np.zeros(b, np.int64),
        episode=np.full(b, -1, np.int64),
        step=np.zeros(b, np.int64),
        played=np.zeros(b, np.bool_),
        max_reward=np.full(b, base, np.float64),
        last_actions=np.full((b, n), -1, np.int64),
        fov=np.zeros((b, n, 2), np.float64),
        seen=np.zeros((b, e, n), np.bool_),
        owner=np.full((b, e), -1, np.int16),
        order=np.tile(np.arange(n), (b, 1)),
        draws=np.zeros((b, e * (n - 1) if 0 < rules.prob_obs_enemy < 1 else 0), np.float64),
        first_row=np.zeros((b, n), np.int16),
        attack_probability=np.ones((b, n), np.float64),
        health_level=np.zeros((b, n), np.float64),
        enemy_hidden=np.zeros((b, n, e), np.bool_),
    )


def allocate_outputs(rules: Rules, num_envs: int) -> Outputs:
    """Zeroed outputs of B games."""
    b, n = num_envs, rules.n_agents
    return Outputs(
        obs=np.zeros((b, n, rules.obs_dim), np.float32),
        state=np.zeros((b, rules.state_dim), np.float32),
        avail=np.zeros((b, n, rules.n_actions), np.bool_),
        alive=np.zeros((b, n), np.bool_),
        reward=np.zeros(b, np.float32),
        terminated=np.zeros(b, np.bool_),
        truncated=np.zeros(b, np.bool_),
        timeout=np.zeros(b, np.bool_),
        won=np.zeros(b, np.bool_),
        dead_allies=np.zeros(b, np.int16),
        dead_enemies=np.zeros(b, np.int16),
    )
