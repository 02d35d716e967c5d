"""From a study to cells: what is made, in which order, and what is refused before anything runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from creditsim.errors import InputError, MissingColumnError, TooLargeError
from creditsim.exact import policy_gradient, solve
from creditsim.study import results
from creditsim.study.grid import fit_memory, learning_cells, modules_beside, try_out, variance_cells
from creditsim.study.learning import config_of
from creditsim.study.memory import Footprint
from creditsim.study.runner import run_cells
from creditsim.study.setting import Setting, make_environment, make_policy
from creditsim.study.spec import LearningStudy, VarianceStudy
from creditsim.study.store import Store

TINY = VarianceStudy(estimators=("grpo",), environments=("chain@tiny",), replicates=100)


def test_the_grid_is_the_product_in_the_order_written() -> None:
    study = replace(
        TINY, estimators=("grpo", "rloo"), environments=("chain@tiny", "tree@tiny"), group_sizes=(2, 4),
        policies=("uniform", "random:1"), horizons=(2, 3),
    )  # fmt: skip
    cells = variance_cells(study)
    assert len(cells) == 32 == len({cell.id for cell in cells})
    first = [(c.spec["estimator"], c.spec["group_size"], c.spec["policy"], c.spec["horizon"]) for c in cells[:4]]
    assert [entry[:2] for entry in first] == [("grpo", 2), ("rloo", 2), ("grpo", 4), ("rloo", 4)]
    assert {entry[2:] for entry in first} == {("uniform", 2)}
    assert [cell.spec["environment"] for cell in cells] == ["chain@tiny"] * 16 + ["tree@tiny"] * 16


def test_equal_cells_are_made_once_however_they_are_spelled() -> None:
    study = replace(
        TINY, estimators=("grpo( ddof = 0 )", "grpo(ddof=0)"), environments=("chain", "chain@small"),
        policies=("random", "random:0:1.0"), horizons=(12,),
    )  # fmt: skip
    (cell,) = variance_cells(study)
    assert cell.spec["environment"] == "chain@small" and cell.spec["policy"] == "random:0:1"
    own = variance_cells(replace(study, horizons=()))
    assert own[0].id == cell.id  # the environment's own horizon is 12


def test_a_study_grows_without_losing_cells() -> None:
    before = {cell.id for cell in variance_cells(TINY)}
    after = {cell.id for cell in variance_cells(replace(TINY, estimators=("rloo", "grpo"), group_sizes=(4, 8)))}
    assert before < after
    for changes in ({"replicates": 101}, {"seed": 1}, {"alpha": 0.1}, {"by": "time"}, {"groups": 2}, {"gamma": 0.5}):
        assert {cell.id for cell in variance_cells(replace(TINY, **changes))}.isdisjoint(before)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"estimators": ("gae",)}, MissingColumnError),
        ({"estimators": ("grpo", "remax")}, MissingColumnError),
        ({"exact": True, "environments": ("chain@small",)}, TooLargeError),
        ({"exact": True, "environments": ("random@large",), "group_sizes": (2,)}, TooLargeError),
        ({"exact": True, "design": "filtered"}, InputError),
        ({"replicates": 1 << 40}, InputError),
        ({"alpha": 0.3}, InputError),
        ({"precision": float("nan")}, InputError),
        ({"name": ""}, InputError),
        ({"group_sizes": ()}, InputError),
    ],
)
def test_cells_are_refused_before_any_is_run(changes: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        variance_cells(replace(TINY, **changes))


def test_one_bad_entry_refuses_the_whole_grid() -> None:
    with pytest.raises(InputError, match="chain parameter: got 'lenght'"):
        variance_cells(replace(TINY, environments=("chain@tiny", "tree@tiny", "chain@tiny(lenght=2)")))


def test_cells_that_differ_in_policy_are_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Setting] = []

    def count(setting: Setting) -> Footprint:
        tried.append(setting)
        return Footprint(1000, 10.0)

    monkeypatch.setattr("creditsim.study.grid.footprint", count)
    cells = variance_cells(replace(TINY, policies=("uniform", "random:1", "random:2"), group_sizes=(2, 4)))
    assert set(try_out(cells)) == {cell.id for cell in cells}
    assert len(tried) == 2


def test_chunks_keep_below_the_memory_given() -> None:
    (cell,) = variance_cells(replace(TINY, replicates=10**6))
    tight, most = fit_memory([cell], {cell.id: Footprint(1 << 20, 1024.0)}, 2 << 20)
    assert tight[0].options == {"chunk": 1024} and most == 2 << 20
    assert tight[0].id == cell.id
    loose, _ = fit_memory([cell], {cell.id: Footprint(0, 1.0)}, 1 << 30)
    assert 1024 < loose[0].options["chunk"] < 10**6  # short enough to stay interruptible
    with pytest.raises(TooLargeError, match="MiB for one replicate of grpo chain@tiny"):
        fit_memory([cell], {cell.id: Footprint(3 << 20, 1024.0)}, 2 << 20)


def test_environments_take_another_horizon() -> None:
    assert make_environment("chain@tiny").horizon == 4
    longer = make_environment("chain@tiny(slip=0.1)", 9)
    assert longer.horizon == 9 and "slip=0.1" in longer.name
    assert make_environment("chain").name == make_environment("chain@small").name


def test_policies_are_what_their_names_say() -> None:
    mdp = make_environment("chain@small")
    uniform, hot = make_policy("uniform", mdp), make_policy("random:3:2.0@4", mdp)
    assert (uniform.probabilities(mdp) == 0.5).all()
    cold = make_policy("random:3:2.0", mdp)
    np.testing.assert_allclose(hot.theta, cold.theta)
    np.testing.assert_allclose(hot.table / 4.0, np.log(hot.probabilities(mdp)[mdp.context.argsort()]) + np.log(
        np.exp(hot.table / 4.0).sum(axis=1, keepdims=True)))  # fmt: skip
    values = [solve(mdp, make_policy(f"trained:{n}", mdp).probabilities(mdp)).j for n in (0, 10, 40)]
    assert values[0] == solve(mdp, uniform.probabilities(mdp)).j
    assert values[0] < values[1] < values[2]
    flat = make_environment("chain@tiny(goal_reward=0.0)")
    assert not policy_gradient(flat, make_policy("trained:3", flat)).any()


def test_what_a_users_module_uses_from_its_folder_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "grid_deep.py").write_text("def f():\n    return 1\n")
    (tmp_path / "grid_side.py").write_text("from grid_deep import f\nimport numpy\n")
    (tmp_path / "grid_top.py").write_text("import grid_side\nimport json\nfrom creditsim.segments import segment_sum\n")
    (tmp_path / "grid_alone.py").write_text("")
    (tmp_path / "grid_broken.py").write_text("1 +\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert modules_beside(["grid_top", "grid_alone"]) == ("grid_alone", "grid_deep", "grid_side", "grid_top")
    for name, words in {
        "grid_broken": "SyntaxError",
        "grid_absent": "ModuleNotFoundError",
        "sys": "source file",
    }.items():
        with pytest.raises(InputError, match=words):
            modules_beside([name])


def test_learning_cells_stand_for_training_runs() -> None:
    study = LearningStudy(
        methods=("rloo", "gigpo(estimator.gamma=0.9, update={loss = 'ppo'})"), environments=("chain@tiny(slip=0.1)",),
        group_sizes=(2, 4), learning_rates=(0.1, 0.5), updates=3, replicates=2, seed=5,
    )  # fmt: skip
    cells = learning_cells(study)
    assert len(cells) == 8
    config = config_of(cells[1].spec, cells[1].seed)
    assert (config.method, config.env, config.group_size, config.learning_rate, config.seed) == (
        "gigpo", "chain@tiny", 2, 0.1, 5,
    )  # fmt: skip
    assert set(config.params) == {"estimator.gamma=0.9", 'update.loss="ppo"', "env.slip=0.1"}


def test_results_are_one_table_with_labels(tmp_path: Path) -> None:
    cells = variance_cells(replace(TINY, estimators=("grpo", "rloo"), group_sizes=(2, 3)))
    run_cells(cells[:3], tmp_path, workers=1)
    table = results.collect(cells, Store(tmp_path))
    assert len({len(values) for values in table.values()}) == 1
    pairs = set(zip(table["estimator"], table["group_size"].tolist(), strict=True))
    assert pairs == {("grpo", 2), ("rloo", 2), ("grpo", 3)}
    summary = results.variance_summary(cells, Store(tmp_path))
    chosen = (table["quantity"] == "mse") & (table["scope"] == "all")
    assert [cell["quantities"]["mse"]["value"] for cell in summary] == table["value"][chosen].tolist()
    assert results.collect([], Store(tmp_path)) == {}
