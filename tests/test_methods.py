"""Every method of the catalogue fits together and runs; what cannot work is refused before anything runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from creditsim.errors import InputError, MissingColumnError, UnknownNameError
from creditsim.estimators.base import ESTIMATORS, estimator
from creditsim.methods import METHODS, Catalogue, Method, Use
from creditsim.plan import RECORDABLE, check
from creditsim.registry import EVIDENCE
from creditsim.rollouts import Rollouts
from creditsim.schedules import Schedule
from creditsim.train import TrainConfig, planned, train

EXPECTED = {
    "reinforce", "reinforce_plus_plus", "reinforce_plus_plus_baseline", "rloo", "remax", "grpo", "dr_grpo",
    "grpo_passk", "dapo", "gspo", "opo", "gpg", "otb", "ppo", "gigpo", "hgpo", "3spo",
}  # fmt: skip
TINY = TrainConfig(env="chain@tiny", updates=2, replicates=3, groups=2, group_size=4)


def test_catalogue_holds_the_methods() -> None:
    assert set(METHODS.names()) >= EXPECTED


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_is_documented_and_runs(name: str) -> None:
    method = METHODS[name]
    assert method.title
    assert method.paper
    assert method.regime
    assert "\n" not in method.regime
    assert set(method.evidence.values()) <= set(EVIDENCE)
    assert {"design", "estimator", "update"} <= set(method.evidence)
    result = train(TINY.replaced(method=name))
    assert result.j.shape == (3, 3)
    assert np.isfinite(result.theta).all()
    assert ((result.j >= 0) & (result.j <= result.optimum + 1e-12)).all()


@pytest.mark.parametrize(("name", "env"), [("scpo", "dead_ends@tiny"), ("steppo", "tokens@tiny")])
def test_methods_learn_in_the_environments_made_for_them(name: str, env: str) -> None:
    result = train(TINY.replaced(method=name, env=env, updates=15))
    assert (result.j[-1] > result.j[0]).all()


def run_check(**parts: Any) -> None:
    check(METHODS["grpo"].replaced(**parts))


def test_a_column_that_nothing_makes_is_refused_with_its_maker() -> None:
    with pytest.raises(MissingColumnError) as error:
        run_check(estimator=Use("gae"))
    told = str(error.value)
    assert told.startswith("method grpo, estimator gae: got no column 'value' from the parts before it")
    assert told.endswith("nearest: signal critic")
    assert "\n" not in told
    # The same method with the signal it lacked is accepted: the check is no blanket refusal.
    run_check(estimator=Use("gae"), signals=(Use("critic"),))


def test_order_matters() -> None:
    # A signal that comes after the part that needs its column would not help: signals run before the estimator only.
    @estimator("needs_valid_for_test", paper="test", needs=("valid",))
    def needs_valid(rollouts: Rollouts) -> np.ndarray:
        """Credit valid actions."""
        return rollouts.columns["valid"].astype(float)

    try:
        with pytest.raises(MissingColumnError, match="nearest: signal invalid_action"):
            run_check(estimator=Use("needs_valid_for_test"))
        run_check(estimator=Use("needs_valid_for_test"), signals=(Use("invalid_action"),))
    finally:
        ESTIMATORS.remove("needs_valid_for_test")


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"estimator": Use("gipgo")}, "nearest: gigpo"),
        ({"estimator": Use("gigpo@verl-agnet")}, "nearest: verl-agent"),
        ({"estimator": Use("gigpo", {"gama": 0.9})}, "nearest: gamma"),
        ({"update": Use("surogate")}, "nearest: surrogate"),
        ({"update": Use("surrogate", {"epoch": 2})}, "nearest: epochs"),
        ({"design": Use("independant")}, "nearest: independent"),
        ({"signals": (Use("crittic"),)}, "nearest: critic"),
        ({"design": Use("no.such.module:f")}, "importable package.module:function"),
    ],
)
def test_unknown_names_are_refused_in_one_line(parts: dict[str, Any], told: str) -> None:
    with pytest.raises(UnknownNameError) as error:
        run_check(**parts)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_parameters_go_to_parts_by_kind_or_signal() -> None:
    plan = check(METHODS["ppo"], critic={"learning_rate": 0.25}, update={"epochs": 3}, estimator={"lam": 0.5})
    assert plan.signals[0].params["learning_rate"] == 0.25
    assert plan.update.params["epochs"] == 3
    assert plan.estimator.params["lam"] == 0.5
    assert plan.estimator.params["bootstrap"] is False
    with pytest.raises(UnknownNameError, match="nearest: critic"):
        check(METHODS["ppo"], critics={"learning_rate": 0.25})


def test_recorded_columns_and_tables_are_those_some_part_needs() -> None:
    assert check(METHODS["grpo"]).record == ()
    assert check(METHODS["otb"]).record == ("sum_pi_squared",)
    assert set(check(METHODS["otb"]).record) <= set(RECORDABLE)
    assert check(METHODS["grpo"]).tables == ()
    assert check(METHODS["ppo"]).tables == ("context_of_state",)
    assert check(METHODS["ppo"].replaced(signals=(Use("oracle_value"),))).tables == ("oracle_value",)


def test_overrides_of_a_config_reach_the_parts() -> None:
    plan, env = planned(
        TINY.replaced(
            method="gigpo",
            estimator="gigpo@paper",
            update="reinforce",
            learning_rate=0.25,
            group_size=6,
            params=("estimator.step_weight=0.5", "env.length=2", "estimator.gamma={start=1.0, end=0.9}"),
        )
    )
    assert plan.estimator.label == "gigpo@paper"
    assert plan.estimator.params["normalize"] == "mean_std"
    assert plan.estimator.params["step_weight"] == 0.5
    assert plan.estimator.params["gamma"] == Schedule(1.0, 0.9)
    assert plan.update.part.name == "reinforce"
    assert plan.update.params["learning_rate"] == 0.25
    assert plan.design.params["group_size"] == 6
    assert env == {"length": 2}


def test_another_part_does_not_inherit_the_methods_parameters() -> None:
    # GiGPO's own penalty=0 belongs to its preset; RLOO has no such parameter and must not be offered it.
    plan, _ = planned(TINY.replaced(method="gigpo", estimator="rloo"))
    assert plan.estimator.label == "rloo"


def test_a_users_function_is_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_parts_for_test.py").write_text(
        "import numpy as np\n"
        "def centred(rollouts, *, scale=1.0):\n"
        "    return scale * (rollouts.reward - rollouts.reward.mean())\n"
        "def spoil(rollouts):\n"
        "    rollouts.reward[:] = 0\n"
        "    return rollouts.reward\n"
        "def bonus(rollouts, state, *, size=1.0):\n"
        "    return {'reward': rollouts.reward + size}, state\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    result = train(
        TINY.replaced(
            estimator="my_parts_for_test:centred",
            signals=("my_parts_for_test:bonus",),
            params=("estimator.scale=2.0",),
        )
    )
    assert np.isfinite(result.theta).all()
    # Sampled returns are those of the environment, whatever a signal makes of the reward.
    assert (result.mean_return <= 1.0).all()
    with pytest.raises(InputError, match="changed in place"):
        train(TINY.replaced(estimator="my_parts_for_test:spoil"))
    monkeypatch.delitem(sys.modules, "my_parts_for_test")


def test_catalogue_refuses_another_method_under_a_taken_name() -> None:
    own = Catalogue(METHODS["grpo"])
    own.add(METHODS["grpo"])
    with pytest.raises(InputError, match="a free name"):
        own.add(METHODS["rloo"].replaced(name="grpo"))
    assert "grpo" in own
    own.remove("grpo")
    assert own.names() == []
    with pytest.raises(UnknownNameError, match="nearest: dr_grpo"):
        METHODS["dr_gpro"]
    assert isinstance(METHODS["rloo"], Method)
