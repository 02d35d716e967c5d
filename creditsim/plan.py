"""From a method to parts that run: every name found, every parameter decided, every column made before it is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from creditsim.errors import MissingColumnError, UnknownNameError, nearest
from creditsim.estimators.base import ESTIMATORS
from creditsim.estimators.base import resolve as resolve_estimator
from creditsim.methods import Method, Use
from creditsim.registry import Bound, Part, Registry, import_function, parse_spec
from creditsim.rollouts import FIELDS
from creditsim.sampling.designs.base import DESIGNS
from creditsim.signals.base import SIGNALS
from creditsim.updates.base import UPDATES

__all__ = ["RECORDABLE", "SAMPLED", "Plan", "check"]

SAMPLED = ("state", "next_state", "context", "log_prob")
"""Columns that every sampler makes."""
RECORDABLE = ("entropy", "sum_pi_squared")
"""Columns that it makes when asked."""


@dataclass(frozen=True)
class Plan:
    """A checked method: every part found, every parameter decided (a Schedule may stand for a number)."""

    method: Method
    design: Bound
    signals: tuple[Bound, ...]
    estimator: Bound
    update: Bound
    record: tuple[str, ...]
    """Columns that the sampler makes when asked and some part needs."""
    credit: tuple[str, ...]
    """Columns of the estimator that the update uses."""
    tables: tuple[str, ...]
    """Tables that the loop must put into the state for the parts that ask for them."""

    @property
    def parts(self) -> tuple[Bound, ...]:
        """All parts, in the order in which data flow."""
        return (self.design, *self.signals, self.estimator, self.update)


def check(method: Method, **params: Mapping[str, Any]) -> Plan:
    """Find a method's parts and match what each needs with what those before it make.

    `params` are parameters by kind (`design`, `estimator`, `update`) or by a signal's name, over the method's own.
    Errors, all before anything runs: unknown parts, presets and parameters; a column that nothing makes before the part
    that needs it, naming the part, the column, and a part that makes it or the nearest column.
    """
    kinds = {"design", "estimator", "update", *(parse_spec(use.spec)[0] for use in method.signals)}
    for kind in params:
        if kind not in kinds:
            field = f"method {method.name} part"
            raise UnknownNameError(field, repr(kind), " | ".join(sorted(kinds)), nearest(kind, kinds))
    design = _bind(DESIGNS, "design", method.design, params.get("design", {}))
    signals = tuple(_bind(SIGNALS, "signal", use, params.get(parse_spec(use.spec)[0], {})) for use in method.signals)
    estimator = resolve_estimator(method.estimator.spec, **{**method.estimator.params, **params.get("estimator", {})})
    update = _bind(UPDATES, "update", method.update, params.get("update", {}))
    updating = [update, *_named_by(update)]
    parts = [design, *signals, estimator, *updating]
    _match(method, parts)
    wanted = {name for bound in parts for name in bound.part.needs}
    return Plan(
        method=method,
        design=design,
        signals=signals,
        estimator=estimator,
        update=update,
        record=tuple(name for name in RECORDABLE if name in wanted),
        credit=tuple(dict.fromkeys(("advantage", *(name for bound in updating for name in bound.part.needs)))),
        tables=tuple(dict.fromkeys(name for bound in parts for name in bound.part.options.get("tables", ()))),
    )


def _match(method: Method, parts: Iterable[Bound]) -> None:
    have = {*FIELDS, *SAMPLED, *RECORDABLE}
    for bound in parts:
        for name in bound.part.needs:
            if name not in have:
                raise MissingColumnError(
                    f"method {method.name}, {bound.part.kind} {bound.part.name}",
                    f"no column {name!r} from the parts before it",
                    " | ".join(sorted(have)),
                    _maker(name) or nearest(name, have),
                )
        have |= set(bound.part.makes)
        if bound.part.kind == "estimator":
            have.add("advantage")  # whatever else it makes; a user's own function declares nothing


def _named_by(bound: Bound) -> list[Bound]:
    """The parts that a part's parameters name, such as the loss of a surrogate update."""
    named = bound.part.options.get("parts", {})
    return [registry.bind(bound.params[name]) for name, registry in named.items()]


def _maker(column: str) -> str | None:
    """A part that makes a column, as a user would ask for it."""
    for registry in (SIGNALS, DESIGNS, ESTIMATORS):
        for part in registry:
            if column in part.makes:
                return f"{part.kind} {part.name}"
    return None


def _bind(registry: Registry[Part], kind: str, use: Use, params: Mapping[str, Any]) -> Bound:
    name, preset = parse_spec(use.spec)
    part = _user_part(registry, kind, name) if ":" in name else registry[name]
    return part.bind(preset, **{**use.params, **params})


def _user_part(registry: Registry[Part], kind: str, name: str) -> Part:
    function = import_function(kind, name)
    registered = (part for part in registry if part.function is function)
    return next(registered, Part(kind, name, function, paper="user"))
