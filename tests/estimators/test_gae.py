from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from step_cases import columns_of, per_batch, walks

from creditsim.errors import InputError, MissingColumnError, UnknownNameError
from creditsim.estimators import advantage, credit
from creditsim.rollouts import Rollouts


def case(seed: int, *, cut: bool = False, holes: bool = False, decisions: bool = False, **options: Any) -> Rollouts:
    """Ragged episodes with arbitrary values; optionally truncated, with rows of weight 0, with decisions in steps."""
    rng = np.random.default_rng(seed)
    rollouts = walks(rng, **options)
    m = rollouts.n_rows
    columns = {"value": rng.normal(size=m), "next_value": rng.normal(size=m)}
    if holes:
        columns["weight"] = (rng.random(m) < 0.7).astype(float)
    inside = np.arange(m) - rollouts.offsets[:-1][rollouts.trajectory]
    return Rollouts.flat(
        offsets=rollouts.offsets,
        group=rollouts.group,
        batch=rollouts.batch,
        reward=rollouts.reward,
        step=inside // 2 if decisions else None,
        terminated=rng.random(rollouts.n_trajectories) < 0.5 if cut else None,
        columns=columns,
    )


def by_definition(rollouts: Rollouts, gamma: float, lam: float, bootstrap: bool = True, fault: str = "") -> np.ndarray:
    """A_t = sum_k (gamma lam)^k delta_{t+k}, written out as a double sum."""
    out = np.empty(rollouts.n_rows)
    for i in range(rollouts.n_trajectories):
        a, b = int(rollouts.offsets[i]), int(rollouts.offsets[i + 1])
        value, reward = rollouts.columns["value"][a:b], rollouts.reward[a:b]
        after = 0.0
        if bootstrap and not rollouts.terminated[i]:
            after = float(rollouts.columns["next_value"][b - 1])
        if fault == "bootstrap at the end":
            after = float(rollouts.columns["next_value"][b - 1])
        ahead = np.append(value[1:], after)
        ahead = value if fault == "value off by one" else ahead
        delta = reward + (1.0 if fault == "no discount" else gamma) * ahead - value
        rate = lam if fault == "lambda alone" else gamma * lam
        for t in range(b - a):
            out[a + t] = sum(rate ** (k - t) * delta[k] for k in range(t, b - a))
    return out


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 1), st.booleans(), st.sampled_from(["gae", "gae_token"]))
def test_equals_the_double_sum(seed: int, gamma: float, lam: float, bootstrap: bool, name: str) -> None:
    rollouts = case(seed, cut=True, batches=1, groups=2)
    got = columns_of(rollouts, name, gamma=gamma, lam=lam, bootstrap=bootstrap)
    want = by_definition(rollouts, gamma, lam, bootstrap)
    assert np.abs(got["advantage"] - want).max() < 1e-12
    assert np.abs(got["value_target"] - want - rollouts.columns["value"]).max() < 1e-12


@pytest.mark.parametrize("fault", ["value off by one", "no discount", "lambda alone", "bootstrap at the end"])
def test_the_comparison_rejects_broken_twins(fault: str) -> None:
    rollouts = case(1, cut=True)
    got = columns_of(rollouts, "gae", gamma=0.9, lam=0.7)["advantage"]
    assert np.abs(got - by_definition(rollouts, 0.9, 0.7, fault=fault)).max() > 1e-2


def test_a_case_by_hand() -> None:
    rollouts = Rollouts.flat(
        offsets=[0, 3], group=[0], reward=np.array([1.0, 0.0, 2.0]), columns={"value": np.array([0.5, 1.0, -1.0])}
    )
    got = columns_of(rollouts, "gae", gamma=0.5, lam=0.5)
    # TD errors: 1 + .5 - .5 = 1; 0 - .5 - 1 = -1.5; 2 + 1 = 3.
    assert got["advantage"].tolist() == [1.0 - 0.375 + 0.1875, -1.5 + 0.75, 3.0]
    assert got["value_target"].tolist() == [1.3125, 0.25, 2.0]


def test_lambda_zero_is_the_td_error_and_one_is_monte_carlo() -> None:
    rollouts = case(2)
    value = rollouts.columns["value"]
    last = np.zeros(rollouts.n_rows, bool)
    last[rollouts.offsets[1:] - 1] = True
    ahead = np.where(last, 0.0, np.roll(value, -1))
    td = columns_of(rollouts, "gae", gamma=0.9, lam=0.0)["advantage"]
    assert np.abs(td - (rollouts.reward + 0.9 * ahead - value)).max() < 1e-12
    back = columns_of(rollouts, "gigpo", gamma=0.9)["discounted_return"]
    mc = columns_of(rollouts, "gae", gamma=0.9, lam=1.0)
    assert np.abs(mc["advantage"] - (back - value)).max() < 1e-12
    assert np.abs(mc["value_target"] - back).max() < 1e-12


def test_a_cut_episode_goes_on_with_its_next_value() -> None:
    reward, value = np.array([1.0, 1.0]), {"value": np.array([0.0, 0.0]), "next_value": np.array([7.0, 4.0])}
    ended = Rollouts.flat(offsets=[0, 2], group=[0], reward=reward, columns=value)
    cut = Rollouts.flat(offsets=[0, 2], group=[0], reward=reward, columns=value, terminated=[False])
    assert columns_of(ended, "gae", gamma=0.5, lam=1.0)["advantage"].tolist() == [1.5, 1.0]
    assert columns_of(cut, "gae", gamma=0.5, lam=1.0)["advantage"].tolist() == [2.5, 3.0]
    assert columns_of(cut, "gae", gamma=0.5, lam=1.0, bootstrap=False)["advantage"].tolist() == [1.5, 1.0]


def without_holes(rollouts: Rollouts) -> Rollouts:
    keep = rollouts.columns["weight"] != 0
    counts = np.concatenate([[0], np.cumsum(keep)])[rollouts.offsets]
    columns = {name: rollouts.columns[name][keep] for name in ("value", "next_value")}
    return Rollouts.flat(
        offsets=counts, group=rollouts.group, batch=rollouts.batch, reward=rollouts.reward[keep], columns=columns
    )


def test_skipped_holes_are_as_if_they_were_not_there() -> None:
    for seed in range(5):
        rollouts = case(seed, holes=True)
        keep = rollouts.columns["weight"] != 0
        packed = columns_of(without_holes(rollouts), "gae", gamma=0.9, lam=0.8, whiten=True)["advantage"]
        skipped = columns_of(rollouts, "gae", gamma=0.9, lam=0.8, whiten=True, holes="skip")["advantage"]
        kept = columns_of(rollouts, "gae", gamma=0.9, lam=0.8, whiten=True)["advantage"]
        assert np.abs(skipped[keep] - packed).max() < 1e-12
        # Broken twin: the recursion that takes a hole for a row.
        assert np.abs(kept[keep] - packed).max() > 1e-2


def test_a_skipped_last_row_leaves_the_bootstrap() -> None:
    columns = {"value": np.zeros(2), "next_value": np.array([9.0, 4.0]), "weight": np.array([1.0, 0.0])}
    cut = Rollouts.flat(offsets=[0, 2], group=[0], reward=np.zeros(2), columns=columns, terminated=[False])
    assert columns_of(cut, "gae", gamma=0.5, holes="skip")["advantage"].tolist() == [2.0, 0.0]


def test_whitening_is_over_the_live_rows_of_each_batch() -> None:
    rollouts = case(3, holes=True)
    raw = columns_of(rollouts, "gae_token")["advantage"]
    white = columns_of(rollouts, "gae_token", whiten=True)["advantage"]
    for b in range(rollouts.n_batches):
        here = rollouts.batch_rows == b
        live = raw[here & (rollouts.columns["weight"] != 0)]
        want = (raw[here] - live.mean()) / np.sqrt(live.var(ddof=1) + 1e-8)
        assert np.abs(white[here] - want).max() < 1e-11
        # Broken twin: statistics over all rows.
        leaked = (raw[here] - raw[here].mean()) / np.sqrt(raw[here].var(ddof=1) + 1e-8)
        assert np.abs(white[here] - leaked).max() > 1e-2


@pytest.mark.parametrize("size", [1, 4])
def test_whitening_without_spread_gives_zero(size: int) -> None:
    columns = {"value": np.zeros(size)}
    rollouts = Rollouts.flat(
        offsets=np.arange(size + 1), group=np.zeros(size, int), reward=np.full(size, 0.3), columns=columns
    )
    assert columns_of(rollouts, "gae@verl")["advantage"].tolist() == [0.0] * size


def test_separate_turns_get_the_whole_episode_return() -> None:
    columns = {"value": np.array([0.1, 0.2, 0.3, 0.4, 0.5]), "next_value": np.full(5, 9.0)}
    rollouts = Rollouts.flat(
        offsets=[0, 5],
        group=[0],
        reward=np.array([0.0, 1.0, 0.0, 0.0, 2.0]),
        step=np.array([0, 0, 1, 1, 1]),
        columns=columns,
        terminated=[False],
    )
    token = columns_of(rollouts, "gae_token@verl-agent", whiten=False)
    assert token["value_target"] == pytest.approx([3.0] * 5, abs=1e-15)
    turn = columns_of(rollouts, "gae@verl-agent", whiten=False)
    assert turn["advantage"] == pytest.approx([2.9, 2.9, 2.7, 2.7, 2.7], abs=1e-15)
    short = columns_of(rollouts, "gae_token@verl-agent", whiten=False, gamma=0.5, lam=0.0)["advantage"]
    assert short == pytest.approx([0.0, 2.8, -0.1, -0.15, 2.5], abs=1e-15)


def test_time_counted_in_steps_agrees_with_the_folded_steps() -> None:
    for seed in range(4):
        rollouts = case(seed, decisions=True, cut=True)
        inside = np.arange(rollouts.n_rows) - rollouts.offsets[:-1][rollouts.trajectory]
        first = inside % 2 == 0
        # lambda = 1 telescopes the values of the decisions in between.
        token = columns_of(rollouts, "gae_token", gamma=0.8, discount="step")["advantage"]
        step = columns_of(rollouts, "gae", gamma=0.8, lam=1.0)["advantage"]
        assert np.abs(token - step)[first].max() < 1e-12
        per_row = columns_of(rollouts, "gae_token", gamma=0.8, discount="row")["advantage"]
        assert np.abs(per_row - step)[first].max() > 1e-2


def test_presets() -> None:
    rollouts = case(5, holes=True, cut=True, decisions=True)
    for spec in ("gae@verl", "gae_token@verl"):
        want = columns_of(rollouts, spec[:-5], gamma=1.0, lam=1.0, whiten=True, bootstrap=False, holes="skip")
        assert np.array_equal(columns_of(rollouts, spec)["advantage"], want["advantage"])
    assert np.array_equal(columns_of(rollouts, "gae@paper")["advantage"], columns_of(rollouts, "gae")["advantage"])


def test_many_batches_are_one_by_one() -> None:
    rollouts = case(6, holes=True, batches=4)
    for spec in ("gae@verl", "gae_token@verl-agent"):
        assert np.array_equal(per_batch(rollouts, spec), columns_of(rollouts, spec)["advantage"])


def test_torch_gives_the_same_bits() -> None:
    rollouts = case(7, holes=True, cut=True, decisions=True)
    for spec in ("gae", "gae_token@verl", "gae_token@verl-agent"):
        got = advantage(rollouts.map_arrays(torch.from_numpy), spec)
        assert isinstance(got, torch.Tensor)
        assert np.array_equal(got.numpy(), columns_of(rollouts, spec)["advantage"])


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"gamma": 1.1}, InputError, "gamma"),
        ({"lam": -0.1}, InputError, "lam"),
        ({"whiten_eps": -1.0}, InputError, "whiten_eps"),
        ({"holes": "keeep"}, UnknownNameError, "nearest: keep"),
        ({"turns": "both"}, UnknownNameError, "turns"),
        ({"discount": "token"}, UnknownNameError, "discount"),
    ],
)
def test_bad_input_is_one_line(options: dict[str, Any], kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says) as caught:
        credit(case(0), "gae_token", **options)
    assert "\n" not in str(caught.value)


def test_values_are_needed() -> None:
    with pytest.raises(MissingColumnError, match="value"):
        credit(walks(np.random.default_rng(0)), "gae")
