"""Claims on baselines: verdicts, twins and controls, the numbers behind them by other ways, and their answers."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from creditsim.estimators import advantage
from creditsim.exact import exact_moments
from theory.claim import CLAIMS, Trial, facts
from theory.noise import ESTIMATORS, TASKS, best_constant, best_noise, noise, noise_of, pair_noise, task
from theory.question import QUESTIONS

ORDER, ROLLOUT = "baselines.variance-order", "baselines.noise-per-rollout"
SINGLE = [name for name, groups in TASKS.items() if groups == 1]


@cache
def found(name: str, variant: str | None = None) -> dict[str, Any]:
    entry = CLAIMS[name]
    check = entry.function if variant is None else entry.variants[variant].check
    return facts(check(Trial("quick", 1e-4, 0)))


def test_verdicts() -> None:
    assert found(ORDER)["verdict"] == "refuted"
    assert found(ORDER, "control")["verdict"] == "supported"
    assert found(ROLLOUT)["verdict"] == "supported"


@pytest.mark.parametrize("name", [ORDER, ROLLOUT])
def test_twin_is_refuted(name: str) -> None:
    assert found(name, "broken")["verdict"] == "refuted"


def test_only_whitening_breaks_the_order() -> None:
    detail = found(ORDER)["detail"]
    assert list(detail["failing"]) == ["reinforce_plus_plus@paper >= dr_grpo@paper"]
    assert detail["held"] == detail["links"] - len(*detail["failing"].values())
    assert 0 < detail["pairs_ranked_otherwise"] < detail["pairs"] <= 15 * len(TASKS)


@pytest.mark.parametrize("p", [0.5, 0.1])
@pytest.mark.parametrize("n", [2, 3, 8])
def test_one_binary_answer_in_closed_form(p: float, n: int) -> None:
    """RLOO of k right answers of n has gradient k(n-k)/(n(n-1)) along the one free logit; so sum over k."""
    from theory.shared import binomial

    k = np.arange(n + 1)
    g, chance = k * (n - k) / (n * (n - 1)), binomial(n, p)
    mean = float(chance @ g)
    assert mean == pytest.approx(p * (1 - p), rel=1e-12)
    expected = n * float(chance @ (g - mean) ** 2) / mean**2
    assert noise(f"one answer, p = {p}", "rloo@paper", n).relative == pytest.approx(expected, rel=1e-12)


def test_best_constant_of_an_own_choice_leaves_no_noise() -> None:
    assert best_constant("one answer, p = 0.1")[0] == pytest.approx(0.9)
    assert best_noise("one answer, p = 0.1").relative == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("name", list(TASKS))
def test_no_other_constant_is_quieter(name: str) -> None:
    best = best_constant(name)
    mdp, _ = task(name)
    for shift in (-0.2, 0.2):

        def credit(rollouts: Any, shift: float = shift) -> np.ndarray:
            start = rollouts.columns["state"][rollouts.offsets[:-1]]
            return advantage(rollouts, "reinforce", returns="episode") - (best + shift)[start][rollouts.trajectory]

        assert noise_of(name, credit, 1).relative >= best_noise(name).relative - 1e-12
    assert best.shape == (mdp.n_states,)


@pytest.mark.parametrize("name", SINGLE)
def test_pair_noise_at_two_is_the_noise_of_one_pair(name: str) -> None:
    c, d = pair_noise(name)
    assert c >= 0.0
    assert noise(name, "rloo@paper", 2).relative == pytest.approx(c + d, rel=1e-9)


def test_noise_is_free_of_scale_and_raw_is_not() -> None:
    one, two = (noise_of("tree", lambda r, f=f: f * advantage(r, "rloo@paper"), 4) for f in (1.0, 3.0))
    assert two.relative == pytest.approx(one.relative, rel=1e-12)
    assert two.raw == pytest.approx(9.0 * one.raw, rel=1e-12)


@pytest.mark.parametrize("name", ["tree", "two tasks, chance decides"])
def test_noise_is_that_of_exact_moments(name: str) -> None:
    mdp, policy = task(name)
    groups = TASKS[name]
    law = exact_moments(lambda r: advantage(r, "reinforce"), mdp, policy, group_size=3, groups=groups).gradient
    assert law.covariance is not None
    unit = law.exact / np.linalg.norm(law.exact)
    expected = 3 * groups * np.trace(law.covariance) / (law.mean @ unit) ** 2
    assert noise(name, "reinforce", 3).relative == pytest.approx(expected, rel=1e-9)


def test_table_has_every_estimator_in_every_setting() -> None:
    trial = Trial("quick", 1e-4, 0)
    CLAIMS[ORDER].function(trial)
    assert trial.data["relative"].size == len(TASKS) * 2 * (len(ESTIMATORS) + 1)
    assert np.isfinite(trial.data["relative"]).all()


@pytest.mark.parametrize("name", ["rank_by_variance", "group_size"])
def test_answer_is_one_sentence_with_numbers(name: str) -> None:
    asked = QUESTIONS[name]
    sentence = asked.function({claim: found(claim) for claim in asked.claims})
    assert sentence.endswith(".")
    assert sum(character.isdigit() for character in sentence) >= 6
    assert len(asked.text.split("\n\n")) >= 2
