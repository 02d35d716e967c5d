"""Goals: who is asked for what, under which price, in which order; worked out by hand from the rules."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from webshop_shop import dice, products

from creditsim.errors import InputError, UnknownNameError
from llm_bridge.envs.webshop.data import Instruction
from llm_bridge.envs.webshop.goals import (
    NEAREST,
    UNBOUNDED,
    draw_prices,
    make_goals,
    price_clause,
    shuffled,
    split_goals,
)

PRICES = {"B000LAMP01": 35.0, "B000LAMP02": 1350.0, "B000SOAP03": 100.0, "B000SOAP04": 3.0}


def test_prices_are_the_tag_or_a_draw_in_the_range() -> None:
    prices = draw_prices(products(), dice(5))
    # Only the second product has a range: the first number of the stream is its draw.
    assert prices == {**PRICES, "B000LAMP02": dice(5).uniform(1299.5, 1400.0)}


def test_bounds_by_hand() -> None:
    # Above 35: 40, 50, 60, 70. The larger of two distinct ones is never 40.
    drawn = {price_clause(35.0, dice(seed))[0] for seed in range(200)}
    assert drawn == {50.0, 60.0, 70.0}
    # Above 40 itself: 50, 60, 70, 80 (strictly above).
    assert {price_clause(40.0, dice(seed))[0] for seed in range(200)} == {60.0, 70.0, 80.0}
    # 970: 980, 990 -> always 990. 980: one bound is left -> no clause. 1350: none.
    assert price_clause(970.0, dice(0)) == (990.0, ", and price lower than 990.00 dollars")
    assert price_clause(980.0, dice(0)) == (UNBOUNDED, "")
    assert price_clause(1350.0, dice(0)) == (1_000_000.0, "")


def _law_of_the_bound(draws: int, smaller: bool = False) -> bool:
    """The larger of two of four: 50, 60, 70 with chances 1/6, 2/6, 3/6 (six pairs).

    Each share is checked at alpha = 1e-6 / 3 by Hoeffding: |share - p| <= sqrt(ln(2 / alpha) / (2 n)).
    """
    rng = dice(11)
    pick = min if smaller else max
    bounds = [40.0, 50.0, 60.0, 70.0]
    counts = Counter(pick(rng.sample(bounds, 2)) if smaller else price_clause(35.0, rng)[0] for _ in range(draws))
    margin = (15.6 / (2 * draws)) ** 0.5  # ln(2 / (1e-6 / 3)) = 15.6
    return all(abs(counts[x] / draws - p) <= margin for x, p in [(50.0, 1 / 6), (60.0, 2 / 6), (70.0, 3 / 6)])


def test_the_larger_of_two_draws_is_the_bound() -> None:
    assert _law_of_the_bound(4000)
    assert not _law_of_the_bound(4000, smaller=True)


@given(st.floats(0.01, 2000.0), st.integers(0, 99))
def test_the_clause_always_holds_for_the_goals_own_product(price: float, seed: int) -> None:
    upper, clause = price_clause(price, dice(seed))
    assert price < upper
    assert clause == "" if upper == UNBOUNDED else (upper - price <= 10.0 * NEAREST and f"{upper:.2f}" in clause)


def test_human_goals_by_hand() -> None:
    goals = make_goals("human", products(), PRICES, dice(3))
    # The second request of the lamp asks for no attribute and is left out; the full stop falls, the clause follows.
    assert len(goals) == 1
    upper = max(dice(3).sample([40.0, 50.0, 60.0, 70.0], 2))
    assert goals[0].instruction == (
        f"i need an energy efficient brass lamp in navy blue, and price lower than {upper:.2f} dollars"
    )
    assert (goals[0].price_upper, goals[0].weight) == (upper, 1.0)
    assert (goals[0].attributes, goals[0].options) == (("energy efficient", "brass"), ("navy blue",))
    assert (goals[0].query, goals[0].category) == ("table lamp", "garden")


def test_synthetic_goals_by_hand() -> None:
    shop = products()
    shop[3] = replace(shop[3], synthetic=Instruction("find me soap", ("energy efficient", "mild")))
    goals = make_goals("synthetic", shop, PRICES, dice(3))
    # The lamp has 2 x 2 combinations, options in alphabetic order of their names; the soap has none to choose: 1.
    assert [goal.options for goal in goals[:4]] == [
        (("color", "navy blue"), ("size", "s | m")),
        (("color", "navy blue"), ("size", "large")),
        (("color", "red  |  white"), ("size", "s | m")),
        (("color", "red  |  white"), ("size", "large")),
    ]
    assert len(goals) == 5 and goals[4].options == ()
    # One price draw a product: the four goals of the lamp share it.
    rng = dice(3)
    lamp = max(rng.sample([40.0, 50.0, 60.0, 70.0], 2))
    soap = max(rng.sample([10.0, 20.0, 30.0, 40.0], 2))
    assert [goal.price_upper for goal in goals] == [lamp] * 4 + [soap]
    assert goals[1].instruction == (
        f"find me an energy efficient lamp with color: navy blue, and size: large, and price lower than {lamp:.2f} "
        "dollars"
    )
    assert goals[4].instruction == f"find me soap, and price lower than {soap:.2f} dollars"
    # "energy efficient" is asked for by 5 goals, "mild" by 1: weights 1/5, and (1/5 + 1)/2 = 0.6.
    assert [goal.weight for goal in goals] == pytest.approx([0.2] * 4 + [0.6], rel=1e-15)


def test_no_goals_is_an_error() -> None:
    with pytest.raises(InputError, match="goals: got no human goal"):
        make_goals("human", products()[1:], PRICES, dice(0))
    with pytest.raises(UnknownNameError, match="nearest: human"):
        make_goals("humans", products(), PRICES, dice(0))


def test_the_order_is_that_of_pythons_shuffle() -> None:
    goals = [replace(make_goals("human", products(), PRICES, dice(0))[0], asin=str(i)) for i in range(9)]
    expected = [str(i) for i in range(9)]
    dice(233).shuffle(expected)
    assert [goal.asin for goal in shuffled(goals, 233)] == expected
    assert [goal.asin for goal in shuffled(goals, 42)] != expected
    assert [goal.asin for goal in goals] == [str(i) for i in range(9)]


def test_splits_by_hand() -> None:
    assert split_goals("original", 12_087) == {
        "test": range(500),
        "valid": range(500, 1500),
        "train": range(1500, 12_087),
    }
    assert split_goals("verl-agent", 6910) == {"valid": range(500), "train": range(500, 6910)}
    assert split_goals("share", 500) == {"valid": range(100), "train": range(100, 500)}
    assert split_goals("share", 2) == {"valid": range(1), "train": range(1, 2)}


@pytest.mark.parametrize(("rule", "n"), [("original", 1500), ("verl-agent", 500), ("share", 1)])
def test_an_empty_split_is_an_error(rule: str, n: int) -> None:
    with pytest.raises(InputError, match=f"'{rule}' with {n} goals"):
        split_goals(rule, n)
    assert all(len(numbers) for numbers in split_goals(rule, n + 1).values())
