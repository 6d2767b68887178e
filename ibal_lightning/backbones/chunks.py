"""Cutting episodes into chunks, so that recurrent networks train on short sequences with stored first memories."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ibal_lightning.types import EpisodeBatch

EPISODE_FIELDS = ("group", "won")


def cut(x: Tensor, steps: int, length: int) -> Tensor:
    """(B*K, length(+1), ...) consecutive chunks of x (B, steps(+1), ...); slots overlap by one, the tail is zero."""
    extra = x.shape[1] - steps
    count = -(-steps // length)
    padding = count * length - steps
    if padding:
        x = F.pad(x, (0, 0) * (x.ndim - 2) + (0, padding))
    return x.unfold(1, length + extra, length).movedim(-1, 2).flatten(0, 1)


def chunked(batch: EpisodeBatch, first: dict[str, Tensor], length: int) -> tuple[EpisodeBatch, Tensor]:
    """Cut a batch of episodes into chunks of ``length`` steps and drop those that hold no real step.

    Args:
        batch: B episodes; per-step ``extras`` (B, T, ...) are cut too.
        first: name -> (B, T+1, ...) of which only the value at each chunk's first slot is kept, as extra
            (C, 1, ...): the memories before it.
        length: steps of a chunk.

    Returns:
        C chunks as an ``EpisodeBatch``, and the game of each, (C,) i64.
    """
    steps = batch.mask.shape[1]
    count = -(-steps // length)
    games = torch.arange(len(batch), device=batch.mask.device).repeat_interleave(count)
    fields = {name: value for name, value in vars(batch).items() if isinstance(value, Tensor)}
    cuts = {name: cut(x, steps, length) for name, x in fields.items() if name not in EPISODE_FIELDS}
    if batch.obs_seen is batch.obs:
        cuts["obs_seen"] = cuts["obs"]
    extras = {name: cut(x, steps, length) for name, x in batch.extras.items()}
    extras |= {name: x[:, :steps:length].flatten(0, 1).unsqueeze(1) for name, x in first.items()}
    whole = {name: fields[name].repeat_interleave(count, 0) for name in EPISODE_FIELDS}
    kept = cuts["mask"].any(1).nonzero().squeeze(1)
    return take(EpisodeBatch(**cuts, **whole, extras=extras), kept), games[kept]


def take(batch: EpisodeBatch, rows: Tensor) -> EpisodeBatch:
    """The rows (C,) i64 of a batch."""
    return batch.map(lambda x: x[rows])


def shuffled(chunks: EpisodeBatch, games: Tensor, parts: int, generator: torch.Generator) -> Iterator[EpisodeBatch]:
    """One epoch: the chunks in ``parts`` minibatches of whole, randomly drawn games, fewer where games are missing.

    Parts are even where ``parts`` divides the games; a game that crashed was dropped and leaves one part smaller.
    """
    names = games.unique()
    if parts == 1:
        yield chunks
        return
    order = torch.randperm(len(names), generator=generator, device=generator.device).to(names.device)
    for part in names[order].tensor_split(min(parts, len(names))):
        yield take(chunks, torch.isin(games, part).nonzero().squeeze(1))
