"""Exact values by backward induction: V, Q, A, occupancy and J of a policy at a finite horizon."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from creditsim.arrays import to_numpy
from creditsim.errors import InputError
from creditsim.exact.sweep import Sweep, backward, backward_lanes, best, forward, look_ahead, prepare
from creditsim.mdp.mixtures import check_probabilities
from creditsim.mdp.once import once_per_mdp
from creditsim.mdp.table import TabularMDP
from creditsim.threads import limited_threads

if TYPE_CHECKING:
    from creditsim.rollouts import Rollouts

__all__ = ["Solution", "objective", "optimal", "solve"]

_LANES = 32


@dataclass(frozen=True, eq=False)
class Solution:
    """Exact answers for one policy on one MDP; tables by steps left n = H - t, so that row H is the start's.

    `value` (H+1,S): V_n(s), the discounted reward from s on when n steps are left, the present one counted; V_0 = 0,
    since an episode is cut when it would begin step number `horizon`. Terminal states have value 0. `pi` (1,S,A), or
    (H,S,A) by step. The other tables are computed when first asked for.
    """

    mdp: TabularMDP
    gamma: float
    pi: np.ndarray
    value: np.ndarray
    sweep: Sweep

    @cached_property
    def j(self) -> float:
        """J = sum_s start(s) V_H(s)."""
        return float(self.mdp.start @ self.value[-1])

    @cached_property
    def q(self) -> np.ndarray:
        """(H+1,S,A): Q_n(s,a) = E[r + gamma^tick V_{n-tick}(s')]; 0 where nobody acts (terminal, forbidden, n = 0)."""
        q = np.empty((*self.value.shape, self.mdp.n_actions))
        q[0] = 0.0
        look_ahead(self.sweep.place, self.sweep.weight, self.sweep.reward, self.value, q)
        return q

    @cached_property
    def advantage(self) -> np.ndarray:
        """(H+1,S,A): A_n(s,a) = Q_n(s,a) - V_n(s); 0 where nobody acts."""
        return np.where(self.mdp.mask, self.q - self.value[:, :, None], 0.0)

    @cached_property
    def mass(self) -> np.ndarray:
        """(H+1,S) occupancy by steps left; row 0 holds the states in which episodes are cut."""
        sweep = prepare(self.mdp, 1.0)
        mass = np.zeros_like(self.value)
        mass[-1] = self.mdp.start
        forward(sweep.place, sweep.weight, sweep.reward, sweep.order, self.pi, *sweep.scratch(), mass)
        return mass

    @property
    def occupancy(self) -> np.ndarray:
        """(H,S) expected number of decisions in s during step t (undiscounted); terminal states take none."""
        return self.mass[:0:-1]

    @property
    def truncation(self) -> float:
        """Probability that an episode is cut by the horizon."""
        return float(self.mass[0].sum())

    def row_value(self, rollouts: Rollouts) -> np.ndarray:
        """(M,) exact V of each row's `state` with H - `step` steps left."""
        left, state, _ = self._rows(rollouts)
        return self.value[left, state]

    def row_q(self, rollouts: Rollouts) -> np.ndarray:
        """(M,) exact Q of each row's `state` and `action` with H - `step` steps left."""
        return self.q[self._rows(rollouts)]

    def row_advantage(self, rollouts: Rollouts) -> np.ndarray:
        """(M,) exact advantage of each row's `state` and `action` with H - `step` steps left.

        Errors: MissingColumnError without `state`; InputError for ids or steps the MDP does not have.
        """
        return self.advantage[self._rows(rollouts)]

    def _rows(self, rollouts: Rollouts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        state = to_numpy(rollouts.column("state", needed_by="exact values of rows"))
        step, action = to_numpy(rollouts.step), to_numpy(rollouts.action)
        horizon = self.mdp.horizon
        sizes = {"state": self.mdp.n_states, "action": self.mdp.n_actions, "step": horizon}
        for (field, size), ids in zip(sizes.items(), (state, action, step), strict=True):
            if ids.size and (ids.min() < 0 or ids.max() >= size):
                raise InputError(field, f"ids {ids.min()}..{ids.max()}", f"0..{size - 1}, as in {self.mdp.name}")
        return horizon - step, state, action


def solve(mdp: TabularMDP, pi: np.ndarray, gamma: float | None = None, *, reward: np.ndarray | None = None) -> Solution:
    """Solve a policy exactly by backward induction.

    V_n(s) = sum_a pi(a|s) sum_b p_b [r_b + d(s_b) V_{n - tick(s_b)}(s_b)], d = 0 into terminal states, gamma where a
    step begins, 1 inside a step. Parameters: `pi` (S,A), or (H,S,A) with one table per step; `gamma` (default: the
    MDP's); `reward` (S,A,B) in place of the MDP's (one objective, or 1 for lengths). Errors: InputError for
    probabilities of another shape or that do not sum to 1, mass on forbidden actions, gamma outside [0, 1], NaN
    rewards, steps that never end. Source: inferred (Bellman's equation with steps that begin at marked states).
    """
    table = check_probabilities(mdp, pi)
    table = np.ascontiguousarray(table[None] if table.ndim == 2 else table)
    if table.ndim != 3 or table.shape[0] not in (1, mdp.horizon):
        raise InputError("policy probabilities", f"shape {np.shape(pi)}", "(S, A) or (horizon, S, A)")
    discount = mdp.gamma if gamma is None else gamma
    sweep = prepare(mdp, discount, reward)
    # Not empty: moves that cannot happen are read with weight 0, and 0 times what memory held may be NaN.
    value = np.zeros((mdp.horizon + 1, mdp.n_states))
    backward(sweep.place, sweep.weight, sweep.reward, sweep.order, table, *sweep.scratch(), value)
    return Solution(mdp, discount, table, value, sweep)


def objective(mdp: TabularMDP, pi: np.ndarray, gamma: float | None = None) -> np.ndarray:
    """J of many policies at once: pi (..., S, A) -> (...,), the same numbers as `solve(...).j` to rounding.

    For learning curves: replicates share the MDP. Errors as in `solve`.
    """
    table = check_probabilities(mdp, pi)
    sweep = _prepared(mdp, mdp.gamma if gamma is None else float(gamma))
    flat = table.reshape(-1, mdp.n_states, mdp.n_actions)
    chunks = -(-flat.shape[0] // _LANES)
    lanes = min(_LANES, flat.shape[0])
    padded = np.zeros((chunks * lanes, mdp.n_states, mdp.n_actions))
    padded[: flat.shape[0]] = flat
    by_lane = np.ascontiguousarray(padded.reshape(chunks, lanes, mdp.n_states, mdp.n_actions).transpose(0, 2, 3, 1))
    two = np.zeros((chunks, 2 * mdp.n_states, lanes))
    mean = np.empty((chunks, lanes))
    with limited_threads(None, by_lane.size * mdp.n_successors * mdp.horizon):
        backward_lanes(sweep.place, sweep.weight, sweep.reward, sweep.order, by_lane, mdp.horizon, two, mean)
    j = np.einsum("s,csk->ck", mdp.start, two[:, mdp.n_states :]).reshape(-1)
    return j[: flat.shape[0]].reshape(table.shape[:-2])


@once_per_mdp
def _prepared(mdp: TabularMDP, gamma: float) -> Sweep:
    return prepare(mdp, gamma)


def optimal(mdp: TabularMDP, gamma: float | None = None) -> Solution:
    """Solve for the best policy that sees the state and the step: `pi` (H,S,A) is one-hot, ties to the lowest action.

    Its J is the most any policy can reach; under aliased observations it may be out of reach for those that see less.
    """
    sweep = prepare(mdp, mdp.gamma if gamma is None else gamma)
    action = np.empty((mdp.horizon, mdp.n_states), np.int64)
    value = np.zeros((mdp.horizon + 1, mdp.n_states))
    mask = mdp.mask | mdp.terminal[:, None]
    best(sweep.place, sweep.weight, sweep.reward, sweep.order, mask, value, action)
    return solve(mdp, (np.arange(mdp.n_actions) == action[:, :, None]).astype(np.float64), gamma)
