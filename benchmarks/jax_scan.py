"""The JAX rollouts that a specialist would write: joint alias table, threefry bits, one scan over 32,768 episodes.

They read the very tables of `creditsim.sampling` (one 32-bit word per decision: bucket from the low bits, level from
the high 28) and give the same results: slots of every decision, or return, length and whether the goal was reached.
Which form XLA runs fastest depends on the processor, so several are made and the fastest is the one compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from creditsim.sampling.tables import Tables

__all__ = ["forms"]

Form = Callable[[Any], Any]


def forms(
    tables: Tables, start: int, episodes: int, horizon: int, *, keep: bool, defaults: bool = False
) -> Mapping[str, Form]:
    """Compiled functions of a key by name; `keep` records slots (H, N) uint16, else (value, length, terminated).

    `defaults` leaves JAX's settings alone: its threefry can then be cut among devices and takes a whole block for each
    word. A specialist on one processor switches that off and gets two words from a block.
    """
    jax.config.update("jax_threefry_partitionable", defaults)
    threshold, move = jnp.asarray(tables.threshold), jnp.asarray(tables.move >> 2)
    reward = jnp.asarray(tables.reward, jnp.float32)
    mask, sink = jnp.uint32((1 << tables.bits) - 1), jnp.uint32(tables.sink)
    place = jnp.full(episodes, start, jnp.uint32)
    nothing = jnp.zeros(episodes, jnp.float32), jnp.zeros(episodes, jnp.int32)

    def decide(place: Any, word: Any) -> Any:
        index = (place << tables.bits) + (word & mask)
        return (index << 1) | (word >> 4 >= threshold[index]).astype(jnp.uint32)

    def record(carry: Any, word: Any) -> Any:
        slot = decide(carry, word)
        return move[slot], slot.astype(jnp.uint16)

    def reduce(carry: Any, word: Any) -> Any:
        place, value, length = carry
        slot = decide(place, word)
        return (move[slot], value + reward[slot], length + (place != sink)), None

    def walk(key: Any, at_once: bool, unroll: int) -> Any:
        one, first = (record, place) if keep else (reduce, (place, *nothing))
        if at_once:
            words = jax.random.bits(key, (horizon, episodes), jnp.uint32)
            last, slots = jax.lax.scan(one, first, words, unroll=unroll)
        else:

            def draw_and_decide(carry: Any, t: Any) -> Any:
                return one(carry, jax.random.bits(jax.random.fold_in(key, t), (episodes,), jnp.uint32))

            last, slots = jax.lax.scan(draw_and_decide, first, jnp.arange(horizon), unroll=unroll)
        return (last, slots) if keep else (last[1], last[2], last[0] == sink)

    return {
        f"bits {'at once' if at_once else 'per step'}, unroll {unroll}": jax.jit(
            partial(walk, at_once=at_once, unroll=unroll)
        )
        for at_once in (True, False)
        for unroll in (1, 2, horizon)
    }
