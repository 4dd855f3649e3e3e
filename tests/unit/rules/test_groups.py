"""What brackets and OCO groups share."""

from decimal import Decimal
from typing import Any

import attrs
import pytest

from btx.model.instrument import InstrumentKind
from btx.model.order import Member, OrderRequest, OrderType, Side, Status, TimeInForce
from btx.rules.groups import (
    at_venue,
    is_reached,
    least_quantity,
    net,
    next_expiry,
    pair_of,
    refusals,
    same_terms,
    triggered,
)
from tests.groups import ABLE, COIN, asked, facts, leg, limit, stop, trail
from tests.values import fill

INVERSE = {"multiplier": Decimal(100), "kind": InstrumentKind.INVERSE}


def test_the_time_of_an_order_that_is_looked_after_is_kept_here_also_where_the_venue_could() -> None:
    member = limit(time_in_force=TimeInForce.GTD, expires_ns=5)
    native = attrs.evolve(ABLE, times_in_force=frozenset({TimeInForce.GTD}))

    kept_here = at_venue(member, facts())

    assert kept_here is not None
    assert (kept_here.request.time_in_force, kept_here.request.expires_ns) == (TimeInForce.GTC, None)
    assert at_venue(member, facts(able=native)) == kept_here


@pytest.mark.parametrize(("price", "order_type"), [(None, OrderType.STOP_MARKET), (Decimal(89), OrderType.STOP_LIMIT)])
def test_a_trail_the_venue_does_not_know_goes_as_a_stop(price: Decimal | None, order_type: OrderType) -> None:
    sent = at_venue(trail(trigger_price=Decimal(90), price=price), facts())

    assert sent is not None
    assert sent.request.order_type is order_type
    assert sent.request.trail_amount is None
    assert at_venue(trail(), facts()) is None  # nowhere to begin yet


def test_a_member_that_is_reached_goes_as_market_or_limit() -> None:
    assert triggered(stop()).request.order_type is OrderType.MARKET
    assert triggered(stop(order_type=OrderType.STOP_LIMIT, price=Decimal(89))).request.order_type is OrderType.LIMIT
    assert triggered(limit()) == limit()


@pytest.mark.parametrize(
    ("member", "price", "reached"),
    [
        (limit(), 110, True),
        (limit(), 109, False),
        (limit(), None, False),
        (stop(), 90, True),
        (stop(), 91, False),
        (stop(side=Side.BUY, trigger=105), 105, True),
        (limit(side=Side.BUY), 111, False),
        (stop(order_type=OrderType.TAKE_PROFIT_MARKET, trigger=120), 121, True),
        (trail(), 100, False),
        (limit(order_type=OrderType.MARKET), None, True),
    ],
)
def test_the_market_reaches_an_order_from_its_own_side(member: Member, price: int | None, reached: bool) -> None:
    assert is_reached(member.request, None if price is None else Decimal(price)) is reached


def test_terms_are_the_same_whatever_the_quantity_and_whether_it_was_triggered() -> None:
    assert same_terms(leg(stop(), "a", 3), stop())
    assert same_terms(leg(triggered(stop()), "a", 3), stop())
    assert not same_terms(leg(stop(), "a", 3), stop(trigger=91))
    assert not same_terms(leg(stop(), "a", 3), None)


def test_the_next_expiry_is_the_first_that_is_still_to_come() -> None:
    members = [limit(expires_ns=each) for each in (None, 5, 9, 7)]

    assert next_expiry(members, now_ns=5) == 7
    assert next_expiry(members, now_ns=9) is None


def test_a_pair_needs_a_stop_and_a_limit_and_a_venue_that_takes_them() -> None:
    plain = attrs.evolve(ABLE, order_types=frozenset({OrderType.LIMIT}))

    assert pair_of([limit(), stop()], facts()) == (stop(), limit())
    assert pair_of([limit(), limit("other")], facts()) is None
    assert pair_of([limit(), stop(), stop("other")], facts()) is None
    assert pair_of([limit(), stop()], facts(able=plain)) is None
    assert pair_of([limit(), trail(trigger_price=Decimal(90))], facts()) is None  # it would be torn at every move
    assert pair_of([limit(), trail(trail_amount=None, trail_bps=100)], facts()) is not None


@pytest.mark.parametrize(
    ("instrument", "requests", "price", "least"),
    [
        ({}, [asked()], None, 1),
        ({"min_notional": Decimal(250)}, [asked()], None, 3),  # at 100
        (
            {"min_notional": Decimal(250), "multiplier": Decimal(100), "kind": InstrumentKind.INVERSE},
            [asked()],
            None,
            3,
        ),
        ({"min_notional": Decimal(250)}, [asked(price=Decimal(125))], None, 2),
        ({"min_notional": Decimal(250)}, [limit().request, stop(trigger=50).request], None, 5),
        ({"min_notional": Decimal(250)}, [asked(order_type=OrderType.MARKET, price=None)], 50, 5),
        ({"min_notional": Decimal(250)}, [asked(order_type=OrderType.MARKET, price=None)], None, 1),
        ({"min_notional": Decimal(250), "min_notional_for_market": False}, [stop().request], 50, 1),
        ({"market_min_quantity": Decimal(4)}, [stop().request], None, 4),
        ({"market_min_quantity": Decimal(4)}, [limit().request], None, 1),
    ],
)
def test_the_least_quantity_keeps_every_minimum_of_every_order(
    instrument: dict[str, Any], requests: list[OrderRequest], price: int | None, least: int
) -> None:
    ruled = attrs.evolve(COIN, **instrument)
    requests = [attrs.evolve(each, instrument=ruled) for each in requests]

    assert least_quantity(requests, None if price is None else Decimal(price)) == least


def test_what_is_held_is_less_by_fees_taken_from_the_coin_and_not_on_a_derivative() -> None:
    bought = fill("f9", 4, client_order_id="a", fee=Decimal("0.5"), fee_asset="BTC")
    order = attrs.evolve(leg(limit(side=Side.BUY), "a"), fills=(bought,))
    future = attrs.evolve(COIN, kind=InstrumentKind.LINEAR)
    request = attrs.evolve(order.leg.request, instrument=future)
    perpetual = attrs.evolve(order, leg=attrs.evolve(order.leg, request=request))

    assert net([order], side=Side.BUY) == Decimal("3.5")
    assert net([perpetual], side=Side.SELL) == -4


def test_only_the_failures_at_the_end_count_and_a_list_counts_once() -> None:
    refused = [leg(each, f"r{each.member_id}", status=Status.REJECTED, list_id="l") for each in (limit(), stop())]
    first = leg(stop(), "first", status=Status.REJECTED)

    assert refusals([]).retry_ns == 0
    assert refusals([first, leg(stop(), "b")]).count == 0
    assert refusals([leg(stop(), "b"), first, *refused]).count == 2
    assert refusals([leg(stop(), "b"), first, *refused]).was_list
    assert refusals([first]).retry_ns == 1 + 500_000_000
    assert refusals([first, *refused]).retry_ns == 1 + 1_000_000_000
