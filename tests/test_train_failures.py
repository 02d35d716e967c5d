"""Replicates that become NaN or infinite: they stop, are counted and told, and touch neither the others nor a mean."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from creditsim.cli import main
from creditsim.errors import InputError
from creditsim.estimators.base import ESTIMATORS, estimator
from creditsim.rollouts import Rollouts
from creditsim.segments import segment_sum
from creditsim.signals.base import SIGNALS, signal
from creditsim.train import TrainConfig, TrainResult, train
from creditsim.train_summary import band, failures, summarise

SMALL = TrainConfig(method="reinforce", env="chain@tiny", replicates=6, updates=8, groups=2, group_size=4)
WORD = {"void": np.nan, "endless": np.inf, "huge": 1.7e308}


def won(rollouts: Rollouts) -> np.ndarray:
    """(R,) return of all trajectories of each batch together."""
    total = segment_sum(rollouts.reward, rollouts.trajectory, rollouts.n_trajectories)
    return segment_sum(total, rollouts.batch, rollouts.n_batches)


@pytest.fixture
def wild_parts():
    """An estimator and a signal that run wild in batches that win more than `above`."""

    @estimator("wild", paper="test")
    def wild(rollouts: Rollouts, *, above: float = 4.0, what: str = "void") -> np.ndarray:
        """Return to go; `what` where a batch won more than `above`."""
        return np.where(won(rollouts)[rollouts.batch_rows] > above, WORD[what], rollouts.reward)

    @signal("diverged", paper="test", makes=("value",))
    def diverged(rollouts: Rollouts, state: dict, *, above: float = 4.0) -> tuple[dict, dict]:
        """`value` (M,) 0, infinite where a batch won more than `above`."""
        return {"value": np.where(won(rollouts)[rollouts.batch_rows] > above, np.inf, 0.0)}, state

    yield wild, diverged
    ESTIMATORS.remove("wild")
    SIGNALS.remove("diverged")


def checked(result: TrainResult) -> list[str]:
    """Everything in a run with failures that is not as promised."""
    faults = []
    for r, at in enumerate(result.failed_at):
        first = at if at >= 0 else len(result.j)
        for name, start in (("j", first), ("mean_return", first), ("success", first), ("silent", max(first - 1, 0))):
            curve = getattr(result, name)[:, r]
            if np.isnan(curve[:start]).any() or not np.isnan(curve[start:]).all():
                faults.append(f"{name} of {r}")
        if not (result.generated[:first, r] > 0).all() or result.generated[first:, r].any():
            faults.append(f"generated of {r}")
    if not np.isfinite(result.theta).all():
        faults.append("theta")
    return faults


@pytest.mark.parametrize("what", WORD)
@pytest.mark.usefixtures("wild_parts")
def test_a_wild_replicate_stops_and_the_others_go_on(what: str) -> None:
    # 1.7e308 is finite as an advantage; the sum of two is not, and the update that takes it stops.
    config = SMALL.replaced(estimator="wild", params=(f"estimator.what={what}",))
    result = train(config)
    lost = result.failed_at >= 0
    assert 0 < lost.sum() < config.replicates and (result.failed_at[lost] >= 1).all()
    assert checked(result) == []
    # The others are those of a run in which nothing is ever wild.
    tame = train(config.replaced(params=("estimator.above=1e9",)))
    for name in ("j", "mean_return", "success", "silent", "generated", "met"):
        assert np.array_equal(getattr(result, name)[:, ~lost], getattr(tame, name)[:, ~lost])
    assert np.array_equal(result.theta[~lost], tame.theta[~lost])
    assert (tame.failed_at == -1).all() and checked(tame) == []
    # A replicate stops where it was: its last policy is that of the tame run before the update.
    for r in np.flatnonzero(lost):
        before = train(config.replaced(updates=int(result.failed_at[r]) - 1))
        assert np.array_equal(result.theta[r], before.theta[r])
    # Broken twin: a run that goes on with what is left after the NaN was made zero is not such a run.
    curve = np.where(np.isnan(result.j), 0.0, result.j)
    assert checked(TrainResult(**{**vars(result), "j": curve})) != []


@pytest.mark.usefixtures("wild_parts")
def test_a_runaway_critic_stops_its_replicates_alone() -> None:
    config = SMALL.replaced(method="ppo", updates=5, signals=("diverged",), estimator="gae@verl", update="surrogate")
    result = train(config)
    lost = result.failed_at >= 0
    assert 0 < lost.sum() < config.replicates
    assert checked(result) == []
    tame = train(config.replaced(params=("diverged.above=1e9",)))
    assert np.array_equal(result.j[:, ~lost], tame.j[:, ~lost])


def test_errors_that_are_no_numbers_still_end_a_run() -> None:
    with pytest.raises(InputError, match="a tree of rollouts"):
        train(SMALL.replaced(method="3spo", estimator="grpo"))


@pytest.mark.usefixtures("wild_parts")
def test_every_replicate_may_fail() -> None:
    result = train(SMALL.replaced(estimator="wild", params=("estimator.above=-1.0",)))
    assert (result.failed_at == 1).all() and np.isnan(result.j[1:]).all()
    assert result.generated[0].all() and not result.generated[1:].any()
    curve = band(result)
    assert curve["alive"].tolist() == [6] + [0] * 8 and np.isnan(curve["j"][1:]).all()
    assert np.isfinite(curve["j"][0])
    # Failed runs are done, whatever number of rows was asked for.
    short = train(SMALL.replaced(estimator="wild", params=("estimator.above=-1.0",), transitions=10**6))
    assert short.generated.shape[0] == 1


@pytest.mark.usefixtures("wild_parts")
def test_failures_are_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    result = train(SMALL.replaced(estimator="wild", first_replicate=3))
    told = failures(result)
    assert told["number"] == len(told["replicates"]) == (result.failed_at >= 0).sum()
    assert told["replicates"] == [3 + int(r) for r in np.flatnonzero(result.failed_at >= 0)]
    assert told["first_update"] == result.failed_at[result.failed_at >= 0].min()
    summary = summarise(result)
    assert summary["failed"] == told
    assert summary["j_end"]["mean"] == pytest.approx(result.j[-1][result.failed_at < 0].mean(), abs=1e-15)
    line = ["train", "--method", "reinforce", "--env", "chain@tiny", "--estimator", "wild", "--replicates", "6"]
    line += ["--updates", "8", "--groups", "2", "--group-size", "4", "--figure", str(tmp_path / "curve.svg")]
    assert main(line) == 0
    assert f"FAILED: {told['number']} of 6 replicates became NaN or infinite" in capsys.readouterr().out.replace(
        str(failures(train(SMALL.replaced(estimator="wild")))["number"]), str(told["number"]), 1
    )
    assert main([*line, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["failed"]["number"] > 0
    calm = [word if word != "wild" else "reinforce" for word in line]
    assert main(calm) == 0
    assert "FAILED" not in capsys.readouterr().out


def test_band_by_hand() -> None:
    result = train(SMALL.replaced(replicates=3, updates=1))
    j = np.array([[0.0, 1.0, 2.0], [1.0, np.nan, 3.0]])
    curve = band(TrainResult(**{**vars(result), "j": j}))
    # Student's t at 0.975 with 2 and 1 degrees of freedom: 4.302653, 12.706205.
    assert curve["j"].tolist() == [1.0, 2.0] and curve["alive"].tolist() == [3, 2]
    assert curve["high"] - curve["j"] == pytest.approx([4.3026527 / np.sqrt(3), 12.7062047], abs=1e-6)
    assert curve["least"].tolist() == [0.0, 1.0] and curve["most"].tolist() == [2.0, 3.0]
    one = band(TrainResult(**{**vars(result), "j": j[:, :1]}))
    assert np.isnan(one["low"]).all() and one["j"].tolist() == [0.0, 1.0]


def command(*words: str) -> list[str]:
    return ["train", "--env", "chain@tiny", "--replicates", "2", "--updates", "2", "--groups", "1", *words]


@pytest.fixture
def two_prompts():
    @estimator("two_prompts", paper="test", min_groups=2)
    def two_prompts(rollouts: Rollouts) -> np.ndarray:
        """Return nothing."""
        return np.zeros(rollouts.n_rows)

    yield
    ESTIMATORS.remove("two_prompts")


WRONG: list[tuple[list[str], list[str]]] = [
    (["--estimator", "two_prompts"], ["groups: got 1", "at least 2", "two_prompts"]),
    (["--params", "update.loss=blended"], ["no column 'global_advantage'", "loss blended"]),
    (["--params", "update.loss=turn_clip"], ["no column 'clip_scale'"]),
    (["--params", "update.loss=pop"], ["nearest: ppo"]),
    (["--params", "update.clip_low=0"], ["clip_low", "got 0", "0 < clip_low <= 1"]),
    (["--params", "update.clip_high=-0.1"], ["clip_high", "got -0.1"]),
    (["--params", "update.learning_rate={start=1.0, end=0.1, updates=1}"], ["schedule of learning_rate", "at most 1"]),
    (["--params", "update.learning_rate={start=1.0, end=0.1, updates=0}"], ["learning_rate updates", "got 0"]),
    (["--figure", "curve.txt"], ["figure", "curve.txt", ".png | .svg | .pdf"]),
    (["--figure", "no/such/folder.png"], ["figure", "no folder"]),
]


@pytest.mark.usefixtures("two_prompts")
@pytest.mark.parametrize(("words", "told"), WRONG, ids=str)
def test_bad_input_is_one_line_and_exit_code_2(
    words: list[str], told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command("--method", "grpo", *words)) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    for part in told:
        assert part in captured.err


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_figure_of_a_run(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"curve.{kind}"
    assert main(command("--method", "gigpo", "--groups", "4", "--figure", str(path))) == 0
    head = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[kind]
    content = path.read_bytes()
    assert content.startswith(head)
    if kind == "svg":
        assert main(command("--method", "gigpo", "--groups", "4", "--figure", str(path))) == 0
        assert path.read_bytes() == content, "equal runs draw equal files"
    capsys.readouterr()


def test_a_figure_without_matplotlib_is_refused_before_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import importlib.util

    real: Callable[..., object] = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "matplotlib" else real(name, *a))
    assert main(command("--method", "grpo", "--figure", str(tmp_path / "a.png"))) == 2
    assert "figures" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
