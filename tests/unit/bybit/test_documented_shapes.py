"""The examples of Bybit's documentation are read, each by the function for its shape."""

import gzip
import json
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from btx.model.account import Booking, BookingKind
from btx.model.derivatives import MarginMode, PositionMode
from btx.model.order import Liquidity, OrderType, PositionSide, Side, Status
from btx.model.time import Interval, from_ms
from btx.rules.holdings import counts
from btx_bybit import codec
from btx_bybit.fees import account_rates
from btx_bybit.instruments import instrument
from btx_bybit.reports import fill, is_fill, order_report

ETH = {"symbol": "ETH/USDT:USDT"}


@pytest.fixture(scope="module")
def examples(btx_data: Path) -> dict[str, dict[str, Any]]:
    with gzip.open(btx_data / "docs_examples" / "bybit_v5_rest_ws_examples.jsonl.gz", "rt") as lines:
        return {each["name"]: each for each in map(json.loads, lines)}


def result(examples: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
    found: dict[str, Any] = examples[f"V5Api/{name}"]["response"]["result"]
    return found


def rows(examples: dict[str, dict[str, Any]], name: str) -> list[Any]:
    return list(result(examples, name)["list"])


def pushed(examples: dict[str, dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Return the rows a socket's example pushes."""
    event = json.loads(re.split(r"^= *\n", examples[f"V5/{name}"]["script"], flags=re.MULTILINE)[1])
    found: list[dict[str, Any]] = event["data"]
    return found


@pytest.mark.parametrize(
    ("name", "decode", "context"),
    [
        ("Account/GetFeeRate", account_rates, {}),
        ("ExchangeData/GetFundingRateHistory", codec.funding_rate, ETH),
        ("ExchangeData/GetLinearInverseSymbols", instrument, {"market": "linear"}),
        ("ExchangeData/GetLinearInverseTickers", codec.mark_price, {**ETH, "time_ns": 1}),
        ("ExchangeData/GetSpotSymbols", instrument, {"market": "spot"}),
        ("ExchangeData/GetTradeHistory", codec.trade, ETH),
        ("Trading/GetOrderHistory", order_report, ETH),
        ("Trading/GetOrders", order_report, ETH),
        ("Trading/GetPositions", codec.position, {**ETH, "mode": MarginMode.CROSS}),
        ("Trading/GetUserTrades", fill, ETH),
    ],
)
def test_every_row_of_an_example_is_read(
    examples: dict[str, dict[str, Any]], name: str, decode: Callable[..., Any], context: dict[str, Any]
) -> None:
    found = [decode(row, **context) for row in rows(examples, name)]

    assert found
    assert None not in found


def test_a_bar_closes_when_its_interval_is_over(examples: dict[str, dict[str, Any]]) -> None:
    newest, *older = rows(examples, "ExchangeData/GetKlines")
    known = {"symbol": "BTC/USD:BTC", "interval": Interval.parse("1h"), "counts_quotes": False}
    now_ns = from_ms(int(newest[0])) + 1

    bar = codec.kline(newest, **known, now_ns=now_ns)

    assert (bar.open, bar.high, bar.low, bar.close) == tuple(map(Decimal, ("17071", "17073", "17027", "17055.5")))
    assert (bar.volume, bar.quote_volume, bar.is_closed) == (Decimal(268611), None, False)
    assert all(codec.kline(row, **known, now_ns=now_ns).is_closed for row in older)


def test_a_book_has_the_number_of_its_last_update(examples: dict[str, dict[str, Any]]) -> None:
    book = codec.book_snapshot(result(examples, "ExchangeData/GetOrderbook"), symbol="BTC/USDT")

    assert book.sequence == 3887177875  # the one that is of all depths
    assert book.bids == ((Decimal("62710.2"), Decimal("5.52")),)


def test_an_account_has_its_coins_and_modes(examples: dict[str, dict[str, Any]]) -> None:
    wallet = {"coin": [{"coin": "USDT", "walletBalance": "100", "locked": "10"}, {"coin": "BTC", "walletBalance": "0"}]}
    held = rows(examples, "Trading/GetPositions")
    found = codec.account(
        wallet,
        info=result(examples, "Account/GetMarginAccountInfo"),
        held=held,
        stated=held,
        is_margined=True,
        symbol_of=lambda _: "BTC/USD:BTC",
        time_ns=7,
    )

    assert found.balances["USDT"].free == 100
    assert found.position_mode is PositionMode.ONE_WAY
    assert found.terms["BTC/USD:BTC"].leverage == 10
    assert found.terms["BTC/USD:BTC"].margin_mode is MarginMode.CROSS
    (position,) = found.positions
    assert (position.quantity, position.liquidation_price) == (Decimal(-300), None)
    assert codec.wallet(wallet, is_margined=False)["USDT"].locked == 10


def test_a_row_of_the_log_is_as_many_bookings_as_it_has_parts(examples: dict[str, dict[str, Any]]) -> None:
    log = rows(examples, "Account/GetTransactionHistory")
    found: list[Booking] = [
        each
        for row in log
        for each in codec.bookings(row, market="linear", symbol_of=lambda name: f"{name[:3]}/USDT:USDT")
    ]

    assert [(each.kind, each.amount) for each in found] == [
        (BookingKind.FUNDING, Decimal("-0.003676")),
        (BookingKind.FEE, Decimal("-0.01908720")),
        (BookingKind.FEE, Decimal("-0.00260280")),
    ]
    assert len({(each.booking_id, each.kind) for each in found}) == 3
    assert found[0].fill_id is None
    assert found[1].fill_id == "5184f079-88ec-54c7-8774-5173cafd2b4e"


def test_a_trade_s_row_is_profit_and_fee_and_a_transfer_s_is_one_booking() -> None:
    row = {"id": "1", "symbol": "BTCUSDT", "type": "TRADE", "currency": "USDT", "transactionTime": "5", "tradeId": "t"}
    row["change"] = "12.1"
    closed = codec.bookings(
        {**row, "cashFlow": "12", "funding": "", "fee": "-0.1"}, market="linear", symbol_of=lambda _: "BTC/USDT:USDT"
    )
    moved = codec.bookings(
        {**row, "type": "TRANSFER_IN", "change": "50"}, market="linear", symbol_of=lambda _: "BTC/USDT:USDT"
    )

    assert [(each.kind, each.amount) for each in closed] == [
        (BookingKind.REALISED, Decimal(12)),
        (BookingKind.FEE, Decimal("0.1")),
    ]
    assert [(each.kind, each.amount, each.symbol) for each in moved] == [(BookingKind.TRANSFER, Decimal(50), None)]


def test_what_a_settlement_pays_beside_the_funding_moves_the_wallet_as_no_fill_does() -> None:
    row = {"id": "1", "symbol": "BTCPERP", "type": "SETTLEMENT", "currency": "USDC", "transactionTime": "5"}
    row |= {"tradeId": "t", "cashFlow": "7", "funding": "-2", "fee": "0", "change": "5"}
    paid = codec.bookings(row, market="linear", symbol_of=lambda _: "BTC/USDC:USDC")

    assert [(each.kind, each.amount, each.fill_id) for each in paid] == [
        (BookingKind.FUNDING, Decimal(-2), None),
        (BookingKind.OTHER, Decimal(7), None),
    ]
    assert all(counts(each) for each in paid)


def test_what_is_pushed_is_read_as_what_is_asked_for(examples: dict[str, dict[str, Any]]) -> None:
    (order,) = pushed(examples, "Private/Order")
    (execution,) = pushed(examples, "Private/UserTrades")

    report = order_report(order, symbol="ETH/USDT:USDT")
    filled = fill(execution, symbol="XRP/USDT:USDT")

    assert (report.status, report.filled, report.order_type) == (Status.FILLED, 1, OrderType.MARKET)
    assert report.client_order_id == "bybit-5cf98598-39a7-459e-97bf-76ca765ee020"  # nobody named it
    assert is_fill(execution)
    assert (filled.side, filled.fee, filled.fee_asset) == (Side.SELL, Decimal("0.005061"), "USDT")
    assert (filled.liquidity, filled.position_side) == (Liquidity.TAKER, PositionSide.NET)


@pytest.mark.parametrize("status", ["Cancelled", "Rejected"])  # of contracts, and of spot
def test_a_post_only_order_that_would_take_has_expired(examples: dict[str, dict[str, Any]], status: str) -> None:
    (row,) = rows(examples, "Trading/GetOrderHistory")
    report = order_report({**row, "orderStatus": status}, symbol="BTC/USDT:USDT")

    assert (report.status, report.reason) == (Status.EXPIRED, "post-only: it would have taken")
    assert report.position_side is PositionSide.LONG
