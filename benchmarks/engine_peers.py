"""Speed of other battle simulators, for ``benchmarks/engine.py``: prints one JSON object, null where one is missing.

    python benchmarks/engine_peers.py SECONDS

Random legal actions; choosing them is timed for SMAX only, where it is compiled into the loop.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np

GAMES, LENGTH = 256, 32
MAPS = {"SMAX": "3m", "SMAClite": "2s3z"}  # SMAClite has no 3m


def measure_smax(seconds: float) -> float | None:
    """SMAX (JaxMARL): 256 vectorised games, the best of five stretches; None where it is not installed."""
    try:
        import jax
        from jaxmarl import make
        from jaxmarl.environments.smax import map_name_to_scenario
    except ImportError:
        return None
    env = make("HeuristicEnemySMAX", scenario=map_name_to_scenario(MAPS["SMAX"]))

    def step(carry: Any, _: None) -> tuple[Any, None]:
        key, state = carry
        key, draw, go = jax.random.split(key, 3)
        legal = jax.vmap(env.get_avail_actions)(state)
        actions = {agent: jax.random.categorical(draw, jax.numpy.log(legal[agent])) for agent in env.agents}
        _, state, *_ = jax.vmap(env.step)(jax.random.split(go, GAMES), state, actions)
        return (key, state), None

    run = jax.jit(lambda carry: jax.lax.scan(step, carry, None, LENGTH)[0])
    key = jax.random.PRNGKey(0)
    carry = jax.block_until_ready(run((key, jax.vmap(env.reset)(jax.random.split(key, GAMES))[1])))
    best = 0.0
    for _ in range(5):
        start, steps = time.perf_counter(), 0
        while time.perf_counter() - start < seconds / 5:
            carry = jax.block_until_ready(run(carry))
            steps += GAMES * LENGTH
        best = max(best, steps / (time.perf_counter() - start))
    return best


def measure_smaclite(seconds: float) -> float | None:
    """SMAClite: one game, the best of five stretches; None where it is not installed."""
    try:
        import gymnasium
        import smaclite  # noqa: F401
    except ImportError:
        return None
    env, rng = gymnasium.make(f"smaclite/{MAPS['SMAClite']}-v0").unwrapped, np.random.default_rng(0)
    env.reset()
    best = 0.0
    for _ in range(5):
        spent, steps = 0.0, 0
        while spent < seconds / 5:
            legal = np.array(env.get_avail_actions())
            actions = (rng.random(legal.shape) * legal).argmax(axis=-1).tolist()
            start = time.perf_counter()
            if env.step(actions)[2]:
                env.reset()
            spent += time.perf_counter() - start
            steps += 1
        best = max(best, steps / spent)
    return best


if __name__ == "__main__":
    wanted = float(sys.argv[1])
    print(json.dumps({"SMAX": measure_smax(wanted), "SMAClite": measure_smaclite(wanted)}))
