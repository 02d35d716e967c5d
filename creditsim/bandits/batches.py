"""One replication of a rule that gives every arm a number of rollouts per iteration; arrays as in `walk`."""

from __future__ import annotations

from creditsim.bandits.draws import REWARD, pair, value_of
from creditsim.bandits.walk import keep, settle
from creditsim.jit import kernel

__all__ = ["all_batches", "walk_batches"]


def walk_batches(step, settle, keep, r, out, arms, plan, params, state, memory, words):
    """`step` leaves in `memory` the rollouts of each arm, from the counts before the iteration; all are observed.

    The decisions of `plan` are iterations; the clock is the iteration (offset 0) or 1 + the rollouts so far.
    """
    times = out[0]
    start, final, over, deviation = arms
    first, initial, decisions, charged, offset, _, _, stream, k0, k1 = plan
    replication, arms_n = first + r, start.shape[0]
    for k in range(arms_n):
        state[0, k], state[1, k] = 0.0, 0.0
    best = settle(state, start, final, 0.0)
    regret, waste, spent, row, made = 0.0, 0.0, 0.0, 0, 0.0
    u0, u1 = 0.0, 0.0
    for i in range(initial + decisions):
        if over > 0:
            best = settle(state, start, final, min(1.0, i / over))
        if i < initial:
            for k in range(arms_n):
                memory[k] = 1.0
        else:
            t = 1.0 + made if offset > 0 else float(i - initial + 1)
            step(state[0], state[1], t, params, memory, words, (replication, i, stream, k0, k1))
        for k in range(arms_n):
            for j in range(int(memory[k])):
                if j & 1 == 0:
                    u0, u1 = pair(replication, i, stream, REWARD, 64 * k + (j >> 1), k0, k1)
                state[0, k] += 1.0
                state[1, k] += value_of(u0, u1, j & 1, state[2, k], deviation)
            made += memory[k]
            if charged != 0 or i >= initial:
                spent += memory[k]
                regret += memory[k] * state[3, k]
                waste += 0.0 if k == best else memory[k]
        at = i + 1 if charged != 0 else i + 1 - initial
        if row < times.shape[0] and at == times[row]:
            keep(out, row, r, regret, waste, spent, state)
            row += 1
    for k in range(arms_n):
        out[6][r, k] = state[0, k]


_settle, _keep, _walk = kernel(settle), kernel(keep), kernel(walk_batches, inline=True)


@kernel(inline=True)
def all_batches(step, out, arms, plan, params, scratch):
    """All replications of a chunk."""
    state, memory, words = scratch
    for r in range(out[6].shape[0]):
        _walk(step, _settle, _keep, r, out, arms, plan, params, state, memory, words)
