from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
from exact_cases import errors_line, random_mdp, random_policy
from hypothesis import given, settings
from hypothesis import strategies as st

from creditsim.errors import InputError, TooLargeError
from creditsim.exact.compositions import compositions, count_compositions
from creditsim.exact.trajectories import TrajectoryLaw, enumerate_trajectories
from creditsim.mdp.families import make


def law_of(p: list[float], second: list[float] | None = None) -> TrajectoryLaw:
    """A law with these probabilities; with `second`, trajectories of a second start state, drawn with chance 0.3."""
    both = [p] if second is None else [p, second]
    size = sum(len(part) for part in both)
    mdp = make("answers", p=tuple((0.0,) for _ in range(size)))
    rollouts = enumerate_trajectories(mdp, np.ones((size + 1, 1))).rollouts
    return TrajectoryLaw(
        rollouts,
        np.concatenate([np.asarray(part, float) for part in both]),
        np.repeat(np.arange(len(both)), [len(part) for part in both]),
        np.array([1.0] if second is None else [0.7, 0.3]),
    )


def listed(
    law: TrajectoryLaw, group_size: int, groups: int = 1, symmetric: bool = True, chunk: int = 10**6
) -> tuple[np.ndarray, np.ndarray]:
    parts = list(compositions(law, group_size=group_size, groups=groups, symmetric=symmetric, chunk=chunk))
    return np.concatenate([index for index, _ in parts]), np.concatenate([weight for _, weight in parts])


@settings(max_examples=40, deadline=None)
@given(
    weights=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    more=st.one_of(st.none(), st.lists(st.integers(1, 9), min_size=1, max_size=3)),
    n=st.integers(1, 4),
    groups=st.integers(1, 2),
    chunk=st.sampled_from([1, 7, 1000]),
)
def test_multisets_carry_the_probability_of_their_orderings(
    weights: list[int], more: list[int] | None, n: int, groups: int, chunk: int
) -> None:
    law = law_of([w / sum(weights) for w in weights], None if more is None else [w / sum(more) for w in more])
    sizes = [last - first for first, last, _ in law.ranges]
    tuples, p = listed(law, group_size=n, groups=groups, symmetric=False, chunk=chunk)
    sets, q = listed(law, group_size=n, groups=groups, chunk=chunk)
    assert tuples.shape[0] == count_compositions(sizes, n, groups, symmetric=False)
    assert sets.shape[0] == count_compositions(sizes, n, groups)
    assert p.sum() == pytest.approx(1.0, abs=1e-13)
    assert q.sum() == pytest.approx(1.0, abs=1e-13)

    def key(row: np.ndarray) -> tuple[tuple[int, ...], ...]:
        return tuple(sorted(tuple(sorted(part)) for part in row.reshape(groups, n).tolist()))

    expected: Counter[tuple[tuple[int, ...], ...]] = Counter()
    for row, weight in zip(tuples, p, strict=True):
        expected[key(row)] += weight
    assert len(expected) == sets.shape[0]
    for row, weight in zip(sets, q, strict=True):
        assert weight == pytest.approx(expected[key(row)], rel=1e-12)


def test_tuples_are_the_cartesian_product() -> None:
    tuples, p = listed(law_of([0.2, 0.5, 0.3]), group_size=3, symmetric=False)
    chance = np.array([0.2, 0.5, 0.3])
    assert tuples.tolist() == [list(t) for t in product(range(3), repeat=3)]
    np.testing.assert_allclose(p, chance[tuples].prod(axis=1), rtol=1e-15)


def test_a_group_draws_one_start_state() -> None:
    law = law_of([0.5, 0.5], [0.25, 0.75])
    index, weight = listed(law, group_size=3)
    start = law.start[index]
    assert (start == start[:, :1]).all()
    assert weight[start[:, 0] == 1].sum() == pytest.approx(0.3, abs=1e-15)
    two, weight = listed(law, group_size=1, groups=2)
    assert weight[(law.start[two] == 1).all(axis=1)].sum() == pytest.approx(0.09, abs=1e-15)


def test_large_groups_neither_overflow_nor_lose_mass() -> None:
    index, weight = listed(law_of([0.3, 0.7]), group_size=2000)
    assert index.shape == (2001, 2000)
    assert weight.sum() == pytest.approx(1.0, abs=1e-11)
    assert weight @ (index == 0).sum(axis=1) == pytest.approx(600.0, rel=1e-11)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("groups", [1, 2])
def test_chunks_do_not_change_what_is_listed(symmetric: bool, groups: int) -> None:
    mdp = random_mdp(5, horizon=2, starts=2, states=3)
    law = enumerate_trajectories(mdp, random_policy(mdp, 0).probabilities(mdp))
    whole = listed(law, group_size=2 if groups == 1 else 1, groups=groups, symmetric=symmetric, chunk=10**6)
    for chunk in (1, 7, 256):
        parts = listed(law, group_size=2 if groups == 1 else 1, groups=groups, symmetric=symmetric, chunk=chunk)
        np.testing.assert_array_equal(parts[0], whole[0])
        np.testing.assert_array_equal(parts[1], whole[1])


def test_too_many_are_refused_with_the_count() -> None:
    law = law_of([1 / 41] * 41)
    with pytest.raises(TooLargeError) as big:
        compositions(law, group_size=6)
    assert errors_line(big.value) == (
        "compositions of 1 group(s) of 6 out of 41 trajectories: got 9,366,819, allowed at most 2,000,000"
    )
    assert count_compositions([41], 4) == 135_751
    assert count_compositions([41], 5) == 1_221_759
    for field, n, groups in (("group_size", 0, 1), ("groups", 1, 0)):
        with pytest.raises(InputError, match=rf"^{field}: got 0, allowed at least 1$"):
            compositions(law, group_size=n, groups=groups)
