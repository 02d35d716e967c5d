"""Which files of this package a claim's result depends on, so that an edit recomputes what it touches and no more."""

from __future__ import annotations

import ast
import importlib.util
from functools import cache
from pathlib import Path

__all__ = ["modules_behind"]


@cache
def modules_behind(module: str) -> tuple[str, ...]:
    """Names of `module` and of all modules of `theory` that it imports, directly or not, also inside functions.

    The library itself is not listed: cells hash it as a whole.
    """
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [other for other in _imports(name) if other.split(".")[0] == "theory"]
    return tuple(sorted(found))


@cache
def _imports(module: str) -> tuple[str, ...]:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return ()
    names = []
    for node in ast.walk(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # `from package import name` may mean a module of the package.
            names += [node.module, *(f"{node.module}.{a.name}" for a in node.names if _is_module(node.module, a.name))]
    return tuple(names)


def _is_module(package: str, name: str) -> bool:
    if package.split(".")[0] != "theory":
        return False
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    return any((Path(folder) / f"{name}.py").exists() for folder in folders or ())
