"""Who may import whom: the table of the design, held against every import statement of the package."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from ibal_lightning.offers import OWN_DISTRIBUTION, offers

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "ibal_lightning"
CONTRACTS = {"env", "backbone", "attack", "estimator", "regularizer"}
ROOMS = {"envs", "backbones", "attacks", "estimators", "regularizers"}  # of implementations
DOOR = {"plugins", "offers", "signatures", "option_types"}
PUBLIC = {"types", "messages", "functional", *CONTRACTS, "testing"}  # what a third party may build on
BASE = {"types", "messages", "functional", *CONTRACTS}

# Room -> rooms of ours that it may import beside itself.
MAY_IMPORT: dict[str, set[str]] = {
    "__init__": set(),  # holds the version, which everybody may read
    "types": set(),
    "messages": set(),
    "functional": {"types", "messages"},
    **dict.fromkeys(CONTRACTS, BASE),
    **dict.fromkeys(ROOMS, BASE),
    "attacks": BASE | {"estimators"},
    "rollout": BASE,
    "training": BASE | {"rollout"},
    "evaluation": BASE | {"rollout"},
    **dict.fromkeys(DOOR, DOOR | {"messages"}),
    "testing": BASE | ROOMS | DOOR | {"rollout"},
    "cli": BASE | ROOMS | DOOR | {"rollout", "training", "evaluation"},
    "__main__": {"cli"},
}
# Library -> the only rooms that know it.
KNOWN_TO = {
    "hydra": {"cli", "plugins"},
    "omegaconf": {"cli", "plugins"},
    "lightning": {"training", "cli"},
}


def room(path: Path) -> str:
    """``attacks`` for ``ibal_lightning/attacks/ibal/groups.py``, ``types`` for ``ibal_lightning/types.py``."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Every module or name that a file imports, dotted, wherever the statement stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def own_room(name: str) -> str | None:
    """The room of ours that an imported name belongs to; None for a library."""
    first, *rest = name.split(".")
    if first != PACKAGE.name:
        return None
    known = rest and ((PACKAGE / rest[0]).is_dir() or (PACKAGE / f"{rest[0]}.py").is_file())
    return rest[0] if known else "__init__"


FILES = sorted(PACKAGE.rglob("*.py"))


def test_every_room_has_its_place_in_the_table() -> None:
    assert {room(path) for path in FILES} <= MAY_IMPORT.keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_table(path: Path) -> None:
    own = room(path)
    for name in imported(path):
        target = own_room(name)
        if target is None:
            assert own in KNOWN_TO.get(name.split(".")[0], {own}), f"{own} must not know {name}"
        else:
            assert target in {own, "__init__"} | MAY_IMPORT[own], f"{own} must not import {name}"


def own_choices() -> list[tuple[str, str]]:
    """(choice, module) of our implementations; a contract that is itself a choice (``natural``) is not one."""
    entries = [item.entry for items in offers().values() for item in items if item.distribution == OWN_DISTRIBUTION]
    found = [(entry.name, entry.module) for entry in entries if entry is not None]
    return [(name, module) for name, module in found if own_room(module) in ROOMS]


def test_no_implementation_is_imported_from_outside_its_room() -> None:
    modules = {module for _, module in own_choices()}
    assert modules
    for path in FILES:
        for name in imported(path):
            hit = {module for module in modules if name == module or name.startswith(f"{module}.")}
            assert not hit or own_room(name) == room(path), f"{path} names the implementation {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_code_asks_for_a_choice_by_name(path: Path) -> None:
    names = {name for name, module in own_choices() if own_room(module) != room(path)}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Compare):
            compared = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}
            assert not names & {value for value in compared if isinstance(value, str)}, f"line {node.lineno}"


@pytest.mark.parametrize("path", sorted((REPOSITORY / "plugins").glob("*/*.py")), ids=lambda path: path.name)
def test_third_parties_need_only_what_is_public(path: Path) -> None:
    assert {own_room(name) for name in imported(path)} - {None} <= PUBLIC


def test_a_forbidden_import_would_be_seen(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("def f():\n    from ibal_lightning.attacks.disabled import Disabled\n    import hydra.utils\n")
    assert [own_room(name) for name in imported(file)] == ["attacks", None]
    assert "attacks" not in MAY_IMPORT["backbones"]
