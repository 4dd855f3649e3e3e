"""A paper account behind the ports: it hears what it trades, loses nothing in a cut, and answers as a venue does."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from decimal import Decimal
from typing import Any

import attrs
import pytest

from btx.config import Settings
from btx.errors import ConfigError, OrderNotFoundError, OrderRejectedError, TransportError
from btx.model.instrument import Instrument
from btx.model.market import BookSnapshot, Quote, Trade
from btx.model.order import Fill, Leg, ListKind, OrderList, OrderReport, OrderType, Side, Status
from btx.model.venue import Channel, Environment, StreamState, StreamStatus, Subscription
from btx.ports import Context, Sink, StreamEvent, Wanted
from btx.runtime.clock import MarketClock
from btx.sim import paper_stream
from btx.sim.paper import PaperVenue
from btx.sim.paper_ledger import Ledger
from btx.storage.lines import MemoryLines
from tests.toy_venue import FEES, INFO
from tests.values import BTC, d, request, trade

ETH = attrs.evolve(BTC, symbol="ETH/USDT", venue_symbol="ETHUSDT", base="ETH")
DEADLINE_S = 60.0
QUOTE = Quote(symbol="BTC/USDT", bid_price=d(99), bid_quantity=d(1), ask_price=d(101), ask_quantity=d(1), sequence=0)
PAGE = 2  # trades an answer has at most
OWNED = {"USDT": Decimal(10_000), "BTC": Decimal(1)}


class PublicToy:
    """The public side of a venue: trades by number, one book, and a connection that a test cuts."""

    info = INFO
    manager: Any = None

    def __init__(self, *, listed: Collection[Instrument] = (BTC, ETH)) -> None:
        self.listed = listed
        self.trades_made: list[Trade] = [trade(1, 0, 100)]
        self.sink: Sink | None = None
        self.cut = asyncio.Event()
        self.is_deaf = False
        self.dials = 0
        self.contexts: list[Context] = []

    # What a Venue answers.

    def _port(self, context: Context) -> Any:
        self.contexts.append(context)
        return self

    store = feed = websocket = _port

    def commission(self, instrument: Instrument, account: Any) -> Any:
        return FEES

    # What its ports do.

    async def instruments(self, *, symbols: Collection[str] | None = None) -> Mapping[str, Instrument]:
        return {each.symbol: each for each in self.listed if symbols is None or each.symbol in symbols}

    async def server_time_ns(self) -> int:
        return 7

    async def last_price(self, *, symbol: str) -> Trade | None:
        return next((each for each in reversed(self.trades_made) if each.symbol == symbol), None)

    async def book(self, *, instrument: Instrument, depth: int) -> BookSnapshot:
        return BookSnapshot(
            symbol=instrument.symbol,
            bids=((d(99), d(1)), (d(98), d(5))),
            asks=((d(101), d(1)), (d(102), d(5))),
            sequence=1,
        )

    async def trades(
        self, *, instrument: Instrument, start_id: int | None = None, start_ns: int | None = None
    ) -> Sequence[Trade]:
        found = [
            each
            for each in self.trades_made
            if each.symbol == instrument.symbol
            and (start_id is None or int(each.trade_id) >= start_id)
            and (start_ns is None or each.time_ns >= start_ns)
        ]
        return found[:PAGE]

    async def run(self, *, wanted: Wanted, sink: Sink) -> None:
        self.dials += 1
        self.cut.clear()
        self.sink = sink
        cut = asyncio.ensure_future(self.cut.wait())
        try:
            while not cut.done():
                known = wanted.now
                if not self.is_deaf:
                    sink(QUOTE)  # as venues do, that push before they answer
                    sink(StreamStatus(state=StreamState.SUBSCRIBED, subscriptions=known))
                changed = asyncio.ensure_future(wanted.changed(known))
                await asyncio.wait({changed, cut}, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
            raise TransportError("cut")
        finally:
            self.sink = None
            cut.cancel()

    # What a test does to it.

    def print(self, price: int | str, quantity: int | str = 1, *, is_heard: bool = True) -> None:
        """Let a public trade happen, in the minute after everything before it."""
        made = attrs.evolve(
            trade(len(self.trades_made) + 1, 0, price, quantity), time_ns=MarketClock().market_ns() + 60_000_000_000
        )
        self.trades_made.append(made)
        if is_heard and self.sink is not None:
            self.sink(made)


class Rig:
    """A paper account on a PublicToy, with what its stream has told."""

    def __init__(self, toy: PublicToy, resources: AsyncExitStack, ledger: Ledger) -> None:
        self.toy = toy
        self.told: list[StreamEvent] = []
        self.venue = PaperVenue(toy, balances=OWNED, ledger=lambda: ledger)  # type: ignore[arg-type]
        context = Context(
            settings=Settings(),
            environment=Environment.PAPER,
            market="spot",
            endpoints=None,
            clock=MarketClock(),
            resources=resources,
        )
        self.store, self.broker = self.venue.store(context), self.venue.broker(context)
        self.stream = self.venue.websocket(context)
        self.running: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.running = asyncio.ensure_future(self.stream.run(wanted=Fixed(), sink=self.told.append))

    async def until(self, what: Callable[[], Any]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not what():  # noqa: ASYNC110 -- it turns the loop, and nothing else
                await asyncio.sleep(0)

    @property
    def is_up(self) -> bool:
        return any(isinstance(each, StreamStatus) and each.state is StreamState.SUBSCRIBED for each in self.told)

    @property
    def fills(self) -> list[Fill]:
        return [each for each in self.told if isinstance(each, Fill)]

    def said_of(self, order_id: str) -> list[Status]:
        return [each.status for each in self.told if isinstance(each, OrderReport) and each.client_order_id == order_id]

    async def owned(self, asset: str) -> Decimal:
        return (await self.store.account()).balances[asset].total


class Fixed:
    """The account's subscription, which never changes."""

    now = frozenset({Subscription(channel=Channel.ACCOUNT)})

    async def changed(self, known: frozenset[Subscription]) -> frozenset[Subscription]:
        await asyncio.Event().wait()
        return known


def leg(order_id: str, **changes: Any) -> Leg:
    asked = request(**({"quantity": Decimal(1), "price": Decimal(98)} | changes))
    return Leg(client_order_id=order_id, request=asked, quantity=asked.quantity)


def market(order_id: str, side: Side = Side.BUY, quantity: str | int = 1) -> Leg:
    return leg(order_id, side=side, order_type=OrderType.MARKET, price=None, quantity=Decimal(quantity))


def play(scene: Callable[[Rig], Awaitable[None]], *, ledger: Ledger | None = None, toy: PublicToy | None = None) -> Rig:
    """Run a scene on a new account that stands, or on one that was kept."""

    async def whole() -> Rig:
        async with AsyncExitStack() as resources:
            rig = Rig(toy or PublicToy(), resources, ledger or MemoryLines())
            await rig.store.instruments()
            rig.start()
            await rig.until(lambda: rig.is_up or (rig.running is not None and rig.running.done()))
            try:
                await scene(rig)
            finally:
                assert rig.running is not None
                rig.running.cancel()
                await asyncio.gather(rig.running, return_exceptions=True)
            return rig

    return asyncio.run(whole())


def test_an_account_without_orders_stands_without_a_connection_and_gives_the_adapter_no_key() -> None:
    async def scene(rig: Rig) -> None:
        assert rig.toy.dials == 0
        assert await rig.store.server_time_ns() == 7
        assert set(await rig.store.instruments(symbols=["ETH/USDT"])) == {"ETH/USDT"}
        assert await rig.owned("USDT") == 10_000

    rig = play(scene)

    assert not any(context.settings.api_key for context in rig.toy.contexts)


def test_a_market_order_takes_the_book_as_it_is_now() -> None:
    async def scene(rig: Rig) -> None:
        receipt = await rig.broker.place(leg=market("a", quantity=3))
        assert receipt.venue_order_id == "1"

    rig = play(scene)

    assert [(fill.price, fill.quantity) for fill in rig.fills] == [(101, 1), (102, 2)]
    assert rig.said_of("a")[-1] is Status.FILLED


def test_a_limit_order_waits_for_a_trade_behind_the_queue_at_its_price() -> None:
    async def scene(rig: Rig) -> None:
        await rig.broker.place(leg=leg("a"))
        rig.toy.print(98, 5)  # the queue that was there before it
        assert not rig.fills
        rig.toy.print(98, "0.4")
        rig.toy.print(97, 1)

    rig = play(scene)

    assert [(fill.price, fill.quantity) for fill in rig.fills] == [(98, d("0.4")), (98, d("0.6"))]


def test_a_quote_is_the_price_an_order_takes_at() -> None:
    async def scene(rig: Rig) -> None:
        await rig.broker.place(leg=leg("a"))
        assert rig.toy.sink is not None
        rig.toy.sink(
            Quote(
                symbol="BTC/USDT",
                bid_price=d(99),
                bid_quantity=d(1),
                ask_price=d("100.5"),
                ask_quantity=d(9),
                sequence=2,
            )
        )
        await rig.broker.place(leg=market("b"))

    rig = play(scene)

    assert [fill.price for fill in rig.fills] == [d("100.5")]


def test_what_traded_during_a_cut_is_matched_once_the_stream_stands_again() -> None:
    async def scene(rig: Rig) -> None:
        await rig.broker.place(leg=leg("a"))
        await cut(rig)
        with pytest.raises(TransportError, match="the public stream is down"):
            await rig.broker.place(leg=market("b"))
        rig.toy.print(97, 5)
        rig.start()
        await rig.until(lambda: rig.is_up)
        rig.toy.sink(rig.toy.trades_made[-1])  # type: ignore[misc] # said twice

    rig = play(scene)

    assert [(fill.client_order_id, fill.quantity) for fill in rig.fills] == [("a", 1)]


async def cut(rig: Rig) -> None:
    rig.toy.cut.set()
    assert rig.running is not None
    with pytest.raises(TransportError, match="cut"):
        await rig.running
    rig.told.clear()


def test_more_trades_than_can_be_fetched_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paper_stream, "_MISSED_MOST", 2)

    async def scene(rig: Rig) -> None:
        await rig.broker.place(leg=leg("a"))
        await cut(rig)
        for _ in range(4):
            rig.toy.print(100)
        rig.start()
        await rig.until(lambda: rig.is_up)
        rig.toy.print(97, 5)

    rig = play(scene)

    (fault,) = [each for each in rig.told if isinstance(each, StreamStatus) and each.state is StreamState.FAULT]
    assert "more than 2 trades of BTC/USDT were missed" in fault.detail
    assert len(rig.fills) == 1


def test_an_order_of_what_is_not_heard_is_not_placed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paper_stream, "_HEARD_S", 0.02)
    toy = PublicToy()
    toy.is_deaf = True

    async def scene(rig: Rig) -> None:
        with pytest.raises(TransportError, match="trades of BTC/USDT are not heard yet"):
            await rig.broker.place(leg=market("a"))

    assert not play(scene, toy=toy).fills


def test_faults_of_the_public_stream_are_told_on_the_accounts() -> None:
    async def scene(rig: Rig) -> None:
        await rig.broker.place(leg=leg("a"))
        assert rig.toy.sink is not None
        rig.toy.sink(StreamStatus(state=StreamState.FAULT, detail="unreadable"))

    assert any(isinstance(each, StreamStatus) and each.detail == "unreadable" for each in play(scene).told)


def test_market_subscriptions_are_the_adapters_own() -> None:
    async def scene(rig: Rig) -> None:
        wanted = paper_stream._Wanted()
        await wanted.add(ETH)
        running = asyncio.ensure_future(rig.stream.run(wanted=wanted, sink=rig.told.append))
        await rig.until(lambda: rig.toy.sink is not None)
        rig.toy.cut.set()
        with pytest.raises(TransportError, match="cut"):
            await running

    play(scene)


def test_the_account_is_found_again_with_what_filled_while_nobody_was_there() -> None:
    ledger, toy = MemoryLines(), PublicToy()

    async def first(rig: Rig) -> None:
        await rig.broker.place(leg=market("bought"))
        await rig.broker.place(leg=leg("near"))
        await rig.broker.place(leg=leg("far", price=Decimal(50)))

    async def second(rig: Rig) -> None:
        assert rig.said_of("near")[-1] is Status.FILLED  # told before the stream stands
        assert [each.client_order_id for each in await rig.broker.open_orders(instruments=[BTC])] == ["far"]
        assert await rig.owned("BTC") == d("2.998")
        fills = await rig.broker.fills(instrument=BTC, start_ns=0)
        assert [fill.client_order_id for fill in fills] == ["bought", "near"]
        assert await rig.broker.fills(instrument=BTC, start_ns=2**63) == ()

    play(first, ledger=ledger, toy=toy)
    toy.print(97, 50, is_heard=False)
    play(second, ledger=ledger, toy=again(toy))


def again(toy: PublicToy) -> PublicToy:
    """The same market in another process."""
    new = PublicToy(listed=toy.listed)
    new.trades_made = toy.trades_made
    return new


def test_orders_in_what_is_not_listed_any_more_are_named() -> None:
    ledger = MemoryLines()

    async def first(rig: Rig) -> None:
        await rig.broker.place(leg=leg("near"))

    async def second(rig: Rig) -> None:
        assert rig.running is not None
        with pytest.raises(ConfigError, match="orders in BTCUSDT, which the venue lists no more"):
            await rig.running

    play(first, ledger=ledger)
    play(second, ledger=ledger, toy=PublicToy(listed=[ETH]))


def test_pairs_replacements_and_cancels_answer_as_the_port_says() -> None:
    stop = {"order_type": OrderType.STOP_MARKET, "price": None, "trigger_price": Decimal(90), "side": Side.SELL}

    async def scene(rig: Rig) -> None:
        pair = (leg("profit", side=Side.SELL, price=Decimal(110)), leg("stop", **stop))
        taken = await rig.broker.place_list(order_list=OrderList(list_id="pair", kind=ListKind.OCO, legs=pair))
        assert taken.venue_order_id == "1"
        await rig.broker.place(leg=leg("old"))
        replaced = await rig.broker.replace(leg=leg("old"), venue_order_id=None, new=leg("new", price=Decimal(97)))
        assert replaced.venue_order_id is not None
        with pytest.raises(OrderRejectedError, match="the new order was not placed"):
            await rig.broker.replace(leg=leg("old"), venue_order_id=None, new=leg("newer"))
        await rig.broker.cancel(leg=leg("new"), venue_order_id=None)
        with pytest.raises(OrderNotFoundError):
            await rig.broker.cancel(leg=leg("new"), venue_order_id=None)
        await rig.broker.place(leg=leg("alone"))
        await rig.broker.cancel_all(instrument=BTC)
        with pytest.raises(OrderNotFoundError, match="no order is open in BTC/USDT"):
            await rig.broker.cancel_all(instrument=BTC)
        await rig.broker.place(leg=market("bought"))
        report, fill = await rig.broker.query(leg=market("bought"))
        assert isinstance(report, OrderReport)
        assert isinstance(fill, Fill)
        with pytest.raises(OrderNotFoundError):
            await rig.broker.query(leg=leg("never"))

    rig = play(scene)

    for name in ("profit", "stop", "old", "new", "alone"):
        assert rig.said_of(name)[-1] is Status.CANCELED


def test_an_order_of_spot_on_paper_is_replaced_where_the_venue_would_amend_it() -> None:
    toy = PublicToy()
    toy.info = attrs.evolve(INFO, capabilities={"spot": attrs.evolve(INFO.capabilities["spot"], amend=True)})

    async def scene(rig: Rig) -> None:
        assert rig.venue.info.capabilities["spot"] == attrs.evolve(INFO.capabilities["spot"], amend=False)

    play(scene, toy=toy)


def test_orders_cost_the_book_they_are_placed_against() -> None:
    info = attrs.evolve(INFO, costs={"spot": {"place": {"weight": 1}, "book": {"weight": 50}, "cancel": {"weight": 1}}})
    toy = PublicToy()
    toy.info = info

    async def scene(rig: Rig) -> None:
        expected = {"place": {"weight": 51}, "book": {"weight": 50}, "cancel": {"weight": 1}}
        assert rig.venue.info.costs == {"spot": expected}
        assert rig.venue.feed(rig.toy.contexts[0]) is not None

    play(scene, toy=toy)
