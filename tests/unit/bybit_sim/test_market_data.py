"""Public market data over REST."""

import itertools
import json
from typing import Any

import pytest

from btx.model.time import NS_PER_HOUR
from tests.unit.bybit_sim.served import Client
from tests.unit.bybit_sim.test_trading import SYMBOLS, create, played

WARM = {"warmup_ns": 30 * NS_PER_HOUR}


async def got(client: Client, path: str, market: str = "linear", **params: Any) -> Any:
    answer = await client.get(f"/v5/market/{path}", **{"category": market, "symbol": SYMBOLS[market], **params})
    return answer["result"] if answer["retCode"] == 0 else answer["retCode"]


def test_the_time_is_the_walls() -> None:
    async def scene(client: Client) -> Any:
        return await client.get("/v5/market/time"), client.clock.now_ns

    answer, now_ns = played(scene)

    assert answer["result"] == {"timeSecond": str(now_ns // 10**9), "timeNano": str(now_ns)}
    assert answer["time"] == now_ns // 10**6


@pytest.mark.parametrize("market", ["spot", "linear", "inverse"])
def test_bars_come_latest_first_and_within_the_asked_span(market: str) -> None:
    async def scene(client: Client) -> Any:
        last = await got(client, "kline", market, interval="1", limit=5)
        opens = [int(row[0]) for row in last["list"]]
        span = await got(client, "kline", market, interval="1", start=opens[3], end=opens[1])
        since = await got(client, "kline", market, interval="1", start=opens[-1], limit=2)
        hours = await got(client, "kline", market, interval="60", limit=2)
        return (
            last["list"],
            span["list"],
            since["list"],
            hours["list"],
            await got(client, "kline", market, interval="2"),
        )

    last, span, since, hours, wrong = played(scene, market, **WARM)

    opens = [int(row[0]) for row in last]
    assert opens == sorted(opens, reverse=True)
    assert [int(row[0]) for row in span] == opens[1:4]
    assert [int(row[0]) for row in since] == opens[3:]
    assert int(hours[0][0]) - int(hours[1][0]) == 3_600_000
    assert wrong == 10001
    low, high, volume, turnover = (float(last[0][place]) for place in (3, 2, 5, 6))
    price = volume / turnover if market == "inverse" else turnover / volume
    assert low * 0.999 <= price <= high * 1.001


@pytest.mark.parametrize(("market", "most"), [("spot", 60), ("linear", 1000)])
def test_recent_trades_are_as_many_as_the_category_allows(market: str, most: int) -> None:
    async def scene(client: Client) -> Any:
        return len((await got(client, "recent-trade", market, limit=1000))["list"])

    assert played(scene, market, **WARM) == most


@pytest.mark.parametrize("market", ["spot", "linear"])
def test_bars_of_no_category_are_those_of_linear(market: str) -> None:
    async def scene(client: Client) -> Any:
        answer = await client.get("/v5/market/kline", symbol="BTCUSDT", interval="1", limit=1)
        wrong = await client.get("/v5/market/kline", symbol="BTCUSDT", interval="1", category="nothing")
        return answer["retCode"], wrong["retCode"]

    assert played(scene, market, **WARM) == (0 if market == "linear" else 10001, 10001)


def test_bars_of_the_mark_and_of_the_index_meet_at_their_ends() -> None:
    async def scene(client: Client) -> Any:
        return [(await got(client, f"{kind}-price-kline", interval="1", limit=3))["list"] for kind in ("mark", "index")]

    marks, indexes = played(scene, **WARM)

    for newer, older in itertools.pairwise(marks):
        assert newer[1] == older[4]
    assert [row[0] for row in marks] == [row[0] for row in indexes]
    for row in marks:
        assert float(row[3]) <= float(row[1]) <= float(row[2])


@pytest.mark.parametrize("market", ["spot", "linear", "inverse"])
def test_a_ticker_agrees_with_the_book_and_the_trades(market: str) -> None:
    async def scene(client: Client) -> Any:
        ticker = await got(client, "tickers", market)
        book = await got(client, "orderbook", market, limit=3)
        trades = await got(client, "recent-trade", market, limit=4)
        every = await got(client, "tickers", market, symbol="")
        usual = await got(client, "orderbook", market)
        return ticker["list"], book, trades["list"], every["list"], usual

    [ticker], book, trades, every, usual = played(scene, market, **WARM)

    assert (ticker["bid1Price"], ticker["ask1Price"]) == (book["b"][0][0], book["a"][0][0])
    assert ticker["lastPrice"] == trades[0]["price"]
    assert float(ticker["lowPrice24h"]) <= float(ticker["lastPrice"]) <= float(ticker["highPrice24h"])
    assert (len(book["b"]), len(trades), len(every)) == (3, 4, 2)
    assert len(usual["b"]) == (1 if market == "spot" else 25)
    assert [trade["seq"] for trade in trades] == sorted((trade["seq"] for trade in trades), key=int, reverse=True)


def test_funding_has_an_interval_of_its_own_for_each_symbol() -> None:
    async def scene(client: Client) -> Any:
        rates = [
            (await got(client, "funding/history", symbol=symbol, limit=3))["list"] for symbol in ("BTCUSDT", "SUIUSDT")
        ]
        tickers = [(await got(client, "tickers", symbol=symbol))["list"][0] for symbol in ("BTCUSDT", "SUIUSDT")]
        first = int(rates[1][-1]["fundingRateTimestamp"])
        span = await got(client, "funding/history", symbol="SUIUSDT", startTime=first, endTime=first + 1)
        return (
            rates,
            [each["fundingIntervalHour"] for each in tickers],
            span["list"],
            await got(client, "funding/history", startTime=first),
        )

    rates, hours, span, wrong = played(scene, symbols=("BTCUSDT", "SUIUSDT"), **WARM)

    gaps = [int(each[0]["fundingRateTimestamp"]) - int(each[1]["fundingRateTimestamp"]) for each in rates]
    assert gaps == [8 * 3_600_000, 4 * 3_600_000]
    assert hours == ["8", "4"]
    assert span == rates[1][-1:]
    assert wrong == 10001


def test_open_interest_is_what_is_held_here() -> None:
    async def scene(client: Client) -> Any:
        await create(client, qty="0.5")
        interest = await got(client, "open-interest", intervalTime="5min")
        fund = await client.get("/v5/market/insurance")
        limit = await got(client, "price-limit")
        return interest["list"], fund["result"]["list"], limit, (await got(client, "tickers"))["list"][0]

    [interest], [fund], limit, ticker = played(scene)

    # As in frames recorded on 2026-09-30, where it is twice what is held on one side.
    assert interest["openInterest"] == "1.00000000"
    assert (fund["coin"], fund["symbols"]) == ("USDT", "BTCUSDT,ETHUSDT")
    assert float(limit["sellLmt"]) < float(ticker["markPrice"]) < float(limit["buyLmt"])
    assert ticker["openInterest"] == "1.000"


def test_spot_has_no_insurance_and_nothing_that_is_not_listed_has_data() -> None:
    async def scene(client: Client) -> Any:
        fund = await client.get("/v5/market/insurance")
        answers = [
            await got(client, "orderbook", symbol="NOPE"),
            await got(client, "tickers", symbol="NOPE"),
            await got(client, "kline", interval="1"),
            await got(client, "tickers", "spot", symbol="NOPE"),
            await got(client, "tickers", "linear"),
        ]
        return fund["result"]["list"], answers

    fund, answers = played(scene, "spot")

    assert fund == []
    assert answers == [10001, 10001, 10001, 170121, 10001]


def test_a_delivery_contract_has_a_day_and_no_funding() -> None:
    async def scene(client: Client) -> Any:
        info = await got(client, "instruments-info", symbol="")
        tickers = await got(client, "tickers", symbol="")
        return info["list"], tickers["list"]

    info, tickers = played(scene, symbols=("BTC/USDT:USDT-261225",))

    assert (info[0]["symbol"], info[0]["contractType"]) == ("BTCUSDT-25DEC26", "LinearFutures")
    assert (info[0]["fundingInterval"], tickers[0]["fundingRate"], tickers[0]["nextFundingTime"]) == (0, "", "0")
    assert tickers[0]["deliveryTime"] == info[0]["deliveryTime"] == "1798185600000"
    json.dumps(tickers)
