"""Every estimator on a twin: what it estimates beside exact advantages and gradients, and the order that makes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from creditsim.errors import InputError, choose
from creditsim.mdp import SoftmaxPolicy, TabularMDP
from creditsim.rng import Purpose, derive_seed, uniforms
from creditsim.rollouts import Rollouts
from creditsim.study.entries import parse_entry
from creditsim.study.setting import Setting
from creditsim.study.variance import measure
from llm_bridge.twin.empirical import States, build_twin

__all__ = ["CRITERIA", "Ranked", "Settings", "agreement", "rank", "rank_table", "resample"]

CRITERIA = {
    "gradient_efficiency": "most",
    "gradient_mse": "least",
    "gradient_cosine": "most",
    "mse": "least",
    "sign_agreement": "most",
}
"""What estimators may be ranked by, and which end of it is good."""

_SHOWN = (*CRITERIA, "gradient_bias", "gradient_variance", "gradient_snr")


@dataclass(frozen=True)
class Settings:
    """How estimators are compared on a table."""

    estimators: tuple[str, ...] = ("reinforce", "rloo", "grpo", "gigpo", "hgpo")
    """Estimators as a study names them: name, name@preset, parameters in brackets, package.module:function."""
    signals: tuple[str, ...] = ()
    """Process signals that make columns some estimators need."""
    group_size: int = 8
    """Trajectories in a group."""
    groups: int = 1
    """Groups in the batch of one gradient."""
    replicates: int = 2000
    """Batches that each estimator is measured on; all meet the same."""
    criterion: str = "gradient_efficiency"
    """What they are ranked by: gradient_efficiency | gradient_mse | gradient_cosine | mse | sign_agreement.
    Only the first, the third and the last do not change when an estimator's advantages are rescaled."""
    bootstrap: int = 20
    """Twins made of resampled groups of the log, for the share of each rank; 0: none."""
    alpha: float = 0.05
    """Error level of every interval."""
    seed: int = 0
    """Seed of all random numbers."""

    def check(self) -> None:
        """Raise an InputError for a number or name that no comparison can have."""
        choose("criterion", self.criterion, CRITERIA)
        if not self.estimators:
            raise InputError("estimators", "none", "at least one")
        for field, least in {"group_size": 1, "groups": 1, "replicates": 2, "bootstrap": 0}.items():
            if getattr(self, field) < least:
                raise InputError(field, getattr(self, field), f"a whole number >= {least}")
        if not 0.0 < self.alpha <= 0.2:
            raise InputError("alpha", self.alpha, "0 < alpha <= 0.2")
        if not 0 <= self.seed < 1 << 62:
            raise InputError("seed", self.seed, "0 <= seed < 2^62")


@dataclass(frozen=True)
class Ranked:
    """One estimator on a table: what was measured with intervals, and its place.

    `quantities` maps the criteria, gradient_bias, gradient_variance and gradient_snr to value, low and high (None
    where nothing is known). `rank` is its place, 1 the best; `ties` are places that the
    intervals of the criterion do not tell from it; `share` (K,) how often each place came out over resampled logs.
    """

    estimator: str
    quantities: dict[str, dict[str, float | None]]
    rank: int
    ties: tuple[int, int]
    share: tuple[float, ...] = ()


def rank_table(mdp: TabularMDP, policy: SoftmaxPolicy, settings: Settings) -> list[Ranked]:
    """Measure estimators on a table against its exact advantages and gradient, best first.

    Every estimator meets the same rollouts. The order is that of the criterion's point values; places are tied where
    intervals overlap, each of which holds at `alpha`. Errors: as in a variance study, before anything is drawn.
    """
    settings.check()
    found = [_measured(mdp, policy, text, settings) for text in settings.estimators]
    sign = 1.0 if CRITERIA[settings.criterion] == "least" else -1.0
    order = sorted(range(len(found)), key=lambda i: sign * _known(found[i][settings.criterion]["value"]))
    ends = [sorted(sign * _known(found[i][settings.criterion][end]) for end in ("low", "high")) for i in order]
    out = []
    for place, i in enumerate(order):
        better = sum(high < ends[place][0] for _, high in ends)
        worse = sum(low > ends[place][1] for low, _ in ends)
        out.append(Ranked(settings.estimators[i], found[i], place + 1, (better + 1, len(order) - worse)))
    return out


def rank(
    rollouts: Rollouts,
    settings: Settings,
    *,
    states: States = "anchor",
    action_prior: float = 0.0,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> list[Ranked]:
    """Rank estimators on the twin of logged rollouts, with the share of each place over resampled logs.

    A resampled log draws groups of the log with replacement, as many as there are; its twin is measured on a fifth of
    the replicates. The shares say how far the order depends on which episodes happened to be logged; the intervals say
    how well it is measured on this twin.
    """
    settings.check()
    twin = build_twin(rollouts, states=states, action_prior=action_prior)
    best = rank_table(twin.mdp, twin.policy, settings)
    if settings.bootstrap == 0:
        return best
    count = {one.estimator: np.zeros(len(best)) for one in best}
    for number in progress(range(settings.bootstrap)):
        again = build_twin(resample(rollouts, settings.seed, number), states=states, action_prior=action_prior)
        seed = derive_seed(settings.seed, "log", number) >> 2
        small = replace(settings, replicates=max(2, settings.replicates // 5), seed=seed)
        for one in rank_table(again.mdp, again.policy, small):
            count[one.estimator][one.rank - 1] += 1.0 / settings.bootstrap
    return [
        Ranked(one.estimator, one.quantities, one.rank, one.ties, tuple(count[one.estimator].tolist())) for one in best
    ]


def resample(rollouts: Rollouts, seed: int, number: int) -> Rollouts:
    """The rollouts of as many groups as there are, drawn with replacement; trees stay whole."""
    n = rollouts.n_groups
    draws = uniforms(derive_seed(seed, "groups"), np.array([number]), Purpose.RESAMPLE, n)[0]
    chosen = np.minimum((draws * n).astype(np.int64), n - 1)
    members = [np.flatnonzero(rollouts.group == g) for g in range(n)]
    parts = [rollouts.take(members[g], group=np.zeros(members[g].size, np.int64)) for g in chosen]
    return _joined(parts)


def agreement(one: Sequence[Ranked], other: Sequence[Ranked]) -> float:
    """Kendall's tau-b between two rankings of the same estimators: 1 the same order, -1 the reverse."""
    from scipy.stats import kendalltau

    places = {ranked.estimator: ranked.rank for ranked in other}
    return float(kendalltau([r.rank for r in one], [places[r.estimator] for r in one])[0])  # pyright: ignore


def _known(value: float | None) -> float:
    return math.inf if value is None else value


def _measured(
    mdp: TabularMDP, policy: SoftmaxPolicy, text: str, settings: Settings
) -> dict[str, dict[str, float | None]]:
    spec = {
        "estimator": str(parse_entry(text, "estimators")), "environment": mdp.name, "horizon": mdp.horizon,
        "policy": "logged", "group_size": settings.group_size, "groups": settings.groups, "design": "independent",
        "signals": [str(parse_entry(signal, "signals")) for signal in settings.signals], "by": "state",
        "replicates": settings.replicates, "precision": None, "alpha": settings.alpha, "gamma": None, "exact": False,
    }  # fmt: skip
    table = measure(Setting.on(spec, settings.seed, mdp, policy)).table
    at = {str(table["quantity"][i]): i for i in np.flatnonzero(table["scope"] == "all")}
    return {name: {end: _finite(table[end][at[name]]) for end in ("value", "low", "high")} for name in _SHOWN}


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def _joined(parts: Sequence[Rollouts]) -> Rollouts:
    """Rollouts one after the other, the groups of each apart from those of the others; labels are dropped."""
    rows = np.cumsum([0, *(part.n_rows for part in parts)])
    groups = np.cumsum([0, *(part.n_groups for part in parts)])
    shift = list(zip(parts, rows[:-1], groups[:-1], strict=True))

    fields: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("terminated", "observation", "action", "reward", "step")
    }
    return Rollouts(
        offsets=np.concatenate([[0], *(part.offsets[1:] + row for part, row, _ in shift)]),
        parent=np.concatenate([np.where(part.parent >= 0, part.parent + row, -1) for part, row, _ in shift]),
        group=np.concatenate([part.group + group for part, _, group in shift]),
        batch=np.concatenate([np.zeros_like(part.batch) for part in parts]),
        columns={name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns},
        trajectory_columns={
            name: np.concatenate([part.trajectory_columns[name] for part in parts])
            for name in parts[0].trajectory_columns
        },
        **fields,
    )
