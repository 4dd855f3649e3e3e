"""The examples of Binance's derivatives documentation are read, each by the function for its shape."""

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from btx_binance import codec as common
from btx_binance.fees import account_rates
from btx_binance.futures import codec, events
from btx_binance.futures.contracts import instrument
from btx_binance.futures.market import MARKETS
from btx_binance.symbols import symbol_of

NAMED = {"symbol": "BTC/USDT:USDT"}
FILES = {"UsdFutures": "usdm", "CoinFutures": "coinm"}


@pytest.fixture(scope="module")
def examples(btx_data: Path) -> list[dict[str, Any]]:
    with gzip.open(btx_data / "docs_examples" / "binance_rest_ws_examples.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


def rest(examples: list[dict[str, Any]], name: str) -> list[Any]:
    """Return the rows of every REST example of that name, of both markets."""
    found = [each["response"] for each in examples if each["kind"] == "rest" and each["name"] in names(name)]
    return [row for answer in found for row in (answer if isinstance(answer, list) else [answer])]


def names(name: str) -> set[str]:
    return {f"{market}/{name}" for market in FILES}


def pushed(examples: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Return the event a socket's example pushes."""
    (script,) = (each["script"] for each in examples if each["name"] == f"UsdFutures/{name}" and "script" in each)
    event: dict[str, Any] = json.loads(re.split(r"^= *\n", script, flags=re.MULTILINE)[1])["data"]
    return event


def named(venue_symbol: str) -> str:
    return symbol_of(venue_symbol, market="coinm" if "USD_" in venue_symbol else "usdm")


@pytest.mark.parametrize(
    ("name", "decode", "context", "count"),
    [
        ("Account/GetBrackets", codec.leverage_tiers, {}, 2),
        ("Account/GetIncomeHistory", codec.booking, {"symbol_of": named}, 4),
        ("Account/GetUserCommissionRate", account_rates, {"is_burning": True}, 2),
        ("ExchangeData/GetFundingRates", codec.funding_rate, NAMED, 4),
        ("ExchangeData/GetMarkPrice", codec.mark_price, NAMED, 1),
        ("ExchangeData/GetMarkPrices", codec.mark_price, NAMED, 2),
        ("ExchangeData/GetAggregatedTradeHistory", common.agg_trade, NAMED, 2),
        ("ExchangeData/GetOrderBook", common.book_snapshot, NAMED, 2),
        ("ExchangeData/GetServerTime", common.server_time, {}, 2),
        ("Trading/GetOpenOrders", codec.order_report, NAMED, 2),
        ("Trading/GetOrder", codec.order_report, NAMED, 2),
        ("Trading/GetUserTrades", codec.fill, {**NAMED, "client_order_id": ""}, 2),
        ("Trading/GetOpenConditionalOrders", codec.algo_report, NAMED, 1),
    ],
)
def test_documented_answers_are_read(
    examples: list[dict[str, Any]], name: str, decode: Callable[..., Any], context: dict[str, Any], count: int
) -> None:
    rows = rest(examples, name)

    assert len(rows) == count
    assert all(decode(row, **context) is not None for row in rows)


@pytest.mark.parametrize("market", ["UsdFutures", "CoinFutures"])
def test_documented_contracts_are_read(examples: list[dict[str, Any]], market: str) -> None:
    (answer,) = (each["response"] for each in examples if each["name"] == f"{market}/ExchangeData/GetExchangeInfo")

    read = [instrument(row, kind=MARKETS[FILES[market]].kind) for row in answer["symbols"]]

    assert read
    assert None not in read


@pytest.mark.parametrize(
    ("name", "decode"),
    [
        ("AccountUpdate", events.account_update),
        ("MarginUpdate", events.margin_call),
        ("OrderUpdate", events.order_update),
        ("AlgoOrderUpdate", events.algo_update),
    ],
)
def test_documented_events_are_read(examples: list[dict[str, Any]], name: str, decode: Callable[..., Any]) -> None:
    assert decode(pushed(examples, name), symbol_of=named)


def test_a_documented_mark_price_is_read(examples: list[dict[str, Any]]) -> None:
    assert common.mark_price_update(pushed(examples, "MarkPrice"), **NAMED).funding_rate is not None
