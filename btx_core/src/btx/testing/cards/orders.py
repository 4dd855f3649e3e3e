"""Orders: taken once, told as they are, and found again."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any
from unittest import mock

from btx.errors import OrderNotFoundError, OrderRejectedError
from btx.model.order import Fill, Leg, OrderReport, OrderType, Side, Status, TimeInForce
from btx.model.time import NS_PER_S
from btx.testing import needs
from btx.testing.bench import Bench
from btx.testing.card import CardFailedError, expect, expect_error, ports_card, skip
from btx.testing.sizes import floored
from btx.testing.worlds import rich
from btx.testing.zones import zone

__all__ = ()

_ENDED = (Status.CANCELED, Status.EXPIRED)
_MARKET = needs.order_type(OrderType.MARKET)
_LIMIT = needs.order_type(OrderType.LIMIT)


@ports_card(
    "ORD-01",
    "A market order is filled, and its fills add up to its quantity",
    hint="Broker.place, and the fills that Stream pushes",
    needs=(_MARKET,),
)
async def _market_order(bench: Bench) -> None:
    leg = await bench.leg()
    receipt = await bench.place(leg)
    report = await bench.until_status(leg, Status.FILLED)
    await bench.until_filled(leg)
    expect(report.filled == leg.quantity, f"expected the report to say {leg.quantity:f} filled, not {report.filled:f}")
    if receipt.venue_order_id is not None and report.venue_order_id is not None:
        expect(
            receipt.venue_order_id == report.venue_order_id,
            f"expected one venue order id, and the receipt says {receipt.venue_order_id}, the stream "
            f"{report.venue_order_id}",
        )


@ports_card(
    "ORD-02",
    "Every fill is told as the venue's own ledger has it: price, quantity, side and fee",
    hint="how the codec reads an execution",
    needs=(_MARKET, needs.flag("executions")),
)
async def _fills_are_true(bench: Bench) -> None:
    leg = await bench.bought()
    rows = {row["fill_id"]: row for row in await bench.ledger_fills(leg)}
    told = bench.fills(leg)
    expect(len(told) == len(rows), f"expected {len(rows)} fills as in the ledger, and the stream told {len(told)}")
    for fill in told:
        row = next((rows[each] for each in rows if fill.fill_id == each or fill.fill_id.endswith(each)), None)
        if row is None:
            row = next((each for each in rows.values() if Decimal(each["price"]) == fill.price), None)
        expect(row is not None, f"expected fill {fill.fill_id} in the ledger, which has {', '.join(rows)}")
        assert row is not None
        for name, said in (("price", fill.price), ("quantity", fill.quantity), ("fee", fill.fee)):
            if said is not None:
                expect(said == Decimal(row[name]), f"expected {name} {row[name]} of fill {fill.fill_id}, not {said:f}")
        expect(fill.side is Side.BUY, f"expected a fill of a BUY, and its side is {fill.side.value}")
        if fill.fee is not None and fill.fee_asset is not None:
            expect(fill.fee_asset == row["fee_asset"], f"expected a fee in {row['fee_asset']}, not {fill.fee_asset}")


@ports_card(
    "ORD-03",
    "A limit order away from the market rests, and is listed as open with its terms",
    hint="Broker.open_orders, and the report of a resting order",
    needs=(_LIMIT,),
)
async def _limit_rests(bench: Bench) -> None:
    leg = await bench.rested()
    found = [
        each
        for each in await bench.broker.open_orders(instruments=[bench.instrument])
        if each.client_order_id == leg.client_order_id
    ]
    expect(len(found) == 1, f"expected the order once among the open ones, and it is there {len(found)} times")
    (one,) = found
    expect(one.price == leg.request.price, f"expected price {leg.request.price}, and open_orders says {one.price}")
    expect(one.quantity == leg.quantity, f"expected quantity {leg.quantity}, and open_orders says {one.quantity}")
    expect(one.side is Side.BUY, f"expected side BUY, and open_orders says {one.side}")
    expect(one.status is Status.NEW, f"expected status NEW, and open_orders says {one.status.value}")


@ports_card(
    "ORD-04",
    "A cancelled order is told as cancelled and rests no more",
    hint="Broker.cancel, and the report of a cancelled order",
    needs=(_LIMIT,),
)
async def _cancel(bench: Bench) -> None:
    leg = await bench.rested()
    await bench.cancel(leg)
    await bench.until_status(leg, Status.CANCELED)
    ids = {each.client_order_id for each in await bench.broker.open_orders(instruments=[bench.instrument])}
    expect(leg.client_order_id not in ids, "expected the cancelled order to be gone from open_orders, and it is there")


@ports_card(
    "ORD-05",
    "A placement makes exactly one order at the venue",
    hint="Broker.place: it never sends again, whatever its library does by itself",
    needs=(_LIMIT,),
)
async def _one_order(bench: Bench) -> None:
    before = len((await bench.ledger())["orders"])
    leg = await bench.rested()
    after = len((await bench.ledger())["orders"])
    mine = len(await bench.ledger_orders(leg))
    expect((after - before, mine) == (1, 1), f"expected one order in the ledger, and there are {after - before}")


@ports_card(
    "ORD-06",
    "Cancelling an order that is over says that it is not open",
    hint="Broker.cancel: OrderNotFoundError for what is filled, cancelled or unknown",
    needs=(_MARKET,),
)
async def _cancel_too_late(bench: Bench) -> None:
    leg = await bench.bought()
    await expect_error(OrderNotFoundError, bench.cancel(leg), "for the cancel of a filled order")


@ports_card(
    "ORD-07",
    "The client order id comes back as it was sent: in pushes, in queries and in lists",
    hint="how the client order id travels, and ClientIdSpec",
    needs=(_LIMIT,),
)
async def _client_id(bench: Bench) -> None:
    leg = await bench.rested()
    asked = await bench.broker.query(leg=leg)
    ids = {each.client_order_id for each in asked if each.client_order_id}
    expect(ids == {leg.client_order_id}, f"expected {leg.client_order_id} from query, and it says {ids or 'nothing'}")
    listed = {each.client_order_id for each in await bench.broker.open_orders(instruments=[bench.instrument])}
    expect(leg.client_order_id in listed, f"expected {leg.client_order_id} in open_orders, which lists {listed}")


@ports_card(
    "ORD-08",
    "A query of a filled order tells its state and all of its fills",
    hint="Broker.query",
    needs=(_MARKET,),
)
async def _query_filled(bench: Bench) -> None:
    leg = await bench.bought()
    asked = await bench.broker.query(leg=leg)
    states = [each.status for each in asked if isinstance(each, OrderReport)]
    expect(Status.FILLED in states, f"expected query to say FILLED, and it says {[each.value for each in states]}")
    total = sum((each.quantity for each in asked if isinstance(each, Fill)), Decimal(0))
    if not bench.can.executions:
        total = max(each.filled for each in asked if isinstance(each, OrderReport) and each.average_price)
    expect(total == leg.quantity, f"expected fills of {leg.quantity:f} from query, and they add up to {total:f}")


@ports_card(
    "ORD-09",
    "A query of an order that the venue never saw says so",
    hint="Broker.query: OrderNotFoundError, which alone settles a lost placement",
    needs=(_MARKET,),
)
async def _query_unknown(bench: Bench) -> None:
    leg = await bench.leg()
    await expect_error(OrderNotFoundError, bench.broker.query(leg=leg), "for an order that was never sent")


@ports_card(
    "ORD-10",
    "An immediate-or-cancel order away from the market ends without resting",
    hint="TimeInForce.IOC in Broker.place",
    needs=(_LIMIT, needs.time_in_force(TimeInForce.IOC)),
)
async def _ioc(bench: Bench) -> None:
    leg = await bench.placed(
        *_ENDED,
        order_type=OrderType.LIMIT,
        price=await bench.away(Side.BUY),
        time_in_force=TimeInForce.IOC,
    )
    expect(not bench.fills(leg), "expected no fill of an IOC order away from the market, and there is one")


@ports_card(
    "ORD-11",
    "A fill-or-kill order away from the market ends without a fill",
    hint="TimeInForce.FOK in Broker.place",
    needs=(_LIMIT, needs.time_in_force(TimeInForce.FOK)),
)
async def _fok(bench: Bench) -> None:
    price = await bench.away(Side.BUY)
    leg = await bench.placed(*_ENDED, order_type=OrderType.LIMIT, price=price, time_in_force=TimeInForce.FOK)
    expect(not bench.fills(leg), "expected no fill of a FOK order away from the market, and there is one")


@ports_card(
    "ORD-12",
    "A limit order that crosses the market is filled at its price or better",
    hint="Broker.place of limit orders",
    needs=(_LIMIT,),
)
async def _crossing(bench: Bench) -> None:
    price = await bench.away(Side.SELL, 50)
    leg = await bench.placed(Status.FILLED, order_type=OrderType.LIMIT, price=price)
    await bench.until_filled(leg)
    for fill in bench.fills(leg):
        expect(fill.price <= price, f"expected a fill at {price} or below, and it is at {fill.price}")


@ports_card(
    "ORD-13",
    "What was bought can be sold",
    hint="Broker.place with Side.SELL, and fees taken in what was bought",
    needs=(_MARKET,),
)
async def _sell(bench: Bench) -> None:
    leg = await bench.sold(await bench.bought())
    expect({fill.side for fill in bench.fills(leg)} == {Side.SELL}, "expected fills of a SELL, and one is of a BUY")


@ports_card(
    "ORD-14",
    "A post-only order that would take is not filled",
    hint="post_only in Broker.place",
    needs=(_LIMIT, needs.flag("post_only")),
)
async def _post_only(bench: Bench) -> None:
    leg = await bench.leg(order_type=OrderType.LIMIT, price=await bench.away(Side.SELL, 50), post_only=True)
    try:
        await bench.place(leg)
    except OrderRejectedError:
        pass  # refused at once, or told as ended: venues do either
    else:
        await bench.until_status(leg, *_ENDED, Status.REJECTED)
    expect(not await bench.ledger_fills(leg), "expected no fill of a post-only order that would take, and there is one")


@ports_card(
    "ORD-15",
    "A post-only order away from the market rests",
    hint="post_only in Broker.place",
    needs=(_LIMIT, needs.flag("post_only")),
)
async def _post_only_rests(bench: Bench) -> None:
    leg = await bench.rested(post_only=True)
    expect(await bench.listed(leg) is not None, "expected the post-only order in open_orders, and it is not there")


@ports_card(
    "ORD-16",
    "An order that is good till a time ends at that time",
    hint="TimeInForce.GTD and expires_ns in Broker.place",
    needs=(_LIMIT, needs.time_in_force(TimeInForce.GTD)),
)
async def _gtd(bench: Bench) -> None:
    life_s = max(bench.can.good_till_min_s + 120, 300)
    leg = await bench.rested(time_in_force=TimeInForce.GTD, expires_ns=bench.time.market + int(life_s) * NS_PER_S)
    await bench.advance_until(
        lambda: any(each.status in _ENDED for each in bench.reports(leg)), "the end of an order good till a time"
    )


@ports_card(
    "ORD-17",
    "An order that is filled in pieces tells every piece once",
    hint="fills of one order, each with an id of its own",
    needs=(_MARKET, needs.flag("executions")),
    world=rich,
)
async def _pieces(bench: Bench) -> None:
    leg = await _large(bench)
    rows, told = await bench.ledger_fills(leg), bench.told_fills(leg)
    await bench.sold(leg)
    if len(rows) == 1:
        skip("the simulator's book filled the largest order that the account can pay in one piece")
    expect(len(told) == len(rows), f"expected {len(rows)} fills, each told once, and {len(told)} were told")
    expect(len({each.fill_id for each in told}) == len(told), "expected a fill_id of its own for each piece")
    filled = [each.filled for each in bench.reports(leg)]
    expect(filled == sorted(filled), f"expected the cumulative quantity to go up, and it was told as {filled}")
    events = bench.account.events
    early = [each for each in events[: events.index(told[-2])] if isinstance(each, OrderReport)]
    is_full = any(each.status is Status.FILLED for each in early if each.client_order_id == leg.client_order_id)
    expect(not is_full, "expected FILLED with the last piece, and it was told when two were to come")


async def _large(bench: Bench) -> Leg:
    """Buy as much in one order as the account can pay and the venue allows."""
    quantity = await bench.affordable(Decimal("0.7"), as_one=True)
    for _ in range(8):
        try:
            return await bench.bought(quantity=quantity)
        except OrderRejectedError:  # a limit of positions: less may do
            quantity = floored(quantity / 2, bench.instrument)
    raise CardFailedError(f"expected an order of {quantity} to be taken, and it was refused")


@ports_card(
    "ORD-25",
    "The account's fills are listed oldest first from a time on, with the ids that were pushed",
    hint="Broker.fills",
    needs=(_MARKET, needs.flag("executions")),
)
async def _fills_listed(bench: Bench) -> None:
    first = await bench.bought()
    await bench.advance()
    start_ns = bench.time.market
    await bench.advance()
    second = await bench.bought()
    listed = await bench.broker.fills(instrument=bench.instrument, start_ns=start_ns)
    times = [each.time_ns for each in listed]
    expect(times == sorted(times), "expected fills oldest first, and they are not")
    ids = {each.fill_id for each in listed}
    expect(
        {each.fill_id for each in bench.fills(second)} <= ids, "expected the newest fills in the list, and one is not"
    )
    early = ids & {each.fill_id for each in bench.fills(first)}
    expect(not early, f"expected no fill of before the time that was asked for, and there is {', '.join(early)}")


@ports_card(
    "ORD-26",
    "An order that shows only a part of itself is taken whole",
    hint="display_quantity in Broker.place",
    needs=(_LIMIT, needs.flag("iceberg")),
)
async def _iceberg(bench: Bench) -> None:
    size = await bench.size(1)
    leg = await bench.rested(quantity=4 * size, display_quantity=size)
    (row,) = await bench.ledger_orders(leg)
    shown = row["display_quantity"]
    expect(shown is not None and Decimal(shown) == size, f"expected {size} to show, and the ledger says {shown}")


@ports_card(
    "ORD-27",
    "Orders that are sent at once are kept apart",
    hint="what ports share between requests",
    needs=(_LIMIT,),
    alone=True,
)
async def _at_once(bench: Bench) -> None:
    price = await bench.away(Side.BUY)
    legs = [await bench.leg(order_type=OrderType.LIMIT, price=price) for _ in range(4)]
    receipts = await asyncio.gather(*(bench.place(leg) for leg in legs))
    for leg in legs:
        await bench.until_status(leg, Status.NEW)
    ids = [each.venue_order_id for each in receipts if each.venue_order_id is not None]
    expect(len(set(ids)) == len(ids), f"expected a venue order id of its own for each, and they are {ids}")
    told = [bench.venue_id(leg) for leg in legs]
    expect(len(set(told)) == len(legs), f"expected the stream to keep four orders apart, and it told {told}")


@ports_card(
    "ORD-29",
    "Fills and reports are stamped with the market's time, in UTC",
    hint="time_ns of Fill and OrderReport: no local time",
    needs=(_MARKET,),
)
async def _stamps(bench: Bench) -> None:
    with zone("Asia/Tokyo"):
        leg = await bench.bought()
    for fill in bench.fills(leg):
        off_s = abs(fill.time_ns - bench.time.market) / NS_PER_S
        expect(off_s < 300, f"expected a fill at the market's time, and it is stamped {off_s:.0f} s away from it")
    (row, *_) = await bench.ledger_fills(leg)
    fill = min(bench.fills(leg), key=lambda each: each.time_ns)
    off_s = abs(fill.time_ns - row["time_ns"]) / NS_PER_S
    expect(off_s <= 1.0, f"expected the ledger's time of the fill to the second, and it is {off_s:.0f} s off")


@ports_card(
    "ORD-40",
    "An order leaves at once: the adapter neither sleeps nor blocks the loop",
    hint="Broker.place, query and cancel: waiting is the core's",
    needs=(_LIMIT,),
)
async def _sleepless(bench: Bench) -> None:
    leg = await bench.leg(order_type=OrderType.LIMIT, price=await bench.away(Side.BUY))
    waits: list[str] = []
    with _hearing_sleeps(waits):
        await bench.place(leg)
    await bench.until_status(leg, Status.NEW)
    with _hearing_sleeps(waits):
        await bench.broker.query(leg=leg)
        await bench.cancel(leg)
    expect(not waits, f"expected no wait of the adapter's own, and it called {', '.join(waits)}")


@contextmanager
def _hearing_sleeps(waits: list[str]) -> Iterator[None]:
    """Keep every sleep that this very task asks for, in the loop or instead of it."""
    task, sleep, block = asyncio.current_task(), asyncio.sleep, time.sleep

    async def heard(delay: float, result: Any = None) -> Any:
        if delay > 0 and asyncio.current_task() is task:
            waits.append(f"asyncio.sleep({delay:g})")
        return await sleep(delay, result)

    def heard_block(secs: float) -> None:
        if threading.current_thread() is thread:
            waits.append(f"time.sleep({secs:g})")
        block(secs)

    thread = threading.current_thread()
    with mock.patch.object(asyncio, "sleep", heard), mock.patch.object(time, "sleep", heard_block):
        yield
