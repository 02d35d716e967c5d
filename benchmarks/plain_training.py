"""Group-relative training on a table as one writes it in NumPy: all replicates in one array per quantity.

The same loop as `creditsim.train`: uniform softmax policies, groups of trajectories in lockstep, episode advantages by
group mean and deviation (GiGPO: plus those of discounted returns in groups of equal observations), a clipped surrogate
averaged over steps and trajectories, Adam, and the exact return of every policy after every update.
"""

from __future__ import annotations

import numpy as np

from creditsim.mdp.table import TabularMDP

__all__ = ["train_in_numpy"]

_EPS = 1e-6


def train_in_numpy(
    mdp: TabularMDP, *, replicates: int, updates: int, groups: int, group_size: int, step_groups: bool = False,
    learning_rate: float = 0.1, gamma: float = 0.95, clip: float = 0.2, seed: int = 0,
) -> np.ndarray:  # fmt: skip
    """Exact return (updates+1, replicates) of GRPO, or with `step_groups` of GiGPO, on a table with one start."""
    rng = np.random.default_rng(seed)
    theta = np.zeros((replicates, mdp.n_contexts, mdp.n_actions))
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    curve = [_exact(mdp, _softmax(theta)[:, mdp.context])]
    for t in range(1, updates + 1):
        pi = _softmax(theta)
        context, action, reward, alive = _rollouts(mdp, pi, rng, replicates, groups * group_size)
        grouped = reward.sum(axis=2).reshape(replicates, groups, group_size)
        deviation = grouped.std(axis=2, ddof=1, keepdims=True)
        episode = ((grouped - grouped.mean(axis=2, keepdims=True)) / (deviation + _EPS)).reshape(replicates, -1, 1)
        advantage = np.broadcast_to(episode, action.shape)
        if step_groups:
            advantage = advantage + _step_advantage(mdp, context, reward, alive, gamma, group_size)
        gradient = _gradient(pi, context, action, advantage, alive, clip)
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        theta = theta + learning_rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        curve.append(_exact(mdp, _softmax(theta)[:, mdp.context]))
    return np.array(curve)


def _softmax(theta: np.ndarray) -> np.ndarray:
    e = np.exp(theta - theta.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _rollouts(
    mdp: TabularMDP, pi: np.ndarray, rng: np.random.Generator, replicates: int, n: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Context, action, reward, alive, each (R, N, H): all trajectories of all replicates step by step."""
    shape = (replicates, n, mdp.horizon)
    context, action = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    reward, alive = np.zeros(shape), np.zeros(shape, bool)
    lane = np.arange(replicates)[:, None]
    branches = mdp.probability.cumsum(axis=-1)[:, :, :-1]
    state = np.full((replicates, n), mdp.start.argmax())
    going = np.ones((replicates, n), bool)
    cumulative = pi.cumsum(axis=-1)[:, :, :-1]
    for step in range(mdp.horizon):
        seen = mdp.context[state]
        chosen = (rng.random((replicates, n, 1)) > cumulative[lane, seen]).sum(axis=-1)
        branch = (rng.random((replicates, n, 1)) > branches[state, chosen]).sum(axis=-1)
        context[:, :, step], action[:, :, step], alive[:, :, step] = seen, chosen, going
        reward[:, :, step] = np.where(going, mdp.scalar_reward[state, chosen, branch], 0.0)
        state = np.where(going, mdp.successor[state, chosen, branch], state)
        going = going & ~mdp.terminal[state]
        if not going.any():
            break
    return context, action, reward, alive


def _step_advantage(
    mdp: TabularMDP, context: np.ndarray, reward: np.ndarray, alive: np.ndarray, gamma: float, group_size: int
) -> np.ndarray:
    """(R, N, H) discounted returns less the mean, over the deviation, of a group's rows with one observation."""
    returns = np.zeros_like(reward)
    running = np.zeros(reward.shape[:2])
    for step in reversed(range(reward.shape[2])):
        running = reward[:, :, step] + gamma * running
        returns[:, :, step] = running
    replicates, n, _ = reward.shape
    group = np.arange(replicates * n).reshape(replicates, n, 1) // group_size
    ids = (group * mdp.n_contexts + context)[alive]
    x = returns[alive]
    size = replicates * n // group_size * mdp.n_contexts
    count = np.bincount(ids, minlength=size)
    mean = np.bincount(ids, x, size) / np.maximum(count, 1)
    away = x - mean[ids]
    deviation = np.sqrt(np.bincount(ids, away**2, size) / np.maximum(count - 1, 1))
    out = np.zeros_like(reward)
    out[alive] = away / (deviation[ids] + _EPS)
    return out


def _gradient(
    pi: np.ndarray, context: np.ndarray, action: np.ndarray, advantage: np.ndarray, alive: np.ndarray, clip: float
) -> np.ndarray:
    """(R, C, A) up the clipped surrogate, mean over steps and then over trajectories; the policy is the sampler's."""
    replicates, contexts, actions = pi.shape
    log_pi = np.log(pi)
    lane = np.arange(replicates)[:, None, None]
    log_prob = old = log_pi[lane, context, action]
    ratio = np.exp(log_prob - old)
    plain, held = ratio * advantage, np.clip(ratio, 1 - clip, 1 + clip) * advantage
    share = alive / alive.sum(axis=2, keepdims=True) / alive.shape[1]
    slope = np.where(plain <= held, plain, 0.0) * share
    cell = ((lane * contexts + context) * actions + action).ravel()
    weight = np.bincount(cell, slope.ravel(), pi.size).reshape(pi.shape)
    return weight - pi * weight.sum(axis=-1, keepdims=True)


def _exact(mdp: TabularMDP, pi: np.ndarray) -> np.ndarray:
    """(R,) exact return by backward induction, all policies in one array."""
    value = np.zeros((pi.shape[0], mdp.n_states))
    going = np.where(mdp.terminal, 0.0, 1.0)
    paid = (mdp.probability * mdp.scalar_reward).sum(axis=-1)
    for _ in range(mdp.horizon):
        q = paid + (mdp.probability * (mdp.gamma * going * value)[:, mdp.successor]).sum(axis=-1)
        value = going * (pi * q).sum(axis=-1)
    return value @ mdp.start
