"""What a method is: its four parts by name, where each was read, and when it should help."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from creditsim.errors import InputError, UnknownNameError, nearest

__all__ = ["Catalogue", "Method", "Use"]


@dataclass(frozen=True)
class Use:
    """A part as a method uses it: `name`, `name@preset` or `package.module:function`, and parameters."""

    spec: str
    params: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        params = ", ".join(f"{name}={value}" for name, value in self.params.items())
        return f"{self.spec}({params})" if params else self.spec


@dataclass(frozen=True)
class Method:
    """What a paper proposes: sampling design + process signals + estimator + update rule.

    `evidence` says for each part where it was read: paper, code, notes or inferred. `regime` says in one line where the
    method should help and where not.
    """

    name: str
    title: str
    paper: str
    evidence: Mapping[str, str]
    estimator: Use
    update: Use
    regime: str
    design: Use = Use("independent")
    signals: tuple[Use, ...] = ()
    timed: bool = False
    """Whether the policy sees the step besides its context, as planning over a finite horizon asks."""

    def described(self) -> dict[str, str]:
        """The parts as text, by kind, in the order in which data flow."""
        return {
            "design": str(self.design),
            "signals": ", ".join(map(str, self.signals)) or "none",
            "estimator": str(self.estimator),
            "update": str(self.update),
        }

    def replaced(self, **parts: Any) -> Method:
        """The method with some parts exchanged."""
        return replace(self, **parts)


class Catalogue:
    """Methods by name; a taken name is never silently replaced."""

    def __init__(self, *methods: Method) -> None:
        self._methods: dict[str, Method] = {}
        for method in methods:
            self.add(method)

    def add(self, method: Method) -> Method:
        """Add a method; a different one under a taken name raises."""
        if self._methods.setdefault(method.name, method) != method:
            raise InputError("method name", repr(method.name), "a free name")
        return method

    def remove(self, name: str) -> None:
        """Forget a method (for tests and interactive work)."""
        self._methods.pop(name, None)

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._methods)

    def __iter__(self) -> Iterator[Method]:
        return iter([self._methods[name] for name in self.names()])

    def __getitem__(self, name: str) -> Method:
        if name not in self._methods:
            raise UnknownNameError("method", repr(name), " | ".join(self.names()), nearest(name, self._methods))
        return self._methods[name]

    def __contains__(self, name: object) -> bool:
        return name in self._methods
