"""Replications of one rule on one bandit, in lanes and threads: same numbers for any number of either."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from creditsim.bandits.instances import Bandit
from creditsim.bandits.lanes import LANES
from creditsim.bandits.rules.base import RULES, Rule, check_feedback
from creditsim.errors import InputError, choose
from creditsim.registry import Bound
from creditsim.rng import key_words

__all__ = ["CLOCKS", "Run", "record_times", "simulate"]

CLOCKS = ("pulls", "decisions")
DEVICES = ("cpu", "cuda")
_SERIAL_PULLS = 500_000
_MOST = 2**32


@dataclass(frozen=True, eq=False)
class Run:
    """What N replications did, at T record times.

    `regret` (N, T): pseudo-regret, the sum of gaps of the arms pulled, in units of reward. `waste` (N, T): pulls of
    arms other than the best; under full information, and for rules that give shares, the expected number given what
    was seen. `spent` (N, T): pulls charged so far, which differ from `times` for rules that pull several arms at once.
    `pulls` (N, K): observations of each arm at the end. `locked` (N,): wrong arms got more than half of the pulls
    charged after half of the horizon. `counts`, `totals` (N, T, K): observations and sums of values, if asked for.
    """

    bandit: Bandit
    rule: str
    objective: str
    feedback: str
    times: np.ndarray
    regret: np.ndarray
    waste: np.ndarray
    spent: np.ndarray
    pulls: np.ndarray
    locked: np.ndarray
    counts: np.ndarray | None = None
    totals: np.ndarray | None = None

    @property
    def replications(self) -> int:
        """N."""
        return self.pulls.shape[0]

    @property
    def lock_in(self) -> float:
        """Share of replications that are locked."""
        return float(self.locked.mean())


def record_times(horizon: int, count: int = 40) -> np.ndarray:
    """About `count` distinct times from 1 to the horizon, evenly spaced in the logarithm."""
    return np.unique(np.geomspace(1, horizon, count).round().astype(np.int64))


def _whole(name: str, value: int, low: int, high: int = _MOST) -> int:
    if not low <= value < high or value != int(value):
        raise InputError(name, value, f"an integer from {low} to {high - 1}")
    return int(value)


def _times(wanted: Sequence[int] | np.ndarray | None, horizon: int) -> np.ndarray:
    times = record_times(horizon) if wanted is None else np.unique(np.asarray(wanted, np.int64))
    if times.size == 0 or times[0] < 1 or times[-1] > horizon:
        raise InputError("record_times", "none" if times.size == 0 else times.tolist(), f"numbers in 1..{horizon}")
    return times


def _resolve(rule: str | Bound, params: dict[str, Any]) -> Bound:
    if isinstance(rule, str):
        return RULES.bind(rule, **params)
    return rule.part.bind(rule.preset, **{**rule.params, **params})


def simulate(
    bandit: Bandit,
    rule: str | Bound,
    *,
    horizon: int,
    replications: int,
    seed: int = 0,
    objective: str = "max",
    feedback: str = "bandit",
    record_times: Sequence[int] | np.ndarray | None = None,
    initial_pulls: int | None = None,
    charge_initial: bool = True,
    clock: str = "pulls",
    snapshots: bool = False,
    stream: int = 0,
    first: int = 0,
    threads: int | None = None,
    device: str = "cpu",
    **params: Any,
) -> Run:
    """Run a rule (`RULES` by name or preset, `params` are its own) and return what it did at the record times.

    `horizon`: pulls in all, among them `initial_pulls` of each arm in turn (default: what the rule needs); with
    `charge_initial` False these come before the horizon and cost nothing. Under `feedback` "full" every arm is
    observed before each of the `horizon` decisions, and only decisions count. `clock` is the t that a rule's schedule
    sees: "pulls" made up to and with this one, or "decisions", which leave the initial pulls out. `stream` tells the
    bandits of different states apart; `first` numbers the first replication, so that chunks give the same bits.
    `threads`: None takes all processors for long runs; the result does not depend on it.

    Errors: InputError for a horizon < 1 or below the initial pulls, replications < 1, a rule that cannot use the
    feedback or the rewards, record times out of range, no gap to the best arm, device "cuda" without a device.
    """
    bound = _resolve(rule, params)
    part = check_feedback(bound, feedback)
    full = feedback == "full"
    choose("clock", clock, CLOCKS)
    choose("device", device, DEVICES)
    if part.binary and not bandit.binary:
        raise InputError(f"rewards for {part.name}", "Gaussian", "0 and 1")
    bandit.best(objective)
    horizon, replications = _whole("horizon", horizon, 1), _whole("replications", replications, 1)
    initial = (0 if full else part.initial) if initial_pulls is None else _whole("initial_pulls", initial_pulls, 0)
    if full and initial:
        raise InputError("initial_pulls", initial, "0 under full information, which shows every arm")
    if not full and initial < part.initial:
        raise InputError("initial_pulls", initial, f"at least {part.initial} for {part.name}")
    forced = initial * bandit.arms
    if charge_initial and forced > horizon:
        raise InputError("horizon", horizon, f"at least {forced}, the initial pulls, or charge_initial=False")
    first = _whole("first", first, 0, _MOST - replications + 1)
    wanted = _times(record_times, horizon)
    times = np.union1d(wanted, [horizon // 2, horizon] if horizon > 1 else [1])
    shape = (replications, times.size)
    kept = (*shape, bandit.arms) if snapshots else (0, 0, 0)
    out = (times, *(np.zeros(shape) for _ in range(3)), *(np.zeros(kept) for _ in range(2)))
    out = (*out, np.zeros((replications, bandit.arms)))
    value = bandit.value(objective)
    arms = (value, bandit.value(objective, at_end=True), bandit.over, float(bandit.deviation))
    # A batch rule counts its rollouts itself: any offset tells it to.
    offset = 0 if clock == "decisions" else max(forced, int(part.walk == "batch"))
    plan = (
        initial, horizon - (forced if charge_initial else 0), int(charge_initial), offset,
        int(full), int(part.walk == "shares"), np.uint64(_whole("stream", stream, 0)), *key_words(seed),
    )  # fmt: skip
    packed = (*bound(bandit), 0.0)
    if device == "cuda":
        from creditsim.bandits.gpu import run_on_gpu

        run_on_gpu(part, out, arms, (first, *plan), packed)
    else:
        _run_in_threads(part, out, arms, first, plan, packed, _threads(threads, replications * (forced + horizon)))
    return _collected(bandit, bound, objective, feedback, wanted, out)


def _threads(wanted: int | None, pulls: int) -> int:
    if wanted is not None:
        return _whole("threads", wanted, 1)
    return 1 if pulls < _SERIAL_PULLS else len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def _scratch(part: Rule, arms: int) -> tuple[np.ndarray, ...]:
    if part.walk == "index":
        tables = tuple(np.zeros((arms, LANES)) for _ in range(4))
        return (
            *tables,
            np.zeros((2, LANES)),
            *(np.zeros(LANES) for _ in range(7)),
            np.zeros(LANES, np.int64),
            np.zeros((4, arms)),
        )
    memory = max(part.memory(arms), arms)
    return np.zeros((4, arms)), np.zeros(memory), np.zeros((4, part.words(arms)), np.uint64)


def _run_in_threads(
    part: Rule, out: Any, arms: Any, first: int, plan: Any, packed: tuple[float, ...], threads: int
) -> None:
    replications = out[-1].shape[0]
    # Whole lanes per piece, and a few pieces per thread so that none waits long for the last.
    pieces = max(1, min(4 * threads, -(-replications // LANES))) if threads > 1 else 1
    size = -(-replications // (pieces * LANES)) * LANES if pieces > 1 else replications

    def run(low: int) -> None:
        chunk = (out[0], *(array[low : low + size] for array in out[1:]))
        part.run(chunk, arms, (first + low, *plan), packed, _scratch(part, arms[0].size))

    lows = range(0, replications, size)
    if threads == 1 or len(lows) == 1:
        for low in lows:
            run(low)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, lows))


def _collected(bandit: Bandit, bound: Bound, objective: str, feedback: str, wanted: np.ndarray, out: Any) -> Run:
    times, regret, waste, spent, counts, totals, pulls = out
    late_waste, late_spent = waste[:, -1].copy(), spent[:, -1].copy()
    if times.size > 1:
        middle = int(np.searchsorted(times, times[-1] // 2))
        late_waste -= waste[:, middle]
        late_spent -= spent[:, middle]
    at = np.searchsorted(times, wanted)
    kept = counts.shape[0] > 0
    return Run(
        bandit, bound.label, objective, feedback, wanted, regret[:, at], waste[:, at], spent[:, at], pulls,
        late_waste > late_spent / 2.0, counts[:, at] if kept else None, totals[:, at] if kept else None,
    )  # fmt: skip
