"""Rollouts of a table with 50 states, 4 actions, 4 successors and horizon 30, beside the best JAX scan found."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.problem import EPISODES, policy, table
from benchmarks.report import line
from benchmarks.timing import Rounds, compare
from creditsim.jit import kernel
from creditsim.rng import key_words, philox
from creditsim.sampling import TableSampler, sample_returns
from creditsim.sampling.tables import build_tables, policy_rows

__all__: list[str] = []

_JAX = "best JAX scan: joint alias, threefry, 32,768 episodes"
_JAX_DEFAULT = "the same scan at JAX's default settings"
_HALF_A_SECOND = 0.5
_MASK, _FOUR, _ONE = np.uint64(0xFFFFFFFF), np.uint64(4), np.uint64(1)


def _fastest_jax(*, keep: bool, defaults: bool = False) -> Callable[[], Any]:
    """The fastest of the forms on this machine, by the best of a few calls each."""
    import jax

    from benchmarks.jax_scan import forms

    mdp = table()
    tables = build_tables(mdp, policy_rows(mdp, policy(), 1))
    start, key = int(mdp.start.argmax()), jax.random.key(0)

    def timed(form: Callable[[Any], Any]) -> float:
        jax.block_until_ready(form(key))
        best = np.inf
        for _ in range(20):
            begin = time.perf_counter()
            jax.block_until_ready(form(key))
            best = min(best, time.perf_counter() - begin)
        return best

    form = min(forms(tables, start, EPISODES, mdp.horizon, keep=keep, defaults=defaults).values(), key=timed)
    if not keep:
        _same_law(np.asarray(form(key)[0]))
    return lambda: jax.block_until_ready(form(key))


def _same_law(value: np.ndarray) -> None:
    ours = sample_returns(table(), policy(), EPISODES).value
    spread = np.sqrt((ours.var() + value.var()) / EPISODES)
    if not abs(ours.mean() - value.mean()) <= 6 * spread:
        raise RuntimeError(f"mean returns {ours.mean():.4g} and {value.mean():.4g} differ by over six deviations")


def _recorder(threads: int) -> Callable[[], Any]:
    """What `extend` does up to the compact record: the slot of each decision, length and ending of each episode."""
    mdp = table()
    sampler = TableSampler(mdp, groups=EPISODES, threads=threads)
    plan, pi = sampler._from_start(None, 1, None), policy_rows(mdp, policy(), 1)
    return lambda: sampler._walk(plan, pi)


@line("rollouts recorded, 2 threads", _JAX, target=4, needs=("jax",))
def recorded() -> Rounds:
    return compare(_recorder(2), _fastest_jax(keep=True))


@line("rollouts recorded, 2 threads", _JAX_DEFAULT, needs=("jax",))
def recorded_beside_defaults() -> Rounds:
    return compare(_recorder(2), _fastest_jax(keep=True, defaults=True))


@line("returns only, 2 threads", _JAX, target=5, needs=("jax",))
def reduced() -> Rounds:
    mdp, pi = table(), policy()
    return compare(lambda: sample_returns(mdp, pi, EPISODES, threads=2), _fastest_jax(keep=False))


@line("returns only, 2 threads", _JAX_DEFAULT, needs=("jax",))
def reduced_beside_defaults() -> Rounds:
    mdp, pi = table(), policy()
    return compare(lambda: sample_returns(mdp, pi, EPISODES, threads=2), _fastest_jax(keep=False, defaults=True))


@line("whole Rollouts by extend, 2 threads", _JAX, needs=("jax",))
def extended() -> Rounds:
    mdp, pi = table(), policy()
    sampler = TableSampler(mdp, groups=EPISODES, threads=2)
    return compare(lambda: sampler.extend(policy=pi), _fastest_jax(keep=True))


@line("returns only, 1 thread", "its floor: random words and one look-up each", "cost")
def floor() -> Rounds:
    mdp, pi = table(), policy()
    tables = build_tables(mdp, policy_rows(mdp, pi, 1))
    lanes, key = np.empty((4, 64), np.uint32), key_words(0)
    count = np.zeros(64, np.uint32)

    def look_up() -> None:
        _words_and_look_up(EPISODES, mdp.horizon, lanes, count, tables.threshold, *key)

    return compare(lambda: sample_returns(mdp, pi, EPISODES, threads=1), look_up)


@kernel
def _words_and_look_up(episodes, steps, words, count, threshold, k0, k1):
    # As many words and table look-ups as the rollouts take, but none waits for another and no state is kept.
    lanes = words.shape[1]
    mask = np.uint64(511)
    for first in range(0, episodes, lanes):
        for block in range((steps + 3) // 4):
            for lane in range(lanes):
                n = np.uint64(first + lane)
                w0, w1, w2, w3 = philox(n & _MASK, np.uint64(block), np.uint64(0), _ONE, k0, k1)
                words[0, lane] = w0
                words[1, lane] = w1
                words[2, lane] = w2
                words[3, lane] = w3
            for j in range(min(4, steps - 4 * block)):
                for lane in range(lanes):
                    word = np.uint64(words[j, lane])
                    count[lane] += np.uint32((word >> _FOUR) >= threshold[word & mask])


@line("2 threads", "1 thread, half a second of returns", target=1.7)
def threads() -> Rounds:
    mdp, pi = table(), policy()
    begin = time.perf_counter()
    sample_returns(mdp, pi, 8 * EPISODES, threads=1)
    seconds = time.perf_counter() - begin
    episodes = int(8 * EPISODES * _HALF_A_SECOND / seconds)
    return compare(
        lambda: sample_returns(mdp, pi, episodes, threads=2), lambda: sample_returns(mdp, pi, episodes, threads=1)
    )
