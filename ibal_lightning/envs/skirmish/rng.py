"""Counter-based random numbers: a draw depends on (seed, game, episode, purpose, counter) and on nothing else.

So a game's trajectory does not depend on the batch it runs in, on threads, or on what other games draw.
The mixer is SplitMix64's finaliser (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators").
"""

from __future__ import annotations

import numpy as np

from ibal_lightning.envs.skirmish.kernel import part, thin

# Purposes keep streams apart inside one episode. Of one type, or a function would be compiled for each.
SPAWN, COMBAT, OBSERVE = np.int64(1), np.int64(2), np.int64(3)


@thin
def mix(z: np.uint64) -> np.uint64:
    """SplitMix64's bijective 64-bit mixing function."""
    z = np.uint64(z)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@part
def stream_key(seed: int, game: int, episode: int, purpose: int) -> np.uint64:
    """The key of one stream of one episode of one game."""
    golden = np.uint64(0x9E3779B97F4A7C15)
    key = mix(np.uint64(seed) + golden)
    key = mix(key ^ (np.uint64(game) * golden + np.uint64(1)))
    key = mix(key ^ (np.uint64(episode) * golden + np.uint64(2)))
    return mix(key ^ (np.uint64(purpose) * golden + np.uint64(3)))


@part
def uniform(key: np.uint64, counter: int) -> float:
    """The counter-th uniform number in [0, 1) of a stream."""
    bits = mix(key + np.uint64(counter) * np.uint64(0x9E3779B97F4A7C15))
    return np.float64(bits >> np.uint64(11)) * (1.0 / 9007199254740992.0)
