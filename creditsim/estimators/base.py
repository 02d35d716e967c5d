"""The estimator contract: registration, parameters, levels, and the one door through which estimators are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from creditsim.arrays import Array, namespace, restorer
from creditsim.errors import InputError
from creditsim.registry import Bound, Evidence, Part, Registry, import_function, parse_spec
from creditsim.rollouts import FIELDS, Rollouts

__all__ = ["ESTIMATORS", "EstimatorPart", "Pairs", "advantage", "credit", "estimator", "resolve"]

Level = Literal["step", "decision"]
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class EstimatorPart(Part):
    """A registered estimator.

    `level="step"` is given folded steps and its result is repeated to rows; "decision" sees rows. `trees` says that the
    estimator was written for branching rollouts. `symmetric` says that permuting the trajectories of a group permutes
    the result (False: the enumerator uses ordered tuples).
    """

    level: Level = "step"
    trees: bool = False
    symmetric: bool = True


@dataclass(frozen=True)
class Pairs:
    """Preference pairs: row (or trajectory) `chosen[i]` is preferred to `rejected[i]`, all arrays (P,).

    `level` says whether the indices are rows or trajectories; `weight` weighs the pair, `smoothing` is its label noise.
    """

    chosen: Array
    rejected: Array
    weight: Array
    smoothing: Array
    level: Literal["row", "trajectory"] = "row"

    def advantage(self, rollouts: Rollouts, beta: float = 1.0) -> Array:
        """Credit (M,) that the logistic preference loss gives each row at the reference policy (inferred).

        The loss -w [(1-e) log sigma(beta d) + e log sigma(-beta d)], d = log-ratio of chosen minus rejected, has at
        d = 0 the derivative -w beta (1 - 2e) / 2 by d; each row of the chosen side gets plus, of the rejected minus.
        """
        xp = namespace(rollouts.reward)
        size = rollouts.n_rows if self.level == "row" else rollouts.n_trajectories
        push = beta * self.weight * (1.0 - 2.0 * self.smoothing) / 2.0
        out = xp.zeros(size)
        xp.add.at(out, self.chosen, push)
        xp.add.at(out, self.rejected, -push)
        return out if self.level == "row" else out[rollouts.trajectory]


ESTIMATORS: Registry[EstimatorPart] = Registry("estimator", "creditsim.estimators")


def estimator(
    name: str,
    *,
    paper: str,
    evidence: Evidence = "paper",
    needs: tuple[str, ...] = (),
    makes: tuple[str, ...] = ("advantage",),
    presets: Mapping[str, Mapping[str, Any]] | None = None,
    level: Level = "step",
    trees: bool = False,
    symmetric: bool = True,
    min_groups: int = 1,
) -> Callable[[F], F]:
    """Register a pure function `f(rollouts, *, parameters) -> (M,) | columns | Pairs` under `name`.

    `min_groups`: groups that a batch must have for its batch statistics to exist; a training run with fewer is refused.
    """

    def register(function: F) -> F:
        ESTIMATORS.add(
            EstimatorPart(
                "estimator",
                name,
                function,
                paper=paper,
                evidence=evidence,
                needs=needs,
                makes=makes,
                presets=presets or {},
                level=level,
                trees=trees,
                symmetric=symmetric,
                options={"min_groups": min_groups},
            )
        )
        return function

    return register


def resolve(spec: str | Callable[..., Any] | Bound, **overrides: Any) -> Bound:
    """Turn `name`, `name@preset`, `package.module:function`, a function or a Bound into a Bound estimator."""
    if isinstance(spec, Bound):
        return spec.part.bind(None, **{**spec.params, **overrides}) if overrides else spec
    if callable(spec):
        return _part_of(spec).bind(None, **overrides)
    name, preset = parse_spec(spec)
    if ":" in name:
        return _part_of(import_function("estimator", name)).bind(preset, **overrides)
    return ESTIMATORS[name].bind(preset, **overrides)


def _part_of(function: Callable[..., Any]) -> EstimatorPart:
    for part in ESTIMATORS:
        if part.function is function:
            return part
    name = getattr(function, "__name__", "estimator")
    return EstimatorPart(
        "estimator", f"{function.__module__}:{name}", function, paper="user", evidence="inferred", symmetric=False
    )


def credit(
    rollouts: Rollouts, spec: str | Callable[..., Any] | Bound, *, finite: bool = True, **overrides: Any
) -> dict[str, Array] | Pairs:
    """Run an estimator and return all its columns (M,) with `advantage` among them, or preference pairs.

    Arrays come back in the rollouts' array library, in the rollouts' row order. Errors: unknown names and parameters,
    missing columns, a tree given to an estimator not written for trees, a result of the wrong shape, NaN in the
    advantage (unless `finite` is False: the caller then looks for it), rollouts changed by the estimator.
    """
    bound = resolve(spec, **overrides)
    part = bound.part
    assert isinstance(part, EstimatorPart)  # noqa: S101 # every Bound made by resolve() holds one
    back = restorer(rollouts.reward)
    rollouts = rollouts.native()
    for name in part.needs:
        rollouts.column(name, needed_by=bound.label)
    if rollouts.is_tree and not part.trees:
        raise InputError(
            f"estimator {part.name}", "a tree of rollouts", "rollouts without forks; unroll them with paths()"
        )
    fold = part.level == "step" and not rollouts.has_single_decisions
    given, step_row = rollouts.steps() if fold else (rollouts, None)
    before = _fingerprint(given) if part.paper == "user" else None
    result = bound(given)
    if before is not None and _fingerprint(given) != before:
        raise InputError(f"estimator {part.name}", "rollouts changed in place", "a pure function")
    if isinstance(result, Pairs):
        return result
    columns = result if isinstance(result, Mapping) else {"advantage": result}
    if "advantage" not in columns:
        raise InputError(f"estimator {part.name}", f"columns {', '.join(columns)}", "`advantage` among them")
    _check(part.name, columns, given, finite)
    if step_row is not None:
        columns = {name: values[step_row] for name, values in columns.items()}
    return {name: back(values) for name, values in columns.items()}


def advantage(rollouts: Rollouts, spec: str | Callable[..., Any] | Bound, **overrides: Any) -> Array:
    """Return the advantage (M,) that an estimator gives each row, in the caller's array library."""
    result = credit(rollouts, spec, **overrides)
    if isinstance(result, Pairs):
        return restorer(rollouts.reward)(result.advantage(rollouts.native()))
    return result["advantage"]


def _check(name: str, columns: Mapping[str, Array], given: Rollouts, must_be_finite: bool) -> None:
    for column, values in columns.items():
        shape = tuple(getattr(values, "shape", ()))
        if shape[:1] != (given.n_rows,):
            raise InputError(
                f"estimator {name} result {column}", f"shape {shape}", f"({given.n_rows},), one entry per row"
            )
    if not must_be_finite:
        return
    xp = namespace(columns["advantage"])
    finite = xp.isfinite(columns["advantage"])
    if not bool(finite.all()):
        row = int(xp.flatnonzero(~finite)[0])
        raise InputError(
            f"estimator {name} result advantage", f"{float(columns['advantage'][row])} at row {row}", "finite numbers"
        )


def _fingerprint(rollouts: Rollouts) -> int:
    # Only a user's own function is distrusted: hashing every array costs more than most estimators.
    arrays = [getattr(rollouts, name) for name in FIELDS] + list(rollouts.columns.values())
    return hash(tuple(namespace(a).ascontiguousarray(a).tobytes() for a in arrays))
