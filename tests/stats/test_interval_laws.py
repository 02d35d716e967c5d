"""Laws that intervals and verdicts obey whatever the numbers: units, mirrors, nesting, levels."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from creditsim.stats.intervals import (
    Interval,
    delta_interval,
    mean_interval,
    proportion_interval,
    ratio_interval,
    t_interval,
    two_sample_interval,
    variance_interval,
    variance_ratio_interval,
)
from creditsim.stats.joint import adjudicate, all_of
from creditsim.stats.moments import Moments, merge
from creditsim.stats.sequences import normal_mixture, running_intersection
from creditsim.stats.sums import Summary
from creditsim.stats.verdict import Evidence, equality, exact_equality, exact_inequality, inequality

FEW = settings(max_examples=40, deadline=None)
alphas = st.floats(1e-6, 0.4)
means = st.floats(-5, 5)
variances = st.floats(0.01, 9.0)
counts = st.integers(2, 400)
seeds = st.integers(0, 10**6)


def summary(seed: int, n: int, shape: tuple[int, ...] = (), shift: float = 0.0, scale: float = 1.0) -> Summary:
    """Summary of n numbers drawn by `seed`, scaled and shifted."""
    values = np.random.default_rng(seed).normal(size=(n, *shape)) * scale + shift
    return Moments(shape, cross=bool(shape)).add(values, 0).summary()


def ends(interval: Interval) -> np.ndarray:
    return np.array([float(interval.low), float(interval.estimate), float(interval.high)])


# --- Intervals --------------------------------------------------------------------------------------------------------


@FEW
@given(seeds, counts, st.floats(-3, 3), st.floats(0.1, 10), alphas)
def test_means_follow_their_units(seed: int, n: int, shift: float, scale: float, alpha: float) -> None:
    plain, other = (mean_interval(summary(seed, n, (), *s), alpha=alpha) for s in ((0.0, 1.0), (shift, scale)))
    assert ends(other) == pytest.approx(shift + scale * ends(plain), rel=1e-9, abs=1e-9 * (1 + abs(shift)))
    # Broken twin: intervals of variances do not move with the values but scale with their square.
    n, alpha = n + 30, max(alpha, 1e-3)  # small samples at small levels have bounds beyond any float
    wide, narrow = (variance_interval(summary(seed, n, (), *s), alpha=alpha) for s in ((shift, scale), (0.0, 1.0)))
    assert ends(wide) == pytest.approx(scale**2 * ends(narrow), rel=1e-7)


@FEW
@given(counts, means, variances, alphas, st.floats(0.01, 0.99))
def test_intervals_are_nested_in_alpha(n: int, mean: float, variance: float, alpha: float, share: float) -> None:
    wide, narrow = (t_interval(n, mean, variance, alpha=a) for a in (alpha * share, alpha))
    assert wide.low < narrow.low <= mean <= narrow.high < wide.high
    assert wide.level > narrow.level and wide.width > narrow.width


@FEW
@given(seeds, counts, seeds, counts, alphas)
def test_two_samples_exchange_to_the_mirror(a: int, n: int, b: int, m: int, alpha: float) -> None:
    first, second = summary(a, n), summary(b, m, (), 0.5, 2.0)
    there, back = two_sample_interval(first, second, alpha=alpha), two_sample_interval(second, first, alpha=alpha)
    assert ends(there) == pytest.approx(-ends(back)[::-1], rel=1e-12)
    ratio, inverse = (variance_ratio_interval(x, y, alpha=alpha) for x, y in ((first, second), (second, first)))
    if ratio.low > 0 and inverse.low > 0:
        assert ends(ratio) == pytest.approx(1.0 / ends(inverse)[::-1], rel=1e-9)


@FEW
@given(st.integers(0, 300), st.integers(0, 300), alphas, st.sampled_from(["clopper-pearson", "wilson"]))
def test_failures_mirror_successes(k: int, more: int, alpha: float, method: str) -> None:
    n = k + more
    one, other = (proportion_interval(c, n, alpha=alpha, method=method) for c in (k, n - k))
    assert one.low == pytest.approx(1.0 - other.high, abs=1e-9)
    assert one.high == pytest.approx(1.0 - other.low, abs=1e-9)
    assert -1e-12 <= one.low <= one.high <= 1 + 1e-12
    if n:
        assert one.low - 1e-12 <= k / n <= one.high + 1e-12


@FEW
@given(st.integers(0, 200), st.integers(1, 200), alphas)
def test_more_successes_never_lower_the_interval(k: int, more: int, alpha: float) -> None:
    n = k + more
    lower, upper = (proportion_interval(c, n, alpha=alpha) for c in (k, k + 1))
    assert lower.low <= upper.low and lower.high <= upper.high


@FEW
@given(seeds, st.integers(20, 300), st.floats(0.2, 5.0), alphas)
def test_a_ratio_follows_the_units_of_its_numerator(seed: int, n: int, scale: float, alpha: float) -> None:
    values = np.random.default_rng(seed).normal(size=(n, 2)) + np.array([1.0, 12.0])
    for method in ("fieller", "delta"):
        found = [
            ratio_interval(Moments((2,), cross=True).add(values * [c, 1.0], 0).summary(), alpha=alpha, method=method)
            for c in (1.0, scale, -1.0)
        ]
        assert ends(found[1]) == pytest.approx(scale * ends(found[0]), rel=1e-6, abs=1e-9)
        assert ends(found[2]) == pytest.approx(-ends(found[0])[::-1], rel=1e-6, abs=1e-9)


@FEW
@given(seeds, counts, alphas, st.lists(st.floats(-3, 3), min_size=3, max_size=3))
def test_a_linear_function_needs_no_delta(seed: int, n: int, alpha: float, weights: list[float]) -> None:
    w = np.array(weights) + 0.01
    values = np.random.default_rng(seed).normal(size=(n, 3))
    whole = Moments((3,), cross=True).add(values, 0).summary()
    by_delta = delta_interval(whole, lambda mean: float(w @ mean), w, alpha=alpha)
    direct = mean_interval(Moments().add(values @ w, 0).summary(), alpha=alpha)
    assert ends(by_delta) == pytest.approx(ends(direct), rel=1e-8, abs=1e-9)


def test_a_paired_difference_is_not_two_samples() -> None:
    # Broken twin of pairing: Welch's interval knows nothing of what two estimators share, so it is far wider.
    rng = np.random.default_rng(0)
    common = rng.normal(size=500)
    x, y = common + 0.1 * rng.normal(size=500), common + 0.1 * rng.normal(size=500)
    paired = mean_interval(Moments().add(x - y, 0).summary())
    apart = two_sample_interval(Moments().add(x, 0).summary(), Moments().add(y, 0).summary())
    assert apart.width > 5 * paired.width


@FEW
@given(seeds, alphas)
def test_running_intersections_only_shrink(seed: int, alpha: float) -> None:
    n = np.arange(1, 60)
    mean = np.cumsum(np.random.default_rng(seed).normal(size=59)) / n
    plain = normal_mixture(n, mean, 1.0, alpha=alpha, optimal_n=30)
    met = running_intersection(plain)
    assert (np.diff(met.low) >= 0).all() and (np.diff(met.high) <= 0).all()
    assert (met.low >= plain.low).all() and (met.high <= plain.high).all()
    assert np.array_equal(running_intersection(met).low, met.low)
    assert met.at(-1).n == 59


# --- Merging ----------------------------------------------------------------------------------------------------------


@FEW
@given(seeds, st.lists(st.integers(1, 70), min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_merging_is_commutative_and_associative_to_the_bit(seed: int, sizes: list[int], random: object) -> None:
    cuts = np.cumsum([0, *sizes])
    values = np.random.default_rng(seed).normal(size=(cuts[-1], 2)) * 1e3 + 1e6
    parts = [Moments((2,), True, 16).add(values[a:b], int(a)) for a, b in itertools.pairwise(cuts)]
    whole = Moments((2,), True, 16).add(values, 0).summary()
    shuffled = list(parts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    left = shuffled[0]
    for part in shuffled[1:]:
        left = part.merged(left)
    for found in (merge(shuffled).summary(), left.summary()):
        for name in ("n", "mean", "m2", "m3", "m4", "cross"):
            assert np.array_equal(getattr(found, name), getattr(whole, name))
    assert whole.mean == pytest.approx(values.mean(axis=0), rel=1e-14)
    assert whole.covariance() == pytest.approx(np.cov(values.T), rel=1e-8)


def test_adding_chunk_means_would_not_be_to_the_bit() -> None:
    values = np.random.default_rng(3).normal(size=999) * 1e3 + 1e6
    sums = {sum(sum(values[i : i + k].tolist()) for i in range(0, 999, k)) for k in (1, 7, 100, 999)}
    assert len(sums) > 1
    found = set()
    for k in (1, 7, 100, 999):
        parts = [Moments(block=16).add(values[i : i + k], i) for i in range(0, 999, k)]
        found.add(float(merge(parts).summary().mean))
    assert len(found) == 1


# --- Verdicts ---------------------------------------------------------------------------------------------------------

BOLDNESS = {"refuted": -1, "inconclusive": 0, "supported": 1}


def judged(n: int, mean: float, variance: float, margin: float, alpha: float) -> Evidence:
    return equality(lambda a: t_interval(n, mean, variance, alpha=a), 0.0, margin=margin, alpha=alpha)


@FEW
@given(counts, means, variances, st.floats(0.01, 3), st.floats(1.0, 4.0), alphas)
def test_a_wider_margin_never_speaks_against(
    n: int, mean: float, variance: float, margin: float, factor: float, alpha: float
) -> None:
    narrow, wide = (judged(n, mean, variance, m, alpha) for m in (margin, margin * factor))
    assert BOLDNESS[wide.verdict] >= BOLDNESS[narrow.verdict]
    assert wide.p_supported <= narrow.p_supported * (1 + 1e-3) and wide.p_refuted >= narrow.p_refuted * (1 - 1e-3)
    bounds = [
        inequality(lambda a: t_interval(n, mean, variance, alpha=a), "<=", 0.0, margin=m, alpha=alpha)
        for m in (margin, margin * factor)
    ]
    assert BOLDNESS[bounds[1].verdict] >= BOLDNESS[bounds[0].verdict]


@FEW
@given(counts, means, variances, st.floats(0.01, 3), alphas, st.floats(0.001, 1.0))
def test_a_stricter_level_only_withdraws(
    n: int, mean: float, variance: float, margin: float, alpha: float, share: float
) -> None:
    loose, strict = (judged(n, mean, variance, margin, a) for a in (alpha, alpha * share))
    assert strict.verdict in (loose.verdict, "inconclusive")
    assert strict.p_supported == loose.p_supported and strict.p_refuted == loose.p_refuted


@FEW
@given(st.lists(st.tuples(means, st.floats(0.001, 0.5)), min_size=1, max_size=5), st.integers(1, 5), alphas)
def test_more_statements_never_make_a_ledger_bolder(
    values: list[tuple[float, float]], others: int, alpha: float
) -> None:
    alpha = max(alpha, 1e-3)
    first = {str(i): judged(50, mean, variance, 0.5, 0.05) for i, (mean, variance) in enumerate(values)}
    # Statements about which nothing is known: with p = 1 they can only take shares away.
    vague = {f"vague {i}": judged(2, 0.0, 1e9, 0.5, 0.05) for i in range(others)}
    few, many = adjudicate(first, alpha=alpha), adjudicate({**first, **vague}, alpha=alpha)
    for name in first:
        assert many[name].verdict in (few[name].verdict, "inconclusive")
        for key in ("adjusted_p_supported", "adjusted_p_refuted"):
            assert many[name].detail[key] >= few[name].detail[key]
            assert few[name].detail[key] >= min(1.0, getattr(first[name], key.removeprefix("adjusted_"))) - 1e-15


def test_without_the_family_a_ledger_would_be_bolder() -> None:
    edge = judged(50, 0.0, 1.0, 0.4, 0.05)
    assert edge.verdict == "supported" and edge.p_supported > 1e-3
    assert adjudicate({"alone": edge}, alpha=0.05)["alone"].verdict == "supported"
    crowd = {"edge": edge, **{str(i): judged(2, 0.0, 1e9, 0.5, 0.05) for i in range(400)}}
    assert adjudicate(crowd, alpha=0.05)["edge"].verdict == "inconclusive"


@FEW
@given(st.lists(st.floats(-2, 2), min_size=1, max_size=5), st.floats(0, 2))
def test_exact_statements_cost_nothing(values: list[float], tolerance: float) -> None:
    sampled = {"sampled": judged(200, 0.0, 1.0, 0.3, 0.05)}
    exact = {str(i): exact_equality(v, 0.0, tolerance=tolerance) for i, v in enumerate(values)}
    decided = adjudicate({**sampled, **exact}, alpha=0.05)
    for name, evidence in exact.items():
        assert decided[name].verdict == evidence.verdict == ("supported" if abs(values[int(name)]) <= tolerance
                                                             else "refuted")  # fmt: skip
    held = sum(evidence.verdict == "refuted" for evidence in exact.values())
    alone = adjudicate(sampled, alpha=0.05)["sampled"].detail["adjusted_p_supported"]
    # A refuted exact statement has p = 1 against "is false": it stays in that family, the others leave it.
    assert decided["sampled"].detail["adjusted_p_supported"] == pytest.approx(min(1.0, (1 + held) * alone))


@FEW
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=6), st.floats(-1, 1))
def test_exact_equality_is_both_inequalities(values: list[float], bound: float) -> None:
    both = [exact_inequality(values, relation, bound, tolerance=0.25).verdict for relation in ("<=", ">=")]
    equal = exact_equality(values, bound, tolerance=0.25)
    assert (equal.verdict == "supported") == (both == ["supported", "supported"])
    assert equal.statistic == pytest.approx(max(values, key=lambda v: abs(v - bound)), abs=0.5)
    assert equal.alpha == 0.0 and equal.p_value == 0.0


@FEW
@given(st.lists(st.tuples(means, variances), min_size=1, max_size=4), alphas)
def test_all_of_is_no_bolder_than_its_weakest_part(values: list[tuple[float, float]], alpha: float) -> None:
    parts = {str(i): judged(40, mean, variance, 1.0, alpha) for i, (mean, variance) in enumerate(values)}
    joint = all_of(parts, alpha=alpha)
    verdicts = {part.verdict for part in parts.values()}
    if joint.verdict == "supported":
        assert verdicts == {"supported"}
    if joint.verdict == "refuted":
        assert "refuted" in verdicts
    assert joint.p_supported == max(part.p_supported for part in parts.values())
    assert math.isclose(joint.p_refuted, min(1.0, len(parts) * min(p.p_refuted for p in parts.values())))
