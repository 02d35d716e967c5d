"""StepMix and EpsMix: verdicts, twins, the numbers behind them, and independent second derivations."""

from __future__ import annotations

import numpy as np
import pytest
from stepmix_trials import ALPHA, VERDICTS, result, variant

from creditsim.conservative import ConservativeConfig, explore
from creditsim.exact import solve
from creditsim.mdp import make, with_time
from creditsim.planning_tables import half_optimal, steps_left
from theory.claim import CLAIMS, Trial
from theory.claims import stepmix, stepmix_mixing
from theory.exploring import DELTA, curves, number_of_runs, runs
from theory.question import QUESTIONS


@pytest.mark.parametrize("name", VERDICTS)
def test_verdict_and_twin(name: str) -> None:
    found = result(name).meta
    assert found["verdict"] == VERDICTS[name]
    assert variant(name, "broken")["verdict"] == "refuted"
    if VERDICTS[name] == "conditional":
        assert [part["verdict"] for part in found["parts"]] == ["supported", "refuted"]
    assert any(sign in CLAIMS[name].statement for sign in ("=", "<=", ">="))
    assert len({column.size for column in result(name).table.values()}) == 1


def test_no_run_violates_and_enough_runs_say_so() -> None:
    found = result("stepmix.safe-in-every-episode").meta
    assert found["detail"]["violating_runs"] == 0 and found["detail"]["runs"] == 120
    # Clopper-Pearson for none of n, by hand: 1 - (alpha/2)^(1/n).
    assert found["interval"][1] == pytest.approx(1 - (ALPHA / 2) ** (1 / 120), abs=1e-9)
    assert found["interval"][1] < DELTA
    assert found["detail"]["ucbvi_violating_runs"] == 120
    assert min(found["detail"]["ucbvi_violated_episodes"]) > 10
    assert found["detail"]["bounds_failed"] == 0
    # Not safe for the lack of trying: most of the episodes before certification were mixtures.
    assert found["detail"]["table 0"]["mixed_episodes"] > 500


def test_violations_come_as_the_bonus_goes() -> None:
    rates = list(result("stepmix.safe-in-every-episode").meta["detail"]["violating_by_scale"].values())
    assert rates == sorted(rates)
    assert rates[0] == 0 and rates[-1] > 0.3


def test_baseline_alone_is_safe_and_linear_in_regret() -> None:
    found = result("stepmix.regret-order")
    part = found.where(environment="table 0", method="stepmix")
    step = np.diff(part["baseline_regret"]) / np.diff(part["episode"])
    assert step == pytest.approx(step[0])
    assert part["regret"][-1] < 0.2 * part["baseline_regret"][-1]
    run = runs(Trial("quick", ALPHA, 0), "table 0", "stepmix")
    assert run.baseline == pytest.approx(solve(run.mdp, half_optimal(run.mdp)).j)
    assert run.bar == pytest.approx(0.9 * run.baseline[0])


def test_regret_grows_more_slowly_than_the_root_and_the_twin_linearly() -> None:
    detail = result("stepmix.regret-order").meta["detail"]
    for place in ("table 0", "table 1", "table 2"):
        numbers = detail[f"sqrt(K): {place}"]
        assert numbers["stepmix"][2] / numbers["stepmix"][1] < 2**0.5
        assert numbers["ratio"][2] < numbers["ratio"][1]
    twin = variant("stepmix.regret-order", "broken")
    assert twin["interval"][0] > 1.8


def test_learnt_baselines_fall_below_the_bar_like_a_threshold() -> None:
    data = result("stepmix.offline-baseline")
    shares = [float(data.where(n=n)["share"][0]) for n in data.unique("n")]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.5 and shares[-1] == 0.0
    last, first = data.where(n=3000), data.where(n=30)
    assert (last["baseline"] >= last["bar"]).all()
    assert last["regret"].sum() < first["regret"].sum()


def test_the_price_of_slack_is_below_its_bound() -> None:
    data = result("stepmix.price-of-slack")
    for place in data.unique("environment"):
        part = data.where(environment=place)
        assert (np.diff(part["cautious"]) < 0).all()
        slope = np.polyfit(np.log(part["slack"]), np.log(part["cautious"]), 1)[0]
        assert -2 < slope < 0
        # kappa = (1 - kept) V^b
        run = runs(Trial("quick", ALPHA, 0), place, "stepmix")
        assert part["slack"] == pytest.approx(part["share"] * run.baseline[0])


def test_one_step_is_linear_by_the_difference_of_q() -> None:
    # A second derivation: V(w) = V(0) + w sum_s d(s) (Q(s, optimal) - Q(s, baseline)), d the baseline's occupancy.
    mdp = with_time(make("layered@tiny", layers=4, paying=0.4, seed=7))
    left, safe, bold = steps_left(mdp), half_optimal(mdp), half_optimal(mdp, 1.0)
    for handed in range(4):
        pi = np.where((left <= handed)[:, None], bold, safe)
        solution = solve(mdp, pi)
        here = left == handed + 1
        occupancy = solution.occupancy[mdp.horizon - handed - 1]
        gain = float(((bold - safe) * solution.q[handed + 1])[here].sum(axis=1) @ occupancy[here])
        for weight in (0.0, 0.3, 1.0):
            chance = stepmix_mixing.one_step(left, handed, weight)[:, None]
            value = solve(mdp, chance * bold + (1 - chance) * safe).j
            assert value == pytest.approx(solution.j + weight * gain, abs=1e-12)
    assert variant("stepmix.linear-in-weight", "broken")["statistic"] != pytest.approx(
        variant("stepmix.linear-in-weight", "broken")["prediction"], abs=1e-4
    )


def test_half_forever_plays_half_of_the_episodes() -> None:
    run = explore(ConservativeConfig(design=stepmix.HALF, episodes=50, replicates=3, env_params={"paying": 0.4}))
    assert (run.optimism == 0.5).all()


def test_curves_are_those_of_the_run() -> None:
    run = runs(Trial("quick", ALPHA, 0), "table 1", "stepmix")
    drawn = curves(run, points=12)
    each = np.repeat(run.value, run.size, axis=0)[drawn["episode"] - 1]
    assert drawn["value"] == pytest.approx(np.median(each, axis=1))
    assert drawn["least"] == pytest.approx(each.min(axis=1))
    assert (drawn["low"] <= drawn["regret"]).all() and (drawn["regret"] <= drawn["high"]).all()
    assert [number_of_runs(Trial(size, ALPHA, 0)) for size in ("quick", "standard", "full")] == [40, 100, 200]


def test_the_page_on_the_price_of_safety_follows_its_evidence() -> None:
    question = QUESTIONS["price_of_safety"]
    evidence = {name: dict(result(name).meta) for name in question.claims}
    answer = question.function(evidence)
    assert answer.startswith("A delay, not an order: 0 of 120 StepMix runs") and answer.endswith(".")
    safe = evidence["stepmix.safe-in-every-episode"]
    other = {**evidence, "stepmix.safe-in-every-episode": {**safe, "detail": {**safe["detail"], "violating_runs": 7}}}
    assert "7 of 120" in question.function(other)
