"""A third party's attack, from its wheel, in a fresh environment, through the command line."""

from __future__ import annotations

import os
import site
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from omegaconf import OmegaConf

REPOSITORY = Path(__file__).parents[2]
PLUGIN = REPOSITORY / "plugins" / "ibal-sticky-actions"
Command = Callable[..., str]


def run(*words: str | Path, cwd: Path) -> str:
    """Standard output of a command that must succeed; nothing of this checkout is on its path."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    env |= {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    done = subprocess.run([str(word) for word in words], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheels of the package and of the plugin."""
    folder = tmp_path_factory.mktemp("wheels")
    for source in (REPOSITORY, PLUGIN):
        pip = (sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder)
        run(*pip, source, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def ibal(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The console script of a fresh environment; it sees this one's libraries, so that torch is not fetched again."""
    place = tmp_path_factory.mktemp("fresh")
    run(sys.executable, "-m", "venv", "--without-pip", place, cwd=place)
    python = place / "bin" / "python"
    (own,) = place.glob("lib/python*/site-packages")
    (own / "libraries.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index")
    run(*pip, *sorted(wheels.glob("*.whl")), cwd=place)
    where = run(python, "-c", "import ibal_lightning as m; print(m.__file__)", cwd=place).strip()
    assert Path(where).is_relative_to(own)
    return lambda *words: run(place / "bin" / "ibal", *words, cwd=place)


def test_the_wheel_carries_every_config(wheels: Path) -> None:
    (wheel,) = wheels.glob("ibal_lightning-*.whl")
    carried = {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".yaml")}
    configs = REPOSITORY / "configs"
    assert carried == {f"ibal_lightning/configs/{path.relative_to(configs)}" for path in configs.rglob("*.yaml")}


def test_list_names_the_plugin_and_its_distribution(ibal: Command) -> None:
    (line,) = (line for line in ibal("list", "group=attack").splitlines() if "sticky_actions" in line)
    assert "ibal-sticky-actions 0.1.0" in line
    assert "class" in line
    assert line.rstrip().endswith("yes")


def test_the_plugin_is_trained_against_and_evaluated(ibal: Command, tmp_path: Path) -> None:
    task = ("env=lbf", "env.task=Foraging-5x5-2p-1f-v3", "debug=fast")
    attacks = "evaluation.attacks=[natural,sticky_actions]"
    ibal(*task, "attack=sticky_actions", "attack.probability=0.5", attacks, f"hydra.run.dir={tmp_path}")
    attack = OmegaConf.load(tmp_path / "config.yaml").attack
    assert attack == {"_target_": "ibal_sticky_actions.StickyActions", "probability": 0.5}
    rows = pl.read_parquet(tmp_path / "results.parquet")
    assert rows["attack"].unique(maintain_order=True).to_list() == ["natural", "sticky_actions"]
    ibal("evaluate", f"run={tmp_path}", "attacks=[sticky_actions]", "evaluation.episodes=6")
    again = pl.read_parquet(tmp_path / "results.parquet").filter(pl.col("attack") == "sticky_actions")
    assert len(again) == 6
