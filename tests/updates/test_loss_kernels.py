"""The kernels of losses on NumPy arrays against the array arithmetic that other libraries run."""

from __future__ import annotations

import numpy as np
import pytest

from creditsim.errors import InputError
from creditsim.updates.losses import loss_and_derivative
from creditsim.updates.losses.row_kernels import clip_slope, spread
from creditsim.updates.losses.terms import LogRatio, clipped, clipped_arrays

M = 4000


def rows(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Advantages and log-ratios with zeros, ties on the clips, cut ones, infinities and NaN among them."""
    rng = np.random.default_rng(seed)
    advantage, x = rng.normal(size=M), rng.normal(size=M) * rng.choice([0.1, 1.0, 30.0], M)
    edges = [0.0, -0.0, np.log(0.8), np.log(1.2), 20.0, -20.0, np.inf, -np.inf, np.nan]
    x[: 4 * len(edges)] = np.repeat(edges, 4)
    advantage[100:120] = 0.0
    advantage[120:124] = np.nan
    return advantage, x


@pytest.mark.parametrize("dual", [None, 3.0])
@pytest.mark.parametrize("bounds", [(-20.0, 20.0), (-np.inf, 10.0)])
@pytest.mark.parametrize("per_row", [False, True])
def test_the_slope_is_that_of_the_arrays(dual: float | None, bounds: tuple[float, float], per_row: bool) -> None:
    advantage, x = rows(0)
    low, high = (np.linspace(0.1, 0.3, M), np.linspace(0.1, 0.5, M)) if per_row else (0.2, 0.28)
    # Of two columns, or made by the caller.
    old = np.where(np.isfinite(x), 0.25, 0.0)
    ratio = LogRatio(x, None, *bounds) if per_row else LogRatio(x, old, *bounds)
    want = clipped_arrays(advantage, ratio, low, high, dual)
    found = clipped(advantage, ratio, low, high, dual)
    np.testing.assert_allclose(found.slope, want.slope, rtol=1e-15, atol=0.0)
    for mine, theirs in zip(found.detail, want.detail, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    # Broken twin: the clips exchanged.
    other = clipped(advantage, ratio, high, low, dual).slope
    assert not np.allclose(other, want.slope, equal_nan=True)


def test_rows_are_shared_out_in_their_ranges() -> None:
    rng = np.random.default_rng(2)
    offsets, weight, slope = np.array([0, 3, 3, 10]), rng.random(10), rng.normal(size=10)
    divisor = np.array([2.0, 5.0, 0.5])
    assert np.array_equal(spread(weight, slope, offsets, divisor), weight / divisor.repeat([3, 0, 7]) * slope)
    assert np.array_equal(spread(None, slope, offsets, divisor), 1.0 / divisor.repeat([3, 0, 7]) * slope)
    weight.flags.writeable = False
    assert np.isfinite(spread(weight, slope.astype(np.float32), offsets, divisor)).all()


@pytest.mark.parametrize("offsets", [[0, 3, 2, 10], [0, 11], [1, 10], [], [0.0, 10.0]])
def test_ranges_that_are_none_are_refused(offsets: list[float]) -> None:
    given = np.array(offsets)
    with pytest.raises(InputError, match="offsets"):
        spread(np.ones(10), np.ones(10), given, np.ones(max(given.size - 1, 0)))


def test_arrays_of_other_lengths_are_refused() -> None:
    ones, offsets = np.ones(10), np.array([0, 10])
    with pytest.raises(InputError, match="divisor"):
        spread(ones, ones, offsets, np.ones(2))
    with pytest.raises(InputError, match="weight"):
        spread(np.ones(9), ones, offsets, np.ones(1))
    for x, low in ((np.ones(9), 0.2), (ones, np.ones(9))):
        with pytest.raises(InputError):
            clip_slope(ones, x, None, -1.0, 1.0, low, low, None)


@pytest.mark.parametrize(("offsets", "batch"), [([0, 6, 4, 10], None), ([0, 4, 10], [0, -1])])
def test_a_loss_refuses_ranges_and_batches_that_are_none(offsets: list[int], batch: list[int] | None) -> None:
    x = np.linspace(-1.0, 0.0, 10)
    with pytest.raises(InputError, match=r"offsets|batch"):
        loss_and_derivative("ppo", x, x, x, np.array(offsets), None, None if batch is None else np.array(batch))


def test_nothing_but_the_derivative_is_computed_before_it_is_asked_for() -> None:
    x = np.linspace(-1.0, 0.0, 10)
    found = loss_and_derivative("ppo", x, x - 0.5, x, np.array([0, 4, 10]))
    assert not {"value", "share", "metrics"} & vars(found).keys()
    assert found.value == pytest.approx(float((found.share * -x * np.exp(0.5)).sum()), rel=1e-12)
    assert {"value", "share"} <= vars(found).keys()
