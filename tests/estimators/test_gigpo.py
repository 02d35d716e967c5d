import math
from itertools import combinations_with_replacement, product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from step_cases import columns_of, episodes_of, gigpo_reference, normal, per_batch, walks

from creditsim.errors import InputError, MissingColumnError, UnknownNameError
from creditsim.estimators import advantage, credit
from creditsim.rollouts import Rollouts

OPTIONS: list[dict[str, Any]] = [
    {"weighting": w, "normalize": m, "penalty": p, "gamma": g, "step_weight": s}
    for w, m, p, (g, s) in product(
        ("trajectory", "step"), ("mean_std", "mean"), (0.0, 0.125), ((0.5, 1.0), (1.0, 0.25), (0.0, 2.0))
    )
]
FAULTS = {
    "ddof": {},
    "revisit counted once": {},
    "no discount": {},
    "penalty propagated": {"penalty": 0.125},
    "penalty on steps only": {"penalty": 0.125},
    "anchors cross groups": {},
    "step singleton raw": {},
    "weighting": {},
}


def worst(got: dict[str, np.ndarray], want: dict[str, np.ndarray]) -> float:
    return max(float(np.abs(got[name] - values).max()) for name, values in want.items())


def cases(seeds: range = range(6)) -> list[Rollouts]:
    return [walks(np.random.default_rng(seed)) for seed in seeds]


def with_holes(rollouts: Rollouts, seed: int) -> Rollouts:
    """Every third trajectory and a tenth of the rows of weight 0."""
    rng = np.random.default_rng(seed)
    weight = (rng.random(rollouts.n_rows) < 0.9) & (rollouts.trajectory % 3 != 1)
    return rollouts.with_columns(weight=weight.astype(float))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equals_dicts_and_loops(options: dict[str, Any]) -> None:
    for rollouts in cases():
        assert worst(columns_of(rollouts, "gigpo", **options), gigpo_reference(rollouts, **options)) < 1e-11


@pytest.mark.parametrize("options", OPTIONS[::3], ids=str)
def test_rows_of_weight_zero_enter_nothing(options: dict[str, Any]) -> None:
    for seed, rollouts in enumerate(cases()):
        rollouts = with_holes(rollouts, seed)
        got = columns_of(rollouts, "gigpo", **options)
        assert worst(got, gigpo_reference(rollouts, **options)) < 1e-11
        assert not got["advantage"][rollouts.columns["weight"] == 0].any()


@pytest.mark.parametrize("fault", FAULTS)
def test_the_comparison_rejects_broken_twins(fault: str) -> None:
    options = {"gamma": 0.5, **FAULTS[fault]}
    apart = [
        worst(columns_of(r, "gigpo", **options), gigpo_reference(r, fault=fault, **options)) for r in cases(range(3))
    ]
    assert max(apart) > 1e-3


def test_presets_are_the_stated_conventions() -> None:
    rollouts = walks(np.random.default_rng(9))
    stated: dict[str, dict[str, Any]] = {
        "paper": {"episode_singleton": "zero"},
        "verl-agent": {"weighting": "step", "normalize": "mean"},
        "verl-agent-alfworld": {"weighting": "step", "penalty": 0.1},
        "verl-agent-webshop": {"weighting": "step", "normalize": "mean", "penalty": 0.1},
    }
    for preset, options in stated.items():
        got = columns_of(rollouts, f"gigpo@{preset}")
        assert worst(got, gigpo_reference(rollouts, **options)) < 1e-11


def test_a_case_by_hand() -> None:
    # Two trajectories: a, b with reward 1 at the end, and a with reward 0; gamma 1/2.
    rollouts = episodes_of([[(0, 0.0), (1, 1.0)], [(0, 0.0)]], [0, 0])
    got = columns_of(rollouts, "gigpo", gamma=0.5, normalize="mean", step_weight=2.0)
    assert got["discounted_return"].tolist() == [0.5, 1.0, 0.0]
    assert got["episode_advantage"].tolist() == [0.5, 0.5, -0.5]
    assert got["step_advantage"].tolist() == [0.25, 0.0, -0.25]
    assert got["advantage"].tolist() == [1.0, 0.5, -1.0]
    assert got["step_group"].tolist() == [0, 1, 0]
    rows = columns_of(rollouts, "gigpo", gamma=0.5, normalize="mean", weighting="step")
    assert np.allclose(rows["episode_advantage"], [1 / 3, 1 / 3, -2 / 3], rtol=0, atol=1e-15)


def test_conventions_for_one_entry() -> None:
    long, short = episodes_of([[(0, 0.0), (1, 1.0)]], [0]), episodes_of([[(0, 1.0)]], [0])
    # With row statistics two equal rows are a group of two; only one row is a single entry.
    assert columns_of(long, "gigpo@verl-agent")["episode_advantage"].tolist() == [0.0, 0.0]
    assert columns_of(short, "gigpo@verl-agent")["episode_advantage"].tolist() == [1.0]
    assert columns_of(short, "gigpo")["episode_advantage"] == pytest.approx([1 / (1 + 1e-6)], abs=1e-15)
    assert columns_of(long, "gigpo")["episode_advantage"] == pytest.approx([1 / (1 + 1e-6)] * 2, abs=1e-15)
    assert columns_of(short, "gigpo@paper")["advantage"].tolist() == [0.0]
    assert columns_of(short, "gigpo", step_singleton="raw", normalize="mean")["step_advantage"].tolist() == [1.0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [0.001, 1.0, 10.0, 1e8])
def test_equal_members_give_exactly_zero(dtype: Any, size: float) -> None:
    # Returns 10 * 0.95^k are no short binary fractions: float32 noise divided by float32 noise is up to 0.66 here.
    for count, length in ((3, 5), (7, 11), (16, 3)):
        rows = [[(t, size if t == length - 1 else 0.0) for t in range(length)] for _ in range(count)]
        rollouts = episodes_of(rows, [0] * count)
        rollouts = rollouts.with_columns(reward=rollouts.reward.astype(dtype))
        for weighting in ("trajectory", "step"):
            assert not columns_of(rollouts, "gigpo", weighting=weighting)["advantage"].any()


def test_float32_noise_is_no_advantage_in_the_naive_formula_either() -> None:
    """The broken twin of the test above: the formula in float32 gives noise of the order 0.1 and more."""
    noisiest = 0.0
    for k, count in product(range(1, 30), range(2, 17)):
        x = np.full(count, np.float32(10.0) * np.float32(0.95) ** np.float32(k), np.float32)
        mean = np.float32(x.sum(dtype=np.float32) / np.float32(count))
        std = np.float32(np.sqrt(((x - mean) ** 2).sum(dtype=np.float32) / np.float32(count - 1)))
        noisiest = max(noisiest, float(np.abs((x - mean) / (std + np.float32(1e-6))).max()))
    assert noisiest > 0.1


def deciding_step(p: float, size: int, **options: Any) -> float:
    """E[(1/N) sum_i A_i dlog pi_i/dtheta] at the first step, one call over all numbers of successes."""
    counts = range(size + 1)
    rows, batch = [], []
    for k in counts:
        for i in range(size):
            length, paid = (5, 1.0) if i < k else (50, 0.0)
            rows.append([(0 if t == 0 else 1 + t, paid if t == length - 1 else 0.0) for t in range(length)])
            batch.append(k)
    rollouts = episodes_of(rows, batch, batch=np.asarray(batch))
    a = columns_of(rollouts, "gigpo", normalize="mean", step_weight=0.0, **options)["advantage"]
    first = a[rollouts.offsets[:-1]].reshape(size + 1, size)
    total = 0.0
    for k in counts:
        score = np.where(np.arange(size) < k, 1 - p, -p)
        total += math.comb(size, k) * p**k * (1 - p) ** (size - k) * float((first[k] * score).mean())
    return total


def test_row_statistics_pull_the_baseline_by_length() -> None:
    rows = [[(0, 0.0)] * 4 + [(0, 1.0)]] * 4 + [[(0, 0.0)] * 50] * 4
    rollouts = episodes_of(rows, [0] * 8)
    by_row = columns_of(rollouts, "gigpo", normalize="mean", weighting="step")["episode_advantage"]
    by_trajectory = columns_of(rollouts, "gigpo", normalize="mean")["episode_advantage"]
    assert by_row[0] == pytest.approx(10 / 11, abs=1e-15) and by_row[-1] == pytest.approx(-1 / 11, abs=1e-15)
    # Baselines 1/11 and V = 1/2: the offset of the row baseline is -9/22.
    assert by_trajectory[0] - by_row[0] == pytest.approx(-9 / 22, abs=1e-15)


@pytest.mark.parametrize(
    ("p", "row", "trajectory"), [(0.1, 0.0884, 0.0788), (0.5, 0.2356, 0.2188), (0.9, 0.0575, 0.0788)]
)
def test_expected_gradient_of_both_weightings(p: float, row: float, trajectory: float) -> None:
    assert deciding_step(p, 8, weighting="step") == pytest.approx(row, abs=5e-5)
    exact = deciding_step(p, 8, weighting="trajectory")
    assert exact == pytest.approx(7 / 8 * p * (1 - p), abs=1e-14)
    assert exact == pytest.approx(trajectory, abs=6e-5)
    # Broken twin: the identity (N-1)/N p (1-p) is refuted by row statistics.
    assert abs(deciding_step(p, 8, weighting="step") - 7 / 8 * p * (1 - p)) > 5e-3


def test_the_bias_of_row_statistics_vanishes_with_the_group() -> None:
    assert deciding_step(0.5, 64, weighting="step") == pytest.approx(0.25, abs=2e-3)


def loop_means(size: int, gamma: float, longest: int, fault: str = "") -> list[float]:
    """Pooled mean of A^S of loop, good exit, bad exit: one looping state, uniform policy, all group compositions."""
    kinds = list(product(range(longest), (1.0, 0.0)))
    chance = [(1 / 3) ** (loops + 1) for loops, _ in kinds]
    total, number = np.zeros(3), np.zeros(3)
    rows, weight, group = [], [], []
    for g, pick in enumerate(combinations_with_replacement(range(len(kinds)), size)):
        counts = np.unique(pick, return_counts=True)[1]
        ways = math.factorial(size) / math.prod(math.factorial(int(c)) for c in counts)
        weight.append(ways * math.prod(chance[i] for i in pick))
        rows += [[(0, 0.0)] * kinds[i][0] + [(0, kinds[i][1])] for i in pick]
        group += [g] * size
    rollouts = episodes_of(rows, group)
    options: dict[str, Any] = {"gamma": gamma, "normalize": "mean"}
    if fault:
        a = gigpo_reference(rollouts, fault=fault, **options)["step_advantage"]
    else:
        a = columns_of(rollouts, "gigpo", **options)["step_advantage"]
    last = np.zeros(rollouts.n_rows, bool)
    last[rollouts.offsets[1:] - 1] = True
    action = np.where(~last, 0, np.where(rollouts.reward > 0, 1, 2))
    chance_rows = np.asarray(weight)[rollouts.group_rows]
    np.add.at(total, action, chance_rows * a)
    np.add.at(number, action, chance_rows)
    return (total / number).tolist()


def test_revisits_bias_the_step_level() -> None:
    assert loop_means(2, 1.0, 18) == pytest.approx([0.0, 0.25, -0.25], abs=1e-6)
    assert loop_means(2, 0.8, 18) == pytest.approx([-0.06204, 0.29653, -0.23449], abs=2e-5)
    # Half the truth, what a layered problem would give, is refuted; so is counting a revisit once.
    assert abs(loop_means(2, 0.8, 18)[0] + 0.04545) > 1e-2
    assert abs(loop_means(2, 0.8, 10, "revisit counted once")[0] + 0.06204) > 1e-2


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(OPTIONS))
def test_moves_with_its_trajectories_and_sums_to_zero(seed: int, options: dict[str, Any]) -> None:
    rollouts = walks(np.random.default_rng(seed), batches=1)
    got = columns_of(rollouts, "gigpo", **options)
    order = np.random.default_rng(seed + 1).permutation(rollouts.n_trajectories)
    moved = rollouts.take(order, group=rollouts.group[order])
    rows = np.concatenate([np.arange(rollouts.offsets[i], rollouts.offsets[i + 1]) for i in order])
    assert np.allclose(columns_of(moved, "gigpo", **options)["advantage"], got["advantage"][rows], rtol=0, atol=1e-9)
    sums = np.bincount(got["step_group"], weights=got["step_advantage"])
    assert np.abs(sums).max() < 1e-9


def test_many_batches_are_one_by_one() -> None:
    rollouts = walks(np.random.default_rng(3), batches=5)
    for spec in ("gigpo@paper", "gigpo@verl-agent", "gigpo@verl-agent-alfworld"):
        assert np.array_equal(per_batch(rollouts, spec), columns_of(rollouts, spec)["advantage"])


def test_torch_gives_the_same_bits() -> None:
    rollouts = walks(np.random.default_rng(4))
    there = rollouts.map_arrays(torch.from_numpy)
    for spec in ("gigpo@paper", "gigpo@verl-agent", "gigpo@verl-agent-webshop"):
        got = advantage(there, spec)
        assert isinstance(got, torch.Tensor)
        assert np.array_equal(got.numpy(), columns_of(rollouts, spec)["advantage"])


TEXTS = ["You see a red lamp 1", "You see a red lamp 2", "You see a red lamb 22", "Page 7", "Page 8", "x"]


def texts_case(seed: int) -> Rollouts:
    rng = np.random.default_rng(seed)
    steps = rng.integers(1, 6, size=9)
    traj = np.repeat(np.arange(9), steps)
    return Rollouts.from_steps(
        group=[f"g{i // 4}" for i in traj],
        traj=[f"t{i}" for i in traj],
        observation=[TEXTS[i] for i in rng.integers(0, len(TEXTS), size=traj.size)],
        reward=rng.integers(0, 9, size=traj.size) / 8.0,
    )


def clusters_by_rows(rollouts: Rollouts, threshold: float, compare: int = 0) -> list[int]:
    """Walk every row; `compare` says which member of a cluster a row is held against."""
    from difflib import SequenceMatcher

    found: dict[int, list[tuple[int, list[str]]]] = {}
    out, opened = [], 0
    for row in range(rollouts.n_rows):
        text = str(rollouts.labels["observation"][rollouts.observation[row]])
        clusters = found.setdefault(int(rollouts.group_rows[row]), [])
        for identity, texts in clusters:
            if SequenceMatcher(None, text, texts[compare]).ratio() >= threshold:
                texts.append(text)
                out.append(identity)
                break
        else:
            clusters.append((opened, [text]))
            out.append(opened)
            opened += 1
    return out


def test_similar_anchors_equal_the_walk_over_rows() -> None:
    differ = 0
    for seed, threshold in product(range(8), (0.7, 0.9, 0.95)):
        rollouts = texts_case(seed)
        got = columns_of(rollouts, "gigpo_similarity", threshold=threshold, gamma=0.5)
        assert got["step_group"].tolist() == clusters_by_rows(rollouts, threshold)
        differ += got["step_group"].tolist() != clusters_by_rows(rollouts, threshold, compare=-1)
        for row in range(rollouts.n_rows):
            members = got["discounted_return"][got["step_group"] == got["step_group"][row]].tolist()
            want = normal(got["discounted_return"][row], members, False, 1, 1e-6, "zero")
            assert got["step_advantage"][row] == pytest.approx(want, abs=1e-14)
    # Broken twin: held against the last member instead of the first.
    assert differ > 0


def test_threshold_one_is_exact_match() -> None:
    rollouts = texts_case(1)
    same = {"weighting": "step", "normalize": "mean"}
    assert np.array_equal(
        columns_of(rollouts, "gigpo_similarity", threshold=1.0)["advantage"],
        columns_of(rollouts, "gigpo", **same)["advantage"],
    )


@pytest.mark.parametrize(
    ("spec", "options", "kind", "says"),
    [
        ("gigpo", {"normalize": "std"}, UnknownNameError, "normalize"),
        ("gigpo", {"weighting": "rows"}, UnknownNameError, "weighting"),
        ("gigpo", {"episode_singleton": "one"}, UnknownNameError, "singleton"),
        ("gigpo", {"gama": 1.0}, UnknownNameError, "gamma"),
        ("gigpo", {"gamma": 1.5}, InputError, "gamma"),
        ("gigpo", {"eps": -1.0}, InputError, "eps"),
        ("gigpo", {"penalty": -0.1}, InputError, "penalty"),
        ("gigpo", {"penalty": 0.1}, MissingColumnError, "valid"),
        ("gigpo_similarity", {}, InputError, "from_steps"),
        ("gigpo_similarity", {"threshold": 0.0}, InputError, "threshold"),
    ],
)
def test_bad_input_is_one_line(spec: str, options: dict[str, Any], kind: type[Exception], says: str) -> None:
    rollouts = episodes_of([[(0, 1.0)], [(0, 0.0)]], [0, 0])
    with pytest.raises(kind, match=says) as caught:
        credit(rollouts, spec, **options)
    assert "\n" not in str(caught.value)


def test_integer_labels_are_no_texts() -> None:
    rollouts = Rollouts.from_steps(group=[0, 0], traj=[0, 1], observation=[5, 6], reward=[0.0, 1.0])
    with pytest.raises(InputError, match="texts"):
        credit(rollouts, "gigpo_similarity")
