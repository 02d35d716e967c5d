"""Features: one decision per episode among answers with two features, of which one can split the group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from creditsim.arrays import numbers
from creditsim.errors import InputError
from creditsim.mdp.checks import fraction, generator, whole
from creditsim.mdp.families.base import family
from creditsim.mdp.table import TabularMDP

__all__ = ["features"]


@family(
    "features",
    tiny={"p": (((0.2, 0.6), (0.5, 0.9)),)},
    small={"prompts": 4},
    large={"prompts": 256},
)
def features(
    *,
    p: Sequence[Sequence[Sequence[float]]] | None = None,
    prompts: int = 4,
    gamma: float = 1.0,
    seed: int = 0,
) -> TabularMDP:
    """Answer one prompt once, short or long and hasty or careful; the answer (i, j) earns 1 with chance `p[.][i][j]`.

    Regime: single-step with binary rewards, where one feature of the answer is a metric and the other is not.

    Action 2 i + j has the first feature i and the second j, both 0 or 1; `p` has one 2 x 2 table per prompt, and
    prompts are drawn evenly. Without `p`, `prompts` tables are drawn evenly by `seed`. Errors: InputError for chances
    outside [0, 1], tables of another shape, no prompt.
    """
    if p is None:
        table = generator(seed).random((whole("prompts", prompts, 1), 4))
    else:
        given = numbers("p", p, "one 2 x 2 table of chances per prompt")
        if given.ndim != 3 or given.shape[0] == 0 or given.shape[1:] != (2, 2):
            raise InputError("p", f"shape {given.shape}", "one 2 x 2 table of chances per prompt")
        for chance in given.reshape(-1):
            fraction("p", float(chance))
        table = given.reshape(-1, 4)
    n = table.shape[0]
    chance = np.concatenate([table, np.zeros((1, 4))])
    return TabularMDP.build(
        successor=np.full((n + 1, 4, 2), n),
        probability=np.stack([chance, 1.0 - chance], axis=-1),
        reward=np.broadcast_to([1.0, 0.0], (n + 1, 4, 2)),
        start=np.append(np.full(n, 1.0 / n), 0.0),
        terminal=np.arange(n + 1) == n,
        horizon=1,
        gamma=gamma,
        name=f"features(prompts={n})",
    )
