"""The cell of a regret study: an allocation rule on a bandit, with bands, lock-in and the law by which regret grows."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from creditsim.bandits import regret
from creditsim.bandits.bounds import lai_robbins
from creditsim.bandits.instances import Bandit, bernoulli, drifting, gaussian
from creditsim.bandits.rules.base import RULES, check_feedback
from creditsim.bandits.simulate import Run, simulate
from creditsim.errors import InputError, UnknownNameError, nearest
from creditsim.registry import Bound
from creditsim.stats.intervals import Interval
from creditsim.study.cells import Cell, CellResult
from creditsim.study.entries import Entry, parse_entry
from creditsim.study.spec import RegretStudy

__all__ = ["BANDITS", "bandit_of", "regret_cells", "rule_of", "run_cell"]

BANDITS = {"bernoulli": bernoulli, "gaussian": gaussian, "drifting": drifting}
_EARLY = 0.05
"""Exponents are fitted from this share of the horizon on: the constant terms of a bound are over by then."""


def bandit_of(text: str) -> Bandit:
    """The bandit that an entry stands for; InputError naming the field for unknown kinds, parameters and numbers."""
    entry = parse_entry(text, "bandits")
    if entry.name not in BANDITS:
        raise UnknownNameError("bandits", repr(entry.name), " | ".join(BANDITS), nearest(entry.name, BANDITS))
    try:
        return BANDITS[entry.name](**entry.params)
    except TypeError:
        raise InputError("bandits", repr(text), "bernoulli(p=[...]) | gaussian(mean=[...], deviation=...) | "
                         "drifting(p=[...], final=[...], over=...)") from None  # fmt: skip


def rule_of(entry: Entry) -> Bound:
    """The rule that an entry stands for, with its parameters."""
    return RULES.bind(entry.name, **entry.params)


def regret_cells(study: RegretStudy) -> list[Cell]:
    """One cell per rule and bandit, every rule bound and tried on its bandit for one replication of its first pulls."""
    study.check()
    cells: dict[str, Cell] = {}
    for bandit, rule in itertools.product(study.bandits, study.rules):
        entry = parse_entry(rule, "rules")
        spec = {
            "rule": str(entry), "bandit": str(parse_entry(bandit, "bandits")), "objective": study.objective,
            "feedback": study.feedback, "horizon": study.horizon, "initial_pulls": study.initial_pulls,
            "replications": study.replications, "alpha": study.alpha,
        }  # fmt: skip
        check_feedback(rule_of(entry), study.feedback)
        _simulate(spec, study.seed, replications=1)
        title = f"{spec['rule']} {spec['bandit']}"
        cell = Cell("creditsim.study.regret:run_cell", spec, study.seed, title=title)
        cells[cell.id] = cell
    return list(cells.values())


def run_cell(spec: Mapping[str, Any], seed: int) -> CellResult:
    """Curves over log-spaced times, for `regret` and `waste`: mean, band (all times together), median and quantiles.

    Facts: `lock_in` with its interval, `least_pulls` the least observed arm's pulls over ln I in the median run, the
    `exponent` a of mean waste ~ I^a over the later times with its interval (null where the fit is impossible), `law`
    the best of a + b ln I, b I^p and a + b I, and the slope per ln I of the Lai-Robbins line (null for drifting arms).
    """
    begin = time.perf_counter()
    run = _simulate(spec, seed, replications=spec["replications"])
    alpha = spec["alpha"]
    curves = {name: regret.curve(run, name, alpha=alpha) for name in ("regret", "waste")}
    blocks = [
        {
            "quantity": np.full(run.times.size, name, object), "time": run.times, "mean": c.mean, "low": c.low,
            "high": c.high, "median": c.median,
            **{f"q{round(100 * level):02d}": row for level, row in zip(c.levels, c.quantiles, strict=True)},
        }
        for name, c in curves.items()
    ]  # fmt: skip
    locked = regret.lock_in(run, alpha=alpha)
    facts = {
        "lock_in": _triple(run.lock_in, locked),
        "least_pulls": float(np.median(regret.least_pulls(run))),
        **_growth(run, alpha),
        "lai_robbins": None if run.bandit.drifts else lai_robbins(run.bandit, spec["objective"], waste=True),
        "cost": {"seconds": round(time.perf_counter() - begin, 3)},
    }
    return CellResult({name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}, facts)


def _simulate(spec: Mapping[str, Any], seed: int, *, replications: int) -> Run:
    return simulate(
        bandit_of(spec["bandit"]),
        rule_of(parse_entry(spec["rule"], "rules")),
        horizon=spec["horizon"],
        replications=replications,
        seed=seed,
        objective=spec["objective"],
        feedback=spec["feedback"],
        initial_pulls=spec["initial_pulls"],
    )


def _growth(run: Run, alpha: float) -> dict[str, Any]:
    first = max(2, int(_EARLY * run.times[-1]))
    try:
        exponent = regret.rate(run, "waste", first=first, alpha=alpha).exponent
        law = regret.growth(run, "waste", first=first)[0].model
    except InputError:  # no waste at all, or too few times, has no exponent
        return {"exponent": None, "law": None}
    middle = (float(exponent.low) + float(exponent.high)) / 2.0
    return {"exponent": _triple(middle, exponent), "law": law}


def _triple(value: float, interval: Interval) -> dict[str, float | None]:
    ends = {"low": float(interval.low), "high": float(interval.high)}
    return {"value": float(value), **{name: end if math.isfinite(end) else None for name, end in ends.items()}}
