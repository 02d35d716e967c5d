"""Product MDPs: what the policy remembers becomes part of the state."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import numpy as np

from creditsim.errors import TooLargeError
from creditsim.mdp.checks import whole
from creditsim.mdp.table import TabularMDP

__all__ = ["Product", "memory_product", "time_product", "with_memory", "with_time"]

_LIMIT = 200_000


@dataclass(frozen=True, eq=False)
class Product:
    """An MDP whose states are pairs (state of the base MDP, memory).

    `state` (S',) is the base state of each pair, `memory` (S',) its memory: a tuple of observations, or a step.
    """

    mdp: TabularMDP
    state: np.ndarray
    memory: tuple[Hashable, ...]


def with_memory(mdp: TabularMDP, k: int, *, limit: int = _LIMIT) -> TabularMDP:
    """Return the MDP whose policy sees the last k+1 observations; `observation` stays what it was.

    See `memory_product`.
    """
    return memory_product(mdp, k, limit=limit).mdp


def with_time(mdp: TabularMDP, *, limit: int = _LIMIT) -> TabularMDP:
    """Return the MDP whose policy sees the step besides its context; see `time_product`."""
    return time_product(mdp, limit=limit).mdp


def memory_product(mdp: TabularMDP, k: int, *, limit: int = _LIMIT) -> Product:
    """Pair each state with the window of the last k+1 observations, as far as they can be reached from the start.

    The window takes in one observation per step: states without `tick` keep the window of their step and stay apart by
    their own context. Windows cut short by the start of the episode are windows of their own, as in
    `segments.context_ids`. `context` is the id of (window, context), in order of discovery. All else is the base MDP's.
    Errors: InputError for k < 0, TooLargeError past `limit` pairs.
    """
    whole("k", k, 0)
    observation, tick = mdp.observation.tolist(), mdp.tick.tolist()

    def enter(window: tuple[int, ...], state: int) -> tuple[int, ...]:
        return (*window, observation[state])[-(k + 1) :] if tick[state] else window

    return _product(mdp, (), enter, limit)


def time_product(mdp: TabularMDP, *, limit: int = _LIMIT) -> Product:
    """Pair each state with the step in which it is met, as far as they can be reached from the start.

    Steps count from 0; the pairs at step `horizon` stand for the cut and are never acted in. `context` is the id of
    (step, context), in order of discovery. Errors: TooLargeError past `limit` pairs.
    """
    tick = mdp.tick.tolist()

    def enter(step: int, state: int) -> int:
        return min(step + 1, mdp.horizon) if tick[state] else step

    return _product(mdp, -1, enter, limit)


def _product(mdp: TabularMDP, nothing: Hashable, enter: Callable[..., Hashable], limit: int) -> Product:
    """Breadth-first search over pairs; `enter(memory, state)` is the memory on entering a state.

    Terminal states keep one pair each, with the memory `nothing`: nobody acts there.
    """
    terminal = mdp.terminal.tolist()
    number: dict[tuple[int, Hashable], int] = {}
    pairs: list[tuple[int, Hashable]] = []

    def reach(memory: Hashable, state: int) -> int:
        pair = (state, nothing if terminal[state] else enter(memory, state))
        if pair not in number:
            if len(pairs) == limit:
                raise TooLargeError("reachable pairs of state and memory", f"more than {limit}", f"at most {limit}")
            number[pair] = len(pairs)
            pairs.append(pair)
        return number[pair]

    starts = [reach(nothing, state) for state in np.flatnonzero(mdp.start > 0).tolist()]
    possible = (mdp.probability > 0) & mdp.mask[:, :, None] & ~mdp.terminal[:, None, None]
    moves = [np.argwhere(possible[state]).tolist() for state in range(mdp.n_states)]
    arcs: list[tuple[int, int, int, int]] = []
    for pair, (state, memory) in enumerate(pairs):  # `pairs` grows while it is read
        arcs += [(pair, a, b, reach(memory, int(mdp.successor[state, a, b]))) for a, b in moves[state]]
    state = np.array([pair[0] for pair in pairs])
    memories = tuple(pair[1] for pair in pairs)
    start = np.zeros(len(pairs))
    start[starts] = mdp.start[mdp.start > 0]
    successor = np.zeros((len(pairs), mdp.n_actions, mdp.n_successors), np.int64)
    origin, action, branch, target = np.array(arcs).reshape(-1, 4).T
    successor[origin, action, branch] = target
    seen: dict[tuple[Hashable, int], int] = {}
    context = [seen.setdefault(key, len(seen)) for key in zip(memories, mdp.context[state].tolist(), strict=True)]
    product = TabularMDP.build(
        successor=successor,
        probability=mdp.probability[state],
        reward=mdp.reward[state],
        observation=mdp.observation[state],
        start=start,
        terminal=mdp.terminal[state],
        tick=mdp.tick[state],
        mask=mdp.mask[state],
        context=np.array(context),
        horizon=mdp.horizon,
        gamma=mdp.gamma,
        name=f"{mdp.name} with memory",
    )
    return Product(product, state, memories)
