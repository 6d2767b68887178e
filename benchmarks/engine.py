"""Speed of the embedded battle engine: env steps a second with all outputs written, random legal actions.

    python benchmarks/engine.py [--seconds S] [--json FILE] [--peer-python PATH]

Choosing the random actions is not timed; resets of finished games are. Speeds are the best of many stretches of a few
milliseconds, as other load only ever slows. In the same run SMAX (jaxmarl) and SMAClite, where the peers' interpreter
has them. Starts are of fresh processes from the first import to the end of the first step, with an empty and with a
filled cache.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from arguments import duration, output_file, program
from plain_json import write_json

from ibal_lightning.envs.skirmish.catalogue import smac_scenario
from ibal_lightning.envs.skirmish.engine import Engine
from ibal_lightning.envs.skirmish.options import smac_options
from ibal_lightning.envs.skirmish.rules import make_rules

# (map, games, env steps a second aimed at on one quiet core)
CASES = (("3m", 256, 150_000), ("8m", 256, 50_000), ("27m_vs_30m", 256, 5_000), ("3m", 1, 30_000))
SHORT = 0.004  # seconds of a stretch, about what a busy machine grants at a time
TWO_THREADS, GROWTH, COLD, WARM = 1.6, 2.0, 20.0, 2.0
MAPS = {"SMAX": "3m", "SMAClite": "2s3z"}  # as in engine_peers.py
OVER = {"SMAX": 5.0, "SMAClite": 300.0}
START = """
import time; wall, cpu = time.time(), time.process_time()
{imports}
{play}
print(time.time() - wall, time.process_time() - cpu)
"""
ENGINE = START.format(
    imports="from benchmarks_engine import make_engine",
    play="engine = make_engine('3m', 4, 1); engine.reset(); engine.step(engine.outputs.avail.argmax(-1))",
)
ENVIRONMENT = START.format(
    imports="from ibal_lightning.envs.smac import Smac",
    play="env = Smac(map_name='3m', engine='skirmish'); env.step(env.reset().avail_actions.float().argmax(-1))",
)


def make_engine(map_name: str, games: int, threads: int) -> Engine:
    """An engine of one SMAC map with default options."""
    scenario = smac_scenario(map_name)
    return Engine(scenario, make_rules(scenario, smac_options({})), num_envs=games, seed=0, threads=threads)


def draw_actions(avail: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(B, N) uniform legal actions."""
    return (rng.random(avail.shape, dtype=np.float32) * avail).argmax(axis=-1)


class Racer:
    """One case, and the most env steps a second it has reached; other load only ever slows."""

    def __init__(self, map_name: str, games: int, threads: int) -> None:
        self.engine, self.rng, self.best = make_engine(map_name, games, threads), np.random.default_rng(0), 0.0
        self.engine.reset()

    def run(self, seconds: float, clock: Callable[[], float] = time.perf_counter) -> None:
        """Play for that long by a clock."""
        engine, out, spent, steps = self.engine, self.engine.outputs, 0.0, 0
        while spent < seconds:
            actions = draw_actions(out.avail, self.rng)
            start = clock()
            engine.step(actions)
            over = out.terminated | out.truncated
            if over.any():
                engine.reset(over)
            spent += clock() - start
            steps += engine.num_envs
        self.best = max(self.best, steps / spent)


def measure(map_name: str, games: int, threads: int, seconds: float) -> float:
    """Env steps a second of one case: the best of many short stretches."""
    racer = Racer(map_name, games, threads)
    for _ in range(max(1, int(seconds / SHORT))):
        racer.run(SHORT)
    return racer.best


def report_starts() -> list[dict[str, Any]]:
    """Wall and processor seconds of starts: compiling, with the cache that this left, and of the environment."""
    starts = (
        ("cold compile to first step", ENGINE, COLD),
        ("later start to first step", ENGINE, WARM),
        ("the same of the environment, torch too", ENVIRONMENT, WARM),
    )
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        Path(cache, "benchmarks_engine.py").write_text(Path(__file__).read_text())
        paths = os.pathsep.join([cache, *sys.path])
        environment = os.environ | {"NUMBA_CACHE_DIR": cache, "PYTHONPATH": paths}
        for name, code, target in starts:
            run = [sys.executable, "-c", code]
            done = subprocess.run(run, env=environment, check=True, capture_output=True, text=True)
            wall, cpu = map(float, done.stdout.split())
            rows += [report(name, wall, target, "s"), report("  of it processor time", cpu, None, "s")]
    return rows


def measure_peers(python: str, seconds: float) -> dict[str, float | None]:
    """Env steps a second of SMAX and SMAClite on the maps of ``MAPS``, as far as that interpreter has them."""
    script = Path(__file__).with_name("engine_peers.py")
    run = subprocess.run([python, str(script), str(seconds)], stdout=subprocess.PIPE, text=True)
    if run.returncode:
        print(f"the peers could not be measured: {script.name} ended with {run.returncode}", file=sys.stderr)
        return dict.fromkeys(MAPS)
    return dict(json.loads(run.stdout.splitlines()[-1]))


def report(name: str, value: float, target: float | None, unit: str) -> dict[str, Any]:
    """Print one line and return it as a row."""
    aim = "" if target is None else f"   aimed at {target:,.1f}"
    print(f"{name:<42}{value:>14,.1f} {unit}{aim}", flush=True)
    return {"name": name, "value": value, "target": target, "unit": unit}


def compare_threads(seconds: float) -> list[dict[str, Any]]:
    """Two threads over one: the best of many short stretches of each, in turns, so that both meet the quiet moments."""
    rows = []
    for map_name in ("3m", "8m"):
        one, two = (Racer(map_name, 256, threads) for threads in (1, 2))
        for _ in range(max(1, int(seconds / (2 * SHORT)))):
            one.run(SHORT)
            two.run(SHORT)
        rows.append(report(f"{map_name}, 256 games, 2 threads", two.best, None, "env steps/s"))
        rows.append(report(f"{map_name}: 2 threads over 1", two.best / one.best, TWO_THREADS, "times"))
    return rows


def compare_growth(speed: dict[str, float]) -> dict[str, Any]:
    """How the cost of a step grows from 3m to 27m_vs_30m, as a power of the number of units."""
    small, large = speed["3m, 256 games, 1 thread"], speed["27m_vs_30m, 256 games, 1 thread"]
    power = math.log(small / large) / math.log((27 + 30) / (3 + 3))
    return report("cost grows with units to the power", power, GROWTH, "")


def compare_peers(python: str, seconds: float) -> list[dict[str, Any]]:
    """The other simulators and ours with 256 games on the same map, by processor time: what one core does."""
    rows = []
    for name, value in measure_peers(python, seconds).items():
        if value is None:
            print(f"{name:<42}{'not measured':>14}")
        else:
            racer = Racer(MAPS[name], 256, 1)
            racer.run(seconds, time.process_time)
            rows.append(report(f"{name}, {MAPS[name]}, a core", value, None, "env steps/s"))
            rows.append(report(f"ours, {MAPS[name]}, a core", racer.best, None, "env steps/s"))
            rows.append(report(f"ours over {name}", racer.best / value, OVER[name], "times"))
    return rows


def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=duration, default=5.0, help="timed seconds a case")
    parser.add_argument("--json", type=output_file)
    parser.add_argument("--peer-python", type=program, default=sys.executable, help="has jaxmarl or smaclite")
    args = parser.parse_args()
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}"
    print(machine)
    rows = []
    for map_name, games, target in CASES:
        name = f"{map_name}, {games} game{'s' * (games > 1)}, 1 thread"
        rows.append(report(name, measure(map_name, games, 1, args.seconds), target, "env steps/s"))
    speed = {row["name"]: row["value"] for row in rows}
    rows += compare_threads(args.seconds)
    rows.append(compare_growth(speed))
    rows += compare_peers(args.peer_python, args.seconds)
    rows += report_starts()
    if args.json:
        write_json(args.json, {"machine": machine, "rows": rows})


if __name__ == "__main__":
    main()
