"""Groups that all win or all lose: can the other prompts of the batch stand in?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from theory.question import question

SILENT, FACTOR, NOISE, GATE = (
    "copo.silent-prompts", "copo.expected-global-gradient", "copo.between-prompt-variance", "copo.soft-gate",
)  # fmt: skip


@question(
    "all_wrong_groups",
    title="All rollouts of a prompt fail: can the rest of the batch stand in?",
    asked="COPO against GRPO and DAPO's filter",
    claims=(SILENT, FACTOR, NOISE, GATE),
    figure="copo_gates",
)
def answer(evidence: Mapping[str, Mapping[str, Any]]) -> str:
    """A group whose rollouts all get the same reward has no credit in GRPO. DAPO throws it away and draws another; COPO
    keeps it and credits all its rollouts with (R_q - mean R) / std R, its mean reward against that of the batch's other
    prompts, blended with GRPO's credit by the entropy of its answers.

    That is a policy gradient: in expectation grad p_q / (n s), the true direction, n times smaller than its
    own reward's, because only one n-th of the group's mean is a rollout's own. Its baseline is the batch's, so a hard
    prompt among easy ones gets (p_q - pbar)^2 / (n p_q (1 - p_q)) of additional variance for it.

    The blend decides whether any of it arrives. By entropy alone a group of many different wrong answers counts as
    undecided and is left to the local credit, which is 0. A gate that hands groups without local credit over to the
    global one is not a detail; one that tests for a reward of 0 fails silently where wrong answers pay -1.
    """
    silent, kept = evidence[SILENT]["detail"], evidence[GATE]["detail"]
    found, plain = (silent["whole batch"][name][1][0] for name in ("found", "grpo"))
    slope = evidence[FACTOR]["detail"]["slope_16"]
    diverse, agreed = 100 * kept["diverse"], 100 * kept["agreed"]
    return (
        f"Among three prompts that each succeed with 2 %, groups of four, GRPO leaves {100 * plain:.0f} % of prompts "
        f"without gradient and COPO {100 * found:.0f} %, the batches that fail as a whole; the global credit's "
        f"expected gradient is {min(slope):.2f} to {max(slope):.2f} of grad p / (n s) in a batch of 16 prompts; the "
        f"soft blend alone leaves {agreed:.0f} % of it to six equal wrong answers and {diverse:.2f} % to six different "
        "ones."
    )
