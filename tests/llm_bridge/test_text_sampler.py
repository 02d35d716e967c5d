"""Designs written for tables run on text unchanged: their structure, their law, bits that slots and workers spare."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from bridge_cases import ALPHA, bare, fixed_policy, returns, same, text_sampler, told
from bridge_cases import DESIGNS as CASES
from scipy import stats

from creditsim.errors import InputError, NumericalError
from creditsim.exact import enumerate_trajectories, solve
from creditsim.mdp import SoftmaxPolicy, TabularMDP
from creditsim.rollouts import FIELDS, Rollouts
from creditsim.sampling import DESIGNS, TableSampler
from creditsim.signals.base import SIGNALS
from llm_bridge.collect.interner import Interner
from llm_bridge.collect.records import Records, with_outcomes
from llm_bridge.collect.sampler import TextSampler
from llm_bridge.envs import fleet as fleets
from llm_bridge.envs.fleet import Fleet
from llm_bridge.envs.table import TableTasks
from llm_bridge.policies.base import Response
from llm_bridge.policies.plain import LookupPolicy, OraclePolicy, RandomPolicy, table_policy

# --- The same structure as on tables ----------------------------------------------------------------------------------


def both(name: str, tasks: TableTasks, policy: SoftmaxPolicy, **params: Any) -> tuple[Rollouts, Rollouts]:
    bound = DESIGNS.bind(name, **params)
    text, _ = bound(text_sampler(tasks, groups=3, batches=2, slots=5), table_policy(tasks.mdp, policy), None)
    table, _ = bound(TableSampler(tasks.mdp, groups=3, batches=2), policy, None)
    return text, table


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("family", ["chain@tiny", "grid@tiny", "trap@tiny"])
def test_a_design_gives_the_same_rollouts_as_on_the_table(name: str, family: str) -> None:
    """With nothing left to chance, every field and every column that tables have is equal in every bit."""
    tasks = told(family)
    for seed in range(3):
        text, table = both(name, tasks, fixed_policy(tasks.mdp, seed), **CASES[name])
        columns = [column for column in table.columns if column != "context"]
        same(text, table, [*FIELDS, *columns, *table.trajectory_columns])


def test_a_search_of_many_calls_with_state_scores_is_the_tables() -> None:
    tasks = told("chain@small")
    mdp = tasks.mdp
    policy = SoftmaxPolicy.from_probabilities(mdp, np.tile([0.0, 1.0], (mdp.n_contexts, 1)))
    design, signal = DESIGNS.bind("dfs", group_size=3), SIGNALS.bind("state_score")
    samplers = (text_sampler(tasks, groups=2, slots=3), TableSampler(mdp, groups=2))
    states: list[dict[str, Any]] = [{"replicate": np.arange(1)} for _ in samplers]
    states[1]["observation_of_state"] = mdp.observation
    policies = (table_policy(mdp, policy), policy)
    trees = 0
    for _ in range(10):
        made = []
        for i, (sampler, actor) in enumerate(zip(samplers, policies, strict=True)):
            rollouts, states[i] = design(sampler, actor, states[i])
            columns, states[i] = signal(rollouts, states[i])
            made.append(rollouts.with_columns(**columns))
        same(made[0], made[1], [*FIELDS, "weight", "step_reward", "score", "visits", "ended", "generated_rows"])
        trees += made[0].is_tree
    assert trees >= 4 and (states[0]["score_success"] > 0).any()


def test_the_comparison_sees_a_design_that_forgets_its_parents() -> None:
    """Broken twin: branches drawn from the start instead of after their rows."""
    tasks = told("grid@tiny")
    text, table = both("branching", tasks, fixed_policy(tasks.mdp, 1), **CASES["branching"])
    with pytest.raises(AssertionError, match="parent"):
        same(replace(text, parent=np.full_like(text.parent, -1)), table, FIELDS)


# --- The law ----------------------------------------------------------------------------------------------------------


def keys(rollouts: Rollouts) -> list[tuple[int, ...]]:
    pairs = zip(rollouts.columns["state"].tolist(), rollouts.action.tolist(), strict=True)
    rows, ends = list(pairs), rollouts.columns["next_state"]
    return [
        (*[x for pair in rows[a:b] for x in pair], int(ends[b - 1]))
        for a, b in zip(rollouts.offsets[:-1].tolist(), rollouts.offsets[1:].tolist(), strict=True)
    ]


def fits(mdp: TabularMDP, policy: SoftmaxPolicy, drawn: Rollouts) -> bool:
    """Whether a chi-square test at ALPHA finds nothing between drawn trajectories and the enumerated law."""
    law = enumerate_trajectories(mdp, policy.probabilities(mdp))
    expected: dict[tuple[int, ...], float] = {}
    for key, p in zip(keys(law.rollouts), law.joint, strict=True):
        expected[key] = expected.get(key, 0.0) + float(p)
    seen = {key: 0 for key in expected}
    for key in keys(drawn):
        if key not in seen:
            return False
        seen[key] += 1
    n = drawn.n_trajectories
    p, k = np.array(list(expected.values())), np.array(list(seen.values()), float)
    rare = p * n < 10
    if rare.any():
        p, k = np.append(p[~rare], p[rare].sum()), np.append(k[~rare], k[rare].sum())
    if p[-1] * n < 5:
        p, k = np.append(p[:-2], p[-2:].sum()), np.append(k[:-2], k[-2:].sum())
    return bool(stats.chisquare(k, p / p.sum() * n).pvalue > ALPHA)


@pytest.mark.parametrize(
    ("family", "settings"), [("chain@tiny", {"slip": 0.2}), ("aliased@tiny", {"noise": 0.5}), ("loop@tiny", {})]
)
def test_trajectories_follow_the_exact_law(family: str, settings: dict[str, Any]) -> None:
    """n = 3000 trajectories, chi-square at alpha 1e-6; the same test refuses a policy half as bold."""
    tasks = told(family, **settings)
    policy = SoftmaxPolicy.random(tasks.mdp, 4)
    sampler = text_sampler(tasks, groups=3, seed=1, slots=128)
    drawn = sampler.extend(copies=1000, policy=table_policy(tasks.mdp, policy))
    assert fits(tasks.mdp, policy, drawn)
    assert not fits(tasks.mdp, SoftmaxPolicy(0.5 * policy.theta, policy.n_actions), drawn)


def test_log_probabilities_and_entropies_are_the_policys() -> None:
    tasks = told("chain@tiny", slip=0.2)
    policy = SoftmaxPolicy.random(tasks.mdp, 4)
    drawn = text_sampler(tasks, groups=2).extend(copies=20, policy=table_policy(tasks.mdp, policy))
    pi = policy.probabilities(tasks.mdp)
    state = drawn.columns["state"]
    np.testing.assert_allclose(drawn.columns["log_prob"], np.log(pi[state, drawn.action]), rtol=1e-12)
    np.testing.assert_allclose(drawn.columns["entropy"], -(pi * np.log(pi)).sum(axis=1)[state], rtol=1e-12)


def branches(seed: int) -> tuple[TableTasks, SoftmaxPolicy, Rollouts, np.ndarray]:
    """200 pairs of branches after the first row of an episode on a slippery chain."""
    tasks = told("chain@small", slip=0.3, length=3, horizon=8)
    policy = SoftmaxPolicy.random(tasks.mdp, 2)
    sampler = text_sampler(tasks, seed=seed, slots=64)
    trunk = sampler.extend(copies=1, steps=1, policy=table_policy(tasks.mdp, policy))
    drawn = sampler.extend(trunk, after=np.array([0]), copies=2000, policy=table_policy(tasks.mdp, policy))
    return tasks, policy, drawn, returns(drawn)[1:]


def branch_mean_is_exact(seed: int) -> bool:
    """Mean return of 2000 branches within Hoeffding's bound of the exact value at ALPHA."""
    tasks, policy, drawn, score = branches(seed)
    value = solve(tasks.mdp, policy.probabilities(tasks.mdp)).value
    exact = float(value[7, int(drawn.columns["next_state"][0])])
    return bool(abs(score.mean() - exact) < np.sqrt(np.log(2 / ALPHA) / (2 * score.size)))


def test_branches_have_futures_of_their_own_with_the_exact_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    assert branch_mean_is_exact(seed=3)
    # Broken twin: branches that keep the trunk's transitions share one future per sequence of commands.
    monkeypatch.setattr(fleets, "_reseed", lambda env, seed: None)
    assert not branch_mean_is_exact(seed=3)


# --- What does not change the bits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_slots_do_not_change_what_is_drawn(name: str) -> None:
    tasks = told("chain@small", slip=0.2)
    made = []
    for slots in (1, 3, 40):
        sampler = text_sampler(tasks, groups=3, seed=5, slots=slots)
        rollouts, _ = DESIGNS.bind(name, **CASES[name])(sampler, RandomPolicy(), None)
        made.append((rollouts, sampler.interner.names(), [sampler.records[i].prompt for i in sampler.records]))
    for other in made[1:]:
        same(made[0][0], other[0], [*FIELDS, *made[0][0].columns, *made[0][0].trajectory_columns])
        assert made[0][1:] == other[1:]


def test_workers_do_not_change_what_is_drawn() -> None:
    tasks = told("chain@small", slip=0.2)
    made = []
    for workers in (0, 2):
        with Fleet(tasks, 6, workers=workers) as fleet:
            sampler = text_sampler(tasks, fleet=fleet, groups=3, seed=5)
            made.append(DESIGNS.bind("branching", **CASES["branching"])(sampler, RandomPolicy(), None)[0])
    same(made[0], made[1], [*FIELDS, *made[0].columns])


def test_seeds_episodes_and_rounds_are_told_apart() -> None:
    tasks = told("random@small", seed=2)
    sampler = text_sampler(tasks, groups=4, seed=5)
    first = sampler.extend(copies=3, policy=RandomPolicy())
    again = sampler.extend(copies=3, policy=RandomPolicy())
    assert sampler.group_tasks() == text_sampler(tasks, groups=4, seed=5).group_tasks()
    assert first.action.tolist() != again.action.tolist()
    fresh = sampler.fresh()
    assert set(fresh.group_tasks()).isdisjoint(sampler.group_tasks())
    assert set(fresh.fresh().group_tasks()).isdisjoint({*fresh.group_tasks(), *sampler.group_tasks()})
    assert text_sampler(tasks, groups=4, seed=6).group_tasks() != sampler.group_tasks()
    episodes = [sampler.records[i].stream.episode for i in sampler.records]
    assert set(episodes) == set(range(24))
    # A later sampler over the same records does not draw the same streams again.
    later = TextSampler(sampler.fleet, bare, seed=5, records=sampler.records)
    later.extend(policy=RandomPolicy())
    assert max(later.records[i].stream.episode for i in later.records) == 24


def test_tasks_have_their_turn_before_any_comes_again() -> None:
    tasks = told()
    sampler = text_sampler(tasks, groups=8, batches=2)
    rounds = [sampler.group_tasks()]
    for _ in range(7):
        sampler = sampler.fresh()
        rounds.append(sampler.group_tasks())
    for half in (rounds[:4], rounds[4:]):
        assert sorted(task for each in half for task in each) == sorted(tasks.splits()["train"])
    assert rounds[0] != rounds[4]
    ordered = text_sampler(tasks, groups=20, split="valid", shuffle=False).group_tasks()
    assert ordered == [f"valid-{i % 16}" for i in range(20)]


# --- Columns, conventions, histories ----------------------------------------------------------------------------------


class Says:
    """Says one thing, perhaps badly formed, perhaps with numbers that are none."""

    def __init__(self, said: str, well_formed: bool = True, log_prob: float = 0.0) -> None:
        self.said, self.well_formed, self.log_prob = said, well_formed, log_prob

    def act(self, prompts: Any, streams: Any, *, greedy: bool = False) -> list[Response]:
        numbers = np.array([self.log_prob, self.log_prob])
        return [Response(f"<{self.said}>", self.said, np.arange(2), numbers, 0.5, self.well_formed) for _ in prompts]


def test_format_and_admissibility_are_counted_apart() -> None:
    tasks = told()
    sampler = text_sampler(tasks)
    table = {
        (True, True): Says("take path 0"),
        (True, False): Says("fly away"),
        (False, True): Says("take path 0", well_formed=False),
        (False, False): Says("fly away", well_formed=False),
    }
    for (valid, admissible), policy in table.items():
        drawn = sampler.extend(policy=policy)
        assert (drawn.columns["valid"] == valid).all()
        assert (drawn.columns["admissible"] == admissible).all()
        assert (drawn.columns["tokens"] == 2).all()
        assert drawn.n_rows == tasks.max_steps and not drawn.terminated.any()


def test_reward_conventions() -> None:
    tasks = told("chain@tiny", step_reward=-0.25)
    for reward, row, last in (("environment", -0.25, 0.75), ("published", 0.0, 1.0), ("score", 0.0, 1.0)):
        sampler = text_sampler(tasks, reward=reward)
        drawn = sampler.extend(policy=OraclePolicy())
        assert drawn.reward.tolist() == [row, row, last]
        told_of = with_outcomes(drawn, sampler.records, sampler.interner)
        assert told_of.trajectory_columns["task"].tolist() == [0]
        assert told_of.trajectory_columns["success"].tolist() == [True]
        assert told_of.trajectory_columns["task_score"].tolist() == [1.0]
    lost = text_sampler(tasks, reward="score", max_steps=2).extend(policy=OraclePolicy())
    assert lost.reward.tolist() == [0.0, 0.0] and not lost.terminated[0]


def test_a_branch_remembers_what_was_before_its_fork() -> None:
    tasks = told("chain@small")
    sampler = text_sampler(tasks)
    heard = []

    def listening(seen: Any, turns: Any) -> Any:
        heard.append([(turn.observation, turn.action) for turn in turns])
        return bare(seen, turns)

    sampler.prompter = listening
    trunk = sampler.extend(steps=3, policy=Says("take path 1"))
    heard.clear()
    tree = sampler.extend(trunk, after=np.array([1]), steps=2, policy=Says("take path 0"))
    past = [("You are at place 0.", "take path 1"), ("You are at place 1.", "take path 1")]
    assert heard == [past, [*past, ("You are at place 2.", "take path 0")]]
    assert tree.step.tolist() == [0, 1, 2, 2, 3]
    assert tree.parent.tolist() == [-1, 1]
    last = int(tree.columns["record"][-1])
    assert [sampler.records[i].stream.step for i in sampler.records.path(last)] == [0, 1, 2, 3]


def test_a_lost_place_is_found_again_by_replay() -> None:
    """Records without places, as a file keeps them, lead to the same states, the environment's randomness included."""
    tasks = told("chain@small", slip=0.3)
    sampler = text_sampler(tasks, groups=2, seed=3)
    trunk = sampler.extend(copies=3, steps=5, policy=RandomPolicy())
    rows = np.flatnonzero(sampler.continues(trunk))
    bare_records = {i: replace(sampler.records[i], after=None) for i in sampler.records}
    other = TextSampler(
        sampler.fleet, bare, seed=3, groups=2, records=Records(bare_records),
        interner=Interner(sampler.interner.names()),
    )  # fmt: skip
    grown, regrown = (each.extend(trunk, after=rows, policy=RandomPolicy()) for each in (sampler, other))
    same(grown, regrown, [*FIELDS, *grown.columns])


def test_the_penalty_of_the_published_code_reads_the_column_valid() -> None:
    from creditsim import advantage

    tasks = told()
    sampler = text_sampler(tasks)
    mixed = sampler.extend(sampler.extend(policy=Says("x", well_formed=False)), policy=OraclePolicy())
    plain, charged = (advantage(mixed, "gigpo", penalty=c, normalize="mean") for c in (0.0, 0.1))
    assert not np.array_equal(plain, charged)
    assert (charged[mixed.columns["valid"]] >= plain[mixed.columns["valid"]]).all()


# --- Refusals ---------------------------------------------------------------------------------------------------------


def test_refusals() -> None:
    tasks = told()
    sampler = text_sampler(tasks, groups=2)
    drawn = sampler.extend(policy=OraclePolicy())
    end = np.array([drawn.n_rows - 1])
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("policy", {}),
        ("steps", {"policy": RandomPolicy(), "steps": 0}),
        ("weight", {"policy": RandomPolicy(), "weight": -1.0}),
        ("copies", {"policy": RandomPolicy(), "copies": 0}),
        ("copies", {"policy": RandomPolicy(), "copies": [1, 2, 3]}),
        ("None where there are no rollouts", {"policy": RandomPolicy(), "after": end}),
        ("which ended its episode", {"policy": RandomPolicy(), "rollouts": drawn, "after": end}),
        (r"rows 99\.\.99", {"policy": RandomPolicy(), "rollouts": drawn, "after": [99]}),
        ("column mine", {"policy": RandomPolicy(), "rollouts": drawn.with_columns(mine=drawn.reward)}),
    ]
    for message, arguments in wrong:
        with pytest.raises(InputError, match=message):
            sampler.extend(**arguments)
    settings: tuple[tuple[dict[str, Any], str], ...] = (
        ({"split": "test"}, "split: got 'test'"),
        ({"tasks": []}, "tasks: got no task"),
        ({"groups": 0}, "groups"),
        ({"max_steps": 0}, "max_steps"),
        ({"reward": "shaped"}, "reward"),
    )
    for options, message in settings:
        with pytest.raises(InputError, match=message):
            TextSampler(sampler.fleet, bare, **options)


def test_numbers_that_are_none_are_one_line() -> None:
    for number in (np.nan, np.inf):
        with pytest.raises(NumericalError, match="NaN or infinite for 'take path 1'"):
            text_sampler(told()).extend(policy=Says("take path 1", log_prob=number))


def test_policies_refuse_what_they_cannot_answer() -> None:
    tasks = told()
    with pytest.raises(InputError, match="one of the table's 1 prompts"):
        text_sampler(tasks).extend(policy=LookupPolicy({"elsewhere": {"x": 1.0}}))
    with pytest.raises(InputError, match="positive probability"):
        text_sampler(tasks).extend(policy=LookupPolicy({"You are at place 0.": {"x": 1.0}}))
    with pytest.raises(InputError, match="two laws behind one observation"):
        table_policy(told("aliased@tiny").mdp, _Peeking())  # pyright: ignore[reportArgumentType]


class _Peeking:
    def probabilities(self, mdp: TabularMDP) -> np.ndarray:
        pi = np.random.default_rng(0).random((mdp.n_states, mdp.n_actions))
        return pi / pi.sum(axis=1, keepdims=True)


def test_an_oracle_that_does_not_win_loses_the_game_and_not_the_run() -> None:
    tasks = told()
    policy = OraclePolicy()
    sampler = text_sampler(tasks)
    drawn = sampler.extend(policy=policy)
    assert drawn.terminated.all()
    policy._plans = {key: (first, plan[:1]) for key, (first, plan) in policy._plans.items()}
    policy.follow = lambda stream, commands: None  # the next plan is not told
    with pytest.raises(InputError, match="without a solution"):
        sampler.extend(policy=policy)
    short = OraclePolicy()
    told_of = short.follow
    short.follow = lambda stream, commands: told_of(stream, commands[:1])
    lost = sampler.extend(policy=short)
    assert not lost.terminated.any() and lost.n_rows == tasks.max_steps
