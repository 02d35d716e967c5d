"""What a claim is: a checkable statement with its source, its check, and the broken twin that the check must refute."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from creditsim.errors import InputError
from creditsim.registry import Evidence as Source
from creditsim.registry import Part, Registry

if TYPE_CHECKING:
    from creditsim.stats.verdict import Evidence

__all__ = ["CLAIMS", "KINDS", "SIZES", "Claim", "Size", "Trial", "Variant", "claim", "evidence_of", "facts"]

Size = Literal["quick", "standard", "full"]
SIZES: tuple[Size, ...] = ("quick", "standard", "full")
Kind = Literal["identity", "bias", "variance", "gradient", "convergence", "estimate", "cost"]
KINDS: tuple[Kind, ...] = ("identity", "bias", "variance", "gradient", "convergence", "estimate", "cost")
T = TypeVar("T")


@dataclass
class Trial:
    """What a check is given: how large to be, its error level and seed, and a place for the data of its figure."""

    size: Size
    alpha: float
    """Error level of every interval of this check (`theory.ledger.ROW_ALPHA` in the ledger)."""
    seed: int
    data: dict[str, np.ndarray] = field(default_factory=dict)

    def pick(self, quick: T, standard: T, full: T) -> T:
        """Return the value for this trial's size."""
        return {"quick": quick, "standard": standard, "full": full}[self.size]

    def table(self, **columns: Any) -> None:
        """Keep a table in long form (columns of one length) for the claim's figure; a second call appends rows."""
        arrays = {name: np.atleast_1d(np.asarray(values)) for name, values in columns.items()}
        length = max(a.size for a in arrays.values())
        if any(a.size not in (1, length) for a in arrays.values()):
            raise InputError("table", f"columns of {sorted({a.size for a in arrays.values()})} rows", "one length")
        arrays = {name: np.broadcast_to(a, (length,)) if a.size == 1 else a for name, a in arrays.items()}
        if self.data and set(self.data) != set(arrays):
            raise InputError("table", f"columns {sorted(arrays)}", f"columns {sorted(self.data)}")
        self.data = {n: np.concatenate([self.data[n], a]) if self.data else np.array(a) for n, a in arrays.items()}


Check = Callable[[Trial], "Evidence"]


@dataclass(frozen=True)
class Variant:
    """The same check applied to something else: a broken twin (must be refuted) or a control (must be supported)."""

    description: str
    check: Check


@dataclass(frozen=True)
class Claim(Part):
    """A registered claim. `evidence` (the source) says who states it: paper, code, notes, or our own inference.

    `text` is the check's docstring, `statement` the same in one line.
    """

    statement: str = ""
    text: str = ""
    claim_kind: Kind = "identity"
    figure: str = ""
    variants: dict[str, Variant] = field(default_factory=dict)

    @property
    def broken(self) -> Variant:
        """The broken twin; a claim without one is a defect and raises."""
        if "broken" not in self.variants:
            raise InputError(f"claim {self.name}", "no broken twin", "a twin registered with .broken(...)")
        return self.variants["broken"]

    @property
    def control(self) -> Variant | None:
        """A repaired statement that the check supports; wanted where the claim itself comes out refuted."""
        return self.variants.get("control")


CLAIMS: Registry[Claim] = Registry("claim", "theory.claims")


class _Handle:
    def __init__(self, entry: Claim) -> None:
        self._entry = entry
        self.__doc__ = entry.statement

    def __call__(self, trial: Trial) -> Evidence:
        return self._entry.function(trial)

    def broken(self, description: str) -> Callable[[Check], Check]:
        """Register the twin: what is broken, and the same check on it."""
        return self._variant("broken", description)

    def control(self, description: str) -> Callable[[Check], Check]:
        """Register a repaired statement that the same check must support, where the claim itself is refuted."""
        return self._variant("control", description)

    def _variant(self, kind: str, description: str) -> Callable[[Check], Check]:
        def register(check: Check) -> Check:
            self._entry.variants[kind] = Variant(description, check)
            return check

        return register


def claim(name: str, *, paper: str, source: Source, kind: Kind, figure: str = "") -> Callable[[Check], _Handle]:
    """Register a check `f(trial) -> Evidence`; its docstring is the statement, in words and as an inequality."""
    if kind not in KINDS:
        raise InputError(f"claim {name} kind", repr(kind), " | ".join(KINDS))

    def register(check: Check) -> _Handle:
        text = inspect.getdoc(check) or ""
        entry = Claim(
            "claim",
            name,
            check,
            paper=paper,
            evidence=source,
            statement=" ".join(text.split()),
            text=text,
            claim_kind=kind,
            figure=figure,
        )
        return _Handle(CLAIMS.add(entry))

    return register


def facts(evidence: Evidence) -> dict[str, Any]:
    """JSON form of an Evidence: plain numbers, None for what is not finite; `p_value` is None for exact statistics."""
    plain = {name: _plain(value) for name, value in asdict(evidence).items()}
    return {**plain, "p_value": float(evidence.p_value) if evidence.alpha > 0 else None}


def evidence_of(stored: Mapping[str, Any]) -> Evidence:
    """Inverse of `facts`, up to what is not finite: a missing end of an interval is infinite, a missing number NaN."""
    from creditsim.stats.verdict import Evidence

    low, high = stored["interval"]
    numbers = {
        name: math.nan if stored[name] is None else stored[name] for name in ("statistic", "prediction", "margin")
    }
    known = {f.name: stored[f.name] for f in fields(Evidence) if f.name in stored}
    return Evidence(
        **{
            **known,
            **numbers,
            "interval": (-math.inf if low is None else low, math.inf if high is None else high),
            "parts": tuple(evidence_of(part) for part in stored["parts"]),
        }
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(v) for v in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value
