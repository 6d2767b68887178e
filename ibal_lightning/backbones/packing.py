"""Recurrent work on real slots only: on a CPU, padding would cost as much as play.

Episodes of a batch differ in length, early in training by a factor of two and more. Games are sorted by length and
their real slots laid out time-major, so that the GRU's batch shrinks as games end. On GPUs, where rows are cheap and
host synchronisation is not, learners work on the padded batch instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class Packing:
    """Which slots of a (B, L) grid are real, in the order of the GRU's steps."""

    rows: Tensor  # (P,) i64 positions in the flattened grid, time-major, games by falling length
    order: Tensor  # (B,) i64 games by falling length
    sizes: list[int]  # games that are still running, per slot
    shape: tuple[int, int]  # (B, L)

    def pack(self, x: Tensor) -> Tensor:
        """(P, ...) the real slots of x (B, L, ...)."""
        return x.flatten(0, 1).index_select(0, self.rows)

    def unpack(self, x: Tensor) -> Tensor:
        """(B, L, ...) of packed x (P, ...), zero elsewhere."""
        games, slots = self.shape
        grid = x.new_zeros(games * slots, *x.shape[1:])
        return grid.index_copy(0, self.rows, x).unflatten(0, self.shape)


def packing_of(mask: Tensor) -> Packing | None:
    """The real slots of episodes with steps mask (B, T), each with its last step's successor; None on GPUs."""
    if mask.device.type != "cpu":
        return None
    games, slots = mask.shape[0], mask.shape[1] + 1
    lengths = mask.sum(1) + 1
    order = lengths.argsort(descending=True, stable=True)
    time = torch.arange(slots).unsqueeze(1)
    real = time < lengths[order]
    return Packing((order * slots + time)[real], order, real.sum(1).tolist(), (games, slots))


class PackedGru(torch.autograd.Function):
    """A GRU over packed rows. Matrix products of the weights' gradients run once over all steps."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, weight: Tensor, bias: Tensor, sizes: list[int]) -> Tensor:
        """Hiddens (P, H) from zero memory.

        Args:
            ctx: torch's.
            gates: (P, 3H) input products W_ih x + b_ih in the order reset, update, new.
            weight: (3H, H) W_hh.
            bias: (3H,) b_hh.
            sizes: rows of each step, never growing.
        """
        dim = weight.shape[1]
        out, prev = gates.new_empty(len(gates), dim), gates.new_empty(len(gates), dim)
        activated, recurrent_new = torch.empty_like(gates), gates.new_empty(len(gates), dim)
        hidden = gates.new_zeros(sizes[0], dim)
        for rows, size in steps(sizes):
            hidden = prev[rows].copy_(hidden[:size])
            recurrent = torch.addmm(bias, hidden, weight.t())
            recurrent_new[rows] = recurrent[:, 2 * dim :]
            both, new = activated[rows, : 2 * dim], activated[rows, 2 * dim :]
            torch.add(gates[rows, : 2 * dim], recurrent[:, : 2 * dim], out=both).sigmoid_()
            torch.addcmul(gates[rows, 2 * dim :], both[:, :dim], recurrent[:, 2 * dim :], out=new).tanh_()
            hidden = torch.lerp(new, hidden, both[:, dim:], out=out[rows])
        ctx.save_for_backward(activated, prev, recurrent_new, weight)
        ctx.sizes = sizes
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Gradients of gates, weight and bias from that of the hiddens (P, H)."""
        activated, prev, recurrent_new, weight = ctx.saved_tensors
        dim = weight.shape[1]
        d_gates, d_new = torch.empty_like(activated), torch.empty_like(prev)
        carry = grad[:0]
        for rows, _ in reversed(steps(ctx.sizes)):
            d_hidden = grad[rows].clone()
            d_hidden[: len(carry)] += carry
            reset, update, new = activated[rows].split(dim, 1)
            pre_new = torch.ops.aten.tanh_backward(d_hidden * (1 - update), new)
            d_gates[rows, 2 * dim :] = pre_new
            d_gates[rows, :dim] = torch.ops.aten.sigmoid_backward(pre_new * recurrent_new[rows], reset)
            d_gates[rows, dim : 2 * dim] = torch.ops.aten.sigmoid_backward(d_hidden * (prev[rows] - new), update)
            torch.mul(pre_new, reset, out=d_new[rows])
            carry = torch.addmm(d_hidden.mul_(update), d_gates[rows, : 2 * dim], weight[: 2 * dim])
            carry.addmm_(d_new[rows], weight[2 * dim :])
        d_both = d_gates[:, : 2 * dim]
        d_weight = torch.cat([d_both.t() @ prev, d_new.t() @ prev])
        return d_gates, d_weight, torch.cat([d_both.sum(0), d_new.sum(0)]), None


def steps(sizes: list[int]) -> list[tuple[slice, int]]:
    """The rows of every step and their number."""
    found, start = [], 0
    for size in sizes:
        found.append((slice(start, start + size), size))
        start += size
    return found


def packed_gru(rnn: nn.GRU, x: Tensor, sizes: list[int]) -> Tensor:
    """Hiddens (P, H) of one layer of ``nn.GRU`` from zero memory over packed rows x (P, H)."""
    weight_ih, weight_hh, bias_ih, bias_hh = rnn.all_weights[0]
    return PackedGru.apply(F.linear(x, weight_ih, bias_ih), weight_hh, bias_hh, sizes)  # type: ignore[no-any-return]
