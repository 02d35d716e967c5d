"""What happens to groups of one?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from theory.question import question

RULES, GROUP = "gigpo.singleton-rules-agree", "gigpo.singleton-group-gradient"
STEP = "gigpo.singleton-step-zero"


@question(
    "groups_of_one",
    title="What happens to groups of one?",
    asked="verl #7581; re-implementations of GiGPO differ",
    claims=(RULES, GROUP, STEP),
    figure="singleton_rules",
)
def groups_of_one(evidence: Mapping[str, Mapping[str, Any]]) -> str:
    """A group of one has no spread and no one to be compared with. Two rules are in use: subtract nothing and divide by
    one, so that the raw score stays, or take the member as its own mean, so that 0 stays. Libraries do not agree, and
    some do not agree with themselves: verl's RLOO keeps the score in its loop and gives 0 in its vectorised form;
    verl-agent's GiGPO keeps the score of a lone episode and gives 0 to an observation seen once.

    For one rollout per task the rule decides everything. Raw scores over trajectories are REINFORCE without a baseline:
    noisy and right on average. Zero learns nothing, silently. Raw scores over rows are worse than either: an episode of
    two or more steps is a group of two or more equal rows and gets 0, so only one-step episodes are reinforced.

    For observations seen once, neither rule turns a state's part of the gradient. Zero throws away what these rows
    could say, so that rarely met states count less; the raw return keeps it, together with all of the return's offset.
    The factor (n-1)/n that larger anchor groups carry makes 0 the natural end of the row, at n = 1. State the rule;
    where returns lie far from zero, take zero.
    """
    rules, group, step = (evidence[name]["detail"] for name in (RULES, GROUP, STEP))
    return (
        f"It depends on an unstated rule: in one file a lone one-step episode of return 1 gets {rules['episode']:g} "
        f"at the episode level (with two steps {rules['episode_of_two_steps']:g}) and {rules['step']:g} at the step "
        f"level; with one rollout per task raw scores over trajectories give the exact derivative "
        f"{group['trajectories']:+.2f}, over rows {group['rows']:+.2f}; for observations seen once, keeping the raw "
        f"return aligns the step-level gradient better where rewards are sparse ({step['raw_sparse']:.2f} against "
        f"{step['zero']:.2f} with zero) and worse where every step pays one more ({step['raw_offset_1']:.2f} against "
        f"{step['zero']:.2f})."
    )
