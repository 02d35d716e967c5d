"""Named draws of a bandit: counter = (replication, block of pulls, stream, purpose and place within the pull).

The stream tells the bandits of different states apart. A reward belongs to the pull's number, whatever arm is pulled;
a rule's own draws have a purpose of their own. Nothing here depends on lanes, threads or chunks.
"""

from __future__ import annotations

import math

import numpy as np

from creditsim.jit import kernel
from creditsim.rng import Purpose, philox, uniform53

__all__ = ["ALLOCATION", "REWARD", "block", "pair", "value_of"]

REWARD, ALLOCATION = np.uint64(int(Purpose.BANDIT)), np.uint64(int(Purpose.ALLOCATION))
_MASK, _EIGHT = np.uint64(0xFFFFFFFF), np.uint64(8)
_uniform53 = kernel(uniform53, inline=True)


@kernel(inline=True)
def block(replication, number, stream, purpose, place, k0, k1):
    """Four words; `number` is the pull or pair of pulls, `place` < 2^24 the draw's place within it."""
    top = purpose | (np.uint64(place) << _EIGHT)
    return philox(np.uint64(replication) & _MASK, np.uint64(number) & _MASK, stream, top, k0, k1)


@kernel
def pair(replication, number, stream, purpose, place, k0, k1):
    """Two doubles in [0, 1) of 53 bits."""
    w0, w1, w2, w3 = block(replication, number, stream, purpose, place, k0, k1)
    return _uniform53(w0, w1), _uniform53(w2, w3)


@kernel
def value_of(first, second, odd, mean, deviation):
    """Value of an arm of this mean from a pair of uniforms, of which Bernoulli takes one and Box-Muller both."""
    if deviation == 0.0:
        u = second if odd else first
        return 1.0 if u < mean else 0.0
    radius = math.sqrt(-2.0 * math.log(1.0 - first))
    angle = 2.0 * math.pi * second
    return mean + deviation * radius * (math.sin(angle) if odd else math.cos(angle))
