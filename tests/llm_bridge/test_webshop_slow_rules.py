"""The store against its rules written a second time: rewards of purchases of chance, pages, options and sessions."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("bm25s", reason="the webshop extra is not installed")

import slow_webshop as slow
from slow_webshop import Shop, one_colour, token_set_ratio

from creditsim.errors import InputError
from llm_bridge.envs.webshop.colours import normalise_colour
from llm_bridge.envs.webshop.engine import WebShopEnv
from llm_bridge.envs.webshop.pages import as_html
from llm_bridge.envs.webshop.reward import score_purchase
from llm_bridge.envs.webshop.search import Search
from llm_bridge.envs.webshop.store import Contents, Store, open_store
from llm_bridge.envs.webshop.tagger import rule_nouns

HUMAN = open_store(Contents(products=120, n_goals=80, seed=5, tagger="rule"))
SYNTHETIC = open_store(Contents(goals="synthetic", products=40, n_goals=10, seed=6, tagger="rule"))
WORDS = ("navy", "Blue", "blue-ish", "x-large", "3 pack", "cotton", "100% cotton", "hot/cold", "café", "wine red", "-")


def dice(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311


def purchases(store: Store, count: int, seed: int) -> list[tuple[Any, Any, float, dict[str, str]]]:
    """Products, goals, prices and options of chance; a third buys the goal's own product, a third its neighbours."""
    draw, out = dice(seed), []
    for i in range(count):
        goal = draw.choice(store.goals)
        same = [p for p in store.products if p.query == goal.query]
        product = (store.by_asin[goal.asin], draw.choice(same), draw.choice(store.products))[i % 3]
        named = draw.sample(sorted(product.options), draw.randint(0, len(product.options)))
        chosen = {name: draw.choice(product.options[name]) for name in named if product.options[name]}
        price = draw.choice([store.prices[product.asin], goal.price_upper, goal.price_upper + 0.01])
        out.append((product, goal, price, chosen))
    return out


def slow_score(product: Any, goal: Any, price: float, chosen: dict[str, str]) -> float:
    return slow.score(product, goal, price, chosen, (rule_nouns(product.title), rule_nouns(goal.name)))


# --- the reward -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", [HUMAN, SYNTHETIC], ids=["human", "synthetic"])
def test_purchases_of_chance_score_what_the_rules_say(store: Store) -> None:
    cases = purchases(store, 400, seed=1)
    found = [score_purchase(*case, rule_nouns).total for case in cases]
    assert found == pytest.approx([slow_score(*case) for case in cases], abs=1e-15)
    assert len({round(value, 6) for value in found}) > 8 and 1.0 in found and any(value < 0.4 for value in found)


FAULTS: dict[str, dict[str, Any]] = {
    "words need not be whole": {"token_set_ratio": lambda a, b: 100 if set(a.split()) & set(b.split()) else 0},
    "colours are not normalised": {"one_colour": lambda text: text},
}


@pytest.mark.parametrize("name", FAULTS)
def test_other_rules_are_told_apart(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for target, fault in FAULTS[name].items():
        monkeypatch.setattr(slow, target, fault)
    cases = purchases(HUMAN, 400, seed=1)
    assert any(score_purchase(*case, rule_nouns).total != pytest.approx(slow_score(*case)) for case in cases)


@given(st.lists(st.sampled_from(WORDS), max_size=5), st.lists(st.sampled_from(WORDS), max_size=5))
def test_the_ratio_is_that_of_the_textbook(a: list[str], b: list[str]) -> None:
    from thefuzz import fuzz

    left, right = " ".join(a), " ".join(b)
    assert fuzz.token_set_ratio(left, right) == token_set_ratio(left, right) == token_set_ratio(right, left)


def test_ratios_at_the_border() -> None:
    """85 is no hit and 86 is: eleven of thirteen letters and twelve of fourteen."""
    assert token_set_ratio("abcdefghijklm", "abcdefghijkxy") == 85
    assert token_set_ratio("abcdefghijklmn", "abcdefghijklxy") == 86
    goal = replace(HUMAN.goals[0], attributes=("abcdefghijkxy",), options=(), price_upper=0.0)
    product = replace(HUMAN.by_asin[goal.asin], attributes=("abcdefghijklm",))
    assert score_purchase(product, goal, 1.0, {}, rule_nouns).attributes == 0
    goal = replace(goal, attributes=("abcdefghijklxy",))
    product = replace(product, attributes=("abcdefghijklmn",))
    assert score_purchase(product, goal, 1.0, {}, rule_nouns).attributes == 1


@given(st.text(alphabet="abdeghilnorstuvwy -", max_size=14))
def test_colours_are_the_first_of_the_list_anywhere_in_the_text(text: str) -> None:
    assert normalise_colour(text) == one_colour(text)


@given(st.sampled_from(HUMAN.goals), st.randoms(use_true_random=False))
def test_one_more_hit_never_lowers_a_score(goal: Any, draw: random.Random) -> None:
    product = HUMAN.by_asin[goal.asin]
    price = HUMAN.prices[goal.asin]
    chosen: dict[str, str] = {}
    before = score_purchase(product, goal, price, chosen, rule_nouns)
    for option in goal.options:
        name = next(n for n, values in product.options.items() if option in values)
        chosen = {**chosen, name: option}
        now = score_purchase(product, goal, price, chosen, rule_nouns)
        assert now.total >= before.total and now.options > before.options
        before = now
    assert before.total == 1.0
    dear = score_purchase(product, goal, goal.price_upper + 1, chosen, rule_nouns)
    assert dear.total == pytest.approx(1 - 1 / before.parts)


# --- pages, clicks and sessions ---------------------------------------------------------------------------------------


class Lists(dict[tuple[str, ...], list[str]]):
    """Asins of any search, by an index of its own."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store, self._search = store, Search(store.products)

    def __missing__(self, words: tuple[str, ...]) -> list[str]:
        found = self._search.find(words, "0").positions
        return self.setdefault(words, [self._store.products[i].asin for i in found])


def commands(env: WebShopEnv, shop: Shop, draw: random.Random) -> tuple[str, str]:
    """A command of chance: a listed click mostly, a search, or nonsense."""
    clicks = [c for c in shop.clicks() if c != "buy now"]
    kind = draw.random()
    if not clicks or kind < 0.12:
        title = draw.choice(HUMAN.products).title.lower().split()
        return "search", " ".join(draw.sample(title, 2)).replace(",", "")
    if kind < 0.2:
        return draw.choice([("click", "search"), ("click", "no such thing"), ("buy", "now"), ("click", "next")])
    return "click", draw.choice([*clicks, *["next >"] * 4 * ("next >" in clicks)])


def differs(env: WebShopEnv, shop: Shop, steps: int, seed: int) -> str:
    """Walk in both; the first thing in which they differ, or nothing."""
    draw = dice(seed)
    env.reset("0")
    for step in range(steps):
        name, argument = commands(env, shop, draw)
        meant = shop.step(name, argument)
        outcome = env.step(f"{name}[{argument}]")
        seen = outcome.observation
        text = [part.strip() for part in seen.text.split(" [SEP] ")]
        told = {
            "accepted": (outcome.admissible, meant),
            "clicks": ([c for c in env.page().clickables if c != "search"], shop.clicks()),
            "bar": ("search[<your query>]" in seen.admissible, shop.page == "search"),
            "reward": (outcome.reward, 0.0),
            "options": (dict(env.snapshot().payload.options), shop.chosen),
        }
        if shop.page == "results":
            told["heading"] = (text[3], shop.heading())
            told["products"] = ([part for part in text if part in HUMAN.by_asin], shop.shown())
        if shop.page == "item":
            told["title"] = (HUMAN.by_asin[shop.asin].title in text, True)
        wrong = next((key for key, (ours, theirs) in told.items() if ours != theirs), None)
        if wrong:
            return f"step {step} {name}[{argument}]: {wrong} {told[wrong]}"
    return ""


def machine(**changes: Any) -> Shop:
    shop = Shop(HUMAN.by_asin, Lists(HUMAN))
    for name, change in changes.items():
        setattr(shop, name, change.__get__(shop))
    return shop


@pytest.mark.parametrize("seed", range(12))
def test_walks_of_chance_go_where_the_rules_say(seed: int) -> None:
    assert differs(WebShopEnv(HUMAN), machine(), 150, seed) == ""


def _bounded(self: Shop, words: tuple[str, ...], number: int) -> None:
    last = max(slow.pages(len(self.find[words])), 1)
    Shop._results(self, words, min(number, last))


def _first_page(self: Shop, words: tuple[str, ...], number: int) -> None:
    Shop._results(self, words, number if self.page == "results" else 1)


def _keeps_options(self: Shop, words: tuple[str, ...], number: int) -> None:
    chosen = self.chosen
    Shop._results(self, words, number)
    self.chosen = chosen


@pytest.mark.parametrize("fault", [_bounded, _first_page, _keeps_options])
def test_other_shops_are_told_apart(fault: Any) -> None:
    assert any(differs(WebShopEnv(HUMAN), machine(_results=fault), 150, seed) for seed in range(12))


def test_pages_hold_ten_and_the_list_is_whole() -> None:
    """Turning all pages shows every product found once, in order; beyond the last there is nothing to click."""
    env = WebShopEnv(HUMAN)
    env.reset("0")
    env.step("search[cream]")
    found = HUMAN.search.find(("cream",), "0").positions
    shown: list[str] = []
    for number in range(1, slow.pages(len(found)) + 2):
        page = [asin for asin in env.page().clickables if asin.upper() in HUMAN.by_asin]
        assert len(page) == max(min(10, len(found) - 10 * (number - 1)), 0)
        shown += page
        env.step("click[next >]")
    assert shown == [HUMAN.products[i].asin.lower() for i in found]
    back = Counter(env.step("click[< prev]").observation.text for _ in range(slow.pages(len(found)) + 1))
    assert set(back.values()) == {1}
    assert not env.step("click[< prev]").admissible, "the first page has none before it"


def test_a_session_is_its_goal_and_nothing_of_the_last_visit() -> None:
    env, fresh = WebShopEnv(HUMAN, "text_rich"), WebShopEnv(HUMAN, "text_rich")
    goal = HUMAN.goals[7]
    first = env.reset("7")
    outcomes = [env.step(command) for command in env.oracle()]
    assert outcomes[-1].won and env.snapshot().steps > 0
    assert env.reset("7") == first == fresh.reset("7")
    assert first.task == goal.instruction.strip()
    assert env.snapshot() == fresh.snapshot()
    for command in env.oracle()[:2]:
        assert env.step(command) == fresh.step(command), "no product counts as visited any more"
    assert env.reset("8").task != first.task


def test_shoppers_of_one_store_take_turns_without_meeting() -> None:
    tasks = ["3", "4", "3"]
    ways = []
    for task in tasks:
        env = WebShopEnv(HUMAN)
        env.reset(task)
        ways.append(env.oracle())
    alone = []
    for task, way in zip(tasks, ways, strict=True):
        env = WebShopEnv(HUMAN)
        alone.append([env.reset(task), *map(env.step, way)])
    envs = [WebShopEnv(HUMAN) for _ in tasks]
    together: list[list[Any]] = [[env.reset(task)] for env, task in zip(envs, tasks, strict=True)]
    for turn in range(max(map(len, ways))):
        for env, way, seen in zip(envs, ways, together, strict=True):
            if turn < len(way):
                seen.append(env.step(way[turn]))
    assert together == alone


@given(st.text(max_size=40))
def test_any_text_is_a_command_that_is_answered(text: str) -> None:
    env = WebShopEnv(HUMAN)
    before = env.reset("0")
    outcome = env.step(text)
    assert outcome.reward == 0.0 and not outcome.done
    assert outcome.admissible or outcome.observation == before
    assert env.snapshot().steps == 1


@given(st.text(min_size=1, max_size=30))
def test_no_text_of_a_product_reaches_a_report_as_markup(text: str) -> None:
    """Whatever a product is called, the report's page has the tags of its own four elements and no other."""
    product = replace(HUMAN.products[0], title=f"<script>{text}</script>", options={"<b>": (text.lower() or "x",)})
    store = SimpleNamespace(
        goals=HUMAN.goals, by_asin={product.asin: product}, products=[product], prices={product.asin: 1.0},
        number=lambda task: 0, search=SimpleNamespace(find=HUMAN.search.find),
    )  # fmt: skip
    env = WebShopEnv(store)  # type: ignore[arg-type]
    env._number = 0
    env._go(replace(env._state, page="item", asin=product.asin, keywords=("x",)))
    page = as_html(env.page())
    for tag in ("p", "button", "label", "a"):
        page = page.replace(f"<{tag}>", "").replace(f"</{tag}>", "")
    assert "<" not in page and ">" not in page


def test_a_snapshot_of_another_kind_is_refused() -> None:
    env = WebShopEnv(HUMAN)
    env.reset("0")
    with pytest.raises(InputError, match="another environment"):
        env.restore(replace(env.snapshot(), payload=("go",)))
    for task in ("-1", "80", "seven", ""):
        with pytest.raises(InputError, match=r"task: got .* allowed 0 \.\. 79"):
            env.reset(task)
