"""Speed of other battle simulators, for ``benchmarks/engine.py``: prints one JSON object, null where one is missing.

    python benchmarks/engine_peers.py SECONDS

Env steps a second of processor time, all threads together, so that other load matters little. Random legal actions;
choosing them is timed for SMAX only, where it is compiled into the loop.
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
    """SMAX (JaxMARL): 256 vectorised games; None where it is not installed."""
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
    carry = (key, jax.vmap(env.reset)(jax.random.split(key, GAMES))[1])
    for _ in range(2):  # what it returns may have other types than what it began with: it compiles twice
        carry = jax.block_until_ready(run(carry))
    start, steps = time.process_time(), 0
    while time.process_time() - start < seconds:
        carry = jax.block_until_ready(run(carry))
        steps += GAMES * LENGTH
    return steps / (time.process_time() - start)


def measure_smaclite(seconds: float) -> float | None:
    """SMAClite: one game; None where it is not installed."""
    try:
        import gymnasium
        import smaclite  # noqa: F401
    except ImportError:
        return None
    env, rng = gymnasium.make(f"smaclite/{MAPS['SMAClite']}-v0").unwrapped, np.random.default_rng(0)
    env.reset()
    spent, steps = 0.0, 0
    while spent < seconds:
        legal = np.array(env.get_avail_actions())
        actions = (rng.random(legal.shape) * legal).argmax(axis=-1).tolist()
        start = time.process_time()
        if env.step(actions)[2]:
            env.reset()
        spent += time.process_time() - start
        steps += 1
    return steps / spent


if __name__ == "__main__":
    wanted = float(sys.argv[1])
    print(json.dumps({"SMAX": measure_smax(wanted), "SMAClite": measure_smaclite(wanted)}))
