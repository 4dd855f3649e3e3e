"""Complex orders: they wait, trigger, follow, and take each other away."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from btx.model.order import Leg, ListKind, OrderList, OrderReport, OrderType, Side, Status
from btx.testing import needs, sizes
from btx.testing.bench import Bench
from btx.testing.card import expect, ports_card, skip

__all__ = ()

_ENDED = (Status.CANCELED, Status.EXPIRED)
_NEAR_BPS = 8  # so near that a market which moves at all comes there soon
_STEPS = 180
_LIMITS = frozenset({OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT_LIMIT})
_RISING = frozenset({OrderType.STOP_MARKET, OrderType.STOP_LIMIT})


def _declared(*types: OrderType) -> tuple[Any, ...]:
    return tuple(needs.order_type(each) for each in types)


async def _conditional(bench: Bench, order_type: OrderType, side: Side, quantity: Decimal, *, bps: int) -> Leg:
    """Return an order that waits ``bps`` away on the side where it does not trigger at once."""
    upwards = (side is Side.BUY) is (order_type in _RISING)
    trigger = await bench.price_at(bps if upwards else -bps)
    changes: dict[str, Any] = {"order_type": order_type, "side": side, "quantity": quantity, "trigger_price": trigger}
    if order_type in _LIMITS:  # far beyond its trigger, so that it is filled when it is triggered
        changes["price"] = sizes.on_grid(bench.instrument, trigger, bps=side.sign * 40)
    return await bench.leg(**changes)


async def _first_to_trigger(bench: Bench, order_type: OrderType) -> Leg:
    """Let one wait above the market and one below; return the first that is filled."""
    held = bench.held(await bench.bought())
    legs = [
        await _conditional(bench, order_type, Side.BUY, held, bps=_NEAR_BPS),
        await _conditional(bench, order_type, Side.SELL, held, bps=_NEAR_BPS),
    ]
    for leg in legs:
        await bench.place(leg)
    await _wait_for(
        bench, legs, f"one of two {order_type.value} orders, {_NEAR_BPS} bps away on both sides, to be filled"
    )
    return next(leg for leg in legs if _is_filled(bench, leg))


def _is_filled(bench: Bench, leg: Leg) -> bool:
    return bench.filled(leg) >= leg.quantity


async def _wait_for(bench: Bench, legs: Iterable[Leg], what: str) -> None:
    legs = tuple(legs)
    await bench.advance_until(lambda: any(_is_filled(bench, leg) for leg in legs), what, steps=_STEPS)


async def _triggers(bench: Bench, order_type: OrderType) -> None:
    leg = await _first_to_trigger(bench, order_type)
    await bench.until_status(leg, Status.FILLED)
    rows = await bench.ledger_fills(leg)
    total = sum((Decimal(row["quantity"]) for row in rows), Decimal(0))
    expect(total == leg.quantity, f"expected the ledger to have filled {leg.quantity} of it, and it has {total}")
    trigger, side = leg.request.trigger_price, leg.request.side
    assert trigger is not None
    upwards = (side is Side.BUY) is (order_type in _RISING)
    slack = trigger * Decimal("0.02")
    for fill in bench.fills(leg):
        beyond = fill.price - trigger if upwards else trigger - fill.price
        expect(beyond > -slack, f"expected a fill beyond the trigger {trigger}, and it is at {fill.price}")


@ports_card(
    "CPX-01",
    "A stop waits for its trigger, and is filled when the market comes there",
    hint="STOP_MARKET in Broker.place, and how a triggered order is told",
    needs=_declared(OrderType.MARKET, OrderType.STOP_MARKET),
)
async def _stop(bench: Bench) -> None:
    await _triggers(bench, OrderType.STOP_MARKET)


@ports_card(
    "CPX-02",
    "A stop-limit order waits for its trigger, and is filled within its limit",
    hint="STOP_LIMIT in Broker.place",
    needs=_declared(OrderType.MARKET, OrderType.STOP_LIMIT),
)
async def _stop_limit(bench: Bench) -> None:
    await _triggers(bench, OrderType.STOP_LIMIT)


@ports_card(
    "CPX-03",
    "A take-profit order waits on the other side, and is filled when the market comes there",
    hint="TAKE_PROFIT_MARKET in Broker.place: its trigger direction",
    needs=_declared(OrderType.MARKET, OrderType.TAKE_PROFIT_MARKET),
)
async def _take_profit(bench: Bench) -> None:
    await _triggers(bench, OrderType.TAKE_PROFIT_MARKET)


@ports_card(
    "CPX-04",
    "A take-profit-limit order waits on the other side, and is filled within its limit",
    hint="TAKE_PROFIT_LIMIT in Broker.place",
    needs=_declared(OrderType.MARKET, OrderType.TAKE_PROFIT_LIMIT),
)
async def _take_profit_limit(bench: Bench) -> None:
    await _triggers(bench, OrderType.TAKE_PROFIT_LIMIT)


@ports_card(
    "CPX-05",
    "A trailing stop follows the market, and is filled when it turns",
    hint="TRAILING_STOP in Broker.place, and Capabilities.trailing_bps",
    needs=_declared(OrderType.MARKET, OrderType.TRAILING_STOP),
)
async def _trailing(bench: Bench) -> None:
    if bench.can.trailing_bps is None:
        skip("the venue trails nothing itself (Capabilities.trailing_bps): the core emulates it")
    assert bench.can.trailing_bps is not None
    bps = max(bench.can.trailing_bps[0], 10)
    held = bench.held(await bench.bought())
    trigger = await bench.price_at(-bps)
    leg = await bench.leg(
        order_type=OrderType.TRAILING_STOP, side=Side.SELL, quantity=held, trail_bps=bps, trigger_price=trigger
    )
    await bench.place(leg)
    await _wait_for(bench, [leg], f"a trailing stop of {bps} bps to be filled")
    await bench.until_status(leg, Status.FILLED)


_ANY_STOP = (
    needs.any_order_type(OrderType.STOP_MARKET, OrderType.STOP_LIMIT),
    needs.order_type(OrderType.MARKET),
)


def _some_stop(bench: Bench) -> OrderType:
    types = bench.can.order_types
    return OrderType.STOP_MARKET if OrderType.STOP_MARKET in types else OrderType.STOP_LIMIT


async def _waiting(bench: Bench) -> Leg:
    """Place a stop far away, and wait until it waits."""
    held = bench.held(await bench.bought())
    leg = await _conditional(bench, _some_stop(bench), Side.SELL, held, bps=300)
    await bench.place(leg)
    await bench.until_status(leg, Status.NEW)
    return leg


@ports_card(
    "CPX-06",
    "An order that waits for its trigger is listed as open, with its trigger",
    hint="Broker.open_orders: conditional orders, too",
    needs=_ANY_STOP,
)
async def _listed(bench: Bench) -> None:
    leg = await _waiting(bench)
    listed = await bench.listed(leg)
    expect(listed is not None, "expected the waiting stop in open_orders, and it is not there")
    assert listed is not None
    expect(
        listed.trigger_price == leg.request.trigger_price, f"expected {leg.request.trigger_price}, and it is {listed}"
    )
    expect(listed.side is Side.SELL, f"expected side SELL, and open_orders says {listed.side}")


@ports_card(
    "CPX-07",
    "An order that waits for its trigger can be cancelled",
    hint="Broker.cancel of conditional orders",
    needs=_ANY_STOP,
)
async def _cancel(bench: Bench) -> None:
    leg = await _waiting(bench)
    await bench.cancel(leg)
    await bench.until_status(leg, *_ENDED)
    expect(await bench.listed(leg) is None, "expected the cancelled stop to be gone from open_orders, and it is there")


@ports_card(
    "CPX-08",
    "A query of an order that waits for its trigger tells that it is open",
    hint="Broker.query of conditional orders",
    needs=_ANY_STOP,
)
async def _query(bench: Bench) -> None:
    leg = await _waiting(bench)
    states = [each.status for each in await bench.broker.query(leg=leg) if isinstance(each, OrderReport)]
    expect(Status.NEW in states, f"expected query to say NEW of a waiting stop, and it says {states}")


async def _pair(bench: Bench, *, bps: int) -> OrderList:
    """Place a pair of exits on both sides of the market of which one cancels the other."""
    held = bench.held(await bench.bought())
    above = await bench.leg(order_type=OrderType.LIMIT, side=Side.SELL, quantity=held, price=await bench.price_at(bps))
    below = await _conditional(bench, _some_stop(bench), Side.SELL, held, bps=bps)
    pair = OrderList(list_id=bench.new_id(), kind=ListKind.OCO, legs=(above, below))
    bench.legs.extend(pair.legs[:1])  # one takes the other with it
    await bench.broker.place_list(order_list=pair)
    for leg in pair.legs:
        await bench.until_status(leg, Status.NEW)
    return pair


_OCO = (needs.order_list(ListKind.OCO), *_ANY_STOP)


@ports_card(
    "CPX-09",
    "Of a pair of which one cancels the other, both are listed, and one cancel takes both",
    hint="Broker.place_list of ListKind.OCO",
    needs=_OCO,
)
async def _oco_cancel(bench: Bench) -> None:
    pair = await _pair(bench, bps=300)
    for leg in pair.legs:
        expect(
            await bench.listed(leg) is not None, f"expected both legs in open_orders, and {leg.client_order_id} is not"
        )
    await bench.cancel(pair.legs[0])
    for leg in pair.legs:
        await bench.until_status(leg, *_ENDED)


@ports_card(
    "CPX-10",
    "Of a pair of which one cancels the other, the one that is filled ends the other",
    hint="Broker.place_list of ListKind.OCO, and how both ends are told",
    needs=_OCO,
)
async def _oco_fill(bench: Bench) -> None:
    pair = await _pair(bench, bps=_NEAR_BPS)
    await _wait_for(bench, pair.legs, f"one of a pair {_NEAR_BPS} bps away on both sides to be filled")
    filled = [leg for leg in pair.legs if bench.filled(leg)]
    expect(len(filled) == 1, "expected one of the pair to be filled, and both were")
    (other,) = [leg for leg in pair.legs if leg not in filled]
    await bench.until_status(other, *_ENDED)


@ports_card(
    "CPX-11",
    "An order that another one triggers begins when that one has filled",
    hint="Broker.place_list of ListKind.OTO",
    needs=(needs.order_list(ListKind.OTO), needs.order_type(OrderType.LIMIT)),
)
async def _oto(bench: Bench) -> None:
    size = 2 * await bench.size()
    working = await bench.leg(order_type=OrderType.LIMIT, quantity=size, price=await bench.price_at(-_NEAR_BPS))
    pending = await bench.leg(
        order_type=OrderType.LIMIT, quantity=size / 2, side=Side.SELL, price=await bench.price_at(300)
    )
    order_list = OrderList(list_id=bench.new_id(), kind=ListKind.OTO, legs=(working, pending))
    bench.legs.extend(order_list.legs)
    await bench.broker.place_list(order_list=order_list)
    await bench.until_status(working, Status.NEW)
    expect(not bench.filled(pending), "expected nothing of the order that is not triggered yet, and it was filled")
    await _wait_for(bench, [working], f"the working order {_NEAR_BPS} bps below the market to be filled")
    await bench.until_status(pending, Status.NEW)
    expect(await bench.listed(pending) is not None, "expected what was triggered to rest, and open_orders has none")


@ports_card(
    "CPX-12",
    "A stop that only reduces cannot open a position",
    hint="reduce_only of conditional orders",
    needs=(*_ANY_STOP, needs.flag("reduce_only")),
)
async def _reduces(bench: Bench) -> None:
    bought = await bench.bought()
    leg = await bench.leg(
        order_type=_some_stop(bench),
        side=Side.SELL,
        quantity=bought.quantity,
        reduce_only=True,
        trigger_price=await bench.price_at(-300),
        **({"price": await bench.price_at(-350)} if _some_stop(bench) in _LIMITS else {}),
    )
    await bench.place(leg)
    await bench.until_status(leg, Status.NEW)
    (row,) = await bench.ledger_orders(leg)
    expect(row["reduce_only"], "expected an order that only reduces at the venue, and it is a plain one")
