"""Learning on text: what recorded runs of a small model on easy ALFWorld tasks ended with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from creditsim.stats.intervals import Interval, t_interval, t_quantile
from creditsim.stats.joint import all_of
from creditsim.stats.verdict import Evidence, inequality
from theory.claim import Trial, claim
from theory.claims.bridge import PAPER
from theory.data import recorded_curves

GROUPS = ("grpo", "gigpo", "hgpo")
"""Methods that compare whole episodes of a task."""
METHODS = (*GROUPS, "3spo")


def ends(method: str, which: str) -> tuple[np.ndarray, np.ndarray]:
    """Success of each run before (`start`) or after (`end`), and the episodes behind it, seeds in order."""
    table = recorded_curves().table
    mine = (table["method"] == method) & (table["what"] == "ends")
    mine &= (table["iteration"] == 0) if which == "start" else (table["iteration"] > 0)
    order = np.argsort(table["seed"][mine])
    return table["success"][mine][order], table["episodes"][mine][order]


def gain_interval(
    before: tuple[np.ndarray, np.ndarray], after: tuple[np.ndarray, np.ndarray], alpha: float
) -> Interval:
    """Interval for the mean gain of these very runs: the episodes of the measurements are what is random.

    A run's success over n episodes, equally many of every task, has variance at most p (1 - p) / n.
    """
    (p0, n0), (p1, n1) = before, after
    variance = (np.sum(p0 * (1 - p0) / n0) + np.sum(p1 * (1 - p1) / n1)) / p0.size**2
    gain = float(p1.mean() - p0.mean())
    n = int(n0.sum() + n1.sum())
    half = float(t_quantile(alpha, np.array(n - 2)) * np.sqrt(variance))
    return Interval(
        np.array(gain), np.array(gain - half), np.array(gain + half), alpha, np.array(n), "normal",
        "independent episodes; runs as recorded",
    )  # fmt: skip


@claim("bridge.learns", paper=PAPER, source="inferred", kind="convergence", figure="text_learning")
def learns(trial: Trial) -> Evidence:
    """The estimators that were checked on tables teach a language model: success on the tasks trained on is higher
    after the last update than at the warm start, E[success after - success before] >= 0, for GRPO, GiGPO and HGPO on
    easy ALFWorld tasks, forty updates. One warm start, five seeds fixed beforehand, one step size for all (chosen for
    GRPO on another seed). A first recording of twelve updates was undecided; its length had been a matter of time, and
    this one was to replace it whatever it showed. The interval is that of the measurement for these very runs, recorded
    once and the same at every size of the ledger; one over seeds, at 95 %, is in `detail`.
    """
    _keep(trial)
    return _learns(trial, GROUPS)


@learns.broken("runs that forget all they knew: no episode is won at their end")
def _(trial: Trial) -> Evidence:
    return _learns(trial, GROUPS, kept=0.0)


@claim("3spo.learns-on-text", paper="3SPO", source="inferred", kind="convergence", figure="text_learning")
def three_spo_learns(trial: Trial) -> Evidence:
    """3SPO, which draws the children of one state at a time, raises success from the same warm start, step size and
    seeds: E[success after - success before] >= 0, easy ALFWorld tasks, 400 updates of at most 32 environment steps.
    The step size is the one chosen for GRPO, whose updates see some seventy times as many steps: 3SPO's draw fewer and
    fewer (twelve each at first, one in the end), so this is no comparison at equal steps.
    """
    _keep(trial)
    return _learns(trial, ("3spo",))


@three_spo_learns.broken("runs that forget all they knew: no episode is won at their end")
def _(trial: Trial) -> Evidence:
    return _learns(trial, ("3spo",), kept=0.0)


@three_spo_learns.control("at this step size it loses what the warm start gave: E[success after - before] <= 0")
def _(trial: Trial) -> Evidence:
    return _learns(trial, ("3spo",), relation="<=")


def _learns(trial: Trial, methods: tuple[str, ...], *, relation: str = ">=", kept: float = 1.0) -> Evidence:
    """Whether every method gains; `kept` is the share of the wins at the end that are counted."""
    parts = {}
    for method in methods:
        before, (success, episodes) = ends(method, "start"), ends(method, "end")
        after = (kept * success, episodes)
        gain = after[0] - before[0]
        seeds = t_interval(np.array(gain.size), gain.mean(), gain.var(ddof=1), alpha=0.05)
        detail = {
            "before": float(before[0].mean()), "after": float(after[0].mean()), "gain": float(gain.mean()),
            "seeds": gain.size, "over seeds, 95 %": [float(seeds.low), float(seeds.high)],
        }  # fmt: skip
        interval: Callable[[float], Interval] = partial(gain_interval, before, after)
        parts[method] = inequality(interval, relation, 0.0, alpha=trial.alpha, detail=detail)
    return all_of(parts, alpha=trial.alpha)


def _keep(trial: Trial) -> None:
    """Curves by environment steps, mean over seeds with a t interval at 95 %; the measured ends beside them."""
    table = recorded_curves().table
    for method in METHODS:
        for what in ("curve", "ends"):
            mine = (table["method"] == method) & (table["what"] == what)
            for iteration in np.unique(table["iteration"][mine]):
                at = mine & (table["iteration"] == iteration)
                success = table["success"][at]
                band = t_interval(np.array(success.size), success.mean(), success.var(ddof=1), alpha=0.05)
                trial.table(
                    method=method, what=what, iteration=int(iteration), steps=float(table["steps"][at].mean()),
                    success=float(success.mean()), low=max(0.0, float(band.low)), high=min(1.0, float(band.high)),
                    seeds=success.size,
                )  # fmt: skip
