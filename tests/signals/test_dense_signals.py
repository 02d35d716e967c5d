"""Information gain and metric: telescoping, baselines, noise by replicate, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from creditsim.errors import InputError, UnknownNameError
from creditsim.exact import solve
from creditsim.mdp import SoftmaxPolicy, make
from creditsim.rollouts import Rollouts
from creditsim.sampling import TableSampler
from creditsim.signals.information_gain import information_gain
from creditsim.signals.metric import metric


def walked(env: str = "tree@tiny", batches: int = 2) -> tuple[Rollouts, dict[str, Any]]:
    mdp = make(env)
    policy = SoftmaxPolicy.uniform(mdp)
    rollouts = TableSampler(mdp, seed=5, batches=batches, record=("entropy",)).extend(copies=3, policy=policy)
    value = solve(mdp, policy.probabilities(mdp)).value
    return rollouts, {"oracle_value": np.stack([value] * batches), "replicate": np.arange(batches), "seed": 9}


def test_gains_of_a_table_telescope_from_the_baseline() -> None:
    rollouts, state = walked()
    phi = np.linspace(0.0, 1.0, 15)
    columns, after = information_gain(rollouts, state, table=tuple(phi))
    assert after is state
    c = rollouts.columns
    np.testing.assert_allclose(columns["information_gain"], phi[c["next_state"]] - phi[c["state"]], atol=1e-15)
    first = rollouts.offsets[:-1]
    np.testing.assert_array_equal(columns["potential"][first], phi[c["state"][first]])
    total = np.add.reduceat(columns["information_gain"], first)
    ends = rollouts.offsets[1:] - 1
    np.testing.assert_allclose(total, phi[c["next_state"][ends]] - phi[c["state"][first]], atol=1e-15)


def test_gains_of_the_exact_value_are_its_differences_and_give_the_last_one_back() -> None:
    rollouts, state = walked()
    columns, _ = information_gain(rollouts, state)
    gain, potential = columns["information_gain"], columns["potential"]
    ends = rollouts.offsets[1:] - 1
    np.testing.assert_array_equal(gain[ends], -potential[ends])
    inner = np.setdiff1d(np.arange(rollouts.n_rows), ends)
    np.testing.assert_allclose(gain[inner], potential[inner + 1] - potential[inner], atol=1e-15)


def test_noise_is_one_draw_by_its_seed() -> None:
    rollouts, state = walked()
    gains = [information_gain(rollouts, state, noise=s, noise_seed=k)[0]["information_gain"] for s, k in
             ((0.0, 1), (0.5, 1), (0.5, 1), (1.0, 1), (0.5, 2))]  # fmt: skip
    np.testing.assert_array_equal(gains[1], gains[2])
    np.testing.assert_allclose(gains[3] - gains[0], 2 * (gains[1] - gains[0]), atol=1e-12)
    assert np.abs(gains[4] - gains[1]).max() > 1e-3


def test_decisions_of_one_step_share_its_gain() -> None:
    rollouts, state = walked("tokens@tiny")
    assert not rollouts.has_single_decisions
    states = int(max(rollouts.columns["state"].max(), rollouts.columns["next_state"].max())) + 1
    phi = np.linspace(0.0, 1.0, states) ** 2
    columns, _ = information_gain(rollouts, state, table=phi)
    c = rollouts.columns
    new = rollouts.first_row.copy()
    new[1:] |= rollouts.step[1:] != rollouts.step[:-1]
    starts = np.flatnonzero(new)
    ends = np.append(starts[1:], rollouts.n_rows) - 1
    whole = phi[c["next_state"][ends]] - phi[c["state"][starts]]
    np.testing.assert_allclose(columns["information_gain"], whole[np.cumsum(new) - 1], atol=1e-14)
    # Broken twin: the gain of single decisions is another number.
    assert np.abs(columns["information_gain"] - (phi[c["next_state"]] - phi[c["state"]])).max() > 1e-3


def test_tables_out_of_range_or_short_are_refused() -> None:
    rollouts, state = walked()
    for table in ((0.5,) * 3, (1.5,) * 15, (float("nan"),) * 15):
        with pytest.raises(InputError, match="signal information_gain table"):
            information_gain(rollouts, state, table=table)
    with pytest.raises(InputError, match="noise"):
        information_gain(rollouts, state, table=(0.5,) * 15, noise=-1.0)


def test_metrics() -> None:
    rollouts, state = walked()
    n = rollouts.n_trajectories
    entropy = rollouts.columns["entropy"]
    found, _ = metric(rollouts, state)
    for i in range(n):
        rows = slice(rollouts.offsets[i], rollouts.offsets[i + 1])
        np.testing.assert_allclose(found["metric"][rows], entropy[rows].mean(), atol=1e-15)
    length, _ = metric(rollouts, state, kind="length")
    np.testing.assert_array_equal(length["metric"], rollouts.length[rollouts.trajectory])
    tokens, _ = metric(rollouts.with_columns(tokens=np.full(rollouts.n_rows, 7)), state, kind="length")
    np.testing.assert_array_equal(tokens["metric"], 7 * length["metric"])
    feature, _ = metric(rollouts, state, kind="action", values=(0.0, 1.0))
    share = np.add.reduceat(rollouts.action, rollouts.offsets[:-1]) / rollouts.length
    np.testing.assert_allclose(feature["metric"], share[rollouts.trajectory], atol=1e-15)


def test_noise_of_a_replicate_does_not_depend_on_those_beside_it() -> None:
    rollouts, state = walked(batches=3)
    together = metric(rollouts, state, noise=1.0)[0]["metric"]
    mine = np.flatnonzero(rollouts.batch == 2)
    alone = metric(rollouts.take(mine), {**state, "replicate": np.array([2])}, noise=1.0)[0]["metric"]
    np.testing.assert_array_equal(alone, together[rollouts.batch_rows == 2])
    other = metric(rollouts, {**state, "seed": 10}, noise=1.0)[0]["metric"]
    assert np.abs(other - together).max() > 1e-3
    # One draw for a trajectory, not for a row.
    assert len(np.unique(together - metric(rollouts, state)[0]["metric"])) <= 3 * rollouts.n_trajectories


def test_bad_metrics_are_refused() -> None:
    rollouts, state = walked()
    with pytest.raises(UnknownNameError, match="nearest: entropy"):
        metric(rollouts, state, kind="entropi")  # pyright: ignore[reportArgumentType]
    for values in (None, (1.0,), (1.0, float("inf"))):
        with pytest.raises(InputError, match="signal metric values"):
            metric(rollouts, state, kind="action", values=values)
    with pytest.raises(InputError, match="noise"):
        metric(rollouts, state, noise=float("nan"))
