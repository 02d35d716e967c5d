"""Answers: one decision per episode, a Bernoulli reward."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from creditsim.errors import InputError
from creditsim.mdp.checks import generator, number_rows, whole
from creditsim.mdp.families.base import family
from creditsim.mdp.table import TabularMDP

__all__ = ["answers"]


@family(
    "answers",
    tiny={"p": ((0.2, 0.7), (0.5, 0.9))},
    small={"prompts": 4, "answers": 3},
    large={"prompts": 256, "answers": 16},
)
def answers(
    *,
    p: Sequence[float | Sequence[float]] | None = None,
    prompts: int = 4,
    answers: int = 3,
    gamma: float = 1.0,
    seed: int = 0,
) -> TabularMDP:
    """Answer one prompt once; answer a to prompt i earns 1 with probability `p[i][a]`, else 0.

    Regime: single-step (contextual bandit) with binary rewards, where group methods reduce to their reward statistics.

    One state per prompt, drawn evenly. `p` has one entry per prompt: the success chances of its answers, or one number
    for a prompt with a single answer. `((0, 1),)` is the prompt whose success probability is the policy's own. Without
    `p`, `prompts` times `answers` chances are drawn evenly by `seed`. Errors: InputError for chances outside [0, 1] and
    for no prompt or no answer.
    """
    if p is None:
        table = generator(seed).random((whole("prompts", prompts, 1), whole("answers", answers, 1)))
        mask = np.ones(table.shape, bool)
    else:
        table, mask = _table(p)
    n, width = table.shape
    chance = np.concatenate([table, np.zeros((1, width))])
    return TabularMDP.build(
        successor=np.full((n + 1, width, 2), n),
        probability=np.stack([chance, 1.0 - chance], axis=-1),
        reward=np.broadcast_to([1.0, 0.0], (n + 1, width, 2)),
        start=np.append(np.full(n, 1.0 / n), 0.0),
        terminal=np.arange(n + 1) == n,
        mask=np.concatenate([mask, np.ones((1, width), bool)]),
        horizon=1,
        gamma=gamma,
        name=f"answers(prompts={n}, answers={width})",
    )


def _table(p: Sequence[float | Sequence[float]]) -> tuple[np.ndarray, np.ndarray]:
    allowed = "one entry per prompt: a chance, or the chances of its answers"
    rows = [np.atleast_1d(row) for row in number_rows("p", p, allowed)]
    if not rows or min(row.size for row in rows) == 0 or max(row.ndim for row in rows) > 1:
        raise InputError("p", repr(p), allowed)
    for row in rows:
        if not ((row >= 0) & (row <= 1)).all():
            raise InputError("p", row.tolist(), "chances in [0, 1]")
    width = max(row.size for row in rows)
    mask = np.arange(width) < np.array([row.size for row in rows])[:, None]
    table = np.zeros(mask.shape)
    table[mask] = np.concatenate(rows)
    return table, mask
