"""What becomes of orders that rest: amended, replaced, cancelled together, or kept."""

import attrs

from btx.errors import OrderNotFoundError, OrderRejectedError, VenueError
from btx.model.order import OrderType, Side, Status
from btx.model.venue import DeadMan
from btx.testing import needs
from btx.testing.bench import Bench
from btx.testing.card import expect, expect_error, ports_card

__all__ = ()

_ENDED = (Status.CANCELED, Status.EXPIRED)
_LIMIT = needs.order_type(OrderType.LIMIT)


@ports_card(
    "ORD-21",
    "An amended order keeps its ids, and its new price and quantity are told",
    hint="Broker.amend",
    needs=(_LIMIT, needs.flag("amend")),
)
async def _amend(bench: Bench) -> None:
    leg = await bench.rested()
    price, quantity = await bench.away(Side.BUY, 300), leg.quantity + await bench.size(1)
    new = attrs.evolve(leg, request=attrs.evolve(leg.request, price=price, quantity=quantity), quantity=quantity)
    await bench.broker.amend(leg=leg, venue_order_id=bench.venue_id(leg), new=new)
    listed = await bench.listed(leg)
    expect(listed is not None, "expected the amended order under its client order id, and open_orders has none")
    assert listed is not None
    expect((listed.price, listed.quantity) == (price, quantity), f"expected {price} and {quantity}, and it is {listed}")
    expect(listed.venue_order_id == bench.venue_id(leg), "expected the amended order to keep its venue order id")
    expect(len(await bench.ledger_orders(leg)) == 1, "expected one order in the ledger after an amendment")


@ports_card(
    "ORD-22",
    "Amending an order that is over is refused",
    hint="Broker.amend: OrderNotFoundError or OrderRejectedError",
    needs=(_LIMIT, needs.flag("amend")),
)
async def _amend_late(bench: Bench) -> None:
    leg = await bench.rested()
    venue_id = bench.venue_id(leg)
    await bench.cancel(leg)
    await bench.until_status(leg, *_ENDED)
    price = await bench.away(Side.BUY, 300)
    new = attrs.evolve(leg, request=attrs.evolve(leg.request, price=price))
    error = await expect_error(
        VenueError,
        bench.broker.amend(leg=leg, venue_order_id=venue_id, new=new),
        "for an amendment that comes too late",
    )
    expect(isinstance(error, OrderNotFoundError | OrderRejectedError), f"expected a refusal, and it is {error!r}")


@ports_card(
    "ORD-23",
    "Cancelling all takes every order of the instrument away",
    hint="Broker.cancel_all",
    needs=(_LIMIT, needs.flag("cancel_all")),
)
async def _cancel_all(bench: Bench) -> None:
    legs = [await bench.rested(), await bench.rested()]
    await bench.broker.cancel_all(instrument=bench.instrument)
    for leg in legs:
        await bench.until_status(leg, *_ENDED)
    left = await bench.broker.open_orders(instruments=[bench.instrument])
    expect(not left, f"expected nothing open after cancel_all, and there are {len(left)} orders")


@ports_card(
    "ORD-24",
    "A replacement ends the old order and places the new one, in one request",
    hint="Broker.replace",
    needs=(_LIMIT, needs.flag("replace")),
)
async def _replace(bench: Bench) -> None:
    leg = await bench.rested()
    new = await bench.leg(order_type=OrderType.LIMIT, price=await bench.away(Side.BUY, 300))
    bench.legs.append(new)
    await bench.broker.replace(leg=leg, venue_order_id=bench.venue_id(leg), new=new)
    await bench.until_status(leg, *_ENDED)
    await bench.until_status(new, Status.NEW)


@ports_card(
    "ORD-28",
    "The dead man's switch can be set, and nothing is cancelled while the process is heard of",
    hint="Broker.dead_man",
    needs=(_LIMIT, needs.flag("dead_man")),
)
async def _dead_man(bench: Bench) -> None:
    leg = await bench.rested()
    low_s, high_s = bench.can.dead_man_s
    after_s = min(max(low_s, 3600.0), high_s)
    spans: tuple[float | None, ...] = (after_s, after_s, None)
    if bench.can.dead_man is DeadMan.STREAM:  # there it is said once, and never taken back
        spans = (after_s,)
    for each in spans:
        await bench.broker.dead_man(instrument=bench.instrument, after_s=each)
    expect(
        await bench.listed(leg) is not None,
        "expected the order to rest, and the switch took it away",
    )
