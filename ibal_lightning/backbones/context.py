"""What a mixer or a central critic may know beside the state: who is attacked (ALGORITHMS 1.3, ``mixer_context``)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ibal_lightning.types import EnvSpec, EpisodeBatch

MIXER_CONTEXTS = ("none", "group")


class GroupContext(nn.Module):
    """Adds a learnt vector for each member of G1 to the state. Training only: agents never read it.

    The vectors start at zero and weights without them may be loaded (``Backbone.may_be_absent``), so that a run that
    goes on from a policy trained without them starts at exactly its values. Attacks without groups leave them at zero.
    """

    def __init__(self, spec: EnvSpec) -> None:
        super().__init__()
        self.members = nn.Parameter(torch.zeros(spec.n_agents, spec.state_dim))

    def forward(self, state: Tensor, group: Tensor) -> Tensor:
        """(B, L, S) of clean states (B, L, S) and groups (B, N) i8."""
        return state + ((group == 1).to(state.dtype) @ self.members)[:, None]


def group_context(spec: EnvSpec, choice: str, *, follows: bool = False) -> GroupContext | None:
    """The module behind ``mixer_context``, None for "none"; one that ``follows`` another has no gradients."""
    return GroupContext(spec).requires_grad_(not follows) if choice == "group" else None


def privileged_state(batch: EpisodeBatch, context: GroupContext | None) -> Tensor:
    """(B, T+1, S) the state that mixers and critics read."""
    return batch.state if context is None else context(batch.state, batch.group)
