"""Small MDPs, policies and hand-written estimators that the tests of exact enumeration share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from creditsim.errors import InputError
from creditsim.mdp.policy import SoftmaxPolicy
from creditsim.mdp.table import TabularMDP
from creditsim.rollouts import Rollouts

Credit = Callable[[Rollouts], np.ndarray]
Path = tuple[tuple[int, ...], tuple[int, ...], tuple[float, ...], int]


def policy_of(mdp: TabularMDP, table: object) -> SoftmaxPolicy:
    """Softmax policy with these probabilities per context; rows of contexts left out are uniform."""
    rows = np.asarray(table, float)
    full = np.full((mdp.n_contexts, mdp.n_actions), 1.0 / mdp.n_actions)
    full[: rows.shape[0]] = rows
    return SoftmaxPolicy.from_probabilities(mdp, full)


def random_policy(mdp: TabularMDP, seed: int, spread: float = 1.0) -> SoftmaxPolicy:
    theta = spread * np.random.default_rng(seed).standard_normal(mdp.n_contexts * mdp.n_actions)
    return SoftmaxPolicy(theta, mdp.n_actions)


def random_mdp(seed: int, *, states: int = 4, actions: int = 2, horizon: int = 3, starts: int = 1) -> TabularMDP:
    """Dense random MDP; the last state is terminal, rewards come from a small set so that some trajectories tie."""
    rng = np.random.default_rng(seed)
    shape = (states, actions, 2)
    probability = rng.random(shape)
    start = np.zeros(states)
    start[:starts] = rng.random(starts) + 0.5
    return TabularMDP.build(
        successor=rng.integers(0, states, shape),
        probability=probability / probability.sum(-1, keepdims=True),
        reward=rng.integers(0, 3, shape) / 2.0,
        start=start / start.sum(),
        terminal=np.arange(states) == states - 1,
        observation=np.arange(states) // 2,
        horizon=horizon,
        gamma=float(rng.choice([1.0, 0.9])),
    )


def brute_paths(mdp: TabularMDP, pi: np.ndarray, state: int) -> dict[Path, float]:
    """Probability of every (states, actions, rewards, last state) from a state, by plain recursion."""
    law: dict[Path, float] = {}

    def walk(s: int, step: int, p: float, past: tuple[tuple[int, ...], tuple[int, ...], tuple[float, ...]]) -> None:
        if mdp.terminal[s] or step == mdp.horizon:
            path = (*past, s)
            law[path] = law.get(path, 0.0) + p
            return
        for a in range(mdp.n_actions):
            for b in range(mdp.n_successors):
                q = p * pi[s, a] * mdp.probability[s, a, b] * mdp.mask[s, a]
                if q > 0:
                    ahead = int(mdp.successor[s, a, b])
                    reward = float(mdp.scalar_reward[s, a, b])
                    walk(ahead, step + int(mdp.tick[ahead]), q, ((*past[0], s), (*past[1], a), (*past[2], reward)))

    walk(state, 0, 1.0, ((), (), ()))
    return law


def paths_of(rollouts: Rollouts) -> Iterator[Path]:
    for i in range(rollouts.n_trajectories):
        rows = slice(rollouts.offsets[i], rollouts.offsets[i + 1])
        yield (
            tuple(rollouts.columns["state"][rows].tolist()),
            tuple(rollouts.action[rows].tolist()),
            tuple(rollouts.reward[rows].tolist()),
            int(rollouts.columns["next_state"][rows][-1]),
        )


def returns(rollouts: Rollouts, gamma: float = 1.0) -> np.ndarray:
    """(M,) discounted return from each row on, by a loop over time."""
    out = rollouts.reward.astype(float).copy()
    position = np.arange(rollouts.n_rows) - rollouts.offsets[:-1][rollouts.trajectory]
    left = rollouts.length[rollouts.trajectory] - position - 1
    for k in range(1, int(left.max(initial=0)) + 1):
        rows = np.flatnonzero(left == k)
        out[rows] = rollouts.reward[rows] + gamma * out[rows + 1]
    return out


def episode_return(rollouts: Rollouts) -> np.ndarray:
    """(N,) undiscounted return."""
    return np.bincount(rollouts.trajectory, rollouts.reward, rollouts.n_trajectories)


def mean_by(values: np.ndarray, ids: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """(M,) the mean of each row's segment."""
    w = np.ones(values.size) if weight is None else weight
    return (np.bincount(ids, w * values) / np.maximum(np.bincount(ids, w), 1e-300))[ids]


def reward_to_go(rollouts: Rollouts) -> np.ndarray:
    """REINFORCE: unbiased without a baseline, one trajectory is enough."""
    return returns(rollouts)


def centred(rollouts: Rollouts) -> np.ndarray:
    """Episode return less its group mean: GRPO without division."""
    score = episode_return(rollouts)
    return (score - mean_by(score, rollouts.group))[rollouts.trajectory]


def leave_one_out(rollouts: Rollouts) -> np.ndarray:
    """Episode return less the mean of the others."""
    n = np.bincount(rollouts.group)[rollouts.group_rows]
    return centred(rollouts) * n / (n - 1)


def standardised(rollouts: Rollouts) -> np.ndarray:
    """Episode return standardised inside its group, ddof 1; groups of equal returns give 0."""
    away = centred(rollouts)[rollouts.offsets[:-1]]
    n = np.bincount(rollouts.group)[rollouts.group]
    sd = np.sqrt(mean_by(away**2, rollouts.group) * n / np.maximum(n - 1, 1))
    return np.where(sd > 0, away / np.where(sd > 0, sd, 1.0), 0.0)[rollouts.trajectory]


def row_centred(rollouts: Rollouts) -> np.ndarray:
    """Episode return less the mean over ROWS of the group, where a trajectory counts once per step."""
    score = episode_return(rollouts)[rollouts.trajectory]
    return score - mean_by(score, rollouts.group_rows)


def anchor_centred(gamma: float) -> Credit:
    """Return to go less its mean over the rows of the group with the same observation (GiGPO's step part)."""

    def credit(rollouts: Rollouts) -> np.ndarray:
        to_go = returns(rollouts, gamma)
        width = int(rollouts.observation.max()) + 1
        return to_go - mean_by(to_go, rollouts.group_rows * width + rollouts.observation)

    return credit


def against_first(rollouts: Rollouts) -> np.ndarray:
    """Episode return less that of the group's first trajectory: depends on the order of trajectories."""
    score = episode_return(rollouts)
    first = score[np.searchsorted(rollouts.group, np.arange(rollouts.n_groups))]
    return (score - first[rollouts.group])[rollouts.trajectory]


def batch_whitened(rollouts: Rollouts) -> np.ndarray:
    """Group-centred return over the root mean square of the batch: mixes the groups of a batch."""
    away = centred(rollouts)
    scale = np.sqrt(mean_by(away**2, rollouts.batch_rows))
    return away / np.where(scale > 0, scale, 1.0)


def errors_line(error: BaseException) -> str:
    """The message of an InputError, checked to be one line."""
    assert isinstance(error, InputError)
    assert "\n" not in str(error)
    return str(error)
