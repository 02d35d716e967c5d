"""Prompts and answers with any text in them: markup, other scripts, emptiness. A parser and a window of our own."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_bridge.envs.base import Observation
from llm_bridge.parsing import Parsed, parse, tagged
from llm_bridge.prompts import ANSWERS, DOMAINS, STYLES, Turn, Wording, make_prompt, query_of

ANY = st.text(max_size=60)
"""All of Unicode: control characters, halves of pairs left out."""
ODD = (
    "<b>bold</b>", "&amp;", "a\nb", "\u202eright to left", "\x00", "👩\u200d🚀", "İstanbul", "看", "{task}", "%s",
    "\\n", "'", " ", "",
)  # fmt: skip
LINE = st.text(alphabet=st.characters(exclude_characters="\r\n\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e"), max_size=30)

# --- answers ----------------------------------------------------------------------------------------------------------

PIECES = ("<action>", "</action>", "<think>", "</think>", "<Action>", "看", "Go 1", "<b>", " ")
"""Enough to build every order of tags from."""
_PAIR = re.compile(r"(?s)\A(?:(?!</action>|<action>).)*<action>((?:(?!</action>).)*)</action>")


def plain(text: str, tail: int) -> Parsed:
    """The rule as one regular expression: first opening tag, first closing tag behind it and none before."""
    lower = text.lower()
    pair = _PAIR.match(lower)
    if pair is None:
        return Parsed(lower[len(lower) - min(tail, len(lower)) :].strip(), False)
    chinese = any("\u4e00" <= letter <= "\u9fff" for letter in text)
    return Parsed(pair[1].strip(), "<think>" in lower and "</think>" in lower and not chinese)


def disagreements(one: Callable[..., Parsed], other: Callable[..., Parsed], tail: int = 12) -> int:
    """Over all texts of up to four pieces: how many the two read differently."""
    texts = ["".join(parts) for n in range(5) for parts in itertools.product(PIECES, repeat=n)]
    assert len(texts) == 7381
    return sum(one(text, tail=tail) != other(text, tail=tail) for text in texts)


def test_every_order_of_tags_is_read_by_the_rule() -> None:
    assert disagreements(parse, plain) == 0


def _last_close(text: str, tail: int) -> Parsed:
    lower = text.lower()
    start, end = lower.find("<action>"), lower.rfind("</action>")
    return parse(text, tail=tail) if start < 0 or end < start else Parsed(lower[start + 8 : end].strip(), False)


def _lax(text: str, tail: int) -> Parsed:
    found = parse(text, tail=tail)
    return Parsed(found.action, found.well_formed or "<think>" in text.lower())


def _cased(text: str, tail: int) -> Parsed:
    return parse(text.replace("<Action>", "<other>"), tail=tail)


def _no_tail(text: str, tail: int) -> Parsed:
    return parse(text, tail=1000)


@pytest.mark.parametrize("fault", [_last_close, _lax, _cased, _no_tail])
def test_parsers_with_a_fault_are_told_apart(fault: Callable[..., Parsed]) -> None:
    assert disagreements(fault, plain) > 0


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.sampled_from(ODD), ANY), max_size=8), st.integers(1, 40))
def test_any_text_is_read_as_the_rule_says(parts: list[str], tail: int) -> None:
    text = "".join(parts)
    assert parse(text, tail=tail) == plain(text, tail)


@given(ANY.filter(lambda t: "<" not in t), ANY.filter(lambda t: "<" not in t))
def test_a_command_in_its_tags_comes_back(action: str, thought: str) -> None:
    read = parse(tagged(action, thought))
    assert read.action == action.lower().strip()
    assert read.well_formed is not bool(re.search("[\u4e00-\u9fff]", action + thought))
    assert parse(tagged(read.action, thought)) == read, "reading again changes nothing"


# --- prompts ----------------------------------------------------------------------------------------------------------


def wordings() -> st.SearchStrategy[Wording]:
    return st.builds(
        Wording, st.sampled_from(DOMAINS), st.sampled_from(STYLES), st.integers(0, 4), st.sampled_from(ANSWERS)
    )


turns = st.lists(st.builds(Turn, ANY, ANY), max_size=6)
seen = st.builds(
    Observation, st.one_of(ANY, st.sampled_from(ODD)), ANY, st.lists(ANY, max_size=4).map(tuple), st.one_of(ANY, LINE)
)


@given(wordings(), seen, turns)
def test_only_the_window_and_the_count_are_told(wording: Wording, view: Observation, past: list[Turn]) -> None:
    """What lies behind the window changes nothing but the number of steps."""
    whole = make_prompt(wording, view, past)
    recent = past[len(past) - min(wording.history, len(past)) :]
    assert whole == make_prompt(wording, view, recent, steps=len(past))
    forgotten = [Turn("forgotten", "forgotten")] * (len(past) - len(recent))
    assert whole == make_prompt(wording, view, [*forgotten, *recent])


def test_a_window_that_leaks_is_seen() -> None:
    """The twin: a prompt that also tells the first turn."""
    view, past = Observation("here", "", ("look",), "task"), [Turn(f"o{i}", f"a{i}") for i in range(4)]
    leaky = make_prompt(Wording(history=2), view, [past[0], *past[-2:]], steps=4)
    assert leaky == make_prompt(Wording(history=2), view, past)
    wider = make_prompt(Wording(history=3), view, [past[0], *past[-2:]], steps=4)
    assert wider != make_prompt(Wording(history=2), view, past)


@given(wordings(), seen, turns)
def test_nothing_that_was_said_is_changed(wording: Wording, view: Observation, past: list[Turn]) -> None:
    """Markup, braces and quotes stand in the prompt as they came: escaping is a report's affair."""
    prompt = make_prompt(wording, view, past)
    told = past[len(past) - min(wording.history, len(past)) :]
    if wording.domain != "webshop":
        assert view.text.strip() in prompt.text
        for turn in told:
            assert turn.observation.strip() in prompt.text and turn.action in prompt.text
    if wording.style == "full":
        assert prompt.text.endswith("\n") and "Commands you may give: [" in prompt.text
        for command in prompt.admissible:
            assert f"'{command}'" in prompt.text


@given(wordings(), seen)
def test_commands_are_the_environments(wording: Wording, view: Observation) -> None:
    """In their order; ALFWorld's help is left out, and a policy that chooses has its query filled in."""
    got = make_prompt(wording, view).admissible
    expected = [c for c in view.admissible if not (wording.domain == "alfworld" and c == "help")]
    if wording.answer == "command":
        expected = [c.replace("<your query>", query_of(view.task)) for c in expected]
    assert list(got) == expected


parts = st.lists(LINE.filter(lambda t: "[SEP]" not in t), min_size=1, max_size=5)


@given(parts, parts, st.sampled_from(["task with words", "<i>want</i> a lamp & more"]))
def test_a_shops_page_is_told_by_its_parts_behind_the_instruction(head: list[str], rest: list[str], task: str) -> None:
    if task in head:
        return
    view = Observation(" [SEP] ".join([*head, task, *rest]), "", (), task)
    text = make_prompt(Wording("webshop"), view).text
    assert "You now see: " + " [SEP] ".join(f"'{part}'" for part in rest) + "\nCommands" in text
    assert text.count(f"Your task: {task}\n") == 1
    compact = make_prompt(Wording("webshop", "compact"), view).text
    assert compact == f"{task}\n{' | '.join(rest)}\n>"


@pytest.mark.parametrize(("room", "kept"), [(0, True), (-1, False)])
def test_the_fallback_without_history_begins_one_character_beyond(room: int, kept: bool) -> None:
    view, past = Observation("a [SEP] b", "", ("click[x]",), "t"), [Turn("saw [SEP] this", "click[y]")]
    length = len(make_prompt(Wording("webshop"), view, past).text)
    text = make_prompt(Wording("webshop", longest=length + room), view, past).text
    assert ("click[y]" in text) is kept
    assert kept or text == make_prompt(Wording("webshop"), view).text
    for domain in ("plain", "alfworld"):
        assert "click[y]" in make_prompt(Wording(domain, longest=1), view, past).text


@given(ANY)
def test_a_query_is_words_of_the_task_once_each(task: str) -> None:
    words = query_of(task).split()
    assert len(set(words)) == len(words)
    assert all(word in task.lower() for word in words)
    places = [task.lower().find(word) for word in words]
    assert all(place >= 0 for place in places)
    assert query_of(task) == query_of(task.upper().lower()) or task.lower() != task.upper().lower()


@pytest.mark.parametrize(
    ("task", "query"),
    [
        ("", ""),
        ("I am looking for a", ""),
        ("find me <b>lamp</b>", "b lamp"),
        ("a 3.5 inch x-large men's t-shirt, and price lower than 1,000.00 dollars", "3.5 inch x-large men's t-shirt"),
        ("price less than 5 dollar mug", "mug"),
        ("café crème <i>brûlée</i>", "café crème brûlée"),
        ("size: 6-8. colour: blue/green.", "size 6-8 colour blue/green"),
    ],
)
def test_queries_by_hand(task: str, query: str) -> None:
    assert query_of(task) == query


def test_an_empty_world_still_makes_a_prompt() -> None:
    for domain, style, answer in itertools.product(DOMAINS, STYLES, ANSWERS):
        prompt = make_prompt(Wording(domain, style, 2, answer), Observation("", "", (), ""), [Turn("", "")])
        assert prompt.text and prompt.admissible == ()
