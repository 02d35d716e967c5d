"""Update rules of softmax tables: from exact values, and from sampled advantages."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from creditsim.errors import InputError
from creditsim.rollouts import Rollouts
from creditsim.updates.base import RowPolicy, State, row_weight, update
from creditsim.updates.turn_order import Order, turn_order

__all__ = ["best_response", "mirror", "natural"]

TABLES = ("context_of_state", "allowed_action", "turn_of_state", "policy_values")
"""Tables that the exact rules ask of the loop; `policy_values` is a function of the policies' probabilities."""

# exp() of it is exactly 0, so that a softmax over such logits is a deterministic policy.
_NEVER = -1e6


@update("natural", paper="Kakade 2001", evidence="inferred", tables=TABLES, presets={"reach": {"reach": True}})
def natural(
    policy: RowPolicy,
    rollouts: Rollouts,
    credit: Mapping[str, np.ndarray],
    state: State,
    *,
    learning_rate: float = 1.0,
    order: Order = "simultaneous",
    entropy_weight: float = 0.0,
    kl_weight: float = 0.0,
    reach: bool = False,
) -> tuple[RowPolicy, State]:
    """Exponentiated step on exact values: the natural policy gradient of a softmax table, or mirror descent with KL.

    pi'(a|c) ~ pi(a|c)^(1 - e (tau + k)) ref(a|c)^(e k) exp(e Q(c,a)),  Q(c,a) = E[Q(s,a) | c met], over the hidden
    states behind context c as the present policy meets them; e = `learning_rate`, tau = `entropy_weight`,
    k = `kl_weight`, ref the policy at the first update (`reference_theta` in the state).

    order    "simultaneous": all contexts at once; "reverse", "forward", "random": turn by turn, with Q computed
             anew after each turn; a context that several turns share moves once in each of them
    reach    multiply e by the chance of meeting the context; in a tree the steps of a branch then die out with it
    Contexts that are never met stay. No advantage is read. Errors: InputError for a policy that is no softmax table,
    learning_rate (tau + k) > 1, and, but for "simultaneous", for states that are met at several steps.
    """
    if not 0.0 <= learning_rate * (entropy_weight + kl_weight) <= 1.0:
        got = learning_rate * (entropy_weight + kl_weight)
        raise InputError("learning_rate * (entropy_weight + kl_weight)", got, "a number in [0, 1]")
    state = {**state, "reference_theta": state.get("reference_theta", policy.theta)}
    reference = _rows(state["reference_theta"], state)

    def step(logits: np.ndarray, value: np.ndarray, met: np.ndarray) -> np.ndarray:
        size = learning_rate * (met if reach else 1.0) * np.ones_like(met)
        size = size[:, :, None]
        kept = 1.0 - size * (entropy_weight + kl_weight)
        return kept * logits + size * (kl_weight * reference + value)

    return _by_turns(policy, state, order, step), state


@update("best_response", paper="arXiv:2602.06554", evidence="inferred", tables=TABLES)
def best_response(
    policy: RowPolicy,
    rollouts: Rollouts,
    credit: Mapping[str, np.ndarray],
    state: State,
    *,
    order: Order = "reverse",
) -> tuple[RowPolicy, State]:
    """The hard limit of `natural`: each context that is met takes its best action, turn by turn.

    pi'(a|c) = 1 where a = argmax Q(c,a), ties to the lowest action, Q as in `natural`, computed anew after each turn.
    A context counts as met under the policy as it is by then, turns updated before it included; the others keep their
    policy. Order and errors as in `natural`.
    """

    def step(logits: np.ndarray, value: np.ndarray, met: np.ndarray) -> np.ndarray:
        return np.where(np.arange(value.shape[-1]) == value.argmax(axis=-1)[..., None], 0.0, _NEVER)

    return _by_turns(policy, state, order, step), state


@update("mirror", paper="arXiv:2602.06554", evidence="inferred", needs=("advantage", "context"),
        tables=("allowed_action",))  # fmt: skip
def mirror(
    policy: RowPolicy,
    rollouts: Rollouts,
    credit: Mapping[str, np.ndarray],
    state: State,
    *,
    learning_rate: float = 1.0,
    entropy_weight: float = 0.0,
    kl_weight: float = 0.0,
) -> tuple[RowPolicy, State]:
    """Exponentiated step on sampled advantages: `natural` with a mean over rows in place of exact values.

    pi'(a|c) ~ pi(a|c)^(1 - e (tau + k)) ref(a|c)^(e k) exp(e A(c,a)),  A(c,a) = sum w A / sum w over the rows of each
    batch with context c and action a, 0 where there are none. In a context without rows nothing moves.
    In: `advantage` (M,), column `context`. Parameters and errors as in `natural`.
    """
    shrink = learning_rate * (entropy_weight + kl_weight)
    if not 0.0 <= shrink <= 1.0:
        raise InputError("learning_rate * (entropy_weight + kl_weight)", shrink, "a number in [0, 1]")
    state = {**state, "reference_theta": state.get("reference_theta", policy.theta)}
    logits, reference = _rows(policy.theta, state), _rows(state["reference_theta"], state)
    weight = row_weight(rollouts)
    cell = rollouts.batch_rows * logits[0].size + rollouts.columns["context"] * logits.shape[2] + rollouts.action
    seen = np.bincount(cell, weight, logits.size).reshape(logits.shape)
    total = np.bincount(cell, weight * credit["advantage"], logits.size).reshape(logits.shape)
    moved = (1.0 - shrink) * logits + learning_rate * (kl_weight * reference + total / np.where(seen > 0, seen, 1.0))
    met = seen.sum(axis=-1, keepdims=True) > 0
    return policy.with_theta(np.where(met, moved, logits).reshape(policy.theta.shape)), state


Step = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def _by_turns(policy: RowPolicy, state: State, order: Order, step: Step) -> RowPolicy:
    """Apply `step(logits, value, met)` to the contexts of all turns at once, or of one turn after the other."""
    logits = _rows(policy.theta, state)
    turn = np.asarray(state["turn_of_state"])
    if order != "simultaneous" and (turn == -2).any():
        raise InputError("environment", "states that are met at several steps", "states that tell the step: with_time")
    turns = turn_order(order, int(turn.max()) + 1, logits.shape[0], state)
    stages = [turn != -1] if order == "simultaneous" else [turn == turns[:, k, None] for k in range(turns.shape[1])]
    for active in stages:
        value, met = _context_values(logits, state, active)
        logits = np.where(met[:, :, None] > 0, step(logits, value, met), logits)
    return policy.with_theta(logits.reshape(policy.theta.shape))


def _context_values(logits: np.ndarray, state: State, active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Advantages (R,C,A) of contexts, and how often each is met (R,C), over the active states."""
    context, allowed = np.asarray(state["context_of_state"]), np.asarray(state["allowed_action"])
    nobody = np.logical_not(allowed.any(axis=1, keepdims=True))
    shown = np.where(allowed | nobody, logits[:, context], -np.inf)
    chance = np.exp(shown - shown.max(axis=-1, keepdims=True))
    chance /= chance.sum(axis=-1, keepdims=True)
    q, mass = state["policy_values"](chance)
    mass = np.where(active, mass, 0.0)
    value = np.where(allowed, q - (chance * q).sum(axis=-1, keepdims=True), 0.0)
    met = np.zeros(logits.shape[:2])
    total = np.zeros(logits.shape)
    np.add.at(met.T, context, mass.T)
    np.add.at(total.transpose(1, 0, 2), context, (mass[:, :, None] * value).transpose(1, 0, 2))
    possible = np.zeros(logits.shape[1:], bool)
    np.logical_or.at(possible, context, allowed)
    out = np.where(possible, total / np.where(met > 0, met, 1.0)[:, :, None], _NEVER)
    return out, met


def _rows(theta: np.ndarray, state: State) -> np.ndarray:
    """(R,C,A) logits."""
    actions = np.asarray(state["allowed_action"]).shape[1]
    contexts = int(np.max(state["context_of_state"])) + 1 if "context_of_state" in state else 1
    if theta.shape[1] % actions or theta.shape[1] < contexts * actions:
        raise InputError("policy", f"{theta.shape[1]} parameters", f"a softmax table: {actions} for each context")
    return theta.reshape(theta.shape[0], -1, actions)
