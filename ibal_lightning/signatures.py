"""What a constructor takes: the signature is the schema of a choice.

Signatures are read from the source text where that is possible, because importing a class to show ``--help`` would
import torch; ``inspect`` is the answer for everything else. Both follow the same two rules: a constructor that
ends in ``**options`` also takes the keyword-only options of its parent, and a dataclass takes its fields.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ADDS_OPTIONS = "adds_options"  # the decorator with which a family of learners shares its options


class NotStatic(Exception):
    """The source text alone does not tell."""


@dataclass(frozen=True)
class Option:
    """One constructor parameter."""

    name: str
    required: bool
    default: Any = None
    keyword_only: bool = True


Options = Mapping[str, Option]


def read_options(module: str, name: str) -> Options:
    """Parameters of ``module:name`` by name, without ``self``; imports the module only if its source does not tell.

    Raises:
        Exception: whatever the import of the module raises.
    """
    try:
        return static_options(module, name)
    except NotStatic:
        return runtime_options(getattr(importlib.import_module(module), name))


def runtime_options(target: Any) -> Options:
    """The same from the imported class or function."""
    signatures = _chain(target)
    options = _named(signatures[0])
    for parent in signatures[1:]:
        options = _inherit(options, _named(parent))
    return options


def open_ended(target: Any) -> bool:
    """Whether it takes any keyword at all: no constructor on the way to ``object`` closes its ``**options``."""
    return _open_ended(_chain(target)[-1])


def _chain(target: Any) -> list[inspect.Signature]:
    """The target's own signature and, while they end in ``**options``, those of its parents."""
    signatures = [inspect.signature(target)]
    parents = target.__mro__[1:-1] if inspect.isclass(target) else ()
    for parent in parents:
        if not _open_ended(signatures[-1]):
            break
        if "__init__" in vars(parent):
            signatures.append(inspect.signature(parent))
    return signatures


def _named(signature: inspect.Signature) -> dict[str, Option]:
    named = (p for p in signature.parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))
    return {
        p.name: Option(
            p.name, p.default is p.empty, None if p.default is p.empty else p.default, p.kind is p.KEYWORD_ONLY
        )
        for p in named
    }


def _open_ended(signature: inspect.Signature) -> bool:
    return any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())


def _inherit(own: Options, parent: Options) -> dict[str, Option]:
    return {**own, **{o.name: o for o in parent.values() if o.keyword_only and o.name not in own}}


def static_options(module: str, name: str) -> Options:
    """The same from source text, importing nothing.

    Raises:
        NotStatic: there is no source, the class is built in some unusual way, or a default is not a literal.
    """
    tree = module_tree(module)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return _class_options(module, node)
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return _parameters(node.args)[0]
    for source, original, alias in imported_names(module, tree):
        if alias == name:
            return static_options(source, original)
    raise NotStatic(f"{module}:{name}")


def _class_options(module: str, node: ast.ClassDef) -> Options:
    if node.keywords:
        raise NotStatic(f"{node.name} has a metaclass or class keywords")
    if node.decorator_list:
        return _dataclass_options(node)
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            options, more = _parameters(item.args)
            options.pop("self", None)
            for source in _option_sources(item):
                options, more = _inherit(options, static_options(module, source)), False
            return _inherit(options, _parent_options(module, node)) if more else options
    return _parent_options(module, node)


def _option_sources(init: ast.FunctionDef) -> list[str]:
    """The classes whose keywords ``@adds_options(Source)`` adds, innermost first; others are left to ``inspect``."""
    sources = []
    for decorator in reversed(init.decorator_list):
        if not (isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == ADDS_OPTIONS):
            raise NotStatic(ast.unparse(decorator))
        sources.append(ast.unparse(decorator.args[0]))
    return sources


def _parent_options(module: str, node: ast.ClassDef) -> Options:
    """Options of the one parent; several parents, or one given by an expression, are left to ``inspect``."""
    if len(node.bases) != 1 or not isinstance(node.bases[0], ast.Name):
        raise NotStatic(f"the parents of {node.name}")
    return static_options(module, node.bases[0].id)


def _dataclass_options(node: ast.ClassDef) -> Options:
    """Fields with literal defaults of a plain dataclass without parents."""
    decorator = node.decorator_list[0]
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    if len(node.decorator_list) > 1 or ast.unparse(called) != "dataclass" or node.bases:
        raise NotStatic(f"the decorators of {node.name}")
    keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
    keyword_only = any(k.arg == "kw_only" and ast.unparse(k.value) == "True" for k in keywords)
    options = {}
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and not _is_class_variable(item):
            default = None if item.value is None else _literal(item.value)
            options[item.target.id] = Option(item.target.id, item.value is None, default, keyword_only)
    return options


def _is_class_variable(item: ast.AnnAssign) -> bool:
    return ast.unparse(item.annotation).startswith("ClassVar")


def _parameters(args: ast.arguments) -> tuple[dict[str, Option], bool]:
    """Named parameters, and whether there is a ``**options``."""
    positional = [*args.posonlyargs, *args.args]
    padded = [None] * (len(positional) - len(args.defaults)) + list(args.defaults)
    options = {a.arg: _option(a, d, keyword_only=False) for a, d in zip(positional, padded, strict=True)}
    options |= {a.arg: _option(a, d) for a, d in zip(args.kwonlyargs, args.kw_defaults, strict=True)}
    return options, args.kwarg is not None


def _option(arg: ast.arg, default: ast.expr | None, *, keyword_only: bool = True) -> Option:
    return Option(arg.arg, default is None, None if default is None else _literal(default), keyword_only)


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise NotStatic(ast.unparse(node)) from error


@lru_cache(maxsize=256)
def _parse(path: str, changed: float) -> ast.Module:
    del changed  # part of the key: an edited file is read again
    try:
        return ast.parse(Path(path).read_text(encoding="utf-8"))
    except (SyntaxError, ValueError) as error:
        raise NotStatic(f"{path}: {error}") from error


def module_tree(module: str) -> ast.Module:
    """The parsed source of a module.

    Raises:
        NotStatic: there is none.
    """
    path = module_file(module)
    if path is None or path.suffix != ".py":
        raise NotStatic(module)
    return _parse(str(path), path.stat().st_mtime)


def module_file(module: str) -> Path | None:
    """Where a module would be loaded from, found without importing it or its parent packages."""
    first, *rest = module.split(".")
    spec = find_spec(first) if first not in sys.modules or sys.modules[first].__spec__ is not None else None
    name = first
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        name = f"{name}.{part}"
        spec = PathFinder.find_spec(name, list(spec.submodule_search_locations))
    return Path(spec.origin) if spec is not None and spec.origin not in (None, "built-in", "frozen") else None


def imported_names(module: str, tree: ast.Module) -> Iterator[tuple[str, str, str]]:
    """(module, name there, name here) of the ``from ... import`` lines at the top of a module."""
    file = module_file(module)
    package = module if file is not None and file.name == "__init__.py" else module.rpartition(".")[0]
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            source = ".".join(part for part in (base, node.module) if part)
            for name in node.names:
                yield source, name.name, name.asname or name.name
