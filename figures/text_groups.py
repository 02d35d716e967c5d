"""What step groups hold on text, beside tables: other histories, other states, company; and which tasks give credit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.base import Data, figure
from figures.style import COLOURS, NEUTRAL, new

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HISTORIES, STATES = "hgpo.context-inconsistency", "gigpo.anchors-are-states"
COMPANY, SILENT, FALLS = "gigpo.most-steps-have-company", "bridge.silent-groups", "hgpo.inconsistency-falls"
_BLUE, _VERMILION = COLOURS[:2]
_LOOKS: dict[str, tuple[str, dict[str, Any]]] = {
    "alfworld_random": ("ALFWorld, random", {"color": _BLUE, "marker": "o", "linestyle": "-"}),
    "alfworld_tiny": ("ALFWorld (easy), warm", {"color": _BLUE, "marker": "s", "linestyle": "--"}),
    "webshop_random": ("WebShop, random", {"color": _VERMILION, "marker": "^", "linestyle": "-"}),
    "webshop_tiny": ("WebShop, warm", {"color": _VERMILION, "marker": "D", "linestyle": "--"}),
    "table loop@small": ("table: loop", {"color": NEUTRAL, "marker": "v", "linestyle": ":"}),
    "table grid@small": ("table: grid", {"color": NEUTRAL, "marker": "P", "linestyle": "-."}),
    "table aliased@small": ("table: aliased", {"color": NEUTRAL, "marker": "X", "linestyle": (0, (1, 1))}),
}
_PARTS = {"all_lose": ("all lose", "#D55E00"), "mixed": ("mixed", "#009E73"), "all_win": ("all win", "#E69F00")}


_NAMES = {"grpo": "GRPO", "gigpo": "GiGPO", "hgpo": "HGPO"}


@figure(
    "text_groups",
    title="What step groups hold on ALFWorld and WebShop text",
    claims=(HISTORIES, STATES, COMPANY, SILENT, FALLS),
)
def text_groups(results: Mapping[str, Data]) -> Figure:
    """Groups of eight recorded episodes of a task, of a random policy and of a small model after a warm start, beside
    tables under the uniform policy; means over tasks with intervals at the ledger's level. Top left: of the rows that
    have company in GiGPO's step group (same observation), the share whose group holds another window of the last
    observations (HGPO's key), by length of the window; a line at 1/2 marks the claim. Top right: the share whose group
    holds another hidden state, for groups by windows of growing length; near 0 (line at 1/20) observations would be
    states. On WebShop no window gets there while rows still have company, as no page shows which options were chosen;
    on ALFWorld it takes windows that leave hardly any row with company (bottom left: share of rows in a group of two or
    more). The tables loop and grid are fully observed. Bottom right: tasks by the outcome of their eight episodes, with
    what GRPO, GiGPO and HGPO make of them (markers): the share of rows with an advantage other than zero.
    """
    sketch, ((histories, states), (company, silent)) = new(2, 2, height=5.2)
    _lines(histories, results[HISTORIES], "share: another history")
    histories.axhline(0.5, color="black", linewidth=0.7)
    histories.set(xlabel="observations in the window", title="Anchor groups mix histories")
    _lines(states, results[STATES], "share: another hidden state")
    states.axhline(0.05, color="black", linewidth=0.7)
    states.set(xlabel="observations in the key", title="Groups mix hidden states")
    _lines(company, results[COMPANY], "share: rows with company")
    company.axhline(0.5, color="black", linewidth=0.7)
    company.set(xlabel="observations in the key", title="Longer keys leave rows alone")
    handles, labels = company.get_legend_handles_labels()
    _outcomes(silent, results[SILENT])
    sketch.legend(handles, labels, loc="outside lower center", ncols=4)
    return sketch


def _lines(axis: Any, data: Data, label: str) -> None:
    depths = sorted(data.unique("depth"))
    names = data.unique("rollouts")
    for place, name in enumerate(names):
        title, style = _LOOKS.get(name, (name, {"color": "black", "marker": ".", "linestyle": "-"}))
        one = data.where(rollouts=name)
        # Side by side, so that no interval hides another.
        x = np.searchsorted(depths, one["depth"]) + 0.05 * (place - (len(names) - 1) / 2)
        error = np.abs(np.stack([one["share"] - one["low"], one["high"] - one["share"]]))
        axis.errorbar(x, one["share"], error, label=title, fillstyle="none", elinewidth=0.7, capsize=1.5, **style)
    axis.set_xticks(range(len(depths)), [str(k + 1) if k < 10 else "all" for k in depths])
    axis.set(ylabel=label, ylim=(-0.03, 1.03))


def _outcomes(axis: Any, data: Data) -> None:
    names = data.unique("recording")
    one = [data.where(recording=name) for name in names]
    lose, win = (np.array([float(part[column][0]) for part in one]) for column in ("all_lose", "all_win"))
    shares = {"all_lose": lose, "mixed": 1.0 - lose - win, "all_win": win}
    left = np.zeros(len(names))
    for part, share in shares.items():
        title, colour = _PARTS[part]
        axis.barh(range(len(names)), share, left=left, color=colour, alpha=0.45, height=0.6, label=title)
        left += share
    for spec, marker in zip(_NAMES, "os^", strict=True):
        rows = [float(part.where(estimator=spec)["credited_rows"][0]) for part in one]
        axis.plot(
            rows,
            range(len(names)),
            marker,
            color="black",
            fillstyle="none",
            linestyle="",
            markersize=4.5,
            label=_NAMES[spec],
        )
    axis.set_yticks(range(len(names)), [_LOOKS.get(name, (name,))[0].replace(", ", "\n") for name in names])
    axis.set(xlabel="share of tasks; of rows with credit", xlim=(-0.02, 1.02), title="Tasks by outcome")
    axis.invert_yaxis()
    axis.grid(False, axis="y")
    axis.legend(loc="upper center", bbox_to_anchor=(0.4, -0.2), ncols=6, columnspacing=0.8, handletextpad=0.4)
