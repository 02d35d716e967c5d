import math
from itertools import combinations_with_replacement, product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from step_cases import columns_of, episodes_of, hgpo_reference, per_batch, walks

from creditsim.errors import InputError, MissingColumnError, UnknownNameError
from creditsim.estimators import advantage, credit
from creditsim.rollouts import Rollouts
from creditsim.segments import context_ids

OPTIONS: list[dict[str, Any]] = [
    {"K": k, "normalize": m, "zero_levels": z, "weights": w, "base_group": b, "alpha": a, "penalty": p}
    for k, m, z, (w, b), (a, p) in product(
        (0, 2, 4),
        ("mean_std", "mean"),
        ("drop", "keep"),
        (("code", False), ("code", True), ("paper", False)),
        ((1.0, 0.0), (1.5, 0.125)),
    )
]
FAULTS: dict[str, dict[str, Any]] = {
    "ddof": {},
    "level index": {},
    "no discount": {},
    "short windows": {},
    "whole history": {},
    "singletons kept": {},
    "zeros kept": {},
    "anchors cross groups": {},
    "penalty propagated": {"penalty": 0.125},
}


def worst(got: dict[str, np.ndarray], want: dict[str, np.ndarray]) -> float:
    return max(float(np.abs(got[name] - values).max()) for name, values in want.items())


def cases(count: int = 4) -> list[Rollouts]:
    # gamma 1/2 and two observations make windows meet and returns coincide, so that levels vanish exactly.
    out = []
    for seed in range(count):
        rollouts = walks(np.random.default_rng(seed), members=(1, 7), longest=7)
        reward = np.where(rollouts.reward > 0.9, 1.0, 0.0)
        out.append(rollouts.with_columns(observation=rollouts.observation % 2, reward=reward))
    return out


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equals_dicts_and_loops(options: dict[str, Any]) -> None:
    for rollouts in cases():
        got = columns_of(rollouts, "hgpo", gamma=0.5, **options)
        assert worst(got, hgpo_reference(rollouts, gamma=0.5, **options)) < 1e-11


@pytest.mark.parametrize("options", OPTIONS[::7], ids=str)
def test_rows_of_weight_zero_enter_nothing(options: dict[str, Any]) -> None:
    for seed, rollouts in enumerate(cases()):
        keep = (np.random.default_rng(seed).random(rollouts.n_rows) < 0.9) & (rollouts.trajectory % 3 != 1)
        rollouts = rollouts.with_columns(weight=keep.astype(float))
        got = columns_of(rollouts, "hgpo", gamma=0.5, **options)
        assert worst(got, hgpo_reference(rollouts, gamma=0.5, **options)) < 1e-11
        assert not got["advantage"][~keep].any()


@pytest.mark.parametrize("fault", FAULTS)
def test_the_comparison_rejects_broken_twins(fault: str) -> None:
    options = {"gamma": 0.5, **FAULTS[fault]}
    apart = [worst(columns_of(r, "hgpo", **options), hgpo_reference(r, fault=fault, **options)) for r in cases(3)]
    assert max(apart) > 1e-3


def test_presets_are_the_stated_conventions() -> None:
    stated: dict[str, dict[str, Any]] = {
        "paper": {"weights": "paper", "zero_levels": "keep"},
        "verl-agent": {},
        "verl-agent-alfworld": {"penalty": 0.1},
        "verl-agent-webshop": {"normalize": "mean", "penalty": 0.1},
    }
    for preset, options in stated.items():
        for rollouts in cases(2):
            got = columns_of(rollouts, f"hgpo@{preset}")
            assert worst(got, hgpo_reference(rollouts, **options)) < 1e-11


def test_a_case_by_hand() -> None:
    # Observation 2 after 0 or 1; returns 4, 2, 0, 1 there. gamma 1, centring only, no eps.
    rollouts = episodes_of([[(0, 0.0), (2, 4.0)], [(0, 0.0), (2, 2.0)], [(1, 0.0), (2, 0.0)], [(2, 1.0)]], [0] * 4)
    got = columns_of(rollouts, "hgpo", K=1, gamma=1.0, normalize="mean", eps=0.0)
    # Level 1: mean of 4, 2, 0, 1 is 7/4; level 2: 4 and 2 share (0, 2), mean 3. Weights 2 and 3.
    want = [1.0, (2 * 2.25 + 3 * 1.0) / 5, -1.0, (2 * 0.25 - 3 * 1.0) / 5, 0.0, -1.75, -0.75]
    assert got["advantage"] == pytest.approx(want, abs=1e-15)
    assert got["levels"].tolist() == [1, 2, 1, 2, 0, 1, 1]
    paper = columns_of(rollouts, "hgpo@paper", K=1, gamma=1.0, normalize="mean")
    assert paper["advantage"][1] == pytest.approx((2.25 + 2 * 1.0) / 3, abs=1e-15)
    steep = columns_of(rollouts, "hgpo", K=1, gamma=1.0, normalize="mean", eps=0.0, alpha=40.0)
    assert steep["advantage"][1] == pytest.approx(1.0, abs=1e-6)


def test_a_row_on_its_mean_loses_the_level() -> None:
    rows = [[(0, 0.0), (2, r)] for r in (1.0, 2.0, 3.0)] + [[(1, 0.0), (2, 6.0)]]
    rollouts = episodes_of(rows, [0] * 4)
    options = {"K": 1, "gamma": 1.0, "normalize": "mean", "eps": 0.0}
    # The row with return 2 is on the mean of its window; its anchor's mean is 3.
    assert columns_of(rollouts, "hgpo", **options)["advantage"][3] == -1.0
    kept = columns_of(rollouts, "hgpo", zero_levels="keep", **options)["advantage"]
    assert kept[3] == pytest.approx(-2 / 5, abs=1e-15)
    assert columns_of(rollouts, "hgpo", zero_tolerance=10.0, **options)["advantage"].tolist() == [0.0] * 8


def test_base_group_is_a_level_of_weight_one() -> None:
    rollouts = episodes_of([[(0, 4.0)], [(0, 0.0)]], [0, 0])
    got = columns_of(rollouts, "hgpo", K=0, gamma=1.0, normalize="mean", eps=0.0, base_group=True)
    assert got["base_advantage"].tolist() == [2.0, -2.0]
    assert got["advantage"].tolist() == [2.0, -2.0]
    alone = columns_of(episodes_of([[(0, 4.0)]], [0]), "hgpo", normalize="mean", eps=0.0, base_group=True)
    assert alone["advantage"].tolist() == [4.0]


def test_windows_are_the_contexts_of_the_segments() -> None:
    rollouts = walks(np.random.default_rng(1), members=(4, 6), longest=7)
    inside = np.arange(rollouts.n_rows) - rollouts.offsets[:-1][rollouts.trajectory]
    for k in range(4):
        ids, _ = context_ids(rollouts, k)
        groups: dict[tuple[int, int], list[int]] = {}
        for row in np.flatnonzero(inside >= k):
            groups.setdefault((int(rollouts.group_rows[row]), int(ids[row])), []).append(int(row))
        # Deepest level only: a steep alpha leaves the mean over the longest window with two members.
        members = {row for rows in groups.values() if len(rows) > 1 for row in rows}
        deep = columns_of(rollouts, "hgpo", K=k, normalize="mean", zero_levels="keep")["levels"]
        less = columns_of(rollouts, "hgpo", K=k - 1, normalize="mean", zero_levels="keep")["levels"] if k else 0
        assert set(np.flatnonzero(deep - less).tolist()) == members


def two_contexts(size: int, noise: float, **options: Any) -> float:
    """E of the advantage behind context 0 over compositions of the group; values 1 and -1, so (v1 - v2)/2 = 1."""
    rows, group, chance = [], [], []
    jitter = np.sqrt(np.arange(1.0, size + 1)) * noise
    for others in range(size):
        for sign in (1.0, -1.0):
            group += [len(chance)] * size
            chance.append(math.comb(size - 1, others) / 2**size)
            contexts = [0] * (others + 1) + [1] * (size - 1 - others)
            values = np.where(np.asarray(contexts) == 0, 1.0, -1.0) + sign * jitter
            rows += [[(c, 0.0), (2, v)] for c, v in zip(contexts, values.tolist(), strict=True)]
    rollouts = episodes_of(rows, group)
    a = columns_of(rollouts, "hgpo", K=1, gamma=1.0, normalize="mean", eps=0.0, **options)["advantage"]
    return float(np.dot(chance, a[rollouts.offsets[:-1][::size] + 1]))


@pytest.mark.parametrize(("size", "code", "paper"), [(2, 0.5, 0.5), (4, 0.4125, 0.375), (8, 0.3582, 0.3008)])
def test_bias_between_two_contexts(size: int, code: float, paper: float) -> None:
    for weights, w0, stated in (("code", 2 / 5, code), ("paper", 1 / 3, paper)):
        q = 2.0 ** (2 - size)
        formula = (size - 1) / size * (w0 * (1 - q) + q)
        assert formula == pytest.approx(stated, abs=5e-5)
        # With zero levels kept returns may be equal; dropped ones need noise, which cancels over its two signs.
        assert two_contexts(size, 0.0, weights=weights, zero_levels="keep") == pytest.approx(formula, abs=1e-12)
        assert two_contexts(size, 0.01, weights=weights, zero_levels="drop") == pytest.approx(formula, abs=1e-12)
        # Broken twins: the large-group limit w0, and equal returns with levels dropped.
        assert abs(two_contexts(size, 0.01, weights=weights) - w0) > 0.01
    if size > 2:
        assert abs(two_contexts(size, 0.0) - code) > 0.05


def gradient_ratios(size: int, **options: Any) -> list[float]:
    """Expected over exact gradient by the logit of each context: policy .3/.7 with 0/1 and .8/.2 with 3/2."""
    kinds = [(0, 0.3, 0.0), (0, 0.7, 1.0), (1, 0.8, 3.0), (1, 0.2, 2.0)]
    rows, group, chance, picks = [], [], [], []
    for pick in combinations_with_replacement(range(4), size):
        counts = np.bincount(pick, minlength=4)
        ways = math.factorial(size) / math.prod(math.factorial(int(c)) for c in counts)
        group += [len(chance)] * size
        chance.append(ways * math.prod((kinds[i][1] / 2) for i in pick))
        rows += [[(kinds[i][0], 0.0), (2, kinds[i][2])] for i in pick]
        picks += pick
    rollouts = episodes_of(rows, group)
    a = columns_of(rollouts, "hgpo@verl-agent", K=1, gamma=1.0, normalize="mean", **options)["advantage"]
    a = a[rollouts.offsets[:-1] + 1]
    kind, weight = np.asarray(picks), np.asarray(chance)[np.asarray(group)]
    out = []
    for context, p in ((0, 0.3), (1, 0.8)):
        score = np.select([kind == 2 * context, kind == 2 * context + 1], [1 - p, -p])
        exact = 0.5 * p * (1 - p) * (kinds[2 * context][2] - kinds[2 * context + 1][2])
        out.append(float((weight * score * a).sum() / size / exact))
    return out


def test_dropping_zeros_bends_the_gradient() -> None:
    assert gradient_ratios(8) == pytest.approx([0.682, 1.136], abs=1e-3)
    assert gradient_ratios(8, zero_levels="keep") == pytest.approx([0.805, 0.805], abs=1e-3)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(OPTIONS))
def test_moves_with_its_trajectories(seed: int, options: dict[str, Any]) -> None:
    rollouts = walks(np.random.default_rng(seed), batches=1)
    got = columns_of(rollouts, "hgpo", **options)["advantage"]
    order = np.random.default_rng(seed + 1).permutation(rollouts.n_trajectories)
    moved = rollouts.take(order, group=rollouts.group[order])
    rows = np.concatenate([np.arange(rollouts.offsets[i], rollouts.offsets[i + 1]) for i in order])
    assert np.allclose(columns_of(moved, "hgpo", **options)["advantage"], got[rows], rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_members_give_exactly_zero(dtype: Any) -> None:
    for count, length in ((3, 5), (7, 11)):
        rows = [[(t, 10.0 if t == length - 1 else 0.0) for t in range(length)] for _ in range(count)]
        rollouts = episodes_of(rows, [0] * count)
        rollouts = rollouts.with_columns(reward=rollouts.reward.astype(dtype))
        got = columns_of(rollouts, "hgpo", K=2, base_group=True)
        assert not got["advantage"].any() and not got["levels"].any()


def test_many_batches_are_one_by_one() -> None:
    rollouts = walks(np.random.default_rng(3), batches=5)
    assert np.array_equal(per_batch(rollouts, "hgpo"), columns_of(rollouts, "hgpo")["advantage"])


def test_torch_gives_the_same_bits() -> None:
    rollouts = walks(np.random.default_rng(4))
    got = advantage(rollouts.map_arrays(torch.from_numpy), "hgpo", base_group=True)
    assert isinstance(got, torch.Tensor)
    assert np.array_equal(got.numpy(), columns_of(rollouts, "hgpo", base_group=True)["advantage"])


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"K": -1}, InputError, "K"),
        ({"alpha": -1.0}, InputError, "alpha"),
        ({"gamma": 2.0}, InputError, "gamma"),
        ({"zero_tolerance": -1.0}, InputError, "zero_tolerance"),
        ({"weights": "papr"}, UnknownNameError, "nearest: paper"),
        ({"zero_levels": "skip"}, UnknownNameError, "zero_levels"),
        ({"normalize": "std"}, UnknownNameError, "normalize"),
        ({"weights": "paper", "base_group": True}, InputError, "base_group"),
        ({"penalty": 0.1}, MissingColumnError, "valid"),
    ],
)
def test_bad_input_is_one_line(options: dict[str, Any], kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says) as caught:
        credit(episodes_of([[(0, 1.0)], [(0, 0.0)]], [0, 0]), "hgpo", **options)
    assert "\n" not in str(caught.value)
