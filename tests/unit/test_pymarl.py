"""PyMARL weights: bit-equal round trips, equal play, and clear refusals."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ibal_lightning.backbone import Backbone
from ibal_lightning.backbones import pymarl
from ibal_lightning.backbones.ppo import Mappo
from ibal_lightning.backbones.q_learner import Qmix, Qplex, Vdn
from ibal_lightning.functional.weights import adopt_moments
from ibal_lightning.types import EnvSpec
from tests.oracle import ORACLE

LEARNERS = (Vdn, Qmix, Qplex)


def make_spec(n_agents: int = 3, n_actions: int = 5, obs_dim: int = 6, state_dim: int = 7) -> EnvSpec:
    """A game of the given sizes."""
    names = tuple(f"obs {i}" for i in range(obs_dim)), tuple(f"action {i}" for i in range(n_actions))
    return EnvSpec(n_agents, n_actions, obs_dim, state_dim, 9, *names, torch.zeros(obs_dim), "random")


class PymarlAgent(nn.Module):
    """The agent as PyMARL builds it, with a GRU cell and a one-hot input."""

    def __init__(self, inputs: int, n_actions: int) -> None:
        super().__init__()
        self.fc1, self.rnn = nn.Linear(inputs, 64), nn.GRUCell(64, 64)
        self.fc2 = nn.Linear(64, n_actions)

    def forward(self, x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """q (R, A) and the next hidden (R, 64)."""
        hidden = self.rnn(torch.relu(self.fc1(x)), hidden)
        return self.fc2(hidden), hidden


class EpymarlAgent(nn.Module):
    """EPyMARL's agent with ``use_rnn=False``: a linear layer where the GRU cell stands."""

    def __init__(self, inputs: int, n_actions: int) -> None:
        super().__init__()
        self.fc1, self.rnn, self.fc2 = nn.Linear(inputs, 64), nn.Linear(64, 64), nn.Linear(64, n_actions)

    def forward(self, x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """q (R, A) and what it calls hidden."""
        hidden = torch.relu(self.rnn(torch.relu(self.fc1(x))))
        return self.fc2(hidden), hidden


def inputs_of(obs: Tensor, last: Tensor, n_actions: int) -> Tensor:
    """(B N, O + A + N) PyMARL's input: obs, one-hot last action (zeros for -1), one-hot agent id."""
    one_hot = nn.functional.one_hot(last + 1, n_actions + 1)[..., 1:].float()
    ids = torch.eye(obs.shape[1]).expand(len(obs), -1, -1)
    return torch.cat([obs, one_hot, ids], -1).flatten(0, 1)


def check_play(backbone: Backbone, agent: nn.Module) -> None:
    """Step both through a few random observations."""
    spec, generator = backbone.spec, torch.Generator().manual_seed(0)
    hidden, theirs = backbone.initial_hidden(4), torch.zeros(4 * spec.n_agents, 64)
    last = torch.full((4, spec.n_agents), -1)
    for _ in range(3):
        obs = torch.randn(4, spec.n_agents, spec.obs_dim, generator=generator)
        scores, hidden = backbone.scores(obs, last, hidden)
        expected, theirs = agent(inputs_of(obs, last, spec.n_actions), theirs)
        torch.testing.assert_close(scores.flatten(0, 1), expected, atol=1e-5, rtol=1e-5)
        last = scores.argmax(-1)


def test_an_agent_saved_by_pymarl_plays_the_same_here(tmp_path: Path) -> None:
    agent = PymarlAgent(6 + 5 + 3, 5)
    torch.save(agent.state_dict(), tmp_path / "agent.th")
    backbone = Qmix(make_spec())
    assert pymarl.load(backbone, tmp_path) == [tmp_path / "agent.th"]
    check_play(backbone, agent)
    assert all(map(torch.equal, backbone.agent.parameters(), backbone.target_agent.parameters()))


def test_an_agent_without_memory_saved_by_epymarl_plays_the_same_here(tmp_path: Path) -> None:
    agent = EpymarlAgent(6 + 5 + 3, 5)
    torch.save(agent.state_dict(), tmp_path / "agent.th")
    backbone = Qmix(make_spec(), use_rnn=False)
    pymarl.load(backbone, tmp_path)
    check_play(backbone, agent)


@pytest.mark.parametrize(("use_rnn", "word"), [(True, "use_rnn=false"), (False, "use_rnn=true")])
def test_agents_of_the_other_kind_are_named(use_rnn: bool, word: str, tmp_path: Path) -> None:
    agent = (EpymarlAgent if use_rnn else PymarlAgent)(6 + 5 + 3, 5)
    torch.save(agent.state_dict(), tmp_path / "agent.th")
    with pytest.raises(ValueError, match=word):
        pymarl.load(Vdn(make_spec(), use_rnn=use_rnn), tmp_path)


def test_all_options_that_differ_are_named_at_once(tmp_path: Path) -> None:
    torch.save(EpymarlAgent(6 + 3, 5).state_dict(), tmp_path / "agent.th")
    with pytest.raises(ValueError, match=r"use_rnn=false.*last_action=false"):
        pymarl.load(Vdn(make_spec()), tmp_path)


def test_hypernets_of_another_depth_are_named(tmp_path: Path) -> None:
    pymarl.export(Qmix(make_spec(), hypernet_layers=1), tmp_path)
    with pytest.raises(ValueError, match=r"another depth: set backbone.hypernet_layers=1"):
        pymarl.load(Qmix(make_spec()), tmp_path)


@pytest.mark.parametrize("use_rnn", [True, False])
@pytest.mark.parametrize("cls", LEARNERS)
def test_round_trips_are_equal_to_the_bit(cls: type[Backbone], use_rnn: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    source = cls(make_spec(), use_rnn=use_rnn)
    files = pymarl.export(source, tmp_path / "out")
    target = cls(make_spec(), use_rnn=use_rnn)
    assert pymarl.load(target, tmp_path / "out") == files
    for name, value in source.state_dict().items():
        if not name.startswith("target"):
            assert torch.equal(value, target.state_dict()[name])
            slow = f"target_{name}"
            assert torch.equal(value, target.state_dict()[slow])
    pymarl.export(target, tmp_path / "again")
    for file in files:
        first, second = (torch.load(f, weights_only=True) for f in (file, tmp_path / "again" / file.name))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_exported_agents_have_pymarls_names(tmp_path: Path) -> None:
    agent, _ = pymarl.export(Vdn(make_spec()), tmp_path)
    PymarlAgent(6 + 5 + 3, 5).load_state_dict(torch.load(agent, weights_only=True))


def hostile(path: Path, content: object) -> Path:
    """Write anything as an ``agent.th``."""
    file = path / "agent.th"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    return file


class Boom:
    """Would run a command when unpickled without care."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch ran_from_pickle",)


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint\n" * 9, Boom(), [1, 2], {"fc1.weight": "text"}, {3: torch.zeros(1)}]
)
def test_files_that_are_no_weights_are_refused(
    content: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = hostile(tmp_path, content)
    with pytest.raises(ValueError, match=r"state dict|not a tensor") as error:
        pymarl.load_agent(Vdn(make_spec()), file)
    assert str(file) in str(error.value)
    assert not (tmp_path / "ran_from_pickle").exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere"):
        pymarl.load(Vdn(make_spec()), tmp_path / "nowhere")


def test_other_sizes_name_layers_and_both_shapes(tmp_path: Path) -> None:
    file = hostile(tmp_path, pymarl.agent_weights(Vdn(make_spec(n_actions=7))))
    with pytest.raises(ValueError, match=r"fc1\.weight is \(64, 16\) in the file, \(64, 14\) here") as error:
        pymarl.load_agent(Vdn(make_spec()), file)
    assert "fc2.bias is (7,) in the file, (5,) here" in str(error.value)
    assert "6 obs + 5 last action + 3 agent id = 14" in str(error.value)


def test_missing_unknown_and_broken_layers_are_named(tmp_path: Path) -> None:
    weights = OrderedDict(pymarl.agent_weights(Vdn(make_spec())))
    weights["fc2.weights"] = weights.pop("fc2.weight")
    weights["fc1.bias"] = weights["fc1.bias"] * float("nan")
    with pytest.raises(ValueError, match=r"fc2\.weight \(5, 64\) is missing \(has fc2\.weights\)") as error:
        pymarl.load_agent(Vdn(make_spec()), hostile(tmp_path, weights))
    assert "fc2.weights (5, 64) is unknown" in str(error.value)
    assert "fc1.bias holds values that are not finite" in str(error.value)


def test_a_mixer_of_another_kind_is_refused_and_nothing_is_half_loaded(tmp_path: Path) -> None:
    pymarl.export(Qplex(make_spec()), tmp_path)
    backbone = Qmix(make_spec())
    before = {name: value.clone() for name, value in backbone.mixer.state_dict().items()}
    with pytest.raises(ValueError, match="hyper_w_1"):
        pymarl.load_mixer(backbone, tmp_path / "mixer.th")
    assert all(torch.equal(value, before[name]) for name, value in backbone.mixer.state_dict().items())


def test_policy_gradient_backbones_have_no_pymarl_format(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="vdn, qmix, qplex"):
        pymarl.export(Mappo(make_spec()), tmp_path)


@pytest.mark.parametrize("game", [("3m", 3, 9, 30, 48), ("8m", 8, 14, 80, 168), ("MMM", 10, 16, 160, 290)])
@pytest.mark.parametrize("cls", LEARNERS)
def test_published_policies_load_play_the_same_and_go_out_again(
    cls: type[Backbone], game: tuple[str, int, int, int, int], tmp_path: Path
) -> None:
    name, *sizes = game
    folder = ORACLE / "wall" / cls.__name__.lower() / name
    if not (folder / "agent.th").is_file():
        pytest.skip(f"no published weights at {folder} (IBAL_ORACLE_DIR)")
    n_agents, n_actions, obs_dim, state_dim = sizes
    backbone = cls(make_spec(n_agents, n_actions, obs_dim, state_dim))
    pymarl.load(backbone, folder)
    agent = PymarlAgent(obs_dim + n_actions + n_agents, n_actions)
    agent.load_state_dict(torch.load(folder / "agent.th", map_location="cpu", weights_only=True))
    check_play(backbone, agent)
    for file in pymarl.export(backbone, tmp_path):
        theirs = folder / file.name
        if theirs.is_file():  # VDN's mixer has no weights and no file
            assert_equal(pymarl.read_weights(file), pymarl.read_weights(theirs))


def assert_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    """The same names in the same order, the same bits."""
    assert list(first) == list(second)
    assert all(torch.equal(first[name], second[name]) for name in first)


def stepped(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The same after one step on random gradients."""
    generator = torch.Generator().manual_seed(0)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
    optimizer.step()
    return optimizer


@pytest.mark.parametrize("kind", ["adam", "rmsprop"])
def test_moments_survive_files_and_the_next_step_is_the_same(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    source = Qmix(make_spec(), optimizer=kind)
    optimizer = stepped(source.optimizer())
    pymarl.export(source, tmp_path, optimizer.state_dict())
    target = Qmix(make_spec(), optimizer=kind, lr=1.0)
    pymarl.load(target, tmp_path)
    saved, ours = pymarl.load_optimizer(tmp_path), target.optimizer()
    assert saved is not None
    assert saved["param_groups"][0].get("fused") is None  # PyMARL's versions of torch may have none
    adopt_moments(ours, saved)
    assert ours.param_groups[0]["lr"] == 1.0
    ours.param_groups[0]["lr"] = source.options.lr
    stepped(optimizer)
    stepped(ours)
    assert all(map(torch.equal, source.agent.parameters(), target.agent.parameters()))
    assert all(map(torch.equal, source.mixer.parameters(), target.mixer.parameters()))


def test_moments_of_another_optimizer_or_network_are_refused() -> None:
    saved = stepped(Qmix(make_spec()).optimizer()).state_dict()
    with pytest.raises(ValueError, match="no RMSprop"):
        adopt_moments(Qmix(make_spec(), optimizer="rmsprop").optimizer(), saved)
    with pytest.raises(ValueError, match=r"exp_avg of parameter 0 is \(64, 14\), not \(64, 15\)"):
        adopt_moments(Qmix(make_spec(obs_dim=7)).optimizer(), saved)
    with pytest.raises(ValueError, match="does not have 8 parameters"):
        adopt_moments(Vdn(make_spec()).optimizer(), saved)


def test_a_missing_or_foreign_optimizer_file(tmp_path: Path) -> None:
    assert pymarl.load_optimizer(tmp_path) is None
    torch.save({"fc1.weight": torch.zeros(1)}, tmp_path / "opt.th")
    with pytest.raises(ValueError, match=r"opt\.th is not an optimizer's state dict: it holds fc1\.weight"):
        pymarl.load_optimizer(tmp_path)
