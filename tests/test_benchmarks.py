"""The benchmarks' own parts: nothing here is timed; what is compared must agree, and what is judged must be judged."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import __main__ as runner  # noqa: E402
from benchmarks import training  # noqa: E402
from benchmarks.plain_gigpo import gigpo_arrays, gigpo_lists  # noqa: E402
from benchmarks.problem import batch  # noqa: E402
from benchmarks.report import LINES, Line, Value, measured, not_judged, table  # noqa: E402
from benchmarks.timing import COMPUTING, OTHERS, Round, Rounds, Sample, compare  # noqa: E402
from creditsim.estimators.base import advantage  # noqa: E402
from creditsim.rollouts import Rollouts  # noqa: E402
from creditsim.train import train  # noqa: E402

PEERS = ("jax", "rlax", "verl")
ENGINES = ("Stemmer", "alfworld", "bm25s", "textworld", "thefuzz", "tokenizers", "torch", "transformers")
"""What lines of our own need from other extras."""


def _nothing() -> Rounds:
    return Rounds([])


def _line(value: Value = "faster", target: float | None = 2.0, needs: tuple[str, ...] = ()) -> Line:
    return Line("a line", "a peer", value, target, needs, _nothing)


def _rounds(ours: float, theirs: float | None, n: int = 9, others: float = 0.0, load: float = 1.0) -> Rounds:
    def side(wall: float) -> Sample:
        return Sample(wall, load * wall)

    return Rounds([Round(side(ours), None if theirs is None else side(theirs), others) for _ in range(n)])


def _small() -> Rollouts:
    rng = np.random.default_rng(3)
    length = rng.integers(1, 9, 24)
    offsets = np.concatenate([[0], np.cumsum(length)])
    rows = int(offsets[-1])
    # One group of one trajectory, observations shared by groups, and some seen once.
    group = np.append(np.repeat([0, 1, 2, 3], 6)[:23], 4)
    return Rollouts.flat(
        offsets=offsets, group=group, reward=rng.normal(size=rows), observation=rng.integers(0, 12, rows)
    )


def test_importing_the_lines_imports_no_peer() -> None:
    code = f"import sys, benchmarks.__main__; print([m for m in {PEERS!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_every_line_says_what_it_is_compared_to_and_what_it_needs() -> None:
    assert len({(line.name, line.against) for line in LINES}) == len(LINES)
    for line in LINES:
        assert line.against
        assert set(line.needs) <= {*PEERS, *ENGINES}
        assert callable(line.measure)


def test_a_missing_module_is_one_line_not_judged() -> None:
    outcome = runner._outcome(_line(needs=("no_such_peer",)), None)
    assert outcome.verdict == "not judged: no_such_peer is not installed (make bench)"
    assert "\n" not in table([outcome]).splitlines()[-1]


def test_a_missing_environment_is_one_line_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Line, "missing", property(lambda self: "verl"))
    outcome = runner._outcome(_line(needs=("verl",)), Path("/no/such/python"))
    assert outcome.verdict == "not judged: no environment with verl at /no/such/python"


def test_an_environment_without_the_module_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    verl = next(line for line in LINES if "verl" in line.needs)
    if verl.missing is None:
        pytest.skip("verl is installed beside the project, so nothing is missing")
    outcome = runner._outcome(verl, Path(sys.executable))
    assert outcome.verdict == "not judged: verl is not installed (make bench)"


def test_a_side_that_fails_is_not_judged() -> None:
    def differ() -> Rounds:
        raise RuntimeError("the sides differ by 1, more than 1e-09")

    line = Line("a line", "a peer", "faster", 1.0, (), differ)
    assert runner._outcome(line, None).verdict == "not judged: the sides differ by 1, more than 1e-09"


@pytest.mark.parametrize(
    ("value", "ours", "theirs", "target", "verdict"),
    [
        ("faster", 1.0, 3.0, 2.0, "met"),
        ("faster", 1.0, 1.5, 2.0, "missed"),
        ("cost", 3.0, 1.0, 2.0, "missed"),
        ("cost", 1.5, 1.0, 2.0, "met"),
        ("seconds", 0.4, None, 0.5, "met"),
        ("seconds", 0.6, None, 0.5, "missed"),
        ("faster", 1.0, 1.5, None, ""),
    ],
)
def test_verdict_follows_the_median(
    value: Value, ours: float, theirs: float | None, target: float | None, verdict: str
) -> None:
    assert measured(_line(value, target), _rounds(ours, theirs)).verdict == verdict


@pytest.mark.parametrize(
    "busy",
    [
        lambda: _rounds(1.0, 9.0, others=2 * OTHERS),
        lambda: _rounds(1.0, 9.0, load=COMPUTING / 2),
        lambda: _rounds(1.0, 9.0, n=3),
    ],
    ids=["others took the machine", "a side was kept waiting", "too few rounds"],
)
def test_a_busy_machine_is_not_judged(busy: Callable[[], Rounds]) -> None:
    outcome = measured(_line(), busy())
    assert outcome.verdict.startswith("not judged: busy machine")
    assert outcome.number.startswith("9.00x")


def test_only_quiet_rounds_count_once_there_are_enough() -> None:
    quiet, disturbed = _rounds(1.0, 3.0, n=7).every, _rounds(9.0, 3.0, n=20, others=1.0).every
    outcome = measured(_line(), Rounds([*disturbed, *quiet]))
    assert (outcome.number, outcome.verdict) == ("3.00x [3.00]", "met")


def test_both_sides_are_timed_in_every_round() -> None:
    counts = [0, 0]

    def work(side: int) -> None:
        counts[side] += 1
        sum(range(20_000))

    rounds = compare(lambda: work(0), lambda: work(1), rounds=2)
    assert len(rounds.every) >= 2
    assert min(counts) > 2
    for one in rounds.every:
        assert one.theirs is not None
        assert min(one.ours.wall, one.theirs.wall) > 0
        assert one.others >= 0


def test_table_has_one_line_for_each_outcome_and_equal_widths() -> None:
    lines = table([not_judged(_line(), "why"), measured(_line(), _rounds(1.0, 2.5))]).splitlines()
    assert len(lines) == 4
    assert len({len(text) for text in lines}) == 1


def test_no_word_matches_no_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--only", "no line is called so"])
    assert runner.main() == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_plain_gigpo_is_gigpo() -> None:
    rollouts = _small()
    given = (rollouts.reward, rollouts.observation, rollouts.offsets, rollouts.group)
    ours = advantage(rollouts, "gigpo@paper", gamma=0.9)
    from_arrays = gigpo_arrays(*given, 0.9)
    reward, observation, offsets, group = (a.tolist() for a in given)
    from_lists = gigpo_lists(reward, observation, offsets, group, 0.9)
    # Sums of at most a few dozen terms of order one, over deviations that are not small.
    np.testing.assert_allclose(from_arrays, ours, rtol=0, atol=1e-9)
    np.testing.assert_allclose(from_lists, ours, rtol=0, atol=1e-9)
    # The same comparison sees one wrong parameter.
    assert np.abs(gigpo_arrays(*given, 0.91) - ours).max() > 1e-4


def test_the_batch_has_the_size_that_the_lines_state() -> None:
    rollouts = batch()
    assert (rollouts.n_groups, rollouts.n_trajectories) == (256, 2048)
    assert abs(rollouts.n_rows - 102_400) < 4_000
    assert set(np.unique(rollouts.reward).tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("method", ["grpo", "gigpo"])
def test_the_numpy_loop_learns_as_ours_does(method: str) -> None:
    ours = train(training.config(method).replaced(updates=6)).j
    training.same_curves(ours, training.peer(method, 6))
    # The same comparison sees a run that is one update behind, and the other method.
    with pytest.raises(RuntimeError, match="deviations apart"):
        training.same_curves(ours[1:], training.peer(method, 6)[:-1])
