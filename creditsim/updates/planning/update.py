"""The planning update of conservative exploration, and the policy learnt from data alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from creditsim.errors import InputError, choose
from creditsim.rollouts import Rollouts
from creditsim.updates.base import RowPolicy, State, update
from creditsim.updates.planning.model import TABLES, Model, tally

__all__ = ["optimistic_planning", "pessimistic_policy"]

# exp() of it is exactly 0, so that a softmax over such logits is a deterministic policy.
_NEVER = -1e6


@update(
    "optimistic_planning",
    paper="arXiv:2306.06265",
    evidence="inferred",
    needs=("state", "next_state"),
    tables=(*TABLES, "baseline"),
)
def optimistic_planning(
    policy: RowPolicy,
    rollouts: Rollouts,
    credit: Mapping[str, np.ndarray],
    state: State,
    *,
    delta: float = 0.1,
    scale: float = 1.0,
    first: Literal["baseline", "optimistic"] = "baseline",
) -> tuple[RowPolicy, State]:
    """Count what was seen, and play the policy that is best where every unknown is as good as it may be (UCBVI).

    U(s,a) = min(n, m + c), L^pi(s,a) = max(0, m - c) with m the empirical mean of x = r + gamma U(s') (of r + gamma
    L^pi(s') for the lower bound), c = `scale` (sqrt(2 Var(x) k) + (7/3) n k), n the steps left and
    k = [ln(cells/delta) + (B-1)(1 + ln(1 + N/(B-1)))] / N after N visits. At scale 1, with probability >= 1 - delta,
    for all times at once: U >= Q*, and L^pi <= Q^pi for EVERY policy pi, also those chosen from the same data. Both
    follow from k bounding the Kullback-Leibler divergence of each empirical law, by Bernstein's inequality in its
    variational form, |(p^ - p) x| <= sqrt(2 Var_p^(x) k) + (7/3) n k for x in [0, n].

    Makes state entries: `counts` (R,S,A,B); `upper` (R,), the optimistic value of the start; `hand_over` (H+1,S) bool,
    the places at which candidate j = 0..H plays the optimistic policy, j steps in all, the last ones with
    `first="baseline"`, else the first ones; and `lower` (R,H+1), the lower bounds on the candidates' values at the
    start, the rest of their steps being those of `baseline` (S,A) or (R,S,A).
    Errors: InputError for rewards outside [0, 1], delta outside (0, 1), scale < 0, and a policy that does not see
    state and step apart. Source: inferred (the abstract names mixtures of a baseline and an optimistic policy, no
    formula); the Bernstein form of the bonus follows UCBVI (Azar et al. 2017).
    """
    choose("first", first, ("baseline", "optimistic"))
    if not scale >= 0:
        raise InputError("scale", scale, "a number >= 0")
    model = Model.of(state)
    replicates, (places, actions, _) = policy.theta.shape[0], model.shape
    if policy.theta.shape[1] != places * actions:
        raise InputError(
            "policy", f"{policy.theta.shape[1]} parameters", f"{places * actions}: one row for each state and step"
        )
    counts = tally(model, rollouts, replicates) + state.get("counts", 0)
    upper, chosen = _best(model, counts, 1.0, delta, scale)
    hand_over = _hand_over(model, first)
    lower = _certify(model, counts, chosen, state["baseline"], hand_over, delta, scale)
    theta = np.where(np.arange(actions) == chosen[:, :, None], 0.0, _NEVER).reshape(replicates, -1)
    plans = {"counts": counts, "upper": upper @ model.start, "hand_over": hand_over, "lower": lower}
    return policy.with_theta(theta), {**state, **plans}


def pessimistic_policy(model: Model, counts: np.ndarray, *, delta: float = 0.1, scale: float = 1.0) -> np.ndarray:
    """(R,S,A) the policy that is best where every unknown is as bad as it may be, learnt from counts (R,S,A,B).

    Greedy in L(s,a) = max(0, m - c) of `optimistic_planning`; `scale` 0 believes the counts, a negative one is
    optimistic about them. Without data it takes the first allowed action. Source: inferred (pessimistic value
    iteration, named for offline baselines).
    """
    _, chosen = _best(model, counts, -1.0, delta, scale)
    return (np.arange(model.shape[1]) == chosen[:, :, None]).astype(np.float64)


def _best(model: Model, counts: np.ndarray, sign: float, delta: float, scale: float) -> tuple[np.ndarray, np.ndarray]:
    from creditsim.updates.planning.kernels import best

    value = np.empty((counts.shape[0], model.shape[0]))
    chosen = np.empty(value.shape, np.int64)
    best(
        counts, model.successor, model.branch_reward, model.steps_left, model.order, model.allowed_action,
        float(model.discount), sign, *model.levels(delta), float(scale), value, chosen,
    )  # fmt: skip
    return value, chosen


def _hand_over(model: Model, first: str) -> np.ndarray:
    """(H+1,S) the places at which candidate j plays the optimistic policy."""
    horizon = int(model.steps_left.max())
    handed = np.arange(horizon + 1)[:, None]
    left = model.steps_left
    return (left <= handed if first == "baseline" else left > horizon - handed) & (left > 0)


def _certify(
    model: Model, counts: np.ndarray, chosen: np.ndarray, baseline: np.ndarray, hand_over: np.ndarray,
    delta: float, scale: float,
) -> np.ndarray:  # fmt: skip
    from creditsim.updates.planning.kernels import certify

    replicates, (places, actions, _) = counts.shape[0], model.shape
    other = np.ascontiguousarray(np.broadcast_to(baseline, (replicates, places, actions)), np.float64)
    lower = np.empty((replicates, hand_over.shape[0]))
    certify(
        counts, model.successor, model.branch_reward, model.steps_left, model.order, model.allowed_action,
        float(model.discount), *model.levels(delta), float(scale), chosen, other, hand_over, model.start,
        np.empty(places), lower,
    )  # fmt: skip
    return lower
