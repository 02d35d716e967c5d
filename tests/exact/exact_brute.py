"""The slowest possible oracle: every episode, one by one, in plain Python."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from creditsim.mdp import TabularMDP, make


@dataclass(frozen=True)
class Episode:
    """Probability, and one (step, state, action, reward) per decision."""

    probability: float
    rows: tuple[tuple[int, int, int, float], ...]

    def gain(self, gamma: float, first: int = 0) -> float:
        """Discounted reward from decision `first` on, seen from there."""
        base = self.rows[first][0]
        return sum(gamma ** (t - base) * r for t, _, _, r in self.rows[first:])


def episodes(mdp: TabularMDP, pi: np.ndarray) -> Iterator[Episode]:
    """Every episode of positive probability, for pi (S,A) or (H,S,A)."""
    tables = np.broadcast_to(pi, (mdp.horizon, mdp.n_states, mdp.n_actions))

    def go(p: float, t: int, s: int, rows: tuple[tuple[int, int, int, float], ...]) -> Iterator[Episode]:
        if mdp.terminal[s] or t == mdp.horizon:
            yield Episode(p, rows)
            return
        for a in range(mdp.n_actions):
            for b in range(mdp.n_successors):
                chance = tables[t, s, a] * mdp.probability[s, a, b]
                if chance > 0:
                    to = int(mdp.successor[s, a, b])
                    row = (t, s, a, float(mdp.scalar_reward[s, a, b]))
                    yield from go(p * chance, t + int(mdp.tick[to]), to, (*rows, row))

    for s in np.flatnonzero(mdp.start):
        yield from go(float(mdp.start[s]), 0, int(s), ())


def brute_value(mdp: TabularMDP, pi: np.ndarray, gamma: float) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """J, and by (step, state): value and occupancy; by (step, state, action): q. NaN where never visited."""
    h, s, a = mdp.horizon, mdp.n_states, mdp.n_actions
    j, mass, gain = 0.0, np.zeros((h, s, a)), np.zeros((h, s, a))
    for episode in episodes(mdp, pi):
        j += episode.probability * episode.gain(gamma)
        for i, (t, state, action, _) in enumerate(episode.rows):
            mass[t, state, action] += episode.probability
            gain[t, state, action] += episode.probability * episode.gain(gamma, i)
    with np.errstate(invalid="ignore"):
        return j, gain.sum(-1) / mass.sum(-1), mass.sum(-1), gain / mass


@st.composite
def small_mdps(draw: st.DrawFn) -> TabularMDP:
    """Random MDPs with all special cases, of at most some thousand episodes."""
    inner = draw(st.sampled_from([0.0, 0.5]))
    branching, ending = draw(st.sampled_from([(1, 0.3), (1, 0.0), (2, 0.0)]))
    return make(
        "random",
        states=draw(st.integers(2, 3)),
        actions=draw(st.integers(1, 2)),
        branching=branching,
        ending=ending,
        forbidden=draw(st.sampled_from([0.0, 0.4])),
        observations=draw(st.sampled_from([None, 1, 2])),
        inner=inner,
        horizon=draw(st.integers(1, 2 if inner else 3)),
        gamma=draw(st.sampled_from([1.0, 0.7, 0.0])),
        seed=draw(st.integers(0, 10**6)),
    )
