"""Which game and agent the figure of hidden dims shows."""

from __future__ import annotations

import dataclasses

import torch
from playing import make_spec, random_batch

from ibal_lightning.evaluation.figures import most_hidden


def test_the_member_of_g1_that_loses_most_is_shown() -> None:
    batch = random_batch(make_spec(4, 3, 6, 5), 5)
    group = torch.full((5, 4), 2, dtype=torch.int8)
    group[:, 1] = 1
    seen = batch.obs.clone()
    seen[2, :, 1, :3] += 1
    seen[3, :, 0] += 1  # more, but of G2
    seen[4, :, 1, 0] += 1
    batch.mask[:] = True
    batch.alive[:] = True
    batch = dataclasses.replace(batch, obs_seen=seen, group=group)
    assert most_hidden(batch) == (2, 1)
    batch.alive[2, :, 1] = False  # nothing is lost by the dead
    assert most_hidden(batch) == (4, 1)
    assert most_hidden(dataclasses.replace(batch, group=torch.zeros_like(group))) == (3, 0)
