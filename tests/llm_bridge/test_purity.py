"""Anchor purity and context inconsistency: by hand, against plain counting, and where a table must mix or must not."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from bridge_cases import text_sampler, told
from hypothesis import given
from hypothesis import strategies as st

from creditsim.errors import InputError, MissingColumnError
from creditsim.rollouts import Rollouts
from llm_bridge.collect.purity import Mixing, anchor_purity, anchor_sizes, context_inconsistency
from llm_bridge.policies.plain import RandomPolicy


def steps(observation: list[int], state: list[int], group: list[int], weight: list[float] | None = None) -> Rollouts:
    """One row per trajectory."""
    m = len(observation)
    columns = {"state": np.array(state)} | ({} if weight is None else {"weight": np.array(weight)})
    return Rollouts.flat(
        offsets=np.arange(m + 1), group=np.array(group), observation=np.array(observation), reward=np.zeros(m),
        columns=columns,
    )  # fmt: skip


def counted(rollouts: Rollouts, kind: np.ndarray) -> Mixing:
    """The definition by loops over rows and pairs."""
    live = rollouts.columns.get("weight", np.ones(rollouts.n_rows)) > 0
    cells: dict[tuple[int, int], list[int]] = {}
    for row in np.flatnonzero(live):
        key = (int(rollouts.group_rows[row]), int(rollouts.observation[row]))
        cells.setdefault(key, []).append(int(kind[row]))
    several = [kinds for kinds in cells.values() if len(kinds) > 1]
    mixed = [kinds for kinds in several if len(set(kinds)) > 1]
    pairs = [a != b for kinds in several for a, b in combinations(kinds, 2)]

    def share(part: int, whole: int) -> float:
        return part / whole if whole else math.nan

    rows = sum(map(len, several))
    return Mixing(
        int(live.sum()), share(rows, int(live.sum())), len(several), share(len(mixed), len(several)),
        share(sum(map(len, mixed)), rows), share(sum(pairs), len(pairs)),
    )  # fmt: skip


def close(a: Mixing, b: Mixing) -> None:
    for name, value in a.as_dict().items():
        np.testing.assert_allclose(value, b.as_dict()[name], rtol=1e-12, atol=1e-12, err_msg=name)


def test_by_hand() -> None:
    """Group 0: anchor 5 with states 1, 1, 2; anchor 6 once. Group 1: anchor 5 with states 3, 3."""
    rollouts = steps([5, 5, 5, 6, 5, 5], [1, 1, 2, 9, 3, 3], [0, 0, 0, 0, 1, 1])
    found = anchor_purity(rollouts)
    assert (found.rows, found.groups) == (6, 2)
    assert (found.grouped, found.mixed_groups) == (5 / 6, 1 / 2)
    assert found.mixed_rows == 3 / 5
    assert found.mixed_pairs == pytest.approx(2 / 4)
    assert anchor_sizes(rollouts).tolist() == [3, 1, 2]
    # Broken twin: anchors pooled over tasks would call the second group mixed as well.
    pooled = anchor_purity(steps([5, 5, 5, 6, 5, 5], [1, 1, 2, 9, 3, 3], [0] * 6))
    assert pooled.mixed_rows == 1.0


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2), st.sampled_from([0.0, 1.0])),
        min_size=1, max_size=25,
    )
)  # fmt: skip
def test_any_rows_against_plain_counting(rows: list[tuple[int, int, int, float]]) -> None:
    observation, state, group, weight = (list(column) for column in zip(*rows, strict=True))
    rollouts = steps(observation, state, group, weight)
    close(anchor_purity(rollouts), counted(rollouts, rollouts.columns["state"]))


def test_histories_against_plain_counting_on_a_walk() -> None:
    sampler = text_sampler(told("chain@small", slip=0.3), groups=3, seed=2)
    drawn = sampler.extend(copies=5, policy=RandomPolicy())
    drawn = sampler.extend(drawn, after=np.flatnonzero(sampler.continues(drawn))[:6], policy=RandomPolicy())
    for history in (0, 1, 2, 4):
        windows: dict[tuple[int, ...], int] = {}
        kind = np.empty(drawn.n_rows, np.int64)
        for row in range(drawn.n_rows):
            window, at = [], row
            while at >= 0 and len(window) <= history:
                window.append(int(drawn.observation[at]))
                at = int(drawn.previous[at])
            kind[row] = windows.setdefault(tuple(window), len(windows))
        close(context_inconsistency(drawn, history), counted(drawn, kind))


def test_what_a_table_hides_is_found_and_what_it_shows_is_not() -> None:
    """Fully observed: no group mixes states. Two hidden cues behind one choice: half of the pairs do, by Hoeffding."""
    shown = text_sampler(told("chain@small"), groups=4).extend(copies=6, policy=RandomPolicy())
    assert anchor_purity(shown).mixed_pairs == 0.0
    assert context_inconsistency(shown, 0).mixed_pairs == 0.0
    assert context_inconsistency(shown, 3).mixed_pairs > 0.5
    n = 3000
    hidden = text_sampler(told("aliased@tiny"), slots=200, seed=1).extend(copies=n, policy=RandomPolicy())
    choice = hidden.step == hidden.step.max()
    last = steps(hidden.observation[choice].tolist(), hidden.columns["state"][choice].tolist(), [0] * n)
    # Share p of one cue: pairs differ at 2 p (1-p) n/(n-1); |p - 1/2| is below 0.05 at alpha 1e-6.
    bound = np.sqrt(np.log(2 / 1e-6) / (2 * n))
    assert bound < 0.05
    assert abs(anchor_purity(last).mixed_pairs - 0.5) < 2 * bound**2 + 1 / n


def test_nothing_to_compare_and_bad_input() -> None:
    alone = steps([1, 2, 3], [0, 0, 0], [0, 0, 0])
    found = anchor_purity(alone)
    assert found.grouped == 0.0 and found.groups == 0
    assert math.isnan(found.mixed_groups) and math.isnan(found.mixed_pairs)
    silent = anchor_purity(steps([1, 1], [0, 1], [0, 0], [0.0, 0.0]))
    assert silent.rows == 0 and math.isnan(silent.grouped)
    with pytest.raises(MissingColumnError, match="state"):
        anchor_purity(Rollouts.flat(offsets=np.array([0, 1]), group=np.array([0]), reward=np.zeros(1)))
    with pytest.raises(InputError, match="history"):
        context_inconsistency(alone, -1)
