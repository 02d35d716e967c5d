"""What every loss shares: registration, the door for arrays, and how losses of rows become one number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from creditsim.arrays import Array, namespace, native, restorer
from creditsim.errors import InputError, MissingColumnError, choose, nearest
from creditsim.ragged import rows_of
from creditsim.registry import Bound, Evidence, Part, Registry
from creditsim.segments import segment_count, segment_sum

__all__ = [
    "AGGREGATIONS",
    "LOSSES",
    "NO_COLUMNS",
    "STEP_AGGREGATIONS",
    "Aggregation",
    "LossResult",
    "Rows",
    "StepAggregation",
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
    numbers, or (B,) where the sequences were told apart by `batch`. `share` (M,) are the factors by which the rows'
    losses add up to the value: what else is aggregated as this loss (a KL penalty, an entropy bonus) uses them.
    """

    value: Any
    derivative: Array
    share: Array
    measure: Callable[[], dict[str, Any]]
    """Computes the metrics: a training loop that logs nothing need not wait for them."""

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
            return xp.ones(m) if values is None else _per_row(field, values, given).astype(float, copy=False)

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
            finish=lambda y: back(y.astype(given.dtype, copy=False)),
            single=batch is None,
        )

    @cached_property
    def batch_rows(self) -> Array:
        """(M,) batch of each row."""
        return self.batch[self.sequence]

    @property
    def sequences(self) -> tuple[Array, int]:
        """(M,) sequence of each row, and how many sequences there are."""
        return self.sequence, int(self.batch.shape[0])

    def column(self, columns: Mapping[str, Array], name: str) -> Array:
        """(M,) a column that the loss needs, on native arrays; MissingColumnError, InputError for another shape."""
        if name not in columns:
            have = " | ".join(columns) or "none"
            raise MissingColumnError("loss column", f"no {name!r}", have, nearest(name, columns))
        return _per_row(name, columns[name], self.log_prob)

    def steps(self, columns: Mapping[str, Array]) -> tuple[Array, int]:
        """(M,) ids of steps, and how many there are: neighbours of one sequence with equal `step` are one step."""
        xp, step = namespace(self.log_prob), self.column(columns, "step")
        new = xp.ones(step.shape, bool)
        new[1:] = (step[1:] != step[:-1]) | (self.sequence[1:] != self.sequence[:-1])
        ids = xp.cumsum(new) - 1
        return ids, int(ids[-1]) + 1 if ids.size else 0

    def mean_over(self, x: Array, units: tuple[Array, int]) -> Array:
        """Weighted mean of x (M,) over the rows of each unit, repeated to its rows; 0 for a unit without weight."""
        total = self._weights(units)
        return (segment_sum(self.weight * x, *units) / namespace(x).where(total > 0, total, 1.0))[units[0]]

    def mean(self, x: Array) -> Any:
        """Weighted mean over the rows of each batch: what metrics are, whatever the aggregation."""
        total = segment_sum(self.weight, self.batch_rows, self.n_batches)
        means = segment_sum(self.weight * x, self.batch_rows, self.n_batches)
        return self._told(means / namespace(x).where(total > 0, total, 1.0))

    def result(
        self,
        term: Array,
        slope: Array,
        aggregation: StepAggregation,
        norm: float | None = None,
        steps: tuple[Array, int] | None = None,
        *,
        measure: Callable[[], dict[str, Any]],
    ) -> LossResult:
        """Aggregate the rows' losses `term` (M,) and their derivatives by their own log-probability, `slope` (M,)."""
        share = self._share(aggregation, norm, steps)
        value = segment_sum(share * term, self.batch_rows, self.n_batches)
        return LossResult(self._told(value), self.finish(share * slope), share, measure)

    def _share(self, aggregation: StepAggregation, norm: float | None, steps: tuple[Array, int] | None) -> Array:
        """(M,) factors by which the rows' losses add up to the loss of their batch.

        Sequences and steps without weight count nowhere, and a batch without weight has loss 0.
        """
        choose("aggregation", aggregation, AGGREGATIONS if steps is None else STEP_AGGREGATIONS)
        if norm is not None and not aggregation.endswith("norm"):
            raise InputError("norm", norm, f"None for aggregation={aggregation!r}")
        if aggregation == "token-mean":
            return self.weight / self._total((self.batch_rows, self.n_batches))
        if steps is not None and aggregation == "step-mean":
            return self.weight / self._total(steps) / self._live(steps, self.batch_rows, self.n_batches)
        counted = self._live(self.sequences, self.batch_rows, self.n_batches)
        if steps is not None and aggregation == "seq-mean-step-mean":
            return self.weight / self._total(steps) / self._live(steps, *self.sequences) / counted
        factor = 1.0
        if aggregation.endswith("norm"):
            if norm is None or not norm > 0:
                raise InputError(
                    "norm", norm, f"a number > 0 for aggregation={aggregation!r}, e.g. the longest response"
                )
            factor = 1.0 / norm
        if aggregation == "seq-mean-token-sum-norm":
            return self.weight * factor
        if aggregation == "seq-mean-token-mean":
            counted = counted * self._total(self.sequences)
        return self.weight * factor / counted

    def _total(self, units: tuple[Array, int]) -> Array:
        """(M,) weight of each row's unit; 1 where it is 0."""
        total = self._weights(units)
        return namespace(total).where(total > 0, total, 1.0)[units[0]]

    def _live(self, units: tuple[Array, int], ids: Array, n: int) -> Array:
        """(M,) number of units with weight in each row's segment, at least 1; units nest in segments."""
        xp = namespace(self.weight)
        segment = xp.zeros(units[1], xp.int64)
        segment[units[0]] = ids
        total = self._weights(units)
        counted = segment_count(total, segment, n, where=total > 0)
        return xp.where(counted > 0, counted, 1).astype(float)[ids]

    def _weights(self, units: tuple[Array, int]) -> Array:
        """(n,) weight of each unit."""
        return self.sequence_weight if units[0] is self.sequence else segment_sum(self.weight, *units)

    @cached_property
    def sequence_weight(self) -> Array:
        """(N,) weight of each sequence."""
        return segment_sum(self.weight, *self.sequences)

    def _told(self, values: Array) -> Any:
        return float(values[0]) if self.single else values


def _per_row(field: str, values: Array, like: Array) -> Array:
    array = namespace(like).asarray(native(values))
    if array.shape != like.shape:
        raise InputError(field, f"shape {tuple(array.shape)}", f"({like.shape[0]},), one entry per row")
    return array
