"""Prompts of spread difficulty: how many answers are right, who looks like whom, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from creditsim.errors import InputError
from creditsim.exact.dp import optimal, solve
from creditsim.mdp import SoftmaxPolicy, make


def right_of(**params: object) -> np.ndarray:
    mdp = make("difficulties", **params)
    return mdp.probability[~mdp.terminal, :, 0]


def test_right_answers_fall_geometrically_from_easy_to_hard() -> None:
    right = right_of(prompts=5, answers=32, easiest=0.5)
    assert set(np.unique(right)) == {0.0, 1.0}
    np.testing.assert_array_equal(right.sum(axis=1), [16, 8, 4, 2, 1])
    mdp = make("difficulties", prompts=5, answers=32, easiest=0.5)
    uniform = solve(mdp, SoftmaxPolicy.uniform(mdp).probabilities(mdp))
    assert uniform.j == pytest.approx(31 / 32 / 5)
    assert optimal(mdp).j == pytest.approx(1.0)


def test_prompts_that_look_alike_share_an_observation_and_no_right_answer() -> None:
    mdp = make("difficulties", prompts=6, answers=32, alike=3, easiest=0.25)
    seen = mdp.observation[:6]
    np.testing.assert_array_equal(np.bincount(seen), [3, 3])
    right = mdp.probability[:6, :, 0]
    for look in range(2):
        assert right[seen == look].sum(axis=0).max() == 1.0
    # The policy sees the look alone: no policy can be right on all, and the best that sees the state can.
    assert mdp.n_contexts == 3
    assert optimal(mdp).j == pytest.approx(1.0)


def test_luck_pays_wrong_answers() -> None:
    right = right_of(prompts=3, answers=4, luck=0.25)
    assert set(np.unique(right)) == {0.25, 1.0}


def test_one_prompt_has_the_easiest_share() -> None:
    assert right_of(prompts=1, answers=10, easiest=0.3).sum() == 3


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"prompts": 0}, "prompts: got 0"),
        ({"answers": 1}, "answers: got 1"),
        ({"easiest": 1.5}, "easiest: got 1.5"),
        ({"luck": -0.1}, "luck: got -0.1"),
        ({"prompts": 5, "alike": 2}, "alike: got 2, allowed a divisor of prompts = 5"),
        ({"prompts": 2, "answers": 4, "easiest": 1.0, "alike": 2}, "answers: got 4, allowed at least 5"),
    ],
)
def test_bad_parameters_are_one_line(params: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told) as error:
        make("difficulties", **params)
    assert "\n" not in str(error.value)
