"""Files of weights from elsewhere, read without executing anything in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The state dict of a ``.th`` file, on the CPU, read without executing anything in it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a plain state dict of tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no PyMARL weights at {path}")
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a hostile or torn file makes the unpickler fail in any way it likes
        raise ValueError(
            f"{path} is not a PyMARL weights file (a state dict of tensors): {first_line(error)}"
        ) from error
    if not isinstance(weights, Mapping):
        raise ValueError(f"{path} holds a {type(weights).__name__}, not a state dict of tensors")
    for name, value in weights.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ValueError(f"{path}: entry {name!r} is a {type(value).__name__}, not a tensor")
    return dict(weights)


def first_line(error: BaseException) -> str:
    """The first line of an exception's message."""
    return next(iter(str(error).splitlines()), type(error).__name__)
