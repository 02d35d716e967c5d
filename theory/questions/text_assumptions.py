"""Do the assumptions of step-level credit hold on ALFWorld and WebShop text?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from theory.question import question

HISTORIES, FALLS = "hgpo.context-inconsistency", "hgpo.inconsistency-falls"
STATES, COMPANY, SILENT = "gigpo.anchors-are-states", "gigpo.most-steps-have-company", "bridge.silent-groups"


@question(
    "text_assumptions",
    title="Do the assumptions of step-level credit hold on ALFWorld and WebShop text?",
    asked="anyone who takes a step estimator from a table to text agents",
    claims=(HISTORIES, FALLS, STATES, COMPANY, SILENT),
    figure="text_groups",
)
def text_assumptions(evidence: Mapping[str, Mapping[str, Any]]) -> str:
    """GiGPO compares the steps of a group that saw one observation. That asks for two things: that observations come
    back, A^S being 0 for a step without company, and that equal observations mean equal situations, since the group's
    mean return stands for the value there. HGPO doubts the second and asks for equal histories too. All of this can be
    counted on recorded episodes, with the environments' hidden states beside the texts; no training is needed.

    The first holds well: in groups of eight nearly every step meets its observation again. The second does not. Steps
    pooled by observation mostly followed different histories, as HGPO says, and often start from different states: an
    ALFWorld room looks the same whatever happened elsewhere, a WebShop page does not show which options were chosen.

    Longer histories cure this at the price of company, on ALFWorld at three observations nearly all of it. On WebShop
    they cure it in part only: what no page shows no history of pages shows. A warm start narrows the ways to an
    observation, and with it the difference between GiGPO and HGPO. None of it matters for a task that all eight
    episodes lose: with one reward at the end every group method is silent there, and such tasks are many at first.
    """
    history, state = evidence[HISTORIES]["detail"], evidence[STATES]["detail"]
    company, falls, silent = evidence[COMPANY]["detail"], evidence[FALLS]["detail"], evidence[SILENT]["detail"]
    a, w = "alfworld_random", "webshop_random"
    return (
        f"Under a random policy {_percent(company[a]['share'])} of the steps on ALFWorld and "
        f"{_percent(company[w]['share'])} on WebShop meet their observation again in a group of eight, but of these "
        f"{_percent(history[a]['share'])} and {_percent(history[w]['share'])} are pooled with other histories of three "
        f"observations ({_percent(falls['webshop_tiny'])} on WebShop after a warm start), "
        f"{_percent(state[a]['share'])} and {_percent(state[w]['share'])} with other hidden states, and "
        f"{_percent(silent[a]['all lose'])} and {_percent(silent[w]['all lose'])} of the tasks, lost by all eight, "
        "give no credit at all."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
