"""Which prompts COPO leaves silent, how its blend follows entropy, and what each gate leaves of the global credit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from figures.base import Data, figure
from figures.style import NEUTRAL, new, series_styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SILENT, BLEND, GATE = "copo.silent-prompts", "copo.blend-follows-entropy", "copo.soft-gate"


@figure("copo_gates", title="COPO: silent prompts, blend weight, gates", claims=(SILENT, BLEND, GATE))
def copo_gates(results: Mapping[str, Data]) -> Figure:
    """Left: share of prompts without any credit over the success chance of the batch's prompts, groups of six; under
    COPO only a batch that wins or loses as a whole is silent (lines exact, markers the estimator on every outcome).
    Middle: expected weight of the local credit over the policy's entropy, four answers, groups of six; it rises along a
    temperature (lines; the second ends at two equal answers), but policies of equal entropy differ (grey points).
    Right: share of the global credit that a group of six wrong answers keeps, over how many different ones it has; the
    soft blend alone takes it away just where there are many ways to be wrong.
    """
    sketch, (left, middle, right) = new(1, 3, height=2.7)
    silent = results[SILENT]
    names = [name for name in silent.unique("what") if name != "estimator"]
    for name, look in series_styles(names).items():
        part = silent.where(what=name)
        left.plot(part["x"], part["value"], **{**look, "marker": ""}, label=name if name == "GRPO" else f"COPO, {name}")
    part = silent.where(what="estimator")
    left.plot(part["x"], part["value"], color="#D55E00", marker="s", linestyle="", fillstyle="none")
    left.set(xlabel="success chance", ylabel="share of silent prompts", ylim=(0.0, 1.0))
    left.legend(loc="upper center")
    blend = results[BLEND]
    other = blend.where(what="other policies")
    middle.plot(other["x"], other["value"], color=NEUTRAL, marker=".", markersize=2.5, linestyle="", alpha=0.6)
    lines = [name for name in blend.unique("what") if name != "other policies"]
    for name, look in series_styles(lines).items():
        part = blend.where(what=name)
        middle.plot(part["x"], part["value"], **{**look, "marker": ""}, label=name)
    middle.set(xlabel="entropy of the policy (bits)", ylabel="expected blend weight", ylim=(0.0, 1.0))
    middle.legend(loc="upper left", title="one temperature", title_fontsize=7)
    gates = results[GATE]
    kept = {gate: gates.where(what=gate) for gate in gates.unique("what")}
    groups: dict[bytes, list[str]] = {}
    for gate, part in kept.items():
        groups.setdefault(np.round(part["value"], 6).tobytes(), []).append(gate)
    labels = {min(same, key=len) if len(same) > 2 else same[0]: same for same in groups.values()}
    for (gate, same), look in zip(labels.items(), series_styles(list(labels)).values(), strict=True):
        label = "zero, forced,\nonly global" if len(same) > 2 else gate.replace("-", " ")
        right.plot(kept[gate]["x"], kept[gate]["value"], **look, label=label)
    right.set(xlabel="different wrong answers of six", ylabel="global credit kept", xticks=range(1, 7))
    right.set_ylim(-0.05, 1.1)
    right.legend(loc="center right", bbox_to_anchor=(1.0, 0.62))
    return sketch
