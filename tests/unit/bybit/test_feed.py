"""History against a server that answers as the documentation says."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from btx.errors import DataError, NotSupportedError, UnknownSymbolError
from btx.model.time import Interval, from_ms
from btx_bybit.feed import BybitFeed
from btx_bybit.limits import BOOK_DEPTHS
from tests.unit.bybit.rig import INVERSE, LINEAR, NOW_MS, SPOT, refusal, result, rows, venue

KLINE, TRADES, FUNDING = "/v5/market/kline", "/v5/market/recent-trade", "/v5/market/funding/history"
MINUTE = Interval.parse("1m")
DAY_MS = 86_400_000
NOW_NS = from_ms(NOW_MS)


def ask(replies: Any, what: Any, market: str = "linear", **changes: Any) -> tuple[Any, Any]:
    async def scene() -> tuple[Any, Any]:
        async with venue(replies, market, **changes) as (there, context):
            return await what(BybitFeed(context)), there

    return asyncio.run(scene())


def bar(open_ms: int) -> list[str]:
    return [str(open_ms), "10", "12", "9", "11", "5", "55"]


def trade(number: int) -> dict[str, Any]:
    return {"execId": f"t-{number}", "price": "60000", "size": "0.1", "side": "Sell", "time": str(NOW_MS + number)}


def test_bars_are_told_oldest_first_and_closed_ones_alone() -> None:
    opens = [NOW_MS - NOW_MS % 60_000 - minutes * 60_000 for minutes in (0, 1, 2)]
    start_ns = from_ms(opens[-1])
    found, there = ask(
        {KLINE: rows(*map(bar, opens))},  # type: ignore[arg-type] # lists, like the venue's
        lambda feed: feed.bars(instrument=LINEAR, interval=MINUTE, start_ns=start_ns, end_ns=NOW_NS),
    )

    assert [each.open_ns for each in found] == [from_ms(opens[2]), from_ms(opens[1])]
    assert found[0].quote_volume == 55
    (asked,) = there.of(KLINE)
    assert (asked["interval"], asked["start"], asked["end"]) == ("1", str(opens[2]), str(NOW_MS - 1))


def test_of_inverse_contracts_the_turnover_is_in_coins_and_is_not_told() -> None:
    open_ms = NOW_MS - DAY_MS - (NOW_MS - DAY_MS) % 60_000
    asked = {
        "instrument": INVERSE,
        "interval": MINUTE,
        "start_ns": from_ms(open_ms),
        "end_ns": from_ms(open_ms + 60_000),
    }
    (found,), _ = ask({KLINE: rows(bar(open_ms))}, lambda feed: feed.bars(**asked), "inverse")  # type: ignore[arg-type]

    assert found.quote_volume is None


def test_before_an_instrument_was_listed_its_first_bar_is_found_by_month_and_day() -> None:
    listed_ms = NOW_MS - NOW_MS % DAY_MS - 3 * DAY_MS
    month_ms = 1_748_736_000_000  # 2025-06-01
    replies = {KLINE: [rows(), rows(bar(month_ms)), rows(bar(listed_ms)), rows(bar(listed_ms))]}  # type: ignore[arg-type]
    start_ns = from_ms(NOW_MS - 400 * DAY_MS)
    found, there = ask(
        replies, lambda feed: feed.bars(instrument=LINEAR, interval=MINUTE, start_ns=start_ns, end_ns=NOW_NS)
    )

    assert [each.open_ns for each in found] == [from_ms(listed_ms)]
    assert [each["interval"] for each in there.of(KLINE)] == ["1", "M", "D", "1"]
    assert there.of(KLINE)[-1]["start"] == str(listed_ms)


def test_there_is_no_archive_of_bars_and_no_time_before_its_end() -> None:
    none, _ = ask({}, lambda feed: feed.archive(instrument=LINEAR, interval=MINUTE, year=2025, month=1))
    nothing, there = ask({}, lambda feed: feed.bars(instrument=LINEAR, interval=MINUTE, start_ns=NOW_NS, end_ns=NOW_NS))

    assert none is None
    assert (nothing, there.asked) == ((), [])


@pytest.mark.parametrize(("market", "instrument", "limit"), [("linear", LINEAR, "1000"), ("spot", SPOT, "60")])
def test_public_trades_are_the_newest_the_venue_tells_oldest_first(market: str, instrument: Any, limit: str) -> None:
    replies = {TRADES: rows(trade(3), trade(2), trade(1))}
    whole, there = ask(replies, lambda feed: feed.trades(instrument=instrument), market)
    late, _ = ask(replies, lambda feed: feed.trades(instrument=instrument, start_ns=from_ms(NOW_MS + 2)), market)

    assert [each.trade_id for each in whole] == ["t-1", "t-2", "t-3"]
    assert [each.trade_id for each in late] == ["t-2", "t-3"]
    assert there.of(TRADES)[0]["limit"] == limit
    with pytest.raises(NotSupportedError, match="not numbered"):
        ask(replies, lambda feed: feed.trades(instrument=instrument, start_id=7), market)


def test_the_last_price_is_that_of_the_newest_trade() -> None:
    found, there = ask({TRADES: rows(trade(1))}, lambda feed: feed.last_price(symbol="BTC/USDT:USDT"))
    none, _ = ask({TRADES: rows()}, lambda feed: feed.last_price(symbol="BTC/USDT:USDT"))

    assert found.price == 60000
    assert none is None
    assert there.of(TRADES) == [{"category": "linear", "symbol": "BTCUSDT", "limit": "1"}]
    with pytest.raises(UnknownSymbolError, match="10001"):
        ask({TRADES: refusal(10001, "params error: symbol invalid")}, lambda feed: feed.last_price(symbol="X/USDT"))


def test_a_book_is_as_deep_as_the_venue_s() -> None:
    reply = result(s="BTCUSDT", b=[["1", "2"]], a=[["3", "4"]], u=7, seq=9, ts=1)
    found, there = ask({"/v5/market/orderbook": reply}, lambda feed: feed.book(instrument=SPOT, depth=200), "spot")

    most = BOOK_DEPTHS["spot"]
    assert found.sequence == 9
    assert there.asked[0].params["limit"] == "200"
    with pytest.raises(NotSupportedError, match=f"ask for {most} at most"):
        ask({}, lambda feed: feed.book(instrument=SPOT, depth=most + 1), "spot")


def test_a_mark_price_is_as_of_now_and_a_delivery_has_no_funding() -> None:
    row = {"markPrice": "60000", "indexPrice": "60001", "fundingRate": "0.0001", "nextFundingTime": "1750003200000"}
    path = "/v5/market/tickers"
    found, _ = ask({path: rows(row)}, lambda feed: feed.mark_price(instrument=LINEAR))
    delivery, _ = ask({path: rows({**row, "fundingRate": ""})}, lambda feed: feed.mark_price(instrument=LINEAR))

    assert (found.mark_price, found.funding_rate, found.time_ns) == (60000, Decimal("0.0001"), NOW_NS)
    assert found.next_funding_ns == from_ms(1750003200000)
    assert (delivery.funding_rate, delivery.next_funding_ns) == (None, None)


def test_funding_rates_are_fetched_back_to_the_start_and_told_oldest_first() -> None:
    eight_ms = 8 * 3_600_000
    stamps = [NOW_MS - number * eight_ms for number in range(1, 251)]
    rates = [{"symbol": "BTCUSDT", "fundingRate": "0.0001", "fundingRateTimestamp": str(stamp)} for stamp in stamps]
    replies = {FUNDING: [rows(*rates[:200]), rows(*rates[200:])]}
    start_ns = from_ms(stamps[-1])
    found, there = ask(replies, lambda feed: feed.funding_rates(instrument=LINEAR, start_ns=start_ns, end_ns=NOW_NS))
    nothing, _ = ask({}, lambda feed: feed.funding_rates(instrument=LINEAR, start_ns=NOW_NS, end_ns=NOW_NS))

    assert [each.time_ns for each in found] == [from_ms(stamp) for stamp in reversed(stamps)]
    assert there.of(FUNDING)[1]["endTime"] == str(stamps[199] - 1)
    assert nothing == ()


def test_what_has_another_shape_than_the_documentation_s_is_said_to_be() -> None:
    with pytest.raises(DataError, match="Bybit's answer cannot be read"):
        ask({KLINE: rows(["1"])}, lambda feed: feed.bars(instrument=LINEAR, interval=MINUTE, start_ns=0, end_ns=NOW_NS))  # type: ignore[arg-type]
