"""Rollout kernels: the scalar pieces (`philox4x32`, `draw`, `advance`) in loops over episodes, nothing else.

Episodes go side by side, in lanes: their random words come from one vectorised loop, and their chains of dependent
look-ups overlap. An episode that is over walks on the spot in the sink. Which words an episode gets depends on its own
number only, so neither lanes nor threads nor chunks can change a bit. All look-ups are by unsigned index: signed ones
would be checked for wrapping, and a mix of both would turn into floats.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from creditsim.jit import kernel
from creditsim.rng import philox
from creditsim.sampling.alias import LEVEL_BITS, draw
from creditsim.sampling.tables import advance

__all__ = ["record", "reduce", "starts"]

_MASK, _HALF, _EIGHT = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(8)
_LEVEL_SHIFT = np.uint64(32 - LEVEL_BITS)
_ZERO, _ONE, _TWO = np.uint64(0), np.uint64(1), np.uint64(2)

_draw = kernel(draw, inline=True)
_advance = kernel(advance, inline=True)


@kernel(inline=True)
def _episode_words(words, number, stream, block, purpose, k0, k1):
    for lane in range(number.shape[0]):
        n = number[lane]
        top = purpose | ((n >> _HALF) << _EIGHT)
        w0, w1, w2, w3 = philox(n & _MASK, block, stream[lane], top, k0, k1)
        words[0, lane] = w0
        words[1, lane] = w1
        words[2, lane] = w2
        words[3, lane] = w3


@kernel(inline=True)
def _slot(bucket_word, level_word, table, bits, threshold):
    # A draw's bucket is the low bits of one word, its level the high 28 bits of the same word or of the next.
    bucket = np.uint64(bucket_word) & ((_ONE << bits) - _ONE)
    return _draw(table << bits, bucket, np.uint64(level_word) >> _LEVEL_SHIFT, threshold)


@kernel(inline=True)
def _decide(slots, w, j, wide, place, first, layout, tables):
    # One decision in every lane: `slots` gets what was drawn.
    bits, pick_bits, _, _, actions, _, _ = layout
    threshold, _, pick_threshold, pick_action, _ = tables
    low, level = w[j], w[j + wide]
    if pick_threshold.shape[0] == 0:
        for lane in range(first.shape[0]):
            slots[lane] = _slot(low[lane], level[lane], np.uint64(place[lane]), bits, threshold)
    else:
        next_low, next_level = w[j + 1 + wide], w[j + 1 + 2 * wide]
        for lane in range(first.shape[0]):
            here = np.uint64(place[lane])
            picked = _slot(low[lane], level[lane], np.uint64(first[lane]) + here, pick_bits, pick_threshold)
            row = here * actions + np.uint64(pick_action[picked])
            slots[lane] = _slot(next_low[lane], next_level[lane], row, bits, threshold)


@kernel(parallel=True)
def starts(out, group, stream, round_, key, purpose, bits, threshold, outcome, words):
    """Draw the start state `out` (N,) of every group, in the wide form: its words are those of "decision" `round_`.

    `group`, `stream` (N,) uint64; `words` (chunks, 4, lanes) work space; the rest an alias table over states.
    """
    n = out.shape[0]
    chunks, _, lanes = words.shape
    blocks = (n + lanes - 1) // lanes
    for chunk in prange(chunks):
        w = words[chunk]
        for index in range(blocks * chunk // chunks, blocks * (chunk + 1) // chunks):
            low = index * lanes
            high = min(low + lanes, n)
            _episode_words(w, group[low:high], stream[low:high], round_, purpose, key[0], key[1])
            for lane in range(high - low):
                out[low + lane] = outcome[_slot(w[0, lane], w[1, lane], _ZERO, bits, threshold)]


@kernel(parallel=True)
def record(codes, length, terminated, start, step, stop, first, number, stream, key, purpose, layout, tables, work):
    """Walk N episodes and record the slot of every decision, row-major.

    Out: `codes` (N, most rows), of which row i holds `length[i]`; `length`, `terminated` (N,). In, all (N,): `start`
    uint32 places, `step` the step each begins at, `stop` the step that may not begin, `first` uint32 table of the
    policy's own first state, `number` and `stream` uint64 of the random words. `key` two words, `purpose` uint64,
    `layout` and `tables` as `Tables` gives them, `work` = (words (chunks, 4, lanes), places and slots
    (chunks, 2, lanes)) uint32.
    """
    _, _, wide, sink, _, stride, uniform = layout
    move = tables[1]
    words, scratch = work
    last = np.uint32(sink)
    n, rows = codes.shape
    chunks, _, lanes = scratch.shape
    blocks = (n + lanes - 1) // lanes
    for chunk in prange(chunks):
        w, place, slots = words[chunk], scratch[chunk, 0], scratch[chunk, 1]
        for index in range(blocks * chunk // chunks, blocks * (chunk + 1) // chunks):
            low = index * lanes
            high = min(low + lanes, n)
            numbers, streams, firsts, out = number[low:high], stream[low:high], first[low:high], codes[low:high]
            most = np.int64(0)
            for lane in range(high - low):
                place[lane] = start[low + lane]
                most = max(most, stop[low + lane] - step[low + lane])
            most = min(most, rows) if uniform else rows
            at, block, alive = 0, _ZERO, True
            while alive and at < most:
                _episode_words(w, numbers, streams, block, purpose, key[0], key[1])
                block += _ONE
                for j in range(0, min(4, (most - at) * stride), stride):
                    _decide(slots, w, j, wide, place, firsts, layout, tables)
                    for lane in range(high - low):
                        slot = np.uint64(slots[lane])
                        out[lane, at] = slot
                        place[lane] = np.uint64(move[slot]) >> _TWO
                    at += 1
                alive = False
                for lane in range(high - low):
                    alive |= place[lane] != last
            for episode in range(low, high):
                if uniform and place[episode - low] != sink:
                    length[episode], terminated[episode] = min(stop[episode] - step[episode], at), False
                else:
                    length[episode], terminated[episode] = _cut(
                        codes[episode], at, step[episode], stop[episode], move, np.int64(sink)
                    )


@kernel
def _cut(codes, walked, step, stop, move, sink):
    # The walk above knows no clock: here each episode is cut where it ends or would begin step `stop`.
    for at in range(walked):
        moved = np.int64(move[codes[at]])
        place, step = _advance(moved, step, stop, sink)
        if place == sink:
            return at + 1, (moved & 2) != 0
    return walked, False


@kernel(parallel=True)
def reduce(value, length, terminated, start, discount, rows, first, number, stream, key, purpose, layout, tables, work):
    """Walk N episodes from `start` to the end and keep only return, length and whether a terminal state was reached.

    Out, all (N,): `value` the sum of discount[step] * reward, `length` in decisions, `terminated`. `discount` (H,) by
    step; `rows` the most decisions of an episode. The rest as in `record`; `work` = (words (chunks, 4, lanes), places,
    slots and counts (chunks, 3, lanes), counters (chunks, 2, lanes) int64, sums (chunks, lanes) float64).
    """
    _, _, wide, sink, _, stride, uniform = layout
    move, reward = tables[1], tables[4]
    words, scratch, counters, sums = work
    n = value.shape[0]
    chunks, _, lanes = scratch.shape
    blocks = (n + lanes - 1) // lanes
    stop = discount.shape[0]
    last, signed_sink = np.uint32(sink), np.int64(sink)
    for chunk in prange(chunks):
        w, total, step, over = words[chunk], sums[chunk], counters[chunk, 0], counters[chunk, 1]
        place, slots, decisions = scratch[chunk, 0], scratch[chunk, 1], scratch[chunk, 2]
        for index in range(blocks * chunk // chunks, blocks * (chunk + 1) // chunks):
            low = index * lanes
            high = min(low + lanes, n)
            numbers, streams, firsts = number[low:high], stream[low:high], first[low:high]
            for lane in range(high - low):
                place[lane] = start[low + lane]
                total[lane] = 0.0
                step[lane], decisions[lane], over[lane] = 0, 0, 0
            at, block, alive = 0, _ZERO, True
            while alive and at < rows:
                _episode_words(w, numbers, streams, block, purpose, key[0], key[1])
                block += _ONE
                for j in range(0, min(4, (rows - at) * stride), stride):
                    for lane in range(high - low):
                        decisions[lane] += np.uint32(place[lane] != last)
                    _decide(slots, w, j, wide, place, firsts, layout, tables)
                    if uniform:
                        factor = discount[at]
                        for lane in range(high - low):
                            slot = np.uint64(slots[lane])
                            total[lane] += factor * reward[slot]
                            place[lane] = np.uint64(move[slot]) >> _TWO
                    else:
                        for lane in range(high - low):
                            slot = np.uint64(slots[lane])
                            moved = np.int64(move[slot])
                            total[lane] += discount[min(step[lane], stop - 1)] * reward[slot]
                            over[lane] |= moved & 2
                            place[lane], step[lane] = _advance(moved, step[lane], stop, signed_sink)
                    at += 1
                alive = False
                for lane in range(high - low):
                    alive |= place[lane] != last
            for lane in range(high - low):
                value[low + lane], length[low + lane] = total[lane], decisions[lane]
                terminated[low + lane] = place[lane] == sink if uniform else over[lane] != 0
