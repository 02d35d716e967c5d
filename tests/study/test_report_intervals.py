"""Rows of a report: intervals that keep their promise for every value in reach, and chunks within the memory given."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from study_numbers import lines, spec

from creditsim.errors import InputError, TooLargeError
from creditsim.study import report
from creditsim.study.cells import Cell, canonical, table_hash
from creditsim.study.entries import Entry, parse_entry, parse_policy
from creditsim.study.grid import fit_memory, learning_cells, variance_cells
from creditsim.study.memory import Footprint
from creditsim.study.owners import LEASE_SECONDS, Owner, abandoned, owner
from creditsim.study.spec import LearningStudy, VarianceStudy
from creditsim.study.variance import run_cell

FEW = settings(max_examples=60, deadline=None)
small = st.floats(0.0, 5.0)
TINY = VarianceStudy(estimators=("grpo",), environments=("chain@tiny",), group_sizes=(2,), replicates=50)

# --- Lines ------------------------------------------------------------------------------------------------------------


@FEW
@given(st.floats(-5, 5), small, small, st.floats(-1, 0), st.floats(0, 1))
def test_a_line_is_cut_at_what_is_possible(value: float, error: float, half: float, least: float, most: float) -> None:
    found, said, low, high = report._line(value, error, half, least, most)
    assert (found, said) == (value, error)
    assert low == max(value - half * error, least) and high == min(value + half * error, most)
    assert report._line(value, 0.0, math.inf)[2:] == (value, value)
    assert report._line(value, math.inf, half)[2:] == report._line(value, math.nan, half)[2:] == (-math.inf, math.inf)
    assert report._line(math.nan, error, half, least, most)[2:] == (least, most)


@FEW
@given(st.floats(-4, 4), st.floats(0, 2), st.floats(0.1, 4))
def test_the_root_of_an_interval_is_the_interval_of_the_root(square: float, error: float, half: float) -> None:
    value, said, low, high = report._root(square, error, half)
    assert 0.0 <= low <= max(value, low) and value**2 == pytest.approx(max(square, 0.0), abs=1e-12)
    for truth in (square - half * error, square + half * error):
        if truth >= 0:
            assert low - 1e-9 <= math.sqrt(truth) <= high + 1e-9
    if square > 1e-3:  # delta method: d sqrt(x) = dx / (2 sqrt(x))
        step = 1e-6
        slope = (math.sqrt(square + step) - math.sqrt(square - step)) / (2 * step)
        assert said == pytest.approx(error * slope, rel=1e-3, abs=1e-9)


@FEW
@given(st.integers(0, 10**6), st.integers(1, 5), small, st.floats(0, 4))
def test_lengths_of_all_vectors_in_the_ball_are_in_the_interval(seed: int, p: int, size: float, radius: float) -> None:
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=p) * size
    turn = rng.normal(size=(50, p))
    others = centre + radius * turn / np.linalg.norm(turn, axis=1, keepdims=True)
    length = float(np.linalg.norm(centre))
    value, _, low, high = report._length(length, 0.1 * radius**2, radius)
    lengths = np.linalg.norm(others, axis=1)
    assert low - 1e-9 <= lengths.min() and lengths.max() <= high + 1e-9
    assert low <= value <= high and value <= max(length, low)
    # Broken twin: half the radius misses vectors straight ahead.
    if radius > 0.01 and length > 0.01:
        ahead = float(np.linalg.norm(centre * (1 + radius / length)))
        assert ahead > report._length(length, 0.0, radius / 2)[3]


@FEW
@given(st.integers(0, 10**6), st.integers(2, 5), st.floats(0.1, 3), st.floats(0, 3))
def test_cosines_of_all_vectors_in_the_ball_are_in_the_interval(seed: int, p: int, size: float, radius: float) -> None:
    rng = np.random.default_rng(seed)
    exact, mean = rng.normal(size=p), size * rng.normal(size=p)
    turn = rng.normal(size=(50, p))
    others = mean + radius * turn / np.linalg.norm(turn, axis=1, keepdims=True)
    cosines = others @ exact / (np.linalg.norm(others, axis=1) * np.linalg.norm(exact))
    value, _, low, high = report._cosine(mean, exact, 0.05 * radius**2, radius)
    assert low - 1e-9 <= cosines.min() and cosines.max() <= high + 1e-9
    assert -1.0 <= low <= value <= high <= 1.0
    scaled = report._cosine(3 * mean, 7 * exact, 9 * 0.05 * radius**2, 3 * radius)
    assert np.array([scaled[0], *scaled[2:]]) == pytest.approx([value, low, high], abs=1e-9)


def test_where_there_is_no_direction_nothing_is_known_of_the_cosine() -> None:
    for mean, exact in ((np.zeros(2), np.ones(2)), (np.ones(2), np.zeros(2))):
        value, _, low, high = report._cosine(mean, exact, 0.1, 0.1)
        assert math.isnan(value) and (low, high) == (-1.0, 1.0)


@FEW
@given(st.floats(0.1, 5), st.floats(0, 1), st.floats(0, 1), st.floats(0.1, 5), st.floats(0, 0.9))
def test_signal_to_noise_joins_its_two_intervals(
    length: float, noise: float, radius: float, trace: float, share: float
) -> None:
    wide = (trace, math.nan, trace * (1 - share), trace * (1 + share))
    value, _, low, high = report._signal(length, noise, radius, trace, wide)
    assert 0.0 <= low <= value <= high
    for signal in (max(length - radius, 0.0), length + radius):
        for spread in wide[2:]:
            assert low - 1e-12 <= signal / math.sqrt(spread) <= high + 1e-12
    assert report._signal(length, noise, radius, math.nan, wide)[2:] == (0.0, math.inf)
    assert report._signal(length, noise, radius, trace, (trace, 0.0, 0.0, 0.0))[2:] == (0.0, math.inf)


def test_a_table_is_one_quantity_per_row_and_adds_up() -> None:
    # By step the target of a key is one number; by state it differs from row to row, and the bias follows the rows.
    found = run_cell(spec(replicates=400, estimator="grpo", by="time"), 3)
    rows, bias, variance, mse, mean, target = (
        lines(found, "key", name)["value"] for name in ("rows", "bias", "variance", "mse", "mean", "target")
    )
    assert mean - target == pytest.approx(bias, abs=1e-12)
    assert lines(found, "all", "rows")["value"][0] == pytest.approx(rows.sum())
    # A key met often: its mean squared error is bias^2 + variance up to a share of 1/n.
    often = rows > 0.2
    assert mse[often] == pytest.approx((bias**2 + variance)[often], rel=0.05)
    assert lines(found, "all", "mse")["value"][0] == pytest.approx((rows * mse).sum() / rows.sum(), rel=1e-9)
    assert np.isnan(found.table["exact"]).all()


# --- Cells ------------------------------------------------------------------------------------------------------------


@FEW
@given(st.lists(st.tuples(st.integers(0, 10**7), st.floats(0, 10**6)), min_size=1, max_size=3), st.integers(1, 2**28))
def test_chunks_stay_below_the_limit_or_the_cell_is_refused(needs: list[tuple[int, float]], limit: int) -> None:
    cells = [cell for _, cell in zip(needs, CELLS, strict=False)]
    footprints = {cell.id: Footprint(*need) for cell, need in zip(cells, needs, strict=True)}
    if any(need.bytes(1) > limit for need in footprints.values()):
        with pytest.raises(TooLargeError, match="MiB for one replicate of"):
            fit_memory(cells, footprints, limit)
        return
    fitted, most = fit_memory(cells, footprints, limit)
    chunks = [cell.options["chunk"] for cell in fitted]
    assert [cell.id for cell in fitted] == [cell.id for cell in cells]
    assert all(1 <= chunk <= cell.spec["replicates"] for chunk, cell in zip(chunks, cells, strict=True))
    assert most == max(footprints[cell.id].bytes(chunk) for cell, chunk in zip(cells, chunks, strict=True))
    assert most <= limit + 1


NAMES = st.sampled_from(["grpo", "rloo", "reinforce"])
CELLS = variance_cells(replace(TINY, estimators=("grpo", "rloo", "reinforce")))


@FEW
@given(
    st.lists(st.sampled_from(["grpo", "rloo", "reinforce"]), min_size=1, max_size=5), st.sampled_from([(2,), (2, 3)])
)
def test_the_grid_is_the_product_without_repeats(names: list[str], sizes: tuple[int, ...]) -> None:
    cells = variance_cells(replace(TINY, estimators=tuple(names), group_sizes=sizes))
    distinct = list(dict.fromkeys(names))
    met = [(cell.spec["group_size"], cell.spec["estimator"]) for cell in cells]
    assert met == [(size, name) for size in sizes for name in distinct]
    assert all(canonical(cell.spec) for cell in cells)
    for cell in cells:
        assert all(str(cell.spec[key]) in cell.title for key in ("estimator", "environment", "group_size", "policy"))


def test_learning_cells_are_the_product_and_rates_are_told_in_their_titles() -> None:
    study = LearningStudy(methods=("grpo", "reinforce"), environments=("chain@tiny",), learning_rates=(0.5, 0.25))
    cells = learning_cells(study)
    assert [(c.spec["learning_rate"], c.spec["method"]) for c in cells] == [
        (0.5, "grpo"), (0.5, "reinforce"), (0.25, "grpo"), (0.25, "reinforce"),
    ]  # fmt: skip
    assert all(c.title.endswith(f"rate={c.spec['learning_rate']:g}") for c in cells)
    own = learning_cells(replace(study, learning_rates=()))
    assert [c.spec["learning_rate"] for c in own] == [None, None] and not any("rate" in c.title for c in own)
    with pytest.raises(InputError, match="nearest: grpo"):
        learning_cells(replace(study, methods=("grop",)))


@FEW
@given(st.dictionaries(st.text(max_size=5), st.integers() | st.booleans() | st.none(), max_size=5), st.randoms())
def test_canonical_text_knows_no_order(values: dict[str, Any], random: Any) -> None:
    items = list(values.items())
    random.shuffle(items)
    assert canonical(dict(items)) == canonical(values)
    assert Cell("a:b", dict(items), 1).id == Cell("a:b", values, 1, title="told otherwise", options={"chunk": 3}).id
    assert Cell("a:b", values, 1).id != Cell("a:b", values, 2).id
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"x": math.nan})


def test_hashes_of_tables_are_of_names_kinds_and_bits() -> None:
    table = {"x": np.arange(3), "y": np.array(["a", "b", "c"], object)}
    same = table_hash({"x": np.arange(3), "y": np.array(["a", "b", "c"])})
    assert table_hash(table) == same
    others = [
        {"x": np.arange(3.0), "y": table["y"]}, {"z": np.arange(3), "y": table["y"]},
        {"y": table["y"], "x": np.arange(3)}, {"x": np.arange(3), "y": np.array(["a", "b", "d"])},
        {"x": np.array([0, 2, 1]), "y": table["y"]},
    ]  # fmt: skip
    assert len({same, *map(table_hash, others)}) == 6
    assert table_hash({"x": np.array([0.0])}) != table_hash({"x": np.array([-0.0])})


# --- The language of grids and the owners of claims -------------------------------------------------------------------

VALUES = st.recursive(
    st.integers(-99, 99) | st.booleans() | st.floats(-9, 9) | st.from_regex(r"[a-z][a-z0-9-]{0,5}", fullmatch=True),
    lambda inner: st.dictionaries(st.from_regex(r"[a-z]{1,4}", fullmatch=True), inner, min_size=1, max_size=2),
    max_leaves=4,
)


@FEW
@given(st.dictionaries(st.from_regex(r"[a-z]{1,4}", fullmatch=True), VALUES, max_size=3))
def test_nested_parameters_are_read_back_and_spelled_once(params: dict[str, Any]) -> None:
    text = str(Entry("name", params))
    read = parse_entry(text, "field")
    assert read == Entry("name", params) and str(read) == text
    assert parse_entry(f"  {text} ", "field") == read


@FEW
@given(st.integers(0, 10**6), st.floats(0, 10), st.floats(0.01, 100))
def test_policies_are_read_back(seed: int, scale: float, heat: float) -> None:
    entry = parse_policy(f"random:{seed}:{scale!r}@{heat!r}")
    assert (entry.kind, entry.numbers, entry.temperature) == ("random", (seed, scale), heat)
    assert parse_policy(str(entry)) == entry


@given(st.floats(-2 * LEASE_SECONDS, 2 * LEASE_SECONDS))
@settings(max_examples=20)
def test_claims_of_another_host_lapse_with_their_lease(age: float) -> None:
    import time

    other = Owner("another-host-than-this", 1, 1)
    if abs(age - LEASE_SECONDS) > 60:
        assert abandoned(other, time.time() - age) == (age > LEASE_SECONDS)
    assert not abandoned(owner(), time.time() - age)


def test_an_owners_host_can_be_part_of_a_file_name() -> None:
    assert all(c.isalnum() or c in "._-" for c in owner().host) and "~" not in owner().host
    assert owner() == owner()
