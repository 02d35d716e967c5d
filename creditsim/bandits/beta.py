"""Normal, gamma and beta draws from named blocks: ziggurat, then Marsaglia and Tsang's rejection.

A draw is given the four words of its first block, which callers fill side by side; the few that are rejected take
further blocks by number.
"""

from __future__ import annotations

import math

import numpy as np

from creditsim.bandits.draws import ALLOCATION, block, pair
from creditsim.jit import kernel
from creditsim.rng import uniform53

__all__ = ["ATTEMPTS", "beta_samples", "gamma", "gamma_at_once", "gamma_from", "normal_from", "ziggurat"]

ATTEMPTS = 256
"""Places that one gamma draw may use; it needs more than ten with probability below 1e-10."""
_LAYERS = 256
_EDGE = 3.6541528853610088
"""Right edge of the lowest of 256 layers of one area; checked against that condition in the tests."""
_LAYER, _BITS, _SIGN = np.uint64(255), np.uint64(11), np.uint64(256)
_HALF = np.uint64(32)
_uniform53 = kernel(uniform53, inline=True)


def ziggurat() -> tuple[np.ndarray, np.ndarray]:
    """Right edges x (257,), falling from the lowest layer to 0, and heights exp(-x^2/2): 256 layers of one area.

    Layer 0 is the strip under exp(-r^2/2) together with the tail beyond r = x_1; x_0 is its area over that height.
    Source: Marsaglia and Tsang, J. Stat. Softw. 2000 (evidence: notes), derived here.
    """
    height = math.exp(-_EDGE * _EDGE / 2.0)
    area = _EDGE * height + math.sqrt(math.pi / 2.0) * math.erfc(_EDGE / math.sqrt(2.0))
    x = np.zeros(_LAYERS + 1)
    x[0], x[1] = area / height, _EDGE
    for i in range(2, _LAYERS):
        x[i] = math.sqrt(-2.0 * math.log(area / x[i - 1] + math.exp(-x[i - 1] * x[i - 1] / 2.0)))
    return x, np.exp(-x * x / 2.0)


_X, _F = ziggurat()


@kernel(inline=True)
def _high_and_sign(w0, w1):
    # Layer from the low byte, sign from the next bit, 53 bits of magnitude from the top.
    word = np.uint64(w0) | (np.uint64(w1) << _HALF)
    return word & _LAYER, word & _SIGN, np.float64(word >> _BITS) * 2.0**-53


@kernel
def normal_from(w0, w1, replication, number, stream, place, k0, k1):
    """A standard normal from two words; 1.2 % take further blocks, from `place` on."""
    layer, sign, u = _high_and_sign(w0, w1)
    while True:
        x = u * _X[layer]
        if x < _X[layer + np.uint64(1)]:
            break
        first, second = pair(replication, number, stream, ALLOCATION, place, k0, k1)
        place += 1
        if layer == np.uint64(0):
            # The tail beyond r: an exponential proposal of rate r, kept with exp(-(x - r)^2 / 2).
            x = _EDGE - math.log(1.0 - first) / _EDGE
            if -2.0 * math.log(1.0 - second) > (x - _EDGE) * (x - _EDGE):
                break
        elif _F[layer] + first * (_F[layer + np.uint64(1)] - _F[layer]) < math.exp(-x * x / 2.0):
            break
        w0, w1, _, _ = block(replication, number, stream, ALLOCATION, place, k0, k1)
        place += 1
        layer, sign, u = _high_and_sign(w0, w1)
    return -x if sign != np.uint64(0) else x


@kernel(inline=True)
def gamma_at_once(d, c, w0, w1, w2, w3):
    """What `gamma_from` returns where neither the ziggurat nor the squeeze needs a second look; else -1.

    d = shape - 1/3 with shape >= 1, c = 1 / sqrt(9 d), y = c x. Without branches, so that a loop of these becomes
    vectors. Marsaglia and Tsang accept where ln(1 - u) < x^2/2 + d (1 - v + ln v), v = (1 + y)^3; in powers of y the
    right side is -d (3/4 y^4 - 3/5 y^5 + 3/6 y^6 - ...) >= -(3/4) d y^4 / (1 - |y|) for |y| < 1, and 1 + h <= exp(h).
    """
    layer, sign, high = _high_and_sign(w0, w1)
    x = high * _X[layer]
    inside = x < _X[layer + np.uint64(1)]
    y = c * (-x if sign != np.uint64(0) else x)
    square, room = y * y, 1.0 - abs(y)
    u = _uniform53(np.uint64(w2), np.uint64(w3))
    accepted = inside and room > 0.0 and u * room > 0.75 * d * square * square
    v = 1.0 + y
    return d * (v * v * v) if accepted else -1.0


@kernel
def gamma_from(shape, w0, w1, w2, w3, replication, number, stream, place, k0, k1):
    """A gamma draw of shape > 0 and scale 1; the first block is given, more are taken from `place` + 1 on."""
    boosted = shape < 1.0
    d = (shape + 1.0 if boosted else shape) - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    attempt = 1
    while True:
        x = normal_from(w0, w1, replication, number, stream, place + attempt, k0, k1)
        v = 1.0 + c * x
        if v > 0.0:
            v = v * v * v
            u = 1.0 - _uniform53(np.uint64(w2), np.uint64(w3))
            square = x * x
            if u < 1.0 - 0.0331 * square * square or math.log(u) < 0.5 * square + d * (1.0 - v + math.log(v)):
                break
        # A normal uses few places: eight apart, two attempts never meet.
        attempt += 8
        w0, w1, w2, w3 = block(replication, number, stream, ALLOCATION, place + attempt - 1, k0, k1)
    value = d * v
    if boosted:
        first, _ = pair(replication, number, stream, ALLOCATION, place + ATTEMPTS - 1, k0, k1)
        value *= (1.0 - first) ** (1.0 / shape)
    return value


@kernel
def gamma(shape, replication, number, stream, place, k0, k1):
    """A gamma draw that makes its own first block; `place` is a multiple of `ATTEMPTS`."""
    w0, w1, w2, w3 = block(replication, number, stream, ALLOCATION, place, k0, k1)
    return gamma_from(shape, w0, w1, w2, w3, replication, number, stream, place, k0, k1)


@kernel
def beta_samples(out, a, b, number, stream, k0, k1):
    """Fill `out` (N,) with Beta(a, b) draws of replications 0..N-1, as Thompson sampling makes them."""
    for r in range(out.shape[0]):
        x = gamma(a, r, number, stream, 0, k0, k1)
        y = gamma(b, r, number, stream, ATTEMPTS, k0, k1)
        out[r] = x / (x + y)
