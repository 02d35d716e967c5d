"""Can I rank estimators by variance alone?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from theory.question import question

ORDER = "baselines.variance-order"


@question(
    "rank_by_variance",
    title="Can I rank estimators by variance alone?",
    asked="papers that compare the variance of advantages across estimators",
    claims=(ORDER,),
    figure="baseline_noise",
)
def rank_by_variance(evidence: Mapping[str, Mapping[str, Any]]) -> str:
    """No: variance has a scale. Halve every advantage and the variance falls to a quarter, with nothing gained: the
    optimiser's step size takes the factor out again. Dividing by a deviation (GRPO, whitening) sets the scale by
    itself, so raw variances of normalised and plain estimators cannot be compared at all.

    What can be compared is the noise beside the signal, tr Cov g / (E[g] · u)², u the direction of the exact gradient:
    it does not change when an estimator is scaled. Even that is only half the answer, because a biased estimator may be
    quiet in a wrong direction; the cosine of E[g] with the exact gradient is the other half.

    On that scale the order one would expect, REINFORCE noisier than REINFORCE++, this noisier than Dr.GRPO and RLOO,
    and these noisier than the best constant baseline, is not a law either. Whitening rescales by the very luck of the
    batch, which in small batches takes noise out; and where rewards are rare and groups small, the leave-one-out mean
    puts more noise in than it takes off.
    """
    found = evidence[ORDER]["detail"]
    worst = max((ratio for links in found["failing"].values() for ratio in links.values()), default=1.0)
    broken = ", ".join(f"{link.replace('@paper', '')} in {len(where)}" for link, where in found["failing"].items())
    return (
        f"No: of {found['pairs']} pairs of estimators whose raw gradient variance differs, "
        f"{found['pairs_ranked_otherwise']} rank the other way round once both have the same signal; and of the "
        f"expected order of baselines {found['held']} of {found['links']} links hold at groups of eight in "
        f"{found['settings']} settings (failing: {broken or 'none'}; largest ratio {worst:.2f}), while at groups of "
        f"two leave-one-out is noisier than no baseline in {found['no_baseline_quieter_at_two']}."
    )
