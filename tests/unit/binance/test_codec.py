"""Binance's JSON into the model, by documented shapes and by real recordings."""

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from btx.errors import DataError
from btx.model.account import Balance
from btx.model.order import Fill, Leg, Liquidity, OrderReport, OrderRequest, OrderType, Side, Status
from btx.model.time import Interval
from btx.rules.orders import apply, new_order
from btx_binance import codec, symbols
from btx_binance.spot import codec as spot_codec
from tests.unit.binance.loopback import instrument

_REPORT: dict[str, Any] = {
    "e": "executionReport", "E": 1499405658658, "s": "ETHBTC", "c": "mine", "S": "BUY", "o": "LIMIT", "f": "GTC",
    "q": "1.00000000", "p": "0.10264410", "P": "0.00000000", "F": "0.00000000", "g": -1, "C": "", "x": "NEW",
    "X": "NEW", "r": "NONE", "i": 4293153, "l": "0.00000000", "z": "0.00000000", "L": "0.00000000", "n": "0",
    "N": None, "T": 1499405658657, "t": -1, "I": 8641984, "w": True, "m": False, "O": 1499405658657,
}  # fmt: skip


def _row(**changes: Any) -> dict[str, Any]:
    filters = {
        "PRICE_FILTER": {"minPrice": "0.01000000", "maxPrice": "1000000.00000000", "tickSize": "0.01000000"},
        "LOT_SIZE": {"minQty": "0.00001000", "maxQty": "9000.00000000", "stepSize": "0.00001000"},
        "MARKET_LOT_SIZE": {"minQty": "0.00000000", "maxQty": "107.18", "stepSize": "0.00000000"},
        "NOTIONAL": {
            "minNotional": "5.00000000",
            "applyMinToMarket": False,
            "maxNotional": "9000000.00000000",
            "applyMaxToMarket": False,
        },
        **changes.pop("filters", {}),
    }
    return {
        "symbol": "BTCUSDT",
        "status": "TRADING",
        "baseAsset": "BTC",
        "quoteAsset": "USDT",
        "baseAssetPrecision": 8,
        "quoteAssetPrecision": 8,
        "isSpotTradingAllowed": True,
        "filters": [{"filterType": name, **values} for name, values in filters.items() if values],
        **changes,
    }


def test_an_instrument_has_the_venues_grids_and_no_made_up_limit() -> None:
    read = spot_codec.instrument(_row())

    assert (read.symbol, read.venue_symbol, read.base, read.quote) == ("BTC/USDT", "BTCUSDT", "BTC", "USDT")
    assert (read.tick_size, read.step_size) == (Decimal("0.01"), Decimal("0.00001"))
    assert (read.min_notional, read.max_notional) == (Decimal(5), Decimal(9000000))
    assert read.min_notional_for_market is False
    assert (read.market_step_size, read.market_min_quantity) == (None, None)
    assert read.market_max_quantity == Decimal("107.18")
    assert read.is_trading


def test_a_rule_that_is_switched_off_or_absent_is_none() -> None:
    off = {"minPrice": "0.00", "maxPrice": "0.00", "tickSize": "0.00"}

    read = spot_codec.instrument(
        _row(status="BREAK", filters={"PRICE_FILTER": off, "MARKET_LOT_SIZE": {}, "NOTIONAL": {}})
    )

    assert (read.min_price, read.max_price, read.min_notional, read.market_max_quantity) == (None,) * 4
    assert read.tick_size == Decimal("0.00000001")
    assert not read.is_trading


def test_the_old_notional_filter_is_read_too() -> None:
    old = {"minNotional": "10.0", "applyToMarket": True, "avgPriceMins": 5}

    read = spot_codec.instrument(_row(filters={"NOTIONAL": {}, "MIN_NOTIONAL": old}))

    assert (read.min_notional, read.min_notional_for_market) == (Decimal(10), True)


@pytest.mark.parametrize(("name", "count"), [("2025-08-07_25sym.json", 25), ("2021-10-12_full.json.gz", 1695)])
def test_a_recorded_exchange_info_is_read_whole(btx_data: Path, name: str, count: int) -> None:
    path = btx_data / "reference" / f"binance_spot_exchangeInfo_{name}"
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    rows = json.loads(text)["symbols"]

    read = [spot_codec.instrument(row) for row in rows]

    assert len(read) == count
    assert {each.venue_symbol for each in read} == {row["symbol"] for row in rows}
    usdt = [each for each in read if each.quote == "USDT"]
    assert [symbols.split_symbol(each.venue_symbol) for each in usdt] == [each.symbol for each in usdt]


def test_an_unknown_symbol_is_split_at_the_longest_quote_asset() -> None:
    assert symbols.split_symbol("PHAUSDT") == "PHA/USDT"
    assert symbols.split_symbol("BTCFDUSD") == "BTC/FDUSD"
    with pytest.raises(DataError, match="USDT"):
        symbols.split_symbol("USDT")


def test_an_account_leaves_out_what_is_not_owned() -> None:
    row = {
        "updateTime": 1684804350068,
        "canTrade": False,
        "balances": [
            {"asset": "BTC", "free": "0.10000000", "locked": "0.02000000"},
            {"asset": "LTC", "free": "0.00000000", "locked": "0.00000000"},
        ],
    }

    read = spot_codec.account(row)

    assert read.balances == {"BTC": Balance(free=Decimal("0.1"), locked=Decimal("0.02"))}
    assert (read.time_ns, read.can_trade) == (1684804350068000000, False)


def test_a_position_update_keeps_a_balance_that_became_zero() -> None:
    event = {"e": "outboundAccountPosition", "E": 2, "u": 1, "B": [{"a": "ETH", "f": "0.00", "l": "0.00"}]}

    read = spot_codec.balance_update(event)

    assert read.balances["ETH"].total == 0
    assert read.time_ns == 1_000_000


def test_a_kline_closes_at_the_millisecond_after_its_last() -> None:
    row = [
        1499040000000, "0.01", "0.8", "0.0157", "0.0157", "148976.1", 1499040059999, "2434.19", 308, "1", "2", "0",
    ]  # fmt: skip
    minute = Interval.parse("1m")

    closed = codec.kline(row, symbol="A/B", interval=minute, now_ns=1499040060000 * 10**6)
    forming = codec.kline(row, symbol="A/B", interval=minute, now_ns=1499040060000 * 10**6 - 1)

    assert closed.close_ns == minute.close_of(closed.open_ns) == 1499040060000 * 10**6
    assert (closed.is_closed, forming.is_closed) == (True, False)
    assert (closed.open, closed.high, closed.volume, closed.trades) == (
        Decimal("0.01"),
        Decimal("0.8"),
        Decimal("148976.1"),
        308,
    )


def test_a_price_band_is_of_each_side_or_the_same_for_both() -> None:
    by_side = {
        "bidMultiplierUp": "5", "bidMultiplierDown": "0.2", "askMultiplierUp": "4", "askMultiplierDown": "0.3",
        "avgPriceMins": 5,
    }  # fmt: skip
    both = {"multiplierUp": "1.3", "multiplierDown": "0.7", "avgPriceMins": 0}

    read = [
        spot_codec.instrument(_row(filters=filters)).price_band
        for filters in ({"PERCENT_PRICE_BY_SIDE": by_side}, {"PERCENT_PRICE": both}, {})
    ]

    bands = [each and (each.bid_up, each.bid_down, each.ask_up, each.ask_down, each.minutes) for each in read]
    up, down = Decimal("1.3"), Decimal("0.7")
    assert bands == [(5, Decimal("0.2"), 4, Decimal("0.3"), 5), (up, down, up, down, 0), None]


def test_how_many_orders_may_rest_is_known_where_the_venue_says_so() -> None:
    filters = {
        "MAX_NUM_ORDERS": {"maxNumOrders": 200},
        "MAX_NUM_ALGO_ORDERS": {"maxNumAlgoOrders": 5},
        "MAX_NUM_ICEBERG_ORDERS": {"maxNumIcebergOrders": 3},
        "ICEBERG_PARTS": {"limit": 10},
        "MAX_POSITION": {"maxPosition": "10.00000000"},
    }
    read, without = spot_codec.instrument(_row(filters=filters)), spot_codec.instrument(_row())

    assert (read.max_orders, read.max_conditional_orders, read.max_iceberg_orders) == (200, 5, 3)
    assert (read.max_iceberg_parts, read.max_position) == (10, Decimal(10))
    assert (without.max_orders, without.max_conditional_orders, without.max_position) == (None, None, None)


def test_a_trade_whose_buyer_rested_was_a_sale() -> None:
    row = {"a": 26129, "p": "0.01633102", "q": "4.70443515", "f": 1, "l": 1, "T": 1498793709153, "m": True}

    assert codec.agg_trade(row, symbol="A/B").side is Side.SELL
    assert codec.agg_trade({**row, "m": False}, symbol="A/B").side is Side.BUY


def test_a_report_without_a_trade_has_no_fill() -> None:
    (report,) = spot_codec.execution_report(_REPORT, symbol="ETH/BTC")

    assert isinstance(report, OrderReport)
    assert (report.client_order_id, report.venue_order_id, report.sequence) == ("mine", "4293153", 8641984)
    assert (report.status, report.filled, report.reason) == (Status.NEW, Decimal(0), "")
    assert (report.price, report.trigger_price, report.order_type) == (Decimal("0.1026441"), None, OrderType.LIMIT)


@pytest.mark.parametrize(
    ("name", "trails", "expected"),
    [
        ("LIMIT_MAKER", False, OrderType.LIMIT),
        ("STOP_LOSS", False, OrderType.STOP_MARKET),
        ("STOP_LOSS_LIMIT", False, OrderType.STOP_LIMIT),
        ("TAKE_PROFIT", False, OrderType.TAKE_PROFIT_MARKET),
        ("TAKE_PROFIT_LIMIT", False, OrderType.TAKE_PROFIT_LIMIT),
        ("STOP_LOSS", True, OrderType.TRAILING_STOP),
        ("STOP_LOSS_LIMIT", True, OrderType.TRAILING_STOP),
        ("TAKE_PROFIT_LIMIT", True, None),
        ("SOMETHING_NEW", False, None),
    ],
)
def test_an_order_that_trails_is_told_from_one_that_waits(name: str, trails: bool, expected: OrderType | None) -> None:
    row = {
        "orderId": 1, "clientOrderId": "x", "price": "0.00", "origQty": "1.00", "executedQty": "0.00", "status": "NEW",
        "type": name, "side": "SELL", "stopPrice": "0.00", "updateTime": 2, **({"trailingDelta": 10} if trails else {}),
    }  # fmt: skip
    event = {**_REPORT, "o": name, **({"d": 10} if trails else {})}

    (pushed,) = spot_codec.execution_report(event, symbol="ETH/BTC")

    assert spot_codec.order_report(row, symbol="A/B").order_type is expected
    assert isinstance(pushed, OrderReport)
    assert pushed.order_type is expected


def test_a_dormant_exit_is_pending_until_its_entry_wakes_it() -> None:
    order = new_order(_leg_of(_REPORT | {"s": "ETHBTC", "c": "mine", "S": "BUY"}))
    seen = []

    for status in ("PENDING_NEW", "NEW", "PENDING_NEW", "CANCELED"):
        (report,) = spot_codec.execution_report({**_REPORT, "X": status}, symbol="ETH/USDT")
        order = apply(order, report)
        seen.append(order.status)

    assert seen == [Status.PENDING_NEW, Status.NEW, Status.NEW, Status.CANCELED]


def test_a_cancel_is_of_the_original_order_not_of_the_request() -> None:
    (report,) = spot_codec.execution_report(
        {**_REPORT, "x": "CANCELED", "X": "CANCELED", "c": "the-cancel", "C": "mine"}, symbol="ETH/BTC"
    )

    assert (report.client_order_id, report.status) == ("mine", Status.CANCELED)  # type: ignore[union-attr]


def test_a_fill_comes_before_the_state_it_leads_to() -> None:
    event = {**_REPORT, "x": "TRADE", "X": "PARTIALLY_FILLED", "l": "0.4", "z": "0.4", "L": "0.1", "t": 77}

    fill, report = spot_codec.execution_report({**event, "n": "0.0004", "N": "ETH", "m": True}, symbol="ETH/BTC")

    assert isinstance(fill, Fill)
    assert (fill.fill_id, fill.price, fill.quantity, fill.liquidity) == (
        "77",
        Decimal("0.1"),
        Decimal("0.4"),
        Liquidity.MAKER,
    )
    assert (fill.fee, fill.fee_asset) == (Decimal("0.0004"), "ETH")
    assert isinstance(report, OrderReport)
    assert (report.status, report.filled) == (Status.PARTIALLY_FILLED, Decimal("0.4"))


@pytest.mark.parametrize(
    ("status", "reject", "expected", "reason"),
    [
        ("EXPIRED_IN_MATCH", "NONE", Status.EXPIRED, "self-trade prevention"),
        ("REJECTED", "INSUFFICIENT_BALANCE", Status.REJECTED, "INSUFFICIENT_BALANCE"),
        ("PENDING_NEW", "NONE", Status.PENDING_NEW, ""),
    ],
)
def test_every_documented_status_has_one_meaning(status: str, reject: str, expected: Status, reason: str) -> None:
    (report,) = spot_codec.execution_report({**_REPORT, "x": "EXPIRED", "X": status, "r": reject}, symbol="ETH/BTC")

    assert isinstance(report, OrderReport)
    assert (report.status, report.reason) == (expected, reason)


@pytest.mark.parametrize(
    ("name", "fills", "fee"),
    [
        ("LimitSubmittedFilled", 1, "0.00000632"),
        ("MarketSubmitPartiallyFilledFilled", 2, "0.00000630"),
        ("StopLimitSubmittedTriggerFilled", 1, "0.00000627"),
    ],
)
def test_recorded_order_lives_fold_to_filled_in_any_order(btx_data: Path, name: str, fills: int, fee: str) -> None:
    key = f"userdata/binance_GlobalSpot{name}.jsonl"
    expected = {
        entry["file"]: entry["statuses_after_each_order_event"]
        for entry in json.loads((btx_data / "userdata" / "binance_expected_states.json").read_text())
    }
    frames = [json.loads(line)["event"] for line in (btx_data / key).read_text().splitlines()]
    events = [spot_codec.execution_report(frame, symbol=symbols.split_symbol(frame["s"])) for frame in frames]
    order = new_order(_leg_of(frames[0]))
    seen = []

    for batch in events:
        for event in batch:
            order = apply(order, event)
        seen.append(_LEAN[order.status])
    backwards = new_order(_leg_of(frames[0]))
    for batch in reversed(events):
        for event in reversed(batch):
            backwards = apply(backwards, event)

    assert seen == expected[key]
    assert backwards == order
    assert (order.filled, len(order.fills)) == (order.quantity, fills)
    assert sum(fill.fee or 0 for fill in order.fills) == Decimal(fee)
    assert {fill.fee_asset for fill in order.fills} == {"BNB"}


_LEAN = {Status.NEW: "Submitted", Status.PARTIALLY_FILLED: "PartiallyFilled", Status.FILLED: "Filled"}


def _leg_of(frame: dict[str, Any]) -> Leg:
    quantity = Decimal(frame["q"])
    request = OrderRequest(
        instrument=instrument(symbols.split_symbol(frame["s"]).partition("/")[0]),
        side=Side(frame["S"]),
        order_type=OrderType.MARKET,
        quantity=quantity,
        signal_ns=0,
    )
    return Leg(client_order_id=frame["c"], request=request, quantity=quantity)
