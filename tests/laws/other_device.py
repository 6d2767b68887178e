"""A second device that is really the CPU: tensors that say they live elsewhere and refuse to meet those that do not.

For tests of device-correct code on machines without a GPU. Values are computed on the CPU, so results can be compared
with the same code's on the CPU; synchronisation and speed are not emulated.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

SET_UP = getattr(backend_registration, "_setup_privateuseone_for_python_backend", None)  # experimental, since torch 2.9
if SET_UP is not None:
    SET_UP("elsewhere")
ELSEWHERE: Any = torch.device("elsewhere:0") if SET_UP is not None else None
CROSSING = ("aten::_to_copy", "aten::copy_", "aten::_copy_from")  # what may carry values from device to device
INDEXING = ("aten::index", "aten::index_put", "aten::index_put_")  # indices on the CPU are allowed by torch


class Elsewhere(Tensor):
    """A CPU tensor in the clothes of another device."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> Elsewhere:
        """Dress a CPU tensor."""
        made = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=ELSEWHERE,
        )
        made.inner = inner
        return made

    def __repr__(self, **_: Any) -> str:
        return f"Elsewhere({self.inner})"

    def tolist(self) -> Any:
        """As any tensor's."""
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run on the CPU what was asked for elsewhere."""
        return run(func, args, kwargs or {})


class Mode(TorchDispatchMode):
    """Sees factory functions too, which have no tensor among their arguments."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """As for ``Elsewhere``."""
        return run(func, args, kwargs or {})


def run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Compute on the CPU; results live elsewhere if the arguments do or ``device`` says so.

    Raises:
        RuntimeError: tensors of both devices meet, as torch would.
    """
    name = func._schema.name
    flat = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
    there = [x for x in flat if isinstance(x, Elsewhere)]
    target = kwargs.get("device")
    moved = bool(there) if target is None else torch.device(target).type == ELSEWHERE.type
    if there and name not in CROSSING:
        judged = [args[0], *args[2:]] if name in INDEXING else flat
        strangers = [x for x in judged if isinstance(x, Tensor) and x.ndim and not isinstance(x, Elsewhere)]
        if strangers:
            raise RuntimeError(f"{name}: tensors on {ELSEWHERE} and on the CPU, {[tuple(x.shape) for x in flat]}")
    inner_args, inner_kwargs = tree_map(undressed, (args, kwargs))
    if target is not None:
        inner_kwargs["device"] = torch.device("cpu")
    result = func(*inner_args, **inner_kwargs)
    if name == "aten::copy_" or (func._schema.is_mutable and isinstance(result, Tensor)):
        return args[0]
    if name == "aten::_to_copy" or not moved:
        return dressed(result) if moved else result
    return tree_map(dressed, result)


def undressed(x: Any) -> Any:
    """The CPU tensor inside."""
    return x.inner if isinstance(x, Elsewhere) else x


def dressed(x: Any) -> Any:
    """The tensor elsewhere."""
    return Elsewhere(x) if isinstance(x, Tensor) and not isinstance(x, Elsewhere) else x


class ElsewhereGenerator(torch.Generator):
    """A random stream that says it lives elsewhere and gives the CPU's numbers."""

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """Where its numbers are wanted."""
        return ELSEWHERE
