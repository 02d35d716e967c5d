"""Collection on the real environments: places and replays agree, designs run, files hold everything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bridge_cases import same

from creditsim.rollouts import FIELDS
from creditsim.sampling import DESIGNS
from llm_bridge.assemble import make_wording, prompter
from llm_bridge.collect.interner import Interner
from llm_bridge.collect.purity import anchor_purity
from llm_bridge.collect.records import Records, with_outcomes
from llm_bridge.collect.sampler import TextSampler
from llm_bridge.collect.store import read_rollouts, write_rollouts
from llm_bridge.envs.base import make_tasks
from llm_bridge.envs.fleet import Fleet
from llm_bridge.policies.plain import OraclePolicy, RandomPolicy

NEEDS = {"webshop@tiny": "bm25s", "alfworld@easy": "alfworld"}


@pytest.fixture(scope="module", params=NEEDS)
def fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALFWORLD_DATA", str(tmp_path_factory.mktemp("alfworld")))
        pytest.importorskip(NEEDS[request.param], reason=f"{NEEDS[request.param]} is not installed")
        with Fleet(make_tasks(request.param), 6) as made:
            yield made


def sampler(fleet: Fleet, groups: int = 2, **options: object) -> TextSampler:
    words = prompter(make_wording(fleet.tasks, "scoring"))
    return TextSampler(fleet, words, groups=groups, seed=3, max_steps=5, **options)  # pyright: ignore[reportArgumentType]


def test_going_on_from_a_place_is_going_on_after_a_replay(fleet: Fleet) -> None:
    one = sampler(fleet)
    trunk = one.extend(copies=2, steps=2, policy=RandomPolicy())
    rows = np.flatnonzero(one.continues(trunk))
    lost = Records({i: replace(one.records[i], after=None) for i in one.records})
    other = sampler(fleet, records=lost, interner=Interner(one.interner.names()))
    grown, regrown = (each.extend(trunk, after=rows, policy=RandomPolicy()) for each in (one, other))
    same(grown, regrown, [*FIELDS, *grown.columns])
    assert grown.is_tree


def test_a_tree_is_stored_with_its_texts(fleet: Fleet, tmp_path: Path) -> None:
    one = sampler(fleet)
    tree, _ = DESIGNS.bind("branching", group_size=1, after_steps=(2,))(one, RandomPolicy(), None)
    tree = with_outcomes(tree, one.records, one.interner)
    write_rollouts(tmp_path / "r", tree, one.records, one.interner)
    stored = read_rollouts(tmp_path / "r")
    same(tree, stored.rollouts, [*FIELDS, *tree.columns, *tree.trajectory_columns])
    assert stored.records is not None
    for number in tree.columns["record"].tolist():
        assert stored.records[number].prompt == one.records[number].prompt
    shares = anchor_purity(tree)
    assert shares.rows == tree.n_rows and 0.0 <= shares.mixed_pairs <= 1.0


def test_the_oracle_wins_and_the_published_reward_is_ten(fleet: Fleet) -> None:
    words = prompter(make_wording(fleet.tasks, "scoring"))
    won = TextSampler(fleet, words, groups=4, reward="published").extend(policy=OraclePolicy())
    assert won.terminated.all()
    last = won.offsets[1:] - 1
    assert (won.reward[last] == 10.0).all() and won.reward.sum() == 40.0
    assert won.columns["admissible"].all()
