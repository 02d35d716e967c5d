"""Named, documented, parametrised functions: what estimators, designs, signals, updates and environments are."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Generic, Literal, TypeVar

from creditsim.errors import InputError, UnknownNameError, nearest

__all__ = ["EVIDENCE", "Bound", "Evidence", "Part", "Registry", "import_function", "parse_spec"]

Evidence = Literal["paper", "code", "notes", "inferred"]
EVIDENCE: tuple[Evidence, ...] = ("paper", "code", "notes", "inferred")


@dataclass(frozen=True)
class Part:
    """A registered function with what a reader and a runner must know of it.

    `evidence` says where the formula was read: the paper, the official code, reading notes, or our own inference.
    `needs` and `makes` name columns of Rollouts. `presets` maps a convention's name to parameter values.
    """

    kind: str
    name: str
    function: Callable[..., Any]
    paper: str = ""
    evidence: Evidence = "inferred"
    needs: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def defaults(self) -> Mapping[str, Any]:
        """Keyword parameters and their defaults; `inspect.Parameter.empty` marks one that must be given."""
        parameters = inspect.signature(self.function).parameters.values()
        return MappingProxyType({p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY})

    @cached_property
    def kinds(self) -> Mapping[str, str]:
        """Keyword parameters and their annotations as text."""
        parameters = inspect.signature(self.function).parameters.values()
        return MappingProxyType({p.name: getattr(p.annotation, "__name__", str(p.annotation)) for p in parameters})

    @property
    def summary(self) -> str:
        """First sentence of the docstring."""
        return (inspect.getdoc(self.function) or "").split("\n\n")[0].replace("\n", " ")

    def bind(self, preset: str | None = None, **overrides: Any) -> Bound:
        """Fix parameters: defaults, then the preset's values, then `overrides`."""
        if preset is not None and preset not in self.presets:
            allowed = " | ".join(self.presets) or "no presets"
            raise UnknownNameError(
                f"{self.kind} {self.name} preset", repr(preset), allowed, nearest(preset, self.presets)
            )
        params = dict(self.defaults) | dict(self.presets.get(preset or "", {}))
        for name in overrides:
            if name not in params:
                allowed = " | ".join(params) or "no parameters"
                raise UnknownNameError(f"{self.kind} {self.name} parameter", repr(name), allowed, nearest(name, params))
            _check_kind(f"{self.kind} {self.name} parameter {name}", self.kinds[name], overrides[name])
        params |= overrides
        missing = [name for name, value in params.items() if value is inspect.Parameter.empty]
        if missing:
            raise InputError(f"{self.kind} {self.name} parameter {missing[0]}", "nothing", "a value; it has no default")
        return Bound(self, preset, MappingProxyType(params))


@dataclass(frozen=True)
class Bound:
    """A part with every parameter decided; calling it calls the part's function."""

    part: Part
    preset: str | None
    params: Mapping[str, Any]

    @property
    def label(self) -> str:
        """`name` or `name@preset`, as the user would write it."""
        return self.part.name if self.preset is None else f"{self.part.name}@{self.preset}"

    def __call__(self, *args: Any) -> Any:
        """Call the part's function with the parameters decided."""
        return self.part.function(*args, **self.params)


def parse_spec(spec: str) -> tuple[str, str | None]:
    """Split `name@preset` into its two halves; the preset may be absent."""
    name, _, preset = spec.partition("@")
    return name, (preset or None)


def import_function(kind: str, name: str) -> Callable[..., Any]:
    """Return the function that `package.module:function` names; modules beside the current folder are found too."""
    module, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        function = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UnknownNameError(kind, repr(name), f"an importable package.module:function ({error})") from None
    if not callable(function):
        raise InputError(kind, repr(name), "a function")
    return function


P = TypeVar("P", bound=Part)


class Registry(Generic[P]):
    """Parts of one kind by name; a taken name is never silently replaced.

    `package`, when given, is imported module by module on first use, so that adding a part is adding a file.
    """

    def __init__(self, kind: str, package: str | None = None) -> None:
        self.kind = kind
        self._package = package
        self._parts: dict[str, P] = {}

    def add(self, part: P) -> P:
        """Register a part; the same function again is harmless, another one under the same name raises."""
        taken = self._parts.get(part.name)
        if taken is not None and not _same_function(taken.function, part.function):
            where = f"{taken.function.__module__}.{taken.function.__qualname__}"
            raise InputError(f"{self.kind} name", repr(part.name), f"a free name; {where} is registered under it")
        self._parts[part.name] = part
        return part

    def remove(self, name: str) -> None:
        """Forget a part (for tests and interactive work)."""
        self._parts.pop(name, None)

    def names(self) -> list[str]:
        """All names, sorted."""
        self._load()
        return sorted(self._parts)

    def __iter__(self) -> Iterator[P]:
        return iter([self._parts[name] for name in self.names()])

    def __getitem__(self, name: str) -> P:
        self._load()
        if name not in self._parts:
            raise UnknownNameError(self.kind, repr(name), _listed(sorted(self._parts)), nearest(name, self._parts))
        return self._parts[name]

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._parts

    def bind(self, spec: str, **overrides: Any) -> Bound:
        """Resolve `name` or `name@preset` and fix its parameters."""
        name, preset = parse_spec(spec)
        return self[name].bind(preset, **overrides)

    def _load(self) -> None:
        package, self._package = self._package, None
        if package is not None:
            module = importlib.import_module(package)
            for info in pkgutil.iter_modules(module.__path__):
                importlib.import_module(f"{package}.{info.name}")


_FEW = 8
"""So many names are told in an error; of more, how many there are and the nearest."""


def _listed(names: list[str]) -> str:
    return " | ".join(names) if len(names) <= _FEW else f"one of {len(names)} names"


_CONTAINERS = (str, list, tuple, dict)
_REFUSED: Mapping[str, tuple[tuple[type, ...], str]] = {
    "bool": ((int, float, *_CONTAINERS), "true or false"),
    "int": ((bool, float, *_CONTAINERS), "a whole number"),
    "float": ((bool, *_CONTAINERS), "a number"),
    "str": ((bool, int, float, list, tuple, dict), "text"),
}


def _check_kind(field: str, kind: str, value: Any) -> None:
    """Refuse plain values of another kind than annotated; richer annotations and schedules are the part's affair."""
    refused, allowed = _REFUSED.get(kind, ((), ""))
    if isinstance(value, refused) and not (kind == "bool" and isinstance(value, bool)):
        raise InputError(field, repr(value), allowed)


def _same_function(a: Callable[..., Any], b: Callable[..., Any]) -> bool:
    # A module run twice (importlib.reload, a notebook cell) makes a new object of the same source place.
    return a is b or (
        (a.__module__, a.__qualname__) == (b.__module__, b.__qualname__)
        and getattr(a, "__code__", None) == getattr(b, "__code__", None)
    )
