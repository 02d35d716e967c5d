"""Rollout kernels: the scalar pieces (`philox4x32`, `draw`, `advance`) in loops over episodes, nothing else.

Episodes go side by side, in lanes: their random words come from one vectorised loop, and their chains of dependent
look-ups overlap. An episode that is over walks on the spot in the sink. Which words an episode gets depends on its own
number only, so neither lanes nor threads nor chunks can change a bit. All indices are unsigned: signed ones would be
checked for wrapping, and a mix of both would turn into floats.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from creditsim.jit import kernel
from creditsim.rng import philox
from creditsim.sampling.alias import LEVEL_BITS, draw
from creditsim.sampling.tables import advance

__all__ = ["record", "reduce"]

_MASK, _HALF, _EIGHT = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(8)
_LEVEL_SHIFT = np.uint64(32 - LEVEL_BITS)
_ZERO, _ONE, _TWO = np.uint64(0), np.uint64(1), np.uint64(2)

_draw = kernel(draw, inline=True)
_advance = kernel(advance, inline=True)


@kernel(inline=True)
def _episode_words(words, low, high, number, stream, block, purpose, k0, k1):
    for lane in range(high - low):
        n = number[low + lane]
        top = purpose | ((n >> _HALF) << _EIGHT)
        w0, w1, w2, w3 = philox(n & _MASK, block, stream[low + lane], top, k0, k1)
        words[0, lane] = w0
        words[1, lane] = w1
        words[2, lane] = w2
        words[3, lane] = w3


@kernel(inline=True)
def _joint_slot(words, j, lane, wide, place, bits, threshold):
    # A draw's bucket is the low bits of its first word, its level the high 28 bits of its last one.
    bucket = np.uint64(words[j, lane]) & ((_ONE << bits) - _ONE)
    level = np.uint64(words[j + wide, lane]) >> _LEVEL_SHIFT
    return _draw(place << bits, bucket, level, threshold)


@kernel(inline=True)
def _staged_slot(words, j, lane, wide, place, first, actions, bits, threshold, pick_bits, pick_threshold, pick_action):
    picked = _joint_slot(words, j, lane, wide, first + place, pick_bits, pick_threshold)
    row = place * actions + np.uint64(pick_action[picked])
    return _joint_slot(words, j + 1 + wide, lane, wide, row, bits, threshold)


@kernel(parallel=True)
def record(codes, length, terminated, start, step, stop, first, number, stream, key, purpose, layout, tables, work):
    """Walk N episodes and record the slot of every decision, row-major.

    Out: `codes` (N, most rows), of which row i holds `length[i]`; `length`, `terminated` (N,). In, all (N,): `start`
    uint32 places, `step` the step each begins at, `stop` the step that may not begin, `first` uint32 table of the
    policy's own first state, `number` and `stream` uint64 of the random words. `key` two words, `purpose` uint64,
    `layout` and `tables` as `Tables` gives them, `work` = (words (chunks, 4, lanes), places (chunks, lanes)) uint32.
    """
    bits, pick_bits, wide, sink, actions, stride, uniform = layout
    threshold, move, pick_threshold, pick_action, _ = tables
    words, places = work
    n, rows = codes.shape
    chunks, lanes = places.shape
    blocks = (n + lanes - 1) // lanes
    for chunk in prange(chunks):
        w, place = words[chunk], places[chunk]
        for index in range(blocks * chunk // chunks, blocks * (chunk + 1) // chunks):
            low = index * lanes
            high = min(low + lanes, n)
            most = 0
            for lane in range(high - low):
                place[lane] = start[low + lane]
                most = max(most, stop[low + lane] - step[low + lane])
            most = min(most, rows) if uniform else rows
            at, block, alive = 0, _ZERO, True
            while alive and at < most:
                _episode_words(w, low, high, number, stream, block, purpose, key[0], key[1])
                block += _ONE
                for j in range(0, min(4, (most - at) * stride), stride):
                    if pick_threshold.shape[0] == 0:
                        for lane in range(high - low):
                            slot = _joint_slot(w, j, lane, wide, np.uint64(place[lane]), bits, threshold)
                            codes[low + lane, at] = slot
                            place[lane] = np.uint64(move[slot]) >> _TWO
                    else:
                        for lane in range(high - low):
                            slot = _staged_slot(
                                w, j, lane, wide, np.uint64(place[lane]), np.uint64(first[low + lane]), actions,
                                bits, threshold, pick_bits, pick_threshold, pick_action,
                            )  # fmt: skip
                            codes[low + lane, at] = slot
                            place[lane] = np.uint64(move[slot]) >> _TWO
                    at += 1
                alive = False
                for lane in range(high - low):
                    alive |= place[lane] != sink
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
    step; `rows` the most decisions of an episode. The rest as in `record`; `work` = (words (chunks, 4, lanes),
    places (chunks, lanes), counters (chunks, 3, lanes) int64, sums (chunks, lanes) float64).
    """
    bits, pick_bits, wide, sink, actions, stride, uniform = layout
    threshold, move, pick_threshold, pick_action, reward = tables
    words, places, counters, sums = work
    n = value.shape[0]
    chunks, lanes = places.shape
    blocks = (n + lanes - 1) // lanes
    stop = discount.shape[0]
    signed_sink = np.int64(sink)
    for chunk in prange(chunks):
        w, place, total = words[chunk], places[chunk], sums[chunk]
        step, rows_of, over = counters[chunk, 0], counters[chunk, 1], counters[chunk, 2]
        for index in range(blocks * chunk // chunks, blocks * (chunk + 1) // chunks):
            low = index * lanes
            high = min(low + lanes, n)
            for lane in range(high - low):
                place[lane] = start[low + lane]
                total[lane] = 0.0
                step[lane], rows_of[lane], over[lane] = 0, 0, 0
            at, block, alive = 0, _ZERO, True
            while alive and at < rows:
                _episode_words(w, low, high, number, stream, block, purpose, key[0], key[1])
                block += _ONE
                for j in range(0, min(4, (rows - at) * stride), stride):
                    for lane in range(high - low):
                        rows_of[lane] += place[lane] != sink
                    factor = discount[min(at, stop - 1)]
                    if uniform and pick_threshold.shape[0] == 0:
                        for lane in range(high - low):
                            slot = _joint_slot(w, j, lane, wide, np.uint64(place[lane]), bits, threshold)
                            total[lane] += factor * reward[slot]
                            place[lane] = np.uint64(move[slot]) >> _TWO
                    elif uniform:
                        for lane in range(high - low):
                            slot = _staged_slot(
                                w, j, lane, wide, np.uint64(place[lane]), np.uint64(first[low + lane]), actions,
                                bits, threshold, pick_bits, pick_threshold, pick_action,
                            )  # fmt: skip
                            total[lane] += factor * reward[slot]
                            place[lane] = np.uint64(move[slot]) >> _TWO
                    else:
                        for lane in range(high - low):
                            if pick_threshold.shape[0] == 0:
                                slot = _joint_slot(w, j, lane, wide, np.uint64(place[lane]), bits, threshold)
                            else:
                                slot = _staged_slot(
                                    w, j, lane, wide, np.uint64(place[lane]), np.uint64(first[low + lane]), actions,
                                    bits, threshold, pick_bits, pick_threshold, pick_action,
                                )  # fmt: skip
                            moved = np.int64(move[slot])
                            total[lane] += discount[min(step[lane], stop - 1)] * reward[slot]
                            over[lane] |= moved & 2
                            place[lane], step[lane] = _advance(moved, step[lane], stop, signed_sink)
                    at += 1
                alive = False
                for lane in range(high - low):
                    alive |= place[lane] != sink
            for lane in range(high - low):
                value[low + lane], length[low + lane] = total[lane], rows_of[lane]
                terminated[low + lane] = place[lane] == sink if uniform else over[lane] != 0
