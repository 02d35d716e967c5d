"""The environment: commands and what they do, places and their names, the oracle, tasks and their presets."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from webshop_shop import GOAL, PRODUCTS, dice, products, raw, shop, shopper

from creditsim.errors import InputError, UnknownNameError
from llm_bridge.envs.base import ENVIRONMENTS, Outcome, Snapshot, TextEnv, TextTasks, make_tasks
from llm_bridge.envs.webshop.actions import SEARCH, parse
from llm_bridge.envs.webshop.catalogue import write_folder
from llm_bridge.envs.webshop.data import parse_products
from llm_bridge.envs.webshop.engine import WebShopEnv
from llm_bridge.envs.webshop.store import Contents, Store, open_store
from llm_bridge.envs.webshop.tagger import rule_nouns
from llm_bridge.envs.webshop.tasks import WebShopTasks


def _walk(env: TextEnv, *commands: str) -> Outcome:
    outcomes = [env.step(command) for command in commands]
    return outcomes[-1]


def test_commands_are_read_as_there() -> None:
    cases: dict[str, tuple[str, str | None]] = {
        "search[Brass Lamp]": ("search", "brass lamp"),
        "click[Buy Now]": ("click", "buy now"),
        "click[buy now] and go": ("click", "buy now"),  # what follows is ignored
        "i think click[x]": ("i think click", "x"),  # what precedes is not
        "click[a [b]]": ("click[a ", "b]"),  # greedy up to the last opening bracket
        "search[]": ("search[]", None),
        "search": ("search", None),
        "": ("", None),
        "search[a\nb]": ("search[a\nb]", None),  # no line break inside
    }
    assert {text: parse(text) for text in cases} == cases


def test_a_purchase_by_hand() -> None:
    env = shopper()
    seen = env.reset("0")
    assert seen.task == GOAL.instruction and seen.admissible == (SEARCH,)
    found = env.step("search[lamp]")
    assert (found.reward, found.done, found.admissible, found.score) == (0.0, False, True, 0.0)
    assert found.observation.admissible == (
        "click[back to search]", "click[next >]", "click[b000lamp01]", "click[b000lamp02]",
    )  # fmt: skip
    end = _walk(env, "click[B000LAMP01]", "click[navy blue]", "click[buy now]")
    # 2 attributes + 1 option + price over four parts, equal queries.
    assert (end.reward, end.score, end.won, end.done) == (1.0, 1.0, True, True)
    assert end.observation.admissible == ()
    with pytest.raises(InputError, match="step: got no episode under way"):
        env.step("click[back to search]")


@pytest.mark.parametrize(
    ("commands", "score"),
    [
        (["search[lamp]", "click[b000lamp01]", "click[buy now]"], 0.75),  # no option
        (["search[lamp]", "click[b000lamp01]", "click[large]", "click[buy now]"], 0.75),  # another option's value
        (["search[lamp]", "click[b000lamp01]", "click[red  |  white]", "click[buy now]"], 0.75),  # the wrong value
        # The second choice of one option replaces the first.
        (["search[lamp]", "click[b000lamp01]", "click[navy blue]", "click[red  |  white]", "click[buy now]"], 0.75),
        # Going back to the results forgets the choice; looking at a sub-page does not.
        (
            ["search[lamp]", "click[b000lamp01]", "click[navy blue]", "click[< prev]", "click[b000lamp01]",
             "click[buy now]"],
            0.75,
        ),
        (
            ["search[lamp]", "click[b000lamp01]", "click[navy blue]", "click[features]", "click[< prev]",
             "click[buy now]"],
            1.0,
        ),
        (["search[lamp]", "click[b000lamp02]", "click[buy now]"], 0.0),  # too dear, nothing hit
        (["search[soap]", "click[b000soap04]", "click[buy now]"], 0.0),  # cheap enough, but no shared noun
    ],
)  # fmt: skip
def test_purchases_score_what_the_formula_gives(commands: list[str], score: float) -> None:
    end = _walk(shopper(), *commands)
    assert end.done and end.reward == end.score == score and end.won is (score == 1.0)


IDLE = (
    "",
    "buy now",
    "click[nothing]",
    "click[search]",
    "Click[back to search]",
    "search[]",
    "think[lamp]",
    "click[b000lamp99]",
)


@pytest.mark.parametrize("command", IDLE)
def test_what_means_nothing_changes_nothing(command: str) -> None:
    env = shopper()
    for step in ("", "search[lamp]", "click[b000lamp01]", "click[navy blue]", "click[reviews]"):
        before = env.restore(env.snapshot()) if not step else env.step(step).observation
        outcome = env.step(command)
        assert not outcome.admissible and outcome.observation == before
        assert (outcome.reward, outcome.done) == (0.0, False)


def test_searching_is_accepted_everywhere_and_forgets_the_product() -> None:
    env = shopper()
    outcome = _walk(env, "search[lamp]", "click[b000lamp01]", "click[navy blue]", "search[plain soap]")
    assert outcome.admissible and outcome.observation.anchor.startswith(
        "Back to Search [SEP] Page 1 (Total results: 2)"
    )
    assert "navy" not in str(outcome.observation.state)


def test_turning_pages() -> None:
    # The 1000 products go round 40 types: "<q> table lamp" finds 25 of them, shown as 10, 10, 5, and none.
    env = WebShopEnv(open_store(Contents()))
    env.reset("0")
    seen = [env.step("search[<q> table lamp]").observation]
    seen += [env.step("click[next >]").observation for _ in range(3)]
    for number, (page, shown) in enumerate(zip(seen, (10, 10, 5, 0), strict=True), start=1):
        assert page.anchor.startswith(f"Back to Search [SEP] Page {number} (Total results: 25)")
        assert sum(command.startswith("click[x") for command in page.admissible) == shown
    back = [env.step("click[< prev]").observation for _ in range(3)]
    assert back == seen[2::-1]


def test_a_chosen_option_does_not_show_but_matters() -> None:
    """Anchor collision: one text, one anchor, two hidden states with two outcomes."""
    blue, red, none = shopper(), shopper(), shopper()
    way = ("search[lamp]", "click[b000lamp01]")
    unchosen = _walk(none, *way).observation
    right = _walk(blue, *way, "click[navy blue]").observation
    wrong = _walk(red, *way, "click[red  |  white]").observation
    assert right.text == wrong.text == unchosen.text
    assert right.anchor == wrong.anchor == unchosen.anchor
    assert right.admissible == wrong.admissible
    assert len({right.state, wrong.state, unchosen.state}) == 3
    ends = [env.step("click[buy now]").reward for env in (blue, red, none)]
    assert ends == [1.0, 0.75, 0.75]
    # The rich mode shows what was chosen: there the collision is gone.
    rich = [_walk(shopper("text_rich"), *way, f"click[{value}]") for value in ("navy blue", "red  |  white")]
    assert rich[0].observation.anchor != rich[1].observation.anchor


def test_names_of_states_are_of_what_was_found_not_of_the_words() -> None:
    one, other = shopper(), shopper()
    a, b = one.step("search[lamp]").observation, other.step("search[the lamps]").observation
    assert a == b  # same list, same futures
    urls = [_walk(shopper("url"), f"search[{words}]").observation.state for words in ("lamp", "the lamps")]
    assert urls[0] != urls[1]  # the address shows the words
    # The order in which two options were chosen matters to the address alone.
    ways = [("navy blue", "large"), ("large", "navy blue")]
    for mode, same in (("text", True), ("url", False)):
        names = {
            _walk(shopper(mode), "search[lamp]", "click[b000lamp01]", *(f"click[{v}]" for v in way)).observation.state
            for way in ways
        }
        assert (len(names) == 1) is same


COMMANDS = st.lists(
    st.sampled_from([
        "search[lamp]", "search[soap]", "search[brass lamp]", "click[next >]", "click[< prev]", "click[b000lamp01]",
        "click[b000soap03]", "click[navy blue]", "click[large]", "click[rose]", "click[description]",
        "click[features]", "click[back to search]", "click[buy now]", "nonsense",
    ]),
    max_size=12,
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(COMMANDS, COMMANDS, st.sampled_from(["text", "text_rich", "url"]))
def test_a_restored_place_has_the_same_future(before: list[str], after: list[str], mode: str) -> None:
    store = shop()
    env = WebShopEnv(store, mode)
    seen = env.reset("0")
    for command in before:
        outcome = env.step(command)
        seen = outcome.observation
        if outcome.done:
            return
    place = pickle.loads(pickle.dumps(env.snapshot()))  # noqa: S301
    assert place.steps == len(before) and place.task == "0"
    other = WebShopEnv(shop(), mode)
    assert other.restore(place) == seen
    for command in after:
        ours, theirs = env.step(command), other.step(command)
        assert ours == theirs
        if ours.done:
            break


@settings(max_examples=60, deadline=None)
@given(st.lists(COMMANDS, min_size=2, max_size=4), st.sampled_from(["text", "text_rich", "url"]))
def test_equal_names_mean_equal_pages(walks: list[list[str]], mode: str) -> None:
    pages: dict[str, set[str]] = defaultdict(set)
    store = shop()
    for walk in walks:
        env = WebShopEnv(store, mode)
        seen = env.reset("0")
        for command in walk:
            pages[str(seen.state)].add(seen.text)
            outcome = env.step(command)
            seen = outcome.observation
            if outcome.done:
                break
    assert all(len(texts) == 1 for texts in pages.values())


def test_listed_commands_are_accepted_and_others_are_not() -> None:
    tasks = make_tasks("webshop@tiny")
    env, rng = tasks.make(), dice(4)
    accepted: Counter[bool] = Counter()
    for task in tasks.splits()["train"]:
        seen = env.reset(task)
        for _ in range(tasks.max_steps):
            outcome = env.step(rng.choice(seen.admissible).replace("<your query>", seen.task))
            accepted[outcome.admissible] += 1
            seen = outcome.observation
            if outcome.done:
                break
    assert accepted[False] == 0 and accepted[True] > 100


def test_bad_places_and_tasks() -> None:
    env = shopper()
    for task in ("1", "-1", "train", "", "²"):
        with pytest.raises(InputError, match=r"task: got .*, allowed 0 \.\. 0"):
            env.reset(task)
    with pytest.raises(InputError, match="restore: got a snapshot of another environment"):
        env.restore(Snapshot("0", 3, ["look"]))
    with pytest.raises(InputError, match="no episode under way"):
        WebShopEnv(shop()).step("search[lamp]")
    env.close()
    env.close()


def test_published_lists_hold_a_click_that_does_nothing() -> None:
    env = shopper(dead_clicks=True)
    assert env.reset("0").admissible == (SEARCH, "click[search]")
    outcome = env.step("click[search]")
    assert not outcome.admissible and outcome.observation == env.reset("0")


@pytest.mark.parametrize("goals", ["human", "synthetic"])
def test_the_oracle_wins_every_task(goals: str) -> None:
    tasks = make_tasks("webshop", goals=goals)
    env = tasks.make()
    numbers = [task for split in tasks.splits().values() for task in split]
    for task in numbers if goals == "human" else numbers[::20]:
        seen = env.reset(task)
        commands = env.oracle()
        assert len(commands) <= tasks.max_steps
        assert SEARCH in seen.admissible and commands[0].startswith("search[")
        outcome = env.step(commands[0])
        for command in commands[1:]:
            assert command in outcome.observation.admissible
            outcome = env.step(command)
        assert outcome.won and outcome.done and outcome.score == 1.0


@settings(max_examples=40, deadline=None)
@given(COMMANDS)
def test_the_oracle_wins_from_anywhere(before: list[str]) -> None:
    env = shopper()
    for command in before:
        if env.step(command).done:
            with pytest.raises(InputError, match="oracle: got the end of an episode"):
                env.oracle()
            return
    commands = env.oracle()
    assert _walk(env, *commands).score == 1.0


def test_goals_that_cannot_be_won_have_no_oracle() -> None:
    env = WebShopEnv(Store(products(), shop().prices, [replace(GOAL, attributes=("velvet",))], rule_nouns))
    env.reset("0")
    with pytest.raises(InputError, match=r"scores below 1\.0"):
        env.oracle()
    mute = [replace(p, title="&", description="", bullets=(), options={}) for p in products()]
    found_by_none = replace(GOAL, options=(), attributes=("easy assembly",), name="&")
    env = WebShopEnv(Store(mute, shop().prices, [found_by_none], rule_nouns))
    env.reset("0")
    with pytest.raises(InputError, match="no search finds"):
        env.oracle()


def test_option_values_that_read_like_buttons_do_what_buttons_do() -> None:
    data = raw()
    data.products[0]["customization_options"]["Style"] = [{"value": "Buy Now"}, {"value": "Reviews"}, {"value": "S/M"}]  # type: ignore[index]
    store = Store(parse_products(data), shop().prices, [GOAL], rule_nouns)
    env = WebShopEnv(store)
    env.reset("0")
    page = _walk(env, "search[lamp]", "click[b000lamp01]").observation
    assert page.admissible.count("click[buy now]") == 1
    assert "Features" not in env.step("click[reviews]").observation.text
    # "s | m" belongs to size and to style: a click chooses it for the later one.
    chosen = _walk(env, "click[< prev]", "click[s | m]").observation
    assert '"style": "s | m"' in str(chosen.state)
    assert env.step("click[buy now]").done


def test_the_family_keeps_the_protocol() -> None:
    tasks: TextTasks = make_tasks("webshop@tiny")
    env: TextEnv = tasks.make()
    assert (tasks.name, tasks.max_steps, tasks.reward_unit) == ("webshop", 15, 10.0)
    splits = tasks.splits()
    assert {split: len(ids) for split, ids in splits.items()} == {"train": 24, "valid": 6}
    assert not set(splits["train"]) & set(splits["valid"])
    again: WebShopTasks = pickle.loads(pickle.dumps(tasks))  # noqa: S301
    assert again.splits() == splits and again.make().reset("3") == env.reset("3")
    assert len({tasks.kind(task) for task in splits["train"]}) == 5
    with pytest.raises(InputError, match="task: got '99'"):
        tasks.kind("99")


PRESETS = {
    "human": ({"train", "valid"}, 500),
    "synthetic": ({"train", "valid"}, None),
    "original": ({"train", "valid", "test"}, 2000),
    "verl-agent": ({"train", "valid"}, None),
}


@pytest.mark.parametrize("preset", PRESETS)
def test_presets(preset: str) -> None:
    names, n = PRESETS[preset]
    splits = make_tasks(f"webshop@{preset}").splits()
    assert set(splits) == names and all(splits.values())
    total = sum(map(len, splits.values()))
    assert total == n or (n is None and total > 3000)


def test_real_files_load_by_path(tmp_path: Path) -> None:
    write_folder(raw(), tmp_path)
    tasks = make_tasks("webshop@synthetic", path=str(tmp_path))
    assert len(tasks.splits()["train"]) == 4 - 1  # 2 x 2 combinations, one of them held out
    env = tasks.make()
    env.reset("2")
    assert _walk(env, *env.oracle()).won
    with pytest.raises(InputError, match="split: got 'share' with 1 goals"):
        make_tasks("webshop", path=str(tmp_path)).splits()


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"goals": "humans"}, "goals: got 'humans', allowed human | synthetic; nearest: human"),
        ({"split": "verl"}, "split: got 'verl', allowed share | original | verl-agent; nearest: verl-agent"),
        ({"mode": "html"}, "mode: got 'html', allowed text | text_rich | url"),
        ({"tagger": "nltk"}, "tagger: got 'nltk', allowed auto | rule | spacy"),
    ],
)
def test_bad_parameters_are_one_line(wrong: dict[str, str], line: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        make_tasks("webshop", **wrong)
    assert str(caught.value) == line


def test_bad_sizes_and_paths_are_one_line(tmp_path: Path) -> None:
    for wrong, line in (
        ({"products": 0}, "products: got 0, allowed at least 1"),
        ({"products": -1, "path": str(tmp_path)}, "products: got -1, allowed at least 1"),
        ({"path": str(tmp_path)}, "items_shuffle_1000.json"),
        ({"n_goals": 0}, "products, n_goals: got"),
    ):
        with pytest.raises(InputError) as caught:
            make_tasks("webshop", **wrong).splits()
        assert line in str(caught.value) and "\n" not in str(caught.value)


def test_goals_do_not_depend_on_the_process() -> None:
    code = (
        "from llm_bridge.envs.base import make_tasks; t = make_tasks('webshop@tiny'); e = t.make();"
        "print([e.reset(str(i)).task for i in range(30)], e.step('search[<r> lamp]').observation.text)"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1


def test_registration_costs_no_heavy_import() -> None:
    code = (
        "import sys, llm_bridge.envs.webshop as w; w.webshop();"
        "print([m for m in ('bm25s', 'Stemmer', 'thefuzz', 'rapidfuzz', 'torch', 'spacy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert "webshop" in ENVIRONMENTS and len(PRODUCTS) == 4
