"""What the sampler is compared with: exact laws by forward recursion, and its own scalar pieces run as plain Python."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats

from creditsim.mdp import SoftmaxPolicy, TabularMDP
from creditsim.rng import key_words, philox4x32
from creditsim.rollouts import Rollouts
from creditsim.sampling.alias import LEVEL_BITS, draw
from creditsim.sampling.tables import Tables, advance

ALPHA = 1e-6


def awkward_mdp(*, horizon: int = 4, rewards: int = 0, seed: int = 0) -> TabularMDP:
    """8 states, 3 actions, 3 successors: two terminals, two states inside a step, forbidden actions, random start."""
    rng = np.random.default_rng(seed)
    s, a, b = 8, 3, 3
    tick = np.array([1, 1, 1, 1, 0, 0, 1, 1], bool)
    successor = rng.integers(0, s, (s, a, b))
    successor[4] = rng.choice([0, 1, 2, 3, 5, 7], (a, b))
    successor[5] = rng.choice([0, 1, 2, 3, 6, 7], (a, b))
    mask = np.ones((s, a), bool)
    mask[1, 0] = mask[4, 2] = False
    probability = rng.dirichlet(np.ones(b), (s, a))
    probability[2, :, 1:] = 0.0
    probability[2, :, 0] = 1.0
    return TabularMDP.build(
        successor=successor,
        probability=probability,
        reward=rng.normal(size=(s, a, b, rewards) if rewards else (s, a, b)).round(2),
        observation=np.array([0, 1, 1, 2, 3, 3, 4, 5]),
        start=np.array([0.5, 0.3, 0.0, 0.2, 0, 0, 0, 0]),
        terminal=np.arange(s) >= 6,
        tick=tick,
        mask=mask,
        context=np.arange(s),
        horizon=horizon,
        gamma=0.9,
    )


def random_policy(mdp: TabularMDP, seed: int = 1, replicates: int | None = None) -> SoftmaxPolicy:
    shape = (mdp.n_contexts * mdp.n_actions,)
    theta = np.random.default_rng(seed).normal(size=shape if replicates is None else (replicates, *shape))
    return SoftmaxPolicy(theta, mdp.n_actions)


def table_law(tables: Tables, shape: tuple[int, int, int]) -> np.ndarray:
    """(S, A, B) the law of one decision that joint tables draw from, summed slot by slot in integers."""
    units = np.zeros(shape, np.int64)
    threshold = tables.threshold.astype(np.int64)
    owner = np.arange(threshold.size) >> tables.bits
    for index in np.flatnonzero(owner < tables.sink):
        for side, mass in ((0, threshold[index]), (1, (1 << LEVEL_BITS) - threshold[index])):
            slot = 2 * index + side
            if mass:
                units[tables.state[slot], tables.action[slot], tables.branch[slot]] += mass
    return units / float(1 << (LEVEL_BITS + tables.bits))


def decision_laws(mdp: TabularMDP, law: np.ndarray) -> list[np.ndarray]:
    """For decision d = 0, 1, ...: (H, S, A, B) probability that it is made, at that step, with that outcome."""
    alive = np.zeros((mdp.horizon, mdp.n_states))
    alive[0] = mdp.start
    laws = []
    while alive.sum() > 1e-12:
        made = alive[:, :, None, None] * law
        laws.append(made)
        alive = np.zeros_like(alive)
        for (e, *outcome), p in np.ndenumerate(made):
            there = mdp.successor[tuple(outcome)]
            e_next = e + mdp.tick[there]
            if not mdp.terminal[there] and e_next < mdp.horizon:
                alive[e_next, there] += p
    return laws


def worst_p_value(rollouts: Rollouts, laws: list[np.ndarray]) -> float:
    """Smallest chi-square p-value over decision numbers, times their number; cells expected below 5 are pooled."""
    n = rollouts.n_trajectories
    at = np.arange(rollouts.n_rows) - rollouts.offsets[:-1][rollouts.trajectory]
    if at.max() >= len(laws):
        return 0.0
    smallest = 1.0
    for d, made in enumerate(laws):
        cells = made.sum(axis=3)  # step, state, action
        rows = np.flatnonzero(at == d)
        keys = (rollouts.step[rows], rollouts.columns["state"][rows], rollouts.action[rows])
        if (np.array(keys[0]) >= cells.shape[0]).any():
            return 0.0
        observed = np.zeros(cells.shape)
        np.add.at(observed, keys, 1)
        if observed[cells == 0].any():
            return 0.0
        expected = np.append(cells.reshape(-1), max(0.0, 1 - cells.sum())) * n
        counts = np.append(observed.reshape(-1), n - rows.size)
        large = expected >= 5
        expected = np.append(expected[large], expected[~large].sum())
        counts = np.append(counts[large], counts[~large].sum())
        keep = expected > 1e-9
        if keep.sum() > 1:
            statistic = ((counts[keep] - expected[keep]) ** 2 / expected[keep]).sum()
            smallest = min(smallest, float(stats.chi2.sf(statistic, keep.sum() - 1)))
    return smallest * len(laws)


def plain_walk(
    tables: Tables,
    *,
    start: int,
    stop: int,
    number: int,
    stream: int,
    seed: int,
    first: int = 0,
    philox: Callable = philox4x32,
    pick: Callable = draw,
) -> list[int]:
    """Walk one episode with the uncompiled scalar functions: the slots of its decisions."""
    u = np.uint64
    words: list[int] = []
    k0, k1 = key_words(seed)

    def word(i: int) -> np.uint64:
        while i >= len(words):
            words.extend(int(w) for w in philox(u(number), u(len(words) // 4), u(stream), u(1), k0, k1))
        return u(words[i])

    def slot_of(i: int, table: int, bits: int, threshold: np.ndarray) -> int:
        bucket = word(i) & u((1 << bits) - 1)
        return int(pick(u(table << bits), bucket, word(i + tables.wide) >> u(4), threshold))

    place, step, slots = start, 0, []
    while place != tables.sink:
        i = len(slots) * tables.words
        row = place
        if tables.two_stage:
            picked = slot_of(i, first + place, tables.pick_bits, tables.pick_threshold)
            row = place * tables.n_actions + int(tables.pick_action[picked])
            i += 1 + tables.wide
        slot = slot_of(i, row, tables.bits, tables.threshold)
        slots.append(slot)
        place, step = advance(int(tables.move[slot]), step, stop, tables.sink)
    return slots
