"""What every loss shares: registration, the door for arrays, and how losses of rows become one number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeVar

from creditsim.arrays import Array, namespace, native, restorer
from creditsim.errors import InputError, choose
from creditsim.ragged import rows_of
from creditsim.registry import Evidence, Part, Registry
from creditsim.segments import segment_count, segment_sum

__all__ = ["AGGREGATIONS", "LOSSES", "Aggregation", "LossResult", "Rows", "loss", "loss_and_derivative"]

Aggregation = Literal[
    "token-mean", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-norm", "seq-mean-token-sum-norm"
]
AGGREGATIONS: tuple[Aggregation, ...] = (
    "token-mean",
    "seq-mean-token-sum",
    "seq-mean-token-mean",
    "seq-mean-token-norm",
    "seq-mean-token-sum-norm",
)
F = TypeVar("F", bound=Callable[..., "LossResult"])

LOSSES: Registry[Part] = Registry("loss", "creditsim.updates.losses")


@dataclass(frozen=True)
class LossResult:
    """A loss to be minimised: its value, its derivative by each row's log-probability, and what to log.

    `derivative` (M,) is in the array library and type of the log-probabilities. `value` and each of `metrics` are
    numbers, or (B,) where the sequences were told apart by `batch`.
    """

    value: Any
    derivative: Array
    metrics: dict[str, Any]


def loss(
    name: str,
    *,
    paper: str,
    evidence: Evidence = "inferred",
    presets: Mapping[str, Mapping[str, Any]] | None = None,
) -> Callable[[F], F]:
    """Register `f(log_prob, old_log_prob, advantage, offsets, weight=None, batch=None, *, params) -> LossResult`."""

    def register(function: F) -> F:
        LOSSES.add(Part("loss", name, function, paper=paper, evidence=evidence, presets=presets or {}))
        return function

    return register


def loss_and_derivative(
    spec: str,
    log_prob: Array,
    old_log_prob: Array,
    advantage: Array,
    offsets: Array,
    weight: Array | None = None,
    batch: Array | None = None,
    **overrides: Any,
) -> LossResult:
    """Evaluate the registered loss `name` or `name@preset`, with parameters overridden."""
    return LOSSES.bind(spec, **overrides)(log_prob, old_log_prob, advantage, offsets, weight, batch)


@dataclass(frozen=True)
class Rows:
    """The arguments of a loss on native arrays in float64, checked; N sequences, M rows, B batches."""

    log_prob: Array
    old_log_prob: Array
    advantage: Array
    weight: Array
    """(M,) weight of each row, >= 0; 0 leaves it out."""
    sequence: Array
    """(M,) sequence of each row."""
    batch: Array
    """(N,) batch of each sequence."""
    n_batches: int
    finish: Callable[[Array], Array]
    """Brings a derivative back to the caller's array library and type."""
    single: bool
    """Whether the caller gave no `batch`: results are numbers then."""

    @classmethod
    def read(
        cls,
        log_prob: Array,
        old_log_prob: Array,
        advantage: Array,
        offsets: Array,
        weight: Array | None = None,
        batch: Array | None = None,
    ) -> Rows:
        """Take arguments of any array library; InputError for shapes that do not fit and weights below 0."""
        back, given = restorer(log_prob), native(log_prob)
        xp = namespace(given)
        offsets = xp.asarray(native(offsets))
        m, n = int(given.shape[0]), int(offsets.shape[0]) - 1
        if n < 0 or int(offsets[0]) != 0 or int(offsets[-1]) != m:
            raise InputError("offsets", f"{offsets.shape[0]} entries", f"a rise from 0 to {m}, the number of rows")

        def row(field: str, values: Array | None) -> Array:
            array = xp.ones(m) if values is None else xp.asarray(native(values)).astype(float)
            if array.shape != (m,):
                raise InputError(field, f"shape {tuple(array.shape)}", f"({m},), one entry per row")
            return array

        weights = row("weight", weight)
        if bool((weights < 0).any()):
            raise InputError("weight", f"{float(weights.min())}", "numbers >= 0")
        batches = xp.zeros(n, xp.int64) if batch is None else xp.asarray(native(batch))
        if batches.shape != (n,):
            raise InputError("batch", f"shape {tuple(batches.shape)}", f"({n},), one id per sequence")
        return cls(
            log_prob=row("log_prob", log_prob),
            old_log_prob=row("old_log_prob", old_log_prob),
            advantage=row("advantage", advantage),
            weight=weights,
            sequence=rows_of(offsets, m),
            batch=batches,
            n_batches=int(batches.max()) + 1 if n else 1,
            finish=lambda y: back(y.astype(given.dtype)),
            single=batch is None,
        )

    @cached_property
    def batch_rows(self) -> Array:
        """(M,) batch of each row."""
        return self.batch[self.sequence]

    def sequence_sum(self, x: Array) -> Array:
        """Sum (N,) of x (M,) over the rows of each sequence."""
        return segment_sum(x, self.sequence, int(self.batch.shape[0]))

    def sequence_mean(self, x: Array) -> Array:
        """Weighted mean of x (M,) over each sequence, repeated to its rows; 0 for a sequence without weight."""
        total = self.sequence_sum(self.weight)
        return (self.sequence_sum(self.weight * x) / namespace(x).where(total > 0, total, 1.0))[self.sequence]

    def mean(self, x: Array) -> Any:
        """Weighted mean over the rows of each batch: what metrics are, whatever the aggregation."""
        total = segment_sum(self.weight, self.batch_rows, self.n_batches)
        means = segment_sum(self.weight * x, self.batch_rows, self.n_batches)
        return self._told(means / namespace(x).where(total > 0, total, 1.0))

    def result(
        self, term: Array, slope: Array, aggregation: Aggregation, norm: float | None, **metrics: Any
    ) -> LossResult:
        """Aggregate the rows' losses `term` (M,) and their derivatives by their own log-probability, `slope` (M,)."""
        share = self._share(aggregation, norm)
        value = segment_sum(share * term, self.batch_rows, self.n_batches)
        return LossResult(self._told(value), self.finish(share * slope), metrics)

    def _share(self, aggregation: Aggregation, norm: float | None) -> Array:
        """(M,) factors by which the rows' losses add up to the loss of their batch.

        Sequences without weight count nowhere, and a batch without weight has loss 0.
        """
        choose("aggregation", aggregation, AGGREGATIONS)
        xp = namespace(self.weight)
        if norm is not None and not aggregation.endswith("norm"):
            raise InputError("norm", norm, f"None for aggregation={aggregation!r}")
        if aggregation == "token-mean":
            total = segment_sum(self.weight, self.batch_rows, self.n_batches)
            return self.weight / xp.where(total > 0, total, 1.0)[self.batch_rows]
        factor = 1.0
        if aggregation.endswith("norm"):
            if norm is None or not norm > 0:
                raise InputError(
                    "norm", norm, f"a number > 0 for aggregation={aggregation!r}, e.g. the longest response"
                )
            factor = 1.0 / norm
        if aggregation == "seq-mean-token-sum-norm":
            return self.weight * factor
        per_sequence = self.sequence_sum(self.weight)
        counted = segment_count(per_sequence, self.batch, self.n_batches, where=per_sequence > 0)
        divisor = xp.where(counted > 0, counted, 1)[self.batch].astype(float)
        if aggregation == "seq-mean-token-mean":
            divisor = divisor * xp.where(per_sequence > 0, per_sequence, 1.0)
        return self.weight * factor / divisor[self.sequence]

    def _told(self, values: Array) -> Any:
        return float(values[0]) if self.single else values
