"""What the engine does with its games: one compiled loop for resets and steps, so that neither is compiled twice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ibal_lightning.envs.skirmish.abilities import kill_weak
from ibal_lightning.envs.skirmish.arena import Arena
from ibal_lightning.envs.skirmish.commands import command_game
from ibal_lightning.envs.skirmish.dynamics import report, run_loop
from ibal_lightning.envs.skirmish.kernel import kernel, thin
from ibal_lightning.envs.skirmish.memory import Outputs
from ibal_lightning.envs.skirmish.observe import observe_game
from ibal_lightning.envs.skirmish.orders import give_orders
from ibal_lightning.envs.skirmish.outcome import begin_game, outcome_game
from ibal_lightning.envs.skirmish.spawn import EpisodeName, report_start, start_game
from ibal_lightning.envs.skirmish.work import count_share, open_shares, take_share


@thin
def is_over(outputs: Outputs, g: int) -> bool:
    """Whether game g has come to its end and waits for a reset."""
    return outputs.terminated[g] or outputs.truncated[g]


@thin
def begin(a: Arena, g: int) -> None:
    """A new episode of game g, or the orders of one env step."""
    w, rules, f, job = a.world[0], a.rules[0], a.fighters[g], a.job[0]
    if job.restart:
        a.memory.episode[g] += 1
        start_game(w, f, a.start, a.offsets, EpisodeName(job.seed, g, a.memory.episode[g]))
    else:
        command_game(rules, a.units, a.memory, g, a.actions, a.commands)
        give_orders(w, f, g, a.commands)


@thin
def finish(a: Arena, g: int) -> None:
    """Show game g after its loops: the start of its episode, or what one env step led to."""
    w, rules, f, job = a.world[0], a.rules[0], a.fighters[g], a.job[0]
    if job.restart:
        report_start(w, f, a.units, g, job.ally_health)
        begin_game(rules, a.units, a.memory, job.seed, g, a.outputs)
    else:
        report(w, f, a.units, g)
        outcome_game(rules, a.units, a.memory, g, a.outputs)
    observe_game(rules, a.units, a.memory, g, a.outputs)


@thin
def play_game(a: Arena, g: int) -> None:
    """The job for game g, if it is one of those chosen for a new episode, or one that is stepped and not over."""
    job = a.job[0]
    if job.restart and not a.chosen[g]:
        return
    if not job.restart and is_over(a.outputs, g):
        a.outputs.reward[g] = 0.0
        return
    if job.begins:
        begin(a, g)
    for loop in range(job.loops):
        if loop == job.kill:
            kill_weak(a.world[0], a.fighters[g], a.units, a.memory, g)
        run_loop(a.world[0], a.fighters[g])
    if job.ends:
        finish(a, g)


@kernel
def play_shares(arena: Arena, board: NDArray[np.int64], size: int, opens: bool, patience: int) -> None:
    """Play the arena's job in shares of ``size`` games until no share is open (``work``)."""
    games = arena.fighters.shape[0]
    shares = (games + size - 1) // size
    if opens:
        open_shares(board)
    share = take_share(board, shares, patience)
    while share >= 0:
        for g in range(share * size, min(share * size + size, games)):
            play_game(arena, g)
        count_share(board)
        share = take_share(board, shares, patience)
