"""Conjunctions, regimes, and the ledger's family-wise error."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy.stats import binom, t

from creditsim.errors import InputError
from creditsim.stats.intervals import Interval, t_interval
from creditsim.stats.joint import adjudicate, all_of, conditional
from creditsim.stats.multiple import holm
from creditsim.stats.verdict import Evidence, Verdict, equality, exact_equality, inequality


def at(n: int, mean: float, variance: float, alpha: float) -> Interval:
    return t_interval(n, mean, variance, alpha=alpha)


def positive(mean: float, n: int = 30) -> Evidence:
    return inequality(partial(at, n, mean, 1.0), ">=", 0.0)


YES, NO, MAYBE = positive(2.0), positive(-2.0), positive(0.0)
HOLDS, FAILS = exact_equality(1.0, 1.0, tolerance=0.0), exact_equality(2.0, 1.0, tolerance=0.0)


@pytest.mark.parametrize(
    ("parts", "verdict"),
    [
        ([YES, YES], "supported"),
        ([YES, HOLDS], "supported"),
        ([HOLDS, HOLDS], "supported"),
        ([YES, MAYBE], "inconclusive"),
        ([YES, NO], "refuted"),
        ([MAYBE, NO], "refuted"),
        ([YES, FAILS], "refuted"),
        ([FAILS, MAYBE], "refuted"),
    ],
)
def test_all_of(parts: list[Evidence], verdict: str) -> None:
    found = all_of({str(i): part for i, part in enumerate(parts)}, note="both")
    assert found.verdict == verdict and found.kind == "all_of" and found.note == "both"
    assert found.detail["critical"] in {"0", "1"}
    assert found.alpha == (0.0 if all(part.alpha == 0.0 for part in parts) else 0.05)


def test_all_of_many_shares_alpha_only_to_refute() -> None:
    edge = float(t_interval(30, 0.0, 1.0, alpha=0.03).high)
    parts = {str(i): positive(edge) for i in range(10)}
    assert all_of(parts).verdict == "supported"
    parts["0"] = positive(-edge)
    assert all_of(parts).verdict == "inconclusive"
    with pytest.raises(InputError, match="parts"):
        all_of({})
    with pytest.raises(InputError, match="conditional"):
        all_of({"a": conditional(YES, NO)})


@pytest.mark.parametrize(
    ("inside", "outside", "verdict"),
    [
        (YES, NO, "conditional"),
        (HOLDS, FAILS, "conditional"),
        (YES, YES, "supported"),
        (NO, NO, "refuted"),
        (NO, YES, "refuted"),
        (NO, MAYBE, "refuted"),
        (YES, MAYBE, "inconclusive"),
        (MAYBE, YES, "inconclusive"),
        (MAYBE, NO, "inconclusive"),
        (MAYBE, MAYBE, "inconclusive"),
    ],
)
def test_conditional(inside: Evidence, outside: Evidence, verdict: str) -> None:
    found = conditional(inside, outside, note="why")
    assert found.verdict == verdict and found.parts == (inside, outside)
    assert (found.statistic, found.note) == (inside.statistic, "why")


def test_adjudication_keeps_clear_cases_and_names_its_level() -> None:
    ledger = {"yes": YES, "no": NO, "maybe": MAYBE, "exact": HOLDS, "wrong": FAILS, "regime": conditional(YES, NO)}
    decided = adjudicate(ledger, alpha=0.05)
    assert {name: e.verdict for name, e in decided.items()} == {
        "yes": "supported", "no": "refuted", "maybe": "inconclusive", "exact": "supported", "wrong": "refuted",
        "regime": "conditional",
    }  # fmt: skip
    assert list(decided) == list(ledger)
    assert decided["yes"].detail["family_alpha"] == 0.05
    assert decided["yes"].detail["adjusted_p_supported"] >= YES.p_supported
    assert [part.verdict for part in decided["regime"].parts] == ["supported", "refuted"]
    assert adjudicate({}) == {}


def test_adjudication_withdraws_what_one_of_many_cannot_carry() -> None:
    edge = float(t_interval(30, 0.0, 1.0, alpha=0.03).high)
    weak = positive(edge)
    assert weak.verdict == "supported"
    assert adjudicate({"weak": weak, **{str(i): MAYBE for i in range(20)}})["weak"].verdict == "inconclusive"
    # Exact statements are decided without taking a share.
    strong = positive(float(t_interval(30, 0.0, 1.0, alpha=0.02).high))
    assert adjudicate({"strong": strong, **{str(i): HOLDS for i in range(50)}})["strong"].verdict == "supported"


def simulated(seed: int, truth: np.ndarray, shared: float) -> tuple[np.ndarray, np.ndarray]:
    """p-values against "false" and against "true" for statements mu_i <= 0, by one-sided t tests; correlated data."""
    g = np.random.Generator(np.random.Philox(seed))
    x = g.normal(size=(2000, 12, truth.size)) + shared * g.normal(size=(2000, 12, 1)) + truth
    statistic = x.mean(axis=1) / np.sqrt(x.var(axis=1, ddof=1) / 12)
    return t.cdf(statistic, 11), t.sf(statistic, 11)


def as_evidence(p_supported: float, p_refuted: float) -> Evidence:
    verdict: Verdict = "supported" if p_supported <= 0.05 else "refuted" if p_refuted <= 0.05 else "inconclusive"
    return Evidence("<=", 0.0, 0.0, (0.0, 0.0), 0.0, 0.05, 12, verdict, p_supported, p_refuted)


@pytest.mark.parametrize("shared", [0.0, 2.0])
def test_no_wrong_verdict_in_the_ledger_with_probability_one_minus_alpha(shared: float) -> None:
    truth = np.array([0.0, 0.0, 1e-9, 1e-9, 1e-9, -2.0, -2.0, 2.0])
    true = truth <= 0
    wrong, wrong_twin = 0, 0
    for support, refute in zip(*simulated(4, truth, shared), strict=True):
        decided = adjudicate(
            {str(i): as_evidence(float(s), float(r)) for i, (s, r) in enumerate(zip(support, refute, strict=True))}
        )
        verdicts = np.array([e.verdict for e in decided.values()])
        wrong += bool((verdicts == np.where(true, "refuted", "supported")).any())
        single = np.where(support <= 0.05, "supported", np.where(refute <= 0.05, "refuted", "inconclusive"))
        wrong_twin += bool((single == np.where(true, "refuted", "supported")).any())
    limit = int(binom.isf(1e-6, 2000, 0.05))
    assert wrong <= limit
    assert wrong_twin > limit  # each statement at 0.05 by itself


def test_one_holm_run_over_the_smaller_p_value_would_not_do() -> None:
    # Statements just short of decidable, with dependence chosen against the procedure: u is uniform, and the p-value of
    # statement k's true hypothesis is small only on its own slice of u. One Holm run passes on shares it must keep.
    m, alpha = 4, 0.2
    u = (np.arange(200_000) + 0.5) / 200_000
    edges = np.cumsum([0.0, *(alpha / (m - k) for k in range(m))])
    wrong_one = wrong_ours = 0.0
    for k in range(m):
        inside = (u >= edges[k]) & (u < edges[k + 1])
        p_true = np.ones(m)
        p_true[k] = alpha / (m - k)
        p_false = np.ones(m)
        p_false[:k] = 0.0  # statements before k are decided rightly, at once
        one = holm(np.minimum(p_true, p_false), alpha=alpha).reject[k]
        ours = holm(p_true, alpha=alpha / 2).reject[k]
        wrong_one += float(inside.mean()) * bool(one)
        wrong_ours += float(inside.mean()) * bool(ours)
    assert wrong_one > alpha >= wrong_ours


def test_equality_feeds_the_ledger() -> None:
    found = equality(partial(at, 400, 0.01, 1.0), 0.0, margin=0.3)
    assert adjudicate({"a": found, "b": found})["a"].verdict == "supported"
