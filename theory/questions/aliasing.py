"""What does aliasing cost, and does HGPO cure it?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from theory.question import question

BIAS, KEEPS, TRADE = "hgpo.level-bias", "hgpo.aliasing-keeps-gradient", "hgpo.favourable-trade-off"
DROP = "hgpo.zero-drop-direction"


@question(
    "aliasing",
    title="What does aliasing cost, and does HGPO cure it?",
    asked="HGPO's case against GiGPO: steps that share an observation but not a history",
    claims=(TRADE, BIAS, KEEPS, DROP),
    figure="context_bias",
)
def aliasing(evidence: Mapping[str, Mapping[str, Any]]) -> str:
    """GiGPO compares steps that share an observation. Where the prompt holds a history, such steps may be different
    decisions with different values V, and centring on their common mean puts V(s) - E[V | observation] on top of every
    advantage. HGPO groups by the last one, two, ... observations and averages: that leaves a part of the bias, more in
    small groups, where a row alone in its context falls back on the anchor group.

    But the same number is added whatever the action. It is a baseline, and in mean_norm the expected gradient of
    GiGPO's step term is (N-1)/N of the exact one under any aliasing. What aliasing costs is noise, because the
    baseline is a poor one, and that is what HGPO wins back, once values behind an observation differ about as much as
    returns vary inside one history. Without aliasing its small groups only add noise. A judgement by bias or error of
    the advantage alone gets the size of the problem wrong.

    Two details do bend the expected gradient. Dividing by deviations weights contexts by how little they vary, and
    shrinks aliased steps. And the released code drops a level whose advantage is exactly 0 and scales the rest up;
    whether a row is on its group's mean depends on its own return, so the weights depend on the action. With returns
    that tie (success or not) this turns the gradient, in the extreme the wrong way. Keep zero levels, with their zero.
    """
    bias = evidence[BIAS]["detail"]["E[Var(V | c_k)]"]["spread 1"]
    trade, none = evidence[TRADE]["detail"]["spread 1"], evidence[TRADE]["parts"][1]["detail"]["alignment"]
    some, n = trade["alignment"], trade["n"]
    keeps = evidence[KEEPS]["detail"]["gap 2.1, cue 0.5, N=8"]
    poorer, richer = evidence[DROP]["detail"]["factors"]
    off = "by nothing" if keeps["gradient_off"] < 1e-9 else f"by {100 * keeps['gradient_off']:.2g} %"
    won = [some[series] - some["GiGPO"] for series in ("HGPO, code", "HGPO, zeros kept")]
    lost = [none["GiGPO"] - none[series] for series in ("HGPO, code", "HGPO, zeros kept")]
    return (
        f"Values that spread by 1 behind one observation bias the advantage by {bias['levels'][0] ** 0.5:.2f} in "
        f"anchor groups and by {bias['HGPO'] ** 0.5:.2f} in HGPO (K = 2, N = {n}), but turn GiGPO's expected gradient "
        f"{off}; the cost is noise, a cosine with the exact gradient that falls from {none['GiGPO']:.2f} to "
        f"{some['GiGPO']:.2f}, of which HGPO's code wins back {won[0]:.2f} and HGPO with zeros kept {won[1]:.2f}, "
        f"while without aliasing these lose {lost[0]:.2f} and {lost[1]:.2f}; dropping exact zeros scales two contexts' "
        f"gradients by {poorer:.3f} and {richer:.3f} instead of by one factor."
    )
