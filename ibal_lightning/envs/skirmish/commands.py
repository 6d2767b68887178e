"""From the agents' actions to the commands that the game receives (``get_agent_action`` of the genuine packages)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ibal_lightning.envs.skirmish.kernel import kernel, part
from ibal_lightning.envs.skirmish.masks import in_reach, is_healer, target_slot
from ibal_lightning.envs.skirmish.memory import Memory
from ibal_lightning.envs.skirmish.rng import uniform
from ibal_lightning.envs.skirmish.rules import FIRST_LOOK, FIRST_MOVE, Rules
from ibal_lightning.envs.skirmish.state import ATTACK, HEAL, MOVE, NO_COMMAND, STOP, Commands, Units
from ibal_lightning.envs.skirmish.visits import first_counter


@kernel
def find_illegal(
    avail: NDArray[np.bool_], terminated: NDArray[np.bool_], truncated: NDArray[np.bool_], actions: NDArray[np.int64]
) -> int:
    """g * n + i of the first action (B, n) that the masks (B, n, A) forbid in a game that is not over (B,), else -1."""
    games, agents, limit = avail.shape
    for g in range(games):
        if not terminated[g] and not truncated[g]:
            for i in range(agents):
                action = actions[g, i]
                if action < 0 or action >= limit or not avail[g, i, action]:
                    return g * agents + i
    return -1


@part
def command_game(
    rules: Rules, units: Units, memory: Memory, g: int, actions: NDArray[np.int64], commands: Commands
) -> None:
    """Write the commands of game g for its legal actions of (B, n)."""
    for i in range(rules.n_agents):
        command_agent(rules, units, memory, g, i, actions[g, i], commands)
        memory.last_actions[g, i] = actions[g, i]


@part
def command_agent(rules: Rules, units: Units, memory: Memory, g: int, i: int, action: int, commands: Commands) -> None:
    """Write the command of one agent; looking around (conic_fov) turns the view and sends no command."""
    commands.ability[g, i] = NO_COMMAND
    commands.target[g, i] = -1
    if action == 1:
        commands.ability[g, i] = STOP
    elif FIRST_MOVE <= action < FIRST_LOOK:
        command_move(rules, units, g, i, action, commands)
    elif FIRST_LOOK <= action < rules.n_actions_no_attack:
        angle = 2 * math.pi * ((action - FIRST_LOOK) / rules.n_views)
        memory.fov[g, i, 0] = math.cos(angle)
        memory.fov[g, i, 1] = math.sin(angle)
    elif action >= rules.n_actions_no_attack:
        command_target(rules, units, memory, g, i, action - rules.n_actions_no_attack, commands)


@part
def command_move(rules: Rules, units: Units, g: int, i: int, action: int, commands: Commands) -> None:
    """Go to the point ``move_amount`` to the north, south, east or west of where the agent stands."""
    far = rules.move_amount
    dx = far if action == FIRST_MOVE + 2 else (-far if action == FIRST_MOVE + 3 else 0.0)
    dy = far if action == FIRST_MOVE else (-far if action == FIRST_MOVE + 1 else 0.0)
    commands.ability[g, i] = MOVE
    commands.x[g, i] = units.x[g, i] + dx
    commands.y[g, i] = units.y[g, i] + dy


@part
def command_target(rules: Rules, units: Units, memory: Memory, g: int, i: int, target: int, commands: Commands) -> None:
    """Attack an enemy or heal an ally; SMACv2 sends nothing when the target is out of reach or the attack fails."""
    if rules.second and not in_reach(rules, units, memory, g, i, target_slot(rules, units, g, i, target)):
        return
    if rules.stochastic_attack:
        spent = first_counter(rules, memory.step[g] + 1, 0) - rules.n_agents + i
        if uniform(np.uint64(memory.key[g]), spent) > memory.attack_probability[g, i]:
            return
    commands.ability[g, i] = HEAL if is_healer(rules, units, g, i) else ATTACK
    commands.target[g, i] = target
