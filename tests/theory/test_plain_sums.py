"""Closed forms that claims use, against every outcome listed in plain Python; a wrong form is told apart each time."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from theory.claims import gigpo_fatal, gigpo_weighting, hgpo_noise
from theory.claims.dapo import kept_mean
from theory.claims.gae import full_bias, one_step_bias
from theory.claims.gigpo import std_factor
from theory.claims.gigpo_float32 import naive, shifted
from theory.claims.grpo_numerics import one_pass, two_pass
from theory.claims.hgpo import remaining
from theory.claims.hgpo_gradient import own_share
from theory.claims.remax import border, limit_border
from theory.claims.stepmix_mixing import every_step, one_step
from theory.claims.three_spo import first_valid
from theory.claims.three_spo_samples import each_arm, pairwise, told_apart
from theory.context_groups import level_weights
from theory.shared import binomial

TENTHS = st.integers(1, 9).map(lambda i: Fraction(i, 10))
SMALL = st.integers(2, 6)


def outcomes(n: int, p: Fraction) -> Iterator[tuple[tuple[int, ...], Fraction]]:
    """Every sequence of n successes and failures with its probability."""
    for drawn in product((0, 1), repeat=n):
        yield drawn, p ** sum(drawn) * (1 - p) ** (n - sum(drawn))


def told(closed: float, listed: Fraction | float, broken: Fraction | float, least: float = 1e-9) -> None:
    """The closed form is what was listed; the broken one is not."""
    assert closed == pytest.approx(float(listed), rel=1e-10, abs=1e-12)
    assert abs(float(broken) - float(listed)) > least


# --- Binary groups --------------------------------------------------------------------------------------------------


@given(n=st.integers(1, 7), p=TENTHS)
def test_binomial_counts_sequences(n: int, p: Fraction) -> None:
    listed = [Fraction(0)] * (n + 1)
    for drawn, chance in outcomes(n, p):
        listed[sum(drawn)] += chance
    found = binomial(n, float(p))
    assert found == pytest.approx([float(x) for x in listed], rel=1e-10)
    unordered = [float(p**k * (1 - p) ** (n - k)) for k in range(n + 1)]
    if n > 1:
        assert not np.allclose(found, unordered, rtol=1e-3)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_binomial_of_certain_draws_is_one_point(p: float) -> None:
    assert binomial(5, p).tolist() == ([1.0, 0, 0, 0, 0, 0] if p == 0.0 else [0, 0, 0, 0, 0, 1.0])
    assert binomial(0, p).tolist() == [1.0]


@given(n=SMALL, p=TENTHS)
def test_mean_of_kept_groups(n: int, p: Fraction) -> None:
    kept = [(drawn, chance) for drawn, chance in outcomes(n, p) if 0 < sum(drawn) < n]
    mean = sum((chance * Fraction(sum(drawn), n) for drawn, chance in kept), Fraction(0))
    listed = mean / sum((chance for _, chance in kept), Fraction(0))
    assert kept_mean(float(p), n) == pytest.approx(float(listed), rel=1e-12)
    assert kept_mean(float(p), n) + kept_mean(float(1 - p), n) == pytest.approx(1.0)
    if p != Fraction(1, 2):
        assert abs(float(p) - float(listed)) > 1e-5  # the rate before the filter
    if n == 2:
        assert listed == Fraction(1, 2)


@given(n=SMALL, p=TENTHS, scale=st.booleans())
def test_factor_of_a_deviation_on_the_gradient(n: int, p: Fraction, scale: bool) -> None:
    def factor(ddof: int) -> float:
        total = 0.0
        for drawn, chance in outcomes(n, p):
            mean = sum(drawn) / n
            below = math.sqrt(sum((x - mean) ** 2 for x in drawn) / (n - ddof)) + 1e-6 if scale else 1.0
            total += float(chance) * sum((x - mean) / below * (x - float(p)) for x in drawn) / n
        return total / float(p * (1 - p))

    found = std_factor(float(p), n, "mean_std" if scale else "mean")
    assert found == pytest.approx(factor(1), rel=1e-10)
    assert (abs(found - factor(0)) > 1e-3) == scale


@given(n=SMALL, p=TENTHS, weighting=st.sampled_from(["step", "trajectory"]))
def test_row_weighted_baselines(n: int, p: Fraction, weighting: str) -> None:
    lengths = (gigpo_weighting.FAILURE, gigpo_weighting.SUCCESS) if weighting == "step" else (1, 1)

    def listed(lengths: tuple[int, int]) -> tuple[Fraction, Fraction]:
        baseline = gradient = Fraction(0)
        for drawn, chance in outcomes(n, p):
            mean = Fraction(lengths[1] * sum(drawn), sum(lengths[x] for x in drawn))
            baseline += chance * mean
            gradient += chance * sum(((x - mean) * (x - p) for x in drawn), Fraction(0)) / n
        return baseline, gradient

    baseline, gradient = listed(lengths)
    other = listed((1, 1) if weighting == "step" else (gigpo_weighting.FAILURE, gigpo_weighting.SUCCESS))
    told(gigpo_weighting.expected_baseline(float(p), n, weighting), baseline, other[0], 1e-4)
    assert gigpo_weighting.expected_gradient(float(p), n, weighting) == pytest.approx(float(gradient), rel=1e-10)
    if weighting == "trajectory":
        assert gradient == Fraction(n - 1, n) * p * (1 - p)
        assert baseline == p


@given(k=st.integers(0, 6))
def test_group_baseline_is_a_share_of_rows(k: int) -> None:
    n, long, short = 6, gigpo_weighting.FAILURE, gigpo_weighting.SUCCESS
    rows = [1] * (short * k) + [0] * (long * (n - k))
    found = gigpo_weighting.group_baseline(np.array([k]), n, "step")[0]
    assert found == pytest.approx(sum(rows) / len(rows))
    assert gigpo_weighting.group_baseline(np.array([k]), n, "trajectory")[0] == pytest.approx(k / n)


# --- Contexts -------------------------------------------------------------------------------------------------------


@given(n=st.integers(2, 7), weights=st.sampled_from(["code", "paper"]))
def test_what_two_levels_leave_of_the_gap(n: int, weights: str) -> None:
    first = Fraction(2, 5) if weights == "code" else Fraction(1, 3)

    def left(w0: Fraction) -> Fraction:
        total = Fraction(0)
        for others, chance in outcomes(n - 1, Fraction(1, 2)):
            far = Fraction(n - 1 - sum(others), n)  # distance to the mean of all, per gap
            total += chance * far * (w0 if sum(others) else 1)
        return 2 * total

    if n > 2:
        told(remaining(n, weights), left(first), left(1 - first), 1e-3)
    else:
        told(remaining(n, weights), Fraction(1, 2), left(Fraction(1)) * 2)


@given(
    n=st.integers(2, 7),
    p=TENTHS,
    weights=st.tuples(st.integers(1, 5), st.integers(1, 5)),
)
def test_own_share_of_an_advantage(n: int, p: Fraction, weights: tuple[int, int]) -> None:
    w0, w1 = (Fraction(w, sum(weights)) for w in weights)

    def share(fall_back: bool) -> Fraction:
        total = Fraction(0)
        for others, chance in outcomes(n - 1, p):
            top, inside = 1 - Fraction(1, n), 1 - Fraction(1, sum(others) + 1)
            lone = top if fall_back else w0 * top
            total += chance * (w0 * top + w1 * inside if sum(others) else lone)
        return total

    told(own_share(n, float(p), np.array(weights, float)), share(True), share(False), 1e-9)


@given(n=st.integers(3, 8), p=TENTHS)
def test_mean_inverse_count_given_company(n: int, p: Fraction) -> None:
    met = [(sum(drawn), chance) for drawn, chance in outcomes(n - 1, p) if sum(drawn)]
    mass = sum((chance for _, chance in met), Fraction(0))
    listed = sum((chance / m for m, chance in met), Fraction(0)) / mass
    inverse_of_mean = mass / sum((chance * m for m, chance in met), Fraction(0))
    told(hgpo_noise.mean_inverse(n, float(p)), listed, inverse_of_mean, 1e-9)
    assert listed >= inverse_of_mean  # Jensen


def _errors(gap: Fraction, n: int) -> tuple[Fraction, Fraction, Fraction]:
    """E[e0^2], E[e0 e1], E[e1^2] over rows with company, from contexts and returns of all others."""
    g = gap - Fraction(1, 10)
    cases = []  # (context, return, chance) of one rollout
    for context, (right, pay) in enumerate(((Fraction(7, 10), (0, 1)), (Fraction(1, 5), (g + 1, g)))):
        cases += [(context, pay[1], right / 2), (context, pay[0], (1 - right) / 2)]
    sums, mass = [Fraction(0)] * 3, Fraction(0)
    for here, value in enumerate((Fraction(7, 10), Fraction(7, 10) + gap)):
        for others in product(cases, repeat=n - 1):
            inside = [pay for context, pay, _ in others if context == here]
            if not inside:
                continue
            chance = math.prod((c for _, _, c in others), start=Fraction(1))
            e0 = sum((Fraction(pay) for _, pay, _ in others), Fraction(0)) / (n - 1) - value
            e1 = sum((Fraction(pay) for pay in inside), Fraction(0)) / len(inside) - value
            mass += chance
            sums = [s + chance * x for s, x in zip(sums, (e0 * e0, e0 * e1, e1 * e1), strict=True)]
    return sums[0] / mass, sums[1] / mass, sums[2] / mass


@pytest.mark.parametrize("gap", [Fraction(1, 4), Fraction(1), Fraction(2)])
@pytest.mark.parametrize("n", [3, 4])
def test_best_deep_weight(gap: Fraction, n: int) -> None:
    s00, s01, s11 = _errors(gap, n)
    uncorrelated = s00 / (s00 + s11)
    told(hgpo_noise.predicted_weight(float(gap), n), (s00 - s01) / (s00 + s11 - 2 * s01), uncorrelated, 1e-3)


@given(alpha=st.floats(0.01, 20.0))
def test_best_alpha_inverts_the_weights(alpha: float) -> None:
    first, second = level_weights(1, alpha, "code")
    assert hgpo_noise.best_alpha(second / (first + second)) == pytest.approx(alpha, rel=1e-6)
    third, fourth = level_weights(1, alpha, "paper")
    assert hgpo_noise.best_alpha(fourth / (third + fourth)) > 1.5 * alpha
    assert hgpo_noise.best_alpha(0.5) == hgpo_noise.best_alpha(-3.0) == 0.0


@given(depth=st.integers(0, 5), alpha=st.integers(0, 4))
def test_level_weights(depth: int, alpha: int) -> None:
    assert level_weights(depth, float(alpha), "code").tolist() == [(k + 2) ** alpha for k in range(depth + 1)]
    assert level_weights(depth, float(alpha), "paper").tolist() == [(k + 1) ** alpha for k in range(depth + 1)]


# --- One decision of a lock -----------------------------------------------------------------------------------------


def _lock(n: int, reach: Fraction, right: Fraction, after: Fraction, marks: int) -> dict[str, Fraction]:
    kinds = [(None, 0, 0, 1 - reach)]
    for mark in range(marks):
        share = reach / marks
        kinds += [
            (mark, 0, 0, share * (1 - right)),
            (mark, 1, 0, share * right * (1 - after)),
            (mark, 1, 1, share * right * after),
        ]
    names = ("episode", "step", "episode_square", "step_square", "product")
    out: dict[str, Fraction] = {name: Fraction(0) for name in names}
    for drawn in product(kinds, repeat=n):
        chance = math.prod((k[3] for k in drawn), start=Fraction(1))
        whole = Fraction(sum(k[2] for k in drawn), n)
        episode = step = Fraction(0)
        for mark, correct, won, _ in drawn:
            if mark is None:
                continue
            group = [k[2] for k in drawn if k[0] == mark]
            episode += (won - whole) * (correct - right) / n
            step += (won - Fraction(sum(group), len(group))) * (correct - right) / n
        found = (episode, step, episode**2, step**2, episode * step)
        out = {name: out[name] + chance * x for name, x in zip(out, found, strict=True)}
    return out


@pytest.mark.parametrize("marks", [1, 2])
@pytest.mark.parametrize("n", [2, 3])
def test_law_of_a_decision(n: int, marks: int) -> None:
    reach, right, after = Fraction(3, 4), Fraction(2, 5), Fraction(1, 2)
    law = gigpo_fatal.decision_law(n, float(reach), float(right), float(after), marks)
    listed = _lock(n, reach, right, after, marks)
    broken = _lock(n, reach, right, after, 3 - marks)
    for name, value in listed.items():
        assert getattr(law, name) == pytest.approx(float(value), rel=1e-9), name
    assert abs(broken["step"] - listed["step"]) > Fraction(1, 10**4)
    assert broken["episode"] == listed["episode"]


@pytest.mark.parametrize("marks", [1, 2])
def test_alignments_of_a_lock_of_one_digit(marks: int) -> None:
    found = gigpo_fatal.fatal_alignments(3, 1, 0.5, marks)
    # One decision that all reach from one observation: both levels have the same group.
    listed = _lock(3, Fraction(1), Fraction(1, 2), Fraction(1), 1)
    want = float(listed["episode"]) / math.sqrt(listed["episode_square"])
    assert set(found) == set(gigpo_fatal.MIXES)
    assert list(found.values()) == pytest.approx([want] * len(found))


# --- Variance of a greedy baseline ----------------------------------------------------------------------------------


def _variance(p: Fraction, other: Fraction, baseline: Fraction) -> Fraction:
    """Trace of the covariance of (R - b) times the score, two arms with logits of their own."""
    arms = ((p, Fraction(1), (1 - p, p - 1)), (1 - p, other, (-p, p)))
    second = sum((c * (r - baseline) ** 2 * (s[0] ** 2 + s[1] ** 2) for c, r, s in arms), Fraction(0))
    mean = [sum((c * (r - baseline) * s[i] for c, r, s in arms), Fraction(0)) for i in (0, 1)]
    return second - mean[0] ** 2 - mean[1] ** 2


@given(p=st.integers(51, 99).map(lambda i: Fraction(i, 100)))
def test_border_of_the_greedy_baseline(p: Fraction) -> None:
    edge = 1 - 1 / (2 * p)
    assert border(np.array([float(p)]))[0] == pytest.approx(float(edge), rel=1e-12)
    assert _variance(p, edge, Fraction(1)) == _variance(p, edge, Fraction(0))
    step = Fraction(1, 1000)
    assert _variance(p, edge - step, Fraction(1)) > _variance(p, edge - step, Fraction(0))
    assert _variance(p, edge + step, Fraction(1)) < _variance(p, edge + step, Fraction(0))
    limit = Fraction(float(limit_border(np.array([float(p)]))[0]))
    assert _variance(p, limit, Fraction(1)) != _variance(p, limit, Fraction(0))


@given(p=TENTHS, other=TENTHS, b=st.fractions(-2, 2, max_denominator=8))
def test_variance_is_a_parabola_around_the_swapped_mean(p: Fraction, other: Fraction, b: Fraction) -> None:
    best = (1 - p) + p * other
    assert _variance(p, other, b) == 2 * p * (1 - p) * (b - best) ** 2
    mean = p + (1 - p) * other
    if p != Fraction(1, 2) and other != 1:
        assert best != mean


# --- A critic's error -----------------------------------------------------------------------------------------------


@given(
    ahead=st.lists(st.integers(-3, 3), min_size=1, max_size=6),
    gamma=st.integers(1, 4).map(lambda i: Fraction(i, 4)),
    lam=st.integers(1, 4).map(lambda i: Fraction(i, 4)),
)
def test_bias_of_gae_telescopes(ahead: list[int], gamma: Fraction, lam: Fraction) -> None:
    later = [*ahead[1:], 0]
    errors = (gamma * after - now for now, after in zip(ahead, later, strict=True))
    listed = sum(((gamma * lam) ** step * error for step, error in enumerate(errors)), Fraction(0))
    given_ahead = np.array(ahead, float)
    assert full_bias(given_ahead, float(gamma), float(lam)) == pytest.approx(float(listed), abs=1e-12)
    assert full_bias(given_ahead, float(gamma), 1.0) == pytest.approx(-ahead[0])
    short = one_step_bias(given_ahead, float(gamma), float(lam))
    assert short == pytest.approx(full_bias(given_ahead[:2], float(gamma), float(lam)), abs=1e-12)
    beyond = (1 - lam) * sum((gamma**k * lam ** (k - 1) * e for k, e in enumerate(ahead) if k > 1), Fraction(0))
    assert (abs(short - float(listed)) > 1e-9) == (abs(beyond) > 1e-9)


# --- Standardisation in float32 -------------------------------------------------------------------------------------

SCORES = st.lists(st.integers(-20, 20).map(lambda i: i / 4), min_size=2, max_size=9)


def _standardised(x: Sequence[float], spread: Callable[[Sequence[float]], float], eps: float = 1e-6) -> list[float]:
    mean = statistics.fmean(x)
    return [(v - mean) / (spread(x) + eps) for v in x]


@given(x=SCORES)
def test_standardised_scores(x: list[float]) -> None:
    assume(max(x) - min(x) >= 0.25)
    want, broken = _standardised(x, statistics.stdev), _standardised(x, statistics.pstdev)
    forms = [one_pass, two_pass, naive(np.float32), naive(np.float64), naive(np.float64, one_pass=True), shifted]
    for form in forms:
        found = form(np.array(x))
        assert found == pytest.approx(want, rel=2e-3, abs=2e-3)
        assert not np.allclose(found, broken, rtol=2e-2, atol=2e-3)


@given(x=st.sampled_from([0.1, 9.5, 123.456]), n=st.integers(2, 16))
def test_equal_scores_in_the_library_are_exactly_zero(x: float, n: int) -> None:
    assert not shifted(np.full(n, x)).any()
    rounded = naive(np.float32)(np.full(n, x))
    assert rounded == pytest.approx([rounded[0]] * n)  # whatever the noise is, members alike get the same


def test_one_pass_loses_what_two_passes_keep() -> None:
    x = np.array([1000.0, 1000.1, 999.9, 1000.05])
    want = np.array(_standardised(x.tolist(), statistics.stdev))
    assert np.abs(two_pass(x) - want).max() < 0.01
    assert np.abs(one_pass(x) - want).max() > 0.05


# --- Mixing and samples ---------------------------------------------------------------------------------------------


@given(horizon=st.integers(1, 8), data=st.data(), weight=st.floats(0.1, 0.9))
def test_a_step_mixture_flips_one_coin(horizon: int, data: st.DataObject, weight: float) -> None:
    handed = data.draw(st.integers(0, horizon - 1))
    left = np.arange(horizon + 1)
    want = [1.0 if steps <= handed else weight if steps == handed + 1 else 0.0 for steps in range(horizon + 1)]
    assert one_step(left, handed, weight).tolist() == want
    assert every_step(left, handed, weight).tolist() == [weight] * (horizon + 1) != want
    # Weights 0 and 1 are neighbours in the row of candidates.
    assert one_step(left, handed, 1.0).tolist() == one_step(left, handed + 1, 0.0).tolist()


@given(gap=st.floats(0.05, 0.9))
def test_first_valid_time(gap: float) -> None:
    start, rate = first_valid(gap), 16.0 / gap**2
    assert all(i >= rate * math.log(i) for i in (start, start + 1, 2 * start, 10 * start))
    if start > 1.1 * rate:
        early = start * 0.99
        assert early < rate * math.log(early)


@given(low=st.integers(1, 80), gap=st.integers(5, 19), delta=st.sampled_from([0.1, 0.01, 1e-3]))
def test_numbers_of_samples_are_hoeffdings(low: int, gap: int, delta: float) -> None:
    p = (low / 100, (low + gap) / 100)
    n, more = pairwise(p, delta), each_arm(p, delta)
    distance = p[1] - p[0]
    assert math.exp(-n * distance**2) <= delta * (1 + 1e-12) < math.exp(-(n - 1) * distance**2)
    assert 4 * math.exp(-more * distance**2 / 2) <= delta * (1 + 1e-12) < 4 * math.exp(-(more - 1) * distance**2 / 2)
    assert more > 2 * n - 2


@given(n=st.integers(2, 9), p=TENTHS, q=TENTHS, alpha=st.sampled_from([0.3, 1.7, 10.0]), group=st.sampled_from([4, 8]))
def test_counts_that_tell_two_arms_apart(n: int, p: Fraction, q: Fraction, alpha: float, group: int) -> None:
    def count(k: int) -> int:
        return math.ceil(group * n ** (-alpha * k / n))

    chance = {r: [comb(n, k) * r**k * (1 - r) ** (n - k) for k in range(n + 1)] for r in (p, q)}
    pairs = list(product(range(n + 1), repeat=2))
    apart = sum((chance[p][i] * chance[q][j] for i, j in pairs if count(i) != count(j)), Fraction(0))
    assert told_apart((float(p), float(q)), n, alpha, group) == pytest.approx(float(apart), abs=1e-9)
    rates = sum((chance[p][i] * chance[q][j] for i, j in pairs if i != j), Fraction(0))
    assert apart <= rates
    if alpha == 10.0 and n > 4 and min(p, q) >= Fraction(1, 5):
        assert rates - apart > Fraction(1, 10**4)
