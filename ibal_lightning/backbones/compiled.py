"""``torch.compile`` for parts of a learner (``backbone.compile_mixer``)."""

from __future__ import annotations

import os
import shutil

from torch import nn


def compile_all(*modules: nn.Module) -> None:
    """Compile modules in place, for batches of any size.

    Raises:
        ValueError: there is no C++ compiler; torch would say so at the first update only.
    """
    if not any(map(shutil.which, filter(None, (os.environ.get("CXX"), "g++", "clang++", "cl")))):
        raise ValueError("backbone.compile_mixer=true needs a C++ compiler: g++, clang++, or the one that CXX names")
    for module in modules:
        module.compile(dynamic=True)
