"""Estimators on one ragged batch of 256 prompts x 8 trajectories x about 50 steps, beside rlax, verl and plain Python.

Our side always gets rollouts that have derived nothing yet: their ids of rows are made inside the timed call.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.plain_gigpo import gigpo_arrays, gigpo_lists
from benchmarks.problem import batch
from benchmarks.report import line
from benchmarks.timing import Rounds, compare
from creditsim.estimators.base import advantage
from creditsim.rollouts import FIELDS, Rollouts

__all__: list[str] = []

_GAMMA, _LAMBDA = 0.99, 0.95


def _ours(spec: str, **params: Any) -> Callable[[], np.ndarray]:
    rollouts = batch()
    return lambda: advantage(replace(rollouts), spec, **params)


def _same(ours: np.ndarray, theirs: Any, tolerance: float) -> None:
    worst = float(np.abs(ours - np.asarray(theirs)).max())
    if not worst <= tolerance:
        raise RuntimeError(f"the sides differ by {worst:.2g}, more than {tolerance:g}")


@line("GAE, ragged rows", "rlax, vmap + jit on padded arrays", target=6, needs=("jax", "rlax"))
def gae() -> Rounds:
    import jax
    import jax.numpy as jnp
    import rlax

    rollouts = batch()
    inside = np.arange(int(rollouts.length.max())) < rollouts.length[:, None]

    def padded(values: np.ndarray) -> Any:
        table = np.zeros(inside.shape, np.float32)
        table[inside] = values
        return jnp.asarray(table)

    # Behind the end of an episode discount, value and reward are 0, so its TD error there is 0.
    before_end = np.ones(rollouts.n_rows)
    before_end[rollouts.offsets[1:] - 1] = 0.0
    reward, discount = padded(rollouts.reward), padded(_GAMMA * before_end)
    value = jnp.pad(padded(rollouts.columns["value"]), ((0, 0), (0, 1)))
    one = lambda r, d, v: rlax.truncated_generalized_advantage_estimation(r, d, _LAMBDA, v)  # noqa: E731
    many = jax.jit(jax.vmap(one))
    ours = _ours("gae", gamma=_GAMMA, lam=_LAMBDA)
    _same(ours(), np.asarray(many(reward, discount, value))[inside], 1e-4)
    return compare(ours, lambda: jax.block_until_ready(many(reward, discount, value)))


@line("GRPO, integer ids", "verl grpo_vectorized", target=25, needs=("verl",))
def grpo_ids() -> Rounds:
    theirs, _, _ = _verl()
    ours = _ours("grpo@verl-vectorized", weighting="step")
    _same(ours(), theirs(), 1e-4)
    return compare(ours, theirs)


@line("GRPO, a uuid for each row", "verl grpo_vectorized", target=4, needs=("verl",))
def grpo_uuids() -> Rounds:
    theirs, uuids, score = _verl()
    offsets = np.arange(score.size + 1)

    def ours() -> np.ndarray:
        return advantage(Rollouts.flat(offsets=offsets, group=uuids, reward=score), "grpo@verl-vectorized")

    _same(ours(), theirs(), 1e-4)
    return compare(ours, theirs)


def _verl() -> tuple[Callable[[], np.ndarray], np.ndarray, np.ndarray]:
    """Verl's function on the rows as verl-agent hands them over, and the uuid and score of each row."""
    import torch
    from verl.trainer.ppo.core_algos import compute_grpo_vectorized_outcome_advantage

    rollouts, tokens = batch(), 8
    score = np.repeat(np.add.reduceat(rollouts.reward, rollouts.offsets[:-1]), rollouts.length)
    names = np.array([str(uuid.UUID(int=0x9E3779B97F4A7C15 * (i + 1))) for i in range(rollouts.n_groups)], object)
    uuids = names[rollouts.group_rows]
    reward = torch.zeros(rollouts.n_rows, tokens)
    reward[:, -1] = torch.as_tensor(score)
    mask = torch.ones(rollouts.n_rows, tokens)

    def theirs() -> np.ndarray:
        return compute_grpo_vectorized_outcome_advantage(reward, mask, uuids)[0][:, 0].numpy()

    return theirs, uuids, score


_PLAIN = "GiGPO, integer ids"


def _plain(lists: bool) -> Rounds:
    rollouts = batch()
    arrays = (rollouts.reward, rollouts.observation, rollouts.offsets, rollouts.group)
    given = tuple(a.tolist() for a in arrays) if lists else arrays
    function: Callable[..., Any] = gigpo_lists if lists else gigpo_arrays
    ours = _ours("gigpo@paper", gamma=_GAMMA)
    _same(ours(), function(*given, _GAMMA), 1e-9)
    return compare(ours, lambda: function(*given, _GAMMA))


@line(_PLAIN, "plain Python, dicts and loops over the arrays", target=200)
def gigpo_over_arrays() -> Rounds:
    return _plain(lists=False)


@line(_PLAIN, "the same on lists, sums written out")
def gigpo_over_lists() -> Rounds:
    return _plain(lists=True)


@line(_PLAIN, "np.copyto of all Rollouts arrays", "cost", target=15)
def gigpo_copies() -> Rounds:
    rollouts = batch()
    pairs = [(np.empty_like(values), values) for values in (getattr(rollouts, name) for name in FIELDS)]

    def copy() -> None:
        for buffer, values in pairs:
            np.copyto(buffer, values)

    return compare(_ours("gigpo@paper", gamma=_GAMMA), copy)
