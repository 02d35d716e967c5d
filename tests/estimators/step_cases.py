"""Rollouts with observations, and plain dict-and-loop references of the step-level estimators, faults on request."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from creditsim.estimators import credit
from creditsim.estimators.base import Pairs
from creditsim.rollouts import Rollouts

Columns = dict[str, np.ndarray]


def columns_of(rollouts: Rollouts, spec: Any, **overrides: Any) -> Columns:
    result = credit(rollouts, spec, **overrides)
    assert not isinstance(result, Pairs)
    return {name: np.asarray(values) for name, values in result.items()}


def walks(
    rng: np.random.Generator, *, batches: int = 2, groups: int = 3, members: tuple[int, int] = (1, 6), longest: int = 6
) -> Rollouts:
    """Ragged episodes over four observations, rewards in sixteenths, column `valid`."""
    sizes = rng.integers(members[0], members[1] + 1, size=batches * groups)
    group = np.repeat(np.arange(batches * groups), sizes)
    lengths = rng.integers(1, longest + 1, size=group.size)
    rows = int(lengths.sum())
    return Rollouts.flat(
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        group=group,
        batch=group // groups,
        reward=rng.integers(-4, 17, size=rows) / 16.0,
        observation=rng.integers(0, 4, size=rows),
        columns={"valid": (rng.random(rows) < 0.8).astype(np.int64)},
    )


def episodes_of(rows: Sequence[Sequence[tuple[int, float]]], group: Sequence[int], **options: Any) -> Rollouts:
    """Trajectories written out as (observation, reward) pairs."""
    flat = [pair for episode in rows for pair in episode]
    return Rollouts.flat(
        offsets=np.concatenate([[0], np.cumsum([len(episode) for episode in rows])]),
        group=np.asarray(group),
        observation=np.asarray([o for o, _ in flat]),
        reward=np.asarray([r for _, r in flat]),
        **options,
    )


def normal(x: float, members: list[float], scale: bool, ddof: int, eps: float, singleton: str) -> float:
    """One value standardised by the list it belongs to."""
    if not members:
        return 0.0
    if len(members) == 1:
        return (x / (1 + eps) if scale else x) if singleton == "raw" else 0.0
    centre = math.fsum(members) / len(members)
    if not scale:
        return x - centre
    if max(members) == min(members):
        return 0.0 if x == members[0] else (x - centre) / eps
    return (x - centre) / (math.sqrt(math.fsum((m - centre) ** 2 for m in members) / (len(members) - ddof)) + eps)


def scored(rollouts: Rollouts, gamma: float, penalty: float, fault: str) -> list[dict[str, Any]]:
    """One dict per row: group, trajectory, time, observations so far, return, scores, whether it counts."""
    weight = rollouts.columns.get("weight", np.ones(rollouts.n_rows))
    valid = rollouts.columns.get("valid", np.ones(rollouts.n_rows))
    out: list[dict[str, Any]] = []
    for i in range(rollouts.n_trajectories):
        a, b = int(rollouts.offsets[i]), int(rollouts.offsets[i + 1])
        reward = [float(r) for r in rollouts.reward[a:b]]
        charge = [penalty * (valid[row] == 0) for row in range(a, b)]
        total = math.fsum(reward)
        for t in range(b - a):
            rest = [r - c for r, c in zip(reward, charge, strict=True)] if fault == "penalty propagated" else reward
            g = 1.0 if fault == "no discount" else gamma
            discounted = math.fsum(g ** (k - t) * rest[k] for k in range(t, b - a))
            out.append(
                {
                    "group": 0 if fault == "anchors cross groups" else int(rollouts.group[i]),
                    "traj": i,
                    "t": t,
                    "seen": tuple(int(o) for o in rollouts.observation[a : a + t + 1]),
                    "G": discounted,
                    "score": discounted if fault == "penalty propagated" else discounted - charge[t],
                    "episode": total if fault == "penalty on steps only" else total - charge[t],
                    "live": bool(weight[a + t] != 0),
                }
            )
    return out


def gigpo_reference(
    rollouts: Rollouts,
    *,
    gamma: float = 0.95,
    step_weight: float = 1.0,
    weighting: str = "trajectory",
    normalize: str = "mean_std",
    ddof: int = 1,
    eps: float = 1e-6,
    episode_singleton: str = "raw",
    step_singleton: str = "zero",
    penalty: float = 0.0,
    fault: str = "",
) -> Columns:
    """GiGPO with dicts and loops."""
    rows = scored(rollouts, gamma, penalty, fault)
    scale = normalize == "mean_std"
    ddof = 1 - ddof if fault == "ddof" else ddof
    if fault == "weighting":
        weighting = "step" if weighting == "trajectory" else "trajectory"
    episode: dict[int, list[float]] = {}
    anchor: dict[tuple[int, int], list[float]] = {}
    seen_trajectory: set[int] = set()
    seen_anchor: set[tuple[int, int]] = set()
    for row in rows:
        if not row["live"]:
            continue
        if weighting == "step" or row["traj"] not in seen_trajectory:
            episode.setdefault(row["group"], []).append(row["episode"])
            seen_trajectory.add(row["traj"])
        visit = (row["traj"], row["seen"][-1])
        if fault != "revisit counted once" or visit not in seen_anchor:
            anchor.setdefault((row["group"], row["seen"][-1]), []).append(row["score"])
            seen_anchor.add(visit)
    step_singleton = "raw" if fault == "step singleton raw" else step_singleton
    out: dict[str, list[float]] = {"episode_advantage": [], "step_advantage": [], "advantage": []}
    for row in rows:
        e = s = 0.0
        if row["live"]:
            e = normal(row["episode"], episode[row["group"]], scale, ddof, eps, episode_singleton)
            members = anchor[(row["group"], row["seen"][-1])]
            s = normal(row["score"], members, scale, ddof, eps, step_singleton)
        out["episode_advantage"].append(e)
        out["step_advantage"].append(s)
        out["advantage"].append(e + step_weight * s)
    return {name: np.asarray(values) for name, values in out.items()}


def hgpo_reference(
    rollouts: Rollouts,
    *,
    K: int = 2,
    gamma: float = 0.95,
    alpha: float = 1.0,
    weights: str = "code",
    normalize: str = "mean_std",
    ddof: int = 0,
    eps: float = 1e-6,
    zero_levels: str = "drop",
    base_group: bool = False,
    penalty: float = 0.0,
    fault: str = "",
) -> Columns:
    """HGPO with dicts and loops."""
    rows = scored(rollouts, gamma, penalty, fault)
    scale = normalize == "mean_std"
    ddof = 1 - ddof if fault == "ddof" else ddof
    lowest = 1 if fault == "level index" else 2
    keys: dict[tuple[int, tuple[int, ...]], list[float]] = {}
    episode: dict[int, list[float]] = {}
    for row in rows:
        if not row["live"]:
            continue
        episode.setdefault(row["group"], []).append(row["episode"])
        for length in range(1, K + 2):
            if fault == "short windows" or len(row["seen"]) >= length:
                window = row["seen"] if fault == "whole history" and length > 1 else row["seen"][-length:]
                keys.setdefault((row["group"] * (K + 2) + length, window), []).append(row["score"])
    out: dict[str, list[float]] = {"advantage": [], "levels": []}
    for row in rows:
        levels: list[tuple[float, float]] = []
        if row["live"] and base_group:
            levels.append((1.0, normal(row["episode"], episode[row["group"]], scale, 1, eps, "raw")))
        for length in range(1, K + 2) if row["live"] else ():
            window = row["seen"] if fault == "whole history" and length > 1 else row["seen"][-length:]
            if len(row["seen"]) < length and fault != "short windows":
                continue
            members = keys[(row["group"] * (K + 2) + length, window)]
            base = length + (lowest - 1 if weights == "code" else 0)
            if len(members) > 1 or fault == "singletons kept":
                levels.append((base**alpha, normal(row["score"], members, scale, ddof, eps, "zero")))
        if zero_levels == "drop" and fault not in ("zeros kept", "singletons kept"):
            levels = [(v, a) for v, a in levels if abs(a) > 1e-10]
        mass = sum(v for v, _ in levels) + (eps if weights == "code" else 0.0)
        out["advantage"].append(sum(v * a for v, a in levels) / mass if levels else 0.0)
        out["levels"].append(len(levels))
    return {name: np.asarray(values) for name, values in out.items()}


def per_batch(rollouts: Rollouts, spec: Any, **overrides: Any) -> np.ndarray:
    """Advantages computed batch by batch, in the order of rows."""
    out = np.full(rollouts.n_rows, np.nan)
    for b in range(rollouts.n_batches):
        out[rollouts.batch_rows == b] = columns_of(rollouts.take(rollouts.batch == b), spec, **overrides)["advantage"]
    return out
