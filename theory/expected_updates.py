"""Expected updates of critic-free and critic-based surrogates on small turn trees, exact for groups of finite size.

A leaf pays one of L levels with a law of its own. The credit of a trajectory depends on its group through the levels
of the others alone, so E[A+ | level] and E[A- | level] are sums over multinomial counts, and with them the expected
clipped surrogate, E[A+] min(rho, 1 + e) - E[A-] max(rho, 1 - e), and its gradient at any policy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from scipy.special import gammaln

from creditsim.rng import Purpose, uniforms

__all__ = ["LEVELS", "Backbone", "Games", "counts_of", "random_games", "signed_credit"]

LEVELS = {"binary": (0.0, 1.0), "rare": (0.0, 1.0, 15.0)}
"""What a leaf may pay."""


@lru_cache
def counts_of(others: int, levels: int) -> tuple[np.ndarray, np.ndarray]:
    """All counts (K, L) of `others` draws from L levels, and the logarithm (K,) of how many orders each has."""
    if levels == 1:
        return np.array([[others]]), np.zeros(1)
    blocks = []
    for first in range(others + 1):
        rest = counts_of(others - first, levels - 1)[0]
        blocks.append(np.column_stack([np.full(len(rest), first), rest]))
    counts = np.concatenate(blocks)
    return counts, gammaln(others + 1) - gammaln(counts + 1).sum(axis=1)


def signed_credit(levels: np.ndarray, chance: np.ndarray, group: int, std: bool, ddof: int = 1) -> np.ndarray:
    """(2, n, L): E[max(A, 0)] and E[max(-A, 0)] of a trajectory that got each level, `chance` (n, L) of the others.

    A = r - mean of the group, divided by its deviation with `std`; 0 in groups of equal members.
    """
    counts, ways = counts_of(group - 1, levels.size)
    mine = np.eye(levels.size)[:, None, :] + counts  # (L, K, L)
    mean = mine @ levels / group
    centred = levels[:, None] - mean
    if std:
        square = (mine * np.square(levels - mean[:, :, None])).sum(axis=-1)
        spread = np.sqrt(square / (group - ddof))
        centred = np.where(spread > 0, centred / np.where(spread > 0, spread, 1.0), 0.0)
    powers = chance[:, None, :] ** counts
    weight = np.exp(ways) * powers.prod(axis=-1)
    return np.stack([weight @ np.maximum(centred, 0).T, weight @ np.maximum(-centred, 0).T])


@dataclass(frozen=True, eq=False)
class Games:
    """n trees of T turns with A choices; leaf i of tree n pays level l with chance law[n, i, l].

    `parameters`: "separate" (a row for each history), "aliased" (a row for each turn) or "shared" (one row).
    """

    levels: np.ndarray
    law: np.ndarray
    turns: int
    actions: int
    parameters: str = "separate"

    @cached_property
    def mean(self) -> np.ndarray:
        """(n, A^T) expected reward of each leaf."""
        return self.law @ self.levels

    @property
    def n(self) -> int:
        """Number of trees."""
        return self.law.shape[0]

    def logits(self, seed: int | None = None, scale: float = 1.0) -> list[np.ndarray]:
        """Parameters by turn: (n, A^t, A), or (n, 1, A) where histories share them; None: zero."""
        rows = [self.actions**t if self.parameters == "separate" else 1 for t in range(self.turns)]
        if seed is None:
            return [np.zeros((self.n, k, self.actions)) for k in rows]
        u = [uniforms(seed, t, Purpose.INIT, (self.n, k, self.actions)) for t, k in enumerate(rows)]
        drawn = [scale * (2.0 * each - 1.0) for each in u]
        return [drawn[0]] * self.turns if self.parameters == "shared" else drawn

    def policy(self, logits: list[np.ndarray]) -> list[np.ndarray]:
        """Probabilities by turn, (n, A^t, A)."""
        out = []
        for t, z in enumerate(logits):
            e = np.exp(z - z.max(axis=-1, keepdims=True))
            pi = e / e.sum(axis=-1, keepdims=True)
            out.append(np.broadcast_to(pi, (self.n, self.actions**t, self.actions)))
        return out

    def on_leaves(self, tables: list[np.ndarray]) -> np.ndarray:
        """(T, n, A^T) the entry of each turn's table that a leaf's path goes through."""
        shape = (self.n, self.actions**self.turns)
        return np.stack([np.repeat(t.reshape(self.n, -1), shape[1] // t[0].size, axis=1) for t in tables])

    def leaf_chance(self, tables: list[np.ndarray]) -> np.ndarray:
        """(n, A^T) chance of each path."""
        return self.on_leaves(tables).prod(axis=0)

    def objective(self, logits: list[np.ndarray]) -> np.ndarray:
        """(n,) J."""
        return (self.leaf_chance(self.policy(logits)) * self.mean).sum(axis=1)

    def advantages(self, tables: list[np.ndarray]) -> np.ndarray:
        """(T, n, A^T) exact A(history, choice) along each path."""
        value, out = self.mean, []
        for table in reversed(tables):
            q = value.reshape(table.shape)
            value = (table * q).sum(axis=-1)
            out.append(q - value[:, :, None])
        return self.on_leaves(out[::-1])

    def per_row(self, on_path: np.ndarray, turn: int) -> np.ndarray:
        """Sum of a path's number (n, A^T) by the parameter that turn's choice has: (n, A^t, A) or (n, 1, A)."""
        by_history = on_path.reshape(self.n, self.actions**turn, self.actions, -1).sum(axis=-1)
        return by_history if self.parameters == "separate" else by_history.sum(axis=1, keepdims=True)

    def natural_step(self, path: np.ndarray, weight: np.ndarray, turns: range) -> list[np.ndarray]:
        """Natural gradient of sum over paths of path * weight (T, n, A^T) * log pi of the turns named; others 0.

        It is the mean of the weight given the parameter's row and choice, turns that share a row counted together.
        """
        total = [self.per_row(path * weight[t], t) if t in turns else 0.0 for t in range(self.turns)]
        mass = [self.per_row(path, t) if t in turns else 0.0 for t in range(self.turns)]
        if self.parameters == "shared":
            total, mass = [sum(total)] * self.turns, [sum(mass)] * self.turns
        return [
            np.where(np.asarray(m) > 0, w / np.where(np.asarray(m) > 0, m, 1.0), 0.0)
            for w, m in zip(total, mass, strict=True)
        ]

    def best(self) -> np.ndarray:
        """(n,) expected reward of the best path."""
        return self.mean.max(axis=1)


def random_games(
    n: int, turns: int, actions: int, seed: int, rewards: str = "rare", parameters: str = "separate"
) -> Games:
    """Games whose leaves pay 1 with a uniform chance; with "rare", 15 with chance up to 0.1 in its place."""
    levels = np.array(LEVELS[rewards])
    u = uniforms(seed, 0, Purpose.DATA, (2, n, actions**turns))
    rare = 0.1 * u[1] if rewards == "rare" else np.zeros_like(u[1])
    one = u[0] * (1.0 - rare)
    law = np.stack([1.0 - one - rare, one, rare][: levels.size], axis=-1)
    return Games(levels, law, turns, actions, parameters)


@dataclass(frozen=True)
class Backbone:
    """A critic-free or critic-based algorithm in expectation.

    credit   "value" (exact advantage of each turn: GAE with a true critic), "mean" (return less the group's mean),
             "std" (divided by the group's deviation), "batch" (less the mean, over the deviation of a large batch)
    ratio    "none" (REINFORCE), "turn" (a ratio for each turn, clipped), "sequence" (geometric mean over the turns)
    order    "" for all turns at once, else SeeUPO's sequential order, with the running product
    """

    credit: str
    ratio: str
    order: str = ""
    group: int = 8
    clip: float = 0.2
    inner: int = 8
    learning_rate: float = 1.0

    def changed(self, **changes: object) -> Backbone:
        """The same algorithm with some choices changed."""
        return replace(self, **changes)  # pyright: ignore[reportArgumentType]

    def signed(self, games: Games, tables: list[np.ndarray], path: np.ndarray) -> np.ndarray:
        """(2, T or 1, n, A^T): E[A+] and E[A-] along each path."""
        if self.credit == "value":
            a = games.advantages(tables)
            return np.stack([np.maximum(a, 0.0), np.maximum(-a, 0.0)])
        chance = (path[:, :, None] * games.law).sum(axis=1)
        by_level = signed_credit(games.levels, chance, self.group, self.credit == "std")
        if self.credit == "batch":
            mean = chance @ games.levels
            spread = np.sqrt(np.maximum((chance * np.square(games.levels - mean[:, None])).sum(axis=1), 1e-12))
            by_level = by_level / spread[:, None]
        return np.einsum("nil,knl->kni", games.law, by_level)[:, None]

    def updated(self, games: Games, logits: list[np.ndarray]) -> list[np.ndarray]:
        """Parameters after one iteration in expectation, from parameters by turn."""
        old = games.policy(logits)
        path = games.leaf_chance(old)
        return self.improved(games, logits, path, *self.signed(games, old, path))

    def sampled(self, games: Games, logits: list[np.ndarray], seed: int) -> list[np.ndarray]:
        """Parameters after one iteration on one sampled group for each tree, return less the group's mean as credit."""
        path = games.leaf_chance(games.policy(logits))
        u = uniforms(seed, 0, Purpose.STEP, (2, games.n, self.group))
        leaf = (u[0][:, :, None] > path.cumsum(axis=1)[:, None, :-1]).sum(axis=-1)
        law = np.take_along_axis(games.law, leaf[:, :, None], axis=1)
        paid = games.levels[(u[1][:, :, None] > law.cumsum(axis=-1)[:, :, :-1]).sum(axis=-1)]
        credit = paid - paid.mean(axis=1, keepdims=True)
        hit = leaf[:, :, None] == np.arange(path.shape[1])
        count = hit.sum(axis=1)
        plus, minus = ((hit * np.maximum(s * credit, 0.0)[:, :, None]).sum(axis=1) for s in (1.0, -1.0))
        seen = np.maximum(count, 1)
        return self.improved(games, logits, count / self.group, (plus / seen)[None], (minus / seen)[None])

    def improved(
        self, games: Games, logits: list[np.ndarray], path: np.ndarray, plus: np.ndarray, minus: np.ndarray
    ) -> list[np.ndarray]:
        """Climb the surrogate by `inner` natural-gradient steps, in all turns together or turn by turn.

        `path` (n, A^T) weighs the paths, `plus` and `minus` (T or 1, n, A^T) are the mean positive and negative parts
        of their credit.
        """
        old = games.on_leaves(games.policy(logits))
        old = np.where(old > 0, old, 1.0)
        everything = range(games.turns)
        correction = np.ones_like(path)
        for turns in [range(t, t + 1) for t in reversed(everything)] if self.order else [everything]:
            steps = 1 if self.ratio == "none" else self.inner
            for _ in range(steps):
                ratio = games.on_leaves(games.policy(logits)) / old
                step = games.natural_step(path, correction * self._slope(ratio, plus, minus), turns)
                logits = [z + self.learning_rate / steps * g for z, g in zip(logits, step, strict=True)]
            if self.order:
                now = games.on_leaves(games.policy(logits))
                correction = correction * now[turns[0]] / old[turns[0]]
        return logits

    def _slope(self, ratio: np.ndarray, plus: np.ndarray, minus: np.ndarray) -> np.ndarray:
        """(T, n, A^T) derivative of the expected surrogate by each turn's log-probability, before P(path)."""
        turns = ratio.shape[0]
        if self.ratio == "none":
            return np.broadcast_to(plus - minus, ratio.shape)
        if self.ratio == "sequence":
            s = np.exp(np.log(np.maximum(ratio, 1e-300)).mean(axis=0, keepdims=True))
            ratio, scale = s, 1.0 / turns
        else:
            scale = 1.0
        slope = scale * ratio * (plus * (ratio < 1.0 + self.clip) - minus * (ratio > 1.0 - self.clip))
        return np.broadcast_to(slope, (turns, *slope.shape[1:]))
