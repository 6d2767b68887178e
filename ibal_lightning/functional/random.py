"""Random streams: one seed fixes everything, and no stream disturbs another."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator

import torch


def derive_seed(seed: int, stream: str) -> int:
    """A 63-bit seed for a named stream ("policy", "attack", "replay", ...)."""
    digest = hashlib.sha256(f"{seed}/{stream}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def stream(seed: int, name: str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of its own for the named stream."""
    return torch.Generator(device=device).manual_seed(derive_seed(seed, name))


def beside(generator: torch.Generator, name: str) -> torch.Generator:
    """A generator of its own that depends on where another stands, and does not move it."""
    digest = hashlib.sha256(generator.get_state().numpy().tobytes()).digest()
    return stream(int.from_bytes(digest[:8], "big"), name, generator.device)


def branch(generator: torch.Generator, name: str) -> torch.Generator:
    """A generator of its own, seeded by one draw: however much is drawn from it, the other has moved on by one."""
    seed = torch.randint(2**63 - 1, (), generator=generator, device=generator.device)
    return stream(int(seed), name, generator.device)


@contextlib.contextmanager
def seeded(seed: int, name: str) -> Iterator[None]:
    """Run a block (such as building a network) under its own global seed and leave the global stream untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, name))
        yield
