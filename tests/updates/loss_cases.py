"""Ragged log-probabilities and the same losses written with torch, for autograd."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch

Case = dict[str, np.ndarray]


def case(seed: int, *, sequences: int = 5, spread: float = 0.6, constant: bool = False, holes: bool = False) -> Case:
    """Ragged sequences; advantage constant over a sequence on request; `holes` sets weights, some 0, some not 1."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 6, size=sequences)
    m = int(lengths.sum())
    old = -rng.uniform(0.1, 3.0, size=m)
    weight = rng.choice([0.0, 0.5, 1.0], size=m) if holes else np.ones(m)
    if holes:
        weight[: lengths[0]] = 0.0
    extra = with_steps(np.random.default_rng(seed + 1), lengths)
    return {
        **extra,
        "log_prob": old + spread * rng.normal(size=m),
        "old_log_prob": old,
        "advantage": np.repeat(rng.normal(size=sequences), lengths) if constant else rng.normal(size=m),
        "offsets": np.concatenate([[0], np.cumsum(lengths)]),
        "weight": weight,
    }


COLUMNS = ("step", "clip_scale", "global_advantage", "blend")


def with_steps(rng: np.random.Generator, lengths: np.ndarray) -> Case:
    """Columns that some losses need: steps of one or more rows, numbered from 0 in each sequence or with gaps."""
    m = int(lengths.sum())
    return {
        "step": np.concatenate([[], *(np.cumsum(rng.integers(0, 3, n)) for n in lengths)]).astype(np.int64),
        "clip_scale": rng.uniform(0.7, 1.3, m),
        "global_advantage": rng.normal(size=m),
        "blend": rng.choice([0.0, 0.3, 0.8, 1.0], size=m),
    }


def columns_of(case: Case) -> Case:
    """The columns of a case that some losses need."""
    return {name: case[name] for name in COLUMNS if name in case}


def sequences(case: Case) -> list[list[int]]:
    """The rows of each sequence."""
    cuts = case["offsets"].tolist()
    return [list(range(a, b)) for a, b in pairwise(cuts)]


def steps(case: Case) -> list[list[list[int]]]:
    """The rows of each step of each sequence: runs of equal `step`, found one row after another."""
    out: list[list[list[int]]] = []
    for rows in sequences(case):
        runs: list[list[int]] = []
        for i in rows:
            if runs and case["step"][runs[-1][-1]] == case["step"][i]:
                runs[-1].append(i)
            else:
                runs.append([i])
        out.append(runs)
    return out


def step_means(term: torch.Tensor, case: Case) -> list[list[torch.Tensor]]:
    """Weighted mean of each step that weighs something, by sequence."""
    w = torch.from_numpy(case["weight"])
    return [
        [(w[rows] * term[rows]).sum() / w[rows].sum() for rows in runs if w[rows].sum() > 0] for runs in steps(case)
    ]


def aggregated(term: torch.Tensor, case: Case, aggregation: str, norm: float | None) -> torch.Tensor:
    """Aggregate row losses sequence by sequence, from the words of the definition."""
    if aggregation in ("step-mean", "seq-mean-step-mean"):
        means = [each for each in step_means(term, case) if each]
        if aggregation == "step-mean":
            return torch.stack([x for each in means for x in each]).mean()
        return torch.stack([torch.stack(each).mean() for each in means]).mean()
    w = torch.from_numpy(case["weight"])
    cuts = list(zip(case["offsets"][:-1].tolist(), case["offsets"][1:].tolist(), strict=True))
    sums = [(w[a:b] * term[a:b]).sum() for a, b in cuts if w[a:b].sum() > 0]
    sizes = [w[a:b].sum() for a, b in cuts if w[a:b].sum() > 0]
    total = torch.stack(sums)
    if aggregation == "token-mean":
        return total.sum() / torch.stack(sizes).sum()
    if aggregation == "seq-mean-token-sum":
        return total.mean()
    if aggregation == "seq-mean-token-mean":
        return (total / torch.stack(sizes)).mean()
    assert norm is not None
    return total.mean() / norm if aggregation == "seq-mean-token-norm" else total.sum() / norm


def row_terms(name: str, logp: torch.Tensor, case: Case, options: dict[str, Any], fault: str = "") -> torch.Tensor:
    """The losses of the rows with torch operations."""
    old, a = torch.from_numpy(case["old_log_prob"]), torch.from_numpy(case["advantage"])
    a = -a if fault == "sign" else a
    if name in ("reinforce", "gpg"):
        return -a * logp
    log_ratio = logp - old
    low, high = options.get("clip_low", 0.2), options.get("clip_high", 0.2)
    if fault == "symmetric clip":
        high = low
    if name == "cispo":
        held = torch.clamp(torch.exp(log_ratio), 0.0 if low is None else 1 - low, 1 + high)
        return -(held if fault == "ratio not held" else held.detach()) * a * logp
    if name in ("step_ppo", "turn_clip"):
        units = sequences(case) if fault == "sequence for step" else [rows for runs in steps(case) for rows in runs]
        ratio = torch.exp(torch.clamp(geometric(units, logp, log_ratio, case, fault), max=10.0))
        if name == "turn_clip" and fault != "plain clip":
            scale = torch.from_numpy(case["clip_scale"])
            low, high = low * scale, high * scale
    elif name == "sequence_ppo":
        w = torch.from_numpy(case["weight"])
        log_s = torch.cat([(w[rows] * log_ratio[rows]).sum().expand(len(rows)) for rows in sequences(case)])
        if fault == "own row":
            log_s = log_s.detach() + logp - logp.detach()
        limit = options.get("log_ratio_limit", 20.0)
        ratio = torch.exp(torch.clamp(log_s, -limit, limit))
    elif name == "gspo":
        ratio = torch.exp(torch.clamp(geometric(sequences(case), logp, log_ratio, case, fault), max=10.0))
    else:
        ratio = torch.exp(
            torch.clamp(log_ratio, -options.get("log_ratio_limit", 20.0), options.get("log_ratio_limit", 20.0))
        )
    dual = None if fault == "no dual clip" else options.get("dual_clip")

    def cut(a: torch.Tensor) -> torch.Tensor:
        one = torch.ones_like(a)
        held = torch.minimum(torch.maximum(ratio, (1 - low) * one), (1 + high) * one)
        term = torch.maximum(-a * ratio, -a * held)
        return term if dual is None else torch.where(a < 0, torch.minimum(term, -a * dual), term)

    if name != "blended":
        return cut(a)
    blend, other = torch.from_numpy(case["blend"]), torch.from_numpy(case["global_advantage"])
    if fault == "advantages blended first":
        return cut(blend * a + (1 - blend) * other)
    return blend * cut(a) + (1 - blend) * cut(other)


def geometric(
    units: list[list[int]], logp: torch.Tensor, log_ratio: torch.Tensor, case: Case, fault: str
) -> torch.Tensor:
    """Log of each unit's geometric mean of ratios, its gradient through each row's own log-probability."""
    w = torch.from_numpy(case["weight"])
    parts = []
    for rows in units:
        size = w[rows].sum() if w[rows].sum() > 0 else torch.ones((), dtype=torch.float64)
        total = log_ratio[rows].sum() if fault == "sum for mean" else (w[rows] * log_ratio[rows]).sum() / size
        parts.append(logp[rows] - logp[rows].detach() + total.detach())
    return torch.cat(parts)


def by_autograd(
    name: str, case: Case, options: dict[str, Any], aggregation: str, norm: float | None, fault: str = ""
) -> tuple[float, np.ndarray]:
    """Value and derivative of a loss by torch's autograd."""
    logp = torch.tensor(case["log_prob"], requires_grad=True)
    value = aggregated(row_terms(name, logp, case, options, fault), case, aggregation, norm)
    value.backward()
    assert logp.grad is not None
    return float(value.detach()), logp.grad.numpy()
