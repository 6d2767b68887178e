"""Weights in PyMARL's format (``agent.th``, ``mixer.th``, ``opt.th``), in and out of a Q-learner.

PyMARL, pymarl2, QPLEX, WALL and ROMANCE save the ``state_dict`` of an fc1 - GRUCell - fc2 agent and of the mixer,
EPyMARL by default that of an fc1 - Linear - fc2 agent (``use_rnn=False``).
Input columns are [obs | one-hot last action | one-hot agent id]. A round trip is bit-equal.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ibal_lightning.backbone import Backbone
from ibal_lightning.backbones.q_learner import QLearner
from ibal_lightning.functional.tensor_files import save_tensors
from ibal_lightning.functional.weights import read_optimizer, read_weights

AGENT_FILE, MIXER_FILE, OPTIMIZER_FILE = "agent.th", "mixer.th", "opt.th"


def agent_weights(backbone: Backbone) -> dict[str, Tensor]:
    """The agent's state dict under PyMARL's names (a ``GRUCell`` has no layer suffix)."""
    weights = q_learner(backbone).agent.state_dict()
    return {name.removesuffix("_l0"): value.detach().clone() for name, value in weights.items()}


def mixer_weights(backbone: Backbone) -> dict[str, Tensor]:
    """The mixer's state dict; empty for VDN, as in PyMARL."""
    return {name: value.detach().clone() for name, value in q_learner(backbone).mixer.state_dict().items()}


def q_learner(backbone: Backbone) -> QLearner:
    """The backbone itself if PyMARL's format can hold it.

    Raises:
        ValueError: it is not a value-decomposition learner.
    """
    if not isinstance(backbone, QLearner):
        raise ValueError(f"PyMARL weights fit the Q-learners (vdn, qmix, qplex), not {type(backbone).__name__.lower()}")
    return backbone


def load_agent(backbone: Backbone, path: str | Path) -> None:
    """Copy ``agent.th`` into the online and the target agent.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: layers are missing, unknown, or of other sizes; each is named with both shapes.
    """
    learner, weights = q_learner(backbone), read_weights(path)
    check_weights(weights, agent_weights(learner), f"{path}", agent_hint(learner, weights))
    renamed = {name: weights[name.removesuffix("_l0")] for name in learner.agent.state_dict()}
    learner.agent.load_state_dict(renamed)
    learner.target_agent.load_state_dict(renamed)


def load_mixer(backbone: Backbone, path: str | Path) -> None:
    """Copy ``mixer.th`` into the online and the target mixer; errors as ``load_agent``."""
    learner, weights = q_learner(backbone), read_weights(path)
    check_weights(weights, learner.mixer.state_dict(), f"{path}", mixer_hint(learner, weights))
    learner.mixer.load_state_dict(weights)
    learner.target_mixer.load_state_dict(weights)


def load(backbone: Backbone, path: str | Path) -> list[Path]:
    """Load a PyMARL folder (``agent.th``, and ``mixer.th`` where it exists), or a single ``agent.th``.

    Returns:
        The files that were read. Without a mixer file the mixer keeps its weights.
    """
    path = Path(path)
    agent = path / AGENT_FILE if path.is_dir() else path
    load_agent(backbone, agent)
    mixer = path / MIXER_FILE
    if not (path.is_dir() and mixer.is_file()):
        return [agent]
    load_mixer(backbone, mixer)
    return [agent, mixer]


def export(backbone: Backbone, folder: str | Path, optimizer: Mapping[str, Any] | None = None) -> list[Path]:
    """Write ``agent.th``, ``mixer.th`` and, where given, ``opt.th`` as PyMARL does; returns the files written.

    Args:
        backbone: a Q-learner.
        folder: made where it is missing.
        optimizer: state dict of the learner's optimizer. Its parameters stand in PyMARL's order, agent then mixer.

    Raises:
        ValueError: it is no Q-learner, or its mixer reads more than the state.
    """
    if q_learner(backbone).context is not None:
        raise ValueError("PyMARL's mixers know no groups: a run with backbone.mixer_context=group has no export")
    contents: dict[str, Mapping[str, Any]] = {AGENT_FILE: agent_weights(backbone), MIXER_FILE: mixer_weights(backbone)}
    contents |= {OPTIMIZER_FILE: portable(optimizer)} if optimizer is not None else {}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        save_tensors(folder / name, content)
    return [folder / name for name in contents]


def portable(optimizer: Mapping[str, Any]) -> dict[str, Any]:
    """A state dict that leaves the implementation to whoever loads it: older versions of torch lack a fused one."""
    groups = [{k: None if k in ("fused", "foreach") else v for k, v in g.items()} for g in optimizer["param_groups"]]
    return {**optimizer, "param_groups": groups}


def load_optimizer(path: str | Path) -> Mapping[str, Any] | None:
    """State dict of the optimizer saved in a PyMARL folder; None where there is no ``opt.th``.

    Raises:
        ValueError: the file is no optimizer's state dict.
    """
    file = Path(path) / OPTIMIZER_FILE
    return read_optimizer(file) if file.is_file() else None


def check_weights(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str, hint: str) -> None:
    """Raise ``ValueError`` naming every layer that is missing, unknown, of another shape or not floating point."""
    problems = []
    for name in expected.keys() - weights.keys():
        near = difflib.get_close_matches(name, weights.keys() - expected.keys(), n=1)
        problems.append(f"{name} {tuple(expected[name].shape)} is missing" + (f" (has {near[0]})" if near else ""))
    for name in weights.keys() - expected.keys():
        problems.append(f"{name} {tuple(weights[name].shape)} is unknown")
    for name in weights.keys() & expected.keys():
        here, there = tuple(expected[name].shape), tuple(weights[name].shape)
        if here != there:
            problems.append(f"{name} is {there} in the file, {here} here")
        elif not weights[name].is_floating_point() or not bool(weights[name].isfinite().all()):
            problems.append(f"{name} holds values that are not finite floating-point numbers")
    if problems:
        raise ValueError(f"{source} does not fit: {'; '.join(sorted(problems))}{hint}")


def agent_hint(learner: QLearner, weights: Mapping[str, Tensor]) -> str:
    """Which options of ours differ from those of the agents in the file."""
    return memory_hint(learner, weights) + input_hint(learner, weights)


def memory_hint(learner: QLearner, weights: Mapping[str, Tensor]) -> str:
    """What to set when only one side's agents have memory."""
    has_memory = "rnn.weight_hh" in weights
    if has_memory == learner.options.use_rnn or not (has_memory or "rnn.weight" in weights):
        return ""
    which, word = ("", "true") if has_memory else ("no ", "false")
    return f". The agents in the file have {which}memory: set backbone.use_rnn={word}"


def input_hint(learner: QLearner, weights: Mapping[str, Tensor]) -> str:
    """How our input is made up, when the file's first layer reads another number of columns."""
    first, spec, net = weights.get("fc1.weight"), learner.spec, learner.agent
    if first is None or first.ndim != 2 or first.shape[1] == net.fc1.in_features:
        return ""
    if net.n_actions and first.shape[1] == net.fc1.in_features - net.n_actions:
        return ". They do not read their last action: set backbone.last_action=false"
    return (
        f". The input here is {spec.obs_dim} obs + {net.n_actions} last action + {net.n_agents} agent id = "
        f"{net.fc1.in_features} columns; is it another map, or another setting of last_action or agent_id?"
    )


def mixer_hint(learner: QLearner, weights: Mapping[str, Tensor]) -> str:
    """What to set when the hypernets have another number of layers."""
    layers = 1 if "hyper_w_1.weight" in weights else 2 if "hyper_w_1.0.weight" in weights else None
    if layers is None or ("hyper_w_1.weight" in learner.mixer.state_dict()) == (layers == 1):
        return ""
    return f". The hypernets in the file have another depth: set backbone.hypernet_layers={layers}"
