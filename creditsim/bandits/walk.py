"""One replication of a bandit, pull by pull: plain source, compiled for the CPU here and for CUDA in `gpu`.

Every function that takes arrays is handed its helpers as arguments, so that the same source runs under either compiler
and uncompiled in Numba's CUDA simulator.

`out` = (times (T,), regret (N, T), waste (N, T), spent (N, T), count (N, T, K), total (N, T, K), pulls (N, K)); the two
snapshots may be empty (N = 0). `arms` = (start (K,), final (K,), over, deviation). `plan` = (first replication, initial
pulls per arm, decisions, charged, clock offset, full information, shares, stream, key word, key word).
`state` (4, K): count, total value, present mean, present gap. `memory` (M,) and `words` (4, W) belong to the rule.
"""

from __future__ import annotations

from creditsim.bandits.draws import ALLOCATION, REWARD, pair, value_of
from creditsim.jit import kernel

__all__ = ["each", "keep", "settle", "walk"]


def settle(state, start, final, fraction):
    """Put present means and gaps into `state`; return the best arm."""
    best = 0
    for k in range(start.shape[0]):
        state[2, k] = start[k] + fraction * (final[k] - start[k])
        if state[2, k] > state[2, best]:
            best = k
    for k in range(start.shape[0]):
        state[3, k] = state[2, best] - state[2, k]
    return best


def keep(out, row, r, regret, waste, spent, state):
    """Write what is known at a record time."""
    out[1][r, row] = regret
    out[2][r, row] = waste
    out[3][r, row] = spent
    if out[4].shape[0] > 0:
        for k in range(state.shape[1]):
            out[4][r, row, k] = state[0, k]
            out[5][r, row, k] = state[1, k]


def walk(step, settle, keep, r, out, arms, plan, params, state, memory, words):
    """One replication of a rule that names an arm, or (`shares`) leaves the arms' weights in `memory`.

    Under full information every arm is observed once before each decision and the decision itself is not: a rule that
    gives shares is then charged their expectation.
    """
    times = out[0]
    start, final, over, deviation = arms
    first, initial, decisions, charged, offset, full, shares, stream, k0, k1 = plan
    replication, arms_n = first + r, start.shape[0]
    for k in range(arms_n):
        state[0, k], state[1, k] = 0.0, 0.0
    for m in range(memory.shape[0]):
        memory[m] = 0.0
    best = settle(state, start, final, 0.0)
    regret, waste, spent, row = 0.0, 0.0, 0.0, 0
    u0, u1, v0, v1 = 0.0, 0.0, 0.0, 0.0
    forced = initial * arms_n
    for pull in range(forced + decisions):
        odd = pull & 1
        if over > 0:
            best = settle(state, start, final, min(1.0, pull / over))
        if full != 0:
            for k in range(arms_n):
                if k & 1 == 0:
                    u0, u1 = pair(replication, pull, stream, REWARD, k >> 1, k0, k1)
                state[0, k] += 1.0
                state[1, k] += value_of(u0, u1, k & 1, state[2, k], deviation)
        elif odd == 0:
            u0, u1 = pair(replication, pull >> 1, stream, REWARD, 0, k0, k1)
        if shares != 0 and odd == 0:
            v0, v1 = pair(replication, pull >> 1, stream, ALLOCATION, 0, k0, k1)
        if pull < forced:
            arm = pull % arms_n
        else:
            t = float(pull - forced + 1 + offset)
            arm = step(state[0], state[1], t, params, memory, words, (replication, pull, stream, k0, k1))
            if shares != 0:
                mass = 0.0
                for k in range(arms_n):
                    mass += memory[k]
                if full != 0:
                    for k in range(arms_n):
                        share = memory[k] / mass
                        regret += share * state[3, k]
                        if k != best:
                            waste += share
                else:
                    level = (v1 if odd else v0) * mass
                    arm = 0
                    while arm < arms_n - 1 and level >= memory[arm]:
                        level -= memory[arm]
                        arm += 1
        if full == 0:
            state[0, arm] += 1.0
            state[1, arm] += value_of(u0, u1, odd, state[2, arm], deviation)
        if charged != 0 or pull >= forced:
            spent += 1.0
            if full == 0 or shares == 0:
                regret += state[3, arm]
                if arm != best:
                    waste += 1.0
            if row < times.shape[0] and spent == times[row]:
                keep(out, row, r, regret, waste, spent, state)
                row += 1
    for k in range(arms_n):
        out[6][r, k] = state[0, k]


_settle, _keep, _walk = kernel(settle), kernel(keep), kernel(walk, inline=True)


@kernel(inline=True)
def each(step, out, arms, plan, params, scratch):
    """All replications of a chunk, one after the other: what a rule's own `run` kernel calls."""
    state, memory, words = scratch
    for r in range(out[6].shape[0]):
        _walk(step, _settle, _keep, r, out, arms, plan, params, state, memory, words)
