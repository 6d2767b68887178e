"""Fixtures for every test: a made-up distribution on the path, a clean Hydra."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hydra.core.global_hydra import GlobalHydra

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put a distribution on ``sys.path`` as an installer would: modules and ``entry_points.txt``.

    ``install("theirs", {"theirs.py": source}, {"ibal_lightning.attack": {"theirs": "theirs:Theirs"}})``
    """

    def make(name: str, files: dict[str, str], entry_points: dict[str, dict[str, str]], *metadata: str) -> Path:
        root = tmp_path / name
        info = root / f"{name.replace('-', '_')}-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.2", *metadata]))
        lines = []
        for group, entries in entry_points.items():
            lines += [f"[{group}]", *(f"{key} = {value}" for key, value in entries.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(textwrap.dedent(text))
        monkeypatch.syspath_prepend(str(root))
        return root

    yield make
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture(autouse=True)
def _clean_hydra() -> Iterator[None]:
    """No test inherits another one's Hydra."""
    GlobalHydra.instance().clear()
    yield
    GlobalHydra.instance().clear()
