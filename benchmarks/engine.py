"""Speed of the embedded battle engine: env steps a second with all outputs written, random legal actions.

    python benchmarks/engine.py [--seconds S] [--json FILE]

Choosing the random actions is not timed; resets of finished games are. Beside ours, where they are installed and in
the same run: SMAX (jaxmarl) and SMAClite. Cold compile and warm start are of fresh processes with an empty and a
filled cache.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from ibal_lightning.envs.skirmish.catalogue import smac_scenario
from ibal_lightning.envs.skirmish.engine import Engine
from ibal_lightning.envs.skirmish.options import smac_options
from ibal_lightning.envs.skirmish.rules import make_rules

# (map, games, threads, env steps a second aimed at on one quiet core)
CASES = (
    ("3m", 256, 1, 150_000),
    ("8m", 256, 1, 50_000),
    ("27m_vs_30m", 256, 1, 5_000),
    ("3m", 1, 1, 30_000),
    ("3m", 256, 2, None),
    ("8m", 256, 2, None),
)
TWO_THREADS, COLD, WARM, OVER_SMAX, OVER_SMACLITE = 1.6, 20.0, 2.0, 5.0, 300.0
START = """
import time; start = time.time()
from benchmarks_engine import make_engine
engine = make_engine("3m", 4, 1); engine.reset(); engine.step(engine.outputs.avail.argmax(-1))
print(time.time() - start)
"""


def make_engine(map_name: str, games: int, threads: int) -> Engine:
    """An engine of one SMAC map with default options."""
    scenario = smac_scenario(map_name)
    return Engine(scenario, make_rules(scenario, smac_options({})), num_envs=games, seed=0, threads=threads)


def draw_actions(avail: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(B, N) uniform legal actions."""
    return (rng.random(avail.shape, dtype=np.float32) * avail).argmax(axis=-1)


def measure(map_name: str, games: int, threads: int, seconds: float) -> float:
    """Env steps a second of one case: the best of five stretches, as other load only ever slows."""
    engine, rng = make_engine(map_name, games, threads), np.random.default_rng(0)
    engine.reset()
    best = 0.0
    for _ in range(5):
        spent, steps = 0.0, 0
        while spent < seconds / 5:
            actions = draw_actions(engine.outputs.avail, rng)
            start = time.perf_counter()
            engine.step(actions)
            over = engine.outputs.terminated | engine.outputs.truncated
            if over.any():
                engine.reset(over)
            spent += time.perf_counter() - start
            steps += games
        best = max(best, steps / spent)
    return best


def measure_starts() -> tuple[float, float]:
    """Seconds from import to the end of the first step: with an empty cache, and with the cache it left."""
    with tempfile.TemporaryDirectory() as cache:
        Path(cache, "benchmarks_engine.py").write_text(Path(__file__).read_text())
        paths = os.pathsep.join([cache, *sys.path])
        environment = os.environ | {"NUMBA_CACHE_DIR": cache, "PYTHONPATH": paths}
        run = [sys.executable, "-c", START]
        cold, warm = (
            float(subprocess.run(run, env=environment, check=True, capture_output=True, text=True).stdout)
            for _ in range(2)
        )
    return cold, warm


def measure_smax(seconds: float) -> float | None:
    """SMAX on 3m with 256 vectorised games; None without jaxmarl."""
    try:
        import jax
        from jaxmarl import make
        from jaxmarl.environments.smax import map_name_to_scenario
    except ImportError:
        return None
    env = make("HeuristicEnemySMAX", scenario=map_name_to_scenario("3m"))
    games, length = 256, 32

    def step(carry: Any, _: None) -> tuple[Any, None]:
        key, state = carry
        key, draw, go = jax.random.split(key, 3)
        keys = jax.random.split(draw, games)
        actions = {a: jax.vmap(env.action_space(a).sample)(keys) for a in env.agents}
        _, state, *_ = jax.vmap(env.step)(jax.random.split(go, games), state, actions)
        return (key, state), None

    run = jax.jit(lambda carry: jax.lax.scan(step, carry, None, length)[0])
    key = jax.random.PRNGKey(0)
    carry = jax.block_until_ready(run((key, jax.vmap(env.reset)(jax.random.split(key, games))[1])))
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        carry = jax.block_until_ready(run(carry))
        steps += games * length
    return steps / (time.perf_counter() - start)


def measure_smaclite(seconds: float) -> float | None:
    """SMAClite on 3m, one game; None where it is not installed."""
    try:
        import gymnasium
        import smaclite  # noqa: F401
    except ImportError:
        return None
    env, rng = gymnasium.make("smaclite/3m-v0").unwrapped, np.random.default_rng(0)
    env.reset()
    spent, steps = 0.0, 0
    while spent < seconds:
        actions = draw_actions(np.array(env.get_avail_actions()), rng).tolist()
        start = time.perf_counter()
        if env.step(actions)[2]:
            env.reset()
        spent += time.perf_counter() - start
        steps += 1
    return steps / spent


def report(name: str, value: float, target: float | None, unit: str) -> dict[str, Any]:
    """Print one line and return it as a row."""
    aim = "" if target is None else f"   aimed at {target:,.1f}"
    print(f"{name:<38}{value:>14,.1f} {unit}{aim}", flush=True)
    return {"name": name, "value": value, "target": target, "unit": unit}


def ratios(rows: list[dict[str, Any]], seconds: float) -> list[dict[str, Any]]:
    """Threads and peers as ratios to our own numbers of the same run."""
    speed = {row["name"]: row["value"] for row in rows}
    found = []
    for map_name in ("3m", "8m"):
        ratio = speed[f"{map_name}, 256 games, 2 threads"] / speed[f"{map_name}, 256 games, 1 thread"]
        found.append(report(f"{map_name}: 2 threads over 1", ratio, TWO_THREADS, "times"))
    peers = (("SMAX", measure_smax, OVER_SMAX), ("SMAClite", measure_smaclite, OVER_SMACLITE))
    for name, measure_peer, target in peers:
        value = measure_peer(seconds)
        if value is None:
            print(f"{name:<38}{'not installed':>14}")
        else:
            found.append(report(f"{name}, 3m", value, None, "env steps/s"))
            found.append(report(f"ours over {name}", speed["3m, 256 games, 1 thread"] / value, target, "times"))
    return found


def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="timed seconds a case")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}"
    print(machine)
    rows = []
    for map_name, games, threads, target in CASES:
        name = f"{map_name}, {games} game{'s' * (games > 1)}, {threads} thread{'s' * (threads > 1)}"
        rows.append(report(name, measure(map_name, games, threads, args.seconds), target, "env steps/s"))
    rows += ratios(rows, args.seconds)
    cold, warm = measure_starts()
    rows.append(report("cold compile to first step", cold, COLD, "s"))
    rows.append(report("warm start to first step", warm, WARM, "s"))
    if args.json:
        args.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
