"""History by request: closed bars, whole and in order, and the market as it stands."""

import itertools
from collections.abc import Sequence
from decimal import Decimal

from btx.model.market import Bar
from btx.model.time import NS_PER_HOUR, NS_PER_MINUTE, Interval
from btx.model.venue import Channel
from btx.rules.calendar import bars_back
from btx.testing import needs
from btx.testing.bench import Bench
from btx.testing.card import expect, ports_card, skip
from btx.testing.sizes import shortest_minutes

__all__ = ()

_BARS = (needs.channel(Channel.BAR), needs.flag("history"))
_TRADES = needs.channel(Channel.TRADE)
_BOOK = needs.channel(Channel.BOOK)
_SPAN_NS = 3 * NS_PER_HOUR
_ROWS = 50
_HOUR = Interval.parse("1h")


async def _page(bench: Bench, start_ns: int, end_ns: int, interval: Interval | None = None) -> Sequence[Bar]:
    interval = interval or shortest_minutes(bench.can.intervals)
    return await bench.feed.bars(instrument=bench.instrument, interval=interval, start_ns=start_ns, end_ns=end_ns)


def _since(bench: Bench) -> int:
    """Return where the last hours of trading begin."""
    calendar = bench.venue.calendar(bench.instrument)
    return bars_back(calendar, _HOUR, bench.time.market, _SPAN_NS // NS_PER_HOUR)


async def _walk(bench: Bench, start_ns: int, end_ns: int) -> list[Bar]:
    """Read a range page by page, each from the last close on, as the core does."""
    found: list[Bar] = []
    while page := await _page(bench, found[-1].close_ns if found else start_ns, end_ns):
        found.extend(page)
        expect(len(found) <= _SPAN_NS // NS_PER_MINUTE, "expected pages to come to an end, and they go on for ever")
    return found


def _told(bars: Sequence[Bar]) -> list[tuple[int, Decimal, Decimal, Decimal, Decimal, Decimal]]:
    return [(bar.open_ns, bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in bars]


@ports_card("HIS-01", "A page of bars is in order, oldest first, and each is closed", hint="Feed.bars", needs=_BARS)
async def _order(bench: Bench) -> None:
    page = await _page(bench, _since(bench), bench.time.market)
    expect(bool(page), f"expected bars of the last {_SPAN_NS // NS_PER_HOUR} hours, and the page is empty")
    opens = [bar.open_ns for bar in page]
    expect(opens == sorted(set(opens)), "expected bars oldest first and each once, and they are not")
    expect(all(bar.is_closed for bar in page), "expected closed bars alone in history, and one is not")
    expect({bar.symbol for bar in page} == {bench.symbol}, f"expected bars of {bench.symbol} alone")


@ports_card(
    "HIS-02",
    "Bars open within what was asked for: the start belongs to it, the end does not",
    hint="Feed.bars",
    needs=_BARS,
)
async def _bounds(bench: Bench) -> None:
    every = await _page(bench, _since(bench), bench.time.market)
    expect(len(every) >= 5, f"expected some bars of history, and there are {len(every)}")
    first, last = every[1], every[4]
    part = await _page(bench, first.open_ns, last.open_ns)
    expect(_told(part) == _told(every[1:4]), f"expected the 3 bars in [start, end), and there are {len(part)}")


@ports_card(
    "HIS-03",
    "History page by page is what the simulator's market did: nothing is missing, doubled or altered",
    hint="Feed.bars and its paging",
    needs=_BARS,
)
async def _whole(bench: Bench) -> None:
    end_ns = bench.time.market
    found = await _walk(bench, _since(bench), end_ns)
    truth = await bench.truth(shortest_minutes(bench.can.intervals), _since(bench), end_ns)
    expect(len(found) == len(truth), f"expected {len(truth)} bars, and there are {len(found)}")
    for bar, row in zip(_told(found), truth, strict=True):
        expect(bar == row, f"expected the bar {row}, and it is {bar}")


@ports_card(
    "HIS-04",
    "The bar that still forms is not in history",
    hint="Feed.bars: leave out what has not closed",
    needs=_BARS,
)
async def _forming(bench: Bench) -> None:
    interval = max(
        (each for each in bench.can.intervals if each.nominal_ns <= NS_PER_HOUR), key=lambda each: each.nominal_ns
    )
    await bench.advance()
    now_ns = bench.time.market
    page = await _page(bench, now_ns - _SPAN_NS, now_ns + _SPAN_NS, interval)
    late = [bar for bar in page if bar.close_ns > now_ns]
    expect(not late, f"expected bars of {interval} that closed by now, and {len(late)} close later")


@ports_card(
    "HIS-05", "Where there are no bars the page is empty", hint="Feed.bars: an empty page, and no error", needs=_BARS
)
async def _empty(bench: Bench) -> None:
    page = await _page(bench, bench.time.market + 48 * NS_PER_HOUR, bench.time.market + 49 * NS_PER_HOUR)
    expect(not page, f"expected no bars of a time to come, and there are {len(page)}")


@ports_card(
    "HIS-06",
    "Bars of every declared interval open and close where its grid says",
    hint="Feed.bars and Capabilities.intervals",
    needs=_BARS,
)
async def _intervals(bench: Bench) -> None:
    has_hours = bool(bench.venue.calendar(bench.instrument).hours)
    for interval in bench.can.intervals:
        if not interval.is_timed or interval.nominal_ns > NS_PER_HOUR:
            continue
        page = await _page(bench, _since(bench), bench.time.market, interval)
        expect(bool(page), f"expected bars of {interval}, and the page is empty")
        for bar in page:
            expect(bar.interval == interval, f"expected bars of {interval}, and one is of {bar.interval}")
            if not has_hours:  # a session may end in the middle of a longer bar
                grid = (interval.open_of(bar.open_ns), interval.close_of(bar.open_ns))
                found = (bar.open_ns, bar.close_ns)
                expect(found == grid, f"expected a bar of {interval} that opens and closes at {grid}, not at {found}")


@ports_card(
    "HIS-07",
    "Every bar makes sense: its range holds open and close, on the price grid, in exact decimals",
    hint="how a row is read",
    needs=_BARS,
)
async def _sane(bench: Bench) -> None:
    for bar in await _page(bench, bench.time.market - NS_PER_HOUR, bench.time.market):
        expect(bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high, f"expected a range: {bar}")
        expect(bar.volume >= 0, f"expected a volume of zero or more, and it is {bar.volume}")
        prices = (bar.open, bar.high, bar.low, bar.close)
        expect(not any(each % bench.instrument.tick_size for each in prices), f"expected prices on the grid: {prices}")
        expect(all(isinstance(each, Decimal) for each in (*prices, bar.volume)), f"expected exact decimals: {prices}")


@ports_card("HIS-08", "The last price is that of the newest bar's end", hint="Feed.last_price", needs=_BARS)
async def _last(bench: Bench) -> None:
    await bench.advance()
    (*_, newest) = await _page(bench, bench.time.market - NS_PER_HOUR, bench.time.market)
    last = await bench.price()
    expect(
        newest.low <= last <= newest.high, f"expected a price between {newest.low} and {newest.high}, and it is {last}"
    )


@ports_card(
    "HIS-09", "Public trades come oldest first, each once, with ids that go up", hint="Feed.trades", needs=(_TRADES,)
)
async def _trades(bench: Bench) -> None:
    await bench.advance(2)
    page = await bench.feed.trades(instrument=bench.instrument)
    expect(bool(page), "expected the newest public trades, and there are none")
    times = [each.time_ns for each in page]
    expect(times == sorted(times), "expected trades oldest first, and they are not")
    expect(len({each.trade_id for each in page}) == len(page), "expected each trade once, and one is there twice")
    if bench.can.trade_ids_dense:
        numbers = [int(each.trade_id) for each in page]
        expect(
            numbers == list(range(numbers[0], numbers[0] + len(numbers))),
            "expected dense trade ids, and there is a hole",
        )


@ports_card("HIS-10", "Public trades can be asked for from a time on", hint="Feed.trades(start_ns=)", needs=(_TRADES,))
async def _trades_from(bench: Bench) -> None:
    await bench.advance(2)
    start_ns = bench.time.market - 2 * NS_PER_MINUTE
    page = await bench.feed.trades(instrument=bench.instrument, start_ns=start_ns)
    expect(bool(page), "expected trades of the last two minutes, and there are none")
    early = [each for each in page if each.time_ns < start_ns]
    expect(not early, f"expected no trade before the time that was asked for, and there are {len(early)}")


@ports_card(
    "HIS-11",
    "The order book is sorted best first, not crossed, and as deep as was asked for",
    hint="Feed.book",
    needs=(_BOOK,),
)
async def _book(bench: Bench) -> None:
    for depth in (5, 20):
        book = await bench.feed.book(instrument=bench.instrument, depth=depth)
        expect(0 < len(book.bids) <= depth, f"expected up to {depth} bids, and there are {len(book.bids)}")
        expect(0 < len(book.asks) <= depth, f"expected up to {depth} asks, and there are {len(book.asks)}")
        bids, asks = [each[0] for each in book.bids], [each[0] for each in book.asks]
        expect(bids == sorted(set(bids), reverse=True), f"expected bids from the best down, and they are {bids}")
        expect(asks == sorted(set(asks)), f"expected asks from the best up, and they are {asks}")
        expect(bids[0] < asks[0], f"expected a bid below the ask, and they are {bids[0]} and {asks[0]}")


@ports_card(
    "HIS-12",
    "History is told in UTC, whatever the clock of this machine says",
    hint="time stamps: no local time",
    needs=_BARS,
)
async def _zones(bench: Bench) -> None:
    from btx.testing.zones import zone

    before = await _page(bench, bench.time.market - NS_PER_HOUR, bench.time.market)
    with zone("Asia/Tokyo"):
        after = await _page(bench, bench.time.market - NS_PER_HOUR, bench.time.market)
    expect(_told(before) == _told(after), "expected the same bars when the machine is in Tokyo, and they moved")


@ports_card(
    "HIS-13",
    "The mark price stands near the last price, with its next funding ahead",
    hint="MarginFeed.mark_price",
    needs=(needs.margined, needs.channel(Channel.MARK)),
)
async def _mark(bench: Bench) -> None:
    mark, last = await bench.margin_feed.mark_price(instrument=bench.instrument), await bench.price()
    expect(
        abs(mark.mark_price / last - 1) < Decimal("0.1"), f"expected a mark near {last}, and it is {mark.mark_price}"
    )
    if mark.next_funding_ns is not None:
        ahead_h = (mark.next_funding_ns - bench.time.market) / NS_PER_HOUR
        expect(0 <= ahead_h <= 24, f"expected the next funding within a day, and it is {ahead_h:.1f} hours ahead")


@ports_card(
    "HIS-14",
    "Past funding rates come oldest first, within what was asked for",
    hint="MarginFeed.funding_rates",
    needs=(needs.margined, needs.channel(Channel.MARK)),
)
async def _funding(bench: Bench) -> None:
    if bench.instrument.delivery_ns is not None:
        skip(f"{bench.symbol} is delivered and has no funding")
    start_ns, end_ns = bench.time.market - 48 * NS_PER_HOUR, bench.time.market
    page = await bench.margin_feed.funding_rates(instrument=bench.instrument, start_ns=start_ns, end_ns=end_ns)
    times = [each.time_ns for each in page]
    expect(times == sorted(set(times)), "expected rates oldest first and each once, and they are not")
    expect(all(start_ns <= each < end_ns for each in times), "expected rates within what was asked for")
    for low, high in itertools.pairwise(times):
        expect(high - low >= NS_PER_HOUR, f"expected an hour or more between fundings, and there are {high - low} ns")
