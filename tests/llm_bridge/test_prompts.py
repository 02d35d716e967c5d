from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditsim.errors import InputError, UnknownNameError
from llm_bridge.envs.base import Observation
from llm_bridge.prompts import Turn, Wording, make_prompt, query_of

TASK = "put a clean mug in cabinet 1."
HOUSE = Observation("You see a drawer 1.", "", ("go to drawer 1", "help", "look"), TASK)
WANT = "find me a red cotton shirt with long sleeves, and price lower than 40.00 dollars"
SHOP = Observation(
    f"WebShop [SEP] Instruction: [SEP] {WANT} [SEP] Search", "", ("search[<your query>]", "click[search]"), WANT
)
PAST = [Turn(f"saw {i}", f"did {i}") for i in range(1, 6)]


def test_first_prompt_of_a_house_has_role_task_view_and_commands_without_help() -> None:
    prompt = make_prompt(Wording("alfworld"), HOUSE)
    assert prompt.admissible == ("go to drawer 1", "look")
    for part in ("household robot", TASK, "You see a drawer 1.", "'go to drawer 1', 'look'", "<think>", "<action>"):
        assert part in prompt.text
    assert "help" not in prompt.text
    assert "Steps taken" not in prompt.text


def test_task_told_by_the_view_is_not_told_twice() -> None:
    seen = Observation(f"A room. Your task is to: {TASK}", "", ("look",), TASK)
    assert make_prompt(Wording("alfworld"), seen).text.count(TASK) == 1


def test_later_prompt_tells_the_last_turns_with_their_true_numbers() -> None:
    text = make_prompt(Wording("alfworld", history=2), HOUSE, PAST).text
    assert "Steps taken so far: 5." in text
    assert "[Observation 4: 'saw 4', Action 4: 'did 4']\n[Observation 5: 'saw 5', Action 5: 'did 5']" in text
    assert "saw 3" not in text
    assert "This is step 6. You now see: You see a drawer 1." in text
    assert TASK in text


def test_steps_may_be_more_than_the_turns_kept() -> None:
    text = make_prompt(Wording(history=3), HOUSE, PAST[-2:], steps=9).text
    assert "Steps taken so far: 9." in text
    assert "[Observation 8: 'saw 4'" in text
    assert "[Observation 9: 'saw 5'" in text


@given(st.integers(0, 8), st.integers(0, 5))
def test_window_holds_k_turns_and_no_more(history: int, taken: int) -> None:
    for style in ("full", "compact"):
        text = make_prompt(Wording(style=style, history=history), HOUSE, PAST[:taken]).text
        told = [i for i in range(1, 6) if f"saw {i}" in text]
        assert told == list(range(max(taken - history, 0) + 1, taken + 1))


def test_compact_is_task_turns_view_and_a_sign() -> None:
    text = make_prompt(Wording("alfworld", "compact", 1), HOUSE, PAST).text
    assert text == f"{TASK}\nsaw 5\n> did 5\nYou see a drawer 1.\n>"


def test_shop_drops_the_instruction_and_quotes_the_parts() -> None:
    page = Observation(f"Instruction: [SEP] {WANT} [SEP] Back to Search [SEP] B01", "", ("click[b01]",), WANT)
    text = make_prompt(Wording("webshop"), page).text
    assert "You now see: 'Back to Search' [SEP] 'B01'" in text
    assert text.count(WANT) == 1
    assert make_prompt(Wording("webshop", "compact"), page).text == f"{WANT}\nBack to Search | B01\n>"


def test_shop_prompt_too_long_loses_its_history() -> None:
    past = [Turn("x" * 9000, "click[a]"), Turn("y" * 9000, "click[b]")]
    short = make_prompt(Wording("webshop"), SHOP, past).text
    assert short == make_prompt(Wording("webshop"), SHOP).text
    whole = make_prompt(Wording("webshop", longest=30_000), SHOP, past).text
    assert "x" * 9000 in whole
    assert "x" * 9000 in make_prompt(Wording("alfworld"), SHOP, past).text, "only the shop falls back"


def test_policies_that_write_see_the_template_and_those_that_choose_a_query() -> None:
    assert make_prompt(Wording("webshop"), SHOP).admissible[0] == "search[<your query>]"
    chosen = make_prompt(Wording("webshop", answer="command"), SHOP)
    assert chosen.admissible == ("search[red cotton shirt long sleeves]", "click[search]")
    assert "'search[red cotton shirt long sleeves]'" in chosen.text
    assert "<action>" not in chosen.text


def test_query_keeps_the_order_of_words_once_each() -> None:
    assert query_of("I need a Blue shirt, blue size x-large, price lower than 20 dollars.") == "blue shirt size x-large"


def test_wrong_choices_are_named() -> None:
    with pytest.raises(UnknownNameError, match="nearest: alfworld"):
        Wording("alfword")
    with pytest.raises(UnknownNameError, match="nearest: compact"):
        Wording(style="compat")
    with pytest.raises(InputError, match="history"):
        Wording(history=-1)
