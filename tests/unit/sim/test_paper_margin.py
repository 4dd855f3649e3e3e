"""A paper account on margin: mark prices, funding by what was held at its stamp, and a ledger that keeps it all."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any

import attrs
import pytest

from btx.errors import InsufficientFundsError, OrderNotFoundError, OrderRejectedError, TransportError
from btx.model.account import AccountUpdate, BookingKind, MarginCall
from btx.model.derivatives import FundingRate, LeverageTier, MarginMode, MarkPrice, PositionMode
from btx.model.instrument import Instrument
from btx.model.order import Leg, OrderType, Origin, Side, Status, TimeInForce
from btx.model.venue import Channel
from btx.runtime.clock import MarketClock
from btx.sim.paper_ledger import Ledger
from btx.storage.lines import MemoryLines
from tests.toy_venue import INFO
from tests.unit.sim.margin_toys import PERP as TOY_PERP
from tests.unit.sim.margin_toys import TIERS
from tests.unit.sim.test_paper_desk import PublicToy, Rig, leg, market, play
from tests.values import d

PERP = attrs.evolve(TOY_PERP, symbol="BTC/USDT")
S = 1_000_000_000


class MarginToy(PublicToy):
    """The public side of a market on margin; the clock is the wall's, so stamps lie after now."""

    info = attrs.evolve(INFO, capabilities={"spot": attrs.evolve(INFO.capabilities["spot"], margined=True)})

    def __init__(self) -> None:
        super().__init__(listed=(PERP,))
        self.marked = d(100)
        self.stamp_ns = MarketClock().market_ns() + 3600 * S
        self.published: list[FundingRate] = []
        self.is_silent = False
        self.asked = 0

    async def leverage_tiers(self, *, instruments: Collection[Instrument]) -> Mapping[str, Sequence[LeverageTier]]:
        return {each.symbol: TIERS for each in instruments}

    async def mark_price(self, *, instrument: Instrument) -> MarkPrice:
        return self.mark_at(MarketClock().market_ns())

    async def funding_rates(self, *, instrument: Instrument, start_ns: int, end_ns: int) -> Sequence[FundingRate]:
        self.asked += 1
        if self.is_silent:
            raise TransportError("silent")
        return [rate for rate in self.published if start_ns <= rate.time_ns < end_ns][:1]

    def mark_at(self, time_ns: int) -> MarkPrice:
        return MarkPrice(
            symbol=PERP.symbol,
            mark_price=self.marked,
            funding_rate=d("0.001"),
            next_funding_ns=self.stamp_ns,
            time_ns=time_ns,
        )

    def push(self, price: int | str, *, time_ns: int | None = None) -> None:
        """Let the mark price move."""
        self.marked = Decimal(price)
        assert self.sink is not None
        self.sink(self.mark_at(time_ns or MarketClock().market_ns()))

    def pass_stamp(self) -> int:
        """Let a stamp pass: the mark after it has the next one."""
        passed_ns, self.stamp_ns = self.stamp_ns, self.stamp_ns + 8 * 3600 * S
        self.push(self.marked, time_ns=passed_ns + S)
        return passed_ns

    def publish(self, stamp_ns: int, rate: str = "0.001", mark: int = 100) -> None:
        self.published.append(
            FundingRate(symbol=PERP.symbol, time_ns=stamp_ns + 3_000_000, rate=d(rate), mark_price=d(mark))
        )


def perp(order: Leg, **changes: Any) -> Leg:
    return attrs.evolve(order, request=attrs.evolve(order.request, instrument=PERP, **changes))


def stop(order_id: str, trigger: int, side: Side = Side.SELL, **changes: Any) -> Leg:
    return perp(market(order_id, side), order_type=OrderType.STOP_MARKET, trigger_price=d(trigger), **changes)


def trade(
    scene: Callable[[Rig], Awaitable[None]], *, toy: MarginToy | None = None, ledger: Ledger | None = None
) -> Rig:
    return play(scene, toy=toy or MarginToy(), ledger=ledger)


async def funding(rig: Rig) -> list[Decimal]:
    bookings = await rig.store.bookings(start_ns=0)  # type: ignore[attr-defined]
    return [each.amount for each in bookings if each.kind is BookingKind.FUNDING]


def test_a_position_on_paper_is_told_with_its_fill_and_outlives_the_process() -> None:
    ledger, toy = MemoryLines(), MarginToy()

    async def opened(rig: Rig) -> None:
        await rig.store.set_leverage(instrument=PERP, leverage=50)
        await rig.broker.place(leg=perp(market("a", quantity=3)))

    rig = trade(opened, toy=toy, ledger=ledger)
    (update, *_), fills = [each for each in rig.told if isinstance(each, AccountUpdate)], rig.fills
    assert (update.reason, update.positions[0].quantity) == ("ORDER", 1)
    assert [(fill.realised, fill.fee) for fill in fills] == [(0, d("0.101")), (0, d("0.204"))]

    async def later(rig: Rig) -> None:
        account = await rig.store.account()
        (position,) = account.positions
        assert (position.quantity, position.leverage, account.position_mode) == (3, 50, PositionMode.ONE_WAY)
        assert account.balances["USDT"].total == 10_000 - d("0.305")
        await rig.broker.place(leg=perp(market("b", Side.SELL, 3)))
        assert (await rig.store.account()).positions == ()
        bookings = await rig.store.bookings(start_ns=0)
        assert len({each.booking_id for each in bookings}) == len(bookings)
        total = sum((each.amount for each in bookings), Decimal(0))
        assert await rig.owned("USDT") == 10_000 + total

    again = trade(later, toy=toy, ledger=ledger)
    assert [fill.realised for fill in again.fills] == [d("-2.66666666"), d("-7.33333334")]


def test_a_stop_waits_as_an_algo_order_and_fills_as_the_one_it_makes() -> None:
    async def scene(rig: Rig) -> None:
        await rig.broker.place(leg=perp(market("a")))
        receipt = await rig.broker.place(leg=stop("b", 95, reduce_only=True))
        assert receipt.venue_order_id == "algo:1"
        await rig.broker.place(leg=stop("c", 90))
        (waiting,) = await rig.broker.query(leg=stop("b", 95))
        assert (waiting.venue_order_id, waiting.status) == ("algo:1", Status.NEW)
        assert len(await rig.broker.open_orders(instruments=[PERP])) == 2
        await rig.broker.cancel(leg=stop("c", 90), venue_order_id=None)
        rig.toy.print(95, 1)
        done, fill = await rig.broker.query(leg=stop("b", 95))
        assert (done.venue_order_id, done.status, fill.realised) == ("2", Status.FILLED, -2)
        with pytest.raises(OrderNotFoundError):
            await rig.broker.cancel(leg=stop("b", 95), venue_order_id=None)

    rig = trade(scene)

    assert rig.said_of("b") == [Status.NEW, Status.NEW, Status.NEW, Status.FILLED]
    assert rig.said_of("c") == [Status.NEW, Status.CANCELED]


@pytest.mark.parametrize("is_closed", [True, False])
def test_funding_is_paid_once_for_what_was_held_when_its_stamp_passed(is_closed: bool) -> None:
    async def scene(rig: Rig) -> None:
        toy: Any = rig.toy
        await rig.broker.place(leg=perp(market("a")))
        toy.is_silent = True
        stamp_ns = toy.pass_stamp()
        await rig.until(lambda: toy.asked == 1)
        if is_closed:  # before the rate is known
            await rig.broker.place(leg=perp(market("b", Side.SELL)))
        toy.is_silent = False
        toy.publish(stamp_ns)
        toy.push(101)
        await rig.until(lambda: any(isinstance(e, AccountUpdate) and e.reason == "FUNDING_FEE" for e in rig.told))
        toy.push(101, time_ns=stamp_ns + 60 * S)
        toy.print(101)
        assert await funding(rig) == [d("-0.1")]

    trade(scene)


@pytest.mark.parametrize("rate", ["0.001", "0"])
def test_a_funding_that_was_due_before_a_restart_is_paid_after_it_and_once(rate: str) -> None:
    ledger, toy = MemoryLines(), MarginToy()

    async def before(rig: Rig) -> None:
        await rig.broker.place(leg=perp(market("a")))
        toy.is_silent = True
        stamp_ns = toy.pass_stamp()
        toy.publish(stamp_ns, rate)

    trade(before, toy=toy, ledger=ledger)
    toy.is_silent = False

    async def after(rig: Rig) -> None:
        asked = toy.asked
        await rig.until(lambda: toy.sink is not None)
        toy.push(100)
        await rig.until(lambda: toy.asked > asked)
        await rig.until(lambda: not rig.store._stamps)
        assert await funding(rig) == ([d("-0.1")] if rate != "0" else [])

    for _ in range(2):
        trade(after if _ == 0 else _holds(toy, rate), toy=toy, ledger=ledger)


def _holds(toy: MarginToy, rate: str) -> Callable[[Rig], Awaitable[None]]:
    async def scene(rig: Rig) -> None:
        await rig.until(lambda: toy.sink is not None)
        assert await funding(rig) == ([d("-0.1")] if rate != "0" else [])
        assert not rig.store._stamps

    return scene


def test_fundings_of_a_time_when_nobody_listened_are_paid_at_the_return() -> None:
    ledger, toy = MemoryLines(), MarginToy()
    start_ns = MarketClock().market_ns()

    async def before(rig: Rig) -> None:
        await rig.broker.place(leg=perp(market("a")))

    trade(before, toy=toy, ledger=ledger)
    toy.published = [
        FundingRate(symbol=PERP.symbol, time_ns=time_ns, rate=d("0.001"), mark_price=d(100))
        for time_ns in (start_ns - S, MarketClock().market_ns())  # the first was before it was opened
    ]

    async def after(rig: Rig) -> None:
        toy.print(100, 1)
        assert await funding(rig) == [d("-0.1")]

    trade(after, toy=toy, ledger=ledger)


def test_a_paper_position_is_liquidated_at_the_mark_price() -> None:
    async def scene(rig: Rig) -> None:
        toy: Any = rig.toy
        await rig.store.set_leverage(instrument=PERP, leverage=125)
        rig.store.exchange.transfer(api_key="paper", asset="USDT", amount=d(-9990), now_ns=1)
        await rig.broker.place(leg=perp(market("a")))
        toy.push("91.5")
        toy.push("80")

    rig = trade(scene)

    assert [type(each) for each in rig.told].count(MarginCall) == 1
    assert rig.fills[-1].origin is Origin.LIQUIDATION


def test_margins_on_paper_hold_the_fee_of_closing_where_the_venues_do() -> None:
    async def scene(rig: Rig) -> None:
        await rig.broker.place(leg=perp(market("a")))

    kept = []
    for charges in (False, True):
        toy = MarginToy()
        spot = attrs.evolve(toy.info.capabilities["spot"], charges_closing=charges)
        toy.info = attrs.evolve(toy.info, capabilities={"spot": spot})
        exchange = trade(scene, toy=toy).store.exchange
        kept.append(exchange.wallet(api_key="paper", asset="USDT").maintenance)

    assert kept[0] < kept[1]


def test_settings_are_those_of_a_venue() -> None:
    async def scene(rig: Rig) -> None:
        store: Any = rig.store
        assert (await store.leverage_tiers(instruments=[PERP]))[PERP.symbol] == TIERS
        for _ in range(2):
            await store.set_margin_mode(instrument=PERP, mode=MarginMode.ISOLATED)
        await store.set_position_mode(mode=PositionMode.ONE_WAY)
        with pytest.raises(OrderRejectedError, match="leverage"):
            await store.set_leverage(instrument=PERP, leverage=1000)
        await rig.broker.place(leg=perp(leg("a"), time_in_force=TimeInForce.GTC))
        for change in (
            store.set_margin_mode(instrument=PERP, mode=MarginMode.CROSS),
            store.set_position_mode(mode=PositionMode.HEDGE),
        ):
            with pytest.raises(OrderRejectedError, match="open orders"):
                await change
        with pytest.raises(InsufficientFundsError):
            await rig.broker.place(leg=perp(leg("b", quantity=d(2400))))
        await rig.broker.cancel_all(instrument=PERP)
        with pytest.raises(OrderNotFoundError):
            await rig.broker.cancel_all(instrument=PERP)
        rights = await store.key_rights()
        assert (rights.may_trade, rights.may_withdraw) == (True, False)
        assert set(await store.fees(instruments=[PERP])) == {PERP.symbol}

    rig = trade(scene)

    assert {each.channel for each in rig.store._wanted.now} == {Channel.TRADE, Channel.QUOTE, Channel.MARK}


def test_an_order_on_paper_is_amended_in_place_or_ended_as_the_venue_would() -> None:
    async def scene(rig: Rig) -> None:
        order = perp(market("a", quantity=2), order_type=OrderType.LIMIT, price=d(90))
        receipt = await rig.broker.place(leg=order)
        new = attrs.evolve(order, request=attrs.evolve(order.request, price=d(91), quantity=d(3)), quantity=d(3))
        again = await rig.broker.amend(leg=order, venue_order_id=receipt.venue_order_id, new=new)
        assert again.venue_order_id == receipt.venue_order_id
        (report,) = await rig.broker.open_orders(instruments=[PERP])
        assert (report.client_order_id, report.price, report.quantity) == ("a", 91, 3)

        shy = perp(market("b"), order_type=OrderType.LIMIT, price=d(90), post_only=True)
        await rig.broker.place(leg=shy)
        with pytest.raises(OrderRejectedError, match="the amendment ended the order"):
            await rig.broker.amend(
                leg=shy, venue_order_id=None, new=attrs.evolve(shy, request=attrs.evolve(shy.request, price=d(200)))
            )
        with pytest.raises(OrderRejectedError, match="only limit orders"):
            await rig.broker.amend(leg=order, venue_order_id=None, new=perp(market("a")))

    trade(scene)
