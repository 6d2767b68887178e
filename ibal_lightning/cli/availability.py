"""Whether a choice can run here, told without importing torch where possible."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.metadata import entry_points
from importlib.util import find_spec

from ibal_lightning.offers import OWN_DISTRIBUTION, PREFIX, Offer, clash, missing_extra
from ibal_lightning.signatures import NotStatic, module_tree

OURS = "ibal_lightning"
# Entry points "<group>.<name>" -> a function (name) -> str that says what a choice resolves to here.
STATUS = PREFIX + "status"


def availability(items: tuple[Offer, ...]) -> tuple[bool, str]:
    """Whether the choice can be used, and what to know about it (what is missing, which engine it takes)."""
    problem = clash(items)
    if problem is not None:
        return False, problem
    for item in items:
        problem = _problem(item) if item.entry is not None else None
        if problem is not None:
            return False, problem
    return _status(items[0])


def _problem(offer: Offer) -> str | None:
    """What keeps a class from being imported.

    What our own distribution offers is read, not run (the tests run it); a plugin's module is really imported, because
    its failure is what a user looks for here.
    """
    assert offer.entry is not None
    extra = missing_extra(offer)
    if extra is not None:
        return extra
    if offer.distribution != OWN_DISTRIBUTION:
        try:
            offer.entry.load()
        except Exception as error:
            return f"fails on import: {type(error).__name__}: {error}"
        return None
    try:
        missing = sorted(missing_packages(offer.entry.module))
    except NotStatic as error:
        return f"its module cannot be read: {error}"
    return f"needs the package {', '.join(missing)}" if missing else None


def missing_packages(module: str) -> set[str]:
    """Packages that are not installed and that a module, or one of ours that it imports, needs.

    Raises:
        NotStatic: one of our modules is not there or is not valid Python.
    """
    seen, waiting = {module}, [module]
    while waiting:
        name = waiting.pop()
        if name.split(".")[0] == OURS:
            new = set(needed(module_tree(name).body)) - seen
            seen |= new
            waiting += new
    packages = {name.split(".")[0] for name in seen}
    return {package for package in packages if find_spec(package) is None}


def needed(body: list[ast.stmt]) -> Iterator[str]:
    """Modules imported at the top of a module; what stands under ``try`` or ``if`` is optional."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            yield node.module


def _status(offer: Offer) -> tuple[bool, str]:
    for hook in entry_points(group=STATUS, name=f"{offer.group}.{offer.name}"):
        try:
            return True, str(hook.load()(offer.name))
        except Exception as error:
            return False, f"{hook.value} fails: {type(error).__name__}: {error}"
    return True, ""
