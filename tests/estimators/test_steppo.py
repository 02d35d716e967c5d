"""StepPO's advantage against sums written out, and the traps of reading values and whitening by token."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from step_cases import columns_of, walks

from creditsim.errors import InputError, MissingColumnError
from creditsim.estimators import credit
from creditsim.rollouts import Rollouts


def spoken(seed: int) -> Rollouts:
    """Ragged episodes whose steps have one to three tokens, with a value of its own at every token, some cut short."""
    rng = np.random.default_rng(seed)
    rollouts = walks(rng, members=(2, 4), longest=7)
    new = rng.random(rollouts.n_rows) < 0.5
    new[rollouts.offsets[:-1]] = False
    step = np.cumsum(new)
    return Rollouts.flat(
        offsets=rollouts.offsets,
        group=rollouts.group,
        batch=rollouts.batch,
        reward=rollouts.reward,
        step=step - step[rollouts.offsets[:-1]][rollouts.trajectory],
        terminated=rng.random(rollouts.n_trajectories) < 0.5,
        columns={"value": rng.normal(size=rollouts.n_rows), "next_value": rng.normal(size=rollouts.n_rows)},
    )


def steps_of(r: Rollouts) -> list[list[list[int]]]:
    """Rows of each step of each trajectory."""
    out: list[list[list[int]]] = []
    for i in range(r.n_trajectories):
        rows = range(int(r.offsets[i]), int(r.offsets[i + 1]))
        out.append([[k for k in rows if r.step[k] == t] for t in sorted({int(r.step[k]) for k in rows})])
    return out


def by_hand(r: Rollouts, gamma: float, lam: float, fault: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Advantage and value target of every row, whitened over the steps of its batch, with lists and sums."""
    plain, target, entries = np.zeros(r.n_rows), np.zeros(r.n_rows), {}
    for i, steps in enumerate(steps_of(r)):
        value = [float(r.columns["value"][rows[-1 if fault == "last token" else 0]]) for rows in steps]
        after = float(r.columns["next_value"][steps[-1][-1]]) if fault == "bootstrap" else 0.0
        ahead = [*value[1:], after]
        delta = [sum(r.reward[k] for k in rows) + gamma * ahead[t] - value[t] for t, rows in enumerate(steps)]
        for t, rows in enumerate(steps):
            a = sum((gamma * lam) ** (k - t) * delta[k] for k in range(t, len(steps)))
            plain[rows], target[rows] = a, a + value[t]
            entries.setdefault(int(r.batch[i]), []).extend([a] * (len(rows) if fault == "tokens" else 1))
    out = np.zeros(r.n_rows)
    for batch, each in entries.items():
        mean = math.fsum(each) / len(each)
        spread = math.sqrt(math.fsum((a - mean) ** 2 for a in each) / (len(each) - (0 if fault == "ddof" else 1)))
        mine = r.batch_rows == batch
        out[mine] = (plain[mine] - mean) / (spread + 1e-8)
    return out, target


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 1))
def test_equals_the_sums(seed: int, gamma: float, lam: float) -> None:
    rollouts = spoken(seed)
    got = columns_of(rollouts, "steppo", gamma=gamma, lam=lam)
    advantage, target = by_hand(rollouts, gamma, lam)
    np.testing.assert_allclose(got["advantage"], advantage, rtol=0, atol=1e-9)
    np.testing.assert_allclose(got["value_target"], target, rtol=0, atol=1e-12)


@pytest.mark.parametrize("fault", ["last token", "bootstrap", "tokens", "ddof"])
def test_the_sums_tell_the_traps_apart(fault: str) -> None:
    rollouts = spoken(1)
    got = columns_of(rollouts, "steppo", gamma=0.9, lam=0.8)["advantage"]
    assert np.abs(got - by_hand(rollouts, 0.9, 0.8, fault)[0]).max() > 1e-2


def test_whitened_steps_have_mean_zero_and_unit_spread_however_long_they_are() -> None:
    rollouts = spoken(2)
    got = columns_of(rollouts, "steppo@paper")["advantage"]
    heads = np.array([rows[0] for steps in steps_of(rollouts) for rows in steps])
    for batch in range(rollouts.n_batches):
        mine = got[heads[rollouts.batch_rows[heads] == batch]]
        assert abs(mine.mean()) < 1e-12 and abs(mine.std(ddof=1) - 1.0) < 1e-6
    # Over tokens, where a long step counts more often, neither holds.
    assert abs(got.mean()) > 1e-3


def test_presets() -> None:
    rollouts = spoken(3)
    for preset, gamma in (("paper", 0.99), ("code", 1.0)):
        one = columns_of(rollouts, f"steppo@{preset}")["advantage"]
        two = columns_of(rollouts, "steppo", gamma=gamma, lam=1.0)["advantage"]
        assert (one == two).all()


def test_rewards_over_the_spread_of_the_running_return() -> None:
    rollouts = spoken(4)
    plain = columns_of(rollouts, "steppo", gamma=0.9, whiten=False)
    scaled = columns_of(rollouts, "steppo", gamma=0.9, whiten=False, scale_reward=True)
    for batch in range(rollouts.n_batches):
        running, rewards = [], []
        for i, steps in enumerate(steps_of(rollouts)):
            if rollouts.batch[i] == batch:
                total = 0.0
                for rows in steps:
                    rewards.append(sum(rollouts.reward[k] for k in rows))
                    total = 0.9 * total + rewards[-1]
                    running.append(total)
        factor = 1.0 / math.sqrt(np.var(running) + 1e-8)
        mine = rollouts.batch_rows == batch
        # A = return to go - V: only the return is scaled.
        value = plain["value_target"][mine] - plain["advantage"][mine]
        np.testing.assert_allclose(
            scaled["advantage"][mine], factor * plain["value_target"][mine] - value, rtol=0, atol=1e-9
        )


def test_steps_without_weight_are_left_out_and_get_nothing() -> None:
    rollouts = Rollouts.flat(
        offsets=[0, 3, 5], group=[0, 0], reward=np.array([1.0, 5.0, 2.0, 0.5, 0.25]),
        columns={"value": np.array([0.1, 9.0, 0.2, 0.3, 0.4]), "weight": np.array([1.0, 0, 1, 1, 1])},
    )  # fmt: skip
    got = columns_of(rollouts, "steppo", whiten=False)["advantage"]
    assert got == pytest.approx([2.9, 0.0, 1.8, 0.45, -0.15], abs=1e-12)
    white = columns_of(rollouts, "steppo")["advantage"]
    assert white[1] == 0.0 and abs(white.sum()) < 1e-12


def test_degenerate_batches_get_zero() -> None:
    one = Rollouts.flat(offsets=[0, 1], group=[0], reward=np.ones(1), columns={"value": np.zeros(1)})
    assert columns_of(one, "steppo")["advantage"].tolist() == [0.0]
    same = Rollouts.flat(offsets=[0, 1, 2], group=[0, 0], reward=np.full(2, 0.1), columns={"value": np.zeros(2)})
    assert columns_of(same, "steppo")["advantage"].tolist() == [0.0, 0.0]


def test_bad_input_is_one_line() -> None:
    rollouts = spoken(5)
    with pytest.raises(InputError, match="whiten_eps: got -1"):
        credit(rollouts, "steppo", whiten_eps=-1.0)
    for name in ("gamma", "lam"):
        bad: dict[str, Any] = {name: 1.5}
        with pytest.raises(InputError, match=f"{name}: got 1.5"):
            credit(rollouts, "steppo", **bad)
        with pytest.raises(InputError, match=f"{name}: got 1.5"):
            credit(rollouts, "steppo", scale_reward=True, **bad)
    bare = Rollouts.flat(offsets=[0, 1], group=[0], reward=np.ones(1))
    with pytest.raises(MissingColumnError, match="value"):
        credit(bare, "steppo")
