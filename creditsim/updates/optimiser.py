"""Optimiser steps on parameter arrays whose first axis is replicates; no state but what is handed in and out."""

from __future__ import annotations

import numpy as np

from creditsim.errors import choose
from creditsim.updates.base import State

__all__ = ["OPTIMISERS", "ascend"]

OPTIMISERS = ("sgd", "adam")


def ascend(
    theta: np.ndarray,
    gradient: np.ndarray,
    state: State,
    *,
    learning_rate: float,
    optimiser: str,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
) -> tuple[np.ndarray, State]:
    """One step up a gradient, for theta and gradient (R, P).

    sgd: theta + lr g. adam (Kingma & Ba 2015, Algorithm 1): theta + lr m_hat / (sqrt(v_hat) + eps), with
    m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, m_hat = m / (1 - b1^t), v_hat = v / (1 - b2^t).
    Adam keeps `adam_m`, `adam_v` (R, P) and `adam_t` (R,) in the state. A zero gradient from the start moves nothing.
    """
    choose("optimiser", optimiser, OPTIMISERS)
    if optimiser == "sgd":
        return theta + learning_rate * gradient, state
    t = state.get("adam_t", np.zeros(theta.shape[0], np.int64)) + 1
    m = beta1 * state.get("adam_m", np.zeros_like(theta)) + (1.0 - beta1) * gradient
    v = beta2 * state.get("adam_v", np.zeros_like(theta)) + (1.0 - beta2) * gradient**2
    m_hat = m / (1.0 - beta1 ** t[:, None])
    v_hat = v / (1.0 - beta2 ** t[:, None])
    moved = theta + learning_rate * m_hat / (np.sqrt(v_hat) + eps)
    return moved, {**state, "adam_m": m, "adam_v": v, "adam_t": t}
