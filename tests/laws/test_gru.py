"""The GRU of packed rows is torch's GRU, and keeps no graph alive."""

from __future__ import annotations

import gc
import weakref

import torch
from torch import nn

from ibal_lightning.backbones.gru import run_gru, run_packed_gru


def layer() -> tuple[nn.GRU, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    rnn = nn.GRU(3, 4).double()
    return rnn, torch.randn(5, 6, 3, dtype=torch.double, requires_grad=True), torch.randn(6, 4, dtype=torch.double)


def test_values_and_gradients_are_those_of_torch() -> None:
    rnn, x, hidden = layer()
    weight = torch.randn(5, 6, 4, dtype=torch.double)
    start = hidden.clone().requires_grad_()
    leaves = [x, start, *rnn.parameters()]
    ours, theirs = run_gru(rnn, x, start), rnn(x, start[None])[0]
    torch.testing.assert_close(ours, theirs)
    for a, b in zip(
        torch.autograd.grad((ours * weight).sum(), leaves),
        torch.autograd.grad((theirs * weight).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_shrinking_batches_pass_gradcheck() -> None:
    rnn, x, hidden = layer()
    sizes = [6, 4, 4, 1]
    packed = torch.cat([x[t, :size] for t, size in enumerate(sizes)]).detach().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda rows, h: run_packed_gru(rnn, rows, h, sizes), (packed, hidden.requires_grad_())
    )


def test_a_graph_dies_with_its_last_reference_whether_or_not_it_was_used() -> None:
    rnn, x, hidden = layer()
    gc.disable()
    try:
        for used in (True, False):
            out = run_packed_gru(rnn, x.flatten(0, 1), hidden, [6] * 5)
            kept = weakref.ref(out.grad_fn.steps[0].gates)
            if used:
                out.sum().backward()
            del out
            assert kept() is None
    finally:
        gc.enable()
