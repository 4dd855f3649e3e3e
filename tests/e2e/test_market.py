"""Quotes, books and public trades beside the bars, from the simulator's sockets to a strategy's next()."""

import itertools
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import attrs
import backtrader as bt
import pytest

import btx
from btx.bt.market import Conflated
from btx.errors import ConfigError
from btx.model.order import Side
from btx.model.time import NS_PER_MINUTE, NS_PER_MS, from_ms
from btx.model.venue import Channel
from btx.rules.staleness import Patience
from btx.sim.faults import Fault, FaultScript, Kind, Where, script_to_json
from btx.sim.market import Market
from tests.e2e.faulty_wire import TIMING, Wire
from tests.e2e.test_faults import free_running
from tests.e2e.trading import Scripted, books_agree, run_on, world
from tests.e2e.venues import (
    BINANCE_SPOT,
    Place,
    on_places,
    on_places_and_inverse,
    on_places_and_linear,
    on_places_everywhere,
)

ALL = {"quotes": True, "book": 20, "trades": True}


class Reader(Scripted):
    """Does what its script says, then reads the market at every bar."""

    params = (("read", None),)

    def __init__(self) -> None:
        super().__init__()
        self.read: list[Any] = []

    def next(self) -> None:
        super().next()
        if self.p.read is not None:
            self.read.append(self.p.read(self))


def run(
    place: Place,
    scenario: Any,
    read: Callable[[Any], Any] | None,
    *datas: dict[str, Any],
    steps: dict[int, Any] | None = None,
    arrange: Callable[[Any, Any], None] = lambda _cerebro, _data: None,
) -> Any:
    store = btx.load(
        place.venue, env="sim", market=place.market, currency=place.currency, scenario=place.scenario(scenario)
    )
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(store.getbroker())
    for data in datas:
        feed = store.getdata(**{"dataname": place.symbols[0]} | data)
        cerebro.adddata(feed)
        arrange(cerebro, feed)
    cerebro.addstrategy(Reader, read=read, steps=steps or {})
    (strategy,) = cerebro.run()
    return strategy


class Truth:
    """The same market, asked directly."""

    def __init__(self, place: Place, scenario: Any) -> None:
        self.market: Market = place.world(scenario).market
        self.symbol = place.venue_symbol(place.symbols[0])

    def trades(self, close_ns: int) -> list[Any]:
        return self.market.trades_between(self.symbol, close_ns - NS_PER_MINUTE, close_ns)

    def at(self, sequence: int) -> None:
        """Go to when the book was at this update, which counts milliseconds."""
        self.market.seek(self.market.now_ns + (sequence - self.market.update_id(self.symbol)) * NS_PER_MS)

    def at_last_trade(self, close_ns: int) -> None:
        """What is pushed is pushed with a trade."""
        self.market.seek(self.trades(close_ns)[-1].time_ns)


def everything(strategy: Any) -> tuple[Any, ...]:
    market = strategy.data.market
    close_ns = from_ms(int(strategy.data.ts_ms[0])) + NS_PER_MINUTE
    return close_ns, strategy.data.is_live, market.quote, market.book, market.trades(), market.conflated


@on_places_everywhere
def test_what_next_reads_is_what_the_venue_said_up_to_that_bar(place: Place) -> None:
    scenario = world(minutes=12)
    truth = Truth(place, scenario)

    strategy = run(place, scenario, everything, {**ALL, "backfill": 3})

    history = [row for row in strategy.read if not row[1]]
    live = [row for row in strategy.read if row[1]]
    assert len(history) == 3
    assert len(live) >= 10
    assert all(row[2:5] == (None, None, ()) for row in history)  # a bar of the past is not told its future
    for close_ns, _, quote, book, trades, _ in live:
        pushed = truth.trades(close_ns)
        truth.at_last_trade(close_ns)
        best = truth.market.quote(truth.symbol)
        assert (quote.bid_price, quote.ask_price) == (best.bid_price, best.ask_price)
        assert quote.sequence == truth.market.update_id(truth.symbol)
        there = truth.market.book(truth.symbol, depth=20)
        assert (book.bids, book.asks, book.sequence) == (there.bids, there.asks, there.sequence)
        assert book.time_ns == pushed[-1].time_ns
        assert [(place.number(each), each.price, each.time_ns) for each in trades] == [
            (each.trade_id, each.price, each.time_ns) for each in pushed
        ]
        assert {each.side for each in trades} <= {Side.BUY, Side.SELL}
    updates = sum(len(truth.trades(row[0])) for row in live)
    assert live[-1][5].quotes == 1 + updates - len(live)  # the first one was asked for; of each bar one was read
    assert live[-1][5].trades == 0
    assert strategy.data.market.missed == 0


@on_places
def test_the_same_seed_reads_the_same_market_whichever_socket_is_faster(place: Place) -> None:
    first = run(place, world(minutes=6), everything, ALL).read

    assert run(place, world(minutes=6), everything, ALL).read == first


def test_clones_read_the_market_of_the_data_they_follow() -> None:
    def resample(cerebro: Any, feed: Any) -> None:
        cerebro.resampledata(feed, timeframe=bt.TimeFrame.Minutes, compression=5)

    def read(strategy: Any) -> Any:
        return [data.market for data in strategy.datas]

    strategy = run(BINANCE_SPOT, world(minutes=6), read, ALL, arrange=resample)

    assert len(strategy.datas) == 2
    assert all(one is other is strategy.data.market for one, other in strategy.read)


def wants(strategy: Any) -> set[str]:
    """Return what the simulator says is subscribed on its market sockets, without bars and marks."""
    unasked = ("kline", "tickers", "markPrice")  # what bars and positions on margin want by themselves
    sockets = strategy.data.store.session._ask_simulator("sockets")["sockets"]
    market = [socket for socket in sockets if socket["where"] == "market_stream"]
    return {name for socket in market for name in socket["subscriptions"] if not any(word in name for word in unasked)}


@on_places_and_linear
def test_what_is_asked_for_in_next_is_there_at_the_next_bar_and_the_venue_is_asked_no_longer_than_that(
    place: Place,
) -> None:
    seen: dict[int, Any] = {}

    def look(strategy: Any, *, until: int | None = None) -> None:
        deadline = time.monotonic() + 60.0
        seen[strategy.live_bars] = found = wants(strategy)
        while until is not None and len(found) > until and time.monotonic() < deadline:
            seen[strategy.live_bars] = found = wants(strategy)  # the market does not wait for what nobody wants

    def subscribe(strategy: Any) -> None:
        look(strategy)
        with pytest.raises(ConfigError, match=r"data.market.subscribe\('book'\)"):
            _ = strategy.data.market.book
        strategy.data.market.subscribe("book", depth=3)
        strategy.data.market.subscribe("quotes")
        strategy.data1.market.subscribe("book", depth=5)

    def deepen(strategy: Any) -> None:
        look(strategy)
        assert len(strategy.data.market.book.bids) == 3
        assert len(strategy.data1.market.book.bids) == 5
        assert strategy.data.market.quote is not None
        strategy.data.market.subscribe("book", depth=7)
        strategy.data.market.unsubscribe("quotes")

    def leave(strategy: Any) -> None:
        look(strategy, until=2)
        assert len(strategy.data.market.book.bids) == 7
        with pytest.raises(ConfigError, match="were not asked for"):
            _ = strategy.data.market.quote
        strategy.data.market.unsubscribe("book")
        strategy.data.market.unsubscribe("trades")  # which was never asked for

    steps = {2: subscribe, 3: deepen, 4: leave, 5: lambda strategy: look(strategy, until=1)}
    run(place, world(minutes=8), None, {}, {"dataname": place.symbols[1]}, steps=steps)

    book, other_book = (place.stream_of(Channel.BOOK, symbol) for symbol in place.symbols)
    assert seen == {
        2: set(),
        3: {book, place.stream_of(Channel.QUOTE, place.symbols[0]), other_book},
        4: {book, other_book},
        5: {other_book},
    }


def test_a_strategy_that_never_reads_costs_no_bar_and_no_fill_and_is_told_what_it_did_not_see() -> None:
    counts: list[Conflated] = []

    def at_end(strategy: Any) -> None:
        books_agree(strategy)
        counts.append(strategy.data.market.conflated)

    store = btx.load("binance", env="sim", scenario=world(minutes=200))
    buys = {n: (lambda s: s.buy(size=0.01)) for n in range(1, 50, 7)}
    datas = [{"dataname": "BTC/USDT", **ALL, "book": 500}]
    strategy = run_on(store, buys, datas=datas, at_end=at_end)

    opens = [open_ms for _, open_ms in strategy.seen]
    assert len(opens) >= 198
    assert {later - earlier for earlier, later in itertools.pairwise(opens)} == {60_000}
    assert strategy.position.size == pytest.approx(0.01 * len(buys) * 0.999)  # the fee is taken of the coin
    assert counts[0].quotes > 2_000
    assert counts[0].book > 2_000
    assert strategy.data.market.conflated.trades == counts[0].trades
    assert len(strategy.data.market._slots["trades"]._items) <= 10_000


@pytest.mark.slow
@on_places_and_inverse
def test_cut_and_spoilt_pushes_cost_no_bar_and_leave_a_market_that_is_true_or_none(place: Place) -> None:
    kinds = ((Kind.CUT, 40), (Kind.DUPLICATE, 130), (Kind.TRUNCATE, 190), (Kind.REORDER, 250), (Kind.CUT, 330))
    faults = tuple(Fault(kind=kind, where=Where.MARKET_STREAM, at=at) for kind, at in kinds)
    scenario = world(minutes=10, faults=script_to_json(FaultScript(faults=faults)))
    truth = Truth(place, scenario)

    strategy = run(place, scenario, everything, ALL)

    closes = [row[0] for row in strategy.read]
    assert closes == list(range(closes[0], closes[0] + 10 * NS_PER_MINUTE, NS_PER_MINUTE))
    for close_ns, is_live, quote, book, trades, _ in strategy.read:
        last = truth.trades(close_ns)[-1]
        if not is_live:
            assert (quote, book, trades) == (None, None, ())
            continue
        truth.at_last_trade(close_ns)
        best = truth.market.quote(truth.symbol)
        assert (quote.bid_price, quote.ask_price) == (best.bid_price, best.ask_price)
        assert book.sequence >= truth.market.update_id(truth.symbol)
        truth.at(book.sequence)
        there = truth.market.book(truth.symbol, depth=20)
        assert (book.bids, book.asks) == (there.bids, there.asks)
        assert not trades or place.number(trades[-1]) <= last.trade_id
    ids = [place.number(trade) for row in strategy.read for trade in row[4]]
    assert ids == list(range(ids[0], ids[-1] + 1))  # what was not pushed was fetched
    assert any(note.startswith(f"GAP: book of {place.symbols[0]}: ") for note in strategy.store_notes)
    assert f"SYNCED: book of {place.symbols[0]}" in strategy.store_notes
    assert strategy.data.market.missed == 0


@pytest.mark.slow
@on_places
def test_a_silent_book_beside_living_quotes_is_found_and_subscribed_anew(place: Place) -> None:
    timing = attrs.evolve(TIMING, patience=Patience(floor_s=0.5, ceiling_s=2.0))
    store = Wire(place=place, scenario=free_running(120.0), timing=timing).store()
    struck: list[int] = []
    name = place.stream_of(Channel.BOOK, place.symbols[0])
    deadline = time.monotonic() + 60.0

    def act(strategy: Any) -> None:
        book, quote = strategy.data.market.book, strategy.data.market.quote
        if not struck and book is not None and quote is not None:
            silence = {"kind": "silence", "where": "market_stream"}
            strategy.data.store.session._ask_simulator("strike", fault=silence, stream=name)
            struck.append(book.sequence)
        is_told = any(note.startswith("STALE: ") for note in strategy.store_notes)
        is_back = is_told and book is not None and quote is not None and book.sequence > struck[0] + 600_000
        if is_back or time.monotonic() > deadline:
            struck.append(abs(book.sequence - quote.sequence) if is_back else -1)
            strategy.env.runstop()

    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(store.getbroker())
    cerebro.adddata(store.getdata(place.symbols[0], timeframe="1m", quotes=True, book=5))
    cerebro.addstrategy(Reader, read=act)
    (strategy,) = cerebro.run()

    assert 0 <= struck[1] < 60_000  # they agree within a minute of this market again
    assert any(f"book of {place.symbols[0]}: the venue is at update" in note for note in strategy.store_notes)
    assert any(note.startswith(f"GAP: book of {place.symbols[0]}: ") for note in strategy.store_notes)
    assert f"SYNCED: book of {place.symbols[0]}" in strategy.store_notes


def test_money_is_exact_on_the_way_to_the_strategy() -> None:
    def spread(strategy: Any) -> Any:
        quote = strategy.data.market.quote
        return None if quote is None else quote.ask_price - quote.bid_price

    strategy = run(BINANCE_SPOT, world(minutes=4), spread, {"quotes": True})

    assert all(isinstance(each, Decimal) for each in strategy.read[1:])
