"""A field on which a test places the units it wants and plays single game loops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ibal_lightning.envs.skirmish.battle import FIGHTER, Fighters, World, make_world
from ibal_lightning.envs.skirmish.catalogue import EnemyOrder, Group, Scenario
from ibal_lightning.envs.skirmish.dynamics import run_loop
from ibal_lightning.envs.skirmish.orders import give_orders
from ibal_lightning.envs.skirmish.spawn import reset_unit
from ibal_lightning.envs.skirmish.state import ATTACK, HEAL, KINDS, MOVE, STOP, allocate_commands
from ibal_lightning.envs.skirmish.stats import load_stats
from ibal_lightning.envs.skirmish.switches import make_switches
from ibal_lightning.envs.skirmish.terrain import make_terrain

Placed = tuple[str, float, float]  # kind, x, y
COMMANDS = {"stop": STOP, "move": MOVE, "attack": ATTACK, "heal": HEAL}


@dataclass
class Field:
    """World and fighters of one game, with the words a test needs."""

    w: World
    f: Fighters

    def loops(self, count: int) -> Field:
        """Play that many game loops."""
        for _ in range(count):
            run_loop(self.w, self.f)
        return self

    def loops_until(self, happened: Any, limit: int = 2000) -> int:
        """Loops played until ``happened()``; fails after ``limit``."""
        for count in range(1, limit + 1):
            run_loop(self.w, self.f)
            if happened():
                return count
        raise AssertionError(f"nothing happened in {limit} loops")

    def command(self, agent: int, what: str, target: int = -1, x: float = 0.0, y: float = 0.0) -> Field:
        """Give one agent a command and all enemies their trigger, as an env step does."""
        commands = allocate_commands(1, int(self.w["n_agents"]))
        commands.ability[0, agent], commands.target[0, agent] = COMMANDS[what], target
        commands.x[0, agent], commands.y[0, agent] = x, y
        give_orders(self.w, self.f, 0, commands)
        return self

    def disarm(self, kind: str) -> Field:
        """No unit of that kind ever has anybody in range."""
        self.w["kinds"]["range"][KINDS.index(kind)] = -10
        return self

    def apart(self, i: int, j: int) -> float:
        """Between the centres of two units."""
        return float(np.hypot(self.f["x"][j] - self.f["x"][i], self.f["y"][j] - self.f["y"][i]))

    def look(self, unit: int, x: float, y: float) -> Field:
        """Turn a unit to the direction (x, y)."""
        length = float(np.hypot(x, y))
        self.f["face_x"][unit], self.f["face_y"][unit] = x / length, y / length
        return self


def make_field(
    allies: list[Placed],
    enemies: list[Placed],
    *,
    pathing: Any = None,
    order: str = "none",
    stats: str = "liberty",
    **switches: Any,
) -> Field:
    """Units with full life exactly where they are asked to stand, idle and without random delays unless asked for."""
    pathing = np.ones((32, 32), bool) if pathing is None else pathing
    groups = [tuple(Group(KINDS.index(kind), 1, x, y) for kind, x, y in side) for side in (allies, enemies)]
    scenario = Scenario(
        "field", "smac", len(allies), len(enemies), 100, "T", "T", 0, "", pathing, *groups, EnemyOrder(order)
    )
    chosen = make_switches(scenario, {"jitter": False} | switches)
    w = make_world(scenario, load_stats(stats), make_terrain(scenario), chosen)
    f = np.zeros(scenario.n_units, FIGHTER)
    for i, (kind, x, y) in enumerate([*allies, *enemies]):
        f["kind"][i], f["x"][i], f["y"][i] = KINDS.index(kind), x, y
        reset_unit(w, f, i, np.uint64(7))
        f["face_x"][i], f["face_y"][i] = 1.0 if i < len(allies) else -1.0, 0.0
    return Field(w, f)
