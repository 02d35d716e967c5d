"""Contracts over the registry of environments, and what each family promises."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from creditsim.errors import InputError, UnknownNameError
from creditsim.exact.dp import optimal, solve
from creditsim.mdp import FAMILIES, SoftmaxPolicy, TabularMDP, make
from creditsim.registry import Part

SIZES = ("tiny", "small", "large")
TABLES = ("successor", "probability", "reward", "observation", "start", "terminal", "tick", "mask", "context")


def families() -> list[Part]:
    """The library's own families, whatever else a test run has registered."""
    return [part for part in FAMILIES if part.function.__module__.startswith("creditsim.")]


NAMES = [part.name for part in families()]


def count_episodes(mdp: TabularMDP) -> int:
    """Number of distinct episodes (start, actions, branches taken) that a policy without zeros can meet."""

    def go(t: int, s: int) -> int:
        if mdp.terminal[s] or t == mdp.horizon:
            return 1
        ways = np.argwhere((mdp.probability[s] > 0) & mdp.mask[s][:, None])
        return sum(go(t + int(mdp.tick[mdp.successor[s, a, b]]), int(mdp.successor[s, a, b])) for a, b in ways)

    return sum(go(0, int(s)) for s in np.flatnonzero(mdp.start))


def reached(mdp: TabularMDP) -> np.ndarray:
    """(S,) bool: states that some policy can be in, the horizon left aside."""
    seen = mdp.start > 0
    while True:
        live = seen & ~mdp.terminal
        moves = (mdp.probability > 0) & mdp.mask[:, :, None] & live[:, None, None]
        more = seen.copy()
        more[mdp.successor[moves]] = True
        if (more == seen).all():
            return seen
        seen = more


def test_the_families_promised_are_there() -> None:
    promised = {
        "aliased", "answers", "chain", "grid", "layered", "lock", "loop", "random", "stopping", "tokens", "trap",
        "tree",
    }  # fmt: skip
    assert promised <= set(FAMILIES.names())


@pytest.mark.parametrize("name", NAMES)
def test_the_docstring_says_the_regime_in_one_line(name: str) -> None:
    doc = inspect.getdoc(FAMILIES[name].function) or ""
    lines = [line for line in doc.splitlines() if line.startswith("Regime:")]
    assert len(lines) == 1
    assert lines[0].endswith(".")
    assert "Errors:" in doc
    assert FAMILIES[name].summary.endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_keywords_with_defaults_and_presets_name_them(name: str) -> None:
    part = FAMILIES[name]
    parameters = inspect.signature(part.function).parameters.values()
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in parameters)
    assert set(part.presets) == set(SIZES)
    assert {"gamma"} <= set(part.defaults)
    for preset in part.presets.values():
        assert set(preset) <= set(part.defaults)
    part.function()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_rows_are_distributions(name: str, size: str) -> None:
    mdp = make(f"{name}@{size}", gamma=0.9)
    rows = mdp.probability[mdp.mask & ~mdp.terminal[:, None]]
    assert (rows >= 0).all()
    np.testing.assert_allclose(rows.sum(axis=-1), 1.0, rtol=0, atol=1e-12)
    assert abs(mdp.start.sum() - 1.0) < 1e-12
    assert mdp.mask[~mdp.terminal].any(axis=1).all()
    assert mdp.gamma == 0.9
    assert name in mdp.name
    assert sorted(mdp.sweep_order) == list(range(mdp.n_states))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "name", ["aliased", "answers", "chain", "dead_ends", "loop", "stopping", "tokens", "trap", "tree"]
)
def test_no_state_is_out_of_reach(name: str, size: str) -> None:
    assert reached(make(f"{name}@{size}")).all()


@pytest.mark.parametrize("name", NAMES)
def test_tiny_can_be_enumerated_and_is_not_trivial(name: str) -> None:
    assert 2 < count_episodes(make(f"{name}@tiny")) <= 60


@pytest.mark.parametrize("name", NAMES)
def test_sizes_grow_and_policies_matter(name: str) -> None:
    sizes = [make(f"{name}@{size}").n_states for size in SIZES]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2]
    mdp = make(f"{name}@tiny")
    uniform = solve(mdp, SoftmaxPolicy.uniform(mdp).probabilities(mdp))
    assert optimal(mdp).j > uniform.j + 1e-3
    assert np.abs(uniform.advantage).max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_equal_seeds_give_equal_environments_and_others_do_not(name: str) -> None:
    one, two = make(f"{name}@small"), make(f"{name}@small")
    for table in TABLES:
        np.testing.assert_array_equal(getattr(one, table), getattr(two, table))
    if "seed" in FAMILIES[name].defaults:
        other = make(f"{name}@small", seed=1)
        assert any((getattr(one, table) != getattr(other, table)).any() for table in TABLES)


def test_building_draws_nothing_from_the_global_generator() -> None:
    before = str(np.random.get_state())  # noqa: NPY002
    for part in families():
        part.function()
    assert str(np.random.get_state()) == before  # noqa: NPY002


def test_adding_a_family_is_adding_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from creditsim.mdp.families.base import family\n"
        "from creditsim.mdp.families.chain import chain\n"
        "@family('mine', tiny={'length': 2}, small={}, large={})\n"
        "def mine(*, length=3):\n"
        "    return chain(length=length)\n"
    )
    script = (
        "import sys, creditsim.mdp.families as families\n"
        "families.__path__.append(sys.argv[1])\n"
        "print(families.make('mine@tiny').n_states, families.make('chain@tiny').n_states)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["3", "4"]


BAD = [
    ("chain", {"length": 0}, "length: got 0, allowed a whole number >= 1"),
    ("chain", {"length": 2.5}, "length: got 2.5, allowed a whole number"),
    ("chain", {"length": True}, "length: got True"),
    ("chain", {"horizon": 0}, "horizon: got 0"),
    ("chain", {"slip": 1.5}, r"slip: got 1.5, allowed a number in \[0, 1\]"),
    ("chain", {"slip": float("nan")}, "slip: got nan"),
    ("chain", {"goal_reward": float("inf")}, "goal_reward: got inf, allowed a finite number"),
    ("chain", {"step_reward": "1"}, "step_reward: got '1'"),
    ("chain", {"gamma": 1.1}, "gamma: got 1.1"),
    ("lock", {"actions": 1}, "actions: got 1, allowed a whole number >= 2"),
    ("lock", {"wrong": "restrat"}, r"wrong: got 'restrat', allowed restart \| end; nearest: restart"),
    ("lock", {"seed": -1}, "seed: got -1"),
    ("lock", {"horizon": 0}, "horizon: got 0"),
    ("tree", {"depth": 0}, "depth: got 0"),
    ("tree", {"depth": 12, "branching": 9}, "nodes of depth and branching"),
    ("tree", {"good": 2.0}, "good: got 2.0"),
    ("loop", {"states": 0}, "states: got 0"),
    ("loop", {"slip": -0.1}, "slip: got -0.1"),
    ("aliased", {"cues": 1}, "cues: got 1"),
    ("aliased", {"delay": 0}, "delay: got 0"),
    ("aliased", {"cues": 9, "delay": 9}, "histories of cues and delay"),
    ("aliased", {"payoff": ((1.0, 2.0),)}, r"payoff: got shape \(1, 2\), allowed \(2, 2\)"),
    ("aliased", {"payoff": ((1.0, 2.0), (1.0,))}, "payoff: got rows of unequal length"),
    ("aliased", {"payoff": ((1.0, 2.0), (1.0, float("nan")))}, "reward: got NaN"),
    ("random", {"states": 2, "branching": 3}, r"branching: got 3, allowed a whole number in 1\.\.2"),
    ("random", {"ending": 2}, "ending: got 2"),
    ("random", {"observations": 0}, "observations: got 0"),
    ("stopping", {"turns": 0}, "turns: got 0"),
    ("stopping", {"turns": 3, "stop": (1.0,)}, "stop: got .*, allowed a finite number, or 2 of them"),
    ("stopping", {"turns": 3, "choices": (2,)}, r"choices: got 2, allowed a whole number in 0\.\.1"),
    ("stopping", {"control": 3.0}, "control: got 3.0"),
    ("answers", {"p": ((0.5, 1.2),)}, r"p: got \[0.5, 1.2\], allowed chances in \[0, 1\]"),
    ("answers", {"p": ()}, "p: got .*, allowed one entry per prompt"),
    ("answers", {"prompts": 0}, "prompts: got 0"),
    ("tokens", {"vocabulary": 1}, "vocabulary: got 1"),
    ("tokens", {"tokens": 0}, "tokens: got 0"),
    ("tokens", {"tokens": 2, "decisive": 2}, r"decisive: got 2, allowed a whole number in 0\.\.1"),
    ("tokens", {"wrong": "stop"}, r"wrong: got 'stop', allowed retry \| end"),
    ("difficulties", {"prompts": 5, "alike": 2}, "alike: got 2, allowed a divisor of prompts = 5"),
    ("turns", {"actions": 1}, "actions: got 1"),
    ("dead_ends", {"length": 0}, "length: got 0, allowed a whole number >= 1"),
    ("dead_ends", {"distractors": -1}, "distractors: got -1"),
    ("dead_ends", {"luck": 1.5}, "luck: got 1.5"),
    ("dead_ends", {"end": "wait"}, r"end: got 'wait', allowed end \| stay"),
    ("layered", {"width": 2, "branching": 3}, "branching: got 3"),
    ("objectives", {"correlation": 1.5}, r"correlation: got 1.5, allowed a number in \[-1, 1\]"),
    ("objectives", {"p": ((0.2, 1.5),)}, "p: got 1.5"),
    ("objectives", {"prompts": 0}, "prompts: got 0"),
    ("features", {"p": ()}, r"p: got shape .*, allowed one 2 x 2 table"),
    ("features", {"prompts": 0}, "prompts: got 0"),
    ("layered", {"layers": 0}, "layers: got 0"),
    ("trap", {"length": 0}, "length: got 0, allowed a whole number >= 1"),
    ("trap", {"pit": "sty"}, r"pit: got 'sty', allowed stay \| end; nearest: stay"),
    ("trap", {"slip": 2.0}, "slip: got 2.0"),
    ("grid", {"width": 1}, "width: got 1, allowed a whole number >= 2"),
    ("grid", {"height": 1.5}, "height: got 1.5"),
    ("grid", {"slip": -1.0}, "slip: got -1.0"),
]


@pytest.mark.parametrize(("name", "params", "line"), BAD)
def test_bad_parameters_are_one_line_errors(name: str, params: dict[str, object], line: str) -> None:
    with pytest.raises(InputError, match="(^|parameter )" + line) as caught:
        make(name, **params)
    assert "\n" not in str(caught.value)


def test_every_family_refuses_a_bad_parameter_of_its_own() -> None:
    assert {name for name, _, _ in BAD} == set(NAMES)


def test_unknown_names_name_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="nearest: chain"):
        make("chian")
    with pytest.raises(UnknownNameError, match=re.escape("nearest: length")):
        make("chain", lenght=3)
    with pytest.raises(UnknownNameError, match="nearest: tiny"):
        make("chain@tin")


def test_lock_opens_with_its_code_only() -> None:
    for wrong in ("restart", "end"):
        mdp = make("lock", length=4, actions=3, wrong=wrong, horizon=4, seed=5)
        advances = mdp.successor[:4, :, 0] == np.arange(1, 5)[:, None]
        assert (advances.sum(axis=1) == 1).all()
        uniform = solve(mdp, SoftmaxPolicy.uniform(mdp).probabilities(mdp))
        assert abs(uniform.j - 3.0**-4) < 1e-15


def test_tree_pays_at_leaves_only_and_as_many_as_told() -> None:
    mdp = make("tree", depth=3, branching=3, good=0.25, seed=2)
    leaves = mdp.n_states - 27
    assert mdp.terminal[leaves:].all()
    assert set(mdp.reward[mdp.successor < leaves]) == {0.0}
    assert abs(solve(mdp, SoftmaxPolicy.uniform(mdp).probabilities(mdp)).j - 7 / 27) < 1e-15


def test_loop_exits_pay_more_further_round() -> None:
    mdp = make("loop", states=4, horizon=30, slip=0.25)
    np.testing.assert_allclose(mdp.reward[:4, 1, 0], [0.25, 0.5, 0.75, 1.0])
    # Going round three times and leaving until it works: 27 tries fit, so J = 1 but for a few missed laps.
    assert 0.9 < optimal(mdp).j < 1.0
    assert optimal(make("loop", states=4, horizon=4)).j == 1.0


def test_aliased_choice_needs_the_oldest_cue() -> None:
    mdp = make("aliased", cues=3, delay=2, actions=3)
    choice = mdp.observation == 1 + 2 * 3
    assert choice.sum() == 9
    assert (mdp.mask.sum(axis=1)[~choice & ~mdp.terminal] == 1).all()
    assert optimal(mdp).j == 1.0
    assert abs(solve(mdp, SoftmaxPolicy.uniform(mdp).probabilities(mdp)).j - 1 / 3) < 1e-15


def test_aliased_noise_leaves_means_alone() -> None:
    quiet, noisy = make("aliased@small"), make("aliased@small", noise=2.0)
    pi = SoftmaxPolicy.random(quiet, 0).probabilities(quiet)
    np.testing.assert_allclose(solve(noisy, pi).q, solve(quiet, pi).q, atol=1e-15)
    assert set(np.unique(noisy.reward)) == {-2.0, -1.0, 0.0, 2.0, 3.0}


def test_random_successors_of_one_move_are_distinct() -> None:
    mdp = make("random", states=7, actions=3, branching=5, seed=3)
    moves = np.sort(mdp.successor[:7], axis=-1)
    assert (np.diff(moves, axis=-1) > 0).all()
    assert set(np.unique(mdp.successor[:7, :, :5])) == set(range(7))


def test_random_special_cases_all_occur() -> None:
    mdp = make("random", states=40, actions=3, observations=5, forbidden=0.4, inner=0.4, paying=0.3, seed=1)
    assert mdp.n_observations == 6
    assert 0.3 < 1 - mdp.mask[:40, 1:].mean() < 0.5
    assert 0.2 < 1 - mdp.tick[:40].mean() < 0.6
    assert 0.2 < (mdp.reward[:40] > 0).mean() < 0.4


@pytest.mark.parametrize("seed", range(20))
def test_random_steps_end_however_many_states_are_inner(seed: int) -> None:
    mdp = make("random", states=30, actions=2, inner=1.0, seed=seed)
    assert mdp.tick.sum() == 2
    assert mdp.sweep_order.size == 31


def test_stopping_rewards_follow_the_action_and_the_turn() -> None:
    mdp = make("stopping", turns=3, stop=(0.1, 0.2), go=(0.3, 0.4), last=0.5)
    assert optimal(mdp).j == pytest.approx(1.2, abs=1e-15)
    always = np.array([[1.0, 0.0]] * 4)
    assert solve(mdp, always).j == pytest.approx(0.1, abs=1e-15)


def test_answers_are_bernoulli_rewards() -> None:
    mdp = make("answers", p=(0.3, (0.0, 1.0), (0.5, 0.6, 0.7)))
    np.testing.assert_array_equal(mdp.mask[:3].sum(axis=1), [1, 2, 3])
    pi = SoftmaxPolicy.uniform(mdp).probabilities(mdp)
    np.testing.assert_allclose(solve(mdp, pi).value[1, :3], [0.3, 0.5, 0.6], atol=1e-15)
    assert solve(mdp, pi).j == pytest.approx((0.3 + 0.5 + 0.6) / 3, abs=1e-15)


def test_tokens_share_one_step() -> None:
    mdp = make("tokens", length=2, tokens=3, vocabulary=2, horizon=3, gamma=0.5)
    pi = SoftmaxPolicy.uniform(mdp).probabilities(mdp)
    solution = solve(mdp, pi)
    np.testing.assert_allclose(solution.occupancy[0].sum(), 3.0, atol=1e-15)
    # Each step is right with chance 1/8; the goal falls in step 1 or 2, discounted once or twice.
    right = 1 / 8
    assert solution.j == pytest.approx(0.5 * right**2 + 0.25 * 2 * right**2 * (1 - right), abs=1e-15)
    assert optimal(mdp).j == 0.5
    assert set(mdp.observation) == {0, 1, 2}
    # After a mistake nothing said in this step matters any more.
    wrong = np.flatnonzero((np.arange(mdp.n_states) % 5 > 0) & (np.arange(mdp.n_states) % 5 % 2 == 0))
    np.testing.assert_allclose(solution.advantage[:, wrong], 0.0, atol=1e-15)


def test_tokens_of_one_token_are_ordinary_steps() -> None:
    mdp = make("tokens", length=3, tokens=1, vocabulary=3, horizon=6, slip=0.2)
    assert mdp.tick.all()
    np.testing.assert_array_equal(mdp.observation, np.arange(4))


def test_layered_states_are_met_once() -> None:
    mdp = make("layered@small", width=5)
    solution = solve(mdp, SoftmaxPolicy.random(mdp, 0).probabilities(mdp))
    assert ((solution.occupancy > 0).sum(axis=0) <= 1).all()
    np.testing.assert_allclose(solution.occupancy.sum(axis=1), 1.0, atol=1e-12)
    assert solution.truncation == 0.0


def test_trap_is_entered_for_nothing_and_never_left() -> None:
    mdp = make("trap", length=3, horizon=9)
    pi = SoftmaxPolicy.uniform(mdp)
    solution = solve(mdp, pi.probabilities(mdp))
    assert solution.j == pytest.approx(0.5**3, abs=1e-15)
    assert not solution.value[:, 4].any() and not mdp.reward[4].any()
    assert set(mdp.successor[4].ravel()) == {4} and not mdp.terminal[4]
    assert make("trap", pit="end").terminal[4]
    assert optimal(make("trap", length=3, slip=0.1)).j == pytest.approx(0.9**3, abs=1e-15)
    # Falling costs nothing at once: the reward of either first action is the same.
    assert not mdp.reward[0].any()


def test_grid_pays_at_the_far_corner_and_its_key_comes_first() -> None:
    assert optimal(make("grid", width=4, height=3, horizon=5)).j == 1.0
    assert optimal(make("grid", width=4, height=3, horizon=4)).j == 0.0
    # With the key in the corner below: height - 1 down, then width - 1 right.
    assert optimal(make("grid", width=4, height=3, key=True, horizon=5)).j == 1.0
    keyed = make("grid", width=3, height=3, key=True, horizon=6)
    assert keyed.n_states == 18
    assert not np.isin(keyed.successor[:8], (8, 17)).any()
    assert set(np.argwhere(keyed.reward > 0)[:, 0]) == {14, 16}
    assert reached(keyed)[17]
    assert optimal(make("grid", width=2, height=2, horizon=2, slip=0.5)).j == pytest.approx(0.25, abs=1e-15)
