"""What the installed distributions offer: classes by entry point, YAML files by folder. Imports none of it.

An entry point in the group ``ibal_lightning.<group>`` names a class. An entry point in ``ibal_lightning.configs``
names a package that carries a ``configs`` folder; its YAML files are presets and compositions and hide a class of the
same name. Built-ins come through the same door.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from importlib.util import find_spec
from pathlib import Path
from sys import path as sys_path

from packaging.requirements import Requirement

from ibal_lightning.signatures import Options, read_options

PREFIX = "ibal_lightning."
CONFIGS = "configs"
OWN_DISTRIBUTION = "ibal-lightning"
# Constructor parameters that code supplies, so that no config names them.
SUPPLIED: Mapping[str, frozenset[str]] = {
    "env": frozenset({"num_envs", "seed"}),
    "backbone": frozenset({"spec"}),
    "attack": frozenset({"spec", "threat"}),
    "threat": frozenset(),
    "estimator": frozenset({"x_dim", "y_dim", "context_dim"}),
    "regularizer": frozenset({"spec"}),
    "logger": frozenset({"save_dir"}),
}


@dataclass(frozen=True)
class Offer:
    """A distribution offers a choice: a class by its entry point, or a YAML file (then ``preset`` is its path)."""

    group: str
    name: str
    distribution: str
    version: str
    entry: EntryPoint | None = None
    preset: Path | None = None

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"

    @property
    def target(self) -> str:
        """Dotted path of the class, as in ``_target_``."""
        assert self.entry is not None
        return f"{self.entry.module}.{self.entry.attr}"


class PluginError(ValueError):
    """A plugin cannot be used: it clashes with another, or fails on import."""


def offers() -> Mapping[tuple[str, str], tuple[Offer, ...]]:
    """Everything that is offered by (group, name), classes before presets; imports nothing."""
    return _offers(tuple(sys_path))


@lru_cache(maxsize=4)
def _offers(_: tuple[str, ...]) -> Mapping[tuple[str, str], tuple[Offer, ...]]:
    found: defaultdict[tuple[str, str], list[Offer]] = defaultdict(list)
    for group in SUPPLIED:
        for entry in entry_points(group=PREFIX + group):
            found[group, entry.name].append(Offer(group, entry.name, *origin(entry), entry=entry))
    for entry in entry_points(group=PREFIX + CONFIGS):
        folder = config_folder(entry.value)
        for file in sorted(folder.glob("*/**/*.yaml")) if folder is not None else ():
            group, name = file.parent.relative_to(folder).as_posix(), file.stem  # type: ignore[arg-type]
            found[group, name].append(Offer(group, name, *origin(entry), preset=file))
    return {key: tuple(items) for key, items in found.items()}


def origin(entry: EntryPoint) -> tuple[str, str]:
    """Name and version of the distribution that an entry point belongs to."""
    return (entry.dist.name, entry.dist.version) if entry.dist is not None else ("unknown", "?")


def config_folder(package: str) -> Path | None:
    """The ``configs`` folder of a package: inside it, or beside it in the checkout of an editable install."""
    spec = find_spec(package.split(".")[0])
    for location in (spec.submodule_search_locations or ()) if spec is not None else ():
        inside, beside = Path(location) / CONFIGS, Path(location).parent / CONFIGS
        if inside.is_dir():
            return inside
        if beside.is_dir() and (beside.parent / "pyproject.toml").is_file():
            return beside
    return None


def names(group: str) -> list[str]:
    """All choices of a group."""
    return sorted(name for found, name in offers() if found == group)


def clash(items: tuple[Offer, ...]) -> str | None:
    """What is wrong when several distributions offer one name; None when only one does."""
    if len({item.distribution for item in items}) < 2 and sum(item.entry is not None for item in items) < 2:
        return None
    by = " and by ".join(f"{item} ({item.entry.value if item.entry else item.preset})" for item in items)
    return f"{items[0].group}={items[0].name} is offered twice: by {by}; uninstall one of them, or ask one to rename it"


def options_of(offer: Offer) -> Options:
    """The configurable options of an offered class.

    Raises:
        PluginError: its import fails.
    """
    assert offer.entry is not None
    try:
        found = read_options(offer.entry.module, offer.entry.attr)
    except Exception as error:
        raise import_failure(offer, error) from error
    return {name: option for name, option in found.items() if name not in SUPPLIED[offer.group]}


def missing_extra(offer: Offer) -> str | None:
    """How to install what an entry point's extras (``module:Class [wandb]``) ask for; None when nothing is missing."""
    if offer.entry is None or offer.entry.dist is None:
        return None
    for extra in offer.entry.extras:
        for requirement in map(Requirement, offer.entry.dist.requires or ()):
            wanted = requirement.marker is not None and requirement.marker.evaluate({"extra": extra})
            if wanted and not _installed(requirement.name):
                return f"needs {requirement.name}: pip install '{offer.distribution}[{extra}]'"
    return None


def _installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def import_failure(offer: Offer, error: BaseException) -> PluginError:
    """Names the plugin whose import failed, and why."""
    assert offer.entry is not None
    return PluginError(
        f"{offer.group}={offer.name} cannot be used: {offer} (entry point {offer.entry.value}) fails on import: "
        f"{type(error).__name__}: {error}"
    )
