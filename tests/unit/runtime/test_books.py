"""The desk of quotes, books and trades: one subscription for all who read, as long as somebody does."""

import asyncio
from typing import Any

from btx.model.venue import Channel
from btx.ports import StreamEvent
from btx.runtime.books import BookDesk
from btx.runtime.latest import Latest, Prints, Unknown
from btx.runtime.lines import MarketLines
from tests.toy_venue import ToyVenue
from tests.unit.runtime.market_rig import ETH, MarketRig, bids, delta, levels, public, quote, shown, snapshot
from tests.unit.runtime.rig import AT_ONCE, Log, run
from tests.values import BTC


class DeskRig:
    """A desk on the real lines of a toy venue."""

    def __init__(self, *, connected: bool = True) -> None:
        self.market = MarketRig()
        self.market.feed.then = lambda each: snapshot(
            1, bids=levels(p100="1", p99="1"), asks=levels(p101="1"), symbol=each.symbol
        )
        self.toy = ToyVenue()
        self.log = Log()
        self.lines = MarketLines(
            stream=self.toy, tell=lambda note: self.log.add(note.kind), on_fatal=self.log.add, redial=AT_ONCE
        )
        self.desk = BookDesk(
            feed=self.market.feed,
            lines=self.lines,
            clock=self.market.time,
            guard=self.market.guard,
            dense=True,
            note=lambda kind, _text: self.log.add(kind),
            progressed=self.log.touch,
            sleep=self.market.time.sleep,
        )
        if connected:
            self.desk.connect()

    def push(self, event: StreamEvent) -> None:
        for connection in self.toy.connections:
            connection.frames.put_nowait(event)

    @property
    def subscribed(self) -> set[tuple[str, str]]:
        return {
            (each.channel.value, each.instrument.symbol)
            for connection in self.toy.connections
            for each in connection.subscriptions
            if each.instrument is not None
        }

    async def ready(self) -> None:
        await self.log.until(lambda: self.desk.is_ready)

    async def stop(self) -> None:
        await self.desk.stop()
        await self.lines.stop()


def test_readers_of_one_book_share_its_subscription_and_the_last_one_ends_it() -> None:
    async def scene() -> None:
        rig = DeskRig()
        assert rig.desk.is_ready
        one, other, quotes = Latest[Any](), Latest[Any](), Latest[Any]()
        rig.desk.open(BTC, Channel.BOOK, one, depth=1)
        rig.desk.open(BTC, Channel.BOOK, other, depth=2)
        rig.desk.open(ETH, Channel.QUOTE, quotes)
        assert not rig.desk.is_ready
        await rig.ready()
        assert rig.subscribed == {("book", "BTC/USDT"), ("quote", "ETH/USDT")}
        assert bids(shown(one)) == [("100", "1")]
        assert shown(quotes).ask_price == 101

        rig.desk.open(BTC, Channel.BOOK, one, depth=2)  # it wants more of it
        assert bids(shown(one)) == bids(shown(other)) == [("100", "1"), ("99", "1")]
        rig.desk.close(one)
        rig.push(delta(2, 2, bids=levels(p99="7")))
        await rig.log.until(lambda: rig.desk.has_heard("book", "BTCUSDT", 2))
        assert bids(shown(other)) == [("100", "1"), ("99", "7")]
        assert bids(shown(one)) == [("100", "1"), ("99", "1")]
        rig.desk.close(other)
        rig.desk.close(other)
        await rig.toy.until(lambda: rig.subscribed == {("quote", "ETH/USDT")})

        await rig.stop()

    run(scene())


def test_what_is_asked_for_before_the_strategy_first_waits_is_on_one_connection_from_its_beginning() -> None:
    async def scene() -> None:
        rig = DeskRig(connected=False)
        book, quotes, dropped = Latest[Any](), Latest[Any](), Latest[Any]()
        rig.desk.open(BTC, Channel.BOOK, book, depth=1)
        rig.desk.open(ETH, Channel.BOOK, dropped, depth=1)
        for _ in range(50):  # turns in which a connection could have begun
            await asyncio.sleep(0)
        assert rig.toy.connections == []
        rig.desk.open(ETH, Channel.QUOTE, quotes)
        rig.desk.close(dropped)

        rig.desk.connect()
        await rig.ready()
        rig.desk.connect()

        assert len(rig.toy.connections) == 1
        assert rig.subscribed == {("book", "BTC/USDT"), ("quote", "ETH/USDT")}
        await rig.stop()

    run(scene())


def test_a_cut_takes_quotes_and_books_away_and_brings_them_back() -> None:
    async def scene() -> None:
        rig = DeskRig()
        book, quotes, prints = Latest[Any](), Latest[Any](), Prints(bound=10)
        rig.desk.open(BTC, Channel.BOOK, book, depth=5)
        rig.desk.open(BTC, Channel.QUOTE, quotes)
        rig.desk.open(BTC, Channel.TRADE, prints)
        await rig.ready()
        rig.market.feed.made = [public(number) for number in range(1004, 1008)]
        for number in (1004, 1005, 1007):
            rig.push(public(number))
        await rig.log.until(lambda: rig.desk.has_heard("trade", "BTCUSDT", 1007))
        rig.market.feed.made += [public(1008), public(1009)]

        rig.toy.cut(Channel.BOOK)
        await rig.log.until(lambda: "DISCONNECTED" in rig.log.items)
        assert isinstance(book.get(), Unknown)
        assert isinstance(quotes.get(), Unknown)
        assert not rig.desk.is_ready
        await rig.toy.until(lambda: bool(rig.toy.connections))
        await rig.market.time.until(lambda: shown(book) is not None)
        await rig.log.until(lambda: rig.desk.has_heard("trade", "BTCUSDT", 1009) and rig.desk.is_ready)

        assert shown(quotes) is not None
        assert [trade.trade_id for trade in prints.take()] == [*range(1004, 1010)]
        assert prints.missed == 0
        assert {"GAP", "SYNCED"} <= set(rig.log.items)
        await rig.stop()

    run(scene())


def test_what_was_not_pushed_in_lockstep_is_asked_for() -> None:
    async def scene() -> None:
        rig = DeskRig()
        book, quotes = Latest[Any](), Latest[Any]()
        rig.desk.open(BTC, Channel.BOOK, book, depth=1)
        rig.desk.open(BTC, Channel.QUOTE, quotes)
        await rig.ready()
        rig.market.feed.then = lambda _: snapshot(9, bids=levels(p90="1"), asks=levels(p91="1"))
        assert not rig.desk.has_heard("book", "BTCUSDT", 9)
        assert rig.desk.has_heard("book", "ETHUSDT", 9)  # which nobody reads

        rig.desk.catch_up()
        await rig.market.time.until(lambda: rig.desk.has_heard("book", "BTCUSDT", 9))
        await rig.log.until(lambda: rig.desk.has_heard("quote", "BTCUSDT", 9))

        assert bids(shown(book)) == [("90", "1")]
        assert shown(quotes).bid_price == 90
        await rig.stop()

    run(scene())


def test_far_more_pushes_than_anybody_reads_take_no_memory() -> None:
    async def scene() -> None:
        rig = DeskRig()
        book, quotes, prints = Latest[Any](), Latest[Any](), Prints(bound=100)
        rig.desk.open(BTC, Channel.BOOK, book, depth=5)
        rig.desk.open(BTC, Channel.QUOTE, quotes)
        rig.desk.open(BTC, Channel.TRADE, prints)
        await rig.ready()

        sizes = []
        rig.market.feed.made = [public(1001)]
        rig.push(public(1001))
        await rig.log.until(lambda: rig.desk.has_heard("trade", "BTCUSDT", 1001) and rig.desk.is_ready)
        for last in range(5_000, 20_001, 5_000):
            for number in range(last - 4_999, last + 1):
                rig.push(quote(1 + number))
                rig.push(public(1001 + number))
                rig.push(delta(1 + number, 1 + number, bids=levels(**{f"p{number % 90 + 1}": "1"})))
            await rig.log.until(
                lambda last=last: (
                    rig.desk.has_heard("trade", "BTCUSDT", 1001 + last)
                    and rig.desk.has_heard("book", "BTCUSDT", last + 1)
                )
            )
            sizes.append(_held(rig))

        assert len(set(sizes)) == 1
        assert prints.dropped == 19_901
        assert len(prints.take()) == 100
        assert quotes.conflated == book.conflated == 20_000  # the first of each was asked for
        assert shown(quotes).sequence == 20_001
        assert "GAP" not in rig.log.items
        await rig.stop()

    run(scene())


def _held(rig: DeskRig) -> int:
    """Return how many values the desk holds."""
    listener = rig.desk._listeners[Channel.BOOK, "BTCUSDT"]
    ladder = listener._ladder  # type: ignore[attr-defined]
    trades = rig.desk._listeners[Channel.TRADE, "BTCUSDT"]._slots[0]  # type: ignore[attr-defined]
    return len(ladder._bids.prices) + len(ladder._asks.prices) + len(trades._items)
