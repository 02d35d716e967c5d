"""Laws of trajectories and what claims read off them, against tuples listed in plain Python."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from creditsim.mdp import SoftmaxPolicy, make
from theory import noise as noises
from theory.claims import opo
from theory.claims import optimal_token_baseline as otb
from theory.claims.gspo import OffPolicy
from theory.claims.hgpo_zeros import dropped_factors, kept_factor
from theory.claims.passk import best_of_n_gradient
from theory.claims.per_turn import FORMS, Parts
from theory.laws import ScoredLaw, bandit, policy_of
from theory.overall import jackknife, scaled
from theory.shared import alignment, angle, binary_task, responses

ARMS = st.lists(st.integers(1, 6), min_size=2, max_size=4)


def shares(weights: Sequence[int]) -> list[Fraction]:
    """Probabilities in proportion to whole numbers."""
    return [Fraction(w, sum(weights)) for w in weights]


def bandit_law(weights: Sequence[int], rewards: Sequence[float]) -> ScoredLaw:
    mdp = bandit(rewards)
    return ScoredLaw.of(mdp, policy_of(mdp, [[float(p) for p in shares(weights)]]))


def score(p: Sequence[Fraction], arm: int) -> list[Fraction]:
    """d log p(arm) / d logits."""
    return [int(a == arm) - p[a] for a in range(len(p))]


# --- Bandits ----------------------------------------------------------------------------------------------------------


@given(weights=ARMS, data=st.data())
def test_the_law_of_a_bandit(weights: list[int], data: st.DataObject) -> None:
    rewards = data.draw(st.lists(st.integers(-3, 3), min_size=len(weights), max_size=len(weights)))
    p, law = shares(weights), bandit_law(weights, rewards)
    order = law.rollouts.action
    assert sorted(order.tolist()) == list(range(len(weights)))
    assert law.chance == pytest.approx([float(p[a]) for a in order])
    assert law.total.tolist() == law.to_go.tolist() == [rewards[a] for a in order]
    for row, arm in enumerate(order.tolist()):
        assert law.whole[row, : len(p)] == pytest.approx([float(x) for x in score(p, arm)], abs=1e-12)
        assert not law.whole[row, len(p) :].any()
    assert law.mean(law.whole) == pytest.approx(np.zeros(law.whole.shape[1]), abs=1e-12)
    assert law.mean(law.total) == pytest.approx(float(sum(c * r for c, r in zip(p, rewards, strict=True))))


@given(weights=ARMS, baseline=st.integers(-2, 2), data=st.data())
def test_mean_and_trace_of_a_credit(weights: list[int], baseline: int, data: st.DataObject) -> None:
    rewards = data.draw(st.lists(st.integers(-3, 3), min_size=len(weights), max_size=len(weights)))
    p, law = shares(weights), bandit_law(weights, rewards)
    arms = range(len(p))
    mean = [sum(p[a] * (rewards[a] - baseline) * score(p, a)[i] for a in arms) for i in arms]
    second = sum(p[a] * (rewards[a] - baseline) ** 2 * sum(x * x for x in score(p, a)) for a in arms)
    trace = second - sum(x * x for x in mean)
    found, spread = law.gradient(law.total - baseline)
    assert found[: len(p)] == pytest.approx([float(x) for x in mean], abs=1e-12)
    assert spread == pytest.approx(float(trace), abs=1e-10)
    # A constant baseline changes the spread, never the mean; one that knows the arm changes the mean.
    assert law.gradient(law.total)[0] == pytest.approx(found, abs=1e-12)
    if any(rewards):
        assert not np.allclose(law.gradient(law.total * (1.0 + law.whole[:, 0]))[0], found, atol=1e-9) or len(p) == 2


@given(weights=ARMS, data=st.data())
def test_constant_baselines(weights: list[int], data: st.DataObject) -> None:
    k = len(weights)
    rewards = data.draw(st.lists(st.integers(0, 4), min_size=k, max_size=k))
    lengths = data.draw(st.lists(st.integers(1, 9), min_size=k, max_size=k))
    p, law = shares(weights), bandit_law(weights, rewards)
    square = [sum(x * x for x in score(p, a)) for a in range(k)]

    def weighted(by: Sequence[Fraction | int]) -> Fraction:
        total = sum(c * w * r for c, w, r in zip(p, by, rewards, strict=True))
        return Fraction(total) / sum(c * w for c, w in zip(p, by, strict=True))

    drawn = np.array(lengths, float)[law.rollouts.action]
    want = {
        opo.best: weighted(square),
        opo.length_weighted: weighted(lengths),
        opo.plain_mean: weighted([1] * k),
        opo.inverse_length: weighted([Fraction(1, n) for n in lengths]),
    }
    for form, value in want.items():
        assert form(law, drawn) == pytest.approx(float(value), abs=1e-12), form.__name__

    def spread(b: Fraction) -> Fraction:
        return sum((p[a] * square[a] * (rewards[a] - b) ** 2 for a in range(k)), Fraction(0))

    # The mean of the gradient does not depend on the baseline: the second moment decides.
    assert all(spread(want[opo.best]) <= spread(value) for value in want.values())
    if want[opo.plain_mean] != want[opo.best]:
        assert spread(want[opo.best]) < spread(want[opo.plain_mean])


@settings(max_examples=25)
@given(weights=st.lists(st.integers(1, 4), min_size=2, max_size=3), n=st.integers(2, 4), data=st.data())
def test_gradient_of_the_expected_best(weights: list[int], n: int, data: st.DataObject) -> None:
    k = len(weights)
    rewards = data.draw(st.lists(st.integers(0, 3), min_size=k, max_size=k))
    p, law = shares(weights), bandit_law(weights, rewards)
    best, mean = [Fraction(0)] * k, [Fraction(0)] * k
    for drawn in product(range(k), repeat=n):
        chance = math.prod((p[a] for a in drawn), start=Fraction(1))
        for i in range(k):
            push = sum((score(p, a)[i] for a in drawn), Fraction(0))
            best[i] += chance * max(rewards[a] for a in drawn) * push
            mean[i] += chance * Fraction(sum(rewards[a] for a in drawn), n) * push
    found = best_of_n_gradient(law, n)[:k]
    assert found == pytest.approx([float(x) for x in best], abs=1e-12)
    if best != mean:
        assert not np.allclose(found, [float(x) for x in mean], atol=1e-9)
    if n == 2 and len(set(rewards)) == 1:
        assert not any(best)


def test_best_of_one_is_the_policy_gradient() -> None:
    law = bandit_law([1, 2, 3], [0.0, 2.0, 5.0])
    assert best_of_n_gradient(law, 1) == pytest.approx(law.gradient(law.total)[0], abs=1e-12)


# --- Tokens -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize(("chance", "factor"), [("1/4", "1/2"), ("1/5", "3/2")])
def test_products_of_ratios_vary_exponentially(length: int, chance: str, factor: str) -> None:
    mu, ratio = Fraction(chance), Fraction(factor)
    tokens = [(mu, ratio), (1 - mu, (1 - mu * ratio) / (1 - mu))]
    law = [
        (math.prod((c for c, _ in drawn), start=Fraction(1)), [r for _, r in drawn])
        for drawn in product(tokens, repeat=length)
    ]
    case = OffPolicy.eliminated(length, float(mu), float(ratio))

    def variance(values: list[Fraction]) -> Fraction:
        mean = sum((c * v for (c, _), v in zip(law, values, strict=True)), Fraction(0))
        return sum((c * (v - mean) ** 2 for (c, _), v in zip(law, values, strict=True)), Fraction(0))

    whole = variance([math.prod(ratios, start=Fraction(1)) for _, ratios in law])
    one = variance([ratios[0] for _, ratios in law])
    assert whole == (1 + one) ** length - 1
    assert case.weight_variance("full product") == pytest.approx(float(whole), rel=1e-9)
    assert case.weight_variance("token ratios") == pytest.approx(float(one), rel=1e-9)
    roots = [(float(c), math.prod(map(float, ratios)) ** (1 / length)) for c, ratios in law]
    mean = sum(c * v for c, v in roots)
    sequence = sum(c * (v - mean) ** 2 for c, v in roots)
    assert case.weight_variance("sequence ratio") == pytest.approx(sequence, rel=1e-8)
    if length > 1:
        assert sequence < float(one) < float(length * one) < float(whole)


@given(rows=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4), min_size=1, max_size=4))
def test_weights_of_token_baselines(rows: list[list[int]]) -> None:
    square = np.array([x for row in rows for x in row], float)
    offsets = np.cumsum([0, *map(len, rows)])
    running = [float(sum(row[: i + 1])) for row in rows for i in range(len(row))]
    assert otb.cumulative(square, offsets).tolist() == running
    assert otb.own(square, offsets).tolist() == square.tolist()
    assert otb.even(square, offsets).tolist() == [1.0] * square.size
    across = np.cumsum(square).tolist()
    if len(rows) > 1 and any(rows[0]):
        assert across != running


# --- Turns ------------------------------------------------------------------------------------------------------------


def parts_of(alive: Sequence[float]) -> Parts:
    p = np.array(alive)
    return Parts(p, np.ones(p.size), np.zeros((p.size, 1)), np.eye(p.size), np.eye(p.size))


@given(p=st.integers(1, 10).map(lambda i: Fraction(i, 10)), n=st.integers(2, 7))
def test_what_a_member_in_its_own_mean_leaves(p: Fraction, n: int) -> None:
    """c = E[1 - 1/m] of a member that is alive with m - 1 others."""
    listed = Fraction(0)
    for others in product((0, 1), repeat=n - 1):
        chance = p ** sum(others) * (1 - p) ** (n - 1 - sum(others))
        listed += chance * (1 - Fraction(1, 1 + sum(others)))
    found = float(parts_of([float(p)]).shrink(n)[0])
    assert found == pytest.approx(float(listed), rel=1e-10)
    if p < 1:
        assert listed < Fraction(n - 1, n)  # as if everybody were alive
        assert abs(found - (n - 1) / n) > 1e-9
    else:
        assert listed == Fraction(n - 1, n)


@given(stop=st.integers(1, 9), turns=st.integers(2, 4))
def test_turns_that_are_reached(stop: int, turns: int) -> None:
    mdp = make("stopping", turns=turns, stop=0.5, go=0.25, last=1.0)
    chance = stop / 10
    policy = policy_of(mdp, [[chance, 1.0 - chance]] * turns)
    found = Parts.of(mdp, policy)
    ending = found.p[1] if turns > 1 else 1.0
    assert found.p == pytest.approx([ending**k for k in range(turns)])
    assert ending in (pytest.approx(chance), pytest.approx(1.0 - chance))
    # All turns together are the exact gradient, and the last forms agree where everybody lives.
    law = ScoredLaw.of(mdp, policy)
    assert found.own.sum(axis=0) == pytest.approx(law.gradient(law.to_go)[0], abs=1e-12)
    assert found.expected("reward, all members, to the end", 4) == pytest.approx(0.75 * law.gradient(law.to_go)[0])
    assert set(FORMS) == {f for f in FORMS if found.expected(f, 3).shape == law.gradient(law.to_go)[0].shape}


# --- Levels that are dropped ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("gap", [Fraction(3, 5), Fraction(1)])
def test_factors_of_dropped_levels(gap: Fraction, n: int) -> None:
    g = gap - Fraction(1, 10)
    contexts = ((Fraction(7, 10), (Fraction(0), Fraction(1))), (Fraction(1, 5), (g + 1, g)))

    def factor(here: int, drop: bool) -> Fraction:
        right, pay = contexts[here]
        kinds = [
            (c, contexts[c][1][a], Fraction(1, 2) * (contexts[c][0] if a else 1 - contexts[c][0]))
            for c in (0, 1)
            for a in (0, 1)
        ]
        total = Fraction(0)
        for action, chance in ((1, right), (0, 1 - right)):
            for others in product(kinds, repeat=n - 1):
                both = chance * math.prod((k[2] for k in others), start=Fraction(1))
                inside = [pay[action], *(k[1] for k in others if k[0] == here)]
                a0 = pay[action] - (pay[action] + sum((k[1] for k in others), Fraction(0))) / n
                a1 = pay[action] - sum(inside, Fraction(0)) / len(inside)
                levels = [(2, a0), (3, a1)] if len(inside) > 1 else [(2, a0)]
                live = [(w, a) for w, a in levels if a or not drop]
                mixed = sum((w * a for w, a in live), Fraction(0)) / max(sum(w for w, _ in live), 1)
                total += both * (action - right) * mixed
        return total / (right * (1 - right) * (pay[1] - pay[0]))

    found = dropped_factors(float(gap), n)
    assert found == pytest.approx([float(factor(c, True)) for c in (0, 1)], rel=1e-9)
    kept = [float(factor(c, False)) for c in (0, 1)]
    assert kept == pytest.approx([kept_factor(n)] * 2, rel=1e-9)
    if n > 2:
        assert not np.allclose(found, kept, rtol=1e-6)


# --- Noise ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["one answer, p = 0.1", "one answer, p = 0.5"])
@pytest.mark.parametrize("n", [2, 3, 5])
def test_noise_of_pairs_is_that_of_groups(name: str, n: int) -> None:
    c, d = noises.pair_noise(name)
    found = noises.noise(name, "rloo@paper", n)
    assert found.relative == pytest.approx(c + d / (n - 1), rel=1e-9)
    assert found.relative != pytest.approx(c + d / n, rel=1e-3)
    assert found.cosine == pytest.approx(1.0)


@pytest.mark.parametrize("p", [Fraction(1, 10), Fraction(1, 2)])
def test_best_noise_of_one_answer(p: Fraction) -> None:
    name = f"one answer, p = {float(p):g}"
    mdp, policy = noises.task(name)
    assert policy.probabilities(mdp)[0, 1] == pytest.approx(float(p))
    assert noises.best_constant(name)[0] == pytest.approx(float(1 - p))  # E[s^2 R] / E[s^2] of two arms
    # With two arms the best baseline leaves no noise: the gradient is a constant.
    assert noises.best_noise(name).relative == pytest.approx(0.0, abs=1e-9)
    assert noises.noise(name, "reinforce", 2).relative == pytest.approx(float((1 - p) / p), rel=1e-9)


@pytest.mark.parametrize("name", ["tree", "chain", "stop or go on"])
def test_no_constant_is_quieter_than_the_best(name: str) -> None:
    best = noises.best_noise(name)
    assert best.relative <= noises.noise(name, "reinforce", 2).relative
    assert best.cosine == pytest.approx(1.0)


# --- Numbers free of scale --------------------------------------------------------------------------------------------

KEYS = st.integers(1, 4).flatmap(
    lambda k: st.tuples(
        st.lists(st.integers(0, 5), min_size=k, max_size=k),
        st.lists(st.integers(-4, 4), min_size=k, max_size=k),
        st.lists(st.integers(0, 6), min_size=k, max_size=k),
        st.lists(st.integers(-3, 3), min_size=k, max_size=k),
    )
)


@given(drawn=KEYS, scale=st.sampled_from([1, 3, Fraction(1, 7)]))
def test_scaled_numbers(drawn: tuple[list[int], ...], scale: Fraction) -> None:
    weight, mean, spread, exact = drawn
    rows = [(w, scale * m, scale**2 * v, a) for w, m, v, a in zip(*drawn, strict=True) if w]
    sums = np.array([weight, np.multiply(weight, mean), np.multiply(weight, np.square(mean) + spread)], float)
    sums *= np.array([1.0, float(scale), float(scale) ** 2])[:, None]
    found = scaled(sums, np.array(exact, float))
    power = sum((w * a * a for w, _, _, a in rows), Fraction(0))
    signal = sum((w * m * a for w, m, _, a in rows), Fraction(0))
    if not signal:
        return  # what carries no signal is tested below
    c = power / signal
    bias = sum((w * (c * m - a) ** 2 for w, m, _, a in rows), Fraction(0)) / power
    variance = c * c * sum((w * v for w, _, v, _ in rows), Fraction(0)) / power
    assert found == pytest.approx((float(bias), float(variance), float(bias + variance)), rel=1e-7, abs=1e-9)
    second = sum((w * (m * m + v) for w, m, v, _ in rows), Fraction(0))
    assert bias + variance == second * power / signal**2 - 1  # 1 / cos^2 - 1


def test_no_signal_has_no_scaled_numbers() -> None:
    assert np.isnan(scaled(np.array([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]), np.array([1.0, -1.0]))).all()


@given(x=st.lists(st.integers(-5, 5), min_size=3, max_size=8))
def test_jackknife_of_a_mean_and_of_its_square(x: list[int]) -> None:
    values, n = np.array(x, float), len(x)

    def numbers(kept: np.ndarray) -> np.ndarray:
        return np.array([values[kept].mean(), values[kept].mean() ** 2])

    found = jackknife(numbers, n, 0.05)
    variance = values.var(ddof=1)
    assert found[0, 0] == pytest.approx(values.mean(), abs=1e-12)
    # The square of a mean is too large by variance / n, and the jackknife takes exactly that off.
    assert found[1, 0] == pytest.approx(values.mean() ** 2 - variance / n, abs=1e-9)
    half = (found[0, 2] - found[0, 1]) / 2.0
    wider = jackknife(numbers, n, 0.01)
    assert (wider[:, 2] - wider[:, 1] >= found[:, 2] - found[:, 1]).all()
    if variance:
        assert half > 1.96 * math.sqrt(variance / n)
        assert values.mean() ** 2 != pytest.approx(found[1, 0], abs=1e-9)
    else:
        assert half == 0.0


# --- Small shared pieces ----------------------------------------------------------------------------------------------


@given(degrees=st.floats(0.0, 180.0), length=st.floats(0.1, 10.0))
def test_angles_do_not_depend_on_length(degrees: float, length: float) -> None:
    turned = length * np.array([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))])
    assert math.degrees(angle(np.array([2.0, 0.0]), turned)) == pytest.approx(degrees, abs=1e-6)
    assert angle(turned, np.array([2.0, 0.0])) == pytest.approx(angle(np.array([1.0, 0.0]), turned), abs=1e-9)


@given(groups=st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=1, max_size=4))
def test_responses_keep_scores_and_columns(groups: list[list[int]]) -> None:
    flat = [x for group in groups for x in group]
    rollouts = responses(groups, marks=np.arange(len(flat)))
    assert rollouts.reward.tolist() == flat
    assert rollouts.columns["marks"].tolist() == list(range(len(flat)))
    assert np.bincount(rollouts.group).tolist() == [len(group) for group in groups]
    assert rollouts.n_batches == rollouts.n_groups == len(groups)
    assert responses(groups, one_batch=True).n_batches == 1


@pytest.mark.parametrize("n", [2, 4])
def test_alignment_is_one_only_without_noise(n: int) -> None:
    from creditsim.exact import exact_moments
    from theory.shared import credit_column

    law = exact_moments(credit_column("rloo@paper"), *binary_task(0.3), group_size=n).gradient
    cosine = float(law.mean @ law.exact) / np.linalg.norm(law.exact)
    assert alignment(law) == pytest.approx(cosine / math.sqrt(law.trace + float(law.mean @ law.mean)))
    assert 0.0 < alignment(law) < 1.0
    louder = exact_moments(credit_column("rloo@paper"), *binary_task(0.3), group_size=2 * n).gradient
    assert alignment(louder) > alignment(law)


def test_policies_by_rows_fill_up_evenly() -> None:
    mdp = make("chain", length=2, horizon=3)
    policy = policy_of(mdp, [[0.25, 0.75]])
    table = policy.probabilities(mdp)
    assert table[0] == pytest.approx([0.25, 0.75])
    assert isinstance(policy, SoftmaxPolicy)
    assert (np.abs(table[1:-1] - 0.5) < 1e-12).all()
