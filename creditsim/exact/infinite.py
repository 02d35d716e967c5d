"""Values without a horizon: one sparse linear system, its residual checked."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from creditsim.errors import InputError, NumericalError, choose
from creditsim.exact.sweep import prepare
from creditsim.mdp.mixtures import check_probabilities
from creditsim.mdp.table import TabularMDP

if TYPE_CHECKING:
    from scipy import sparse

__all__ = ["infinite_value"]

# A banded elimination costs about S * bandwidth^2 operations; past this many, iterating is quicker.
_DIRECT_WORK = 3e9


def infinite_value(
    mdp: TabularMDP, pi: np.ndarray, gamma: float | None = None, *, method: str = "auto", tolerance: float = 1e-10
) -> tuple[np.ndarray, np.ndarray]:
    """Return V (S,) and Q (S,A) of episodes that only terminal states end; the MDP's horizon is not looked at.

    V solves V(s) = sum_a pi(a|s) sum_b p_b [r_b + d(s_b) V(s_b)], d = 0 into terminal states, gamma where a step
    begins, 1 inside a step. `method`: "direct" (sparse LU), "krylov" (BiCGSTAB, then GMRES, from mean reward /
    (1 - gamma)), or "auto" (direct where a banded order of the states is narrow). No return code is trusted: the
    solution is refined until max |V - r - P V| <= `tolerance` * max(1, max |V|). Errors: InputError as in `solve` and
    for gamma = 1 where some state may never end; NumericalError with the residual that was reached.
    """
    choose("method", method, ("auto", "direct", "krylov"))
    table = check_probabilities(mdp, pi)
    if table.ndim != 2:
        raise InputError("policy probabilities", f"shape {table.shape}", "(S, A)")
    discount = mdp.gamma if gamma is None else gamma
    sweep = prepare(mdp, discount)
    table = np.where(mdp.terminal[:, None], 0.0, table)
    move = _matrix(mdp, table[:, :, None] * sweep.weight)
    if discount == 1.0:
        _check_ends(mdp, table, move)
    reward = (table * sweep.reward).sum(axis=1)
    value = _solve(move, reward, discount, method, tolerance)
    q = sweep.reward + (sweep.weight * value[mdp.successor]).sum(axis=-1)
    return value, q


def _matrix(mdp: TabularMDP, weight: np.ndarray) -> sparse.csr_array:
    """(S,S) sum over actions and branches of weight (S,A,B)."""
    from scipy import sparse

    width = mdp.n_actions * mdp.n_successors
    rows = np.arange(0, mdp.n_states * width + 1, width)
    # A copy: `sum_duplicates` sorts the indices in place, and those are the MDP's own.
    to = mdp.successor.ravel().copy()
    matrix = sparse.csr_array((weight.ravel(), to, rows), shape=(mdp.n_states, mdp.n_states))
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


def _check_ends(mdp: TabularMDP, table: np.ndarray, move: sparse.csr_array) -> None:
    # Undiscounted values are finite and unique just where every state can reach the end of the episode.
    leaves = ((table[:, :, None] * mdp.probability > 0) & mdp.terminal[mdp.successor]).any(axis=(1, 2)) | mdp.terminal
    back = move.T.tocsr()
    while True:
        more = leaves | ((back.T @ leaves.astype(np.float64)) > 0)
        if (more == leaves).all():
            break
        leaves = more
    if not leaves.all():
        state = int(np.flatnonzero(~leaves)[0])
        raise InputError("gamma", f"1 with state {state} from which the episode never ends", "gamma < 1, or an end")


def _solve(move: Any, reward: np.ndarray, gamma: float, method: str, tolerance: float) -> np.ndarray:
    from scipy import sparse

    system = (sparse.eye_array(move.shape[0], format="csr") - move).tocsr()
    direct = method == "direct" or (method == "auto" and _is_narrow(system))
    attempts = [_direct] if direct else [_bicgstab, _gmres]
    worst = np.inf
    for attempt in attempts:
        step = attempt(system)
        value = np.full(reward.shape, 0.0 if direct or gamma == 1.0 else reward.mean() / (1.0 - gamma))
        for _ in range(4):
            with np.errstate(all="ignore"):
                value = value + step(reward - system @ value)
                worst = float(np.abs(reward - system @ value).max())
            if worst <= tolerance * max(1.0, float(np.abs(value).max())):
                return value
    raise NumericalError(f"infinite-horizon value: residual {worst:.3g} after {method} solve, allowed {tolerance:g}")


def _is_narrow(system: sparse.csr_array) -> bool:
    from scipy.sparse import csgraph

    order = csgraph.reverse_cuthill_mckee(system)
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    coo = system.tocoo()
    band = int(np.abs(place[coo.coords[0]].astype(np.int64) - place[coo.coords[1]]).max())
    return order.size * float(band) ** 2 <= _DIRECT_WORK


def _direct(system: sparse.csr_array) -> Any:
    from scipy.sparse import linalg

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", linalg.MatrixRankWarning)
        try:
            return linalg.splu(system.tocsc()).solve
        except RuntimeError:  # exactly singular: no step; the residual tells
            return np.zeros_like


def _bicgstab(system: sparse.csr_array) -> Any:
    from scipy.sparse import linalg

    return lambda rest: linalg.bicgstab(system, rest, rtol=1e-12, atol=0.0, maxiter=2000)[0]


def _gmres(system: sparse.csr_array) -> Any:
    from scipy.sparse import linalg

    return lambda rest: linalg.gmres(system, rest, rtol=1e-12, atol=0.0, restart=60, maxiter=50)[0]
