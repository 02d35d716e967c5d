"""Bandits: what they are made of, and what bad input gets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from creditsim.bandits.instances import bernoulli, drifting, gaussian
from creditsim.bandits.rules.base import RULES
from creditsim.bandits.simulate import record_times, simulate
from creditsim.errors import CreditsimError, InputError


def test_values_gaps_and_the_best_arm_follow_the_objective() -> None:
    bandit = bernoulli((0.3, 0.5, 0.9))
    assert bandit.best("max") == 2 and bandit.best("min") == 0
    np.testing.assert_allclose(bandit.value("min"), [0.7, 0.5, 0.1])
    np.testing.assert_allclose(bandit.gaps("min"), [0.0, 0.2, 0.6])
    assert bandit.gap("min") == pytest.approx(0.2) and bandit.gap("max") == pytest.approx(0.4)
    normal = gaussian((-1.0, 2.0), deviation=0.5)
    assert normal.best("min") == 0 and not normal.binary and normal.gap() == 3.0
    assert drifting((0.1, 0.9), (0.9, 0.1), over=5).value("max", at_end=True).tolist() == [0.9, 0.1]


RUN: dict[str, Any] = {"horizon": 20, "replications": 2}
BAD = {
    "p: got 1.2, allowed success probabilities in [0, 1]": lambda: bernoulli((0.5, 1.2)),
    "p: got nan": lambda: bernoulli((0.5, float("nan"))),
    "p: got 1 arms, allowed a list of K >= 2": lambda: bernoulli((0.5,)),
    "p: got 0.5 for every arm": lambda: bernoulli((0.5, 0.5)),
    "mean: got NaN or infinity": lambda: gaussian((0.0, float("inf"))),
    "deviation: got 0.0": lambda: gaussian((0.0, 1.0), deviation=0.0),
    "over: got 0": lambda: drifting((0.1, 0.2), (0.2, 0.1), over=0),
    "final: got 3 arms": lambda: drifting((0.1, 0.2), (0.2, 0.1, 0.0), over=3),
    "mean: got 0.1 twice at the min": lambda: simulate(bernoulli((0.1, 0.1, 0.5)), "ucb1", objective="min", **RUN),
    "horizon: got 0": lambda: simulate(bernoulli((0.1, 0.5)), "ucb1", horizon=0, replications=1),
    "horizon: got 1, allowed at least 2": lambda: simulate(bernoulli((0.1, 0.5)), "ucb1", horizon=1, replications=1),
    "replications: got 0": lambda: simulate(bernoulli((0.1, 0.5)), "ucb1", horizon=5, replications=0),
    "alpha: got 0": lambda: simulate(bernoulli((0.1, 0.5)), "3spo_proportional", alpha=0.0, **RUN),
    "xi: got 0.0": lambda: simulate(bernoulli((0.1, 0.5)), "3spo_ceil", xi=0.0, **RUN),
    "zeta: got 1.5": lambda: simulate(bernoulli((0.1, 0.5)), "3spo_ceil", zeta=1.5, **RUN),
    "delta: got 1.0": lambda: simulate(bernoulli((0.1, 0.5)), "successive_elimination", delta=1.0, **RUN),
    "schedule: got 'cubic'": lambda: simulate(bernoulli((0.1, 0.5)), "boltzmann", schedule="cubic", **RUN),
    "feedback: got 'full' for ucb1, allowed bandit": lambda: simulate(
        bernoulli((0.1, 0.5)), "ucb1", feedback="full", **RUN
    ),
    "feedback: got 'ful'": lambda: simulate(bernoulli((0.1, 0.5)), "ucb1", feedback="ful", **RUN),
    "rewards for kl_ucb: got Gaussian": lambda: simulate(gaussian((0.1, 0.5)), "kl_ucb", **RUN),
    "initial_pulls: got 0, allowed at least 1 for ucb1": lambda: simulate(
        bernoulli((0.1, 0.5)), "ucb1", initial_pulls=0, **RUN
    ),
    "initial_pulls: got 1, allowed 0 under full": lambda: simulate(
        bernoulli((0.1, 0.5)), "uniform", feedback="full", initial_pulls=1, **RUN
    ),
    "record_times: got [5, 30]": lambda: simulate(bernoulli((0.1, 0.5)), "ucb1", record_times=[5, 30], **RUN),
    "clock: got 'pull'": lambda: simulate(bernoulli((0.1, 0.5)), "ucb1", clock="pull", **RUN),
    "device: got cuda": lambda: simulate(bernoulli((0.1, 0.5)), "ucb1", device="cuda", **RUN),
    "rule: got 'ucb'": lambda: simulate(bernoulli((0.1, 0.5)), "ucb", **RUN),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_one_line(message: str) -> None:
    if message.startswith("device"):
        from numba import cuda

        if cuda.is_available():
            pytest.skip("a CUDA device is here")
    with pytest.raises(CreditsimError) as caught:
        BAD[message]()
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_an_unknown_rule_names_the_nearest() -> None:
    with pytest.raises(InputError, match="nearest: thompson"):
        RULES["tompson"]


def test_record_times_are_distinct_and_reach_the_horizon() -> None:
    times = record_times(1000)
    assert times[0] == 1 and times[-1] == 1000 and (np.diff(times) > 0).all()
    assert record_times(1).tolist() == [1]
