"""Losses on random ragged shapes against autograd, and the mutation score of that comparison."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_cases import COLUMNS, Case, by_autograd, columns_of, with_steps
from mutants import Place, arithmetic, mutant

from creditsim.updates import kl
from creditsim.updates.losses import (
    AGGREGATIONS,
    LOSSES,
    base,
    blended,
    clipped,
    loss_and_derivative,
    score,
    steps,
    terms,
)
from creditsim.updates.losses.base import STEP_AGGREGATIONS

SHARE = 0.9
SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("ppo", {"clip_low": 0.2, "clip_high": 0.28, "dual_clip": 1.5, "log_ratio_limit": 0.7}),
    ("ppo", {"clip_low": 0.1, "clip_high": 0.3, "dual_clip": None}),
    ("gspo", {"clip_low": 0.05, "clip_high": 0.1}),
    ("cispo", {"clip_low": 0.3, "clip_high": 0.2}),
    ("cispo", {"clip_low": None, "clip_high": 0.5}),
    ("reinforce", {}),
    ("gpg", {}),
    ("sequence_ppo", {"clip_low": 0.3, "clip_high": 0.5, "dual_clip": 1.5, "log_ratio_limit": 1.0}),
    ("step_ppo", {"clip_low": 0.1, "clip_high": 0.2}),
    ("turn_clip", {"clip_low": 0.1, "clip_high": 0.2}),
    ("blended", {"clip_low": 0.2, "clip_high": 0.28, "dual_clip": 1.5}),
]


def norm_of(aggregation: str) -> float | None:
    return 7.0 if aggregation.endswith("norm") else None


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[Case], list[int]]:
    """Up to three batches of up to four sequences of 1 to 6 rows, with rows of any weight; and an order of batches."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    cases: list[Case] = []
    for _ in range(draw(st.integers(1, 3))):
        lengths = np.array(draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
        m = int(lengths.sum())
        old = -rng.uniform(0.1, 3.0, m)
        weight = rng.choice([0.0, 0.25, 1.0], m) if draw(st.booleans()) else np.ones(m)
        weight[0] = max(weight[0], 0.25)
        cases.append(
            {
                "log_prob": old + 0.6 * rng.normal(size=m),
                "old_log_prob": old,
                "advantage": rng.normal(size=m) * rng.choice([0.0, 1.0], m, p=[0.1, 0.9]),
                "offsets": np.concatenate([[0], np.cumsum(lengths)]),
                "weight": weight,
                **with_steps(rng, lengths),
            }
        )
    return cases, draw(st.permutations(range(len(cases))))


def apart(name: str, options: dict[str, Any], aggregation: str, cases: list[Case], order: list[int]) -> float:
    """Largest difference of value or derivative to autograd, all batches in one call."""
    cases = [cases[i] for i in order]
    names = ("log_prob", "old_log_prob", "advantage", "weight", *COLUMNS)
    joined = {k: np.concatenate([c[k] for c in cases]) for k in names}
    lengths = [np.diff(c["offsets"]) for c in cases]
    # The sequence ratio has one aggregation.
    how = {} if name == "sequence_ppo" else {"aggregation": aggregation, "norm": norm_of(aggregation)}
    aggregation = how.get("aggregation", "seq-mean-token-mean")
    got = loss_and_derivative(
        name, joined["log_prob"], joined["old_log_prob"], joined["advantage"],
        np.concatenate([[0], np.cumsum(np.concatenate(lengths))]), joined["weight"],
        np.repeat(np.arange(len(cases)), [len(n) for n in lengths]), columns_of(joined), **how, **options,
    )  # fmt: skip
    worst, at = 0.0, 0
    for b, case in enumerate(cases):
        value, slope = by_autograd(name, case, options, aggregation, norm_of(aggregation))
        m = slope.size
        off = np.append(np.abs(got.derivative[at : at + m] - slope), abs(float(got.value[b]) - value))
        worst = max(worst, float(off.max()) if np.isfinite(off).all() else np.inf)
        at += m
    return worst


@settings(max_examples=60)
@given(batches(), st.sampled_from(SETTINGS), st.sampled_from(AGGREGATIONS))
def test_any_ragged_batches_equal_autograd(
    given_batches: tuple[list[Case], list[int]], setting: tuple[str, dict[str, Any]], aggregation: str
) -> None:
    assert apart(*setting, aggregation, *given_batches) < 1e-12


@settings(max_examples=40)
@given(st.lists(st.floats(-9.0, 9.0), min_size=1, max_size=9), st.sampled_from(["k1", "abs", "k2", "k3"]))
def test_kl_penalties_equal_autograd(differences: list[float], kind: str) -> None:
    logp = torch.tensor(differences, dtype=torch.float64, requires_grad=True)
    terms = {
        "k1": lambda d: d,
        "abs": lambda d: d.abs(),
        "k2": lambda d: d * d / 2,
        "k3": lambda d: torch.clamp(torch.exp(-d) + d - 1, max=10.0),
    }
    term = terms[kind](logp)
    term.sum().backward()
    assert logp.grad is not None
    value, slope = kl.kl_estimate(np.array(differences), np.zeros(len(differences)), kind)
    np.testing.assert_allclose(value, term.detach().numpy(), rtol=1e-12, atol=1e-12)
    edge = (kind == "abs") & (np.array(differences) == 0)
    np.testing.assert_allclose(slope[~edge], logp.grad.numpy()[~edge], rtol=1e-12, atol=1e-12)


def fixed_batches() -> list[list[Case]]:
    """Three draws that together reach every clip, both signs and sequences without weight."""
    out = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        cases: list[Case] = []
        for _ in range(2):
            lengths = rng.integers(1, 5, 4)
            m = int(lengths.sum())
            old, weight = -rng.uniform(0.1, 3.0, m), rng.choice([0.0, 0.5, 1.0], m)
            weight[: lengths[0]] = 0.0
            weight[-1] = 1.0
            cases.append(
                {
                    "log_prob": old + rng.normal(size=m),
                    "old_log_prob": old,
                    "advantage": rng.normal(size=m),
                    "offsets": np.concatenate([[0], np.cumsum(lengths)]),
                    "weight": weight,
                    **with_steps(rng, lengths),
                }
            )
        out.append(cases)
    return out


FIXED = fixed_batches()


def metrics_hold(cases: list[Case]) -> bool:
    """Metrics row by row from their words: weighted shares of clipped rows, mean of old - new."""
    c = cases[0]
    got = loss_and_derivative(
        "ppo", c["log_prob"], c["old_log_prob"], c["advantage"], c["offsets"], c["weight"], dual_clip=1.5
    ).metrics
    w, ratio, a = c["weight"], np.exp(c["log_prob"] - c["old_log_prob"]), c["advantage"]
    cut = -a * np.clip(ratio, 0.8, 1.2) > -a * ratio
    lower = (a < 0) & (np.maximum(-a * ratio, -a * np.clip(ratio, 0.8, 1.2)) > -a * 1.5)
    wanted = {"ppo_kl": c["old_log_prob"] - c["log_prob"], "clip_fraction": cut, "clip_fraction_lower": lower}
    ok = all(abs(got[name] - (w * x).sum() / w.sum()) < 1e-12 for name, x in wanted.items())
    sequence = loss_and_derivative("gspo", c["log_prob"], c["old_log_prob"], a, c["offsets"], w).metrics
    held = loss_and_derivative("cispo", c["log_prob"], c["old_log_prob"], a, c["offsets"], w, clip_high=0.1).metrics
    plain = loss_and_derivative("gpg", c["log_prob"], c["old_log_prob"], a, c["offsets"], w).metrics
    difference = (w * (c["old_log_prob"] - c["log_prob"])).sum() / w.sum()
    ok &= all(abs(m["ppo_kl"] - difference) < 1e-12 for m in (sequence, held, plain))
    means = [np.average(np.log(ratio[x:y]), weights=w[x:y]) if w[x:y].sum() else 0.0 for x, y in spans(c)]
    s = np.exp(np.repeat(means, np.diff(c["offsets"])))
    cut = -a * np.clip(s, 1 - 3e-4, 1 + 4e-4) > -a * s
    ok &= abs(sequence["clip_fraction"] - (w * cut).sum() / w.sum()) < 1e-12
    return ok and abs(held["clip_fraction"] - (w * (ratio > 1.1)).sum() / w.sum()) < 1e-12


def nothing_holds() -> bool:
    """A batch whose rows weigh nothing has loss, derivative and metrics 0."""
    c = FIXED[0][0]
    rows = (c["log_prob"], c["old_log_prob"], c["advantage"], c["offsets"], np.zeros_like(c["weight"]))
    results = [loss_and_derivative("ppo", *rows, aggregation=a, norm=norm_of(a)) for a in AGGREGATIONS]
    results.append(loss_and_derivative("gspo", *rows))
    return all(r.value == 0 and (r.derivative == 0).all() and set(r.metrics.values()) == {0.0} for r in results)


def spans(case: Case) -> list[tuple[int, int]]:
    return list(zip(case["offsets"][:-1].tolist(), case["offsets"][1:].tolist(), strict=True))


EVERY = {"ppo": AGGREGATIONS, "step_ppo": STEP_AGGREGATIONS}
"""Losses that are compared under each of their aggregations; one is enough for the others."""


def holds() -> bool:
    """Whether values, derivatives and metrics are right; an error of any kind is a no."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return (
                all(
                    apart(name, options, aggregation, cases, [0, 1]) < 1e-9
                    for cases in FIXED
                    for name, options in SETTINGS
                    for aggregation in EVERY.get(name, AGGREGATIONS[:1])
                )
                and all(map(metrics_hold, FIXED))
                and nothing_holds()
            )
    except Exception:
        return False


@contextmanager
def changed(module: ModuleType, make: Callable[[], ModuleType]) -> Iterator[None]:
    """Put a changed module's losses, or the changed `Rows`, in the place of the library's for a while."""
    functions: dict[str, Any] = {}

    def keep(name: str, **_: Any) -> Callable[[Any], Any]:
        return lambda function: functions.setdefault(name, function)

    real, parts = base.loss, {part.name: part for part in LOSSES}
    base.loss = keep
    try:
        made = make()
    finally:
        base.loss = real
    # Names that loss modules have imported from the changed one.
    shared: dict[Any, dict[str, Any]] = {
        home: {
            name: getattr(made, name) for name in vars(home) if home is not module and name in SHARED.get(module, ())
        }
        for home in (clipped, score, steps, blended)
    }
    before = {home: {name: getattr(home, name) for name in names} for home, names in shared.items()}
    for home, values in shared.items():
        vars(home).update(values)
    LOSSES._parts.update({name: replace(parts[name], function=function) for name, function in functions.items()})
    try:
        yield
    finally:
        LOSSES._parts.update({name: parts[name] for name in functions})
        for home, values in before.items():
            vars(home).update(values)


SHARED = {base: ("Rows",), terms: ("clipped", "row_ratio", "unit_ratio")}
MODULES = {"clipped": clipped, "score": score, "steps": steps, "blended": blended, "terms": terms, "base": base}


@pytest.mark.parametrize("name", MODULES)
def test_exchanged_operators_are_noticed(name: str) -> None:
    module = MODULES[name]
    with changed(module, lambda: mutant(module)):
        assert holds(), "a file run again is the same file"
    places = [place for place in arithmetic(module) if "presets" not in place.text]
    survivors: list[Place] = []
    for place in places:
        with changed(module, place.mutant):
            if holds():
                survivors.append(place)
    assert len(survivors) <= (1 - SHARE) * len(places) + 0.5, "\n".join(map(str, survivors))
    assert holds(), "the library's own losses are back"
