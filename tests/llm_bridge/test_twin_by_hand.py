"""Twins of logs small enough to count on paper, and what must not matter: order, repetition, names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditsim.errors import InputError, UnknownNameError
from creditsim.exact import solve
from creditsim.rollouts import Rollouts
from llm_bridge.twin.empirical import Twin, build_twin
from llm_bridge.twin.rank import Ranked, Settings, agreement, rank, rank_table, resample

Episode = tuple[list[tuple[int, int, float]], bool]
"""Steps (observation, action, reward), and whether the environment ended it."""


def log(*episodes: Episode, group: list[int] | None = None, task: list[int] | None = None, **columns: Any) -> Rollouts:
    rows = [row for steps, _ in episodes for row in steps]
    length = [len(steps) for steps, _ in episodes]
    n = len(episodes)
    return Rollouts(
        offsets=np.concatenate([[0], np.cumsum(length)]), parent=np.full(n, -1),
        group=np.array(group or [0] * n), batch=np.zeros(n, np.int64),
        terminated=np.array([done for _, done in episodes]),
        observation=np.array([o for o, _, _ in rows]), action=np.array([a for _, a, _ in rows]),
        reward=np.array([r for _, _, r in rows], float), step=np.concatenate([np.arange(k) for k in length]),
        columns={name: np.array(values) for name, values in columns.items()},
        trajectory_columns={} if task is None else {"task": np.array(task)},
    )  # fmt: skip


def told(twin: Twin) -> dict[tuple[int, int], dict[tuple[int, float], float]]:
    """(anchor, action) -> {(anchor after, reward): probability}, -1 for the end: a twin without its numbering."""
    out: dict[tuple[int, int], dict[tuple[int, float], float]] = {}
    for s, a in np.argwhere(twin.visits > 0):
        law: dict[tuple[int, float], float] = {}
        for b in np.flatnonzero(twin.mdp.probability[s, a]):
            after = int(twin.anchor[twin.mdp.successor[s, a, b]])
            key = (after, round(float(twin.mdp.scalar_reward[s, a, b]), 12))
            law[key] = law.get(key, 0.0) + float(twin.mdp.probability[s, a, b])
        out[int(twin.anchor[s]), int(twin.action[s, a])] = law
    return out


def value(twin: Twin) -> float:
    return float(solve(twin.mdp, twin.policy.probabilities(twin.mdp)).j)


FORK = log(
    ([(0, 0, 0.0), (1, 0, 1.0)], True),
    ([(0, 0, 0.0), (2, 1, 0.0)], True),
    ([(0, 1, 0.5)], True),
    ([(0, 0, 0.0), (1, 0, 1.0)], True),
)
"""From 0, action 0 leads to 1 twice and to 2 once; action 1 ends with a half."""


def test_shares_rewards_and_policy_on_paper() -> None:
    twin = build_twin(FORK)
    assert told(twin) == {
        (0, 0): {(1, 0.0): pytest.approx(2 / 3), (2, 0.0): pytest.approx(1 / 3)},
        (0, 1): {(-1, 0.5): 1.0},
        (1, 0): {(-1, 1.0): 1.0},
        (2, 1): {(-1, 0.0): 1.0},
    }
    assert (twin.rows, twin.trajectories, twin.cut, twin.frontier, twin.spread) == (7, 4, 0, 0, 0.0)
    assert twin.mdp.horizon == 2
    assert value(twin) == pytest.approx(3 / 4 * 2 / 3 * 1.0 + 1 / 4 * 0.5)
    assert value(twin) == pytest.approx(np.mean([1.0, 0.0, 0.5, 1.0])), "the mean return of the log"


def test_a_prior_is_added_to_what_was_tried() -> None:
    twin = build_twin(FORK, action_prior=1.0)
    start = int(np.flatnonzero(twin.anchor == 0)[0])
    law = twin.policy.probabilities(twin.mdp)[start]
    assert sorted(law[law > 0]) == pytest.approx([(1 + 1) / 6, (3 + 1) / 6])
    assert value(twin) == pytest.approx(2 / 3 * 2 / 3 + 1 / 3 * 0.5)


def test_a_cut_episode_counts_for_the_policy_alone() -> None:
    """What follows its last row is not known; the pair has other rows, whose shares stay as they are."""
    cut = log(([(0, 0, 1.0)], True), ([(0, 0, 1.0)], False), ([(0, 1, 0.0)], True))
    twin = build_twin(cut)
    assert told(twin)[0, 0] == {(-1, 1.0): 1.0} and twin.cut == 1
    law = twin.policy.probabilities(twin.mdp)[int(np.flatnonzero(twin.anchor == 0)[0])]
    assert sorted(law) == pytest.approx([1 / 3, 2 / 3])
    only = build_twin(log(([(0, 0, 0.25)], False)))
    assert told(only) == {(0, 0): {(-1, 0.25): 1.0}} and only.cut == 1


def test_what_came_after_a_cut_is_known_from_the_column() -> None:
    seen = log(([(0, 0, 1.0)], False), ([(0, 0, 1.0), (5, 0, 2.0)], True), next_observation=[7, 5, -1])
    twin = build_twin(seen)
    assert told(twin)[0, 0] == {(7, 1.0): 0.5, (5, 1.0): 0.5}
    assert (twin.cut, twin.frontier) == (0, 1), "7 was seen and never acted in"
    assert value(twin) == pytest.approx(1.0 + 0.5 * 2.0)


def test_one_anchor_of_two_tasks_is_two_states_with_policies_of_their_own() -> None:
    episodes = (([(0, 0, 1.0)], True), ([(0, 1, 0.0)], True))
    apart, mixed = build_twin(log(*episodes, task=[3, 9])), build_twin(log(*episodes))
    assert (apart.mdp.n_states, mixed.mdp.n_states) == (3, 2)
    assert value(apart) == value(mixed) == 0.5
    assert apart.policy.probabilities(apart.mdp)[:2].max(axis=1).tolist() == [1.0, 1.0]
    assert mixed.policy.probabilities(mixed.mdp)[0].tolist() == [0.5, 0.5]


def test_rewards_of_one_transition_are_averaged_and_their_spread_told() -> None:
    twin = build_twin(log(([(0, 0, 1.0)], True), ([(0, 0, 0.0)], True), ([(0, 0, 0.5)], True)))
    assert told(twin) == {(0, 0): {(-1, 0.5): 1.0}}
    assert twin.spread == pytest.approx(np.std([1.0, 0.0, 0.5]))


def test_hidden_states_split_an_anchor_and_share_its_policy() -> None:
    tried = [(0, 1), (0, 0), (0, 0), (1, 1), (1, 0)]
    behind = [i for s, _ in tried for i in (0, 1 + s)]
    rows = log(*[([(0, s, 0.0), (4, a, float(s))], True) for s, a in tried], state=behind)
    hidden, anchors = build_twin(rows, states="hidden"), build_twin(rows)
    assert (hidden.mdp.n_states, anchors.mdp.n_states) == (4, 3)
    law = hidden.policy.probabilities(hidden.mdp)[hidden.anchor == 4]
    assert law.tolist() == [pytest.approx([3 / 5, 2 / 5])] * 2, "what was done under the anchor, in either state"
    assert value(hidden) == pytest.approx(2 / 5)


def test_a_hidden_state_knows_only_what_was_done_in_it() -> None:
    rows = log(([(0, 0, 0.0), (4, 0, 1.0)], True), ([(0, 1, 0.0), (4, 1, 0.0)], True), state=[0, 1, 0, 2])
    twin = build_twin(rows, states="hidden")
    assert twin.policy.probabilities(twin.mdp)[twin.anchor == 4].tolist() == [[1.0, 0.0], [0.0, 1.0]]


row = st.tuples(st.integers(0, 3), st.integers(0, 2), st.sampled_from([0.0, 0.5, 1.0]))
episodes = st.lists(st.tuples(st.lists(row, min_size=1, max_size=4), st.booleans()), min_size=1, max_size=6)


def plain(logged: list[Episode]) -> dict[tuple[int, int], dict[int, float]]:
    """Shares by counting in dictionaries."""
    counts: dict[tuple[int, int], dict[int, float]] = {}
    for steps, done in logged:
        for i, (o, a, _) in enumerate(steps):
            pair = counts.setdefault((o, a), {})
            after = steps[i + 1][0] if i + 1 < len(steps) else -1 if done else None
            if after is not None:
                pair[after] = pair.get(after, 0.0) + 1.0
    return {pair: {s: n / sum(c.values()) for s, n in c.items()} or {-1: 1.0} for pair, c in counts.items()}


@given(episodes)
def test_any_log_is_counted_as_in_dictionaries(logged: list[Episode]) -> None:
    law = {pair: {after: 0.0 for after, _ in shares} for pair, shares in told(build_twin(log(*logged))).items()}
    for pair, shares in told(build_twin(log(*logged))).items():
        for (after, _), share in shares.items():
            law[pair][after] += share
    expected = plain(logged)
    assert {pair: sorted(shares) for pair, shares in law.items()} == {p: sorted(s) for p, s in expected.items()}
    for pair, shares in law.items():
        assert shares == pytest.approx(expected[pair])


@given(episodes, st.randoms(use_true_random=False))
def test_order_and_repetition_of_episodes_do_not_matter(logged: list[Episode], draw: Any) -> None:
    other = list(logged)
    draw.shuffle(other)
    one, two, three = build_twin(log(*logged)), build_twin(log(*other)), build_twin(log(*logged, *logged))
    assert told(one).keys() == told(two).keys() == told(three).keys()
    for pair, shares in told(one).items():
        assert shares == pytest.approx(told(two)[pair]) and shares == pytest.approx(told(three)[pair])
    assert value(one) == pytest.approx(value(two), abs=1e-12) and value(one) == pytest.approx(value(three), abs=1e-12)


@given(episodes)
def test_names_of_observations_and_actions_do_not_matter(logged: list[Episode]) -> None:
    named = [([(97 - 13 * o, 50 + 7 * a, r) for o, a, r in steps], done) for steps, done in logged]
    assert value(build_twin(log(*named))) == pytest.approx(value(build_twin(log(*logged))), abs=1e-12)


def test_a_twin_that_forgets_what_ended_is_seen() -> None:
    """The broken twin of the twin: episodes that the environment ended taken for cut ones."""
    forgotten = replace(FORK, terminated=np.zeros(4, bool))
    assert told(build_twin(forgotten)) == told(build_twin(FORK)), "pairs known from cut rows alone end there too"
    longer = log(([(0, 0, 0.0)], True), ([(0, 0, 0.0), (1, 0, 1.0)], True))
    lost = replace(longer, terminated=np.array([False, True]))
    assert value(build_twin(longer)) == 0.5 and value(build_twin(lost)) == 1.0


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        ({}, {"states": "seen"}, "states: got 'seen'"),
        ({}, {"action_prior": -1.0}, "action_prior"),
        ({}, {"action_prior": float("nan")}, "action_prior"),
        ({}, {"states": "hidden"}, "state"),
    ],
)
def test_bad_settings_of_a_twin(change: dict, options: dict, words: str) -> None:
    with pytest.raises((InputError, UnknownNameError), match=words):
        build_twin(replace(FORK, **change), **options)


# --- rankings ---------------------------------------------------------------------------------------------------------


def ranked(*names: str) -> list[Ranked]:
    return [Ranked(name, {}, place, (place, place)) for place, name in enumerate(names, 1)]


def test_agreement_by_hand() -> None:
    """Kendall's tau: three pairs, each in order (+1) or not (-1)."""
    abc = ranked("a", "b", "c")
    for other, tau in (("abc", 1.0), ("cba", -1.0), ("bac", 1 / 3), ("cab", -1 / 3)):
        assert agreement(abc, ranked(*other)) == pytest.approx(tau)
        assert agreement(ranked(*other), abc) == pytest.approx(tau)


def test_resampling_draws_whole_groups_and_every_group_in_turn() -> None:
    groups = [0, 0, 1, 2, 2, 2]
    rows = log(*[([(g, 0, float(g))], True) for g in groups], group=groups)
    met = set()
    for number in range(30):
        again = resample(rows, 1, number)
        sizes = np.bincount(again.group)
        kinds = [set(again.observation[again.group_rows == g].tolist()) for g in range(again.n_groups)]
        assert again.n_groups == 3 and all(len(kind) == 1 for kind in kinds)
        assert [[2, 1, 3][next(iter(kind))] for kind in kinds] == sizes.tolist()
        met.add(tuple(sorted(next(iter(kind)) for kind in kinds)))
    assert len(met) == 10, "every multiset of three groups out of three"
    assert resample(rows, 1, 4).observation.tolist() == resample(rows, 1, 4).observation.tolist()


def test_an_estimator_against_itself_ties_and_places_are_complete() -> None:
    wide = log(*[([(0, a, 0.0), (1 + a, b, float(a == b))], True) for a in (0, 1) for b in (0, 1)] * 2)
    settings = Settings(estimators=("grpo", "grpo", "rloo"), replicates=200, bootstrap=0)
    twin = build_twin(wide)
    found = rank_table(twin.mdp, twin.policy, settings)
    assert [one.rank for one in found] == [1, 2, 3]
    twins = [one for one in found if one.estimator == "grpo"]
    assert twins[0].quantities == twins[1].quantities and twins[0].ties == twins[1].ties
    assert all(one.ties[0] <= one.rank <= one.ties[1] for one in found)


def test_shares_of_places_are_a_law_for_every_estimator_and_place() -> None:
    wide = log(
        *[([(0, a, 0.0), (1 + a, b, float(a == b))], True) for a in (0, 1) for b in (0, 1)] * 2,
        group=[0, 0, 1, 1, 2, 2, 3, 3],
    )
    settings = Settings(estimators=("grpo", "reinforce", "rloo"), replicates=100, bootstrap=6)
    found = rank(wide, settings)
    shares = np.array([one.share for one in found])
    assert shares.sum(axis=0) == pytest.approx(1.0) and shares.sum(axis=1) == pytest.approx(1.0)
    assert np.allclose(shares * 6, np.rint(shares * 6))
    again = rank(wide, settings)
    assert again == found
