"""Weights and optimizers from elsewhere: files are read without executing anything in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ibal_lightning.functional.tensor_files import load_tensors


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The state dict of a ``.th`` file, on the CPU, read without executing anything in it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a plain state dict of tensors.
    """
    weights = _read(path, "a state dict of tensors")
    for name, value in weights.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ValueError(f"{path}: entry {name!r} is a {type(value).__name__}, not a tensor")
    return weights


def read_optimizer(path: str | Path) -> dict[str, Any]:
    """The state dict of an optimizer, read like ``read_weights``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not one.
    """
    saved = _read(path, "an optimizer's state dict")
    if saved.keys() != {"state", "param_groups"}:
        raise ValueError(f"{path} is not an optimizer's state dict: it holds {', '.join(map(str, saved))}")
    return saved


def _read(path: str | Path, what: str) -> dict[Any, Any]:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights file at {path}")
    loaded = load_tensors(path, what)
    if not isinstance(loaded, Mapping):
        raise ValueError(f"{path} holds a {type(loaded).__name__}, not {what}")
    return dict(loaded)


@torch.no_grad()
def move_towards(slow: nn.Module, online: nn.Module, tau: float) -> None:
    """Move the parameters of a target network by ``tau`` of the distance to the online one's; 1 copies."""
    for target, source in zip(slow.parameters(), online.parameters(), strict=True):
        target.lerp_(source, tau) if tau < 1 else target.copy_(source)


def adopt_moments(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any], spare: int = 0) -> None:
    """Take over the running averages of a saved optimizer; learning rate and all other settings stay our own.

    Args:
        spare: so many of our last parameters may be unknown to it; they start without averages.

    Raises:
        ValueError: it is of another kind, or belongs to parameters of other shapes; the optimizer is unchanged.
    """
    own = optimizer.state_dict()["param_groups"]
    if not set(saved["param_groups"][0]) <= set(own[0]):
        raise ValueError(f"the saved optimizer is no {type(optimizer).__name__}")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if sum(len(group["params"]) for group in saved["param_groups"]) not in (len(parameters), len(parameters) - spare):
        raise ValueError(f"the saved optimizer does not have {len(parameters)} parameters")
    for index, values in saved["state"].items():
        for name, value in values.items():
            expected = parameters[index].shape
            if isinstance(value, Tensor) and value.ndim and value.shape != expected:
                raise ValueError(f"{name} of parameter {index} is {tuple(value.shape)}, not {tuple(expected)}")
    optimizer.load_state_dict({"state": saved["state"], "param_groups": own})
