"""When do anchor groups help, and what does revisiting cost?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from theory.question import question

EDGE, FATAL = "gigpo.step-level-edge", "gigpo.step-level-edge-fatal"
REVISIT, DECAY = "gigpo.anchor-revisit-bias", "gigpo.anchor-revisit-decay"


@question(
    "anchor_groups",
    title="When do anchor groups help, and what does revisiting cost?",
    asked="verl-agent PR 22, Trinity #551, ms-swift #6745: groups that build GiGPO anew",
    claims=(EDGE, FATAL, REVISIT, DECAY),
    figure="gigpo_edge",
)
def anchor_groups(evidence: Mapping[str, Mapping[str, Any]]) -> str:
    """GiGPO compares the return that follows a step with the returns that followed from the same observation, in the
    other rollouts of the group. Where no rollout comes back to an observation, that comparison estimates (n-1)/n of the
    state's own advantage, n the size of the anchor group, while the episode level carries the luck of all other steps
    as well.

    It helps the gradient where rollouts meet in the same states and these states differ in value: where mistakes can be
    repaired, or chance sends rollouts to better and worse places. It does not help where the first mistake ends the
    episode: the survivors in a state have had no luck to be freed of, and the comparison only has fewer members. And it
    turns against itself before it fades: in anchor groups of two or three the baseline is noisy, so that signal is lost
    well before all rows are alone, at which point only the episode level is left. Irrelevant detail in observations (a
    clock, a shuffled list) does this by itself.

    Revisits inside one rollout make members of an anchor group dependent. At gamma = 1, and where going round costs
    nothing, the pooled advantage is still exactly (N-1)/N of the truth; below 1 it is biased, by an amount that falls
    like 1/N and with the length of the loop. Crediting only the first visit of each rollout removes it.
    """
    edge, fatal, revisit = (evidence[name]["detail"] for name in (EDGE, FATAL, REVISIT))
    few, many, ended = edge["lock, restart, 1 marks"], edge["lock, restart, 64 marks"], fatal["1 marks"]
    n = evidence[DECAY]["detail"]["n_times_bias"][0]
    got, aim = revisit["gamma 0.8, N=2"][1], revisit["gamma 0.8, N=2, predicted"][1]
    return (
        f"Where rollouts share states and mistakes can be repaired: alignment with the exact gradient rises from "
        f"{few['w = 0']:.2f} to {few['w = 1']:.2f} at N = 8, but falls from {many['w = 0']:.2f} to "
        f"{many['w = 1']:.2f} once {100 * many['rows_alone']:.0f} % of rows are alone in their anchor group, and from "
        f"{ended['w = 0']:.2f} to {ended['w = 1']:.2f} where one mistake ends the episode; revisiting costs nothing at "
        f"gamma = 1, while at gamma = 0.8 and N = 2 the good exit of a looping state gets {got:.4f} instead of "
        f"{aim:.4f}, a bias of about {n:.2f}/N."
    )
