"""The family of turn trees: histories, what policies see, and who gets paid."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from creditsim.errors import InputError
from creditsim.exact import enumerate_trajectories, objective, optimal
from creditsim.mdp import SoftmaxPolicy, make


@pytest.mark.parametrize(("turns", "actions"), [(1, 2), (2, 3), (3, 2)])
@pytest.mark.parametrize("parameters", ["separate", "aliased", "shared"])
def test_each_sequence_pays_its_leaf(turns: int, actions: int, parameters: str) -> None:
    leaves = tuple(float(i) for i in range(actions**turns))
    mdp = make("turns", turns=turns, actions=actions, parameters=parameters, leaves=leaves)
    pi = SoftmaxPolicy.uniform(mdp).probabilities(mdp)
    law = enumerate_trajectories(mdp, pi)
    r = law.rollouts
    assert r.n_trajectories == actions**turns and (r.length == turns).all() and r.terminated.all()
    digits = r.action.reshape(-1, turns) @ actions ** np.arange(turns)[::-1]
    np.testing.assert_array_equal(np.bincount(r.trajectory, r.reward), digits)
    assert objective(mdp, pi) == pytest.approx(np.mean(leaves))
    assert optimal(mdp).j == max(leaves)
    assert sorted(digits) == list(range(actions**turns)) == list(map(int, leaves))
    assert len(list(itertools.product(range(actions), repeat=turns))) == r.n_trajectories


def test_what_the_policy_sees() -> None:
    separate, aliased, shared = (
        make("turns", turns=3, actions=2, parameters=p) for p in ("separate", "aliased", "shared")
    )
    assert separate.n_contexts == 8 and aliased.n_contexts == 4 and shared.n_contexts == 2
    assert aliased.context.tolist() == aliased.observation.tolist() == [0, 1, 1, 2, 2, 2, 2, 3]
    assert shared.context.tolist() == [0] * 7 + [1] and shared.n_observations == 8
    np.testing.assert_array_equal(separate.reward, aliased.reward)


def test_laws_of_drawn_leaves() -> None:
    uniform, again, other = (make("turns", turns=3, actions=3, seed=s).reward for s in (0, 0, 1))
    np.testing.assert_array_equal(uniform, again)
    assert not np.array_equal(uniform, other) and 0 <= uniform.min() and uniform.max() < 1
    binary = make("turns", turns=3, actions=3, law="binary", good=0.2).reward
    assert set(np.unique(binary)) == {0.0, 1.0} and binary.sum() == 5
    assert make("turns", turns=1, actions=2, law="binary", good=0.0).reward.sum() == 1
    assert make("turns", turns=5, actions=3, law="normal").reward.min() < -1


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"parameters": "one"}, "parameters"),
        ({"law": "cauchy"}, "law"),
        ({"leaves": (1.0, 2.0)}, "leaves: got shape"),
        ({"leaves": ("a",) * 4}, "leaves"),
        ({"turns": 0}, "turns"),
        ({"actions": 1}, "actions"),
        ({"good": 1.5}, "good"),
        ({"turns": 20, "actions": 4}, "leaves of turns and actions"),
    ],
)
def test_bad_numbers(params: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make("turns", **{"turns": 2, "actions": 2, **params})
