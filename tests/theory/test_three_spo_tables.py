"""3SPO on tables: verdicts, twins, controls, and the spec's numbers."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from figures.base import Data
from theory.claim import CLAIMS, Trial, facts
from theory.claims import three_spo_tables as tables
from theory.three_spo_runs import WAYS, run

ALPHA = 1e-5
VERDICTS = {
    "3spo.score-telescopes": "supported",
    "3spo.only-next-state-matters": "supported",
    "3spo.one-branch-threshold": "supported",
    "3spo.graded-rollouts": "refuted",
    "3spo.truncation-keeps-penalty": "conditional",
    "3spo.success-at-equal-transitions": "refuted",
    "3spo.states-at-equal-transitions": "conditional",
    "3spo.inverted-u-alpha": "refuted",
    "3spo.default-truncation": "supported",
}


@cache
def result(name: str) -> Data:
    trial = Trial("quick", ALPHA, 0)
    evidence = CLAIMS[name].function(trial)
    return Data(trial.data, facts(evidence))


@cache
def variant(name: str, kind: str) -> dict[str, Any]:
    return facts(CLAIMS[name].variants[kind].check(Trial("quick", ALPHA, 0)))


@pytest.mark.parametrize("name", VERDICTS)
def test_verdict_twin_and_control(name: str) -> None:
    found = result(name).meta
    assert found["verdict"] == VERDICTS[name]
    assert variant(name, "broken")["verdict"] == "refuted"
    if CLAIMS[name].control is not None:
        assert variant(name, "control")["verdict"] == "supported"
    assert VERDICTS[name] != "refuted" or CLAIMS[name].control is not None
    if VERDICTS[name] == "conditional":
        assert [part["verdict"] for part in found["parts"]] == ["supported", "refuted"]


@pytest.mark.parametrize("name", VERDICTS)
def test_tables_are_finite_and_long(name: str) -> None:
    columns = result(name).table
    assert len({c.size for c in columns.values()}) == 1
    assert all(np.isfinite(c).all() for c in columns.values() if c.dtype.kind == "f")


def test_rates_from_which_one_branch_is_drawn() -> None:
    found = result("3spo.one-branch-threshold").meta["detail"]
    for t, percent in ((2, 6.0), (10, 1.8), (100, 0.9), (100_000, 0.36)):
        assert 100 * found[f"alpha=50 t={t}"] == pytest.approx(percent, abs=0.05 if percent > 0.5 else 0.005)


def test_largest_score_of_a_state_that_has_had_a_success() -> None:
    assert result("3spo.graded-rollouts").meta["statistic"] == pytest.approx(2.0**-5, rel=1e-6)
    assert variant("3spo.graded-rollouts", "control")["statistic"] == pytest.approx(2.0**-0.1, rel=1e-6)


def test_drift_into_the_pit_by_hand() -> None:
    """One group of four from a fair coin: E[drift] = (R(pit) - R(on)) p (1-p) (G-1)/G, with the rewards written out."""
    w = 0.5 * np.exp(-0.1 * 50)
    on = 50.0 ** (-25 / (50 + 1e-6))
    for failures, pit in ((9, 1.0), (10, 0.0)):
        expected = (0.5 - w) * (on - pit) * 0.25 * 3 / 4
        assert tables.trap_drift(1.0, failures, 0.0, 1.0) == pytest.approx(expected, rel=1e-9)
    assert tables.trap_drift(1.0, 10, 0.0, 1.0) > 0 > tables.trap_drift(1.0, 10, 1.0, 1.0)


def test_runs_are_read_off_at_the_budget() -> None:
    curves = run("GRPO", "chain@tiny", (), 200, 3, 0)
    at = curves.at(200)
    assert (curves.drawn[-1] > 200).all() and not curves.drawn[0].any()
    for i in range(3):
        k = int((curves.drawn[:, i] <= 200).sum()) - 1
        assert curves.drawn[k, i] <= 200 < curves.drawn[k + 1, i]
        assert at["j"][i] == curves.j[k, i] and at["met"][i] == curves.met[k, i]
    assert (curves.at(0)["silent"] == 1.0).all()
    assert run("no learning", "chain@tiny", (), 200, 3, 0).j == pytest.approx(curves.j[0, 0], abs=1e-8)
    assert set(result("3spo.success-at-equal-transitions").unique("way")) < set(WAYS)


def test_3spo_stops_learning_where_grpo_goes_on() -> None:
    found = result("3spo.success-at-equal-transitions").meta["detail"]["chain of 10"]
    assert found["3SPO"]["j"] < 0.1 < 0.8 < found["GRPO"]["j"]
    assert found["3SPO"]["silent"] > 0.9 > found["GRPO"]["silent"]
