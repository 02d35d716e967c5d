"""Verdict logic: truth tables, equivalence rather than failure to reject, error levels by simulation."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, t

from creditsim.errors import InputError
from creditsim.stats.intervals import Interval, t_interval
from creditsim.stats.multiple import bonferroni
from creditsim.stats.sequences import normal_mixture
from creditsim.stats.verdict import (
    VERDICTS,
    Evidence,
    equality,
    exact_equality,
    exact_inequality,
    inequality,
    monotone,
)


def fixed(low: float, high: float, alpha: float = 0.05) -> Interval:
    return Interval((low + high) / 2, low, high, alpha, 100, "given", "none")


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.95, 1.05, "supported"),
        (0.9, 1.1, "supported"),  # the region is closed
        (0.89, 1.05, "inconclusive"),
        (0.5, 1.5, "inconclusive"),  # contains the prediction and says nothing: no support from a wide interval
        (1.05, 1.2, "inconclusive"),
        (1.11, 1.2, "refuted"),
        (0.2, 0.89, "refuted"),
        (-np.inf, np.inf, "inconclusive"),
        (1.02, 1.01, "inconclusive"),  # an empty intersection has no opinion
    ],
)
def test_equality(low: float, high: float, verdict: str) -> None:
    found = equality(fixed(low, high), 1.0, margin=0.1)
    assert found.verdict == verdict and found.verdict in VERDICTS
    assert found.interval == (low, high) and found.prediction == 1.0 and found.margin == 0.1
    assert found.alpha == 0.05 and found.n == 100 and found.method == "given; none"
    expected = {"supported": (0.05, 1.0), "refuted": (1.0, 0.05), "inconclusive": (1.0, 1.0)}[verdict]
    assert (found.p_supported, found.p_refuted) == expected
    assert found.p_value == (1.0 if verdict == "inconclusive" else 0.05)


@pytest.mark.parametrize(
    ("low", "high", "relation", "margin", "verdict"),
    [
        (0.5, 0.9, "<=", 0.0, "supported"),
        (0.5, 1.0, "<=", 0.0, "supported"),
        (0.9, 1.05, "<=", 0.0, "inconclusive"),
        (0.9, 1.05, "<=", 0.1, "supported"),
        (1.01, 1.05, "<=", 0.0, "refuted"),
        (1.01, 1.05, "<=", 0.02, "inconclusive"),
        (1.01, 1.05, ">=", 0.0, "supported"),
        (0.9, 1.05, ">=", 0.0, "inconclusive"),
        (0.5, 0.9, ">=", 0.0, "refuted"),
        (0.5, np.inf, ">=", 0.5, "supported"),
    ],
)
def test_inequality(low: float, high: float, relation: str, margin: float, verdict: str) -> None:
    assert inequality(fixed(low, high), relation, 1.0, margin=margin).verdict == verdict


@settings(max_examples=200, deadline=None)
@given(st.floats(-2, 2), st.floats(0, 2), st.floats(-2, 2), st.floats(0.01, 1), st.floats(0.1, 10), st.floats(-5, 5))
def test_equality_is_two_inequalities_and_knows_no_units(
    low: float, width: float, aim: float, margin: float, scale: float, shift: float
) -> None:
    i = fixed(low, low + width)
    both = (inequality(i, "<=", aim, margin=margin).verdict, inequality(i, ">=", aim, margin=margin).verdict)
    expected = "refuted" if "refuted" in both else "supported" if set(both) == {"supported"} else "inconclusive"
    found = equality(i, aim, margin=margin)
    assert found.verdict == expected
    mirrored = equality(fixed(-low - width, -low), -aim, margin=margin)
    assert mirrored.verdict == found.verdict


@pytest.mark.parametrize(
    ("statistic", "prediction", "tolerance", "verdict"),
    [
        (1.0, 1.0, 0.0, "supported"),
        (1.0 + 1e-13, 1.0, 1e-12, "supported"),
        (1.0 + 1e-11, 1.0, 1e-12, "refuted"),
        ([1.0, 2.0], [1.0, 2.5], 0.1, "refuted"),
        ([1.0, 2.0], [1.0, 2.05], 0.1, "supported"),
    ],
)
def test_exact_equality(statistic: object, prediction: object, tolerance: float, verdict: str) -> None:
    found = exact_equality(statistic, prediction, tolerance=tolerance, detail={"k": 1}, note="why")
    assert found.verdict == verdict
    assert (found.alpha, found.n, found.method, found.note, found.detail) == (0.0, 0, "exact", "why", {"k": 1})
    assert {found.p_supported, found.p_refuted} == {0.0, 1.0} and found.p_value == 0.0


def test_exact_shows_the_worst_entry() -> None:
    found = exact_equality([1.0, 5.0, 2.0], [1.0, 2.0, 2.0], tolerance=0.5)
    assert (found.statistic, found.prediction, found.interval) == (5.0, 2.0, (5.0, 5.0))
    assert exact_inequality([0.1, 0.3], "<=", 0.3).verdict == "supported"
    assert exact_inequality([0.1, 0.3], ">=", 0.2).statistic == 0.1
    assert exact_inequality(0.1 + 0.2, "<=", 0.3).verdict == "refuted"
    assert exact_inequality(0.1 + 0.2, "<=", 0.3, tolerance=1e-15).verdict == "supported"
    # A true worst case: an inequality with slack elsewhere, whatever the size of the slack.
    assert exact_inequality([-1e9, 0.31], "<=", 0.3).statistic == 0.31


# --- error levels ----------------------------------------------------------------------------------------------------


def wrong_verdicts(truth: float, margin: float, runs: int = 2000) -> tuple[int, int]:
    """(supported, refuted) among `runs` checks of |mu - 0| <= margin at n = 20."""
    x = np.random.Generator(np.random.Philox(7)).normal(size=(runs, 20)) + truth
    found = [equality(t_interval(20, row.mean(), row.var(ddof=1)), 0.0, margin=margin).verdict for row in x]
    return found.count("supported"), found.count("refuted")


def test_wrong_verdicts_are_rare_at_the_border() -> None:
    limit = int(binom.isf(1e-6, 2000, 0.05))
    # Just outside the region "supported" is wrong, on its edge "refuted" is.
    assert wrong_verdicts(1.0 + 1e-9, 1.0)[0] <= limit
    assert wrong_verdicts(1.0, 1.0)[1] <= limit
    # The verdict has power: in the middle of a wide region, and far outside it.
    assert wrong_verdicts(0.0, 1.0)[0] > 1900
    assert wrong_verdicts(3.0, 1.0)[1] > 1900


def test_failing_to_reject_is_caught_as_no_support() -> None:
    # Broken twin: "supported" where the interval contains the prediction. At a truth outside the margin it errs often.
    limit = int(binom.isf(1e-6, 2000, 0.05))
    x = np.random.Generator(np.random.Philox(8)).normal(size=(2000, 20)) + 0.11
    i = t_interval(20, x.mean(axis=1), x.var(axis=1, ddof=1))
    assert int(i.contains(0.0).sum()) > limit
    assert wrong_verdicts(0.11, 0.1)[0] <= limit


def test_p_values_invert_the_interval() -> None:
    n, mean, variance, margin = 30, 0.2, 1.0, 0.7
    found = equality(partial(at, n, mean, variance), 0.0, margin=margin)
    se = np.sqrt(variance / n)
    # Closed form: the two-sided level at which the nearer edge is just reached.
    assert found.p_supported == pytest.approx(2 * t.sf((margin - mean) / se, n - 1), rel=2e-4)
    assert found.p_refuted == 1.0
    found = equality(partial(at, n, 1.2, variance), 0.0, margin=margin)
    assert found.verdict == "refuted" and found.p_refuted == pytest.approx(2 * t.sf(0.5 / se, n - 1), rel=2e-4)
    assert found.p_supported == 1.0 and found.p_value == found.p_refuted
    sure = inequality(partial(at, n, -90.0, variance), "<=", 0.0)
    assert sure.p_supported == 1e-12


def at(n: int, mean: object, variance: object, alpha: float) -> Interval:
    return t_interval(n, mean, variance, alpha=alpha)


@settings(max_examples=100, deadline=None)
@given(st.floats(-2, 2), st.floats(0.01, 4), st.sampled_from([0.2, 0.05, 0.01]))
def test_the_verdict_is_the_p_value_against_its_level(mean: float, variance: float, alpha: float) -> None:
    found = equality(partial(at, 12, mean, variance), 0.0, margin=0.5, alpha=alpha)
    if abs(np.log(found.p_value / alpha)) > 1e-3:  # bisection ends within 1e-4 of ln alpha
        decided = min(found.p_supported, found.p_refuted) <= alpha
        assert decided == (found.verdict != "inconclusive")
    alone = equality(t_interval(12, mean, variance, alpha=alpha), 0.0, margin=0.5)
    assert alone.verdict == found.verdict and alone.interval == found.interval


def test_a_confidence_sequence_gives_an_anytime_p_value() -> None:
    g = np.random.Generator(np.random.Philox(3))
    n = np.arange(1, 401)
    found, wrong = None, 0
    for _ in range(150):
        mean = float(np.cumsum(g.normal(size=400) + 0.3)[-1] / 400)
        found = inequality(lambda a, m=mean: normal_mixture(n[-1], m, 1.0, alpha=a, optimal_n=400), "<=", 0.3)
        wrong += found.p_refuted <= 0.05
    assert wrong <= int(binom.isf(1e-6, 150, 0.05))
    assert found is not None and found.n == 400 and "mixture" in found.method


# --- several entries -------------------------------------------------------------------------------------------------


def test_all_entries_must_hold_and_one_may_refute() -> None:
    def three(means: list[float]) -> Evidence:
        return equality(partial(at, 50, np.array(means), np.full(3, 0.04)), np.zeros(3), margin=0.2)

    assert three([0.0, 0.05, -0.05]).verdict == "supported"
    worst = three([0.0, 0.6, 0.15])
    assert worst.verdict == "refuted" and worst.statistic == 0.6 and worst.p_supported == 1.0
    assert three([0.0, 0.19, 0.0]).verdict == "inconclusive"
    with pytest.raises(InputError, match="function of alpha"):
        equality(t_interval(5, np.zeros(2), np.ones(2)), 0.0, margin=1.0)


def test_refuting_one_of_many_is_shared_among_them() -> None:
    # Just below the border at alpha but not at alpha / 10.
    level = [0.05, bonferroni(0.05, 10)]
    edge = [float(t_interval(50, 0.0, 0.04, alpha=a).high) + 0.2 for a in level]
    mean = np.zeros(10)
    mean[4] = (edge[0] + edge[1]) / 2
    found = equality(partial(at, 50, mean, np.full(10, 0.04)), 0.0, margin=0.2)
    assert found.verdict == "inconclusive" and 0.05 < found.p_refuted < 0.5
    alone = equality(partial(at, 50, float(mean[4]), 0.04), 0.0, margin=0.2)
    assert alone.verdict == "refuted"


@pytest.mark.parametrize(
    ("means", "direction", "margin", "verdict"),
    [
        ([1.0, 2.0, 3.0], "rising", 0.0, "supported"),
        ([3.0, 2.0, 1.0], "falling", 0.0, "supported"),
        ([1.0, 3.0, 2.0], "rising", 0.0, "refuted"),
        ([1.0, 2.0, 2.01], "rising", 0.0, "inconclusive"),
        ([1.0, 2.0, 1.9], "rising", 0.5, "supported"),
        ([1.0, 2.0, 3.0], "falling", 0.0, "refuted"),
    ],
)
def test_monotone(means: list[float], direction: str, margin: float, verdict: str) -> None:
    found = monotone(partial(at, 50, np.array(means), np.full(3, 0.04)), direction, margin=margin)
    assert found.verdict == verdict and found.kind == "monotone"


def test_monotone_under_equal_truths_is_rarely_decided() -> None:
    limit = int(binom.isf(1e-6, 300, 0.05))
    x = np.random.Generator(np.random.Philox(9)).normal(size=(300, 15, 4))
    found = [monotone(partial(at, 15, r.mean(axis=0), r.var(axis=0, ddof=1)), "rising").verdict for r in x]
    assert found.count("refuted") <= limit and found.count("supported") <= limit


def test_bad_input_to_a_verdict_gets_one_line() -> None:
    with pytest.raises(InputError, match="margin"):
        equality(fixed(0, 1), 0.5, margin=0.0)
    with pytest.raises(InputError, match="margin"):
        inequality(fixed(0, 1), "<=", 0.5, margin=-1.0)
    with pytest.raises(InputError, match="interval's own"):
        equality(fixed(0, 1), 0.5, margin=0.1, alpha=0.01)
    with pytest.raises(InputError, match="prediction"):
        equality(fixed(0, 1), np.nan, margin=0.1)
    with pytest.raises(InputError, match="statistic"):
        exact_equality(np.nan, 0.0, tolerance=1.0)
    with pytest.raises(InputError, match="statistic"):
        exact_equality([], 0.0, tolerance=1.0)
    with pytest.raises(InputError, match="tolerance"):
        exact_equality(0.0, 0.0, tolerance=-1.0)
    with pytest.raises(InputError, match="relation"):
        inequality(fixed(0, 1), "<", 0.5)
    with pytest.raises(InputError, match="nearest: rising"):
        monotone(partial(at, 5, np.zeros(2), np.ones(2)), "risng")
    with pytest.raises(InputError, match="k >= 2"):
        monotone(partial(at, 5, 0.0, 1.0), "rising")
