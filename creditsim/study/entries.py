"""The short language of grids: `name@preset(parameter=value)` and `kind:number:number@temperature`."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from creditsim.errors import InputError, UnknownNameError, nearest

__all__ = ["POLICIES", "Entry", "PolicyEntry", "parse_entry", "parse_policy"]

_ENTRY = re.compile(r"\s*([^\s()]+)\s*(?:\((.*)\))?\s*", re.DOTALL)
# A shell strips quotes: a bare word after `=` is a string, as it is after --params.
_BARE = re.compile(r"(=\s*)([A-Za-z_][\w.@:/-]*)(?=\s*(?:,|$))")
_WORDS = ("true", "false", "inf", "nan")


@dataclass(frozen=True)
class Entry:
    """A name with its parameters; `str` gives the one spelling that stands for it in ids."""

    name: str
    params: Mapping[str, Any]

    def __str__(self) -> str:
        inner = ", ".join(f"{name}={_spelled(value)}" for name, value in sorted(self.params.items()))
        return f"{self.name}({inner})" if inner else self.name


def parse_entry(text: str, field: str) -> Entry:
    """Read `name`, `name@preset` or `package.module:function`, with parameters in brackets as TOML would have them.

    `gigpo@verl-agent(step_weight=0.5)`, `chain@small(length=4, slip=0.1)`, `gigpo(normalize=mean)`;
    `gigpo(estimator.gamma=0.9)` gives the nested {"estimator": {"gamma": 0.9}}. Errors: InputError naming `field`.
    """
    match = _ENTRY.fullmatch(text)
    if match is None:
        raise InputError(field, repr(text), "name or name(parameter=value, ...)")
    inner = _BARE.sub(lambda m: m[0] if m[2] in _WORDS else f'{m[1]}"{m[2]}"', match[2] or "")
    try:
        return Entry(match[1], tomllib.loads(f"value = {{{inner}}}")["value"])
    except tomllib.TOMLDecodeError:
        raise InputError(field, repr(text), "parameters like (length=4, slip=0.1), values as in TOML") from None


def _spelled(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_spelled(inner)}" for key, inner in sorted(value.items())) + "}"
    return str(value)


@dataclass(frozen=True)
class _PolicyKind:
    form: str
    numbers: tuple[type, ...]
    defaults: tuple[float, ...]


POLICIES: dict[str, _PolicyKind] = {
    "uniform": _PolicyKind("uniform", (), ()),
    "random": _PolicyKind("random:SEED:SCALE", (int, float), (0, 1.0)),
    "trained": _PolicyKind("trained:UPDATES:RATE", (int, float), (50, 0.1)),
}
"""Kinds of policies a study may ask for; any of them may end in @TEMPERATURE."""


@dataclass(frozen=True)
class PolicyEntry:
    """A parsed policy: its kind, its numbers (defaults filled in) and its temperature."""

    kind: str
    numbers: tuple[float, ...]
    temperature: float

    def __str__(self) -> str:
        text = ":".join([self.kind, *(repr(number).removesuffix(".0") for number in self.numbers)])
        return text if self.temperature == 1.0 else f"{text}@{self.temperature!r}".removesuffix(".0")


def parse_policy(text: str, field: str = "policies") -> PolicyEntry:
    """Read a policy.

    `uniform`; `random:SEED:SCALE`, normal logits of deviation SCALE; `trained:UPDATES:RATE`, Adam on the exact gradient
    from the uniform policy. `@T` at the end divides logits by T. Errors: InputError naming `field`.
    """
    forms = " | ".join(kind.form for kind in POLICIES.values()) + ", with @TEMPERATURE at the end if wanted"
    body, _, heat = text.strip().partition("@")
    name, *rest = body.split(":")
    if name not in POLICIES:
        raise UnknownNameError(field, repr(text), forms, nearest(name, POLICIES))
    kind = POLICIES[name]
    try:
        if len(rest) > len(kind.numbers):
            raise ValueError
        given = [kind.numbers[i](part) for i, part in enumerate(rest)]
        temperature = float(heat) if "@" in text else 1.0
        if any(number < 0 for number in given) or not all(map(math.isfinite, [*given, temperature])):
            raise ValueError
        if not temperature > 0:
            raise ValueError
    except ValueError:
        raise InputError(field, repr(text), f"{kind.form}@TEMPERATURE, numbers >= 0, temperature > 0") from None
    return PolicyEntry(name, (*given, *kind.defaults[len(given) :]), temperature)
