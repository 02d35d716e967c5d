from typing import Any

import numpy as np
import pytest
import torch
from step_cases import columns_of, per_batch, walks

from creditsim.errors import InputError, MissingColumnError
from creditsim.estimators import advantage, credit
from creditsim.rollouts import Rollouts


def case(seed: int, holes: bool = False, **options: Any) -> Rollouts:
    rng = np.random.default_rng(seed)
    rollouts = walks(rng, **options)
    m = rollouts.n_rows
    pi = rng.dirichlet(np.ones(3), size=m)
    columns = {"log_prob": np.log(pi[:, 0]), "sum_pi_squared": (pi**2).sum(1), "is_weight": rng.uniform(0.5, 2, size=m)}
    if holes:
        columns["weight"] = (rng.random(m) < 0.7).astype(float)
    return rollouts.with_columns(**columns)


def by_position(
    rollouts: Rollouts, *, handle_zero_tail: bool = True, is_weighted: bool = False, eps: float = 1e-8, fault: str = ""
) -> np.ndarray:
    """Group by group and position by position, over the rows that are not masked."""
    live = rollouts.columns.get("weight", np.ones(rollouts.n_rows)) != 0
    out = np.zeros(rollouts.n_rows)
    for g in range(rollouts.n_groups):
        table: list[list[tuple[int, float, float]]] = []
        for i in np.flatnonzero(rollouts.group == g):
            energy, line = 0.0, []
            for row in range(int(rollouts.offsets[i]), int(rollouts.offsets[i + 1])):
                pi = np.exp(rollouts.columns["log_prob"][row])
                w = 1 - (1 if fault == "score" else 2) * pi + rollouts.columns["sum_pi_squared"][row]
                if is_weighted:
                    w *= rollouts.columns["is_weight"][row] ** (1 if fault == "weight not squared" else 2)
                to_go = rollouts.reward[row : int(rollouts.offsets[i + 1])].sum()
                if live[row]:
                    energy = w if fault == "not cumulative" else energy + w
                    line.append((row, energy, to_go))
            if line:
                table.append(line)
        for t in range(max((len(line) for line in table), default=0)):
            here = [line[t] for line in table if len(line) > t]
            weights = [1.0 if fault == "plain mean" else w for _, w, _ in here]
            baseline = sum(w * x for w, (_, _, x) in zip(weights, here, strict=True)) / (sum(weights) + eps)
            if len(table) == 1 or (handle_zero_tail and len(here) == 1):
                baseline = 0.0
            for row, _, to_go in here:
                out[row] = to_go - baseline
    return out


OPTIONS: list[dict[str, Any]] = [{}, {"handle_zero_tail": False}, {"is_weighted": True}, {"eps": 0.1}]


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equals_loops(options: dict[str, Any], holes: bool) -> None:
    for seed in range(5):
        rollouts = case(seed, holes)
        got = columns_of(rollouts, "optimal_token_baseline", **options)
        assert np.abs(got["advantage"] - by_position(rollouts, **options)).max() < 1e-12
        live = rollouts.columns.get("weight", np.ones(rollouts.n_rows)) != 0
        assert np.abs(got["return_to_go"] - got["baseline"] - got["advantage"])[live].max() < 1e-12


@pytest.mark.parametrize("fault", ["score", "not cumulative", "plain mean", "weight not squared"])
def test_the_comparison_rejects_broken_twins(fault: str) -> None:
    rollouts = case(1, members=(4, 6))
    got = columns_of(rollouts, "optimal_token_baseline", is_weighted=True)["advantage"]
    assert np.abs(got - by_position(rollouts, is_weighted=True, fault=fault)).max() > 1e-3


def test_a_case_by_hand() -> None:
    # Uniform over 2 everywhere: w = 1 - 1 + 1/2 = 1/2. Lengths 1 and 2.
    columns = {"log_prob": np.log(np.full(3, 0.5)), "sum_pi_squared": np.full(3, 0.5)}
    rollouts = Rollouts.flat(offsets=[0, 1, 3], group=[0, 0], reward=np.array([3.0, 1.0, 4.0]), columns=columns)
    got = columns_of(rollouts, "optimal_token_baseline", eps=0.0)
    assert got["baseline"] == pytest.approx([4.0, 4.0, 0.0], abs=1e-14)
    assert got["advantage"] == pytest.approx([-1.0, 1.0, 4.0], abs=1e-14)
    tail = columns_of(rollouts, "optimal_token_baseline", eps=0.0, handle_zero_tail=False)
    assert tail["advantage"] == pytest.approx([-1.0, 1.0, 0.0], abs=1e-14)
    alone = columns_of(rollouts.take([1]), "optimal_token_baseline", handle_zero_tail=False)
    assert alone["advantage"].tolist() == [5.0, 4.0]


def test_squared_norm_of_the_score() -> None:
    """The identity behind w: |e_a - pi|^2 = 1 - 2 pi_a + sum pi^2."""
    pi = np.random.default_rng(0).dirichlet(np.ones(4), size=50)
    score = np.eye(4)[np.arange(50) % 4] - pi
    mine = 1 - 2 * pi[np.arange(50), np.arange(50) % 4] + (pi**2).sum(1)
    assert np.abs((score**2).sum(1) - mine).max() < 1e-14


def test_many_batches_are_one_by_one_and_torch_agrees() -> None:
    rollouts = case(6, holes=True, batches=4)
    whole = columns_of(rollouts, "optimal_token_baseline")["advantage"]
    assert np.array_equal(per_batch(rollouts, "optimal_token_baseline"), whole)
    got = advantage(rollouts.map_arrays(torch.from_numpy), "optimal_token_baseline@verl")
    assert isinstance(got, torch.Tensor) and np.array_equal(got.numpy(), whole)


def test_bad_input_is_one_line() -> None:
    with pytest.raises(InputError, match="eps"):
        credit(case(0), "optimal_token_baseline", eps=-1.0)
    with pytest.raises(MissingColumnError, match="sum_pi_squared"):
        rollouts = walks(np.random.default_rng(0))
        credit(rollouts.with_columns(log_prob=np.zeros(rollouts.n_rows)), "optimal_token_baseline")
    with pytest.raises(MissingColumnError, match="is_weight"):
        rollouts = walks(np.random.default_rng(0))
        zeros = np.zeros(rollouts.n_rows)
        rollouts = rollouts.with_columns(log_prob=zeros, sum_pi_squared=zeros)
        credit(rollouts, "optimal_token_baseline", is_weighted=True)
