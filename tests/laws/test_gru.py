"""The packed GRU is ``nn.GRU``: values, gradients, sequences of different lengths."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from playing import make_spec, random_batch
from torch import Tensor, nn

from ibal_lightning.backbones import agents
from ibal_lightning.backbones.agents import RecurrentNet, Slots
from ibal_lightning.backbones.gru import PackedGru, run_gru, run_packed_gru
from ibal_lightning.backbones.packing import packing_of
from ibal_lightning.backbones.q_learner import Qmix


def gradients(hiddens: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    """Gradients of an uneven function of the hiddens."""
    weights = torch.linspace(-1, 2, hiddens.numel()).view_as(hiddens)
    return torch.autograd.grad((hiddens.square() * weights).sum(), inputs)


@pytest.mark.parametrize(("slots", "rows"), [(1, 1), (1, 5), (7, 1), (9, 4)])
def test_values_and_gradients_are_those_of_torch(slots: int, rows: int) -> None:
    torch.manual_seed(0)
    rnn = nn.GRU(6, 5).double()
    x = torch.randn(slots, rows, 6, dtype=torch.double, requires_grad=True)
    start = torch.randn(rows, 5, dtype=torch.double, requires_grad=True)
    ours, theirs = run_gru(rnn, x, start), rnn(x, start[None])[0]
    torch.testing.assert_close(ours, theirs)
    inputs = (x, start, *rnn.parameters())
    for here, there in zip(gradients(ours, *inputs), gradients(theirs, *inputs), strict=True):
        torch.testing.assert_close(here, there)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_shrinking_batches_are_sequences_of_their_own(lengths: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    rnn, lengths = nn.GRU(3, 4).double(), sorted(lengths, reverse=True)
    sizes = [sum(length > t for length in lengths) for t in range(lengths[0])]
    x = torch.randn(sum(sizes), 3, dtype=torch.double, requires_grad=True)
    start = torch.randn(len(lengths), 4, dtype=torch.double)
    hiddens = run_packed_gru(rnn, x, start, sizes)
    firsts = torch.tensor([0, *sizes]).cumsum(0)
    rows = [torch.stack([firsts[t] + row for t in range(length)]) for row, length in enumerate(lengths)]
    alone = [rnn(x[r][:, None], start[None, i : i + 1])[0][:, 0] for i, r in enumerate(rows)]
    for r, expected in zip(rows, alone, strict=True):
        torch.testing.assert_close(hiddens[r], expected)
    together = torch.zeros_like(hiddens).index_copy(0, torch.cat(rows), torch.cat(alone))
    inputs = (x, *rnn.parameters())
    for here, there in zip(gradients(hiddens, *inputs), gradients(together, *inputs), strict=True):
        torch.testing.assert_close(here, there)


def test_gradients_against_finite_differences() -> None:
    torch.manual_seed(0)
    shapes = ((6, 3), (3, 4), (12, 3), (12, 4), (12,), (12,))
    inputs = [torch.randn(shape, dtype=torch.double, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(lambda *xs: PackedGru.apply(*xs, [3, 2, 1]), inputs)


def test_packing_keeps_every_real_slot_and_no_other() -> None:
    batch = random_batch(make_spec(), 6)
    packing = packing_of(batch.mask)
    assert packing is not None
    real = torch.arange(10) <= batch.length[:, None]
    spread = packing.unpack(packing.pack(batch.obs))
    assert torch.equal(spread, batch.obs * real[..., None, None])
    assert sum(packing.sizes) == int(real.sum()) == len(packing.rows)


@pytest.mark.parametrize("normalize", [False, True])
def test_packed_and_padded_outputs_agree(normalize: bool) -> None:
    torch.manual_seed(0)
    batch = random_batch(make_spec(), 6)
    net = RecurrentNet(6, 5, blocks=(5, 3), hidden_dim=8, normalize=normalize)
    slots = Slots.of(batch)
    assert slots.packing is not None
    padded = net.unroll(batch.obs_seen, agents.last_actions(batch))[0]
    real = (torch.arange(10) <= batch.length[:, None])[..., None, None]
    torch.testing.assert_close(slots.through(net), padded * real)


def test_losses_with_and_without_packing_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """The padded path is what GPUs take."""
    torch.manual_seed(0)
    backbone, batch = Qmix(make_spec()), random_batch(make_spec(), 6)
    packed = backbone.loss(batch).loss
    expected = torch.autograd.grad(packed, list(backbone.agent.parameters()))
    monkeypatch.setattr(agents, "packing_of", lambda mask: None)
    padded = backbone.loss(batch).loss
    torch.testing.assert_close(packed, padded)
    for here, there in zip(torch.autograd.grad(padded, list(backbone.agent.parameters())), expected, strict=True):
        torch.testing.assert_close(here, there, atol=1e-5, rtol=1e-4)


def test_what_padding_holds_is_never_read_not_even_nan() -> None:
    torch.manual_seed(0)
    backbone, batch = Qmix(make_spec()), random_batch(make_spec(), 6)
    real = torch.arange(10) <= batch.length[:, None]
    poisoned = dataclasses.replace(
        batch,
        obs_seen=batch.obs_seen.masked_fill(~real[..., None, None], float("nan")),
        state=batch.state.masked_fill(~real[..., None], float("nan")),
    )
    for spoilt in (batch, poisoned):
        backbone.zero_grad()
        backbone.loss(spoilt).loss.backward()
        assert all(bool(p.grad.isfinite().all()) for p in backbone.agent.parameters() if p.grad is not None)
