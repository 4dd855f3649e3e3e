"""Brackets: what is done next, for each state an entry and its exits can be in."""

from decimal import Decimal
from typing import Any

import attrs
import pytest

from btx.model.instrument import Instrument
from btx.model.order import Group, ListKind, Member, Order, OrderType, Side, Status
from btx.model.venue import Capabilities
from btx.rules.brackets import decide
from btx.rules.groups import PlaceEntry, PlaceExit, Replace, triggered
from btx.rules.orders import apply
from tests.groups import (
    ABLE,
    COIN,
    ENTRY,
    NO_LISTS,
    asked,
    bracket,
    cancelling,
    facts,
    leg,
    limit,
    pair,
    sent,
    stop,
    trail,
    unknown,
)
from tests.values import fill

GROUP = bracket()


def step(
    group: Group,
    *legs: Order,
    price: int = 100,
    able: Capabilities = ABLE,
    others: int = 0,
    is_crowded: bool = False,
    now_ns: int = 1,
) -> Any:
    known = facts(price, able=able, others=others, is_crowded=is_crowded)
    return decide(group, legs, facts=known, now_ns=now_ns)


# --- the entry -------------------------------------------------------------------------------------------


def test_an_entry_is_placed_alone_and_nothing_is_protected_before_it_fills() -> None:
    assert sent(step(GROUP).commands) == [("PlaceEntry", "entry", 10)]
    assert step(GROUP, leg(ENTRY, "entry")).commands == ()


def test_an_entry_may_take_its_exits_along_where_the_venue_has_such_lists() -> None:
    native, one = bracket(native_entry=True), bracket(stop(), native_entry=True)
    (with_pair,), (with_one,) = step(native).commands, step(one).commands
    (plain,) = step(native, able=attrs.evolve(ABLE, order_lists=frozenset({ListKind.OTO}))).commands
    waiting = bracket(trail(), native_entry=True)

    assert isinstance(with_pair, PlaceEntry)
    assert isinstance(with_one, PlaceEntry)
    assert isinstance(plain, PlaceEntry)
    assert with_pair.exits == (limit(), stop())
    assert with_one.exits == (stop(),)
    assert plain.exits == ()
    assert step(waiting).commands[0].exits == ()


def test_dormant_exits_of_a_list_protect_nothing_and_wait() -> None:
    entry = leg(ENTRY, "entry", filled=4, status=Status.PARTIALLY_FILLED, list_id="l")
    decision = step(bracket(native_entry=True), entry, *pair(GROUP, "l", 10, status=Status.PENDING_NEW))

    assert decision.commands == ()
    assert decision.waits
    assert decision.naked == 4


def test_an_entry_whose_outcome_is_unknown_is_waited_for() -> None:
    decision = step(GROUP, unknown(leg(ENTRY, "entry", status=None)))

    assert decision.commands == ()
    assert decision.waits


def test_an_entry_that_never_was_ends_its_exits() -> None:
    decision = step(GROUP, leg(ENTRY, "entry", status=Status.REJECTED, reason="funds"))

    assert decision.ended["entry"] == (Status.REJECTED, "funds")
    assert decision.ended["stop"] == (Status.CANCELED, "the entry ended REJECTED: funds")


def test_an_entry_cancelled_before_it_was_sent_is_not_sent() -> None:
    decision = step(bracket(withdrawn=("entry",)))

    assert decision.commands == ()
    assert {status for status, _ in decision.ended.values()} == {Status.CANCELED}


def test_a_cancelled_entry_keeps_the_exits_of_what_it_filled() -> None:
    group = bracket(withdrawn=("entry",))
    working = leg(ENTRY, "entry", filled=4, status=Status.PARTIALLY_FILLED)
    over = leg(ENTRY, "entry", filled=4, status=Status.CANCELED)

    assert sent(step(group, working).commands) == [("Cancel", "entry"), ("PlacePair", 4)]
    decision = step(group, over, *pair(GROUP, "p", 4))
    assert decision.ended == {"entry": (Status.CANCELED, "cancelled by the strategy")}


def test_an_entry_is_cancelled_at_its_time() -> None:
    timed = attrs.evolve(ENTRY, request=attrs.evolve(ENTRY.request, expires_ns=50))
    group = bracket(entry=timed)

    assert step(group, leg(ENTRY, "entry"), now_ns=49).again_ns == 50
    assert sent(step(group, leg(ENTRY, "entry"), now_ns=50).commands) == [("Cancel", "entry")]
    assert step(group, leg(ENTRY, "entry", status=Status.CANCELED), now_ns=50).ended["entry"][0] is Status.EXPIRED


def test_an_entry_whose_last_fills_are_not_told_is_not_over_and_the_rest_of_it_is_naked() -> None:
    decision = step(GROUP, leg(ENTRY, "entry", filled=4, told=6, status=Status.CANCELED))

    assert decision.ended == {}
    assert sent(decision.commands) == [("PlacePair", 4)]
    assert decision.naked == 6


def test_an_amended_entry_is_replaced_by_what_is_left() -> None:
    group = bracket(entry=attrs.evolve(ENTRY, request=attrs.evolve(ENTRY.request, price=Decimal(99))))
    entry = leg(ENTRY, "entry", filled=4, status=Status.PARTIALLY_FILLED)
    exits = pair(GROUP, "p", 4)

    (command,) = step(group, entry, *exits).commands
    assert isinstance(command, Replace)
    assert (command.client_order_id, command.quantity) == ("entry", 6)
    (again,) = step(group, leg(ENTRY, "entry", filled=4, status=Status.CANCELED), *exits).commands
    assert isinstance(again, PlaceEntry)
    assert again.quantity == 6


def test_an_amended_entry_of_a_list_is_cancelled_first() -> None:
    group = bracket(entry=attrs.evolve(ENTRY, request=attrs.evolve(ENTRY.request, price=Decimal(99))))

    assert sent(step(group, leg(ENTRY, "entry", list_id="l")).commands) == [("Cancel", "entry")]


def test_an_amendment_below_what_has_filled_ends_the_entry() -> None:
    group = bracket(entry=attrs.evolve(ENTRY, request=attrs.evolve(ENTRY.request, quantity=Decimal(4))))
    exits = pair(GROUP, "p", 4)

    working = leg(ENTRY, "entry", filled=4, status=Status.PARTIALLY_FILLED)
    assert sent(step(group, working, *exits).commands) == [("Cancel", "entry")]
    over = leg(ENTRY, "entry", filled=4, status=Status.CANCELED)
    assert step(group, over, *exits).ended == {"entry": (Status.FILLED, "")}


def test_a_refused_amendment_leaves_the_old_entry() -> None:
    changed = attrs.evolve(ENTRY, request=attrs.evolve(ENTRY.request, price=Decimal(99)))
    refused = leg(changed, "b", status=Status.REJECTED, reason="filter")
    group = bracket(entry=changed)

    assert step(group, leg(ENTRY, "entry"), refused).commands == ()
    decision = step(group, leg(ENTRY, "entry", filled=4, status=Status.CANCELED), refused, *pair(GROUP, "p", 4))
    assert decision.ended["entry"][0] is Status.CANCELED


def test_an_entry_that_trails_here_waits_for_a_price() -> None:
    group = bracket(entry=attrs.evolve(trail("entry"), request=attrs.evolve(trail().request, side=Side.BUY)))

    assert step(group).commands == ()
    assert not step(group).waits


def test_fills_that_are_not_told_delay_an_amendment() -> None:
    group = bracket(entry=attrs.evolve(ENTRY, request=attrs.evolve(ENTRY.request, price=Decimal(99))))
    decision = step(group, leg(ENTRY, "entry", told=4, status=Status.CANCELED))

    assert decision.commands == ()
    assert decision.waits


# --- protection ------------------------------------------------------------------------------------------


def test_each_increment_has_a_pair_of_its_own() -> None:
    entry = leg(ENTRY, "entry", filled=6, status=Status.PARTIALLY_FILLED)
    decision = step(GROUP, entry, *pair(GROUP, "p", 2))

    assert sent(decision.commands) == [("PlacePair", 4)]
    assert decision.naked == 4


def test_no_second_command_leaves_while_the_first_is_unanswered() -> None:
    entry = leg(ENTRY, "entry", filled=6, status=Status.PARTIALLY_FILLED)

    for exits in (pair(GROUP, "p", 2, status=None), [cancelling(each) for each in pair(GROUP, "p", 2)]):
        decision = step(GROUP, entry, *exits)
        assert decision.commands == ()
        assert decision.waits


def test_a_fee_in_the_coin_is_not_protected_and_the_quantity_is_on_the_grid() -> None:
    bought = fill("f9", 4, client_order_id="entry", fee=Decimal("0.004"), fee_asset="BTC")
    entry = attrs.evolve(leg(ENTRY, "entry"), fills=(bought,))

    assert sent(step(GROUP, entry).commands) == [("PlacePair", 3)]


def test_increments_below_the_minimum_are_pooled_and_counted_until_the_entry_is_over() -> None:
    coarse = attrs.evolve(COIN, min_quantity=Decimal(3))
    entry = entry_in(coarse)
    group = bracket(limit(instrument=coarse), stop(instrument=coarse), entry=entry)
    working = leg(entry, "entry", filled=5, status=Status.PARTIALLY_FILLED)
    exits = pair(group, "p", 3)

    assert step(group, working, *exits).naked == 2
    assert step(group, working, *exits).commands == ()
    over = leg(entry, "entry", filled=5, status=Status.CANCELED)
    assert sent(step(group, over, *exits).commands) == [("Cancel", "plimit")]
    assert step(group, leg(entry, "entry", filled=2, status=Status.CANCELED)).naked == 2


def entry_in(instrument: Instrument) -> Member:
    return attrs.evolve(ENTRY, request=attrs.evolve(ENTRY.request, instrument=instrument))


def cramped(most: int, **changes: Any) -> Any:
    coin = attrs.evolve(COIN, max_conditional_orders=most, **changes)
    return bracket(limit(instrument=coin), stop(instrument=coin), entry=entry_in(coin))


def test_near_the_venues_limit_the_smallest_pair_makes_room_for_a_bigger_one() -> None:
    group = cramped(2)
    entry = leg(group.entry, "entry", filled=9, status=Status.PARTIALLY_FILLED)
    exits = [*pair(group, "a", 4), *pair(group, "b", 2)]

    assert sent(step(group, entry, *exits).commands) == [("Cancel", "blimit")]
    full = step(group, leg(group.entry, "entry", filled=4, status=Status.PARTIALLY_FILLED), others=2, now_ns=5)
    assert full.commands == ()
    assert full.naked == 4
    assert full.again_ns == 5 + 1_000_000_000


def test_a_group_that_finds_no_room_says_so_and_another_merges_two_of_its_pairs() -> None:
    group = cramped(2)
    entry = leg(group.entry, "entry", filled=6, status=Status.PARTIALLY_FILLED)
    exits = [*pair(group, "a", 4), *pair(group, "b", 2)]

    assert step(group, entry, others=2).is_crowded
    assert not step(group, entry, others=1).is_crowded
    assert step(group, entry, *exits).commands == ()
    assert sent(step(group, entry, *exits, is_crowded=True).commands) == [("Cancel", "blimit"), ("Cancel", "alimit")]
    assert sent(step(group, entry, is_crowded=True).commands) == [("PlacePair", 6)]
    assert step(group, entry, *pair(group, "a", 6), is_crowded=True).commands == ()
    small = cramped(2, max_quantity=Decimal(5))
    assert step(small, entry, *exits, is_crowded=True).commands == ()


def test_without_room_for_a_stop_the_price_is_watched_here() -> None:
    group = cramped(2)
    entry = leg(group.entry, "entry", filled=6, status=Status.FILLED, quantity=6)

    assert step(group, entry, others=2).commands == ()
    ((stopped,), (reached,)) = (step(group, entry, others=2, price=price).commands for price in (89, 111))
    assert (stopped.member.member_id, stopped.member.request.order_type) == ("stop", OrderType.MARKET)
    assert (reached.member.member_id, reached.member.request.order_type) == ("limit", OrderType.LIMIT)
    assert stopped.quantity == reached.quantity == 6
    refused = leg(triggered(stop()), "a", 6, status=Status.REJECTED)
    assert step(group, entry, refused, others=2, price=89).commands == ()


def test_what_was_sold_is_bought_back_as_it_was_whatever_the_fee_for_that() -> None:
    coin = {"side": Side.BUY, "order_type": OrderType.STOP_MARKET, "price": None, "trigger_price": Decimal(110)}
    selling = Member(member_id="entry", request=asked())
    group = bracket(Member(member_id="stop", request=asked(**coin)), entry=selling)
    entry = leg(selling, "entry", filled=10, status=Status.FILLED)
    bought = apply(
        leg(group.members[0], "a", status=None),
        fill("f1", 10, side=Side.BUY, client_order_id="a", fee=Decimal(1), fee_asset="BTC"),
    )

    decision = step(group, entry, bought)

    assert decision.commands == ()
    assert decision.ended["stop"] == (Status.FILLED, "")


def test_no_pair_is_cancelled_for_one_that_would_be_no_bigger() -> None:
    group = cramped(1, max_quantity=Decimal(4))
    entry = leg(group.entry, "entry", filled=9, status=Status.PARTIALLY_FILLED)

    assert step(group, entry, *pair(group, "a", 4)).commands == ()
    assert sent(step(group, entry).commands) == [("PlacePair", 4)]


def test_orders_that_wait_for_no_trigger_do_not_count() -> None:
    coin = attrs.evolve(COIN, max_conditional_orders=0)
    group = bracket(limit(instrument=coin), entry=entry_in(coin))

    assert sent(step(group, leg(group.entry, "entry", filled=9)).commands) == [("PlaceExit", "limit", 9)]


def test_market_orders_have_a_grid_and_a_size_of_their_own() -> None:
    coin = attrs.evolve(COIN, market_step_size=Decimal(2), market_max_quantity=Decimal(6))
    group = bracket(stop(instrument=coin), entry=entry_in(coin))
    entry = leg(group.entry, "entry", filled=9, status=Status.CANCELED)

    assert sent(step(group, entry).commands) == [("PlaceExit", "stop", 6)]
    assert step(group, entry, leg(group.members[0], "a", 8)).commands == ()


def test_a_limit_that_filled_in_part_lost_its_stop_and_the_rest_is_protected_anew() -> None:
    entry = leg(ENTRY, "entry", filled=10, status=Status.FILLED)
    selling = leg(limit(), "plimit", filled=4, status=Status.PARTIALLY_FILLED, list_id="p")
    owed = leg(stop(), "pstop", list_id="p")
    ended = leg(stop(), "pstop", list_id="p", status=Status.EXPIRED)

    assert step(GROUP, entry, selling, owed).waits
    decision = step(GROUP, entry, selling, ended)
    assert sent(decision.commands) == [("Cancel", "plimit")]
    assert decision.naked == 6
    cancelled = leg(limit(), "plimit", filled=4, status=Status.CANCELED, list_id="p")
    assert sent(step(GROUP, entry, cancelled, ended).commands) == [("PlacePair", 6)]


def test_exits_that_cover_more_than_there_is_are_cancelled() -> None:
    entry = leg(ENTRY, "entry", filled=5, status=Status.CANCELED)

    assert sent(step(GROUP, entry, *pair(GROUP, "a", 4), *pair(GROUP, "b", 2)).commands) == [("Cancel", "blimit")]
    assert sent(step(GROUP, entry, *pair(GROUP, "a", 4), *pair(GROUP, "b", 9)).commands) == [("Cancel", "blimit")]
    many = [*pair(GROUP, "a", 5), *pair(GROUP, "b", 5), *pair(GROUP, "c", 6)]
    assert sent(step(GROUP, entry, *many).commands) == [("Cancel", "climit")]


def test_without_lists_the_stop_rests_and_the_limit_is_sent_when_the_price_is_there() -> None:
    entry = leg(ENTRY, "entry", filled=10, status=Status.FILLED)
    resting = leg(stop(), "a")

    assert sent(step(GROUP, entry, able=NO_LISTS).commands) == [("PlaceExit", "stop", 10)]
    assert step(GROUP, entry, resting, able=NO_LISTS, price=109).commands == ()
    assert sent(step(GROUP, entry, resting, able=NO_LISTS, price=110).commands) == [("Cancel", "a")]
    cancelled = leg(stop(), "a", status=Status.CANCELED)
    assert sent(step(GROUP, entry, cancelled, able=NO_LISTS, price=110).commands) == [("PlaceExit", "limit", 10)]
    selling = leg(limit(), "b")
    assert step(GROUP, entry, cancelled, selling, able=NO_LISTS, price=110).naked == 10
    assert sent(step(GROUP, entry, cancelled, selling, able=NO_LISTS, price=105).commands) == [("Cancel", "b")]


def test_without_a_stop_a_limit_protects_as_far_as_it_can() -> None:
    group = bracket(limit())
    decision = step(group, leg(ENTRY, "entry", filled=10, status=Status.FILLED), leg(limit(), "a"))

    assert decision.commands == ()
    assert decision.naked == 0


def test_an_exit_no_order_type_of_the_venue_fits_is_sent_when_it_is_reached() -> None:
    group = bracket(stop())
    entry = leg(ENTRY, "entry", filled=10, status=Status.FILLED)
    plain = attrs.evolve(NO_LISTS, order_types=frozenset({OrderType.LIMIT, OrderType.MARKET}))

    assert step(group, entry, able=plain).commands == ()
    assert step(group, entry, able=plain).naked == 10
    (command,) = step(group, entry, able=plain, price=89).commands
    assert isinstance(command, PlaceExit)
    assert command.member.request.order_type is OrderType.MARKET


def test_a_stop_that_trails_here_rests_alone_and_is_sent_at_once_when_the_market_is_through() -> None:
    group = bracket(trail(trigger_price=Decimal(95)), limit())
    entry = leg(ENTRY, "entry", filled=10, status=Status.FILLED)

    (resting,) = step(group, entry).commands
    assert resting.member.request.order_type is OrderType.STOP_MARKET
    (now,) = step(group, entry, price=95).commands
    assert now.member.request.order_type is OrderType.MARKET
    moved = bracket(trail(trigger_price=Decimal(97)), limit())
    (command,) = step(moved, entry, leg(resting.member, "a")).commands
    assert isinstance(command, Replace)
    assert command.member.request.trigger_price == 97


def test_an_amended_stop_of_pairs_is_exchanged_one_pair_at_a_time() -> None:
    group = bracket(limit(), stop(trigger=95))
    entry = leg(ENTRY, "entry", filled=9, status=Status.PARTIALLY_FILLED)
    exits = [*pair(GROUP, "a", 4), *pair(GROUP, "b", 5)]

    assert sent(step(group, entry, *exits).commands) == [("Cancel", "alimit")]


# --- refusals --------------------------------------------------------------------------------------------


def test_a_refused_pair_becomes_a_single_stop_at_once() -> None:
    entry = leg(ENTRY, "entry", filled=10, status=Status.FILLED)

    decision = step(GROUP, entry, *pair(GROUP, "p", 10, status=Status.REJECTED))

    assert sent(decision.commands) == [("PlaceExit", "stop", 10)]


@pytest.mark.parametrize(("reason", "price"), [("Order would trigger immediately.", 100), ("no", 89)])
def test_a_stop_the_market_has_passed_becomes_a_market_order(reason: str, price: int) -> None:
    entry = leg(ENTRY, "entry", filled=10, status=Status.FILLED)
    refused = leg(stop(), "a", status=Status.REJECTED, reason=reason)

    (command,) = step(GROUP, entry, refused, price=price).commands

    assert command.member == triggered(stop())


def test_a_stop_refused_for_another_reason_is_tried_again_later_and_told_as_naked() -> None:
    entry = leg(ENTRY, "entry", filled=10, status=Status.FILLED)
    refused = leg(stop(), "a", status=Status.REJECTED, reason="funds")

    decision = step(bracket(stop()), entry, refused)
    assert decision.commands == ()
    assert decision.naked == 10
    assert decision.again_ns == 500_000_001
    assert sent(step(bracket(stop()), entry, refused, now_ns=500_000_001).commands) == [("PlaceExit", "stop", 10)]


def test_a_refused_market_exit_waits_too() -> None:
    entry = leg(ENTRY, "entry", filled=10, status=Status.FILLED)
    refused = [
        leg(stop(), "a", status=Status.REJECTED),
        leg(triggered(stop()), "b", status=Status.REJECTED, reason="funds"),
    ]

    assert step(bracket(stop()), entry, *refused, price=80).again_ns == 1_000_000_001


def test_a_refused_exchange_waits_while_the_old_stop_rests() -> None:
    group = bracket(stop(trigger=95))
    entry = leg(ENTRY, "entry", filled=10, status=Status.FILLED)
    refused = leg(group.members[0], "b", status=Status.REJECTED, reason="filter")

    decision = step(group, entry, leg(stop(), "a"), refused)

    assert decision.commands == ()
    assert decision.naked == 0
    assert decision.again_ns == 500_000_001


# --- the end ---------------------------------------------------------------------------------------------


def test_when_one_exit_has_filled_all_the_other_ends_cancelled() -> None:
    entry = leg(ENTRY, "entry", filled=10, status=Status.FILLED)
    sold = leg(limit(), "plimit", filled=10, status=Status.FILLED, list_id="p")
    ended = leg(stop(), "pstop", status=Status.EXPIRED, list_id="p")

    assert step(GROUP, entry, sold, ended).ended == {
        "entry": (Status.FILLED, ""),
        "limit": (Status.FILLED, ""),
        "stop": (Status.CANCELED, "the position was closed by another exit"),
    }


def test_the_exit_that_closed_what_was_filled_is_filled_though_it_was_asked_for_more() -> None:
    entry = leg(ENTRY, "entry", filled=5, status=Status.CANCELED)
    sold = leg(limit(), "a", 3, filled=3, status=Status.FILLED)
    stopped = leg(stop(), "b", 2, filled=2, status=Status.FILLED, time_ns=9)

    ended = step(GROUP, entry, sold, stopped).ended

    assert ended["stop"] == (Status.FILLED, "")
    assert ended["limit"][0] is Status.CANCELED


def test_what_fees_left_of_a_small_fill_cannot_be_protected_and_ends_the_bracket() -> None:
    bought = fill("f9", 1, client_order_id="entry", fee=Decimal("0.004"), fee_asset="BTC")
    entry = attrs.evolve(leg(ENTRY, "entry", told=1, status=Status.CANCELED), fills=(bought,))

    decision = step(GROUP, entry)

    assert decision.naked == 0
    assert decision.ended["stop"][0] is Status.CANCELED


def test_nothing_ends_while_something_is_held_or_on_its_way() -> None:
    entry = leg(ENTRY, "entry", filled=10, status=Status.FILLED)
    sold = leg(limit(), "a", 4, filled=4, status=Status.FILLED)

    assert step(GROUP, entry, sold).ended.keys() == {"entry"}
    untold = leg(limit(), "a", filled=4, told=10, status=Status.FILLED)
    assert step(GROUP, entry, untold).ended.keys() == {"entry"}


def test_cancelling_an_exit_takes_its_sibling_and_the_entry_along_and_is_not_naked() -> None:
    group = bracket(withdrawn=("stop",))
    entry = leg(ENTRY, "entry", filled=4, status=Status.PARTIALLY_FILLED)

    decision = step(group, entry, *pair(GROUP, "p", 4))
    assert sent(decision.commands) == [("Cancel", "entry"), ("Cancel", "plimit")]
    assert decision.naked == 0
    over = leg(ENTRY, "entry", filled=4, status=Status.CANCELED)
    ended = step(group, over, *pair(GROUP, "p", 4, status=Status.CANCELED)).ended
    assert ended == {
        "entry": (Status.CANCELED, "cancelled together with its exits"),
        "stop": (Status.CANCELED, "cancelled by the strategy"),
        "limit": (Status.CANCELED, "cancelled together with stop"),
    }


def test_an_exit_that_expires_takes_the_protection_away() -> None:
    group = bracket(limit(expires_ns=7), stop())
    entry = leg(ENTRY, "entry", filled=10, status=Status.FILLED)

    ended = step(group, entry, now_ns=7).ended

    assert ended["limit"] == (Status.EXPIRED, "its time is over")
    assert ended["stop"][0] is Status.CANCELED


def test_what_the_exits_filled_beyond_the_entry_is_undone_by_market() -> None:
    entry = leg(ENTRY, "entry", filled=10, status=Status.FILLED)
    race = [
        leg(limit(), "plimit", filled=10, status=Status.FILLED, list_id="p"),
        leg(stop(), "pstop", filled=10, status=Status.FILLED, list_id="p"),
    ]

    decision = step(GROUP, entry, *race)
    assert sent(decision.commands) == [("Unwind", 10)]
    assert decision.commands[0].side is Side.BUY
    assert "stop" not in decision.ended
    assert step(GROUP, entry, *race, leg(None, "u", status=None)).waits
    undone = step(GROUP, entry, *race, leg(None, "u", filled=10, status=Status.FILLED))
    assert undone.commands == ()
    assert undone.ended["stop"] == (Status.FILLED, "")


def test_an_undoing_that_is_refused_is_tried_again_later() -> None:
    entry = leg(ENTRY, "entry", filled=10, status=Status.FILLED)
    sold = leg(limit(), "a", 12, filled=12, status=Status.FILLED)

    decision = step(GROUP, entry, sold, leg(None, "u", 2, status=Status.REJECTED))

    assert decision.commands == ()
    assert decision.again_ns == 500_000_001


def test_an_excess_below_the_minimum_stays_and_is_told() -> None:
    coarse = attrs.evolve(COIN, min_quantity=Decimal(3))
    group = bracket(limit(instrument=coarse), stop(instrument=coarse), entry=entry_in(coarse))
    entry = leg(group.entry, "entry", filled=10, status=Status.FILLED)
    sold = leg(group.members[0], "a", 12, filled=12, status=Status.FILLED)

    decision = step(group, entry, sold)

    assert decision.commands == ()
    assert decision.excess == -2
    assert decision.ended["limit"] == (Status.FILLED, "")


def test_a_late_fill_of_the_entry_is_protected_like_any_other() -> None:
    entry = leg(ENTRY, "entry", filled=5, status=Status.CANCELED)
    sold = leg(limit(), "a", 3, filled=3, status=Status.FILLED)

    assert sent(step(GROUP, entry, sold).commands) == [("PlacePair", 2)]


def test_a_short_bracket_is_the_mirror_of_a_long_one() -> None:
    entry = attrs.evolve(ENTRY, request=asked())
    group = bracket(limit(side=Side.BUY, price=90), stop(side=Side.BUY, trigger=110), entry=entry)

    decision = step(group, leg(entry, "entry", filled=4, status=Status.PARTIALLY_FILLED))

    assert sent(decision.commands) == [("PlacePair", 4)]
