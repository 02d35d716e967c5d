"""Training of 200 replicates by group-relative methods, beside the same loop in NumPy over all replicates at once."""

from __future__ import annotations

import numpy as np

from benchmarks.plain_training import train_in_numpy
from benchmarks.report import line
from benchmarks.timing import Rounds, compare
from creditsim.mdp import make
from creditsim.train import TrainConfig, train

__all__: list[str] = []

_LENGTH, _HORIZON, _SLIP, _UPDATES = 12, 20, 0.1, 25
_SECONDS = 30.0 * _UPDATES / 500
"""The share of 30 seconds for 500 updates."""
_NUMPY = "the same loop in NumPy, vectorised over replicates"


def config(method: str) -> TrainConfig:
    """200 replicates x 16 groups x 8 trajectories of up to 20 steps (19 in the mean at first), two threads."""
    params: tuple[str, ...] = (f"env.length={_LENGTH}", f"env.horizon={_HORIZON}", f"env.slip={_SLIP}")
    if method == "gigpo":  # the published form on both sides
        params += ("update.loss=ppo@grpo",)
    return TrainConfig(
        method=method, estimator="gigpo@paper" if method == "gigpo" else None, env="chain", params=params,
        replicates=200, updates=_UPDATES, groups=16, group_size=8, threads=2,
    )  # fmt: skip


def peer(method: str, updates: int = _UPDATES) -> np.ndarray:
    """The curves of the NumPy loop for the same run."""
    mdp = make("chain", length=_LENGTH, horizon=_HORIZON, slip=_SLIP)
    shape = {"replicates": 200, "updates": updates, "groups": 16, "group_size": 8}
    return train_in_numpy(mdp, **shape, step_groups=method == "gigpo")


def same_curves(ours: np.ndarray, theirs: np.ndarray) -> None:
    """RuntimeError where mean exact returns over replicates differ by over six deviations in some update."""
    spread = np.sqrt((ours.var(axis=1) + theirs.var(axis=1)) / ours.shape[1])
    apart = np.abs(ours.mean(axis=1) - theirs.mean(axis=1))
    if not (apart <= 6 * spread + 1e-12).all():
        raise RuntimeError(
            f"the curves are up to {(apart / np.maximum(spread, 1e-300))[1:].max():.1f} deviations apart"
        )


def _compared(method: str) -> Rounds:
    same_curves(train(config(method)).j, peer(method))
    # Fewer updates in a timed call: a round is to be short.
    few = config(method).replaced(updates=2)
    return compare(lambda: train(few), lambda: peer(method, 2))


@line("training by GRPO, 2 threads", _NUMPY, target=4)
def grpo() -> Rounds:
    return _compared("grpo")


@line("training by GiGPO, 2 threads", _NUMPY, target=4)
def gigpo() -> Rounds:
    return _compared("gigpo")


@line("25 updates of 200 runs by GRPO, 2 threads", "30 s for 500 updates", "seconds", target=_SECONDS)
def grpo_seconds() -> Rounds:
    return compare(lambda: train(config("grpo")))


@line("25 updates of 200 runs by GiGPO, 2 threads", "30 s for 500 updates", "seconds", target=_SECONDS)
def gigpo_seconds() -> Rounds:
    return compare(lambda: train(config("gigpo")))


@line("25 updates of 200 runs by HGPO, 2 threads", "30 s for 500 updates", "seconds", target=_SECONDS)
def hgpo_seconds() -> Rounds:
    return compare(lambda: train(config("hgpo")))
