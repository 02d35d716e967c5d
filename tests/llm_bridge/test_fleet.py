"""Fleets: the same answers wherever environments live, one-line errors, and no process left behind or waited for."""

from __future__ import annotations

import os
import signal
import time

import pytest
from fleet_cases import Moody

from creditsim.errors import InputError, ResourceError
from llm_bridge.envs.fleet import Fleet, Seed

SEED = Seed(0, 0)


def walked(fleet: Fleet) -> list[object]:
    """Some of everything, on four slots."""
    told: list[object] = list(fleet.reset([(i, "ab"[i % 2], SEED) for i in range(4)]))
    first = fleet.step([(2, "go"), (0, "go"), (3, "no such")])
    told += first
    told += fleet.restore([(1, first[0][1], SEED)])
    told += fleet.step([(1, "win")])
    told += fleet.replay([(0, "b", [("go", SEED), ("go", SEED)], SEED)])
    return told + fleet.oracle([0, 1])


def test_workers_answer_as_this_process_does_and_leave_nothing() -> None:
    with Fleet(Moody(), 4) as here:
        expected = walked(here)
    with Fleet(Moody(), 4, workers=2) as there:
        assert walked(there) == expected
        processes = [host.process for host in there._hosts]  # pyright: ignore[reportAttributeAccessIssue]
        assert len(processes) == 2 and all(process.is_alive() for process in processes)
        with pytest.raises(InputError, match="RuntimeError: two lines"):
            there.step([(0, "boom"), (1, "go")])
        with pytest.raises(InputError, match="moody: got bad, allowed good"):
            there.step([(0, "bad"), (1, "go")])
        # An error of one environment leaves the others, and the pipe, in order.
        assert [seen.text for seen in there.reset([(0, "a", SEED), (1, "b", SEED)])] == ["a:", "b:"]
    assert not any(process.is_alive() for process in processes)
    there.close()
    with pytest.raises(InputError, match="after close"):
        there.reset([(0, "a", SEED)])


def test_answers_come_in_the_order_asked_for() -> None:
    """Broken twin of the bookkeeping: answers by slot instead of by request are seen to differ."""
    with Fleet(Moody(), 3) as fleet:
        asked = [(2, "a", SEED), (0, "b", SEED), (1, "a", SEED)]
        texts = [seen.text for seen in fleet.reset(asked)]
        assert texts == [f"{task}:" for _, task, _ in asked]
        assert texts != [f"{task}:" for _, task, _ in sorted(asked)]


def test_a_killed_worker_is_one_line_and_the_fleet_is_closed() -> None:
    fleet = Fleet(Moody(), 2, workers=1)
    process = fleet._hosts[0].process  # pyright: ignore[reportAttributeAccessIssue]
    fleet.reset([(0, "a", SEED)])
    os.kill(process.pid, signal.SIGKILL)  # pyright: ignore[reportArgumentType] # it has started
    with pytest.raises(ResourceError, match=r"moody worker 0 died \(exit code -9\)") as told:
        fleet.step([(0, "go")])
        fleet.step([(0, "go")])  # the first may still fit into the pipe
    assert "\n" not in str(told.value)
    fleet.close()
    assert not process.is_alive()


def test_a_worker_that_exits_or_hangs_is_not_waited_for() -> None:
    for word, message in (("die", r"died \(exit code 3\)"), ("sleep", "no answer for 1 s")):
        fleet = Fleet(Moody(), 1, workers=1, patience=20.0)
        fleet.reset([(0, "a", SEED)])
        host = fleet._hosts[0]
        host._patience = 1.0  # pyright: ignore[reportAttributeAccessIssue]
        began = time.monotonic()
        with pytest.raises(ResourceError, match=message):
            fleet.step([(0, word)])
        assert time.monotonic() - began < 15.0
        assert not host.process.is_alive()  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("tasks", "options", "message"),
    [
        (Moody(()), {"slots": 1}, "moody games: got none in split train, allowed at least one"),
        (Moody(), {"slots": 0}, "slots: got 0"),
        (Moody(), {"slots": 1, "workers": -1}, "workers: got -1"),
    ],
)
def test_no_games_and_bad_numbers_are_refused_at_once(tasks: Moody, options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Fleet(tasks, **options)


def test_a_slot_that_is_not_there() -> None:
    with Fleet(Moody(), 2) as fleet, pytest.raises(InputError, match=r"slot: got 2, allowed 0\.\.1"):
        fleet.reset([(2, "a", SEED)])


def test_closing_closes_environments() -> None:
    fleet = Fleet(Moody(), 2)
    fleet.reset([(0, "a", SEED)])
    env = fleet._hosts[0]._envs[0]  # pyright: ignore[reportAttributeAccessIssue]
    fleet.close()
    assert env.closed  # pyright: ignore[reportAttributeAccessIssue]
