"""What the optimizers' states of policies trained on the real game tell about it, beside the embedded engine.

    python benchmarks/optimizer_states.py --policies DIR [--json FILE]

RMSprop remembers the mean squared gradient of every weight, and a weight of the first layer gets none while its input
is 0. So the energy at "the enemy in slot 2 is a stalker", as a share of all kinds in that slot, tells how often the
game had put a stalker there; that at "the last action of agent 0 was no-op", as a share of all its actions, how often
it was dead. Energies weigh steps by their errors, and slots by who is seen there: they tell often from seldom, not .2
from .3.

DIR is laid out as ``<learner>/<map>/{opt,agent,mixer}.th`` below any folder, as WALL's ``pretrain_model/``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from arguments import output_file
from fidelity import make_env, play
from fitting import fitting_learner
from numpy.typing import NDArray
from plain_json import write_json
from torch import Tensor

from ibal_lightning.backbones.pymarl import OPTIMIZER_FILE, load_optimizer
from ibal_lightning.envs.skirmish.catalogue import smac_maps, smac_scenario
from ibal_lightning.envs.skirmish.engine import Engine
from ibal_lightning.envs.skirmish.options import Options
from ibal_lightning.envs.skirmish.rules import Rules, make_rules

Table = NDArray[np.float64]
GAMES = 256
NO_OP = 0
RULES_OF_SLOTS = {"from_ends": True, "uniform": False}


def find_states(root: Path) -> Iterator[Path]:
    """The folder of every optimizer state below ``root`` on a SMAC map."""
    for file in sorted(root.rglob(OPTIMIZER_FILE)):
        if file.parent.name in smac_maps():
            yield file.parent


def read_energies(folder: Path) -> list[Table]:
    """(inputs,) mean squared gradient of every weight matrix, a mean over what it feeds.

    Raises:
        ValueError: ``opt.th`` is no optimizer's state, or holds no mean squares.
    """
    state = (load_optimizer(folder) or {}).get("state")
    if not isinstance(state, Mapping) or not all(isinstance(memory, Mapping) for memory in state.values()):
        raise ValueError(f"{folder / OPTIMIZER_FILE} holds no optimizer's memories by parameter")
    found = [memory.get("square_avg") for memory in state.values()]
    matrices = [m.double().mean(0) for m in found if isinstance(m, Tensor) and m.dim() == 2]
    if not all(bool((m.isfinite() & (m >= 0)).all()) for m in matrices):
        raise ValueError(f"{folder / OPTIMIZER_FILE} holds mean squares that are negative or not finite")
    return [m.numpy() for m in matrices]


def shares(energy: Table) -> Table:
    """Rows as shares of their sum; a row of zeros stays one."""
    total = energy.sum(-1, keepdims=True)
    return np.divide(energy, total, out=np.zeros_like(energy), where=total > 0)


def slots_seen(energies: list[Table], rules: Rules) -> Table | None:
    """(E, types) share of each kind in each enemy slot; None where enemies are of one kind or no layer fits."""
    inputs = rules.obs_dim + rules.n_actions + rules.n_agents  # last action and agent id stand behind
    found = [energy for energy in energies if len(energy) == inputs]
    if not found or not rules.type_bits:
        return None
    end = rules.enemy_start + rules.n_enemies * rules.enemy_width
    block = found[0][rules.enemy_start : end].reshape(rules.n_enemies, rules.enemy_width)
    return shares(block[:, -rules.type_bits :])


@cache
def slots_played(map_name: str, *, from_ends: bool) -> Table:
    """The same of how the engine deals the enemies to slots."""
    scenario = smac_scenario(map_name)
    rules = make_rules(scenario, Options())
    engine = Engine(scenario, rules, num_envs=4000, seed=0, switches={"slots_from_ends": from_ends})
    engine.reset()
    types = rules.enemy_bit[engine.arena.units.kind[:, scenario.n_agents :]]
    return np.stack([(types == bit).mean(0) for bit in range(rules.type_bits)], 1)


def deaths_seen(energies: list[Table], rules: Rules) -> Table | None:
    """(N,) how often each agent was dead, by the layers of the mixer that read the state; None where none does."""
    found = [energy for energy in energies if len(energy) == rules.state_dim]
    size = rules.n_agents * rules.n_actions
    return np.mean([shares(e[-size:].reshape(rules.n_agents, -1))[:, NO_OP] for e in found], axis=0) if found else None


def compare(folder: Path) -> dict[str, Any]:
    """What one policy has seen, beside what the engine plays."""
    rules, energies = make_rules(smac_scenario(folder.name), Options()), read_energies(folder)
    slots, dead = slots_seen(energies, rules), deaths_seen(energies, rules)
    row: dict[str, Any] = {"learner": folder.parent.name, "map": folder.name}
    if slots is not None:
        played = {name: slots_played(folder.name, from_ends=rule) for name, rule in RULES_OF_SLOTS.items()}
        off = {f"{name}_off": float(np.abs(slots - table).mean()) for name, table in played.items()}
        row |= {"seen": slots.T.tolist(), **{name: table.T.tolist() for name, table in played.items()}, **off}
    if slots is None and dead is None:
        raise ValueError("no layer reads this map's observations (with several kinds of enemies) or state")
    if dead is not None:
        env = make_env(folder.name, GAMES, {"seed": 0})
        learner, _ = fitting_learner(env.spec, folder)
        row |= {"dead_seen": dead.tolist(), "dead_played": play(learner, env).dead.tolist()}
    return row


def show(row: dict[str, Any]) -> None:
    """The tables of one policy."""
    print(f"{row['learner']} {row['map']}")
    for source in ("seen", *RULES_OF_SLOTS):
        for bit, kind in enumerate(row.get(source, ())):
            print(f"  slots {source:<10}type {bit}  " + " ".join(f"{share:5.2f}" for share in kind))
        if f"{source}_off" in row:
            print(f"  slots {source} differ from those seen by {row[f'{source}_off']:.3f} on average")
    for source in ("dead_seen", "dead_played"):
        if source in row:
            print(f"  {source:<24} " + " ".join(f"{share:5.2f}" for share in row[source]))


def main() -> None:
    """Read all optimizer states and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policies", type=Path, required=True)
    parser.add_argument("--json", type=output_file)
    args = parser.parse_args()
    rows = []
    for folder in find_states(args.policies):
        try:
            rows.append(compare(folder))
        except (OSError, ValueError) as error:
            print(f"skipped {folder}: {error}", file=sys.stderr)
            continue
        show(rows[-1])
    if not rows:
        sys.exit(f"No optimizer state (<learner>/<map>/opt.th) that can be read below {args.policies}")
    if args.json:
        write_json(args.json, {"rows": rows})


if __name__ == "__main__":
    main()
