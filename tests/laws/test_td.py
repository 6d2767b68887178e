"""Laws of temporal-difference targets: against Python double loops, and at the ends of episodes."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from playing import make_spec, random_batch
from torch import Tensor

from ibal_lightning.functional.gae import gae
from ibal_lightning.functional.td import discounts, lambda_returns, last_steps, n_step_returns, reverse_recurrence
from ibal_lightning.types import EpisodeBatch

GAMMA = 0.9


def inputs(batch: EpisodeBatch, values: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """reward, discount, next_value and last of a batch whose slots have the values (B, T+1)."""
    discount = discounts(batch, GAMMA)
    next_value = values[:, 1:].masked_fill(discount == 0, 0.0)
    return batch.reward * batch.mask, discount, next_value, last_steps(batch)


def n_step_by_loop(batch: EpisodeBatch, values: Tensor, n: int) -> Tensor:
    """Sum the next n rewards one by one, game by game, as the definition says."""
    result = torch.zeros_like(batch.reward)
    for b in range(len(batch)):
        length = int(batch.length[b])
        for t in range(length):
            end = min(t + n, length)
            total = sum(GAMMA ** (k - t) * float(batch.reward[b, k]) for k in range(t, end))
            if not batch.terminated[b, end - 1]:
                total += GAMMA ** (end - t) * float(values[b, end])
            result[b, t] = total
    return result


def lambda_by_loop(batch: EpisodeBatch, values: Tensor, lambda_: float) -> Tensor:
    """The mixture of all n-step returns: (1 - lambda) sum_n lambda^(n-1) G^(n), the rest on the longest."""
    by_n = [n_step_by_loop(batch, values, n) for n in range(1, batch.mask.shape[1] + 1)]
    result = torch.zeros_like(batch.reward)
    for b in range(len(batch)):
        length = int(batch.length[b])
        for t in range(length):
            longest = length - t
            shares = [(1 - lambda_) * lambda_ ** (n - 1) for n in range(1, longest)] + [lambda_ ** (longest - 1)]
            result[b, t] = sum(share * by_n[n][b, t] for n, share in enumerate(shares))
    return result


@given(st.integers(0, 10_000), st.integers(1, 12))
@settings(max_examples=15, deadline=None)
def test_n_step_returns_are_the_sums_of_their_definition(seed: int, n_step: int) -> None:
    batch = random_batch(make_spec(), 5, seed)
    values = torch.randn(5, 10, generator=torch.Generator().manual_seed(seed))
    ours = n_step_returns(*inputs(batch, values), n_step) * batch.mask
    torch.testing.assert_close(ours, n_step_by_loop(batch, values, n_step), atol=1e-5, rtol=1e-5)


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.3, 0.6, 0.95, 1.0]))
@settings(max_examples=15, deadline=None)
def test_lambda_returns_mix_the_n_step_returns(seed: int, lambda_: float) -> None:
    batch = random_batch(make_spec(), 5, seed)
    values = torch.randn(5, 10, generator=torch.Generator().manual_seed(seed))
    ours = lambda_returns(*inputs(batch, values), lambda_) * batch.mask
    torch.testing.assert_close(ours, lambda_by_loop(batch, values, lambda_), atol=1e-5, rtol=1e-5)


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.5, 0.95, 1.0]))
@settings(max_examples=15, deadline=None)
def test_gae_sums_discounted_residuals(seed: int, lambda_: float) -> None:
    batch = random_batch(make_spec(), 5, seed)
    values = torch.randn(5, 10, generator=torch.Generator().manual_seed(seed))
    reward, discount, next_value, last = inputs(batch, values)
    ours = gae(reward, discount, values[:, :-1] * batch.mask, next_value, last, lambda_)
    expected = torch.zeros_like(reward)
    for b in range(5):
        length = int(batch.length[b])
        for t in range(length):
            for k in range(t, length):
                bootstrap = 0.0 if batch.terminated[b, k] else GAMMA * float(values[b, k + 1])
                residual = float(batch.reward[b, k]) + bootstrap - float(values[b, k])
                expected[b, t] += (GAMMA * lambda_) ** (k - t) * residual
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.4, 1.0]))
@settings(max_examples=10, deadline=None)
def test_gae_plus_value_is_the_lambda_return(seed: int, lambda_: float) -> None:
    batch = random_batch(make_spec(), 4, seed)
    values = torch.randn(4, 10, generator=torch.Generator().manual_seed(seed))
    reward, discount, next_value, last = inputs(batch, values)
    value = values[:, :-1] * batch.mask
    both = gae(reward, discount, value, next_value, last, lambda_) + value
    torch.testing.assert_close(both, lambda_returns(reward, discount, next_value, last, lambda_) * batch.mask)


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 8, 9])
def test_the_scan_solves_its_recurrence(steps: int) -> None:
    g = torch.Generator().manual_seed(steps)
    offset, factor = torch.randn(3, steps, generator=g), torch.randn(3, steps, generator=g)
    x = torch.cat([reverse_recurrence(offset, factor), torch.zeros(3, 1)], 1)
    torch.testing.assert_close(x[:, :-1], offset + factor * x[:, 1:])


def test_termination_cuts_and_truncation_bootstraps() -> None:
    batch = random_batch(make_spec(), 6, 3)
    values = torch.randn(6, 10, generator=torch.Generator().manual_seed(3))
    ends = batch.length - 1
    games = torch.arange(6)
    for flag in (False, True):
        last = torch.zeros_like(batch.mask)
        last[games, ends] = True
        cut = dataclasses.replace(batch, terminated=last & flag, truncated=last & (not flag))
        target = lambda_returns(*inputs(cut, values), 0.7)[games, ends]
        bootstrap = 0.0 if flag else GAMMA * values[games, ends + 1]
        torch.testing.assert_close(target, batch.reward[games, ends] + bootstrap)


def test_an_episode_that_merely_stops_in_the_batch_bootstraps() -> None:
    batch = random_batch(make_spec(), 4, 5)
    nothing = torch.zeros_like(batch.mask)
    batch = dataclasses.replace(batch, terminated=nothing, truncated=nothing)
    values = torch.ones(4, 10)
    target = lambda_returns(*inputs(batch, values), 1.0)
    ends = batch.length - 1
    games = torch.arange(4)
    torch.testing.assert_close(target[games, ends], batch.reward[games, ends] + GAMMA)
