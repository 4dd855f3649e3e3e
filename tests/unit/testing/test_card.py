import asyncio

import attrs
import pytest

from btx.defaults import open_venue
from btx.errors import BtxError, ConfigError
from btx.model.order import OrderType
from btx.testing import needs
from btx.testing.card import (
    GROUPS,
    Card,
    CardFailedError,
    CardSkippedError,
    Kind,
    expect,
    expect_error,
    registered,
    skip,
    static_card,
)
from btx.testing.conformance import cards_of


def test_every_card_has_a_number_of_its_group_a_sentence_and_a_hint() -> None:
    for number, card in registered().items():
        letters, _, digits = number.partition("-")
        assert letters in GROUPS
        assert digits.isdecimal()
        assert card.title[0].isupper()
        assert not card.title.endswith(".")
        assert card.hint


def test_no_two_cards_say_the_same_and_every_group_has_some() -> None:
    cards = registered().values()

    assert len({card.title for card in cards}) == len(cards)
    assert {card.group for card in cards} == set(GROUPS)


def test_cards_stand_in_the_order_of_their_groups_and_numbers() -> None:
    order = list(GROUPS)
    places = [(order.index(card.group), card.number) for card in registered().values()]

    assert places == sorted(places)


def test_a_number_is_given_once() -> None:
    with pytest.raises(ValueError, match="two cards have the number LOAD-01"):
        static_card("LOAD-01", "Another", hint="somewhere")(lambda _subject: None)


def test_groups_and_numbers_choose_cards_and_others_are_refused_by_name() -> None:
    chosen = [card.number for card in cards_of(["LOAD"], ["ORD-07"])]

    assert chosen[-1] == "ORD-07"
    assert {number.partition("-")[0] for number in chosen[:-1]} == {"LOAD"}
    assert len(cards_of()) == len(registered())
    with pytest.raises(ConfigError, match=r"no group ORDERS: choose of LOAD"):
        cards_of(["ORDERS"])
    with pytest.raises(ConfigError, match=r"no card ORD-99"):
        cards_of((), ["ORD-99"])


def test_a_card_says_why_it_is_not_for_a_market() -> None:
    info = open_venue("binance").info
    margin = Card(number="X-1", title="", kind=Kind.STATIC, check=print, hint="", needs=(needs.margined,))

    assert margin.why_not(info, "usdm") == ""
    assert margin.why_not(info, "spot") == "positions of this market are not on margin"


def test_needs_name_what_is_not_declared() -> None:
    info = open_venue("binance").info
    can = info.capabilities["spot"]
    poor = attrs.evolve(can, order_types=frozenset({OrderType.LIMIT}), times_in_force=frozenset(), margined=True)

    for need, words in (
        (needs.order_type(OrderType.STOP_LIMIT), "no order type STOP_LIMIT"),
        (needs.any_order_type(OrderType.MARKET, OrderType.STOP_LIMIT), "no order type MARKET or STOP_LIMIT"),
        (needs.flag("amend"), "does not declare amend"),
        (needs.spot, "on margin"),
    ):
        assert words in need(info, poor)
    assert needs.order_type(OrderType.LIMIT)(info, poor) == ""


def test_what_is_expected_and_does_not_happen_is_a_failure_with_its_sentence() -> None:
    async def nothing() -> int:
        return 7

    async def wrong() -> None:
        raise ValueError("bad")

    async def right() -> None:
        raise ConfigError("good")

    expect(condition=True, sentence="never said")
    with pytest.raises(CardFailedError, match="expected rain"):
        expect(condition=False, sentence="expected rain")
    with pytest.raises(CardFailedError, match="nothing was raised; it returned 7"):
        asyncio.run(expect_error(BtxError, nothing(), "here"))
    with pytest.raises(CardFailedError, match="expected BtxError here, and ValueError came: bad"):
        asyncio.run(expect_error(BtxError, wrong(), "here"))
    assert str(asyncio.run(expect_error(BtxError, right(), "here"))) == "good"
    with pytest.raises(CardSkippedError, match="no sun"):
        skip("no sun")
