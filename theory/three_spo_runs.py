"""Runs of 3SPO and of what it is compared with, read off at equal numbers of transitions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from creditsim.rng import derive_seed
from creditsim.train import TrainConfig, TrainResult, train

__all__ = ["WAYS", "Curves", "run"]

_OPEN = ("state_score.alpha=1.0", "state_score.xi=inf")

WAYS: dict[str, tuple[str, tuple[str, ...]]] = {
    "3SPO": ("3spo", ()),
    "3SPO, α=1, no truncation": ("3spo", _OPEN),
    "uniform branching": ("3spo", (*_OPEN, "design.adaptive=false")),
    "GRPO": ("grpo", ()),
    "GiGPO": ("gigpo", ()),
    "no learning": ("grpo", ("update.learning_rate=1e-9",)),
}
"""Method of the catalogue and parameters over it, by the name that tables and figures use."""

_TASKS = {"3spo": 16, "grpo": 1, "gigpo": 1}
"""Groups per batch. 3SPO branches 16 tasks side by side (script; code); the others update after every group, which is
the most updates a number of transitions can buy them."""


@dataclass(frozen=True, eq=False)
class Curves:
    """Exact return, distinct states met and share of rows without credit, (updates+1, R), over `drawn` transitions."""

    drawn: np.ndarray
    j: np.ndarray
    met: np.ndarray
    silent: np.ndarray

    def at(self, budget: float) -> dict[str, np.ndarray]:
        """Each curve (R,) where a replicate had drawn at most `budget` transitions."""
        last = (self.drawn <= budget).sum(axis=0) - 1
        lane = np.arange(last.size)
        quiet = np.array([self.silent[1 : k + 1, i].mean() if k else 1.0 for i, k in enumerate(last)])
        return {"j": self.j[last, lane], "met": self.met[last, lane], "silent": quiet}


@cache
def run(
    way: str, env: str, params: tuple[str, ...], budget: int, replicates: int, seed: int, group_size: int = 8
) -> Curves:
    """Train until every replicate has drawn `budget` transitions, and no longer.

    Environments, budgets and the number of replicates of the sampled claims were chosen by pilot runs at other seeds;
    the runs here are held out from that choice, so that no verdict rests on what it was chosen by.
    """
    method, own = WAYS[way]
    config = TrainConfig(
        method=method, env=env, params=(*params, *own), replicates=replicates, groups=_TASKS[method],
        group_size=group_size, seed=derive_seed(seed, "held out") >> 1, updates=budget, transitions=budget + 1,
    )  # fmt: skip
    result = train(config)
    return _curves(result, result.generated.cumsum(axis=0))


def _curves(result: TrainResult, drawn: np.ndarray) -> Curves:
    zero = np.zeros((1, drawn.shape[1]))
    before = [np.concatenate([zero, x]) for x in (drawn, result.met, result.silent)]
    return Curves(before[0], result.j, before[1], before[2])
