"""Episodes as plain Python objects, drawn by chance, and the arithmetic that references of whole papers share.

References work on lists of `Episode` and give one list of numbers per episode: one entry per row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from hypothesis import strategies as st

from creditsim.rollouts import Rollouts

Rows = list[list[float]]
Told = dict[str, Rows]
T = TypeVar("T")


@dataclass(frozen=True)
class Episode:
    """One trajectory with everything that some method asks for; weight 0 takes a row out of all statistics."""

    group: int
    batch: int
    rewards: tuple[float, ...]
    weight: tuple[float, ...]
    observation: tuple[int, ...]
    action: tuple[int, ...]
    gain: tuple[float, ...]
    value: tuple[float, ...]
    answer: int
    metric: float
    objectives: tuple[float, ...]
    step: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def score(self) -> float:
        """Return, rows of weight 0 included: what was paid was paid."""
        return math.fsum(self.rewards)

    @property
    def counts(self) -> bool:
        """Whether it enters statistics."""
        return any(self.weight)

    @property
    def steps(self) -> tuple[int, ...]:
        return self.step or tuple(range(len(self)))


@dataclass(frozen=True)
class Shape:
    """What kind of episodes to draw."""

    seed: int
    batches: int = 2
    groups: int = 3
    members: tuple[int, int] = (1, 4)
    lengths: tuple[int, int] = (1, 4)
    masked: float = 0.0
    binary: bool = False

    def draw(self) -> list[Episode]:
        rng = np.random.default_rng([self.seed, self.batches, self.groups, self.lengths[1]])
        out = []
        for batch in range(self.batches):
            for group in range(self.groups):
                # Equal members are a case of their own, which chance alone would seldom make.
                kind = int(rng.integers(4))
                for _ in range(rng.integers(self.members[0], self.members[1] + 1)):
                    out.append(self._episode(rng, batch * self.groups + group, batch, kind))
        return out

    def _episode(self, rng: np.random.Generator, group: int, batch: int, kind: int) -> Episode:
        n = int(rng.integers(self.lengths[0], self.lengths[1] + 1))
        if self.binary:
            won = {0: False, 1: True}.get(kind, bool(rng.random() < 0.5))
            rewards = [0.0] * (n - 1) + [float(won)] * (n > 0)
        else:
            rewards = [0.0] * (n - 1) + [0.5] * (n > 0) if kind == 0 else (rng.integers(-8, 9, n) / 8.0).tolist()
        dead = rng.random() < self.masked / 2
        weight = [0.0 if dead or rng.random() < self.masked / 2 else 1.0 for _ in range(n)]
        return Episode(
            group, batch, tuple(rewards), tuple(weight),
            tuple(map(int, rng.integers(0, 3, n))), tuple(map(int, rng.integers(0, 2, n))),
            tuple((rng.integers(-8, 9, n) / 8.0).tolist()), tuple(rng.normal(size=n).tolist()),
            int(rng.integers(0, 3)), float(rng.permutation(1000)[0] / 8.0 + len(rewards) / 64.0),
            tuple((rng.integers(0, 5, 3) / 4.0 * (kind != 1)).tolist()),
        )  # fmt: skip


def shapes(**fixed: Any) -> st.SearchStrategy[Shape]:
    """Shapes from one small group to two batches of three; `fixed` settles some of it."""
    choices: dict[str, st.SearchStrategy[Any]] = {
        "seed": st.integers(0, 10**6),
        "batches": st.integers(1, 2),
        "groups": st.integers(1, 3),
        "members": st.sampled_from([(1, 1), (1, 4), (2, 5), (4, 4)]),
        "lengths": st.sampled_from([(1, 1), (1, 3), (2, 5), (0, 3)]),
        "masked": st.sampled_from([0.0, 0.4]),
    }
    return st.builds(Shape, **{**choices, **{name: st.just(value) for name, value in fixed.items()}})


def rollouts_of(episodes: Sequence[Episode], dtype: type = float) -> Rollouts:
    """The same episodes as the library sees them."""

    def rows(name: str, kind: type = dtype) -> np.ndarray:
        return np.array([x for e in episodes for x in getattr(e, name)], kind)

    masked = any(0.0 in e.weight for e in episodes)
    columns = {"information_gain": rows("gain"), "value": rows("value")}
    return Rollouts.flat(
        offsets=np.concatenate([[0], np.cumsum([len(e) for e in episodes])]).astype(np.int64),
        group=np.array([e.group for e in episodes]),
        batch=np.array([e.batch for e in episodes]),
        reward=rows("rewards"),
        observation=rows("observation", int),
        action=rows("action", int),
        step=rows("steps", int),
        columns=columns | ({"weight": rows("weight")} if masked else {}),
        trajectory_columns={
            "answer": np.array([e.answer for e in episodes]),
            "metric": np.array([e.metric for e in episodes], dtype),
            "rewards_K": np.array([e.objectives for e in episodes], dtype),
        },
    )


def flat(rows: Rows) -> np.ndarray:
    return np.array([x for episode in rows for x in episode], float)


def to_rows(episodes: Sequence[Episode], value: Callable[[int], float]) -> Rows:
    """One number per episode, on its rows that count."""
    return [[value(i) if w else 0.0 for w in e.weight] for i, e in enumerate(episodes)]


def mean(xs: Sequence[float]) -> float:
    return math.fsum(xs) / len(xs)


def std(xs: Sequence[float], ddof: int) -> float:
    """Deviation; 0 where the divisor leaves none."""
    if len(xs) <= ddof:
        return 0.0
    centre = mean(xs)
    return math.sqrt(math.fsum((x - centre) ** 2 for x in xs) / (len(xs) - ddof))


def standard(x: float, xs: Sequence[float], ddof: int, eps: float, *, raw: bool = False, inside: float = 0.0) -> float:
    """(x - mean) / (sqrt(var + inside) + eps); 0 among equals; a member alone gets 0, or x / (1 + eps) with `raw`."""
    if len(xs) == 1:
        return x / (1.0 + eps) if raw else 0.0
    if len(xs) <= ddof or max(xs) == min(xs):
        return 0.0
    return (x - mean(xs)) / (math.sqrt(std(xs, ddof) ** 2 + inside) + eps)


def by(key: Callable[[T], Any], things: Iterable[T]) -> dict[Any, list[T]]:
    out: dict[Any, list[T]] = {}
    for thing in things:
        out.setdefault(key(thing), []).append(thing)
    return out


def group_of(episodes: Sequence[Episode], episode: Episode) -> list[Episode]:
    """Members of the episode's group that count."""
    return [e for e in episodes if e.counts and e.group == episode.group]


def batch_of(episodes: Sequence[Episode], episode: Episode) -> list[Episode]:
    return [e for e in episodes if e.counts and e.batch == episode.batch]


def paid_more(episode: Episode, amount: float) -> Episode:
    """The same episode with more at its end, in the return and in every objective."""
    if not episode.rewards:
        return episode
    rewards = (*episode.rewards[:-1], episode.rewards[-1] + amount)
    return replace(episode, rewards=rewards, objectives=tuple(x + amount for x in episode.objectives))


def rescaled(episode: Episode, factor: float) -> Episode:
    """The same episode in other units: rewards, gains, values and objectives."""

    def times(xs: Iterable[float]) -> tuple[float, ...]:
        return tuple(factor * x for x in xs)

    return replace(
        episode, rewards=times(episode.rewards), gain=times(episode.gain), value=times(episode.value),
        objectives=times(episode.objectives),
    )  # fmt: skip
