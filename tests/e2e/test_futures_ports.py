"""All ports of USD-M and COIN-M against Binance in a box, through the hooks and nothing else."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, cast

import attrs
import pytest

from btx.errors import OrderRejectedError, TransportError
from btx.model.account import AccountSnapshot, AccountUpdate, BookingKind
from btx.model.derivatives import MarginMode, MarkPrice, PositionMode
from btx.model.market import Bar, BookDelta, Quote, Trade
from btx.model.order import AmendRequested, Fill, Leg, OrderReport, OrderType, Origin, PositionSide, Side, Status
from btx.model.time import NS_PER_HOUR, NS_PER_MINUTE, Interval
from btx.model.venue import Channel, Scenario, Subscription
from btx.ports import MarginFeed, MarginStore
from btx.rules import book as book_rules
from btx.rules.contracts import notional
from btx.rules.orders import apply, new_order
from btx_binance import plugin
from btx_binance.api import api
from tests.e2e.test_binance_ports import Bench, Heard, bench_of

SYMBOLS = {"usdm": "BTC/USDT:USDT", "coinm": "BTC/USD:BTC"}
BEFORE_EIGHT_NS = 1_748_764_500_000_000_000  # 2025-06-01T07:55:00Z: funding is five minutes away
MARKETS = pytest.mark.parametrize("market", SYMBOLS)


def run(market: str, use: Callable[[Bench], Awaitable[None]]) -> None:
    async def scene() -> None:
        scenario = Scenario(
            seed=7, market=market, origin_ns=BEFORE_EIGHT_NS, warmup_ns=NS_PER_HOUR, until_ns=2 * NS_PER_HOUR
        )
        async with (
            plugin.btx_simulator(scenario) as endpoints,
            bench_of(endpoints, market=market, symbol=SYMBOLS[market]) as bench,
        ):
            await use(bench)

    asyncio.run(scene())


def store_of(bench: Bench) -> MarginStore:
    return cast("MarginStore", bench.store)


async def leg_of(bench: Bench, **changes: Any) -> Leg:
    size = Decimal("0.1") if bench.symbol == SYMBOLS["usdm"] else Decimal(100)
    return await bench.leg(quantity=size, **changes)


async def placed(bench: Bench, leg: Leg) -> Leg:
    """Place an order, and wait until all of it is filled."""
    await bench.broker.place(leg=leg)
    await bench.until_status(leg, Status.FILLED)
    return leg


async def wallet(bench: Bench) -> dict[str, Decimal]:
    return {asset: balance.total for asset, balance in (await bench.store.account()).balances.items()}


@MARKETS
def test_a_stop_becomes_an_order_of_its_own_and_every_cent_is_booked(market: str) -> None:
    async def use(bench: Bench) -> None:
        await bench.listen_to_account()
        before = await wallet(bench)
        bought = await placed(bench, await leg_of(bench))
        tick = bought.request.instrument.tick_size
        near = (await bench.price() * Decimal("0.999")) // tick * tick
        stop = await leg_of(
            bench, side=Side.SELL, order_type=OrderType.STOP_MARKET, trigger_price=near, reduce_only=True
        )
        receipt = await bench.broker.place(leg=stop)
        waiting = await bench.broker.open_orders(instruments=[stop.request.instrument])
        while not bench.fills(stop):
            await bench.advance()
            await bench.store.account()  # what the step made is on the wire before this is answered
        await bench.until_status(stop, Status.FILLED)

        assert receipt.venue_order_id is not None
        assert [each.venue_order_id for each in waiting] == [receipt.venue_order_id]
        assert receipt.venue_order_id.startswith("algo:")
        order = new_order(stop)
        for event in bench.account.events:
            if isinstance(event, Fill | OrderReport) and event.client_order_id == stop.client_order_id:
                order = apply(order, event)
        for event in await bench.broker.query(leg=stop):
            order = apply(order, event)
        assert (order.status, order.filled, order.missing) == (Status.FILLED, stop.quantity, 0)
        assert order.venue_order_id is not None
        assert order.venue_order_id.isdigit()
        bookings = await store_of(bench).bookings(start_ns=0)
        after = await wallet(bench)
        (asset,) = {booking.asset for booking in bookings}
        assert sum(booking.amount for booking in bookings) == after[asset] - before[asset]
        fills = [*bench.fills(bought), *bench.fills(stop)]
        assert {booking.fill_id for booking in bookings if booking.kind is BookingKind.FEE} == {
            fill.fill_id for fill in fills
        }
        assert sum(fill.realised or 0 for fill in fills) == sum(
            booking.amount for booking in bookings if booking.kind is BookingKind.REALISED
        )
        told = {fill.fill_id: (fill.fee, fill.realised) for fill in fills}
        asked = await bench.broker.fills(instrument=stop.request.instrument, start_ns=0)
        assert {fill.fill_id: (fill.fee, fill.realised) for fill in asked} == told
        assert {fill.origin for fill in fills} == {Origin.CLIENT}

    run(market, use)


@MARKETS
def test_funding_is_paid_for_what_is_held_at_the_stamp(market: str) -> None:
    async def use(bench: Bench) -> None:
        await bench.listen_to_account()
        bought = await placed(bench, await leg_of(bench))
        await bench.advance(6)
        await bench.account.until(lambda: any(each.reason == "FUNDING_FEE" for each in bench.account.of(AccountUpdate)))
        updates = bench.account.of(AccountUpdate)

        instrument = bought.request.instrument
        eight_ns = BEFORE_EIGHT_NS + 5 * NS_PER_MINUTE
        feed = cast("MarginFeed", bench.feed)
        (rate,) = await feed.funding_rates(instrument=instrument, start_ns=eight_ns, end_ns=eight_ns + NS_PER_MINUTE)
        (paid,) = [each for each in await store_of(bench).bookings(start_ns=0) if each.kind is BookingKind.FUNDING]
        assert rate.mark_price is not None
        due = -notional(instrument, bought.quantity, rate.mark_price) * rate.rate
        assert abs(paid.amount - due) < Decimal("1E-8")
        assert (paid.symbol, paid.fill_id, paid.time_ns // NS_PER_MINUTE) == (
            *(instrument.symbol, None),
            eight_ns // NS_PER_MINUTE,
        )
        *_, position = (each for update in updates if update.reason == "ORDER" for each in update.positions)
        prices = [fill.price for fill in bench.fills(bought)]
        assert (position.symbol, position.quantity) == (instrument.symbol, bought.quantity)
        assert position.entry_price is not None
        assert min(prices) <= position.entry_price <= max(prices)

    run(market, use)


@MARKETS
def test_hedge_mode_holds_a_long_and_a_short_and_an_account_says_how(market: str) -> None:
    async def use(bench: Bench) -> None:
        store, instrument = store_of(bench), await bench.instrument()
        await store.set_position_mode(mode=PositionMode.HEDGE)
        await store.set_position_mode(mode=PositionMode.HEDGE)
        await store.set_margin_mode(instrument=instrument, mode=MarginMode.ISOLATED)
        await store.set_leverage(instrument=instrument, leverage=7)
        await bench.listen_to_account()
        await placed(bench, await leg_of(bench, position_side=PositionSide.LONG))
        await placed(bench, await leg_of(bench, side=Side.SELL, position_side=PositionSide.SHORT))
        account: AccountSnapshot = await store.account()
        with pytest.raises(OrderRejectedError, match="-4068"):
            await store.set_position_mode(mode=PositionMode.ONE_WAY)
        with pytest.raises(OrderRejectedError, match="-4061"):
            await bench.broker.place(leg=await leg_of(bench))
        closing = await leg_of(bench, side=Side.SELL, position_side=PositionSide.LONG, reduce_only=True)
        await placed(bench, closing)

        size = closing.quantity
        assert account.position_mode is PositionMode.HEDGE
        assert {each.position_side: each.quantity for each in account.positions} == {
            PositionSide.LONG: size,
            PositionSide.SHORT: -size,
        }
        assert {(each.leverage, each.margin_mode) for each in account.positions} == {(7, MarginMode.ISOLATED)}
        assert all(each.isolated_margin for each in account.positions)
        (left,) = (await store.account()).positions
        assert left.position_side is PositionSide.SHORT

    run(market, use)


@MARKETS
def test_every_kind_of_market_data_comes_and_the_book_has_no_hole(market: str) -> None:
    async def use(bench: Bench) -> None:
        instrument = await bench.instrument()
        kinds = (Channel.TRADE, Channel.QUOTE, Channel.BOOK, Channel.MARK)
        bars = Subscription(channel=Channel.BAR, instrument=instrument, interval=Interval.parse("1m"))
        others = (Subscription(channel=channel, instrument=instrument) for channel in kinds)
        await bench.listen(bench.market, bars, *others)
        snapshot = await bench.feed.book(instrument=instrument, depth=1000)
        await bench.advance(2)
        heard = bench.market
        await heard.until(lambda: sum(bar.is_closed for bar in heard.of(Bar)) == 2)
        await heard.until(lambda: all(heard.of(kind) for kind in (Trade, Quote, BookDelta, MarkPrice)))

        book = book_rules.start(snapshot)
        for delta in heard.of(BookDelta):
            book = book_rules.apply(book, delta)  # raises at a gap
        assert all(delta.previous_sequence is not None for delta in heard.of(BookDelta))
        mark = await cast("MarginFeed", bench.feed).mark_price(instrument=instrument)
        assert heard.of(MarkPrice)[-1].next_funding_ns == mark.next_funding_ns
        assert {event.symbol for kind in (Bar, Trade, Quote, MarkPrice) for event in heard.of(kind)} == {bench.symbol}

    run(market, use)


@MARKETS
def test_a_listen_key_that_is_gone_ends_the_stream_and_the_next_one_hears_again(market: str) -> None:
    async def use(bench: Bench) -> None:
        await bench.listen_to_account()
        delete = "fapiPrivateDeleteListenKey" if market == "usdm" else "dapiPrivateDeleteListenKey"
        await api(bench.context).client.ask(delete, {})
        with pytest.raises(TransportError, match="listenKeyExpired"):
            async with asyncio.timeout(60):
                await bench.tasks.pop()
        bench.account = Heard()
        await bench.listen_to_account()
        bought = await placed(bench, await leg_of(bench))

        assert sum(fill.quantity for fill in bench.fills(bought)) == bought.quantity

    run(market, use)


@MARKETS
def test_an_amended_order_keeps_its_ids_and_is_told_by_push_and_query(market: str) -> None:
    async def use(bench: Bench) -> None:
        await bench.listen_to_account()
        far = await bench.instrument()
        tick = far.tick_size
        price = (await bench.price() * Decimal("0.99")) // tick * tick
        leg = await leg_of(bench, order_type=OrderType.LIMIT, price=price)
        receipt = await bench.broker.place(leg=leg)
        await bench.until_status(leg, Status.NEW)
        wanted = AmendRequested(
            client_order_id=leg.client_order_id, price=price - tick, quantity=2 * leg.quantity, time_ns=0
        )
        request = attrs.evolve(leg.request, price=wanted.price, quantity=wanted.quantity)
        new = attrs.evolve(leg, request=request, quantity=wanted.quantity)

        again = await bench.broker.amend(leg=leg, venue_order_id=receipt.venue_order_id, new=new)
        with pytest.raises(OrderRejectedError):
            await bench.broker.amend(leg=new, venue_order_id=None, new=new)
        await bench.account.until(lambda: any(each.price == wanted.price for each in bench.account.of(OrderReport)))

        assert again.venue_order_id == receipt.venue_order_id
        asked = apply(new_order(leg), wanted)
        for told in (bench.account.of(OrderReport), await bench.broker.query(leg=leg)):
            order = functools.reduce(apply, told, asked)
            assert (order.leg, order.wanted, order.status) == (new, None, Status.NEW)
        await bench.broker.cancel(leg=new, venue_order_id=receipt.venue_order_id)
        with pytest.raises(OrderRejectedError):
            await bench.broker.amend(leg=new, venue_order_id=receipt.venue_order_id, new=leg)

    run(market, use)


def test_an_amendment_of_a_post_only_order_that_would_take_is_told_as_refused_and_ends_it() -> None:
    async def use(bench: Bench) -> None:
        await bench.listen_to_account()
        tick, last = (await bench.instrument()).tick_size, await bench.price()
        low, high = (last * Decimal(factor) // tick * tick for factor in ("0.99", "1.01"))
        leg = await leg_of(bench, order_type=OrderType.LIMIT, price=low, post_only=True)
        receipt = await bench.broker.place(leg=leg)
        new = attrs.evolve(leg, request=attrs.evolve(leg.request, price=high))

        with pytest.raises(OrderRejectedError, match="Binance cancelled the order"):
            await bench.broker.amend(leg=leg, venue_order_id=receipt.venue_order_id, new=new)
        await bench.until_status(leg, Status.CANCELED)

    run("usdm", use)


@MARKETS
def test_a_countdown_takes_what_rests_away_and_leaves_what_waits_unless_it_is_stopped(market: str) -> None:
    async def use(bench: Bench) -> None:
        await bench.listen_to_account()
        tick, last = (await bench.instrument()).tick_size, await bench.price()
        low, lower = (last * Decimal(factor) // tick * tick for factor in ("0.95", "0.9"))
        leg = await leg_of(bench, order_type=OrderType.LIMIT, price=low)
        stop = await leg_of(bench, side=Side.SELL, order_type=OrderType.STOP_MARKET, trigger_price=lower)
        for each in (leg, stop):
            await bench.broker.place(leg=each)
        instrument = leg.request.instrument
        await bench.broker.dead_man(instrument=instrument, after_s=60.0)
        await bench.broker.dead_man(instrument=instrument, after_s=None)
        await bench.advance(3)
        kept = await bench.broker.open_orders(instruments=[instrument])
        await bench.broker.dead_man(instrument=instrument, after_s=60.0)
        await bench.advance(3)
        await bench.until_status(leg, Status.CANCELED)
        left = await bench.broker.open_orders(instruments=[instrument])

        assert len(kept) == 2
        assert [each.client_order_id for each in left] == [stop.client_order_id]

    run(market, use)
