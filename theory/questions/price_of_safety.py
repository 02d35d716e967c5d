"""What does it cost to be safe in every episode?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from theory.question import question

SAFE, ORDER, SAME = "stepmix.safe-in-every-episode", "stepmix.regret-order", "epsmix.same-as-stepmix"
SLACK, OFFLINE = "stepmix.price-of-slack", "stepmix.offline-baseline"


@question(
    "price_of_safety",
    title="What does it cost to be safe in every episode?",
    asked="readers of StepMix, who must explore without falling below what is in use today",
    claims=(SAFE, ORDER, SAME, SLACK, OFFLINE),
    figure="stepmix_value",
)
def price_of_safety(evidence: Mapping[str, Mapping[str, Any]]) -> str:
    """StepMix keeps the expected return of every episode's policy above a bar, here 90 % of a baseline that is in use
    today. It plays the baseline in the early steps of an episode and the optimistic policy after them, and moves the
    border as far as a lower confidence bound allows; at the border it tosses a coin. EpsMix tosses one coin for the
    whole episode. UCBVI, the same planner without a bar, is what they are measured against.

    The price is paid at the beginning. Until the bounds are tight enough the baseline is played, episode after
    episode; then the regret grows like UCBVI's, so their ratio falls. A bar closer to the baseline makes that time
    longer. In these small tables the cautious time is thousands of episodes at the proved size of the bonus; the
    figure shows how far the bonus can be cut before policies fall below the bar.

    The formulas of both methods are inferred from the abstract. The values of all policies played are exact, so a
    violation is a fact about the policy and not about luck in an episode.
    """
    safe, order = evidence[SAFE]["detail"], evidence[ORDER]["detail"]
    places = [name for name in order if name.startswith("sqrt(K)")]
    first, last = (sum(order[name]["ratio"][k] for name in places) / len(places) for k in (0, 2))
    cautious = [order[name]["cautious"] for name in places]
    episodes = order[places[0]]["episodes"]
    free = safe["ucbvi_violated_episodes"]
    few = safe["violating_by_scale"].get("0.1", 0.0)
    return (
        f"A delay, not an order: {safe['violating_runs']} of {safe['runs']} StepMix runs ever play a policy below the "
        f"bar, where UCBVI does in {min(free):.0f} to {max(free):.0f} episodes of a run; being cautious for "
        f"{min(cautious):.0f} to {max(cautious):.0f} episodes brings StepMix's regret to {first:.1f} times UCBVI's "
        f"after {episodes[0]} episodes and {last:.1f} times after {episodes[2]}; at a tenth of the proved bonus "
        f"{100 * few:.0f} % of runs violate the bar once."
    )
