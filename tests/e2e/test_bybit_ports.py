"""Bybit's ports against its simulator: what the documentation says, read twice by people who did not ask each other."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import attrs
import pytest

from btx.errors import FilterError, InsufficientFundsError, OrderNotFoundError, OrderRejectedError
from btx.model.account import BookingKind
from btx.model.derivatives import MarginMode, PositionMode
from btx.model.market import Trade
from btx.model.order import Fill, Leg, OrderReport, OrderType, PositionSide, Side, Status, TimeInForce
from btx.model.time import NS_PER_HOUR, Interval
from btx.model.venue import Channel, Scenario, Subscription
from btx_bybit import plugin
from tests.e2e.test_binance_ports import Bench, bench_of

MARKETS = {"spot": "BTC/USDT", "linear": "BTC/USDT:USDT", "inverse": "BTC/USD:BTC"}
SIZES = {"spot": Decimal("0.01"), "linear": Decimal("0.01"), "inverse": Decimal(100)}
RICHES = {"spot": 500, "linear": 10_000, "inverse": 200_000}  # times the size is more than there is
BY_SOCKET = {"options": {"order_entry": "websocket"}}


def play(market: str, scene: Callable[[Bench], Awaitable[None]], **changes: Any) -> None:
    async def run() -> None:
        scenario = Scenario(seed=7, market=market, warmup_ns=9 * NS_PER_HOUR, until_ns=12 * NS_PER_HOUR)
        kwargs = {"market": market, "symbol": MARKETS[market], "adapter": plugin, **changes}
        async with plugin.btx_simulator(scenario) as endpoints, bench_of(endpoints, **kwargs) as bench:
            await scene(bench)

    asyncio.run(run())


async def leg(bench: Bench, **changes: Any) -> Leg:
    return await bench.leg(**{"quantity": SIZES[bench.context.market], **changes})


async def limit(bench: Bench, away: str, **changes: Any) -> Leg:
    """Return a limit order so far from the last price, on the grid."""
    tick = (await bench.instrument()).tick_size
    price = (await bench.price() * Decimal(away) // tick) * tick
    return await leg(bench, order_type=OrderType.LIMIT, price=price, **changes)


@pytest.mark.parametrize("market", MARKETS)
def test_an_order_is_told_of_alike_by_push_and_by_question(market: str) -> None:
    async def scene(bench: Bench) -> None:
        await bench.listen_to_account()
        mine = await leg(bench)
        receipt = await bench.broker.place(leg=mine)
        await bench.advance(2)
        report = await bench.until_status(mine, Status.FILLED)
        *fills, asked = await bench.broker.query(leg=mine)
        began_ns = bench.clock.market - NS_PER_HOUR
        listed = await bench.broker.fills(instrument=mine.request.instrument, start_ns=began_ns)
        await bench.account.until(lambda: len(bench.fills(mine)) >= len(listed))  # they have a topic of their own

        assert isinstance(asked, OrderReport)
        assert report.venue_order_id == asked.venue_order_id == receipt.venue_order_id
        assert (asked.status, asked.filled, asked.side) == (Status.FILLED, mine.quantity, Side.BUY)
        assert tuple(fills) == tuple(bench.fills(mine)) == listed
        assert all(isinstance(fill, Fill) and fill.fee and fill.fee_asset for fill in fills)
        ledger = await bench.ask("ledger")
        assert [row["fill_id"] for row in ledger["fills"]] == [fill.fill_id for fill in listed]

    play(market, scene)


@pytest.mark.parametrize("changes", [{}, BY_SOCKET], ids=["rest", "websocket"])
@pytest.mark.parametrize("market", MARKETS)
def test_a_limit_order_is_amended_under_its_ids_and_cancelled(market: str, changes: dict[str, Any]) -> None:
    async def scene(bench: Bench) -> None:
        await bench.listen_to_account()
        old = await limit(bench, "0.98")
        receipt = await bench.broker.place(leg=old)
        await bench.until_status(old, Status.NEW)
        wish = await limit(bench, "0.99")
        new = attrs.evolve(old, request=wish.request, quantity=old.quantity * 2)
        amended = await bench.broker.amend(leg=old, venue_order_id=receipt.venue_order_id, new=new)
        await bench.account.until(lambda: bench.account.of(OrderReport)[-1].quantity == new.quantity)
        (resting,) = await bench.broker.open_orders(instruments=[old.request.instrument])
        await bench.broker.cancel(leg=old, venue_order_id=None)
        await bench.until_status(old, Status.CANCELED)

        assert amended.venue_order_id == receipt.venue_order_id
        assert (resting.price, resting.quantity, resting.client_order_id) == (
            wish.request.price,
            new.quantity,
            old.client_order_id,
        )
        with pytest.raises(OrderNotFoundError):
            await bench.broker.cancel(leg=old, venue_order_id=receipt.venue_order_id)

    play(market, scene, **changes)


@pytest.mark.parametrize("market", MARKETS)
def test_what_waits_for_a_price_is_one_order_all_along(market: str) -> None:
    async def scene(bench: Bench) -> None:
        await bench.listen_to_account()
        await bench.broker.place(leg=await leg(bench, quantity=SIZES[market] * 2))
        tick = (await bench.instrument()).tick_size
        trigger = (await bench.price() * Decimal("0.9999") // tick) * tick
        stop = await leg(bench, side=Side.SELL, order_type=OrderType.STOP_MARKET, trigger_price=trigger)
        receipt = await bench.broker.place(leg=stop)
        (waiting,) = await bench.broker.open_orders(instruments=[stop.request.instrument])
        for _ in range(60):
            await bench.advance()
            if bench.fills(stop):
                break
        (*_, report) = await bench.broker.query(leg=stop)

        assert (waiting.order_type, waiting.trigger_price) == (OrderType.STOP_MARKET, trigger)
        assert waiting.venue_order_id == receipt.venue_order_id
        assert isinstance(report, OrderReport)
        assert (report.status, report.venue_order_id) == (Status.FILLED, receipt.venue_order_id)

    play(market, scene)


@pytest.mark.parametrize("market", MARKETS)
def test_a_stop_the_market_has_passed_is_refused_in_words_the_core_knows(market: str) -> None:
    async def scene(bench: Bench) -> None:
        tick = (await bench.instrument()).tick_size
        above = (await bench.price() * Decimal("1.01") // tick) * tick
        late = await leg(bench, side=Side.SELL, order_type=OrderType.STOP_MARKET, trigger_price=above)
        with pytest.raises(OrderRejectedError, match="immediately"):
            await bench.broker.place(leg=late)

    play(market, scene)


@pytest.mark.parametrize("market", MARKETS)
def test_refusals_have_the_class_that_says_what_to_do(market: str) -> None:
    async def scene(bench: Bench) -> None:
        far = attrs.evolve(mine := await limit(bench, "0.98"), client_order_id="e2e-far")
        rich = attrs.evolve(mine, client_order_id="e2e-rich", quantity=mine.quantity * RICHES[market])
        nothing = attrs.evolve(far, request=attrs.evolve(far.request, price=far.request.price * 3))  # type: ignore[operator]
        with pytest.raises(InsufficientFundsError):
            await bench.broker.place(leg=rich)
        with pytest.raises((FilterError, OrderRejectedError)):
            await bench.broker.place(leg=nothing)
        with pytest.raises(OrderNotFoundError):
            await bench.broker.query(leg=far)
        with pytest.raises(OrderNotFoundError, match="no order was open"):
            await bench.broker.cancel_all(instrument=far.request.instrument)

    play(market, scene)


def test_an_order_nobody_fills_at_once_expires_where_it_asked_to() -> None:
    async def scene(bench: Bench) -> None:
        await bench.listen_to_account()
        impatient = await limit(bench, "0.98", time_in_force=TimeInForce.IOC)
        taking = await limit(bench, "1.005", post_only=True)
        for each in (impatient, taking):
            await bench.broker.place(leg=each)
            assert (await bench.until_status(each, Status.EXPIRED)).reason

    play("linear", scene)


def test_leverage_modes_and_positions_are_as_they_were_set() -> None:
    async def scene(bench: Bench) -> None:
        instrument = await bench.instrument()
        store: Any = bench.store
        tiers = await store.leverage_tiers(instruments=[instrument])
        for _ in range(2):  # what is so already is no error
            await store.set_position_mode(mode=PositionMode.HEDGE)
            await store.set_margin_mode(instrument=instrument, mode=MarginMode.ISOLATED)
            await store.set_leverage(instrument=instrument, leverage=7)
        both = [
            await leg(bench, side=side, position_side=of)
            for side, of in ((Side.BUY, PositionSide.LONG), (Side.SELL, PositionSide.SHORT))
        ]
        for each in both:
            await bench.broker.place(leg=each)
        await bench.advance()
        account = await store.account()
        fills = await bench.broker.fills(instrument=instrument, start_ns=bench.clock.market - NS_PER_HOUR)

        assert account.position_mode is PositionMode.HEDGE
        assert {each.position_side: each.quantity for each in account.positions} == {
            PositionSide.LONG: SIZES["linear"],
            PositionSide.SHORT: -SIZES["linear"],
        }
        assert {(each.leverage, each.margin_mode) for each in account.positions} == {(7, MarginMode.ISOLATED)}
        assert {each.position_side for each in fills} == {PositionSide.LONG, PositionSide.SHORT}
        first = tiers[instrument.symbol][0]
        assert (first.max_leverage, first.maintenance_rate) == (100, Decimal("0.005"))

    listed = asyncio.run(_linear())
    play("linear", scene, traded=lambda: [listed])


async def _linear() -> Any:
    scenario = Scenario(seed=7, market="linear")
    async with (
        plugin.btx_simulator(scenario) as endpoints,
        bench_of(endpoints, market="linear", symbol=MARKETS["linear"], adapter=plugin) as bench,
    ):
        return await bench.instrument()


def test_funding_is_booked_with_the_sign_of_who_pays() -> None:
    async def scene(bench: Bench) -> None:
        await bench.listen_to_account()
        store, feed = bench.store, bench.feed
        await bench.broker.place(leg=await leg(bench, quantity=Decimal("0.5")))
        instrument = await bench.instrument()
        began_ns = bench.clock.market
        mark = await feed.mark_price(instrument=instrument)  # type: ignore[attr-defined]
        while bench.clock.market < mark.next_funding_ns + 60 * 1_000_000_000:
            await bench.advance(20)
        rates = await feed.funding_rates(  # type: ignore[attr-defined]
            instrument=instrument, start_ns=began_ns + 1, end_ns=bench.clock.market
        )
        booked = [
            each
            for each in await store.bookings(start_ns=began_ns)  # type: ignore[attr-defined]
            if each.kind is BookingKind.FUNDING
        ]

        assert [each.time_ns for each in rates] == [each.time_ns for each in booked] == [mark.next_funding_ns]
        assert (booked[0].amount < 0) is (rates[0].rate > 0)
        assert (booked[0].asset, booked[0].symbol) == ("USDT", instrument.symbol)

    play("linear", scene)


@pytest.mark.parametrize("market", MARKETS)
def test_history_is_told_as_the_market_went(market: str) -> None:
    async def scene(bench: Bench) -> None:
        instrument, minute = await bench.instrument(), Interval.parse("1m")
        await bench.listen(bench.market, Subscription(channel=Channel.TRADE, instrument=instrument))
        await bench.advance(3)
        await bench.market.until(lambda: bool(bench.market.of(Trade)))
        now_ns = bench.clock.market
        bars = await bench.feed.bars(
            instrument=instrument, interval=minute, start_ns=now_ns - 2 * NS_PER_HOUR, end_ns=now_ns
        )
        pushed, asked = bench.market.of(Trade), await bench.feed.trades(instrument=instrument)
        book = await bench.feed.book(instrument=instrument, depth=5)
        fees = await bench.store.fees(instruments=[instrument])

        assert {later.open_ns - bar.open_ns for bar, later in itertools.pairwise(bars)} == {60 * 10**9}
        assert len(bars) in {119, 120}
        assert all(bar.is_closed for bar in bars)
        assert {each.trade_id for each in pushed} <= {each.trade_id for each in asked}
        assert len(book.bids) == len(book.asks) == 5
        assert fees[instrument.symbol].tier == "account"
        assert (await bench.store.key_rights()).may_trade

    play(market, scene)
