"""``torch.compile`` for parts of a learner (``backbone.compile_mixer``)."""

from __future__ import annotations

import os
import shutil
import sys

COMPILERS = {"darwin": "clang++", "win32": "cl"}


def check_compiler() -> None:
    """Refuse to compile where torch would find no C++ compiler, at the first update only.

    Raises:
        ValueError: names the compiler that torch looks for.
    """
    compiler = os.environ.get("CXX") or COMPILERS.get(sys.platform, "g++")
    if shutil.which(compiler) is None:
        raise ValueError(f"backbone.compile_mixer=true needs a C++ compiler: {compiler} (or what CXX names) is missing")
