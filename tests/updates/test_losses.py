from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_cases import Case, by_autograd, case, columns_of

from creditsim.errors import InputError, UnknownNameError
from creditsim.updates.losses import AGGREGATIONS, LOSSES, LossResult, loss_and_derivative

SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("ppo", {"clip_low": 0.2, "clip_high": 0.2, "dual_clip": None}),
    ("ppo", {"clip_low": 0.2, "clip_high": 0.28, "dual_clip": 1.5}),
    ("ppo", {"clip_low": 0.1, "clip_high": 0.5, "dual_clip": 3.0, "log_ratio_limit": 0.5}),
    ("gspo", {"clip_low": 3e-4, "clip_high": 4e-4}),
    ("gspo", {"clip_low": 0.2, "clip_high": 0.3}),
    ("cispo", {"clip_low": None, "clip_high": 0.5}),
    ("cispo", {"clip_low": 0.3, "clip_high": 0.2}),
    ("reinforce", {}),
    ("gpg", {}),
]


def evaluate(spec: str, c: Case, **options: Any) -> LossResult:
    rows = (c["log_prob"], c["old_log_prob"], c["advantage"], c["offsets"], c["weight"])
    return loss_and_derivative(spec, *rows, columns=columns_of(c), **options)


def norm_of(aggregation: str) -> float | None:
    return 7.0 if aggregation.endswith("norm") else None


def apart(name: str, c: Case, options: dict[str, Any], aggregation: str, fault: str = "") -> float:
    got = evaluate(name, c, aggregation=aggregation, norm=norm_of(aggregation), **options)
    value, slope = by_autograd(name, c, options, aggregation, norm_of(aggregation), fault)
    return max(abs(got.value - value), float(np.abs(got.derivative - slope).max()))


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize(("name", "options"), SETTINGS, ids=str)
def test_equals_autograd(name: str, options: dict[str, Any], aggregation: str) -> None:
    for seed in range(4):
        for holes in (False, True):
            assert apart(name, case(seed, holes=holes), options, aggregation) < 1e-12


@pytest.mark.parametrize(
    ("name", "options", "fault"),
    [
        ("ppo", {"clip_low": 0.2, "clip_high": 0.28, "dual_clip": None}, "symmetric clip"),
        ("ppo", {"clip_low": 0.2, "clip_high": 0.2, "dual_clip": 1.5}, "no dual clip"),
        ("ppo", {"clip_low": 0.2, "clip_high": 0.2, "dual_clip": None}, "sign"),
        ("gspo", {"clip_low": 0.2, "clip_high": 0.3}, "sum for mean"),
        ("cispo", {"clip_low": None, "clip_high": 0.5}, "ratio not held"),
        ("reinforce", {}, "sign"),
    ],
)
def test_the_comparison_rejects_broken_twins(name: str, options: dict[str, Any], fault: str) -> None:
    assert max(apart(name, case(seed), options, "token-mean", fault) for seed in range(4)) > 1e-3


def numeric(f: Callable[[np.ndarray], float], x: np.ndarray, h: float = 1e-6) -> np.ndarray:
    steps = np.eye(x.size) * h
    return np.asarray([(f(x + e) - f(x - e)) / (2 * h) for e in steps])


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.sampled_from(AGGREGATIONS), st.sampled_from(SETTINGS[:5]))
def test_equals_central_differences(seed: int, aggregation: str, setting: tuple[str, dict[str, Any]]) -> None:
    """Away from the kinks, which random rows miss by more than the step; GSPO with A constant over sequences."""
    name, options = setting
    c = case(seed, constant=True, holes=seed % 2 == 0)
    arguments = {"aggregation": aggregation, "norm": norm_of(aggregation), **options}
    if name == "gspo":
        # Only where the weights of a sequence are equal is the rows' own slope that of the sequence's mean.
        c["weight"] = np.ones_like(c["weight"])
    slope = numeric(lambda x: evaluate(name, {**c, "log_prob": x}, **arguments).value, c["log_prob"])
    assert np.abs(evaluate(name, c, **arguments).derivative - slope).max() < 1e-7


@pytest.mark.parametrize("name", ["reinforce", "gpg"])
def test_score_losses_have_slope_minus_the_advantage(name: str) -> None:
    c = case(2)
    got = evaluate(name, c, aggregation="seq-mean-token-sum")
    assert got.derivative == pytest.approx(-c["advantage"] / 5, abs=1e-15)
    assert got.value == pytest.approx(-(c["advantage"] * c["log_prob"]).sum() / 5, abs=1e-14)


def test_gspo_slope_is_the_sequence_ratio() -> None:
    c = case(3, spread=0.05, constant=True)
    got = evaluate("gspo", c, clip_low=0.9, clip_high=9.0).derivative
    for a, b in zip(c["offsets"][:-1], c["offsets"][1:], strict=True):
        s = np.exp((c["log_prob"] - c["old_log_prob"])[a:b].mean())
        assert got[a:b] == pytest.approx(-c["advantage"][a:b] * s / (5 * (b - a)), abs=1e-14)
    # Broken twin: the ratio of each token.
    token = -c["advantage"] * np.exp(c["log_prob"] - c["old_log_prob"])
    assert np.abs(got * 5 * np.repeat(np.diff(c["offsets"]), np.diff(c["offsets"])) - token).max() > 1e-3


def rows(ratio: list[float], advantage: list[float]) -> Case:
    m = len(ratio)
    return {
        "log_prob": np.log(ratio),
        "old_log_prob": np.zeros(m),
        "advantage": np.asarray(advantage),
        "offsets": np.arange(m + 1),
        "weight": np.ones(m),
    }


def test_clip_by_hand() -> None:
    c = rows([1.5, 0.5, 1.5, 0.5, 4.0, 1.0], [1.0, 1.0, -1.0, -1.0, -2.0, 0.0])
    got = evaluate("ppo@verl", c, aggregation="seq-mean-token-sum-norm", norm=1.0)
    # Terms: -1.2 cut; -0.5; 1.5; 0.8 cut; 8 cut to 6 by the dual clip; 0.
    assert got.value == pytest.approx(-1.2 - 0.5 + 1.5 + 0.8 + 6.0, abs=1e-14)
    assert got.derivative == pytest.approx([0.0, -0.5, 1.5, 0.0, 0.0, 0.0], abs=1e-15)
    assert got.metrics["clip_fraction"] == pytest.approx(2 / 6, abs=1e-15)
    assert got.metrics["clip_fraction_lower"] == pytest.approx(1 / 6, abs=1e-15)
    assert got.metrics["ppo_kl"] == pytest.approx(-np.log([1.5, 0.5, 1.5, 0.5, 4.0, 1.0]).mean(), abs=1e-15)
    free = evaluate("ppo@paper", c, aggregation="seq-mean-token-sum-norm", norm=1.0)
    assert free.derivative[4] == pytest.approx(8.0, abs=1e-14)
    higher = evaluate("ppo@dapo", rows([1.25], [1.0]))
    assert higher.derivative == pytest.approx([-1.25], abs=1e-15)
    assert evaluate("ppo@paper", rows([1.25], [1.0])).derivative.tolist() == [0.0]


def test_the_boundary_belongs_to_the_plain_side() -> None:
    c = rows([1.5, 0.5, 2.0], [1.0, -1.0, -1.0])
    c["log_prob"] = np.log([1.5, 0.5, 2.0])
    ratio = np.exp(c["log_prob"])
    got = evaluate(
        "ppo",
        c,
        clip_low=1.0 - ratio[1],
        clip_high=ratio[0] - 1.0,
        dual_clip=ratio[2],
        aggregation="seq-mean-token-sum",
    )
    assert got.derivative == pytest.approx([-0.5, 0.5 / 3, 2.0 / 3], abs=1e-15)
    assert got.metrics["clip_fraction"] == 0.0 and got.metrics["clip_fraction_lower"] == 0.0


@pytest.mark.parametrize("name", ["ppo", "ppo@trl-grpo", "gspo", "cispo", "cispo@trl", "reinforce"])
@pytest.mark.parametrize("size", [30.0, 1e3, 1e6])
def test_huge_ratios_stay_finite(name: str, size: float) -> None:
    c = rows([1.0, 1.0, 1.0, 1.0], [1.0, -1.0, 0.0, 1.0])
    c["log_prob"] = np.array([size, size, size, -size])
    got = evaluate(name, c)
    assert np.isfinite(got.value) and np.isfinite(got.derivative).all()
    if name == "ppo":
        # Beyond +-20 the log-ratio is cut and passes no gradient.
        assert got.derivative.tolist() == [0.0] * 4


def test_cispo_keeps_every_gradient() -> None:
    c = rows([9.0, 0.1, 1.0], [1.0, 1.0, -1.0])
    got = evaluate("cispo", c, clip_high=1.0)
    assert got.derivative == pytest.approx([-2.0 / 3, -0.1 / 3, 1.0 / 3], abs=1e-15)
    assert got.metrics["clip_fraction"] == pytest.approx(1 / 3, abs=1e-15)


def test_aggregations_by_hand() -> None:
    # Lengths 1 and 3; -A logp with logp = -1: losses 6 and 1, 2, 3; the last row weighs nothing.
    c = {
        "log_prob": np.full(4, -1.0),
        "old_log_prob": np.full(4, -1.0),
        "advantage": np.array([6.0, 1.0, 2.0, 3.0]),
        "offsets": np.array([0, 1, 4]),
        "weight": np.array([1.0, 1.0, 1.0, 0.0]),
    }
    want = {
        "token-mean": 3.0,
        "seq-mean-token-sum": 4.5,
        "seq-mean-token-mean": 3.75,
        "seq-mean-token-norm": 4.5 / 7,
        "seq-mean-token-sum-norm": 9.0 / 7,
    }
    for aggregation, value in want.items():
        got = evaluate("gpg", c, aggregation=aggregation, norm=norm_of(aggregation))
        assert got.value == pytest.approx(value, abs=1e-14)
        assert got.derivative[3] == 0.0


def test_nothing_weighs_anything() -> None:
    c = case(1)
    c["weight"] = np.zeros_like(c["weight"])
    for aggregation in AGGREGATIONS:
        got = evaluate("ppo", c, aggregation=aggregation, norm=norm_of(aggregation))
        assert got.value == 0.0 and not got.derivative.any() and got.metrics["clip_fraction"] == 0.0


def test_no_rows_at_all() -> None:
    none = np.zeros(0)
    got = loss_and_derivative("ppo", none, none, none, np.zeros(1, np.int64), None, np.zeros(0, np.int64))
    assert got.value.tolist() == [0.0] and got.derivative.shape == (0,)


def test_batches_may_be_missing() -> None:
    got = loss_and_derivative(
        "gpg", np.full(2, -1.0), np.zeros(2), np.ones(2), np.array([0, 1, 2]), None, np.array([0, 2])
    )
    assert got.value.tolist() == [1.0, 0.0, 1.0]


def test_rows_of_weight_zero_are_as_if_they_were_not_there() -> None:
    c = case(4, holes=True)
    c["weight"] = (c["weight"] > 0).astype(float)
    keep = c["weight"] > 0
    offsets = np.unique(np.concatenate([[0], np.cumsum(keep)])[c["offsets"]])
    packed = {name: c[name][keep] for name in ("log_prob", "old_log_prob", "advantage", "weight")} | {
        "offsets": offsets
    }
    for name, aggregation in [(n, a) for n in ("ppo", "gspo", "cispo") for a in AGGREGATIONS]:
        a = evaluate(name, c, aggregation=aggregation, norm=norm_of(aggregation))
        b = evaluate(name, packed, aggregation=aggregation, norm=norm_of(aggregation))
        assert a.value == pytest.approx(b.value, abs=1e-14)
        assert a.derivative[keep] == pytest.approx(b.derivative, abs=1e-14)
        assert not a.derivative[~keep].any()
        assert a.metrics == pytest.approx(b.metrics, abs=1e-14)


@pytest.mark.parametrize("name", ["ppo", "gspo", "cispo", "reinforce", "gpg"])
def test_many_batches_are_one_by_one(name: str) -> None:
    parts = [case(seed, sequences=4) for seed in range(3)]
    joined = {k: np.concatenate([p[k] for p in parts]) for k in ("log_prob", "old_log_prob", "advantage", "weight")}
    lengths = np.concatenate([np.diff(p["offsets"]) for p in parts])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    for aggregation in AGGREGATIONS:
        options = {"aggregation": aggregation, "norm": norm_of(aggregation)}
        whole = loss_and_derivative(
            name,
            joined["log_prob"],
            joined["old_log_prob"],
            joined["advantage"],
            offsets,
            joined["weight"],
            np.repeat(np.arange(3), 4),
            **options,
        )
        alone = [evaluate(name, p, **options) for p in parts]
        assert whole.value == pytest.approx([r.value for r in alone], abs=1e-14)
        assert whole.derivative == pytest.approx(np.concatenate([r.derivative for r in alone]), abs=1e-15)
        assert whole.metrics["ppo_kl"] == pytest.approx([r.metrics["ppo_kl"] for r in alone], abs=1e-14)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", ["ppo", "gspo", "cispo", "reinforce", "gpg"])
def test_torch_in_torch_out(name: str, dtype: torch.dtype) -> None:
    c = case(5, holes=True)
    there = {k: torch.from_numpy(v).to(dtype) if k != "offsets" else torch.from_numpy(v) for k, v in c.items()}
    got = loss_and_derivative(
        name,
        there["log_prob"].requires_grad_(),
        there["old_log_prob"],
        there["advantage"],
        there["offsets"],
        there["weight"],
    )
    here = evaluate(name, c)
    assert isinstance(got.derivative, torch.Tensor) and got.derivative.dtype == dtype
    exact = dtype == torch.float64
    assert got.value == (here.value if exact else pytest.approx(here.value, abs=1e-6))
    assert np.abs(got.derivative.numpy() - here.derivative).max() <= (0.0 if exact else 1e-6)


def test_every_preset_is_evaluated() -> None:
    c = case(6)
    for part in LOSSES:
        for preset in part.presets:
            bound = part.bind(preset)
            options = {"norm": 5.0} if str(bound.params.get("aggregation")).endswith("norm") else {}
            got = evaluate(bound.label, c, **options)
            assert np.isfinite(got.value) and got.derivative.shape == c["log_prob"].shape


@pytest.mark.parametrize(
    ("name", "options", "kind", "says"),
    [
        ("pppo", {}, UnknownNameError, "nearest: ppo"),
        ("ppo@verl-agnet", {}, UnknownNameError, "verl-agent"),
        ("ppo", {"clip_hi": 0.2}, UnknownNameError, "clip_high"),
        ("ppo", {"aggregation": "token-men"}, UnknownNameError, "token-mean"),
        ("ppo", {"clip_low": -0.1}, InputError, "clip_low"),
        ("ppo", {"clip_high": -0.1}, InputError, "clip_high"),
        ("ppo", {"dual_clip": 0.5}, InputError, "dual_clip"),
        ("ppo", {"log_ratio_limit": 1e4}, InputError, "log_ratio_limit"),
        ("ppo@dr-grpo", {}, InputError, "norm"),
        ("ppo", {"norm": 5.0}, InputError, "norm"),
        ("gspo", {"log_ratio_limit": 0.0}, InputError, "log_ratio_limit"),
        ("cispo", {"clip_low": 2.0}, InputError, "clip_low"),
    ],
)
def test_bad_parameters_are_one_line(name: str, options: dict[str, Any], kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says) as caught:
        evaluate(name, case(0), **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", ["old_log_prob", "advantage", "offsets", "weight"])
def test_shapes_that_do_not_fit_are_one_line(field: str) -> None:
    c = case(0)
    c[field] = c[field][:-1]
    with pytest.raises(InputError, match=field):
        evaluate("ppo", c)


def test_negative_weights_and_wrong_batches() -> None:
    c = case(0)
    with pytest.raises(InputError, match="weight"):
        evaluate("ppo", {**c, "weight": -c["weight"]})
    with pytest.raises(InputError, match="batch"):
        loss_and_derivative(
            "ppo", c["log_prob"], c["old_log_prob"], c["advantage"], c["offsets"], None, np.zeros(2, np.int64)
        )
