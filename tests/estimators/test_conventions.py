"""What the published implementations differ in, with numbers derived by hand."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from group_cases import episodes, responses, run, with_weights

from creditsim.errors import InputError, MissingColumnError, UnknownNameError
from creditsim.estimators import ESTIMATORS, resolve

N = 8


def success(k: int, spec: str, **overrides: object) -> float:
    """Advantage of a success in a group of 8 with k successes."""
    return float(run(responses([[1.0] * k + [0.0] * (N - k)]), spec, **overrides)[0])


@pytest.mark.parametrize(
    ("k", "ddof1", "ddof0", "centred", "loo"),
    [(1, 2.475, 2.646, 0.875, 1.0), (4, 0.935, 1.0, 0.5, 0.571), (7, 0.354, 0.378, 0.125, 0.143)],
)
def test_one_group_four_conventions(k: int, ddof1: float, ddof0: float, centred: float, loo: float):
    p = k / N
    want = {
        "grpo@paper": (1 - p) / sqrt(p * (1 - p) * N / (N - 1)),
        "dr_grpo": 1 - p,
        "rloo": (1 - p) * N / (N - 1),
    }
    for spec, value in want.items():
        assert success(k, spec) == pytest.approx(value, abs=1e-12)
    population = success(k, "grpo@paper", ddof=0)
    assert population == pytest.approx(sqrt((1 - p) / p), abs=1e-12)
    got = [success(k, "grpo@paper"), population, success(k, "dr_grpo"), success(k, "rloo")]
    assert [round(x, 3) for x in got] == [ddof1, ddof0, centred, loo]


@pytest.mark.parametrize(("spec", "eps"), [("grpo@paper", 0.0), ("grpo@verl", 1e-6), ("grpo@trl", 1e-4)])
@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_the_constant_added_to_the_deviation(spec: str, eps: float, scale: float):
    deviation = scale * sqrt(1 / 2)
    got = run(responses([[0.0, scale]]), spec)
    np.testing.assert_allclose(got, np.array([-0.5, 0.5]) * scale / (deviation + eps), rtol=1e-12)


SINGLETON = 3.0
SINGLE = {
    "grpo@paper": 0.0,
    "grpo@verl": SINGLETON / (1 + 1e-6),
    "grpo@verl-vectorized": SINGLETON / (1 + 1e-6),
    "grpo@verl-agent": SINGLETON / (1 + 1e-6),
    "grpo@trl": 0.0,
    "dr_grpo@paper": 0.0,
    "dr_grpo@verl": SINGLETON,
    "dr_grpo@trl": 0.0,
    "rloo@paper": 0.0,
    "rloo@verl": SINGLETON,
    "rloo@verl-vectorized": 0.0,
    "rloo@trl": 0.0,
    "opo@paper": 0.0,
    "opo@verl": SINGLETON,
    "gpg@paper": 0.0,
    "gpg@verl": SINGLETON,
    "grpo_passk@paper": 0.0,
}


@pytest.mark.parametrize(("spec", "want"), SINGLE.items())
def test_a_group_of_one(spec: str, want: float):
    got = run(responses([[SINGLETON], [0.0, 1.0]]), spec)
    assert got[0] == pytest.approx(want, rel=1e-14, abs=0.0)


def test_a_group_of_one_has_no_second_best():
    with pytest.raises(InputError, match=r"^group: got a group of one \(group 1\), allowed groups of two or more$"):
        run(responses([[0.0, 1.0], [2.0]]), "grpo_passk@verl")


def test_ties_for_the_best_leave_no_lead():
    got = run(responses([[1.0, 1.0, 0.0], [2.0, 0.0, 1.0]]), "grpo_passk@paper")
    np.testing.assert_array_equal(got, [0.0, 0.0, 0.0, 1.0, 0.0, 0.0])


@pytest.mark.parametrize(
    ("lengths", "good", "bad"), [((5, 50), 10 / 11, -1 / 11), ((10, 30), 0.75, -0.25), ((7, 7), 0.5, -0.5)]
)
def test_row_weighting_follows_length(lengths: tuple[int, int], good: float, bad: float):
    """Four successes of one length, four failures of another: the row mean is the share of rows, not of episodes."""
    rollouts = episodes([1.0] * 4 + [0.0] * 4, [lengths[0]] * 4 + [lengths[1]] * 4)
    rows = run(rollouts, "dr_grpo@verl-agent")
    trajectories = run(rollouts, "dr_grpo@verl")
    split = 4 * lengths[0]
    np.testing.assert_allclose(rows[:split], good, rtol=1e-14)
    np.testing.assert_allclose(rows[split:], bad, rtol=1e-14)
    np.testing.assert_array_equal(trajectories[:split], 0.5)
    np.testing.assert_array_equal(trajectories[split:], -0.5)


def test_row_weighting_makes_rloo_count_rows():
    """Two trajectories of 1 and 3 rows with scores 1 and 0: n = 4 rows, mean 1/4, factor 4/3."""
    got = run(episodes([1.0, 0.0], [1, 3]), "rloo@verl-agent")
    np.testing.assert_allclose(got, [1.0, -1 / 3, -1 / 3, -1 / 3], rtol=1e-14)


def test_row_weighting_makes_a_long_best_tie_with_itself():
    rollouts = episodes([1.0, 0.0], [2, 1])
    assert not run(rollouts, "grpo_passk@verl-agent").any()
    np.testing.assert_allclose(run(rollouts, "grpo_passk@verl"), [sqrt(2) / (1 + sqrt(2) * 1e-6)] * 2 + [0.0])


def test_a_batch_scale_divides_by_the_deviation_of_all_scores():
    """TRL's scale_rewards='batch': groups (0, 1) and (10, 11) are centred apart and scaled by one number."""
    scores = [0.0, 1.0, 10.0, 11.0]
    got = run(responses([scores[:2], scores[2:]], batch_per_group=False), "grpo@trl", scale="batch")
    want = np.array([-0.5, 0.5, -0.5, 0.5]) / (np.std(scores, ddof=1) + 1e-4)
    np.testing.assert_allclose(got, want, rtol=1e-14)


def test_masked_trajectories_are_excluded_or_included():
    scores = [0.0, 1.0, 5.0]
    weight = np.array([1.0, 1.0, 0.0])
    rollouts = with_weights(responses([scores]), weight)
    np.testing.assert_array_equal(run(rollouts, "dr_grpo@paper"), [-0.5, 0.5, 0.0])
    np.testing.assert_array_equal(run(rollouts, "dr_grpo@verl"), [-2.0, -1.0, 3.0])


def test_gpg_alpha_differs_for_groups_that_are_all_correct():
    """A batch of a mixed group and an all-correct one: the paper counts the latter out, verl counts it in."""
    rollouts = responses([[0.0, 1.0], [1.0, 1.0]], batch_per_group=False)
    np.testing.assert_allclose(run(rollouts, "gpg@paper"), np.array([-0.5, 0.5, 0, 0]) * 4 / 2)
    np.testing.assert_allclose(run(rollouts, "gpg@verl"), np.array([-0.5, 0.5, 0, 0]) * 4 / 3)


def test_gpg_verl_alpha_moves_when_every_reward_is_shifted():
    groups = [[0.0, 1.0], [1.0, 1.0]]
    moved = [[s + 1.0 for s in group] for group in groups]
    before, after = (run(responses(g, batch_per_group=False), "gpg@verl") for g in (groups, moved))
    np.testing.assert_allclose(after, before * 3 / 4, rtol=1e-14)
    before, after = (run(responses(g, batch_per_group=False), "gpg@paper") for g in (groups, moved))
    np.testing.assert_array_equal(after, before)


def test_gpg_of_a_batch_without_signal_is_zero():
    assert not run(responses([[0.0, 0.0], [1.0, 1.0]], batch_per_group=False), "gpg@paper").any()


def test_reinforce_returns():
    rollouts = episodes([1.0], [3]).with_columns(reward=np.array([1.0, 2.0, 4.0]))
    np.testing.assert_array_equal(run(rollouts, "reinforce", gamma=0.5), [3.0, 4.0, 4.0])
    np.testing.assert_array_equal(run(rollouts, "reinforce", gamma=0.5, returns="episode"), [3.0, 3.0, 3.0])


def test_reinforce_plus_plus_discounts_per_row_of_a_step():
    """Four tokens of one step; the discount acts between tokens, and the result is not constant over them."""
    rollouts = episodes([1.0], [4], step=np.zeros(4, np.int64))
    got = run(rollouts, "reinforce_plus_plus", gamma=0.5)
    value = np.array([1 / 8, 1 / 4, 1 / 2, 1.0])
    np.testing.assert_allclose(got, (value - value.mean()) / np.sqrt(value.var(ddof=1) + 1e-8), rtol=1e-12)


def test_step_estimators_see_folded_steps():
    """Two decisions of one step count as one row in row statistics and share the step's credit."""
    rollouts = episodes([1.0, 0.0], [3, 1], step=np.array([0, 0, 1, 0]))
    got = run(rollouts, "dr_grpo@verl-agent")
    np.testing.assert_allclose(got, [1 / 3, 1 / 3, 1 / 3, -2 / 3], rtol=1e-14)


def test_remax_forms_differ_only_with_rewards_on_the_way():
    rollouts = episodes([1.0], [2]).with_trajectory_columns(greedy_score=np.array([0.25]))
    np.testing.assert_array_equal(run(rollouts, "remax@paper"), run(rollouts, "remax@verl"))
    early = rollouts.with_columns(reward=np.array([1.0, 1.0]))
    np.testing.assert_array_equal(run(early, "remax@paper"), [1.75, 1.75])
    np.testing.assert_array_equal(run(early, "remax@verl"), [1.75, 0.75])


def test_remax_asks_for_the_greedy_score():
    with pytest.raises(MissingColumnError, match="no 'greedy_score', needed by remax@verl"):
        run(episodes([1.0], [2]), "remax@verl")


OURS = ["dr_grpo", "gpg", "grpo", "grpo_passk", "opo", "reinforce", "reinforce_plus_plus"]
OURS += ["reinforce_plus_plus_baseline", "remax", "rloo"]


@pytest.mark.parametrize("name", OURS)
def test_the_conventions_table_of_the_docstring_names_every_preset(name: str):
    part = ESTIMATORS[name]
    documentation = part.function.__doc__ or ""
    table = documentation.partition("Conventions:")[2]
    named = {line.split()[0] for line in table.splitlines() if line.strip()}
    assert set(part.presets) <= named


@pytest.mark.parametrize(
    ("spec", "overrides", "message"),
    [
        ("grpo", {"scale": "sd"}, "scale: got 'sd'"),
        ("grpo", {"weighting": "row"}, "weighting: got 'row'"),
        ("grpo", {"masked": "yes"}, "masked: got 'yes'"),
        ("grpo", {"singleton": "drop"}, "singleton: got 'drop'"),
        ("grpo", {"aggregation": "sum"}, "aggregation: got 'sum'"),
        ("grpo", {"eps": -1e-6}, "eps: got -1e-06, allowed 0 <= eps"),
        ("grpo", {"epsilon": 1e-6}, "grpo parameter: got 'epsilon'"),
        ("grpo@ver", {}, "grpo preset: got 'ver'"),
        ("rloo", {"eps": float("nan")}, "eps: got nan"),
        ("opo", {"length": "chars"}, "length: got 'chars'"),
        ("opo", {"singleton": "drop"}, "singleton: got 'drop'"),
        ("gpg", {"rescale": "all"}, "rescale: got 'all'"),
        ("gpg", {"f_norm": 0.0}, "f_norm: got 0.0"),
        ("grpo_passk", {"scale": "batch"}, "scale: got 'batch'"),
        ("grpo_passk", {"singleton": "raw"}, "singleton: got 'raw'"),
        ("reinforce", {"gamma": 1.5}, "gamma: got 1.5, allowed 0 <= gamma <= 1"),
        ("reinforce", {"returns": "all"}, "returns: got 'all'"),
        ("reinforce_plus_plus", {"eps_inside": -1.0}, "eps_inside: got -1.0"),
    ],
)
def test_bad_parameters_are_one_line(spec: str, overrides: dict[str, object], message: str):
    with pytest.raises((InputError, UnknownNameError)) as error:
        run(responses([[0.0, 1.0]]), spec, **overrides)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_presets_say_what_they_change():
    assert resolve("grpo@trl").params["eps"] == 1e-4
    assert resolve("grpo@verl-agent").params["weighting"] == "step"
    assert resolve("rloo@verl-vectorized").params["singleton"] == "zero"
