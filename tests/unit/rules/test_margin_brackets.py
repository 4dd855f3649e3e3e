"""Brackets on margin: exits that only close, side by side where the venue does not tie them."""

from decimal import Decimal
from typing import Any

import attrs
import pytest

from btx.model.instrument import InstrumentKind
from btx.model.order import Group, Member, Order, OrderType, PositionSide, Side, Status
from btx.rules.brackets import decide
from btx.rules.groups import Decision, PlaceExit, PlacePair, Replace, as_exit, covers, is_bounded, side_by_side
from tests.groups import ABLE, COIN, asked, bracket, facts, leg, limit, sent, stop, trail

PERP = attrs.evolve(COIN, symbol="BTC/USDT", kind=InstrumentKind.LINEAR, min_notional=Decimal(500))
ON_MARGIN = attrs.evolve(ABLE, order_lists=frozenset(), margined=True, reduce_only=True)


def entry(**changes: Any) -> Member:
    return Member(
        member_id="entry", request=asked(**({"instrument": PERP, "side": Side.BUY, "price": Decimal(100)} | changes))
    )


def group(**changes: Any) -> Group:
    members = (limit(instrument=PERP), stop(instrument=PERP))
    return bracket(*members, **({"entry": entry()} | changes))


def step(one: Group, *legs: Order, price: int = 100, position: int | None = 10, able: Any = ON_MARGIN) -> Decision:
    held = None if position is None else Decimal(position)
    return decide(one, legs, facts=attrs.evolve(facts(price, able=able), position=held), now_ns=1)


def entered(quantity: int = 10, filled: int = 10, one: Group | None = None) -> Order:
    member = (one or group()).entry
    assert member is not None
    status = Status.FILLED if quantity == filled else Status.PARTIALLY_FILLED
    return leg(member, "entry", quantity, filled=filled, status=status)


def exit_of(one: Group, member_id: str, name: str, quantity: int = 10, **changes: Any) -> Order:
    """Return a resting exit as the bracket sent it."""
    member = one.member(member_id)
    assert member is not None
    assert one.entry is not None
    sent_as = as_exit(member, one.entry.request, attrs.evolve(facts(able=ON_MARGIN), position=Decimal(10)))
    order = leg(sent_as, name, quantity, **changes)
    return attrs.evolve(order, leg=attrs.evolve(order.leg, pair_id="p"))


def resting(one: Group, quantity: int = 10) -> list[Order]:
    return [exit_of(one, "limit", "e1", quantity), exit_of(one, "stop", "e2", quantity)]


def test_stop_and_limit_rest_side_by_side_and_only_reduce() -> None:
    (command,) = step(group(), entered()).commands

    assert isinstance(command, PlacePair)
    assert command.quantity == 10
    assert command.stop.request.reduce_only
    assert command.limit.request.reduce_only
    assert step(group(), entered(), *resting(group())).commands == ()
    assert step(group(), entered(), *resting(group())).naked == 0


def test_in_hedge_mode_exits_are_of_the_entrys_side_and_not_reduce_only() -> None:
    long = group(entry=entry(position_side=PositionSide.LONG))

    (command,) = step(long, entered(one=long)).commands

    assert isinstance(command, PlacePair)
    assert {(each.request.position_side, each.request.reduce_only) for each in (command.stop, command.limit)} == {
        (PositionSide.LONG, False)
    }


def test_exits_of_an_entry_against_the_position_open_as_they_do_in_backtrader() -> None:
    (member,) = [each for each in group().members if each.member_id == "stop"]
    against = attrs.evolve(facts(100, able=ON_MARGIN), position=Decimal(-5))

    assert not as_exit(member, entry().request, against).request.reduce_only
    assert as_exit(member, entry().request, facts(100, able=ON_MARGIN)).request.reduce_only
    assert as_exit(stop(), asked(), against) == stop()  # spot
    assert side_by_side(group().members, facts(100, able=ON_MARGIN)) is None  # they would both open


def test_what_one_exit_has_closed_ends_the_other() -> None:
    one = group()
    done = exit_of(one, "limit", "e1", filled=10, status=Status.FILLED)

    decision = step(one, entered(), done, exit_of(one, "stop", "e2"), position=0)

    assert sent(decision.commands) == [("Cancel", "e2")]


def test_while_one_fills_the_other_may_be_too_large_where_there_is_nothing_else_to_close() -> None:
    one = group()
    partly = exit_of(one, "limit", "e1", filled=4, status=Status.PARTIALLY_FILLED)

    alone = step(one, entered(), partly, exit_of(one, "stop", "e2"), position=6)
    among_others = step(one, entered(), partly, exit_of(one, "stop", "e2"), position=26)

    assert alone.commands == ()
    (command,) = among_others.commands
    assert isinstance(command, Replace)
    assert (command.client_order_id, command.quantity, command.member.member_id) == ("e2", 6, "stop")


def test_of_several_pairs_the_one_that_has_filled_is_made_smaller() -> None:
    one = group()
    half = [exit_of(one, "limit", "e1", 5, filled=5, status=Status.FILLED), exit_of(one, "stop", "e2", 5)]
    whole = [
        attrs.evolve(each, leg=attrs.evolve(each.leg, pair_id="q"))
        for each in (exit_of(one, "limit", "e3", 5), exit_of(one, "stop", "e4", 5))
    ]

    decision = step(one, entered(), *half, *whole, position=5)

    assert sent(decision.commands) == [("Cancel", "e2")]


def test_exits_that_are_too_large_all_together_end_and_are_made_anew() -> None:
    one = group()

    decision = step(one, entered(), *resting(one), position=4)  # somebody has closed six by hand

    assert decision.commands == ()  # the venue cuts them
    others = step(one, entered(10, 4), *resting(one), position=50)
    assert sent(others.commands) == [("Cancel", "e1"), ("Cancel", "e2")]


def test_a_position_the_exchange_has_closed_needs_no_exits() -> None:
    one = group()

    assert sent(step(one, entered(), *resting(one), position=0).commands) == [("Cancel", "e1"), ("Cancel", "e2")]
    assert step(one, entered(), position=0).naked == 0
    assert step(one, entered(), position=None).naked == 10  # nobody knows: what was entered is there


def test_a_stop_the_venue_rejects_at_its_trigger_is_sent_as_a_market_order() -> None:
    one = group()
    rejected = exit_of(one, "stop", "e2", status=Status.REJECTED, reason="margin is insufficient")

    first = step(one, entered(), exit_of(one, "limit", "e1"), rejected, price=80)
    then = step(one, entered(), exit_of(one, "limit", "e1", status=Status.CANCELED), rejected, price=80)

    assert first.naked == 10
    assert sent(first.commands) == [("Cancel", "e1")]
    later = decide(
        one,
        [entered(), exit_of(one, "limit", "e1", status=Status.CANCELED), rejected],
        facts=attrs.evolve(facts(80, able=ON_MARGIN), position=Decimal(10)),
        now_ns=10**18,
    )
    (command,) = then.commands or later.commands
    assert isinstance(command, PlaceExit)
    assert (command.member.request.order_type, command.member.request.reduce_only) == (OrderType.MARKET, True)


def test_a_stop_that_was_refused_before_its_sibling_rested_is_tried_again_later() -> None:
    one = group()
    refused = exit_of(one, "stop", "e2", status=Status.REJECTED, reason="the venue is busy")
    legs = (entered(), refused, exit_of(one, "limit", "e1"))

    soon = step(one, *legs)
    later = decide(
        one,
        [entered(), refused, exit_of(one, "limit", "e1", status=Status.CANCELED)],
        facts=attrs.evolve(facts(100, able=ON_MARGIN), position=Decimal(10)),
        now_ns=10**18,
    )

    assert soon.naked == 10
    assert sent(soon.commands) == [("Cancel", "e1")]
    assert sent(later.commands) == [("PlacePair", 10)]


def test_an_amended_stop_is_exchanged_alone() -> None:
    one, legs = group(), resting(group())
    moved = attrs.evolve(one, members=(one.members[0], stop(trigger=95, instrument=PERP)))

    (command,) = step(moved, entered(), *legs).commands

    assert isinstance(command, Replace)
    assert (command.client_order_id, command.member.request.trigger_price, command.quantity) == ("e2", 95, 10)


def test_what_only_reduces_has_no_smallest_worth() -> None:
    assert sent(step(group(), entered(10, 1), position=1).commands) == [("PlacePair", 1)]


def test_two_that_wait_for_a_trigger_count_as_two_where_nobody_ties_them() -> None:
    few = attrs.evolve(PERP, max_conditional_orders=2)
    target = stop("limit", 110, instrument=few, order_type=OrderType.TAKE_PROFIT_MARKET)
    one = bracket(target, stop(instrument=few), entry=entry(instrument=few))
    pair = [exit_of(one, "limit", "e1", 5), exit_of(one, "stop", "e2", 5)]

    decision = step(one, entered(10, 10, one), *pair)

    assert sent(decision.commands) == [("Cancel", "e1"), ("Cancel", "e2")]  # to be made anew for all ten


@pytest.mark.parametrize(
    "members",
    [
        (stop(instrument=PERP),),
        (trail(instrument=PERP, trail_amount=Decimal(5)), limit(instrument=PERP)),
        (stop(instrument=PERP), stop("other", 85, instrument=PERP)),
    ],
)
def test_other_exits_do_not_rest_side_by_side(members: tuple[Member, ...]) -> None:
    known = attrs.evolve(facts(100, able=attrs.evolve(ON_MARGIN, trailing_bps=None)), position=Decimal(10))
    exits = [as_exit(each, entry().request, known) for each in members]

    assert side_by_side(exits, known) is None


def test_only_what_cannot_open_is_bounded() -> None:
    assert is_bounded(asked(instrument=PERP, reduce_only=True))
    assert is_bounded(asked(instrument=PERP, position_side=PositionSide.SHORT))
    assert not is_bounded(asked(instrument=PERP))
    assert not is_bounded(asked(reduce_only=True))


def test_a_pair_is_one_cover_and_each_of_it_ends_by_itself() -> None:
    (cover,) = covers(resting(group()))

    assert not cover.is_tied
    assert sent(cover.cancels) == [("Cancel", "e1"), ("Cancel", "e2")]
