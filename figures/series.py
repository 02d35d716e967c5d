"""Names and looks of estimators, methods and environments, the same in every figure of a study."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from figures.style import COLOURS, series_styles

__all__ = ["environment_title", "in_order", "lines", "looks", "short"]

_BLUE, _VERMILION, _GREEN, _PINK, _ORANGE, _SKY, _BLACK, _OCHRE = COLOURS
_POINTS = {
    "REINFORCE": (_BLUE, "o"),
    "REINFORCE++": (_BLUE, "s"),
    "REINFORCE++-baseline": (_BLUE, "^"),
    "ReMax": (_BLUE, "D"),
    "RLOO": (_VERMILION, "o"),
    "Dr.GRPO": (_VERMILION, "s"),
    "GPG": (_VERMILION, "^"),
    "GRPO": (_PINK, "o"),
    "GRPO, rows": (_PINK, "s"),
    "GRPO pass@k": (_PINK, "^"),
    "OPO": (_SKY, "o"),
    "OTB": (_SKY, "s"),
    "GiGPO, no std": (_GREEN, "o"),
    "GiGPO": (_GREEN, "s"),
    "GiGPO, rows": (_GREEN, "^"),
    "HGPO, no std": (_ORANGE, "o"),
    "HGPO": (_ORANGE, "s"),
    "GAE λ=0.95": (_BLACK, "*"),
    "GAE λ=0.5": (_BLACK, "P"),
    "PPO": (_OCHRE, "v"),
}
_NAMES = {
    "reinforce": "REINFORCE", "reinforce_plus_plus": "REINFORCE++",
    "reinforce_plus_plus_baseline": "REINFORCE++-baseline", "remax": "ReMax", "rloo": "RLOO", "dr_grpo": "Dr.GRPO",
    "gpg": "GPG", "grpo": "GRPO", "grpo_passk": "GRPO pass@k", "opo": "OPO", "optimal_token_baseline": "OTB",
    "gigpo": "GiGPO", "hgpo": "HGPO", "gae": "GAE", "ppo": "PPO",
}  # fmt: skip


def short(estimator: str) -> str:
    """A legend's name for an estimator or method of a study: `grpo@verl-agent` is "GRPO, rows"."""
    name, preset, inner = re.fullmatch(r"(\w+)(?:@([\w-]+))?(?:\((.*)\))?", estimator).groups()  # type: ignore[union-attr]
    text = _NAMES.get(name, name)
    if name in ("grpo", "gigpo") and (preset or "").startswith("verl-agent"):
        text += ", rows"
    if found := re.search(r"lam=([\d.]+)", inner or ""):
        text += f" λ={found[1]}"
    if "normalize" in (inner or ""):
        text += ", no std"
    return text


def in_order(names: Iterable[str]) -> list[str]:
    """Short names by family, as they stand in a legend; unknown ones last."""
    known = list(_POINTS)
    return sorted(names, key=lambda name: known.index(name) if name in known else len(known))


def lines(names: list[str]) -> dict[str, dict[str, Any]]:
    """Colour, marker and line style of each curve by its short name."""
    dashes = series_styles(names)
    return {name: {**look, "linestyle": dashes[name]["linestyle"]} for name, look in looks(names).items()}


def looks(names: list[str]) -> dict[str, dict[str, Any]]:
    """Colour and marker of each point by its short name: a family shares a colour."""
    other = series_styles([name for name in names if name not in _POINTS])
    return {
        name: {"color": _POINTS[name][0], "marker": _POINTS[name][1]}
        if name in _POINTS
        else {"color": other[name]["color"], "marker": other[name]["marker"]}
        for name in names
    }


def environment_title(environment: str) -> str:
    """`chain@small(length=4)` is "chain"."""
    return re.split(r"[@(]", environment)[0]
