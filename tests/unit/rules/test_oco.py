"""One cancels the others: what is done next, for each state of its orders."""

from decimal import Decimal
from typing import Any

import attrs
import pytest

from btx.model.order import Group, Order, Side, Status
from btx.model.venue import Capabilities
from btx.rules.brackets import decide
from btx.rules.groups import Replace
from tests.groups import ABLE, COIN, NO_LISTS, cancelling, facts, leg, limit, oco, pair, sent, stop, trail

GROUP = oco()
THREE = oco(limit("a"), limit("b", 111), limit("c", 112))


def step(group: Group, *legs: Order, price: int = 100, able: Capabilities = ABLE, now_ns: int = 1) -> Any:
    return decide(group, legs, facts=facts(price, able=able), now_ns=now_ns)


def resting(group: Group, **changes: Any) -> list[Order]:
    return [leg(each, each.member_id, **changes) for each in group.members]


def test_a_stop_and_a_limit_go_as_one_list_where_the_venue_takes_it() -> None:
    assert sent(step(GROUP).commands) == [("PlacePair", 10)]
    assert sent(step(GROUP, able=NO_LISTS).commands) == [("PlaceExit", "limit", 10), ("PlaceExit", "stop", 10)]
    assert step(GROUP, *pair(GROUP, "p", 10)).commands == ()


@pytest.mark.parametrize(
    "group",
    [
        oco(limit(), stop(quantity=Decimal(4))),
        oco(limit(price=80), stop()),
        oco(limit(side=Side.BUY), stop(side=Side.BUY)),
        oco(limit(), stop(side=Side.BUY, trigger=120)),
    ],
)
def test_what_is_no_pair_goes_one_by_one(group: Group) -> None:
    assert {name for name, *_ in sent(step(group).commands)} == {"PlaceExit"}


def test_a_native_trail_may_be_of_a_pair_though_it_has_no_price_yet() -> None:
    group = oco(limit(), trail(trail_amount=None, trail_bps=100))
    nowhere = oco(attrs.evolve(limit(), request=attrs.evolve(limit().request, price=None)), stop())

    assert sent(step(group).commands) == [("PlacePair", 10)]
    assert len(step(nowhere).commands) == 2


def test_an_order_that_is_joined_gives_way_to_a_pair() -> None:
    alone, gone = leg(limit(), "limit"), leg(limit(), "limit", status=Status.CANCELED)

    assert sent(step(GROUP, alone).commands) == [("Cancel", "limit")]
    assert step(GROUP, cancelling(alone)).waits
    assert sent(step(GROUP, gone).commands) == [("PlacePair", 10)]
    assert step(GROUP, gone).ended == {}
    assert step(oco(withdrawn=("limit",)), gone).ended["limit"] == (Status.CANCELED, "cancelled by the strategy")
    assert sent(step(GROUP, alone, able=NO_LISTS).commands) == [("PlaceExit", "stop", 10)]
    assert step(GROUP, gone, leg(stop(), "stop", status=Status.CANCELED)).ended["limit"][0] is Status.CANCELED


def test_a_refused_pair_goes_one_by_one_and_then_whatever_is_refused_ends_all() -> None:
    refused = pair(GROUP, "p", 10, status=Status.REJECTED)

    assert len(step(GROUP, *refused).commands) == 2
    again = [leg(limit(), "x"), leg(stop(), "y", status=Status.REJECTED, reason="funds")]
    assert sent(step(GROUP, *refused, *again).commands) == [("Cancel", "x")]
    over = [leg(limit(), "x", status=Status.CANCELED), again[1]]
    assert step(GROUP, *refused, *over).ended == {
        "limit": (Status.CANCELED, ""),
        "stop": (Status.REJECTED, "funds"),
    }


def test_nothing_happens_while_an_answer_is_awaited() -> None:
    assert step(THREE, *resting(THREE, status=None)).waits
    assert step(THREE, *[cancelling(each) for each in resting(THREE)]).waits


def test_the_first_fill_cancels_the_others_and_the_rest_of_it_goes_on() -> None:
    a, b, c = resting(THREE)
    a = leg(limit("a"), "a", filled=4, status=Status.PARTIALLY_FILLED)

    assert sent(step(THREE, a, b, c).commands) == [("Cancel", "b"), ("Cancel", "c")]
    gone = [leg(each, each.member_id, status=Status.CANCELED) for each in THREE.members[1:]]
    decision = step(THREE, a, *gone)
    assert decision.commands == ()
    assert decision.ended == {}
    full = leg(limit("a"), "a", filled=10, status=Status.FILLED)
    assert step(THREE, full, *gone).ended == {
        "a": (Status.FILLED, ""),
        "b": (Status.CANCELED, "another order of its group ended"),
        "c": (Status.CANCELED, "another order of its group ended"),
    }


def test_what_two_filled_beyond_the_largest_is_undone() -> None:
    full = [leg(each, each.member_id, filled=10, status=Status.FILLED) for each in THREE.members[:2]]
    gone = leg(limit("c"), "c", status=Status.CANCELED)

    decision = step(THREE, *full, gone)
    assert sent(decision.commands) == [("Unwind", 10)]
    assert decision.commands[0].side is Side.BUY
    assert decision.ended == {}
    assert step(THREE, *full, gone, leg(None, "u", status=None)).waits
    assert step(THREE, *full, gone, leg(None, "u", filled=10, status=Status.FILLED)).ended["b"] == (Status.FILLED, "")


def test_the_rest_of_the_first_is_cancelled_when_a_race_leaves_it_no_room() -> None:
    a = leg(limit("a"), "a", filled=4, status=Status.PARTIALLY_FILLED)
    b = leg(limit("b", 111), "b", filled=5, status=Status.CANCELED, time_ns=2)
    c = leg(limit("c", 112), "c", status=Status.CANCELED)

    assert sent(step(THREE, a, b, c).commands) == [("Cancel", "a")]
    over = leg(limit("a"), "a", filled=4, status=Status.CANCELED)
    assert step(THREE, over, b, c).ended["a"][0] is Status.CANCELED


def test_a_fill_on_the_other_side_is_undone_at_once() -> None:
    group = oco(limit("up", side=Side.BUY), stop("down"))
    first = leg(group.members[0], "up", filled=4, status=Status.PARTIALLY_FILLED)
    second = leg(group.members[1], "down", filled=3, status=Status.CANCELED, time_ns=2)

    decision = step(group, first, second)

    assert sent(decision.commands) == [("Unwind", 3)]
    assert decision.commands[0].side is Side.BUY


def test_cancelling_one_cancels_all() -> None:
    group = oco(*THREE.members, withdrawn=("b",))

    assert len(step(group, *resting(THREE)).commands) == 3
    ended = step(group, *resting(THREE, status=Status.CANCELED)).ended
    assert ended["b"] == (Status.CANCELED, "cancelled by the strategy")
    assert ended["a"] == (Status.CANCELED, "cancelled together with b")
    assert step(group).ended.keys() == {"a", "b", "c"}


def test_a_single_order_expires_here_where_the_venue_keeps_no_times() -> None:
    group = oco(limit(expires_ns=9))

    assert step(group, leg(limit(), "limit")).again_ns == 9
    assert sent(step(group, leg(limit(), "limit"), now_ns=9).commands) == [("Cancel", "limit")]
    ended = step(group, leg(limit(), "limit", status=Status.CANCELED), now_ns=9).ended
    assert ended == {"limit": (Status.EXPIRED, "its time is over")}


def test_what_somebody_else_cancelled_ends_the_group() -> None:
    decision = step(THREE, leg(limit("a"), "a", status=Status.CANCELED, reason="by hand"), *resting(THREE)[1:])

    assert sent(decision.commands) == [("Cancel", "b"), ("Cancel", "c")]


def test_an_amended_order_is_replaced() -> None:
    group = oco(limit("a", 115), *THREE.members[1:])

    (command,) = step(group, *resting(THREE)).commands
    assert isinstance(command, Replace)
    assert command.member.request.price == 115
    cancelled = leg(limit("a"), "a", status=Status.CANCELED)
    assert sent(step(group, cancelled, *resting(THREE)[1:]).commands) == [("PlaceExit", "a", 10)]


def test_an_amended_pair_is_cancelled_once_and_placed_again() -> None:
    group = oco(limit(price=115), stop(trigger=95))

    assert sent(step(group, *pair(GROUP, "p", 10)).commands) == [("Cancel", "plimit")]
    assert sent(step(group, *pair(GROUP, "p", 10, status=Status.CANCELED)).commands) == [("PlacePair", 10)]
    one = oco(limit(), stop(trigger=95))
    assert sent(step(one, *pair(GROUP, "p", 10, status=Status.CANCELED)).commands) == [("PlacePair", 10)]


def test_a_refused_amendment_leaves_the_old_order() -> None:
    group = oco(limit("a", 115))
    legs = [leg(limit("a"), "a"), leg(limit("a", 115), "x", status=Status.REJECTED)]

    assert step(group, *legs).commands == ()


def test_a_rest_below_the_minimum_is_not_amended_any_more() -> None:
    coarse = attrs.evolve(COIN, min_quantity=Decimal(3))
    old, new = limit("a", instrument=coarse), limit("a", 115, instrument=coarse)

    working = leg(old, "a", filled=8, status=Status.PARTIALLY_FILLED)
    assert step(oco(new), working).commands == ()
    ended = step(oco(new), leg(old, "a", filled=8, status=Status.CANCELED)).ended
    assert ended == {"a": (Status.CANCELED, "")}


def test_a_trail_waits_for_a_price_then_rests_and_is_sent_when_the_market_comes_back() -> None:
    assert step(oco(trail())).commands == ()
    group = oco(trail(trigger_price=Decimal(95)))
    (placed,) = step(group).commands
    assert placed.member.request.trigger_price == 95
    moved = oco(trail(trigger_price=Decimal(97)))
    (command,) = step(moved, leg(placed.member, "stop"), price=96).commands
    assert isinstance(command, Replace)
    assert command.member.request.order_type.value == "MARKET"
