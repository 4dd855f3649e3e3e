"""Streams of the market: whole, in order, and changed while they stand."""

import functools
from decimal import Decimal
from typing import Any

from btx.errors import TransportError
from btx.model.market import Bar, BookDelta, Quote, Trade
from btx.model.time import NS_PER_HOUR, NS_PER_MINUTE, Interval
from btx.model.venue import Channel, StreamState, StreamStatus, Subscription
from btx.rules import book as book_rules
from btx.runtime.wishes import Wishes
from btx.testing import needs
from btx.testing.bench import Bench
from btx.testing.card import expect, ports_card, skip
from btx.testing.hearing import Heard
from btx.testing.worlds import running

__all__ = ()

_BARS = (needs.channel(Channel.BAR),)
_CLOSED = (*_BARS, needs.flag("closes_bars"))
_TRADES = needs.channel(Channel.TRADE)
_MINUTES = 4
_RUNNING = 8  # bars of a market that runs: a second


async def _closed(bench: Bench, heard: Heard, subscription: Subscription, count: int) -> list[Bar]:
    """Let the market step until so many bars of a subscription were told as closed."""
    assert subscription.instrument is not None
    symbol = subscription.instrument.symbol
    # Without history bars are made of ticks, so those that formed before the ticks came are not whole.
    since_ns = 0 if bench.can.history else bench.time.market + NS_PER_MINUTE

    def found() -> list[Bar]:
        return [bar for bar in heard.of(Bar) if bar.is_closed and bar.symbol == symbol and bar.open_ns > since_ns]

    for _ in range(12 * count):
        if len(found()) >= count:
            break
        await bench.advance()
        await bench.ask("sync")
    await heard.until(lambda: len(found()) >= count, f"{count} closed bars of {symbol}")
    return found()


def _interval(subscription: Subscription) -> Interval:
    assert subscription.interval is not None
    return subscription.interval


@ports_card(
    "STR-01",
    "A connection says first which subscriptions stand, then it pushes",
    hint="StreamState.SUBSCRIBED",
    needs=_BARS,
)
async def _subscribed(bench: Bench) -> None:
    wanted = bench.subscription(Channel.BAR)
    heard = await bench.listen(wanted)
    first = heard.events[0]
    expect(isinstance(first, StreamStatus), f"expected StreamStatus SUBSCRIBED first, and {type(first).__name__} came")
    assert isinstance(first, StreamStatus)
    expect(wanted in first.subscriptions, "expected the subscription among those that SUBSCRIBED names, and it is not")
    await bench.hang_up(heard)


@ports_card(
    "STR-02",
    "Each bar is told as closed once, in order, and as the market made it",
    hint="is_closed of a pushed bar",
    needs=_CLOSED,
)
async def _bars(bench: Bench) -> None:
    wanted = bench.subscription(Channel.BAR)
    heard = await bench.listen(wanted)
    bars = await _closed(bench, heard, wanted, _MINUTES)
    opens = [bar.open_ns for bar in bars]
    expect(opens == sorted(set(opens)), "expected each bar closed once and in order, and they are not")
    rows = await bench.truth(_interval(wanted), opens[0], opens[-1] + 1)
    told = [(bar.open_ns, bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in bars]
    expect(told == rows, f"expected the {len(rows)} bars that the market made, and the stream told others: {told[:2]}")
    await bench.hang_up(heard)


@ports_card(
    "STR-03",
    "No bar is told as closed before it is over",
    hint="is_closed: by the venue's word, not by a guess",
    needs=_CLOSED,
)
async def _not_early(bench: Bench) -> None:
    wanted = bench.subscription(Channel.BAR)
    heard = await bench.listen(wanted)
    for _ in range(_MINUTES):
        await bench.advance()
        await bench.ask("sync")
        now_ns = bench.time.market
        await bench.store.account()  # what the step made is on the wire before this is answered
        early = [bar for bar in heard.of(Bar) if bar.is_closed and bar.close_ns > now_ns]
        expect(not early, f"expected no closed bar before its end, and {len(early)} were told {now_ns} before it")
    await bench.hang_up(heard)


@ports_card(
    "STR-04",
    "Public trades come in order, each once, and none is left out where ids are dense",
    hint="pushed trades",
    needs=(_TRADES,),
)
async def _trades(bench: Bench) -> None:
    heard = await bench.listen(bench.subscription(Channel.TRADE))
    await bench.advance(2)
    await bench.ask("sync")
    await heard.until(lambda: len(heard.of(Trade)) > 2, "public trades")
    trades = heard.of(Trade)
    ids = [each.trade_id for each in trades]
    expect(len(set(ids)) == len(ids), "expected each trade once, and one came twice")
    times = [each.time_ns for each in trades]
    expect(times == sorted(times), "expected trades in the order of their times, and they are not")
    if bench.can.trade_ids_dense:
        numbers = [int(each) for each in ids]
        expect(numbers == list(range(numbers[0], numbers[0] + len(numbers))), "expected dense ids, and there is a hole")
    await bench.hang_up(heard)


@ports_card(
    "STR-05",
    "Pushed trades are those that can be asked for",
    hint="trade ids: the same by push and by request",
    needs=(_TRADES,),
)
async def _same_trades(bench: Bench) -> None:
    heard = await bench.listen(bench.subscription(Channel.TRADE))
    await bench.advance(1)
    await bench.ask("sync")
    await heard.until(lambda: len(heard.of(Trade)) > 2, "public trades")
    asked = {each.trade_id: each for each in await bench.feed.trades(instrument=bench.instrument)}
    both = [each for each in heard.of(Trade) if each.trade_id in asked]
    expect(bool(both), "expected ids of pushed trades among those that Feed.trades gives, and there are none")
    for each in both:
        there = asked[each.trade_id]
        expect((each.price, each.quantity) == (there.price, there.quantity), f"expected {there}, and {each} was pushed")
    await bench.hang_up(heard)


@ports_card("STR-06", "A quote has its bid below its ask", hint="pushed quotes", needs=(needs.channel(Channel.QUOTE),))
async def _quotes(bench: Bench) -> None:
    heard = await bench.listen(bench.subscription(Channel.QUOTE))
    await bench.advance(2)
    await bench.ask("sync")
    await heard.until(lambda: heard.of(Quote), "a quote")
    for each in heard.of(Quote):
        expect(each.bid_price < each.ask_price, f"expected a bid below the ask, and it is {each}")
        expect(each.bid_quantity > 0 and each.ask_quantity > 0, f"expected something on both sides, and it is {each}")
    numbers = [each.sequence for each in heard.of(Quote) if each.sequence is not None]
    expect(numbers == sorted(numbers), "expected the sequence of quotes to go up, and it does not")
    await bench.hang_up(heard)


@ports_card(
    "STR-07",
    "A book's snapshot and its pushed changes fit without a hole, and make the venue's own book",
    hint="sequence numbers of BookSnapshot and BookDelta",
    needs=(needs.channel(Channel.BOOK),),
)
async def _book(bench: Bench) -> None:
    heard = await bench.listen(bench.subscription(Channel.BOOK))
    snapshot = await bench.feed.book(instrument=bench.instrument, depth=1000)
    await bench.advance(2)
    await bench.ask("sync")
    end = await bench.feed.book(instrument=bench.instrument, depth=1000)
    await bench.advance()  # changes are pushed in bundles: the last of them with the next step
    await heard.until(
        lambda: any(each.last_sequence >= end.sequence for each in heard.of(BookDelta)), "the changes of the book"
    )
    book = book_rules.start(snapshot)
    for delta in heard.of(BookDelta):
        book = book_rules.apply(book, delta)  # raises at a gap
        expect(not book_rules.is_crossed(book), "expected a book that is not crossed, and it is")
        if delta.last_sequence == end.sequence:
            best = (book_rules.best_bid(book), book_rules.best_ask(book))
            expect(
                best == (end.bids[0], end.asks[0]), f"expected {end.bids[0]} and {end.asks[0]}, and it came to {best}"
            )
    await bench.hang_up(heard)


@ports_card(
    "STR-08",
    "What is wanted in addition comes over the connection that stands, and it says so",
    hint="Wanted.changed in Stream.run",
    needs=(*_CLOSED, _TRADES),
)
async def _more(bench: Bench) -> None:
    bars, trades = bench.subscription(Channel.BAR), bench.subscription(Channel.TRADE)
    wishes = Wishes([bars])
    heard = await bench.listen(wishes=wishes)
    wishes.set([bars, trades])
    await heard.until(lambda: _stands(heard, trades), "SUBSCRIBED with the new subscription")
    found = await _closed(bench, heard, bars, 2)
    await heard.until(lambda: heard.of(Trade), "trades, wanted later")
    opens = [bar.open_ns for bar in found]
    expect(opens == sorted(set(opens)), "expected the bars to go on undisturbed, and they did not")
    await bench.hang_up(heard)


@ports_card(
    "STR-09",
    "What is not wanted any more ends, and the rest goes on",
    hint="Wanted.changed in Stream.run",
    needs=(*_CLOSED, _TRADES),
)
async def _less(bench: Bench) -> None:
    bars, trades = bench.subscription(Channel.BAR), bench.subscription(Channel.TRADE)
    wishes = Wishes([bars, trades])
    heard = await bench.listen(wishes=wishes)
    wishes.set([bars])
    await heard.until(lambda: not _stands(heard, trades), "SUBSCRIBED without what is not wanted any more")
    before = len(heard.of(Trade))
    await _closed(bench, heard, bars, 2)
    expect(len(heard.of(Trade)) == before, "expected no trades when they are not wanted any more, and they came")
    await bench.hang_up(heard)


def _stands(heard: Heard, subscription: Subscription) -> bool:
    told = [each for each in heard.of(StreamStatus) if each.state is StreamState.SUBSCRIBED]
    return subscription in told[-1].subscriptions


@ports_card(
    "STR-10", "Two instruments on one connection are not mixed", hint="which instrument a frame is of", needs=_CLOSED
)
async def _two(bench: Bench) -> None:
    if not bench.other:
        skip("the simulator lists one instrument alone")
    one, two = bench.subscription(Channel.BAR), bench.subscription(Channel.BAR, bench.other)
    heard = await bench.listen(one, two)
    for subscription in (one, two):
        assert subscription.instrument is not None
        bars = await _closed(bench, heard, subscription, 2)
        symbol, start_ns, end_ns = subscription.instrument.symbol, bars[0].open_ns, bars[-1].open_ns + 1
        truth = await bench.truth(_interval(subscription), start_ns, end_ns, symbol)
        told = [(bar.open_ns, bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in bars]
        expect(told == truth, f"expected the bars of {symbol}, and others came under its name")
    await bench.hang_up(heard)


@ports_card(
    "STR-11",
    "A connection that is cut raises TransportError, and the adapter does not dial again",
    hint="Stream.run is ONE connection: redialling is the core's",
    needs=_BARS,
    alone=True,
)
async def _cut(bench: Bench) -> None:
    heard = await bench.listen(bench.subscription(Channel.BAR))
    before = await bench.sockets()
    await bench.faults({"kind": "cut", "where": "market_stream"})
    await bench.advance(2)
    error = await bench.end_of(heard)
    expect(isinstance(error, TransportError), f"expected TransportError from Stream.run, and it ended with {error!r}")
    after = await bench.sockets()
    expect(
        after["dials"] == before["dials"], "expected no new connection from the adapter itself, and it dialled again"
    )


@ports_card(
    "STR-12",
    "A connection that is not wanted any more leaves no socket",
    hint="what Stream.run closes when it is cancelled",
    needs=_BARS,
)
async def _gone(bench: Bench) -> None:
    before = await bench.sockets()
    heard = await bench.listen(bench.subscription(Channel.BAR))
    await bench.hang_up(heard)
    await bench.until_true(lambda now: now["open"] <= before["open"], bench.sockets, "the socket to be closed")


@ports_card(
    "STR-13",
    "An unreadable frame is told or ends the connection, and is never taken for data",
    hint="StreamState.FAULT, or TransportError",
    needs=_BARS,
    alone=True,
)
async def _garbage(bench: Bench) -> None:
    wanted = bench.subscription(Channel.BAR)
    heard = await bench.listen(wanted)
    task = bench.run_of(heard)
    await bench.faults({"kind": "truncate", "where": "market_stream", "count": 3})
    await bench.advance(2)
    await bench.ask("sync")
    task.add_done_callback(lambda _: heard.wake())

    def is_told() -> bool:
        return task.done() or any(each.state is not StreamState.SUBSCRIBED for each in heard.of(StreamStatus))

    await heard.until(is_told, "StreamState.FAULT or the end of the connection after unreadable frames")
    if task.done():
        error = await bench.end_of(heard)
        expect(isinstance(error, TransportError), f"expected TransportError, and Stream.run ended with {error!r}")


@ports_card(
    "STR-14",
    "Bars of a longer interval close once, when they are over",
    hint="bars of longer intervals",
    needs=_CLOSED,
)
async def _longer(bench: Bench) -> None:
    longer = [each for each in bench.can.intervals if NS_PER_HOUR // 20 <= each.nominal_ns <= NS_PER_HOUR // 12]
    if not longer:
        skip("the market declares no interval of three to five minutes")
    wanted = bench.subscription(Channel.BAR, interval=longer[-1])
    heard = await bench.listen(wanted)
    bars = await _closed(bench, heard, wanted, 2)
    rows = await bench.truth(longer[-1], bars[0].open_ns, bars[-1].open_ns + 1)
    told = [(bar.open_ns, bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in bars]
    expect(told == rows, f"expected the bars of {longer[-1]} that the market made, and the stream told {told}")
    await bench.hang_up(heard)


@ports_card(
    "STR-15",
    "The mark price is pushed, with the funding to come",
    hint="pushed mark prices",
    needs=(needs.margined, needs.channel(Channel.MARK)),
)
async def _marks(bench: Bench) -> None:
    from btx.model.derivatives import MarkPrice

    heard = await bench.listen(bench.subscription(Channel.MARK))
    await bench.advance(2)
    await heard.until(lambda: heard.of(MarkPrice), "a mark price")
    told, last = heard.of(MarkPrice)[-1], await bench.price()
    expect(told.symbol == bench.symbol, f"expected a mark of {bench.symbol}, and it is of {told.symbol}")
    expect(
        abs(told.mark_price / last - 1) < Decimal("0.1"), f"expected a mark near {last}, and it is {told.mark_price}"
    )
    await bench.hang_up(heard)


@ports_card("STR-16", "Every kind of push that is declared comes over one connection", hint="Capabilities.channels")
async def _all(bench: Bench) -> None:
    kinds: dict[Channel, type[Any]] = {
        Channel.BAR: Bar,
        Channel.TRADE: Trade,
        Channel.QUOTE: Quote,
        Channel.BOOK: BookDelta,
    }
    declared = [each for each in kinds if each in bench.can.channels]
    if not declared:
        skip("the market declares no public channel")
    heard = await bench.listen(*(bench.subscription(each) for each in declared))
    await bench.advance(2)
    symbols = set()
    for each in declared:
        await heard.until(functools.partial(heard.of, kinds[each]), f"pushes of the declared channel {each.value}")
        symbols |= {event.symbol for event in heard.of(kinds[each])}
    expect(symbols == {bench.symbol}, f"expected pushes of {bench.symbol} alone, and they are of {symbols}")
    await bench.hang_up(heard)


@ports_card(
    "STR-17",
    "In a market that runs by itself a bar that still forms is not told as closed",
    hint="is_closed of a pushed bar: the venue's word for it",
    needs=_CLOSED,
    world=running,
)
async def _forms(bench: Bench) -> None:
    heard = await bench.listen(bench.subscription(Channel.BAR))
    await heard.until(lambda: len([bar for bar in heard.of(Bar) if bar.is_closed]) >= _RUNNING, "closed bars")
    opens = [bar.open_ns for bar in heard.of(Bar) if bar.is_closed]
    expect(opens == sorted(set(opens)), "expected each bar closed once and in order, and one was closed early")
    await bench.hang_up(heard)
