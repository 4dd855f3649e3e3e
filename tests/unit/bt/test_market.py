"""data.market: what was asked for is read, what was not is an error that says what to write."""

import datetime
from decimal import Decimal
from typing import Any

import attrs
import pytest

import btx
from btx.bt.market import Conflated
from btx.errors import ConfigError
from btx.model.market import BookSnapshot
from btx.model.venue import Channel
from tests.toy_venue import INFO
from tests.unit.bt.rig import DEADLINE_S, RICH, Rig, Script, Toy, open_market, store_on
from tests.unit.runtime.market_rig import delta, levels, public, quote, snapshot
from tests.values import BTC

FULL = attrs.evolve(RICH, capabilities={"spot": attrs.evolve(RICH.capabilities["spot"], channels=frozenset(Channel))})


class Talkative(Toy):
    """A toy venue with a book, and pushes of all kinds."""

    async def book(self, *, instrument: Any, depth: int) -> BookSnapshot:
        return snapshot(1, bids=levels(p99="1", p98="1"), asks=levels(p101="1"), symbol=instrument.symbol)

    def push(self, *events: Any) -> None:
        def happen() -> None:
            for connection in self.connections:
                for event in events:
                    connection.frames.put_nowait(event)

        self.soon(happen)


def played(on_next: Any, **asked: Any) -> Script:
    """Run a strategy for some bars, with pushes before each."""
    rig = Rig(Talkative(), info=FULL)
    rig.add(**asked)
    open_market(rig)
    bars = 0

    def step(strategy: Script) -> None:
        nonlocal bars
        on_next(strategy, bars)
        bars += 1
        if bars == 4:
            strategy.env.runstop()
            return
        base = 10 * bars
        for number in range(base, base + 5):
            rig.toy.push(quote(number, bid=number), public(number), delta(2, 2, bids=levels(p98="0")))
        rig.toy.close(100 + bars)

    return rig.play(on_next=step)


def test_quotes_and_trades_are_read_beside_the_bars_and_what_was_overwritten_is_counted() -> None:
    seen: list[Any] = []
    counts: list[Conflated] = []

    def read(strategy: Script, _bar: int) -> None:
        market = strategy.data.market
        seen.append((market.quote, [trade.trade_id for trade in market.trades()]))
        counts.append(market.conflated)

    strategy = played(read, quotes=True, trades=True)

    assert [one[0].bid_price for one in seen[1:]] == [14, 24, 34]
    assert isinstance(seen[1][0].bid_price, Decimal)
    assert [one[1] for one in seen] == [[], [*range(10, 15)], [*range(20, 25)], [*range(30, 35)]]
    assert counts[-1] == Conflated(quotes=12, book=0, trades=0)
    assert strategy.data.market.missed == 0
    assert repr(strategy.data.market) == "<btx market of BTC/USDT: quotes, trades>"
    assert strategy.data.market.quote.bid_price == 34  # also when all is over
    assert strategy.data.market.trades() == ()


def test_a_flood_that_a_slow_strategy_never_reads_costs_no_bar_and_no_fill() -> None:
    rig = Rig(Talkative(), info=FULL)
    data = rig.add(quotes=True, book=500, trades=True)
    open_market(rig)
    last_minute, held = 105, []

    def flood(first: int) -> None:
        for number in range(first, first + 5_000):
            change = delta(number, number, bids=levels(**{f"p{number % 98 + 1}": "1"}))
            rig.toy.push(quote(number), public(number), change)

    def is_read() -> bool:
        return all(connection.frames.empty() for connection in rig.toy.connections)

    def block(strategy: Script) -> None:
        """Be slow: come back when the venue has told all of it."""
        minute = strategy.minutes[-1] - 1
        if minute == last_minute:
            strategy.env.runstop()
            return
        if minute == 100:
            strategy.buy(size=1)
        flood(2 + 5_000 * (minute - 100))
        rig.toy.close(minute + 1)
        io = strategy.data.store.session._io
        assert io is not None
        io.run(rig.toy.until(is_read), timeout_s=DEADLINE_S)
        held.append(len(strategy.data.market._slots["trades"]._items))

    strategy = rig.play(on_next=block)

    assert strategy.bars["BTC/USDT"] == list(range(100, last_minute + 1))
    assert strategy.words[-1] == "Completed"
    conflated = data.market.conflated
    assert conflated.quotes > 20_000
    assert conflated.book > 20_000
    assert conflated.trades == 25_000 - 10_000
    assert held == [5_000, *[10_000] * 4]


def test_the_book_comes_and_goes_as_it_is_asked_for() -> None:
    seen: list[Any] = []

    def read(strategy: Script, bar: int) -> None:
        market = strategy.data.market
        if bar == 0:
            market.subscribe("book", depth=2)
            market.subscribe("quotes")
        else:
            seen.append((market.book, market.trouble("book"), market.trouble("quotes")))
        if bar == 2:
            market.unsubscribe("book")
            with pytest.raises(ConfigError):
                _ = market.book
            market.subscribe("book", depth=1)

    strategy = played(read)

    books = [book for book, _, _ in seen if book is not None]
    assert books
    assert {book.bids[0] for book in books} == {(Decimal(99), Decimal(1))}
    assert all((book is None) is (why is not None) for book, why, _ in seen)
    assert repr(strategy.data.market) == "<btx market of BTC/USDT: quotes, book>"


def test_before_the_run_nothing_is_known_and_why_is_said() -> None:
    market = store_on(Toy(), info=FULL).getdata("BTC/USDT", quotes=True, book=True, trades=True).market

    assert (market.quote, market.book, market.trades()) == (None, None, ())
    assert market.trouble("quotes") == "the data is not started"
    assert market.conflated == Conflated()
    assert market.missed == 0
    market.unsubscribe("book")
    market.subscribe("book")
    assert market.book is None


def test_bars_of_the_past_are_not_told_their_future() -> None:
    rig = Rig(Talkative(), info=FULL)
    rig.toy.write_history(range(90, 100))
    data = rig.add(quotes=True, book=5, trades=True, backfill=5)
    seen: list[Any] = []

    def read(strategy: Script) -> None:
        market = strategy.data.market
        seen.append((strategy.data.is_live, market.quote, market.book, market.trades(), market.trouble("book")))
        if len(seen) == 5:
            strategy.env.runstop()

    rig.play(on_next=read)

    assert [one for one in seen if not one[0]] == [(False, None, None, (), "the data delivers bars of the past")] * 5
    assert data.market.conflated.trades == 0


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"quotes": 1}, "quotes=1: write True or False"),
        ({"trades": "yes"}, "trades='yes': write True or False"),
        ({"book": 0}, "a book of 0 levels: ask for 1 to"),
        ({"from_trades": "yes"}, "from_trades='yes': write True or False"),
        ({"historical": 1}, "historical=1: write True or False"),
        ({"book": "20"}, "book='20': write a number of levels, like book=20"),
        ({"book": 501}, "a book of 501 levels: ask for 1 to 500"),
        ({"book": -1}, "a book of -1 levels: ask for 1 to 500"),
        ({"quotes": True, "historical": True}, "quotes are of now, and this data is historical"),
        ({"quote": True}, "did you mean quotes="),
    ],
)
def test_what_cannot_be_asked_for_is_refused_at_once(asked: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        store_on(Toy(), info=FULL).getdata("BTC/USDT", **asked)


def test_a_venue_without_books_says_so() -> None:
    with pytest.raises(ConfigError, match="Toy spot pushes no book: leave book=20 out"):
        store_on(Toy(), info=INFO).getdata("BTC/USDT", timeframe="1m", book=True)


@pytest.mark.parametrize(
    ("use", "sentence"),
    [
        (lambda market: market.quote, r"quotes of BTC/USDT .* store.getdata\('BTC/USDT', quotes=True\)"),
        (lambda market: market.book, r"book of BTC/USDT .*, book=20\), or data.market.subscribe\('book'\)"),
        (lambda market: market.trades(), "trades of BTC/USDT were not asked for"),
        (lambda market: market.trouble("book"), "the book of BTC/USDT was not asked for"),
        (lambda market: market.trouble("trades"), r"trouble\('trades'\): write \"quotes\" or \"book\""),
        (
            lambda market: market.subscribe("candles"),
            r"subscribe\('candles'\): write one of 'quotes', 'book', 'trades'",
        ),
        (lambda market: market.unsubscribe("quote"), r"unsubscribe\('quote'\): write one of"),
        (lambda market: market.subscribe("book", depth=0), "a book of 0 levels"),
    ],
)
def test_reading_what_was_not_asked_for_says_what_to_write(use: Any, sentence: str) -> None:
    market = store_on(Toy(), info=FULL).getdata("BTC/USDT").market

    with pytest.raises(ConfigError, match=sentence):
        use(market)


def test_a_data_and_its_clones_have_one_market() -> None:
    data = store_on(Toy(), info=FULL).getdata("BTC/USDT", quotes=True)

    assert data.clone().market is data.clone().clone().market is data.copyas("other").market is data.market
    assert BTC.symbol in repr(data.market)


def test_a_backtest_takes_the_same_words_and_has_nothing_to_show_for_them() -> None:
    store = btx.load("binance", env="backtest")
    day = datetime.date(2025, 6, 1)
    market = store.getdata("BTC/USDT", fromdate=day, quotes=True, book=True, trades=True).market

    assert (market.quote, market.book, market.trades()) == (None, None, ())
    assert market.trouble("book") == "history has bars, and neither quotes nor books"
    assert (market.conflated, market.missed) == (Conflated(), 0)
    bare = store.getdata("BTC/USDT", fromdate=day).market
    with pytest.raises(ConfigError, match="was not asked for"):
        _ = bare.book
    bare.subscribe("book", depth=7)
    assert bare.book is None
    bare.unsubscribe("book")
    assert repr(bare) == "<btx market of BTC/USDT: nothing asked for>"
