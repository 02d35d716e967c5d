"""StepMix and EpsMix: safe in every episode, at a regret of the order of UCBVI's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from creditsim.conservative import ConservativeRun
from creditsim.stats.intervals import Interval, delta_interval, proportion_interval, ratio_interval
from creditsim.stats.joint import all_of, conditional
from creditsim.stats.moments import Moments
from creditsim.stats.verdict import Evidence, inequality
from theory.claim import Trial, claim
from theory.exploring import DELTA, curves, places, runs, violating

HALF = "theory.careless:half_forever"
SQRT_GROWTH = 2.0**0.5
"""What doubling the episodes does to sqrt(K)."""
SAME_ORDER = 2.0
"""Regrets within this factor of each other, whatever K, are of one order."""
RATIO_GROWTH = 1.1
"""Allowed growth of the ratio to UCBVI's regret from K/2 to K. A price that has been paid lets it fall; but plans last
for a tenth of the episodes so far, and when one happens to begin moves a regret by about that share."""
SCALES = (1.0, 0.1, 0.01, 0.0)
Settings = Mapping[str, Any]


def at_most(successes: int, n: int, trial: Trial, **detail: Any) -> Evidence:
    """A probability is at most DELTA, from independent runs."""
    interval: Callable[[float], Interval] = lambda alpha: proportion_interval(successes, n, alpha=alpha)  # noqa: E731
    return inequality(interval, "<=", DELTA, alpha=trial.alpha, detail=detail)


@claim("stepmix.safe-in-every-episode", paper="StepMix", source="paper", kind="estimate", figure="stepmix_value")
def safe_in_every_episode(trial: Trial) -> Evidence:
    """No episode's policy falls below the bar, with high probability: P(V^{pi_k} >= bar for all k) >= 1 - delta.

    The bar is 90 % of the baseline's value, which is known; delta = 0.1. The statement is the abstract's; that "high
    probability" means 1 - delta, the bounds and the way policies are mixed are inferred. Runs in random tables; values
    of the policies played are exact, so only the runs are random. At factor 1 on the bonus the bounds are proved.
    """
    found = _check_safe(trial, "stepmix", {})
    return replace(found, detail={**found.detail, **_beside(trial)})


@safe_in_every_episode.broken("mix by the estimated values themselves, without any bonus")
def _(trial: Trial) -> Evidence:
    return _check_safe(trial, "stepmix", {"scale": 0.0})


def _check_safe(trial: Trial, method: str, settings: Settings) -> Evidence:
    failing, n, detail = 0, 0, {}
    for place in places(trial):
        run = runs(trial, place, method, **settings)
        failing, n = failing + violating(run), n + run.value.shape[1]
        detail[place] = {
            "bar": run.bar, "baseline": float(run.baseline.mean()), "optimum": run.optimum,
            "violating_runs": violating(run), "violated_episodes": float(run.violations.mean()),
            "mixed_episodes": float((run.size @ ((run.optimism > 0.0) & (run.optimism < 1.0))).mean()),
        }  # fmt: skip
    return at_most(failing, n, trial, violating_runs=failing, runs=n, **detail)


def _beside(trial: Trial) -> dict[str, Any]:
    """What UCBVI does to the same bar, whether the bounds held, and violations by the factor on the bonus."""
    detail: dict[str, Any] = {"ucbvi_violating_runs": 0, "ucbvi_violated_episodes": [], "bounds_failed": 0}
    for place in places(trial):
        free = runs(trial, place, "ucbvi")
        detail["ucbvi_violating_runs"] += violating(free)
        detail["ucbvi_violated_episodes"].append(float(free.violations.mean()))
        detail["bounds_failed"] += int((runs(trial, place, "stepmix").upper < free.optimum - 1e-9).any(axis=0).sum())
    rates = {}
    for scale in SCALES:
        few = [runs(trial, place, "stepmix", scale=scale, episodes=1000) for place in places(trial)]
        bad, n = sum(map(violating, few)), sum(run.value.shape[1] for run in few)
        interval = proportion_interval(bad, n, alpha=0.05)
        cautious = float(np.mean([run.cautious.mean() for run in few]))
        rates[f"{scale:g}"] = bad / n
        _tell(trial, "scale", scale=scale, share=bad / n, low=float(interval.low), high=float(interval.high),
              cautious=cautious)  # fmt: skip
    for method in ("ucbvi", "stepmix", "epsmix"):
        run = runs(trial, places(trial)[0], method)
        drawn = curves(run)
        _tell(trial, "value", method=method, bar=run.bar, optimum=run.optimum, baseline=float(run.baseline.mean()),
              **{name: drawn[name] for name in ("episode", "value", "least", "most")})  # fmt: skip
    return {**detail, "violating_by_scale": rates}


_COLUMNS = (
    "scale", "share", "low", "high", "cautious", "bar", "optimum", "baseline", "episode", "value", "least", "most",
)  # fmt: skip


def _tell(trial: Trial, panel: str, *, method: str = "stepmix", **columns: Any) -> None:
    """One table for both panels of the figure; columns that a panel does not use are 0."""
    trial.table(panel=panel, method=method, **{name: np.asarray(columns.get(name, 0.0), float) for name in _COLUMNS})


@claim("stepmix.regret-order", paper="StepMix", source="paper", kind="convergence", figure="stepmix_regret")
def regret_order(trial: Trial) -> Evidence:
    """Safety costs no order: Reg(K) <= O(sqrt(K)), and Reg(K) / Reg_UCBVI(K) is bounded, falling towards 1.

    From K/2 to K the regret of StepMix grows by at most sqrt(2), and its ratio to the regret of UCBVI, the same planner
    without a bar, does not grow (by 1.1 at most). "Near-optimal regret" is the abstract's; that the price is an
    additive term that no longer grows is inferred.
    """
    return _check_order(trial, {})


@regret_order.broken("half of the episodes go to the baseline for ever")
def _(trial: Trial) -> Evidence:
    return _check_order(trial, {"design": HALF})


def _check_order(trial: Trial, settings: Settings) -> Evidence:
    parts: dict[str, Evidence] = {}
    for place in places(trial):
        run, free = runs(trial, place, "stepmix", **settings), runs(trial, place, "ucbvi")
        own, others, detail = _beside_each_other(trial, place, "stepmix", run, "ucbvi", free)
        parts[f"sqrt(K): {place}"] = _ratio(trial, own[2], own[1], "<=", SQRT_GROWTH, detail)
        parts[f"bounded ratio: {place}"] = _ratio_growth(trial, np.stack([own[2], own[1], others[2], others[1]], 1))
    return all_of(parts, alpha=trial.alpha, note="The growth from K/2 to K shown is that of the critical part.")


def _beside_each_other(
    trial: Trial, place: str, method: str, run: ConservativeRun, other: str, beside: ConservativeRun
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Regrets (3, R) of two methods at K/4, K/2 and K, and their means; both curves go into the table."""
    _draw(trial, place, method, run)
    _draw(trial, place, other, beside)
    last = int(run.episode[-1])
    at = np.array([last // 4, last // 2, last])
    own, others = run.regret_at(at), beside.regret_at(at)
    detail = {
        "episodes": at, method: own.mean(axis=1), other: others.mean(axis=1),
        "ratio": own.mean(axis=1) / others.mean(axis=1), "cautious": float(run.cautious.mean()),
    }  # fmt: skip
    return own, others, detail


def _ratio(
    trial: Trial, over: np.ndarray, under: np.ndarray, relation: str, bound: float, detail: Settings
) -> Evidence:
    """E[over] / E[under] on one side of a bound, runs (R,) in pairs."""
    pairs = Moments((2,), cross=True).add(np.stack([over, under], axis=1), 0).summary()
    interval: Callable[[float], Interval] = lambda alpha: ratio_interval(pairs, alpha=alpha)  # noqa: E731
    return inequality(interval, relation, bound, alpha=trial.alpha, detail=detail)


def _ratio_growth(trial: Trial, regret: np.ndarray) -> Evidence:
    """(E r0 / E r2) / (E r1 / E r3) <= RATIO_GROWTH for regrets (R,4): own late, own early, UCBVI's late, its early."""
    sign = np.array([1.0, -1.0, -1.0, 1.0])
    summary = Moments((4,), cross=True).add(regret, 0).summary()

    def interval(alpha: float) -> Interval:
        log = delta_interval(summary, lambda mean: float(sign @ np.log(mean)), sign / summary.mean, alpha=alpha)
        low, here, high = (np.exp(end) for end in (log.low, log.estimate, log.high))
        return Interval(here, low, high, alpha, log.n, "log ratio, delta method", log.assumption)

    return inequality(interval, "<=", RATIO_GROWTH, alpha=trial.alpha)


def _draw(trial: Trial, place: str, method: str, run: ConservativeRun) -> None:
    drawn = curves(run)
    names = ("episode", "regret", "low", "high", "baseline_regret")
    trial.table(environment=place, method=method, **{name: drawn[name] for name in names})


@claim("epsmix.same-as-stepmix", paper="StepMix", source="paper", kind="convergence", figure="stepmix_regret")
def same_as_stepmix(trial: Trial) -> Evidence:
    """Mixing by episodes does what mixing by steps does: P(no violation) >= 1 - delta, 1/2 <= Reg / Reg_StepMix <= 2.

    EpsMix under the check of `stepmix.safe-in-every-episode`; and at K/4, K/2 and K in every table its regret within a
    factor of 2 of StepMix's. That both have the same guarantees is the abstract's, EpsMix's formula is inferred.
    """
    return _check_same(trial, {})


@same_as_stepmix.broken("a fair coin instead of the one that the bounds allow")
def _(trial: Trial) -> Evidence:
    return _check_same(trial, {"design": HALF})


def _check_same(trial: Trial, settings: Settings) -> Evidence:
    safe = _check_safe(trial, "epsmix", settings)
    parts = {"safe": safe}
    for place in places(trial):
        run, steps = runs(trial, place, "epsmix", **settings), runs(trial, place, "stepmix")
        own, others, detail = _beside_each_other(trial, place, "epsmix", run, "stepmix", steps)
        for k, (over, under) in enumerate(zip(own, others, strict=True)):
            name = f"{place}, K = {detail['episodes'][k]}"
            parts[f"at most: {name}"] = _ratio(trial, over, under, "<=", SAME_ORDER, detail if k == 2 else {})
            parts[f"at least: {name}"] = _ratio(trial, over, under, ">=", 1.0 / SAME_ORDER, {})
    return all_of(parts, alpha=trial.alpha)


@claim("stepmix.offline-baseline", paper="StepMix", source="paper", kind="estimate", figure="stepmix_value")
def offline_baseline(trial: Trial) -> Evidence:
    """A baseline learnt from enough offline data does as well: P(V^{pi_k} >= bar for all k) >= 1 - delta for large N.

    N trajectories of the behaviour, a policy learnt from them by pessimistic planning, StepMix with it as baseline; the
    bar is 90 % of the behaviour's value. Looked at with N = 3000 (inside) and N = 30 (outside). That there is such a
    size is the abstract's; which one, and how the baseline is learnt, is inferred.
    """
    return _check_offline(trial, lambda n: n)


@offline_baseline.broken("the offline planner reads the first ten trajectories only")
def _(trial: Trial) -> Evidence:
    return _check_offline(trial, lambda n: min(n, 10))


def _check_offline(trial: Trial, read: Callable[[int], int]) -> Evidence:
    found = {}
    for n in trial.pick((30, 100, 300, 1000, 3000), (10, 30, 100, 300, 1000, 3000), (10, 30, 100, 300, 1000, 3000)):
        many = {
            place: runs(trial, place, "stepmix", data=read(n), episodes=500, growth=0.25) for place in places(trial)
        }
        bad, total = sum(map(violating, many.values())), sum(run.value.shape[1] for run in many.values())
        interval = proportion_interval(bad, total, alpha=0.05)
        found[n] = at_most(bad, total, trial, violating={place: violating(run) for place, run in many.items()})
        for place, run in many.items():
            trial.table(
                n=n, environment=place, violating=violating(run) / run.value.shape[1], share=bad / total,
                low=float(interval.low), high=float(interval.high), baseline=float(run.baseline.mean()), bar=run.bar,
                regret=float(run.regret[-1].mean()),
            )  # fmt: skip
    return conditional(found[3000], found[30], note="Inside: 3000 trajectories; outside: 30.")
