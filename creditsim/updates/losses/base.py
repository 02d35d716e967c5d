"""What every loss shares: registration, the door for arrays, and how losses of rows become one number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from types import MappingProxyType
from typing import Any, Literal, TypeVar

import numpy as np

from creditsim.arrays import Array, namespace, native, restorer
from creditsim.errors import InputError, MissingColumnError, choose, nearest
from creditsim.ragged import repeated, rows_of
from creditsim.registry import Bound, Evidence, Part, Registry
from creditsim.segments import segment_count, segment_sum, sum_rows

__all__ = [
    "AGGREGATIONS",
    "LOSSES",
    "NO_COLUMNS",
    "STEP_AGGREGATIONS",
    "Aggregation",
    "LossResult",
    "Rows",
    "StepAggregation",
    "Units",
    "evaluate",
    "loss",
    "loss_and_derivative",
]

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
StepAggregation = Literal[Aggregation, "seq-mean-step-mean", "step-mean"]
STEP_AGGREGATIONS: tuple[StepAggregation, ...] = (*AGGREGATIONS, "seq-mean-step-mean", "step-mean")
"""Those of losses that know the steps: mean over rows of a step, then over steps of a sequence, or of the batch."""
NO_COLUMNS: Mapping[str, Array] = MappingProxyType({})
F = TypeVar("F", bound=Callable[..., "LossResult"])

LOSSES: Registry[Part] = Registry("loss", "creditsim.updates.losses")


@dataclass(frozen=True)
class LossResult:
    """A loss to be minimised: its value, its derivative by each row's log-probability, and what to log.

    `derivative` (M,) is in the array library and type of the log-probabilities. `value` and each of `metrics` are
    numbers, or (B,) where the sequences were told apart by `batch`. All but the derivative is computed when asked for:
    a training loop that logs nothing need not wait for it.
    """

    derivative: Array
    shares: Callable[[], Array]
    total: Callable[[], Any]
    measure: Callable[[], dict[str, Any]]

    @cached_property
    def value(self) -> Any:
        """The loss."""
        return self.total()

    @cached_property
    def share(self) -> Array:
        """(M,) factors by which the rows' losses add up to the value.

        What else is aggregated as this loss (a KL penalty, an entropy bonus) uses them.
        """
        return self.shares()

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """What to log, by name."""
        return self.measure()


def loss(
    name: str,
    *,
    paper: str,
    evidence: Evidence = "inferred",
    needs: tuple[str, ...] = (),
    presets: Mapping[str, Mapping[str, Any]] | None = None,
) -> Callable[[F], F]:
    """Register `f(log_prob, old_log_prob, advantage, offsets, weight=None, batch=None, *, params) -> LossResult`.

    One that declares `needs`, columns per row beside these, takes them as `columns`, name -> (M, ...), after `batch`.
    """

    def register(function: F) -> F:
        LOSSES.add(Part("loss", name, function, paper=paper, evidence=evidence, needs=needs, presets=presets or {}))
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
    columns: Mapping[str, Array] = NO_COLUMNS,
    **overrides: Any,
) -> LossResult:
    """Evaluate the registered loss `name` or `name@preset`, with parameters overridden; `columns` may hold others too.

    Errors: those of the loss; MissingColumnError for a column that it needs and `columns` has not.
    """
    bound = LOSSES.bind(spec, **overrides)
    return evaluate(bound, log_prob, old_log_prob, advantage, offsets, weight, batch, columns)


def evaluate(
    bound: Bound,
    log_prob: Array,
    old_log_prob: Array,
    advantage: Array,
    offsets: Array,
    weight: Array | None,
    batch: Array | None,
    columns: Mapping[str, Array],
) -> LossResult:
    """Call a bound loss with the columns it needs, if it needs any."""
    arguments = (log_prob, old_log_prob, advantage, offsets, weight, batch)
    if not bound.part.needs:
        return bound(*arguments)
    return bound(*arguments, {name: columns[name] for name in bound.part.needs if name in columns})


@dataclass(frozen=True, eq=False)
class Units:
    """n ranges of neighbouring rows that are averaged first: sequences, or the steps inside them."""

    offsets: Array
    """(n+1,) rows of unit u are `offsets[u]:offsets[u+1]`."""
    batch: Array
    """(n,) batch of each unit."""
    n_rows: int
    sequence: Array | None = None
    """(n,) sequence of each unit; None where the units are the sequences."""

    @cached_property
    def rows(self) -> Array:
        """(M,) unit of each row."""
        return rows_of(self.offsets, self.n_rows)

    def repeat(self, x: Array) -> Array:
        """Repeat a value per unit (n,) to its rows (M,)."""
        return repeated(x, self.offsets, self.n_rows)

    def total(self, x: Array) -> Array:
        """(n,) sum of x (M,) over the rows of each unit."""
        return sum_rows(x, self.offsets)


@dataclass(frozen=True)
class Rows:
    """The arguments of a loss on native arrays in float64, checked; N sequences, M rows, B batches."""

    log_prob: Array
    old_log_prob: Array
    advantage: Array
    given_weight: Array | None
    """(M,) weight of each row, >= 0; 0 leaves it out. None: 1 everywhere."""
    sequences: Units
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
        offsets = xp.asarray(native(offsets)).astype(xp.int64, copy=False)
        m, n = int(given.shape[0]), int(offsets.shape[0]) - 1
        if n < 0 or int(offsets[0]) != 0 or int(offsets[-1]) != m or bool((offsets[1:] < offsets[:-1]).any()):
            raise InputError("offsets", f"{offsets.shape[0]} entries", f"a rise from 0 to {m}, the number of rows")

        def row(field: str, values: Array) -> Array:
            return _per_row(field, values, given).astype(float, copy=False)

        weights = None if weight is None else row("weight", weight)
        if weights is not None and bool((weights < 0).any()):
            raise InputError("weight", f"{float(weights.min())}", "numbers >= 0")
        batches = xp.zeros(n, xp.int64) if batch is None else xp.asarray(native(batch)).astype(xp.int64, copy=False)
        if batches.shape != (n,):
            raise InputError("batch", f"shape {tuple(batches.shape)}", f"({n},), one id per sequence")
        if bool((batches < 0).any()):
            raise InputError("batch", int(batches.min()), "ids from 0 on")
        return cls(
            log_prob=row("log_prob", log_prob),
            old_log_prob=row("old_log_prob", old_log_prob),
            advantage=row("advantage", advantage),
            given_weight=weights,
            sequences=Units(offsets, batches, m),
            n_batches=int(batches.max()) + 1 if n else 1,
            finish=lambda y: back(y.astype(given.dtype, copy=False)),
            single=batch is None,
        )

    @cached_property
    def weight(self) -> Array:
        """(M,) weight of each row."""
        return namespace(self.log_prob).ones(self.log_prob.shape) if self.given_weight is None else self.given_weight

    @cached_property
    def batch_rows(self) -> Array:
        """(M,) batch of each row."""
        return self.sequences.repeat(self.sequences.batch)

    def column(self, columns: Mapping[str, Array], name: str) -> Array:
        """(M,) a column that the loss needs, on native arrays; MissingColumnError, InputError for another shape."""
        if name not in columns:
            have = " | ".join(columns) or "none"
            raise MissingColumnError("loss column", f"no {name!r}", have, nearest(name, columns))
        return _per_row(name, columns[name], self.log_prob)

    def steps(self, columns: Mapping[str, Array]) -> Units:
        """Neighbours of one sequence with equal `step` are one step."""
        xp, step, sequences = namespace(self.log_prob), self.column(columns, "step"), self.sequences
        m = step.shape[0]
        new = xp.zeros(m + 1, bool)
        new[1:-1] = step[1:] != step[:-1]
        new[sequences.offsets] = True
        first = xp.flatnonzero(new)
        owner = sequences.rows[first[:-1]]
        return Units(first, sequences.batch[owner], m, owner)

    def sum_over(self, x: Array, units: Units) -> Array:
        """(M,) sum of x (M,) over the rows of each unit, repeated to its rows."""
        return units.repeat(units.total(x))

    def mean_over(self, x: Array, units: Units) -> Array:
        """Weighted mean of x (M,) over the rows of each unit, repeated to its rows; 0 for a unit without weight."""
        return units.repeat(units.total(self.weight * x) / _or_one(self._weights(units)))

    def mean(self, x: Array) -> Any:
        """Weighted mean over the rows of each batch: what metrics are, whatever the aggregation."""
        total = segment_sum(self.weight, self.batch_rows, self.n_batches)
        means = segment_sum(self.weight * x, self.batch_rows, self.n_batches)
        return self._told(means / _or_one(total))

    def result(
        self,
        term: Callable[[], Array],
        slope: Array,
        aggregation: StepAggregation,
        norm: float | None = None,
        steps: Units | None = None,
        *,
        measure: Callable[[], dict[str, Any]],
    ) -> LossResult:
        """Aggregate the rows' losses `term()` (M,) and their derivatives by their own log-probability, `slope` (M,)."""
        units = self.sequences if steps is None or "step" not in aggregation else steps
        divisor = self._divisor(aggregation, norm, steps)

        @cache
        def shares() -> Array:
            return self.weight / units.repeat(divisor)

        def total() -> Any:
            return self._told(segment_sum(shares() * term(), self.batch_rows, self.n_batches))

        if namespace(slope) is np:
            from creditsim.updates.losses.row_kernels import spread

            derivative = spread(self.given_weight, slope, units.offsets, divisor)
        else:
            derivative = shares() * slope
        return LossResult(self.finish(derivative), shares, total, measure)

    def _divisor(self, aggregation: StepAggregation, norm: float | None, steps: Units | None) -> Array:
        """What the weight of each row is divided by in the loss of its batch, for each sequence or step.

        Sequences and steps without weight count nowhere, and a batch without weight has loss 0.
        """
        choose("aggregation", aggregation, AGGREGATIONS if steps is None else STEP_AGGREGATIONS)
        if norm is not None and not aggregation.endswith("norm"):
            raise InputError("norm", norm, f"None for aggregation={aggregation!r}")
        if aggregation.endswith("norm") and (norm is None or not norm > 0):
            raise InputError("norm", norm, f"a number > 0 for aggregation={aggregation!r}, e.g. the longest response")
        sequences = self.sequences
        total, batch = self._weights(sequences), sequences.batch
        if aggregation == "token-mean":
            return _or_one(segment_sum(total, batch, self.n_batches))[batch]
        if steps is not None and aggregation == "step-mean":
            of_step = self._weights(steps)
            return _or_one(of_step) * _live(of_step, steps.batch, self.n_batches)
        factor = 1.0 if norm is None else float(norm)
        if aggregation == "seq-mean-token-sum-norm":
            return namespace(total).full(total.shape, factor)
        counted = _live(total, batch, self.n_batches)
        if steps is not None and aggregation == "seq-mean-step-mean":
            of_step = self._weights(steps)
            return _or_one(of_step) * _live(of_step, steps.sequence, total.shape[0]) * counted[steps.sequence]
        return counted * (_or_one(total) if aggregation == "seq-mean-token-mean" else factor)

    def _weights(self, units: Units) -> Array:
        """(n,) weight of each unit."""
        if self.given_weight is None:
            return (units.offsets[1:] - units.offsets[:-1]).astype(float)
        return self.sequence_weight if units is self.sequences else units.total(self.given_weight)

    @cached_property
    def sequence_weight(self) -> Array:
        """(N,) weight of each sequence."""
        return self.sequences.total(self.weight)

    def _told(self, values: Array) -> Any:
        return float(values[0]) if self.single else values


def _or_one(total: Array) -> Array:
    """The total weights; 1 where they are 0."""
    return namespace(total).where(total > 0, total, 1.0)


def _live(total: Array, ids: Array, n: int) -> Array:
    """(U,) number of units with weight, total > 0, in each unit's segment `ids`, at least 1."""
    counted = segment_count(total, ids, n, where=total > 0)
    return namespace(total).where(counted > 0, counted, 1).astype(float)[ids]


def _per_row(field: str, values: Array, like: Array) -> Array:
    array = namespace(like).asarray(native(values))
    if array.shape != like.shape:
        raise InputError(field, f"shape {tuple(array.shape)}", f"({like.shape[0]},), one entry per row")
    return array
