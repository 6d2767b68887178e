"""The Q-learner that PyMARL weights fit; its options are read from their shapes, where it has options for them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ibal_lightning.backbones.pymarl import AGENT_FILE, MIXER_FILE, load
from ibal_lightning.backbones.q_learner import QLearner, Qmix, Qplex, Vdn
from ibal_lightning.functional.weights import read_weights
from ibal_lightning.types import EnvSpec

Weights = Mapping[str, Tensor]


def fitting_learner(spec: EnvSpec, folder: Path) -> tuple[QLearner, bool]:
    """The learner with the weights of a folder, and whether a mixer was among them.

    Raises:
        ValueError: a file is no state dict, or fits no learner; names the file and every layer that is at fault.
    """
    path = folder / MIXER_FILE
    mixer = read_weights(path) if path.is_file() else {}
    options = agent_options(spec, read_weights(folder / AGENT_FILE))
    learner: QLearner
    if any(name.startswith("hyper_b_1") for name in mixer):
        learner = Qmix(spec, **options, **qmix_options(mixer))
    elif any(name.startswith("si_weight") for name in mixer):
        learner = Qplex(spec, **options, **qplex_options(mixer))
    else:
        learner = Vdn(spec, **options)
    load(learner, folder)
    return learner.eval(), path.is_file()


def agent_options(spec: EnvSpec, agent: Weights) -> dict[str, Any]:
    """Hidden units, and which blocks stand behind the observation; what cannot be told is left at its default."""
    options: dict[str, Any] = out_dim(agent, "fc1.weight", "hidden_dim")
    columns = agent["fc1.weight"].shape[-1] if options else 0
    for last_action, agent_id in itertools.product((True, False), repeat=2):
        if columns == spec.obs_dim + last_action * spec.n_actions + agent_id * spec.n_agents:
            return options | {"last_action": last_action, "agent_id": agent_id}
    return options


def qmix_options(mixer: Weights) -> dict[str, Any]:
    """Widths of QMIX's mixing network and hypernetworks, and how deep the latter are."""
    options = out_dim(mixer, "hyper_b_1.weight", "mixing_dim") | out_dim(mixer, "hyper_w_1.0.weight", "hypernet_dim")
    return options | ({"hypernet_layers": 1} if "hyper_w_1.weight" in mixer else {})


def qplex_options(mixer: Weights) -> dict[str, Any]:
    """Attention heads, layers and widths of QPLEX's networks."""
    head = "si_weight.key_extractors."
    heads = {name.removeprefix(head).split(".")[0] for name in mixer if name.startswith(head)}
    layers = [name for name in mixer if name.startswith(f"{head}0.") and name.endswith("weight")]
    options = out_dim(mixer, "hyper_w_final.0.weight", "hypernet_dim")
    options |= {"num_kernel": max(len(heads), 1), "adv_hypernet_layers": min(max(len(layers), 1), 3)}
    return options | (out_dim(mixer, layers[0], "adv_hypernet_dim") if len(layers) > 1 else {})


def out_dim(weights: Weights, layer: str, option: str) -> dict[str, int]:
    """The option that is the number of a layer's outputs, if there is such a layer."""
    return {option: weights[layer].shape[0]} if layer in weights and weights[layer].ndim == 2 else {}
