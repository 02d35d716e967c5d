from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_bridge.parsing import TAIL, Parsed, parse, tagged

CASES = {
    "kept": ("<think>why</think><action>Go To Drawer 1</action>", Parsed("go to drawer 1", True)),
    "upper case tags": ("<THINK>why</THINK> <ACTION> look </ACTION>", Parsed("look", True)),
    "blanks and lines": ("<think>a\nb</think>\n<action>\n take mug 1 from shelf 2 \n</action>\n", None),
    "text behind": ("<think></think><action>look</action> and so on", Parsed("look", True)),
    "no thought": ("<action>look</action>", Parsed("look", False)),
    "thought not closed": ("<think>hm <action>look</action>", Parsed("look", False)),
    "Chinese": ("<think>看</think><action>look</action>", Parsed("look", False)),
    "two commands": ("<think></think><action>look</action><action>wait</action>", Parsed("look", True)),
    "empty command": ("<think></think><action></action>", Parsed("", True)),
    "not closed": ("<think>x</think><action>look", Parsed("<think>x</think><action>look"[-30:].strip(), False)),
    "no tags": ("I think that I should go to the fridge 1", Parsed("hat i should go to the fridge 1"[-30:], False)),
    "turned round": ("</action><action>", Parsed("</action><action>", False)),
    "nothing": ("", Parsed("", False)),
}


@pytest.mark.parametrize("name", CASES)
def test_cases_worked_out_by_hand(name: str) -> None:
    text, expected = CASES[name]
    assert parse(text) == (expected or Parsed("take mug 1 from shelf 2", True))


def test_the_tail_has_the_length_of_the_environment() -> None:
    text = "abcdefghijklmnopqrstuvwxyz0123456789"
    assert parse(text, tail=TAIL["alfworld"]).action == text[-30:]
    assert parse(text, tail=TAIL["webshop"]).action == text[-20:]


def test_format_says_nothing_of_admissibility() -> None:
    assert parse(tagged("fly to the moon")) == Parsed("fly to the moon", True)


@given(st.text(alphabet="abc DEF[]()0189"), st.text(alphabet="xyz .,!?"))
def test_what_is_written_in_tags_is_read_back(action: str, thought: str) -> None:
    assert parse(tagged(action, thought)) == Parsed(action.lower().strip(), True)


@given(st.text())
def test_any_text_is_answered_with_a_command_and_a_flag(text: str) -> None:
    parsed = parse(text)
    assert parsed.action == parsed.action.strip()
    assert not parsed.well_formed or "<action>" in text.lower()
