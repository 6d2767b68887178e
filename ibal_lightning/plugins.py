"""The plugin door: what distributions offer becomes Hydra choices, and chosen nodes become objects.

A class's constructor signature is the schema of its choice. Nothing is imported until it is used.
"""

from __future__ import annotations

from contextlib import nullcontext
from importlib.metadata import entry_points
from typing import Any

from hydra import compose, initialize
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from ibal_lightning.messages import did_you_mean
from ibal_lightning.offers import (
    CONFIGS,
    OWN_DISTRIBUTION,
    PREFIX,
    SUPPLIED,
    Offer,
    PluginError,
    clash,
    config_folder,
    import_failure,
    missing_extra,
    names,
    offers,
    options_of,
    origin,
)
from ibal_lightning.option_types import check_options

CLASS = "/class"  # ``env/class/smac`` is the class behind env=smac, for a YAML of the same name to build upon


class ChoiceSource(ConfigSource):
    """Gives Hydra a node for a class when, and only when, that choice is composed."""

    @staticmethod
    def scheme() -> str:
        """The search path entry is ``entry-points://``."""
        return "entry-points"

    def available(self) -> bool:
        """Always."""
        return True

    def is_group(self, config_path: str) -> bool:
        """Whether classes can be offered under this path."""
        return config_path.strip("/").removesuffix(CLASS) in SUPPLIED

    def is_config(self, config_path: str) -> bool:
        """A class that no YAML hides, a class asked for as such, or a name that is offered twice (loading explains)."""
        items, as_class = self._items(config_path)
        return bool(items) and (as_class or clash(items) is not None or all(item.preset is None for item in items))

    def load_config(self, config_path: str) -> ConfigResult:
        """``_target_`` and keyword defaults.

        Raises:
            PluginError: the name is offered twice, or the class's signature cannot be read.
        """
        items, _ = self._items(config_path)
        problem = clash(items)
        if problem is not None:
            raise PluginError(problem)
        offer = items[0]
        node: dict[str, Any] = {"_target_": offer.target}
        node |= {name: "???" if option.required else option.default for name, option in options_of(offer).items()}
        if offer.group == "logger":  # several loggers are chosen together: each has its own key
            node = {offer.name: node}
        return ConfigResult(self.provider, f"{self.scheme()}://{self.path}", OmegaConf.create(node), {"package": None})

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Names under a path."""
        path = config_path.strip("/")
        if path == "":
            return sorted(SUPPLIED) if results_filter is not ObjectType.CONFIG else []
        return names(path) if path in SUPPLIED and results_filter is not ObjectType.GROUP else []

    @staticmethod
    def _items(config_path: str) -> tuple[tuple[Offer, ...], bool]:
        """Offers under a path, and whether the path asks for the class (``env/class/smac``) whatever YAML there is."""
        group, _, name = config_path.strip("/").removesuffix(".yaml").rpartition("/")
        items = offers().get((group.removesuffix(CLASS), name), ())
        if group.endswith(CLASS):
            return tuple(item for item in items if item.entry is not None), True
        return items, False


class PluginSearchPath(SearchPathPlugin):
    """Puts the classes and every distribution's YAML folder on Hydra's search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Classes first, because that source also notices clashes; then our own folder, then the others."""
        search_path.append("entry points", f"{ChoiceSource.scheme()}://")
        entries = sorted(entry_points(group=PREFIX + CONFIGS), key=lambda e: origin(e)[0] != OWN_DISTRIBUTION)
        for entry in entries:
            folder = config_folder(entry.value)
            if folder is not None:
                search_path.append(origin(entry)[0], f"file://{folder}")


def register() -> None:
    """Open the door: call once before Hydra composes anything.

    Raises:
        PluginError: the package is not installed, so that not even its own entry points are there.
    """
    if not names("env"):
        raise PluginError("ibal-lightning is not installed in this environment; run: pip install -e .")
    Plugins.instance().register(ChoiceSource)
    Plugins.instance().register(PluginSearchPath)


def choice(group: str, name: str) -> DictConfig:
    """One choice of a group, composed on its own (an attack preset for an evaluation).

    Raises:
        ValueError: there is no such choice; lists them and the nearest one.
    """
    register()
    inside_a_job = GlobalHydra.instance().is_initialized()
    known = names(group)
    if name not in known and inside_a_job:  # Hydra's own list has those of a folder given with --config-dir too
        known = GlobalHydra.instance().config_loader().get_group_options(group)
    if name not in known:
        raise ValueError(f"{group}={name}: no such choice{did_you_mean(name, known)}; there are {', '.join(known)}")
    with nullcontext() if inside_a_job else initialize(config_path=None, version_base="1.3"):
        node = compose(config_name=f"{group}/{name}")[group]
    assert isinstance(node, DictConfig)
    return node


def build(node: DictConfig, *args: Any, **supplied: Any) -> Any:
    """Call the ``_target_`` of a node with its options; nested nodes are built first.

    Args:
        node: what a choice composed to.
        args: positional parameters that code supplies (``spec``, ``threat``).
        supplied: the same by keyword; they win over options of the node.

    Raises:
        PluginError: the class cannot be imported.
        ValueError: an option is unknown, missing, or of the wrong type, or the class refuses its value.
    """
    target, where = _locate(node)
    values = {str(key): _value(node, str(key), where) for key in node if key != "_target_" and key not in supplied}
    return target(*args, **check_options(where, target, values), **supplied)


def _locate(node: DictConfig) -> tuple[Any, str]:
    """The class of a node, and what messages call it: the group of its choice or the class's own name."""
    path = node.get("_target_")
    if not isinstance(path, str):
        raise ValueError(f"this config node names no class (_target_): {OmegaConf.to_yaml(node).strip()}")
    offer = next((item for items in offers().values() for item in items if item.entry and item.target == path), None)
    extra = missing_extra(offer) if offer is not None else None
    if offer is not None and extra is not None:
        raise PluginError(f"{offer.group}={offer.name} {extra}")
    try:
        target = get_object(path)
    except Exception as error:
        if offer is not None:
            raise import_failure(offer, error.__cause__ or error) from error
        raise PluginError(f"_target_={path} cannot be imported: {error}") from error
    return target, offer.group if offer is not None else path.rpartition(".")[2]


def _value(node: DictConfig, key: str, where: str) -> Any:
    """One option as plain Python; nested nodes that name a class are built."""
    if OmegaConf.is_missing(node, key):
        raise ValueError(f"{where}.{key}: a value is required; give {where}.{key}=...")
    value = node[key]
    return instantiate(value, _convert_="all") if OmegaConf.is_config(value) else value
