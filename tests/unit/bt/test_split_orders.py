"""One order of the strategy that is several at the venue: when it is over, and how."""

from decimal import Decimal
from typing import Any

import attrs
import pytest

from btx.bt.books import Ticket
from btx.model.order import Offset, Order, PlaceRefused, Status
from btx.rules.orders import apply, new_order
from tests.values import fill, leg, report, request

REFUSED = PlaceRefused(client_order_id="a1", reason="less was opened today", time_ns=1)
FILLED = (fill("f1", 3), report(Status.FILLED, filled=Decimal(3)))
CANCELED = (report(Status.CANCELED, reason="by hand"),)
EXPIRED = (report(Status.EXPIRED),)


def part(name: str, *events: Any) -> Order:
    order = new_order(attrs.evolve(leg(3), client_order_id=name, member_id="a1", parts=2, offset=Offset.CLOSE_TODAY))
    for event in events:
        order = apply(order, attrs.evolve(event, client_order_id=name))
    return order


def ticket(*legs: Order, **changes: Any) -> Ticket:
    made = Ticket(order=None, book=None, request=request(quantity=Decimal(6)), owner_id="a1", **changes)  # type: ignore[arg-type]
    for order in legs:
        made.legs[order.client_order_id] = order
        made.fills |= {f"{order.client_order_id}{each.fill_id}": each for each in order.fills}
    return made


def test_it_is_not_over_while_a_leg_is_not_known_here() -> None:
    assert ticket(part("a1", *FILLED)).end is None
    assert ticket(part("a1", REFUSED)).end is None


def test_of_an_earlier_run_there_are_no_legs_to_come() -> None:
    assert ticket(part("a1", REFUSED), is_rebuilt=True).end == (Status.REJECTED, "less was opened today")
    assert ticket(part("a1", *FILLED), is_rebuilt=True).end == (Status.CANCELED, "")


def test_it_is_filled_with_the_last_of_its_legs() -> None:
    assert ticket(part("a1", *FILLED), part("a2", fill("f1", 1))).end is None
    assert ticket(part("a1", *FILLED), part("a2", *FILLED)).end == (Status.FILLED, "")


@pytest.mark.parametrize(
    ("one", "other", "status", "reason"),
    [
        ((REFUSED,), (REFUSED,), Status.REJECTED, "less was opened today"),
        ((REFUSED,), CANCELED, Status.CANCELED, "less was opened today; by hand"),
        (FILLED, (REFUSED,), Status.CANCELED, "less was opened today"),
        (FILLED, EXPIRED, Status.EXPIRED, ""),
        (EXPIRED, CANCELED, Status.CANCELED, "by hand"),
    ],
)
def test_it_ends_as_what_is_left_of_it_did(one: Any, other: Any, status: Status, reason: str) -> None:
    assert ticket(part("a1", *one), part("a2", *other)).end == (status, reason)


def test_a_leg_that_is_refused_while_another_lives_is_said() -> None:
    living = ticket(part("a1", REFUSED), part("a2", report(Status.NEW)))

    assert living.end is None
    assert living.refused == "CLOSE_TODAY 3: less was opened today"
    assert ticket(part("a1", REFUSED), part("a2", REFUSED)).refused == ""
    assert ticket(part("a1"), part("a2")).refused == ""
