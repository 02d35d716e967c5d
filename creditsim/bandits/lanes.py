"""Index rules, replications side by side: location + width * growth(t) is one vector instruction per arm and lane.

Same draws and the same arms as `creditsim.bandits.walk.walk` with the index taken one by one; without drift regret is
added up from counts, so that its last bits may differ.
"""

from __future__ import annotations

import numpy as np

from creditsim.bandits.draws import REWARD, block, value_of
from creditsim.bandits.walk import settle
from creditsim.jit import kernel
from creditsim.rng import uniform53

__all__ = ["LANES", "side_by_side"]

LANES = 256
_uniform53, _settle = kernel(uniform53, inline=True), kernel(settle)


@kernel(inline=True)
def _fill(words, first, number, stream, k0, k1):
    for lane in range(words.shape[1]):
        w0, w1, w2, w3 = block(first + lane, number, stream, REWARD, 0, k0, k1)
        words[0, lane] = _uniform53(w0, w1)
        words[1, lane] = _uniform53(w2, w3)


@kernel
def _largest(arm, index, location, width, g):
    # Apart from its caller, with few arrays, so that the compiler sees that they do not overlap.
    for lane in range(arm.shape[0]):
        index[lane] = location[0, lane] + width[0, lane] * g
        arm[lane] = 0
    arms_n = location.shape[0]
    done = 1 + (arms_n - 1) // 3 * 3
    for k in range(1, done, 3):
        for lane in range(arm.shape[0]):
            top, which = index[lane], arm[lane]
            for j in (k, k + 1, k + 2):
                here = location[j, lane] + width[j, lane] * g
                better = here > top
                top = here if better else top
                which = j if better else which
            index[lane], arm[lane] = top, which
    for k in range(done, arms_n):
        for lane in range(arm.shape[0]):
            here = location[k, lane] + width[k, lane] * g
            better = here > index[lane]
            index[lane] = here if better else index[lane]
            arm[lane] = k if better else arm[lane]


@kernel
def _charge(regret, waste, count, state, best, free):
    # Without drift the counts say it all, so that pulls need not.
    for lane in range(regret.shape[0]):
        regret[lane], waste[lane] = 0.0, 0.0
        for k in range(count.shape[0]):
            paid = count[k, lane] - free
            regret[lane] += paid * state[3, k]
            waste[lane] += 0.0 if k == best else paid


@kernel
def _binary(seen, value, arm, u, count, total, mean):
    for lane in range(arm.shape[0]):
        a = np.uint64(arm[lane])
        here = np.uint64(lane)
        c = count[a, here] + 1.0
        s = total[a, here] + (1.0 if u[lane] < mean[a] else 0.0)
        count[a, here], total[a, here] = c, s
        seen[lane], value[lane] = c, s


@kernel
def _normal(seen, value, arm, uniforms, odd, count, total, mean, deviation):
    for lane in range(arm.shape[0]):
        a = arm[lane]
        count[a, lane] += 1.0
        total[a, lane] += value_of(uniforms[0, lane], uniforms[1, lane], odd, mean[a], deviation)
        seen[lane], value[lane] = count[a, lane], total[a, lane]


@kernel
def _put(location, width, place, spread, arm):
    for lane in range(arm.shape[0]):
        a, here = np.uint64(arm[lane]), np.uint64(lane)
        location[a, here], width[a, here] = place[lane], spread[lane]


@kernel(inline=True)
def side_by_side(refresh, growth, out, arms, plan, params, scratch):
    """All replications of a chunk.

    `refresh(location, width, count, total, params)` fills lines of LANES, `growth(t, params)` is a number. `scratch`
    = (count, total, location, width
    each (K, LANES), uniforms (2, LANES), seven lines (LANES,), arm (LANES,) int64, state (4, K)).
    """
    times, regret_out, waste_out, spent_out, count_out, total_out, pulls_out = out
    start, final, over, deviation = arms
    first, initial, decisions, charged, offset, _, _, stream, k0, k1 = plan
    count, total, location, width, uniforms, index, regret, waste, seen, value, place, spread, arm, state = scratch
    arms_n, n, lanes = start.shape[0], pulls_out.shape[0], count.shape[1]
    forced = initial * arms_n
    for low in range(0, n, lanes):
        size = min(lanes, n - low)
        count[:], total[:], location[:], width[:] = 0.0, 0.0, 0.0, 0.0
        regret[:], waste[:] = 0.0, 0.0
        row, spent, best = 0, 0.0, 0
        for pull in range(forced + decisions):
            odd = pull & 1
            if odd == 0:
                _fill(uniforms, first + low, pull >> 1, stream, k0, k1)
            if pull == 0 or over > 0:
                best = _settle(state, start, final, min(1.0, pull / over) if over > 0 else 0.0)
            if pull < forced:
                arm[:] = pull % arms_n
            else:
                g = growth(float(pull - forced + 1 + offset), params)
                _largest(arm, index, location, width, g)
            charge = charged != 0 or pull >= forced
            if deviation == 0.0:
                _binary(seen, value, arm, uniforms[odd], count, total, state[2])
            else:
                _normal(seen, value, arm, uniforms, odd, count, total, state[2], deviation)
            refresh(place, spread, seen, value, params)
            _put(location, width, place, spread, arm)
            if charge and over > 0:
                for lane in range(lanes):
                    regret[lane] += state[3, arm[lane]]
                    waste[lane] += 0.0 if arm[lane] == best else 1.0
            if charge:
                spent += 1.0
                if row < times.shape[0] and spent == times[row]:
                    if over == 0:
                        _charge(regret, waste, count, state, best, 0 if charged != 0 else initial)
                    for lane in range(size):
                        regret_out[low + lane, row] = regret[lane]
                        waste_out[low + lane, row] = waste[lane]
                        spent_out[low + lane, row] = spent
                    if count_out.shape[0] > 0:
                        for k in range(arms_n):
                            for lane in range(size):
                                count_out[low + lane, row, k] = count[k, lane]
                                total_out[low + lane, row, k] = total[k, lane]
                    row += 1
        for k in range(arms_n):
            for lane in range(size):
                pulls_out[low + lane, k] = count[k, lane]
