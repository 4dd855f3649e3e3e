"""History of USD-M and COIN-M against a small server that speaks documented answers."""

from decimal import Decimal
from typing import Any

import pytest

from btx.errors import NotSupportedError
from btx.model.market import Bar
from btx.model.order import Side
from btx.model.time import NS_PER_MINUTE, Interval, to_ms
from btx.ports import Context
from btx_binance.futures.feed import FuturesFeed
from tests.unit.binance.futures_rig import API, COINM, MARKETS, USDM
from tests.unit.binance.loopback import ManualClock
from tests.unit.binance.test_futures_store import run
from tests.unit.binance.test_rest import Venue

_MARKETS = pytest.mark.parametrize("market", ["usdm", "coinm"])
_MINUTE = Interval.parse("1m")
_NOW_NS = ManualClock().market
_NOW_MS = _NOW_NS // 1_000_000
_DAY_MS = 86_400_000


def _kline(open_ms: int) -> list[Any]:
    return [
        *(open_ms, "9640.7", "9642.4", "9640.6", "9642.0", "206", open_ms + 59_999, "2.13660389", 48),
        *("119", "1.23424865", "0"),
    ]


@_MARKETS
def test_bars_are_closed_ones_and_those_of_coin_m_count_contracts(market: str) -> None:
    start_ms = _NOW_MS // 60_000 * 60_000 - 60_000
    venue = Venue({f"GET {API[market]}/klines": [_kline(start_ms), _kline(start_ms + 60_000)]})

    async def ask(context: Context) -> tuple[Bar, ...]:
        feed, start_ns = FuturesFeed(context), start_ms * 1_000_000
        return tuple(await feed.bars(instrument=MARKETS[market], interval=_MINUTE, start_ns=start_ns, end_ns=_NOW_NS))

    (bar,) = run(venue, ask, market)

    assert (bar.symbol, bar.volume, bar.trades) == (MARKETS[market].symbol, Decimal(206), 48)
    assert bar.quote_volume == (Decimal("2.13660389") if market == "usdm" else None)
    assert bar.close_ns == bar.open_ns + NS_PER_MINUTE


def _newest_of(first_ms: int, length_ms: int) -> Venue:
    """Serve COIN-M's klines by its rules: at most 200 days, and of them the newest."""

    def klines(asked: dict[str, str]) -> Any:
        start, end, limit = int(asked["startTime"]), int(asked["endTime"]), int(asked["limit"])
        assert end - start <= 200 * _DAY_MS
        first = max(-(-start // length_ms) * length_ms, first_ms)
        opens = range(first, min(end, _NOW_MS) + 1, length_ms)
        return [_kline(open_ms) for open_ms in opens[-limit:]]

    return Venue({"GET /dapi/v1/klines": klines})


@pytest.mark.parametrize(("text", "length_ms", "years"), [("1m", 60_000, 3), ("1d", _DAY_MS, 5), ("4h", 14_400_000, 1)])
def test_the_oldest_page_comes_first_where_the_venue_would_give_the_newest(
    text: str, length_ms: int, years: int
) -> None:
    start_ms = (_NOW_MS - years * 365 * _DAY_MS) // length_ms * length_ms
    first_ms = (_NOW_MS - 100 * _DAY_MS) // length_ms * length_ms  # listed long after what is asked for
    venue = _newest_of(first_ms, length_ms)

    async def ask(context: Context) -> tuple[Bar, ...]:
        feed, interval = FuturesFeed(context), Interval.parse(text)
        from_ns = start_ms * 1_000_000
        return tuple(await feed.bars(instrument=COINM, interval=interval, start_ns=from_ns, end_ns=_NOW_NS))

    bars = run(venue, ask, "coinm")

    opens = [to_ms(bar.open_ns) for bar in bars]
    assert opens[0] == first_ms
    assert opens == list(range(first_ms, opens[-1] + 1, length_ms))
    assert len(venue.requests) < 40


def test_no_bars_at_all_are_an_empty_page() -> None:
    venue = _newest_of(_NOW_MS + _DAY_MS, 60_000)

    async def ask(context: Context) -> tuple[Any, Any]:
        feed, year_ns = FuturesFeed(context), 365 * _DAY_MS * 1_000_000
        span = {"instrument": COINM, "interval": _MINUTE}
        none = await feed.bars(**span, start_ns=_NOW_NS - year_ns, end_ns=_NOW_NS)
        return none, await feed.bars(**span, start_ns=_NOW_NS, end_ns=_NOW_NS)

    assert run(venue, ask, "coinm") == ((), ())


@_MARKETS
def test_trades_are_asked_for_by_id_or_by_time(market: str) -> None:
    row = {"a": 416690, "p": "9642.4", "q": "3", "f": 595259, "l": 595259, "T": 1591250548649, "m": False, "nq": "1"}
    venue = Venue({f"GET {API[market]}/aggTrades": [row]})

    async def ask(context: Context) -> Any:
        feed, plain = FuturesFeed(context), MARKETS[market].symbol.partition(":")[0]
        await feed.trades(instrument=MARKETS[market], start_ns=1_500_001)
        (trade,) = await feed.trades(instrument=MARKETS[market], start_id=416690)
        return trade, await feed.last_price(symbol=plain)

    trade, last = run(venue, ask, market)

    assert (trade.trade_id, trade.price, trade.quantity, trade.side) == (
        *(416690, Decimal("9642.4"), Decimal(3)),
        Side.BUY,
    )
    name = MARKETS[market].venue_symbol
    assert [venue.fields(index) for index in range(3)] == [
        {"symbol": name, "limit": "1000", "startTime": "2"},
        {"symbol": name, "limit": "1000", "fromId": "416690"},
        {"symbol": name, "limit": "1"},
    ]
    assert last is not None
    assert last.price == trade.price


def test_a_book_is_asked_for_with_a_number_the_venue_has_and_cut_to_what_was_wanted() -> None:
    levels = [[str(100 - number), "1"] for number in range(10)]
    venue = Venue({"GET /fapi/v1/depth": {"lastUpdateId": 7, "E": 1, "T": 1, "bids": levels, "asks": levels}})

    async def ask(context: Context) -> Any:
        feed = FuturesFeed(context)
        with pytest.raises(NotSupportedError, match="ask for 1000 at most"):
            await feed.book(instrument=USDM, depth=1001)
        return await feed.book(instrument=USDM, depth=7)

    book = run(venue, ask)

    assert venue.fields() == {"symbol": "BTCUSDT", "limit": "10"}
    assert (book.sequence, len(book.bids), len(book.asks)) == (7, 7, 7)


@_MARKETS
def test_a_mark_price_is_told_with_the_next_funding(market: str) -> None:
    row = {
        "symbol": MARKETS[market].venue_symbol, "markPrice": "11029.69574559", "indexPrice": "10979.14437500",
        "estimatedSettlePrice": "1", "lastFundingRate": "-0.00071003", "nextFundingTime": 1596096000000, "time": 5,
    }  # fmt: skip
    dated = {**row, "lastFundingRate": "", "nextFundingTime": 0}
    answers = iter([row, dated] if market == "usdm" else [[row], [dated]])
    venue = Venue({f"GET {API[market]}/premiumIndex": lambda _asked: next(answers)})

    async def ask(context: Context) -> Any:
        feed = FuturesFeed(context)
        return [await feed.mark_price(instrument=MARKETS[market]) for _ in range(2)]

    mark, delivery = run(venue, ask, market)

    assert (mark.mark_price, mark.funding_rate, mark.time_ns) == (
        *(Decimal("11029.69574559"), Decimal("-0.00071003")),
        5_000_000,
    )
    assert mark.next_funding_ns == 1596096000000 * 1_000_000
    assert (delivery.funding_rate, delivery.next_funding_ns) == (None, None)


@_MARKETS
def test_funding_rates_are_a_page_of_what_was_settled(market: str) -> None:
    rows = [
        {"symbol": "x", "fundingTime": 1698768000017, "fundingRate": "0.00010000", "markPrice": ""},
        {"symbol": "x", "fundingTime": 1698796800000, "fundingRate": "-0.0003", "markPrice": "34651.4"},
    ]
    venue = Venue({f"GET {API[market]}/fundingRate": rows})

    async def ask(context: Context) -> Any:
        feed, span = FuturesFeed(context), {"instrument": MARKETS[market]}
        none = await feed.funding_rates(**span, start_ns=5, end_ns=5)
        return none, await feed.funding_rates(**span, start_ns=1_500_001, end_ns=9_000_000)

    none, (old, new) = run(venue, ask, market)

    assert none == ()
    assert (old.rate, old.mark_price, old.time_ns) == (Decimal("0.0001"), None, 1698768000017 * 1_000_000)
    assert (new.rate, new.mark_price) == (Decimal("-0.0003"), Decimal("34651.4"))
    name = MARKETS[market].venue_symbol
    assert venue.fields() == {"symbol": name, "startTime": "2", "endTime": "8", "limit": "1000"}
