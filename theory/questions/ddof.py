"""Divisor N or N - 1?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from theory.question import question

DIVISOR, CONVENTIONS = "grpo.ddof", "grpo.conventions"


@question(
    "ddof",
    title="Divide by N or by N - 1 in the standard deviation?",
    asked="implicitly by verl and TRL (N - 1) against HGPO's code (N)",
    claims=(DIVISOR, CONVENTIONS),
    figure="ddof",
)
def answer(evidence: Mapping[str, Mapping[str, Any]]) -> str:
    """The two deviations differ by sqrt(N/(N-1)), whatever the rewards: 1.41 at N = 2, 1.07 at N = 8, 1.03 at N = 16.

    If all groups of a batch have one size, this is a step length and can be taken up by the learning rate. It matters
    in three places: when numbers of one library are compared with those of another; when a constant is added to the
    deviation and rewards are small; and when groups of different size stand in one batch, as they do after rejection,
    in anchor groups, or with dynamic sampling. There the divisor N favours small groups.
    """
    inside, outside = (part["detail"]["ratio"] for part in evidence[DIVISOR]["parts"])
    spread = evidence[CONVENTIONS]["detail"]["4 of 8"]["paper"]
    return (
        f"In groups of one size the divisor N scales every task's expected gradient by {inside[0]:.3f} at N = 8 and "
        f"turns nothing (a success among four of eight: {spread:.3f} against 1.000); with groups of 2 and of 16 in one "
        f"batch the factors are {outside[0]:.3f} and {outside[1]:.3f}, which turns the gradient by "
        f"{evidence[DIVISOR]['parts'][1]['statistic']:.1f}°."
    )
