"""What every registered estimator keeps, whoever wrote it: a new estimator is tested here without a line of its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from creditsim.errors import InputError, MissingColumnError, UnknownNameError
from creditsim.estimators import ESTIMATORS, Pairs, credit
from creditsim.estimators.base import EstimatorPart
from creditsim.registry import EVIDENCE
from creditsim.rollouts import FIELDS, Rollouts

PARTS = list(ESTIMATORS)
SPECS = [(part, preset) for part in PARTS for preset in (None, *part.presets)]
every_part = pytest.mark.parametrize("part", PARTS, ids=[part.name for part in PARTS])
every_spec = pytest.mark.parametrize(
    ("part", "preset"), SPECS, ids=[part.name if preset is None else f"{part.name}@{preset}" for part, preset in SPECS]
)

PER_TRAJECTORY: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "greedy_score": lambda rng, n: rng.integers(-8, 9, n) / 8.0,
    "rewards_K": lambda rng, n: rng.integers(-8, 9, (n, 2)) / 8.0,
    "success": lambda rng, n: rng.integers(0, 2, n).astype(bool),
    "answer": lambda rng, n: rng.integers(0, 3, n),
}
PER_ROW: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "tokens": lambda rng, m: rng.integers(1, 9, m),
    "log_prob": lambda rng, m: -rng.random(m) - 0.1,
    "sum_pi_squared": lambda rng, m: rng.random(m) * 0.9 + 0.1,
    "valid": lambda rng, m: rng.integers(0, 2, m).astype(bool),
    "state": lambda rng, m: rng.integers(0, 4, m),
    "next_state": lambda rng, m: rng.integers(0, 4, m),
    "context": lambda rng, m: rng.integers(0, 4, m),
    "head": lambda rng, m: rng.integers(0, 2, m),
    "entropy": lambda rng, m: rng.random(m),
}


def column(rng: np.random.Generator, name: str, rows: int) -> np.ndarray:
    """A plausible column of that name; one nobody has heard of holds numbers between 0 and 1."""
    return PER_ROW.get(name, lambda rng, m: rng.integers(0, 17, m) / 16.0)(rng, rows)


TEXT = np.array(["a hall", "a hall with a lamp", "a kitchen", "the garden"], dtype=object)


def tables(part: EstimatorPart, rng: np.random.Generator, n: int, m: int, everything: bool) -> dict[str, Any]:
    """Columns that the estimator needs, or also all others that presets may ask for."""
    names = {*part.needs, *(PER_ROW if everything else ()), *(PER_TRAJECTORY if everything else ())} - {*FIELDS}
    return {
        "columns": {name: column(rng, name, m) for name in sorted(names - {*PER_TRAJECTORY})},
        "trajectory_columns": {name: PER_TRAJECTORY[name](rng, n) for name in sorted(names & {*PER_TRAJECTORY})},
    }


def rollouts_for(
    part: EstimatorPart, seed: int, batches: int = 2, groups: int = 3, everything: bool = True
) -> Rollouts:
    """Ragged rollouts with groups of 2 to 4 trajectories and the columns that the estimator needs or may ask for."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(batches * groups), rng.integers(2, 5, size=batches * groups))
    length = rng.integers(1, 5, size=group.size)
    offsets = np.concatenate([[0], np.cumsum(length)])
    rows = int(offsets[-1])
    rollouts = Rollouts.flat(
        offsets=offsets,
        group=group,
        batch=group // groups,
        reward=rng.integers(-16, 17, rows) / 16.0,
        observation=rng.integers(0, 4, rows),
        action=rng.integers(0, 3, rows),
        terminated=rng.random(group.size) < 0.8,
        **tables(part, rng, group.size, rows, everything),
    )
    return replace(rollouts, labels={"observation": TEXT})


def rows_of(rollouts: Rollouts, trajectories: np.ndarray) -> np.ndarray:
    return np.concatenate([np.arange(rollouts.offsets[i], rollouts.offsets[i + 1]) for i in trajectories])


def columns_of(rollouts: Rollouts, part: EstimatorPart, preset: str | None) -> dict[str, np.ndarray]:
    """Credit as NumPy columns; pairs as the advantage they stand for."""
    result = credit(rollouts, part.bind(preset))
    if isinstance(result, Pairs):
        return {"advantage": np.asarray(result.advantage(rollouts))}
    return {name: np.asarray(values) for name, values in result.items()}


def arrays(rollouts: Rollouts) -> dict[str, np.ndarray]:
    named: dict[str, Any] = {name: getattr(rollouts, name) for name in FIELDS}
    return {name: np.array(x) for name, x in (named | dict(rollouts.columns)).items()} | {
        f"trajectory {name}": np.array(x) for name, x in rollouts.trajectory_columns.items()
    }


@every_part
def test_docstring_has_an_equation_and_a_source(part: EstimatorPart):
    documentation = part.function.__doc__ or ""
    assert part.summary.strip().endswith((".", "="))
    others = "|".join(other.name for other in PARTS if other is not part)
    assert re.search(rf"\w[^=\n]* = |`({others})`", documentation), "no equation, nor the estimator it takes it from"
    assert part.paper
    assert part.evidence in EVIDENCE
    assert re.search("|".join(EVIDENCE), documentation), "no evidence label"


@every_part
def test_makes_names_what_comes_back(part: EstimatorPart):
    assert "advantage" in part.makes
    got = columns_of(rollouts_for(part, 0), part, None)
    assert set(got) <= set(part.makes)


@every_part
def test_what_it_needs_is_enough_for_its_defaults(part: EstimatorPart):
    rollouts = rollouts_for(part, 0, everything=False)
    assert columns_of(rollouts, part, None)["advantage"].shape == (rollouts.n_rows,)


@every_spec
def test_presets_bind_and_refuse_unknown_parameters(part: EstimatorPart, preset: str | None):
    bound = part.bind(preset)
    assert set(bound.params) == set(part.defaults)
    assert all(name in part.defaults for name in part.presets.get(preset or "", {}))
    with pytest.raises(UnknownNameError, match="no_such_parameter"):
        part.bind(preset, no_such_parameter=1)


@every_spec
@pytest.mark.parametrize("seed", [1, 2])
def test_one_finite_number_per_row(part: EstimatorPart, preset: str | None, seed: int):
    rollouts = rollouts_for(part, seed)
    for name, values in columns_of(rollouts, part, preset).items():
        assert values.shape[0] == rollouts.n_rows, name
        if name == "advantage":
            assert values.shape == (rollouts.n_rows,)
            assert np.isfinite(values).all()


@every_spec
def test_input_is_not_changed_and_the_result_is_the_same_again(part: EstimatorPart, preset: str | None):
    rollouts = rollouts_for(part, 3)
    before = arrays(rollouts)
    first = columns_of(rollouts, part, preset)
    for name, values in arrays(rollouts).items():
        np.testing.assert_array_equal(values, before[name], err_msg=name)
    for name, values in columns_of(rollouts, part, preset).items():
        np.testing.assert_array_equal(values, first[name], err_msg=name)


@every_spec
def test_permuting_a_group_permutes_the_result(part: EstimatorPart, preset: str | None):
    if not part.symmetric:
        return
    rollouts = rollouts_for(part, 4)
    rng = np.random.default_rng(5)
    order = np.lexsort((rng.random(rollouts.n_trajectories), rollouts.group))
    moved = columns_of(rollouts.take(order), part, preset)["advantage"]
    still = columns_of(rollouts, part, preset)["advantage"]
    np.testing.assert_allclose(moved, still[rows_of(rollouts, order)], rtol=1e-9, atol=1e-12)


@every_spec
def test_batches_do_not_see_each_other(part: EstimatorPart, preset: str | None):
    rollouts = rollouts_for(part, 6, batches=3)
    together = columns_of(rollouts, part, preset)["advantage"]
    for batch in range(3):
        mine = np.flatnonzero(rollouts.batch == batch)
        alone = columns_of(rollouts.take(mine), part, preset)["advantage"]
        np.testing.assert_allclose(together[rows_of(rollouts, mine)], alone, rtol=1e-9, atol=1e-12)


@every_part
def test_a_missing_column_is_named(part: EstimatorPart):
    bare = rollouts_for(part, 7)
    bare = replace(bare, columns={}, trajectory_columns={})
    for name in part.needs:
        if name not in FIELDS:
            with pytest.raises(MissingColumnError) as error:
                columns_of(bare, part, None)
            assert part.name in str(error.value)
            break


def tree_for(part: EstimatorPart) -> Rollouts:
    """Two groups of two trunks of three rows, each trunk with a branch of two rows after its first row."""
    rng = np.random.default_rng(8)
    offsets = np.array([0, 3, 6, 8, 10, 13, 16, 18, 20])
    tree = Rollouts.flat(
        offsets=offsets,
        group=[0, 0, 0, 0, 1, 1, 1, 1],
        parent=np.array([-1, -1, 0, 3, -1, -1, 10, 13]),
        reward=rng.integers(-16, 17, 20) / 16.0,
        observation=rng.integers(0, 4, 20),
        action=rng.integers(0, 3, 20),
        **tables(part, rng, 8, 20, everything=True),
    )
    return replace(tree, labels={"observation": TEXT})


@every_spec
def test_trees_are_refused_or_served(part: EstimatorPart, preset: str | None):
    tree = tree_for(part)
    if part.trees:
        got = columns_of(tree, part, preset)["advantage"]
        assert got.shape == (tree.n_rows,)
        assert np.isfinite(got).all()
    else:
        with pytest.raises(InputError, match=r"a tree of rollouts, allowed .* paths\(\)"):
            columns_of(tree, part, preset)


@every_spec
def test_a_masked_group_stays_finite(part: EstimatorPart, preset: str | None):
    rollouts = rollouts_for(part, 9)
    rollouts = rollouts.with_columns(weight=np.where(rollouts.group_rows == 2, 0.0, 1.0))
    assert np.isfinite(columns_of(rollouts, part, preset)["advantage"]).all()


def leaks_between_batches(rollouts: Rollouts) -> np.ndarray:
    """A user's estimator that centres over everything."""
    return rollouts.reward - rollouts.reward.mean()


def depends_on_order(rollouts: Rollouts) -> np.ndarray:
    """A user's estimator that weighs by place."""
    return rollouts.reward * np.arange(rollouts.n_rows)


def user_part(function: Callable[..., Any]) -> EstimatorPart:
    return EstimatorPart("estimator", function.__name__, function, paper="user")


def test_the_batch_check_rejects_an_estimator_that_leaks():
    with pytest.raises(AssertionError):
        test_batches_do_not_see_each_other(user_part(leaks_between_batches), None)


def test_the_permutation_check_rejects_an_estimator_that_depends_on_order():
    with pytest.raises(AssertionError):
        test_permuting_a_group_permutes_the_result(user_part(depends_on_order), None)


def changes_its_input(rollouts: Rollouts) -> np.ndarray:
    """A user's estimator that writes into the rewards."""
    rollouts.reward[0] += 1.0
    return rollouts.reward.copy()


def test_an_estimator_that_changes_its_input_is_refused():
    with pytest.raises(InputError, match="rollouts changed in place"):
        columns_of(rollouts_for(PARTS[0], 10), user_part(changes_its_input), None)
