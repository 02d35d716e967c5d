"""One exception tree: each error is also the standard-library error it stands for."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "CorruptFileError",
    "CreditsimError",
    "ExtraMissingError",
    "InputError",
    "MissingColumnError",
    "NumericalError",
    "ResourceError",
    "TooLargeError",
    "UnknownNameError",
    "choose",
    "nearest",
]


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice most like `name`, or None when nothing is close."""
    matches = difflib.get_close_matches(str(name), list(choices), n=1, cutoff=0.4)
    return matches[0] if matches else None


class CreditsimError(Exception):
    """Root of every error that creditsim raises on purpose."""


class InputError(CreditsimError, ValueError):
    """Bad input, told in one line: field, what was got, what was allowed, nearest match."""

    def __init__(self, field: str, got: object, allowed: str, nearest: str | None = None) -> None:
        super().__init__(field, got, allowed, nearest)
        self.field, self.got, self.allowed, self.nearest = field, got, allowed, nearest

    def __str__(self) -> str:
        line = f"{self.field}: got {self.got}, allowed {self.allowed}"
        return f"{line}; nearest: {self.nearest}" if self.nearest else line


class UnknownNameError(InputError, LookupError):
    """A name that no registry entry, parameter or column bears."""

    __str__ = InputError.__str__


class MissingColumnError(InputError):
    """A part needs a column that the rollouts do not carry."""


class TooLargeError(InputError):
    """The exact answer asked for would not fit the stated limit."""


class CorruptFileError(InputError):
    """A file that cannot be read as what it says it is."""


class NumericalError(CreditsimError, ArithmeticError):
    """A numerical method did not reach the accuracy it promises."""


class ResourceError(CreditsimError, RuntimeError):
    """Disk, memory or a worker process gave out; the message says what is safe."""


class ExtraMissingError(CreditsimError, ImportError):
    """An optional dependency is not installed; the message names the install command."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(package, extra)
        self.package, self.extra = package, extra

    def __str__(self) -> str:
        return f"{self.package} is not installed: pip install 'creditsim[{self.extra}]'"


def choose(field: str, got: str, allowed: Iterable[str]) -> str:
    """Return `got` if it is one of `allowed`; raise UnknownNameError with the nearest match otherwise."""
    options = list(allowed)
    if got not in options:
        raise UnknownNameError(field, repr(got), " | ".join(options), nearest(str(got), options))
    return got
