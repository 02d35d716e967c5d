"""How many rollouts per group?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from theory.question import question

ROLLOUT = "baselines.noise-per-rollout"


@question(
    "group_size",
    title="How many rollouts per group?",
    asked="every configuration file with a group size in it",
    claims=(ROLLOUT,),
    figure="gradient_over_group",
)
def group_size(evidence: Mapping[str, Mapping[str, Any]]) -> str:
    """For leave-one-out (RLOO, and GRPO without the deviation) the answer is exact. Its gradient is a mean over pairs
    of rollouts, so its noise per rollout is c + d / (n - 1) in groups of n: c is what the exact mean as baseline would
    leave, d what the luck of the other n - 1 rollouts adds. Both are fixed by task and policy. The price of a small
    group therefore falls quickly and then hardly at all: it is a third at 4 of what it is at 2, a seventh at 8, a
    fifteenth at 16.

    At a fixed budget of rollouts, larger groups mean fewer tasks in the batch. Where tasks differ, that is noise too,
    and it grows with n; the figure's first column shows the best size for a mix of tasks, the others what groups do for
    one task alone. Normalising by the deviation, anchor groups and context groups have biases that fall with n as well:
    the figure's lower row.
    """
    settings = {name: found for name, found in evidence[ROLLOUT]["detail"].items() if found["c"] > 0}
    excess = {n: sorted(found["d"] / found["c"] / (n - 1) for found in settings.values()) for n in (2, 4, 8, 16)}
    middle = {n: values[len(values) // 2] for n, values in excess.items()}
    saved = 1.0 - (1.0 + middle[16]) / (1.0 + middle[8])
    shares = ", ".join(f"{100 * middle[n]:.0f} % at {n}" for n in middle)
    return (
        f"Leave-one-out has noise c + d/(n-1) per rollout, exactly: over {len(settings)} settings the excess over an "
        f"exact baseline is {shares} (upper medians; {100 * excess[8][0]:.0f} to {100 * excess[8][-1]:.0f} % at 8), so "
        f"that doubling groups of 8 takes off {100 * saved:.0f} % of the noise and, at a fixed budget, half of the "
        f"tasks."
    )
