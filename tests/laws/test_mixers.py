"""Laws of mixers: monotone, IGM, an independent numpy reference, and QPLEX on the climbing game."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from playing import make_spec
from torch import Tensor, nn

from ibal_lightning.backbones import pymarl
from ibal_lightning.backbones.mixers import QmixMixer, QplexMixer, VdnMixer
from ibal_lightning.backbones.q_learner import Qmix, Qplex
from ibal_lightning.envs.matrix_game import payoff_matrix
from tests.oracle import ORACLE

N, A, S = 3, 4, 6


def mixers(seed: int, n_agents: int = N) -> dict[str, nn.Module]:
    """One random mixer of each kind, with weights larger than at initialisation so that bends are reached."""
    torch.manual_seed(seed)
    made: dict[str, nn.Module] = {
        "vdn": VdnMixer(),
        "qmix": QmixMixer(n_agents, S),
        "qplex": QplexMixer(n_agents, A, S),
        "qplex_3_layers": QplexMixer(n_agents, A, S, num_kernel=4, adv_hypernet_layers=3),
        "qmix_1_layer": QmixMixer(n_agents, S, hypernet_layers=1),
        "qplex_bare": QplexMixer(n_agents, A, S, weighted_head=False, is_minus_one=False),
    }
    with torch.no_grad():
        for mixer in made.values():
            for parameter in mixer.parameters():
                parameter.mul_(2.0)
    return made


@given(st.integers(0, 10_000), st.sampled_from(["vdn", "qmix", "qmix_1_layer"]))
@settings(max_examples=30, deadline=None)
def test_vdn_and_qmix_are_monotone_in_every_utility(seed: int, name: str) -> None:
    mixer = mixers(seed)[name].double()
    g = torch.Generator().manual_seed(seed)
    q = torch.randn(32, N, generator=g, dtype=torch.double)
    state = torch.randn(32, S, generator=g, dtype=torch.double)
    actions = torch.zeros(32, N, dtype=torch.long)
    for agent in range(N):
        raised = q.clone()
        raised[:, agent] += torch.rand(32, generator=g, dtype=torch.double) * 3
        assert bool((mixer(raised, state, actions, raised) >= mixer(q, state, actions, q) - 1e-12).all())


@given(st.integers(0, 10_000), st.sampled_from(sorted(mixers(0))))
@settings(max_examples=30, deadline=None)
def test_the_joint_greedy_action_is_made_of_the_individual_ones(seed: int, name: str) -> None:
    mixer = mixers(seed)[name].double()
    g = torch.Generator().manual_seed(seed)
    utilities = torch.randn(N, A, generator=g, dtype=torch.double)
    joint = torch.tensor(list(itertools.product(range(A), repeat=N)))
    taken = utilities[torch.arange(N), joint]
    q_max = utilities.max(1).values.expand_as(taken)
    state = torch.randn(1, S, generator=g, dtype=torch.double).expand(len(joint), S)
    q_tot = mixer(taken, state, joint, q_max)
    greedy = (joint == utilities.argmax(1)).all(1)
    assert bool(q_tot[greedy] >= q_tot.max() - 1e-9)


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_qplex_weights_are_positive_and_advantages_never_are(seed: int) -> None:
    mixer = mixers(seed)["qplex"].double()
    g = torch.Generator().manual_seed(seed)
    state, actions = torch.randn(16, S, generator=g, dtype=torch.double), torch.randint(0, A, (16, N), generator=g)
    q_max = torch.randn(16, N, generator=g, dtype=torch.double)
    lost = torch.rand(16, N, generator=g, dtype=torch.double)
    at_best = mixer(q_max, state, actions, q_max)
    assert bool((mixer(q_max - lost, state, actions, q_max) < at_best).all())


def test_vdn_is_the_sum() -> None:
    q = torch.randn(5, N)
    torch.testing.assert_close(VdnMixer()(q, torch.zeros(5, S), torch.zeros(5, N, dtype=torch.long), q), q.sum(1))


def linear(weights: dict[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    """x W^T + b."""
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def tower(weights: dict[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    """Linear, relu, linear of a torch Sequential, or a single linear layer."""
    if f"{name}.weight" in weights:
        return linear(weights, name, x)
    return linear(weights, f"{name}.2", np.maximum(linear(weights, f"{name}.0", x), 0))


def qmix_by_hand(w: dict[str, np.ndarray], q: np.ndarray, state: np.ndarray) -> np.ndarray:
    """QMIX, row by row, from the paper's figure 2."""
    rows = []
    for q_row, s in zip(q, state, strict=True):
        first = np.abs(tower(w, "hyper_w_1", s)).reshape(len(q_row), -1)
        x = q_row @ first + linear(w, "hyper_b_1", s)
        hidden = np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1)
        rows.append(hidden @ np.abs(tower(w, "hyper_w_final", s)) + tower(w, "V", s)[0])
    return np.array(rows)


def qplex_by_hand(w: dict[str, np.ndarray], q: np.ndarray, state: np.ndarray, actions, q_max, n_actions) -> np.ndarray:
    """QPLEX with one-layer attention, row by row, from the paper's equations 8 to 11."""
    rows = []
    heads = len({name.split(".")[2] for name in w if "key_extractors" in name})
    for q_row, s, a, best in zip(q, state, actions, q_max, strict=True):
        joint = np.concatenate([s, np.eye(n_actions)[a].ravel()])
        weight, bias = np.abs(tower(w, "hyper_w_final", s)) + 1e-10, tower(w, "V", s)
        attention = np.zeros(len(q_row))
        for h in range(heads):
            key = np.abs(linear(w, f"si_weight.key_extractors.{h}", s)) + 1e-10
            agents = 1 / (1 + np.exp(-linear(w, f"si_weight.agents_extractors.{h}", s)))
            attention += key * agents / (1 + np.exp(-linear(w, f"si_weight.action_extractors.{h}", joint)))
        value = weight * best + bias
        advantage = weight * q_row + bias - value
        rows.append(value.sum() + (attention * advantage).sum())
    return np.array(rows)


@pytest.mark.parametrize("weighted_head", [True, False])
def test_without_minus_one_qplex_counts_its_advantages_once_more(weighted_head: bool) -> None:
    torch.manual_seed(0)
    published = QplexMixer(N, A, S, weighted_head=weighted_head).double()
    other = QplexMixer(N, A, S, weighted_head=weighted_head, is_minus_one=False).double()
    other.load_state_dict(published.state_dict())
    state, q_max = torch.randn(16, S).double(), torch.randn(16, N).double()
    lost, actions = torch.rand(16, N).double(), torch.randint(0, A, (16, N))
    weight = published.hyper_w_final(state).abs() + 1e-10 if weighted_head else torch.ones(16, N)
    rows = (q_max - lost, state, actions, q_max)
    torch.testing.assert_close(other(*rows), published(*rows) - (weight * lost).sum(1))


def test_a_hypernet_of_one_layer_is_the_same_equation() -> None:
    torch.manual_seed(0)
    check_against_hand(QmixMixer(N, S, hypernet_layers=1), N, A, S)


def check_against_hand(mixer: nn.Module, n_agents: int, n_actions: int, state_dim: int) -> None:
    """Compare a mixer in double precision with numpy on random rows."""
    rng = np.random.default_rng(0)
    state, q_max = rng.normal(size=(40, state_dim)), rng.normal(size=(40, n_agents)) * 3
    q = q_max - rng.uniform(size=q_max.shape)
    actions = rng.integers(0, n_actions, q.shape)
    w = {name: value.double().numpy() for name, value in mixer.state_dict().items()}
    by_hand = (
        qplex_by_hand(w, q, state, actions, q_max, n_actions)
        if isinstance(mixer, QplexMixer)
        else qmix_by_hand(w, q, state)
    )
    rows = [torch.from_numpy(x) for x in (q, state, actions, q_max)]
    np.testing.assert_allclose(mixer.double()(*rows).detach().numpy(), by_hand, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["qmix", "qplex"])
@pytest.mark.parametrize("seed", [0, 1])
def test_mixers_equal_the_numpy_reference(name: str, seed: int) -> None:
    check_against_hand(mixers(seed)[name], N, A, S)


@pytest.mark.parametrize("sizes", [("3m", 3, 9, 30), ("8m", 8, 14, 80), ("MMM", 10, 16, 160)])
@pytest.mark.parametrize("cls", [Qmix, Qplex])
def test_published_mixers_equal_the_numpy_reference(cls: type, sizes: tuple[str, int, int, int]) -> None:
    name, n_agents, n_actions, obs_dim = sizes
    folder = ORACLE / "wall" / cls.__name__.lower() / name
    if not (folder / "mixer.th").is_file():
        pytest.skip(f"no published weights at {folder} (IBAL_ORACLE_DIR)")
    weights = pymarl.read_weights(folder / "mixer.th")
    state_dim = weights["V.0.weight"].shape[1]
    backbone = cls(make_spec(n_agents, n_actions, obs_dim, state_dim))
    pymarl.load(backbone, folder)
    check_against_hand(backbone.mixer, n_agents, n_actions, state_dim)


JOINT = torch.tensor(list(itertools.product(range(3), repeat=2)))


def mixed(mixer: nn.Module, utilities: Tensor) -> Tensor:
    """(3, 3) joint values of all joint actions from utilities (2, 3), at a constant state."""
    q_max = utilities.detach().max(1).values.expand(9, 2)
    return mixer(utilities[torch.arange(2), JOINT], torch.ones(9, 1, dtype=utilities.dtype), JOINT, q_max).view(3, 3)


def qplex_of_matrix(matrix: Tensor, best: tuple[int, int]) -> tuple[QplexMixer, Tensor]:
    """A mixer and utilities that represent a matrix whose maximum stands at ``best``, written down weight by weight.

    Utilities are 1 at ``best`` and 0 elsewhere, w = 1, and the hidden units of the action network detect one joint
    action each, so that every lambda_i(a) can be chosen: what is missing to the maximum, shared by those who deviate.
    """
    mixer = QplexMixer(2, 3, 1, num_kernel=1, adv_hypernet_layers=2, adv_hypernet_dim=9).double()
    utilities = torch.zeros(2, 3, dtype=torch.double)
    utilities[torch.arange(2), torch.tensor(best)] = 1.0
    deviates = torch.tensor(best) != JOINT
    missing = (matrix.max() - matrix.flatten()) / deviates.sum(1).clamp(min=1)
    scale = float(missing.max()) * 2 + 1
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.zero_()
        mixer.hyper_w_final[2].bias.fill_(1.0)
        mixer.V[2].bias.fill_(float(matrix.max()) / 2 - 1.0)
        mixer.si_weight.key_extractors[0][2].bias.fill_(2 * scale)
        detect, weigh = mixer.si_weight.action_extractors[0][0], mixer.si_weight.action_extractors[0][2]
        detect.weight[:, 1:] = nn.functional.one_hot(JOINT, 3).flatten(1)
        detect.bias.fill_(-1.0)
        weigh.weight.copy_(torch.logit((missing / scale).clamp(1e-9, 1 - 1e-9)).expand(2, 9))
    return mixer, utilities


@given(st.lists(st.floats(-50, 50), min_size=9, max_size=9))
@settings(max_examples=20, deadline=None)
def test_qplex_represents_every_matrix(entries: list[float]) -> None:
    matrix = torch.tensor(entries, dtype=torch.double).view(3, 3)
    best = divmod(int(matrix.argmax()), 3)
    mixer, utilities = qplex_of_matrix(matrix, best)
    torch.testing.assert_close(mixed(mixer, utilities), matrix, atol=1e-5, rtol=1e-6)


def learn_matrix(mixer: nn.Module, matrix: Tensor, steps: int) -> tuple[Tensor, tuple[int, ...]]:
    """Regress mixer and utilities on a whole matrix; the fitted matrix (3, 3) and the greedy joint action."""
    utilities = nn.Parameter(torch.randn(2, 3) * 0.1)
    groups = [{"params": [utilities], "lr": 1e-2}, {"params": list(mixer.parameters()), "lr": 3e-3}]
    optimizer = torch.optim.Adam(groups)
    for _ in range(steps):
        loss = (mixed(mixer, utilities) - matrix).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss.detach() < 0.01:
            break
    return mixed(mixer, utilities).detach(), tuple(utilities.detach().argmax(1).tolist())


def recovers_climbing(seed: int, steps: int) -> bool:
    """Whether QPLEX learns the whole climbing game from its matrix, the optimum included."""
    matrix = payoff_matrix("climbing", -100.0)
    torch.manual_seed(seed)
    mixer = QplexMixer(2, 3, 1, num_kernel=4, adv_hypernet_layers=2)
    fitted, greedy = learn_matrix(mixer, matrix, steps)
    return greedy == (0, 0) and float((fitted - matrix).abs().max()) < 0.5


def test_qplex_recovers_the_optimum_of_the_climbing_game() -> None:
    assert recovers_climbing(seed=0, steps=600)


@pytest.mark.slow
def test_qplex_recovers_the_optimum_from_most_initial_weights() -> None:
    assert sum(recovers_climbing(seed, steps=2000) for seed in range(6)) >= 5


def test_qmix_cannot_represent_the_climbing_game() -> None:
    torch.manual_seed(0)
    matrix = payoff_matrix("climbing", -100.0)
    fitted, _ = learn_matrix(QmixMixer(2, 1), matrix, 300)
    assert float((fitted - matrix).abs().max()) > 5.0
