"""Helpers of the one-decision claims by listing every group, outcome and draw; plateaus by iterating a covariance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutants import mutant
from scipy import stats

from creditsim.estimators import advantage
from creditsim.exact import enumerate_trajectories, solve
from creditsim.mdp import make
from creditsim.rollouts import Rollouts
from theory import failed_steps as failed_module
from theory import one_decision as one_module
from theory import plateau as plateau_module
from theory import prompt_batches as batches_module
from theory import split_bandit as split_module
from theory.failed_steps import failed_steps, fatal_chain
from theory.one_decision import OneDecision
from theory.plateau import Bandit, quadratic_path, quadratic_plateau
from theory.prompt_batches import EPS, Outcomes, credited, expected_spread, global_factors
from theory.prompt_learning import RULES, Prompts, pass_at_k
from theory.split_bandit import CHANCES, FEATURES, LOGITS, SplitBandit


def centred(scores: Sequence[float]) -> list[float]:
    return [s - sum(scores) / len(scores) for s in scores]


def standardised(scores: Sequence[float]) -> list[float]:
    d = centred(scores)
    s = math.sqrt(sum(x * x for x in d) / (len(d) - 1))
    return [x / s if max(scores) > min(scores) else 0.0 for x in d]


RULE: dict[str, Callable[[Sequence[float]], list[float]]] = {
    "reinforce": list, "dr_grpo": centred, "grpo@paper": standardised,
}  # fmt: skip


# --- One decision ---------------------------------------------------------------------------------------------------


def gradient_by_groups(
    pi: np.ndarray, p: Sequence[float], n: int, rule: Callable[[Sequence[float]], list[float]]
) -> tuple[np.ndarray, float]:
    """E[g] and E|g|^2 over every ordered group of arms and outcomes."""
    mean, square = np.zeros(pi.size), 0.0
    for draws in product([(a, r) for a in range(pi.size) for r in (0, 1)], repeat=n):
        chance = math.prod(pi[a] * (p[a] if r else 1 - p[a]) for a, r in draws)
        credit = rule([float(r) for _, r in draws])
        g = sum((x * (np.eye(pi.size)[a] - pi) for x, (a, _) in zip(credit, draws, strict=True)), np.zeros(pi.size)) / n
        mean, square = mean + chance * g, square + chance * float(g @ g)
    return mean, square


def one_decision_holds(module: ModuleType, n: int = 3) -> bool:
    p, pi = (0.2, 0.7, 0.5), np.array([0.5, 0.2, 0.3])
    task = make("answers", p=(p,))
    for spec, rule in RULE.items():

        def credit(r: Rollouts, spec: str = spec) -> np.ndarray:
            return advantage(r, spec)

        for symmetric in (True, False):
            bandit = module.OneDecision.of(task, n, symmetric=symmetric)
            found = bandit.gradient(bandit.push(credit), pi)
            wanted = gradient_by_groups(pi, p, n, rule)
            if abs(bandit.law(pi).sum() - 1) > 1e-12 or not np.allclose(found[0], wanted[0], atol=1e-12):
                return False
            if abs(found[1] - wanted[1]) > 1e-12 or not np.allclose(bandit.returns(pi), [pi @ np.array(p)]):
                return False
            exact = [pi[b] * (p[b] - float(pi @ np.array(p))) for b in range(3)]
            if not np.allclose(bandit.exact(pi, np.ones(1)), exact, atol=1e-14):
                return False
    return True


def test_one_decision_by_every_group() -> None:
    assert one_decision_holds(one_module)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("/ n\n", "\n"), ("self.ways * np.exp", "np.exp"), ("- push.total[:, None] * pi", ""),
        ("np.square(each).sum(axis=1)", "np.square(each.sum(axis=1))"), ("by_arm - pi @ by_arm", "by_arm"),
        ("law.joint * mdp.n_actions", "law.joint"),
    ],
)  # fmt: skip
def test_faults_of_one_decision_are_noticed(old: str, new: str) -> None:
    assert not one_decision_holds(mutant(one_module, old, new))


def test_other_policies_and_chances_need_no_new_enumeration() -> None:
    bandit = OneDecision.of(make("answers", p=((0.2, 0.7),)), 3)
    push = bandit.push(lambda r: advantage(r, "dr_grpo"))
    other = np.where(bandit.rewards[:, 0] > 0, np.array([0.9, 0.4])[bandit.arm], np.array([0.1, 0.6])[bandit.arm])
    for pi in (np.array([0.5, 0.5]), np.array([0.0, 1.0]), np.array([0.9, 0.1])):
        wanted = gradient_by_groups(pi, (0.9, 0.4), 3, centred)
        found = bandit.gradient(push, pi, other)
        np.testing.assert_allclose(found[0], wanted[0], atol=1e-12)
        assert found[1] == pytest.approx(wanted[1], abs=1e-12)
        # Centred credit is (1 - 1/n) of the exact gradient.
        np.testing.assert_allclose(found[0], 2 / 3 * bandit.exact(pi, np.ones(1), other), atol=1e-12)


# --- The split bandit -----------------------------------------------------------------------------------------------


def canon_by_hand(scores: Sequence[float], upper: Sequence[bool], mu: float) -> list[float] | None:
    halves = {side: [s for s, u in zip(scores, upper, strict=True) if u == side] for side in (True, False)}
    if not halves[True] or not halves[False]:
        return None
    mean = {side: sum(x) / len(x) for side, x in halves.items()}
    return [mu * (s - mean[not u]) + (1 - mu) * (s - mean[u]) for s, u in zip(scores, upper, strict=True)]


def split_by_groups(n: int, mu: float) -> np.ndarray:
    """E[g] at the population median given two filled halves: every group of (arm, half, reward)."""
    power = np.exp(LOGITS)
    pi = power / power.sum()
    bandit = SplitBandit.standard()
    above = stats.norm.sf(bandit.median, loc=np.array(FEATURES))
    kinds = [
        (a, u, r, pi[a] * (above[a] if u else 1 - above[a]) * (CHANCES[a] if r else 1 - CHANCES[a]))
        for a in range(6) for u in (True, False) for r in (0.0, 1.0)
    ]  # fmt: skip
    total, kept = np.zeros(6), 0.0
    for group in product(kinds, repeat=n):
        credit = canon_by_hand([r for _, _, r, _ in group], [u for _, u, _, _ in group], mu)
        if credit is not None:
            chance = math.prod(c for *_, c in group)
            kept += chance
            for x, (a, *_) in zip(credit, group, strict=True):
                total[a] += chance * x / n
    return (total - pi * total.sum()) / kept


def test_split_bandit_has_its_median_and_gradient() -> None:
    bandit = SplitBandit.standard()
    power = np.exp(LOGITS)
    pi = power / power.sum()
    assert pi @ stats.norm.sf(bandit.median, loc=np.array(FEATURES)) == pytest.approx(0.5, abs=1e-10)
    assert bandit.density.sum() * bandit.weight == pytest.approx(1.0, abs=1e-9)
    np.testing.assert_allclose(bandit.gradient, pi * (np.array(CHANCES) - pi @ np.array(CHANCES)), atol=1e-15)
    assert bandit.halves()[0] == pytest.approx(0.23189, abs=5e-6)
    assert bandit.median == pytest.approx(0.19197, abs=5e-6)


@pytest.mark.parametrize("n", [2, 3])
def test_expected_gradient_of_a_fixed_split_by_every_group(n: int) -> None:
    for mu in (0.0, 0.5, 1.0) if n == 2 else (0.3,):
        np.testing.assert_allclose(SplitBandit.standard().fixed_split(n, mu), split_by_groups(n, mu), atol=1e-10)
    # Broken twin: intra without itself in its mean would not shrink.
    assert not np.allclose(SplitBandit.standard().fixed_split(n, 0.0), SplitBandit.standard().predicted(0.0), atol=1e-3)


def test_inter_is_the_prediction_at_any_group_size() -> None:
    bandit = SplitBandit.standard()
    for n in (2, 3, 8, 32):
        np.testing.assert_allclose(bandit.fixed_split(n, 1.0), bandit.predicted(1.0), atol=1e-9)
        np.testing.assert_allclose(bandit.fixed_split(n, 0.0), (1 - 2 / n) * bandit.predicted(0.0), atol=1e-9)


def test_the_median_of_two_is_the_other_one() -> None:
    """n = 2: each half is one member; inter is S_i - S_j whatever the metric, intra is 0: E[g] = mu dJ."""
    bandit = SplitBandit.standard()
    for mu in (0.0, 0.25, 1.0):
        np.testing.assert_allclose(bandit.median_split(2, mu), mu * bandit.gradient, atol=2e-6)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(bandit.median_split(4, 0.25), 0.25 * bandit.gradient, atol=1e-3)


def test_halves_of_any_median_split_make_dr_grpo() -> None:
    bandit = SplitBandit.standard()
    for n in (2, 4, 10):
        np.testing.assert_allclose(bandit.median_split(n, 0.5), (1 - 1 / n) * bandit.gradient, atol=2e-6)


def test_sampled_groups_have_the_quadratures_gradient() -> None:
    # 40,000 groups of four at mu = 1: each of six entries within 5.2 standard errors, alpha below 2e-6 in all.
    bandit = SplitBandit.standard()
    arm, reward, metric = bandit.sample(40_000, 4, seed=11)
    upper = metric.argsort(axis=1).argsort(axis=1) >= 2
    high, low = ((reward * m).sum(axis=1, keepdims=True) / 2 for m in (upper, ~upper))
    g = bandit.gradients(arm, reward - np.where(upper, low, high))
    error = g.std(axis=0, ddof=1) / 200.0
    z = (g.mean(axis=0) - bandit.median_split(4, 1.0)) / error
    assert np.abs(z).max() < 5.2
    assert np.abs((g.mean(axis=0) - bandit.gradient) / error).max() > 5.2, "plain dJ is told apart"


def test_faults_of_the_split_are_noticed() -> None:
    want = split_by_groups(2, 1.0), split_by_groups(3, 0.3)
    for old, new in (
        ("others @ ((j < n - 1) * j / (j + 1.0))", "others @ ((j < n - 1) * 1.0)"), ("1.0 - others[-1]", "1.0"),
        ("out / kept", "out"), ("self.p - mean[1 - half]", "self.p - mean[half]"),
    ):  # fmt: skip
        broken = mutant(split_module, old, new).SplitBandit.standard()
        assert not all(
            np.allclose(broken.fixed_split(n, mu), w, atol=1e-8) for n, mu, w in ((2, 1.0, want[0]), (3, 0.3, want[1]))
        ), new


# --- Batches of prompts ---------------------------------------------------------------------------------------------


def factor_by_rollouts(chance: Sequence[float], n: int, scale: bool) -> list[float]:
    """E[g_q] / grad p_q of COPO's global credit: every outcome of every rollout, prompt by prompt."""
    out = [0.0] * len(chance)
    for wins in product(range(n + 1), repeat=len(chance)):
        p = math.prod(math.comb(n, k) * q**k * (1 - q) ** (n - k) for k, q in zip(wins, chance, strict=True))
        means = [k / n for k in wins]
        middle = sum(means) / len(means)
        spread = math.sqrt(sum((m - middle) ** 2 for m in means) / (len(means) - 1))
        for i, (k, q) in enumerate(zip(wins, chance, strict=True)):
            credit = means[i] - middle
            if scale:
                credit = credit / (spread + EPS) if max(wins) > min(wins) else 0.0
            # The mean score of the prompt's rollouts is (k/n - p) / (p (1 - p)) grad p.
            out[i] += p * credit * (k / n - q) / (q * (1 - q))
    return out


def spread_by_rollouts(chance: Sequence[float], n: int) -> float:
    total = 0.0
    for wins in product(range(n + 1), repeat=len(chance)):
        p = math.prod(math.comb(n, k) * q**k * (1 - q) ** (n - k) for k, q in zip(wins, chance, strict=True))
        total += p * float(np.std(np.array(wins) / n, ddof=1))
    return total


kinds = st.lists(st.sampled_from([0.1, 0.3, 0.5, 0.8]), min_size=1, max_size=3, unique=True)


@settings(max_examples=12)
@given(kinds, st.integers(1, 3), st.integers(1, 2), st.booleans())
def test_factors_and_spreads_by_every_outcome(kind: list[float], n: int, copies: int, scale: bool) -> None:
    copies = max(copies, 2) if len(kind) == 1 else copies
    chance = [p for p in kind for _ in range(copies)]
    if (n + 1) ** len(chance) > 300:
        chance, copies = kind if len(kind) > 1 else chance, 1 if len(kind) > 1 else copies
    want = factor_by_rollouts(chance, n, scale)
    np.testing.assert_allclose(global_factors(kind, n, copies, scale=scale), want[::copies], atol=1e-9)
    assert expected_spread(kind, n, copies) == pytest.approx(spread_by_rollouts(chance, n), abs=1e-9)
    if not scale:
        np.testing.assert_allclose(want, (1 - 1 / len(chance)) / n, atol=1e-12)


def test_outcomes_are_all_of_them_and_their_factors_those_of_the_estimator() -> None:
    at = Outcomes.of((0.3, 0.6, 0.5), 2)
    assert len(at.law) == 27 and at.law.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(at.law @ at.count, [0.6, 1.2, 1.0], atol=1e-14)
    np.testing.assert_allclose(at.law @ at.lead, 0.0, atol=1e-14)
    columns = at.columns("copo", gate="only-global")
    mean, variance = at.factors(credited(columns))
    np.testing.assert_allclose(mean, factor_by_rollouts((0.3, 0.6, 0.5), 2, True), atol=1e-12)
    # The variance by its definition, rollout by rollout.
    credit = columns["global_advantage"]
    for q, p in enumerate((0.3, 0.6, 0.5)):
        second = 0.0
        for o, chance in enumerate(at.law):
            score = [(float(i < at.count[o, q]) - p) / (p * (1 - p)) for i in range(2)]
            second += chance * (sum(score) / 2 * credit[o, q, 0]) ** 2
        assert variance[q] == pytest.approx(second - mean[q] ** 2, abs=1e-12)


def test_faults_of_the_convolution_are_noticed() -> None:
    want = factor_by_rollouts((0.3, 0.6), 2, True)
    for old, new in (
        ("copies - (i == j)", "copies"), ("prompts - 1)", "prompts)"), ("(k / n - p)", "(k / n)"),
        ("(p * (1.0 - p))", "1.0"), ("k - (one + k) / prompts", "k - one / prompts"),
    ):  # fmt: skip
        broken = mutant(batches_module, old, new)
        try:
            found = broken.global_factors((0.3, 0.6), 2, 1)
        except (ValueError, IndexError):
            continue
        assert not np.allclose(found, want, atol=1e-7), new


# --- Plateaus -------------------------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(st.floats(0.05, 0.8), st.integers(1, 64), st.floats(0.1, 1.0), st.lists(st.floats(0, 1), min_size=2, max_size=5))
def test_plateau_is_the_fixed_point_of_the_covariance(step: float, n: int, tau: float, reward: list[float]) -> None:
    """C <- (I - a tau F) C (I - a tau F) + a^2 sd^2 F / N; the gap is half the trace of tau F C."""
    bandit = Bandit(tuple(reward), tau, sd=1.5)
    pi = bandit.optimum
    f = np.diag(pi) - np.outer(pi, pi)
    # The solution of X = M X M + K for symmetric M by doubling: 2^40 iterations.
    m, total = np.eye(pi.size) - step * tau * f, step**2 * 1.5**2 * f / n
    for _ in range(40):
        total, m = total + m @ total @ m, m @ m
    want = 0.5 * tau * float(np.trace(f @ total))
    assert bandit.plateau(step, n) == pytest.approx(want, rel=1e-6)


@given(st.floats(0.05, 1.0), st.lists(st.floats(-1, 1), min_size=2, max_size=5), st.integers(0, 10**6))
def test_optimum_is_the_best_policy_of_all(tau: float, reward: list[float], seed: int) -> None:
    bandit = Bandit(tuple(reward), tau)
    assert bandit.best == pytest.approx(tau * math.log(sum(math.exp(r / tau) for r in reward)), abs=1e-9)
    other = np.random.default_rng(seed).dirichlet(np.ones(len(reward)))
    j = float(other @ np.array(reward) - tau * (other * np.log(np.maximum(other, 1e-300))).sum())
    assert j <= bandit.best + 1e-12
    assert Bandit(tuple(reward), 0.0).best == pytest.approx(max(reward))


def test_a_bandit_that_does_not_move_keeps_its_gap_and_blocks_are_means() -> None:
    bandit = Bandit((0.0, 0.5, 1.0), 0.3)
    start = np.array([0.2, -0.1, 0.4])
    pi = np.exp(start) / np.exp(start).sum()
    gap = bandit.best - float(pi @ np.array(bandit.reward) - 0.3 * (pi * np.log(pi)).sum())
    still = bandit.run(np.zeros(6), np.full(6, 2), replicates=3, blocks=2, seed=1, start=start)
    np.testing.assert_allclose(still, gap, atol=1e-12)
    options: dict[str, Any] = {"replicates": 2, "seed": 5, "start": start}
    fine = bandit.run(np.full(8, 0.3), np.full(8, 3), blocks=8, **options)
    for blocks in (1, 2, 4):
        coarse = bandit.run(np.full(8, 0.3), np.full(8, 3), blocks=blocks, **options)
        np.testing.assert_allclose(coarse, fine.reshape(2, blocks, -1).mean(axis=2), atol=1e-12)
    assert (fine >= -1e-12).all() and np.abs(fine[0] - fine[1]).max() > 1e-3


@given(st.floats(0.05, 1.0), st.integers(1, 32), st.floats(0.2, 1.5))
def test_the_quadratic_path_ends_at_its_plateau(step: float, n: int, curvature: float) -> None:
    path = quadratic_path(step, n, 4000, start=2.0, curvature=curvature)
    assert path[0] == pytest.approx(2.0 * curvature)
    assert path[-1] == pytest.approx(quadratic_plateau(step, n, curvature), rel=1e-6)
    assert quadratic_plateau(step, n, curvature) != pytest.approx(step / (4 * n), rel=1e-3 * step * curvature)


def test_faults_of_the_plateau_are_noticed() -> None:
    for old, new in (("2.0 - step * self.tau", "2.0 + step * self.tau"), ("2.0 * samples * (2.0 - step * curvature)",
                     "2.0 * samples * 2.0"), ("step**2 / samples", "step / samples")):  # fmt: skip
        broken = mutant(plateau_module, old, new)
        same = broken.Bandit().plateau(0.5, 4) == pytest.approx(Bandit().plateau(0.5, 4))
        same &= broken.quadratic_plateau(0.5, 4) == pytest.approx(quadratic_plateau(0.5, 4))
        same &= np.allclose(broken.quadratic_path(0.5, 4, 5, 1.0), quadratic_path(0.5, 4, 5, 1.0))
        assert not same


# --- Failed steps ---------------------------------------------------------------------------------------------------


def failed_by_groups(length: int, right: float, n: int) -> dict[str, float]:
    """GRPO and every ordered group of the fatal chain; a trajectory is its number of right choices."""
    law = [right**k * (1 - right) for k in range(length)] + [right**length]
    # Exact advantage of state t: going on is worth right^(length-1-t) more than its mean.
    ahead = [right ** (length - 1 - t) for t in range(length)]
    rows: list[tuple[float, float, float, bool]] = []
    for group in product(range(length + 1), repeat=n):
        chance = math.prod(law[k] for k in group)
        scores = [float(k == length) for k in group]
        credit = standardised(scores)
        if max(scores) == 0:
            continue
        for k, a in zip(group, credit, strict=True):
            if k == length:
                continue
            for t in range(k + 1):
                good = t < k
                exact = ahead[t] * ((1 - right) if good else -right)
                # The same right choice was made in every success.
                rows.append((chance, a, exact, good and a < 0))
    w, x, y = (np.array([r[i] for r in rows]) for i in range(3))
    w = w / w.sum()
    mx, my = w @ x, w @ y
    spread = (w @ (x - mx) ** 2) * (w @ (y - my) ** 2)
    conflict = np.array([r[3] for r in rows])
    return {
        "correlation": float(w @ ((x - mx) * (y - my)) / math.sqrt(spread)) if spread > 1e-12 else 0.0,
        "agreement": float((w * ((y > 0) & (x > 1e-12))).sum() / (w * (y > 0)).sum()),
        "punished": float((w * ((y > 0) & (x < 0))).sum()),
        "conflict": float((w * conflict).sum()),
    }


@pytest.mark.parametrize(("length", "right", "n"), [(2, 0.7, 2), (2, 0.5, 4), (3, 0.8, 3)])
def test_failed_steps_by_every_group(length: int, right: float, n: int) -> None:
    mdp, policy = fatal_chain(length, right)
    found = failed_steps({"grpo": lambda r: advantage(r, "grpo@paper")}, mdp, policy, n)["grpo"]
    want = failed_by_groups(length, right, n)
    for name, number in want.items():
        assert getattr(found, name) == pytest.approx(number, abs=1e-9), name
    broken = mutant(failed_module, "(value < 0) & (segment_max", "(value < 0) | (segment_max")
    other = broken.failed_steps({"grpo": lambda r: advantage(r, "grpo@paper")}, mdp, policy, n)["grpo"]
    assert other.conflict != pytest.approx(want["conflict"], abs=1e-6)


def test_credit_by_the_exact_advantage_correlates_fully_and_punishes_nobody() -> None:
    mdp, policy = fatal_chain(3, 0.8)
    exact = solve(mdp, policy.probabilities(mdp)).row_advantage
    found = failed_steps({"exact": exact, "none": lambda r: np.zeros(r.n_rows)}, mdp, policy, 2)
    assert found["exact"].correlation == pytest.approx(1.0) and found["exact"].agreement == pytest.approx(1.0)
    assert found["exact"].punished == 0.0 and found["exact"].conflict == 0.0
    assert found["none"].correlation == 0.0 and found["none"].agreement == 0.0
    law = enumerate_trajectories(mdp, policy.probabilities(mdp))
    assert law.joint.sum() == pytest.approx(1.0)


# --- Learning prompts -----------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5), st.integers(1, 6))
def test_pass_at_k_by_all_answers(success: list[float], k: int) -> None:
    found = pass_at_k(np.array([success]), np.array([1, k]))
    some = [sum(math.prod(p if b else 1 - p for b in bits) for bits in product((0, 1), repeat=k) if any(bits))
            for p in success]  # fmt: skip
    np.testing.assert_allclose(found[:, 0], [np.mean(success), np.mean(some)], atol=1e-12)


def learnt(rule: str, rate: float, replicates: int = 2, alike: int = 1, **options: Any) -> np.ndarray:
    prompts = Prompts.of(prompts=4, answers=8, alike=alike, seed=3)
    return prompts.learn(
        rule, members=4, updates=5, rate=rate, replicates=replicates, seed=9, **options
    ).success  # fmt: skip


def test_learning_begins_evenly_stays_without_a_step_and_replicates_are_alone() -> None:
    prompts = Prompts.of(prompts=4, answers=8, seed=3)
    run = prompts.learn(RULES["GRPO"], members=4, updates=3, rate=0.0, replicates=2, seed=1)
    np.testing.assert_allclose(run.success, np.broadcast_to(prompts.right.mean(axis=1), (4, 2, 4)), atol=1e-14)
    np.testing.assert_allclose(run.entropy, math.log(8), atol=1e-12)
    moved = learnt(RULES["GRPO"], 1.0, match=False)
    assert np.abs(np.diff(moved, axis=0)).max() > 0.01 and np.abs(moved[:, 0] - moved[:, 1]).max() > 1e-3
    alone = learnt(RULES["GRPO"], 1.0, replicates=1, match=False)
    np.testing.assert_allclose(alone[:, 0], moved[:, 0], atol=1e-12)


def test_prompts_of_their_own_tables_learn_alone_and_those_that_share_do_not() -> None:
    """All groups of one prompt losing, it gets no credit and stands still unless something is shared."""
    plain = learnt(RULES["GRPO"], 2.0, match=False)
    moved = np.abs(np.diff(plain, axis=0)) > 1e-12
    assert not moved.all() and moved.any(), "some groups all win or all lose"
    for alike, sharing in ((1, 0.5), (2, 0.0)):
        other = learnt(RULES["GRPO"], 2.0, alike=alike, match=False, sharing=sharing)
        assert (np.abs(np.diff(other, axis=0)) > 1e-12).sum() > moved.sum()


def test_matched_rules_take_steps_of_one_size_in_the_first_update() -> None:
    """A factor common to all credit drops out: praise and blame multiplied alike make the same run."""
    plain, halved = learnt("grpo@paper", 1.0), learnt("dr_grpo", 1.0)
    assert not np.allclose(plain, halved, atol=1e-6)
    np.testing.assert_allclose(learnt("grpo@paper", 1.0, match=False), plain, atol=1e-12)
