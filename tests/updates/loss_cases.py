"""Ragged log-probabilities and the same losses written with torch, for autograd."""

from __future__ import annotations

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
    return {
        "log_prob": old + spread * rng.normal(size=m),
        "old_log_prob": old,
        "advantage": np.repeat(rng.normal(size=sequences), lengths) if constant else rng.normal(size=m),
        "offsets": np.concatenate([[0], np.cumsum(lengths)]),
        "weight": weight,
    }


def aggregated(term: torch.Tensor, case: Case, aggregation: str, norm: float | None) -> torch.Tensor:
    """Aggregate row losses sequence by sequence, from the words of the definition."""
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
    if name == "gspo":
        w = torch.from_numpy(case["weight"])
        parts = []
        for x, y in zip(case["offsets"][:-1].tolist(), case["offsets"][1:].tolist(), strict=True):
            size = w[x:y].sum() if w[x:y].sum() > 0 else torch.ones((), dtype=torch.float64)
            mean = (w[x:y] * log_ratio[x:y]).sum() / size
            mean = log_ratio[x:y].sum() if fault == "sum for mean" else mean
            parts.append(logp[x:y] - logp[x:y].detach() + mean.detach())
        ratio = torch.exp(torch.clamp(torch.cat(parts), max=10.0))
    else:
        ratio = torch.exp(
            torch.clamp(log_ratio, -options.get("log_ratio_limit", 20.0), options.get("log_ratio_limit", 20.0))
        )
    term = torch.maximum(-a * ratio, -a * torch.clamp(ratio, 1 - low, 1 + high))
    dual = options.get("dual_clip")
    if dual is not None and fault != "no dual clip":
        term = torch.where(a < 0, torch.minimum(term, -a * dual), term)
    return term


def by_autograd(
    name: str, case: Case, options: dict[str, Any], aggregation: str, norm: float | None, fault: str = ""
) -> tuple[float, np.ndarray]:
    """Value and derivative of a loss by torch's autograd."""
    logp = torch.tensor(case["log_prob"], requires_grad=True)
    value = aggregated(row_terms(name, logp, case, options, fault), case, aggregation, norm)
    value.backward()
    assert logp.grad is not None
    return float(value.detach()), logp.grad.numpy()
