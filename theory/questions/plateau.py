"""Why has learning stopped?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from theory.question import question

LEVEL, RESUMES = "stagnation.plateau-closed-form", "stagnation.resumes"


@question(
    "plateau",
    title="The curve is flat: smaller step, or more rollouts?",
    asked="anybody whose reward curve levels off",
    claims=(LEVEL, RESUMES),
    figure="plateau_resumes",
)
def answer(evidence: Mapping[str, Mapping[str, Any]]) -> str:
    """Each iteration moves the policy by its step times an estimate, and the estimate is noise on top of signal. Close
    to the optimum the signal vanishes and the noise does not, so the policy keeps trembling at a distance from it: the
    gap is about step / (4 samples) times the noise and the curvature of the policy, sum_i a s^2 f_i / (2 N (2 - a tau
    f_i)).

    Halving the step or doubling the samples halves the gap alike; the step also slows the way there, the samples cost
    rollouts. A flat curve is no local optimum if either brings it down. A policy that has become deterministic on a
    wrong action is one for all practical purposes: no sample shows anything else, and neither remedy moves it.

    The picture needs an optimum at which noise is left: with an entropy or KL term, or with a best policy that is
    random. A plain softmax policy that closes in on a deterministic best action loses its noise on the way and has no
    floor.
    """
    level, resumes = evidence[LEVEL]["detail"], evidence[RESUMES]["detail"]
    before, after = resumes["noise, smaller step"]
    more = resumes["noise, more samples"][1]
    return (
        f"Either: the gap measured grows as step^{level['exponent of a']:.2f} and falls as "
        f"samples^{level['exponent of N']:.2f}; on a plateau of {before:.4f} a step eight times smaller brought it to "
        f"{after:.4f} and eight times the samples to {more:.4f}, while a policy collapsed on a wrong action stayed at "
        f"{resumes['collapse, more samples'][1]:.2f}."
    )
