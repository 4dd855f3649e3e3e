from decimal import Decimal
from typing import Any

import pytest

from tests.unit.binance_sim.futures.served import Futures, play

BOTH = pytest.mark.parametrize("market", ["usdm", "coinm"])
HOUR_NS = 3600 * 10**9


@BOTH
def test_trades_bars_and_statistics_are_of_one_market(market: str) -> None:
    async def scene(venue: Futures) -> Any:
        of = {"symbol": venue.symbol}
        trades = await venue.public("trades", **of, limit=1000)
        return (
            trades,
            await venue.public("aggTrades", **of, fromId=trades[0]["id"], limit=1000),
            await venue.public("klines", **of, interval="1m", limit=1),
            await venue.public("continuousKlines", pair=venue.symbol.removesuffix("_PERP"), contractType="PERPETUAL",
                               interval="1m", limit=1),
            await venue.public("ticker/24hr", **of),
            await venue.public("ticker/price", **of),
            await venue.public("depth", **of, limit=5),
            await venue.public("ticker/bookTicker", **of),
        )  # fmt: skip

    trades, aggregates, (bar,), (same,), day, price, book, best = play(scene, market, warmup_ns=HOUR_NS)
    if market == "coinm":  # which answers with lists
        (day,), (price,), (best,) = day, price, best

    assert [(row["id"], row["price"]) for row in trades] == [(row["a"], row["p"]) for row in aggregates]
    of_bar = [row for row in trades if bar[0] <= row["time"] <= bar[6]]
    assert sum(Decimal(row["qty"]) for row in of_bar) == Decimal(bar[5])
    assert (len(of_bar), max(Decimal(row["price"]) for row in of_bar)) == (bar[8], Decimal(bar[2]))
    assert bar == same
    assert price["price"] == day["lastPrice"] == trades[-1]["price"]
    assert (book["bids"][0], book["asks"][0]) == (
        [best["bidPrice"], best["bidQty"]],
        [best["askPrice"], best["askQty"]],
    )
    assert ("baseQty" in trades[0], "baseVolume" in day) == (market == "coinm", market == "coinm")


def test_funding_is_told_as_it_was_settled_and_as_it_stands() -> None:
    async def scene(venue: Futures) -> Any:
        now_ms = await venue.now_ns() // 10**6
        recent = await venue.public("fundingRate", symbol=venue.symbol, limit=3)
        since = await venue.public("fundingRate", startTime=now_ms - 86_400_000, endTime=now_ms, limit=1000)
        premium = await venue.public("premiumIndex")
        return now_ms, recent, since, premium, await venue.public("fundingInfo")

    now_ms, recent, since, premium, info = play(scene)

    assert [row["fundingTime"] for row in recent] == sorted(row["fundingTime"] for row in recent)
    assert (recent[-1]["fundingTime"], {row["symbol"] for row in since}) == (now_ms, {"BTCUSDT", "ETHUSDT"})
    assert len(since) == 2 * 4  # both ends of a day are told
    assert all(row["nextFundingTime"] == now_ms + 8 * 3_600_000 for row in premium)
    assert [row["fundingIntervalHours"] for row in info] == [8, 8]


def test_a_delivery_contract_has_no_funding_and_its_day_in_exchange_info() -> None:
    async def scene(venue: Futures) -> Any:
        return await venue.public("premiumIndex", symbol="BTCUSDT_250627"), await venue.public("exchangeInfo")

    premium, info = play(scene, symbols=("BTC/USDT:USDT-250627", "BTCUSDT_251226"))

    assert (premium["lastFundingRate"], premium["nextFundingTime"]) == ("", 0)
    assert [(row["symbol"], row["contractType"], row["deliveryDate"]) for row in info["symbols"]] == [
        ("BTCUSDT_250627", "CURRENT_QUARTER", 1_751_011_200_000),
        ("BTCUSDT_251226", "NEXT_QUARTER", 1_766_736_000_000),
    ]


@pytest.mark.parametrize(
    ("path", "params", "code"),
    [
        ("depth", {"symbol": "BTCUSDT", "limit": 7}, -4021),
        ("depth", {"symbol": "NOPE"}, -1121),
        ("klines", {"symbol": "BTCUSDT", "interval": "7m"}, -1120),
        ("aggTrades", {"symbol": "BTCUSDT", "fromId": 1, "startTime": 1}, -1128),
        ("continuousKlines", {"pair": "BTCUSDT", "contractType": "NEXT_QUARTER", "interval": "1m"}, -4144),
        ("markPriceKlines", {"symbol": "BTCUSDT", "interval": "1m"}, -1000),
    ],
)
def test_what_cannot_be_told_is_refused(path: str, params: dict[str, Any], code: int) -> None:
    async def scene(venue: Futures) -> Any:
        return await venue.public(path, **params)

    assert play(scene)["code"] == code


def test_weight_is_counted_as_the_manual_says_and_an_address_that_carries_on_is_banned() -> None:
    async def scene(venue: Futures) -> Any:
        used = []
        for path, params in (
            ("ping", {}), ("depth", {"symbol": "BTCUSDT", "limit": 1000}), ("klines", {"symbol": "BTCUSDT",
            "interval": "1m", "limit": 1500}), ("ticker/24hr", {}), ("premiumIndex", {}),
        ):  # fmt: skip
            _, _, headers = await venue.get(f"{venue.root}/{path}", **params)
            used.append(int(headers["X-MBX-USED-WEIGHT-1M"]))
        answers = [await venue.get(f"{venue.root}/ticker/24hr") for _ in range(70)]
        return used, [(status, body["code"]) for status, body, _ in answers if status != 200]

    used, refused = play(scene)

    assert used == [1, 21, 31, 71, 81]
    assert refused[0] == (429, -1003)
    assert refused[-1] == (418, -1003)


@BOTH
def test_a_client_of_all_markets_finds_the_others_empty(market: str) -> None:
    async def scene(venue: Futures) -> Any:
        pings = [await venue.public(f"/{root}/ping") for root in ("api/v3", "fapi/v1", "dapi/v1")]
        listed = [await venue.public(f"/{root}/exchangeInfo") for root in ("api/v3", "fapi/v1", "dapi/v1")]
        return pings, [len(info["symbols"]) for info in listed]

    assert play(scene, market) == ([{}] * 3, [0, 2, 0] if market == "usdm" else [0, 0, 2])


@BOTH
def test_open_interest_is_what_the_accounts_here_hold(market: str) -> None:
    async def scene(venue: Futures) -> Any:
        await venue.send()
        return venue.quantity, (await venue.public("openInterest", symbol=venue.symbol))["openInterest"]

    quantity, told = play(scene, market)

    assert told == quantity
