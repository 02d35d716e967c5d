"""How honest anchors are: do rows that look alike come from one hidden state, and from one history?

Step-group estimators compare rows of one group with equal anchors. Where these hide different states (WebShop's page
does not show which options were chosen) or follow different histories, unlike decisions are compared.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from creditsim.errors import InputError
from creditsim.rollouts import Rollouts
from creditsim.segments import context_ids, factorize

__all__ = ["Mixing", "anchor_purity", "anchor_sizes", "context_inconsistency"]


@dataclass(frozen=True)
class Mixing:
    """How far the step groups of at least two rows mix what they should not; shares are NaN where there are none."""

    rows: int
    """Rows in all."""
    grouped: float
    """Share of the rows that are in a step group of two or more."""
    groups: int
    """Step groups of two or more rows."""
    mixed_groups: float
    """Share of these groups that hold more than one kind."""
    mixed_rows: float
    """Share of the rows in these groups that are in a mixed one."""
    mixed_pairs: float
    """Share of the pairs of rows of one group that are of two kinds."""

    def as_dict(self) -> dict[str, float]:
        """Fields by name."""
        return asdict(self)


def anchor_purity(rollouts: Rollouts) -> Mixing:
    """Mixing of hidden states, column `state`, in step groups: rows of one task group with equal anchors.

    Rows of `weight` 0 are in no step group. Errors: MissingColumnError without `state`.
    """
    state = rollouts.column("state", "anchor purity")
    return _mixing(rollouts, np.asarray(state))


def context_inconsistency(rollouts: Rollouts, history: int) -> Mixing:
    """Mixing of histories in step groups: kinds are the last `history` + 1 observations of each row, through forks.

    HGPO's key of length `history` + 1; 0 mixes nothing by definition. Errors: InputError for history < 0.
    """
    if history < 0:
        raise InputError("history", history, "a number of earlier observations >= 0")
    return _mixing(rollouts, np.asarray(context_ids(rollouts, history)[0]))


def anchor_sizes(rollouts: Rollouts) -> np.ndarray:
    """(n,) int64 how many rows each step group has, in order of first appearance."""
    ids, n, _ = _step_groups(rollouts)
    return np.bincount(ids, minlength=n)


def _step_groups(rollouts: Rollouts) -> tuple[np.ndarray, int, np.ndarray]:
    """Ids (L,) of the step groups of the L rows with weight, their number, and these rows."""
    live = np.flatnonzero(np.asarray(rollouts.columns.get("weight", np.ones(rollouts.n_rows))) > 0)
    ids, n = factorize(rollouts.group_rows[live], rollouts.observation[live])
    return ids, n, live


def _mixing(rollouts: Rollouts, kind: np.ndarray) -> Mixing:
    ids, n, live = _step_groups(rollouts)
    size = np.bincount(ids, minlength=n)
    cells, n_cells = factorize(ids, kind[live])
    share = np.bincount(cells, minlength=n_cells)
    of_cell = np.empty(n_cells, np.int64)
    of_cell[cells] = ids
    kinds = np.bincount(of_cell, minlength=n)
    # Pairs of one kind among the pairs of a group, both in any order.
    alike = np.bincount(of_cell, weights=share * (share - 1.0), minlength=n)
    several = size >= 2
    pairs = float((size * (size - 1.0))[several].sum())
    in_groups = int(size[several].sum())
    mixed = several & (kinds > 1)
    return Mixing(
        rows=int(live.size),
        grouped=_ratio(in_groups, live.size),
        groups=int(several.sum()),
        mixed_groups=_ratio(int(mixed.sum()), int(several.sum())),
        mixed_rows=_ratio(int(size[mixed].sum()), in_groups),
        mixed_pairs=1.0 - _ratio(float(alike[several].sum()), pairs),
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
