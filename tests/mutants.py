"""Mutants: a module of the library with one place of its source changed, run in plain Python.

`mutant(module, old, new)` changes a text; `arithmetic(module)` finds every place where an operator can be exchanged.
A check that is worth its name rejects them, which is what the tests that use this assert.
"""

from __future__ import annotations

import ast
import copy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import numpy as np

_SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return int(value) if isinstance(value, np.generic) and value.dtype.kind == "i" else value


def uncompiled(function: Callable[..., Any] | None = None, **_: Any) -> Any:
    """Stand in for `creditsim.jit.kernel`: the function itself; whole numbers leave it as Python's, as from Numba."""
    if function is None:
        return uncompiled

    def call(*args: Any) -> Any:
        with np.errstate(over="ignore"):
            return _plain(function(*args))

    return call


def source(module: ModuleType) -> str:
    """The module's text, its kernels left uncompiled."""
    text = Path(str(module.__file__)).read_text()
    return text.replace("from creditsim.jit import kernel\n", "from mutants import uncompiled as kernel\n")


def made(module: ModuleType, code: str | ast.Module) -> ModuleType:
    """Run changed code in the place of a module, without putting it where others would import it."""
    new = ModuleType(module.__name__)
    new.__dict__.update(__package__=module.__package__, __file__=module.__file__)
    exec(compile(code, f"<mutant of {module.__name__}>", "exec"), new.__dict__)  # noqa: S102 # our own sources
    return new


def mutant(module: ModuleType, old: str = "", new: str = "") -> ModuleType:
    """The module with the text `old` exchanged for `new`; nothing to exchange is an error of the test."""
    text = source(module)
    assert old in text, f"{module.__name__} has no {old!r} any more"
    return made(module, text.replace(old, new))


@dataclass(frozen=True)
class Place:
    """An operator of a module's source: its number among them, its line and what it is."""

    module: ModuleType
    number: int
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.module.__name__.rpartition('.')[2]}:{self.line}: {self.text}"

    def mutant(self) -> ModuleType:
        """The module with this operator exchanged."""
        tree = ast.parse(source(self.module))
        holder, field, index = list(_operators(tree))[self.number]
        value = getattr(holder, field)
        if index is None:
            setattr(holder, field, _SWAPS[type(value)]())
        else:
            value[index] = _SWAPS[type(value[index])]()
        return made(self.module, ast.fix_missing_locations(tree))


def _operators(tree: ast.AST) -> Iterator[tuple[Any, str, int | None]]:
    """Operators in functions, in order; guards that only raise are left out, for no number depends on them."""
    guards = [n for n in ast.walk(tree) if isinstance(n, ast.If) and all(isinstance(s, ast.Raise) for s in n.body)]
    inside = {id(inner) for guard in guards for inner in (*ast.walk(guard.test), *ast.walk(guard.body[0]))}
    for function in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)):
        for node in (inner for statement in function.body for inner in ast.walk(statement)):
            if id(node) in inside:
                continue
            if isinstance(node, (ast.BinOp, ast.AugAssign, ast.BoolOp)) and type(node.op) in _SWAPS:
                yield node, "op", None
            elif isinstance(node, ast.Compare):
                for index, op in enumerate(node.ops):
                    if type(op) in _SWAPS:
                        yield node, "ops", index


@contextmanager
def at_most(lines: int = 500_000) -> Iterator[None]:
    """Raise TimeoutError where mutants run more lines than that: some never end. Lines of other code do not count."""
    left = lines

    def count(_: FrameType, event: str, __: Any) -> Any:
        nonlocal left
        left -= event == "line"
        if left < 0:
            raise TimeoutError
        return count

    def enter(frame: FrameType, _: str, __: Any) -> Any:
        return count if frame.f_code.co_filename.startswith("<mutant of") else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        yield
    finally:
        sys.settrace(before)


def arithmetic(module: ModuleType) -> list[Place]:
    """Every operator of the module's functions that can be exchanged."""
    tree = ast.parse(source(module))
    return [
        Place(module, number, holder.lineno, ast.unparse(copy.deepcopy(holder)))
        for number, (holder, _, _) in enumerate(_operators(tree))
    ]
