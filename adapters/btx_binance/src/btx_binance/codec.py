"""Binance's JSON into the model: exact decimals, integer nanoseconds, one function per shape.

Sources: https://developers.binance.com/docs/binance-spot-api-docs: rest-api,
filters, user-data-stream. Unknown keys are ignored: the venue adds some at any time.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from btx.errors import DataError
from btx.model.account import AccountSnapshot, Balance, BalanceUpdate
from btx.model.instrument import Instrument, InstrumentKind, PriceBand
from btx.model.market import Bar, BookDelta, BookLevel, BookSnapshot, Trade
from btx.model.order import Fill, Liquidity, OrderReport, OrderType, Side, Status
from btx.model.time import Interval, from_ms

__all__ = (
    "STATUSES",
    "account",
    "agg_trade",
    "balance_update",
    "book_delta",
    "book_snapshot",
    "execution_report",
    "instrument",
    "kline",
    "my_trade",
    "order_report",
    "plain",
    "server_time",
    "split_symbol",
)

Json = Mapping[str, Any]

STATUSES: Mapping[str, Status] = {
    "NEW": Status.NEW,
    "PENDING_NEW": Status.PENDING_NEW,  # of an order list: it waits for the working order to fill
    "PARTIALLY_FILLED": Status.PARTIALLY_FILLED,
    "FILLED": Status.FILLED,
    "CANCELED": Status.CANCELED,
    "PENDING_CANCEL": Status.PENDING_CANCEL,
    "REJECTED": Status.REJECTED,
    "EXPIRED": Status.EXPIRED,
    "EXPIRED_IN_MATCH": Status.EXPIRED,  # self-trade prevention
}
"""Enum "Order status" of the documentation, 2024-12-17."""

_ORDER_TYPES: Mapping[str, OrderType] = {
    "MARKET": OrderType.MARKET,
    "LIMIT": OrderType.LIMIT,
    "LIMIT_MAKER": OrderType.LIMIT,
    "STOP_LOSS": OrderType.STOP_MARKET,
    "STOP_LOSS_LIMIT": OrderType.STOP_LIMIT,
    "TAKE_PROFIT": OrderType.TAKE_PROFIT_MARKET,
    "TAKE_PROFIT_LIMIT": OrderType.TAKE_PROFIT_LIMIT,
}

# Quote assets, for symbols that are in no catalogue (delisted, or listed since); the longest that fits wins.
_QUOTES = (
    *("USDT", "USDC", "FDUSD", "TUSD", "BUSD", "USDP", "DAI", "AEUR", "EURI", "XUSD", "USD1"),
    *("BTC", "ETH", "BNB", "SOL", "XRP", "TRX", "DOGE", "DOT"),
    *("EUR", "GBP", "AUD", "TRY", "BRL", "JPY", "ARS", "MXN", "PLN", "RON", "ZAR", "UAH", "IDR", "COP", "CZK"),
)


def plain(value: Decimal) -> str:
    """Return the digits of ``value`` without an exponent, as the venue reads them."""
    return format(value, "f")


def split_symbol(venue_symbol: str) -> str:
    """Return ``BTC/USDT`` for ``BTCUSDT``, by the quote assets Binance has.

    Raises:
        DataError: it ends in none of them.
    """
    quotes = (quote for quote in _QUOTES if venue_symbol.endswith(quote) and len(venue_symbol) > len(quote))
    quote = max(quotes, key=len, default=None)
    if quote is None:
        raise DataError(f"{venue_symbol}: no such symbol in the catalogue, and no known quote asset at its end")
    return f"{venue_symbol.removesuffix(quote)}/{quote}"


def instrument(row: Json) -> Instrument:
    """Return one symbol of ``exchangeInfo``. A rule the venue switches off with zero is None."""
    filters = {entry["filterType"]: entry for entry in row["filters"]}
    price, lot = filters.get("PRICE_FILTER", {}), filters.get("LOT_SIZE", {})
    market_lot = filters.get("MARKET_LOT_SIZE", {})
    # NOTIONAL replaced MIN_NOTIONAL in 2023; some symbols have both.
    notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL", {})
    base, quote = row["baseAsset"], row["quoteAsset"]
    return Instrument(
        venue="binance",
        symbol=f"{base}/{quote}",
        venue_symbol=row["symbol"],
        kind=InstrumentKind.SPOT,
        base=base,
        quote=quote,
        settle=quote,
        tick_size=_limit(price, "tickSize") or _digits(row["quoteAssetPrecision"]),
        step_size=_limit(lot, "stepSize") or _digits(row["baseAssetPrecision"]),
        min_quantity=Decimal(lot.get("minQty", 0)),
        max_quantity=_limit(lot, "maxQty"),
        market_step_size=_limit(market_lot, "stepSize"),
        market_min_quantity=_limit(market_lot, "minQty"),
        market_max_quantity=_limit(market_lot, "maxQty"),
        min_price=_limit(price, "minPrice"),
        max_price=_limit(price, "maxPrice"),
        min_notional=_limit(notional, "minNotional"),
        max_notional=_limit(notional, "maxNotional"),
        min_notional_for_market=bool(notional.get("applyMinToMarket", notional.get("applyToMarket", True))),
        price_band=_price_band(filters),
        max_orders=_count(filters.get("MAX_NUM_ORDERS", {}), "maxNumOrders"),
        max_conditional_orders=_count(filters.get("MAX_NUM_ALGO_ORDERS", {}), "maxNumAlgoOrders"),
        max_iceberg_orders=_count(filters.get("MAX_NUM_ICEBERG_ORDERS", {}), "maxNumIcebergOrders"),
        max_iceberg_parts=_count(filters.get("ICEBERG_PARTS", {}), "limit"),
        max_position=_limit(filters.get("MAX_POSITION", {}), "maxPosition"),
        is_trading=row["status"] == "TRADING" and bool(row.get("isSpotTradingAllowed", True)),
    )


def _price_band(filters: Mapping[str, Json]) -> PriceBand | None:
    """Return PERCENT_PRICE_BY_SIDE, or the older PERCENT_PRICE, which is the same for both sides."""
    if (band := filters.get("PERCENT_PRICE_BY_SIDE")) is not None:
        return PriceBand(
            bid_up=Decimal(band["bidMultiplierUp"]),
            bid_down=Decimal(band["bidMultiplierDown"]),
            ask_up=Decimal(band["askMultiplierUp"]),
            ask_down=Decimal(band["askMultiplierDown"]),
            minutes=int(band["avgPriceMins"]),
        )
    if (band := filters.get("PERCENT_PRICE")) is not None:
        up, down = Decimal(band["multiplierUp"]), Decimal(band["multiplierDown"])
        return PriceBand(bid_up=up, bid_down=down, ask_up=up, ask_down=down, minutes=int(band["avgPriceMins"]))
    return None


def _count(row: Json, key: str) -> int | None:
    """Return a count that the venue leaves out, or sets to zero, when there is none."""
    return int(row.get(key, 0)) or None


def server_time(row: Json) -> int:
    """Return ``GET time`` in nanoseconds."""
    return from_ms(int(row["serverTime"]))


def account(row: Json) -> AccountSnapshot:
    """Return ``GET account``; assets of which nothing is owned are left out."""
    balances = {
        entry["asset"]: Balance(free=Decimal(entry["free"]), locked=Decimal(entry["locked"]))
        for entry in row["balances"]
    }
    return AccountSnapshot(
        balances={asset: balance for asset, balance in balances.items() if balance.total},
        time_ns=from_ms(int(row["updateTime"])),
        can_trade=bool(row.get("canTrade", True)),
    )


def balance_update(event: Json) -> BalanceUpdate:
    """Return ``outboundAccountPosition``: the totals of the assets an event may have changed."""
    return BalanceUpdate(
        balances={entry["a"]: Balance(free=Decimal(entry["f"]), locked=Decimal(entry["l"])) for entry in event["B"]},
        time_ns=from_ms(int(event["u"])),
    )


def kline(row: list[Any], *, symbol: str, interval: Interval, now_ns: int) -> Bar:
    """Return one row of ``klines``; it is closed when its close time is not after ``now_ns``."""
    close_ns = from_ms(int(row[6]) + 1)  # the venue names the last millisecond inside
    return Bar(
        symbol=symbol,
        interval=interval,
        open_ns=from_ms(int(row[0])),
        close_ns=close_ns,
        open=Decimal(row[1]),
        high=Decimal(row[2]),
        low=Decimal(row[3]),
        close=Decimal(row[4]),
        volume=Decimal(row[5]),
        is_closed=close_ns <= now_ns,
        quote_volume=Decimal(row[7]),
        trades=int(row[8]),
    )


def agg_trade(row: Json, *, symbol: str) -> Trade:
    """Return one row of ``aggTrades``; ``m`` says that the buyer was resting."""
    return Trade(
        symbol=symbol,
        trade_id=int(row["a"]),
        price=Decimal(row["p"]),
        quantity=Decimal(row["q"]),
        side=Side.SELL if row["m"] else Side.BUY,
        time_ns=from_ms(int(row["T"])),
    )


def book_snapshot(row: Json, *, symbol: str) -> BookSnapshot:
    """Return ``depth``."""
    return BookSnapshot(
        symbol=symbol, bids=_levels(row["bids"]), asks=_levels(row["asks"]), sequence=int(row["lastUpdateId"])
    )


def book_delta(event: Json, *, symbol: str) -> BookDelta:
    """Return ``depthUpdate``; futures name the id before (``pu``), of spot the next ``U`` is this ``u`` + 1."""
    return BookDelta(
        symbol=symbol,
        bids=_levels(event["b"]),
        asks=_levels(event["a"]),
        first_sequence=int(event["U"]),
        last_sequence=int(event["u"]),
        previous_sequence=int(event["pu"]) if "pu" in event else None,
        time_ns=from_ms(int(event["E"])),
    )


def execution_report(event: Json, *, symbol: str) -> tuple[Fill | OrderReport, ...]:
    """Return what ``executionReport`` says: the fill, if it is one, and then the order's state.

    The execution id ``I`` is the sequence: NEW and FILLED of a market order
    share both their times.  Of a cancel ``c`` is the request's own id, and
    ``C`` the order's.
    """
    client_order_id = event.get("C") or event["c"]
    sequence = int(event["I"]) if "I" in event else None
    report = OrderReport(
        client_order_id=client_order_id,
        venue_order_id=str(event["i"]),
        symbol=symbol,
        status=STATUSES[event["X"]],
        filled=Decimal(event["z"]),
        sequence=sequence,
        time_ns=from_ms(int(event["T"])),
        reason=_reason(event.get("r", "NONE"), event["X"]),
        side=Side(event["S"]),
        order_type=_order_type(event["o"], trails="d" in event),
        quantity=_limit(event, "q"),
        price=_limit(event, "p"),
        trigger_price=_limit(event, "P"),
    )
    if event["x"] != "TRADE":
        return (report,)
    fill = Fill(
        fill_id=str(event["t"]),
        client_order_id=client_order_id,
        venue_order_id=str(event["i"]),
        symbol=symbol,
        side=Side(event["S"]),
        price=Decimal(event["L"]),
        quantity=Decimal(event["l"]),
        fee=Decimal(event["n"]),
        fee_asset=event["N"],
        liquidity=Liquidity.MAKER if event["m"] else Liquidity.TAKER,
        time_ns=from_ms(int(event["T"])),
        sequence=sequence,
    )
    return (fill, report)


def order_report(row: Json, *, symbol: str, client_order_id: str | None = None) -> OrderReport:
    """Return one order as REST states it; REST gives no sequence."""
    return OrderReport(
        client_order_id=client_order_id or row["clientOrderId"],
        venue_order_id=str(row["orderId"]),
        symbol=symbol,
        status=STATUSES[row["status"]],
        filled=Decimal(row["executedQty"]),
        time_ns=from_ms(int(row["updateTime"])),
        reason=_reason("NONE", row["status"]),
        side=Side(row["side"]),
        order_type=_order_type(row["type"], trails="trailingDelta" in row),
        quantity=_limit(row, "origQty"),
        price=_limit(row, "price"),
        trigger_price=_limit(row, "stopPrice"),
    )


def my_trade(row: Json, *, symbol: str, client_order_id: str) -> Fill:
    """Return one row of ``myTrades``, which does not name the client order id."""
    return Fill(
        fill_id=str(row["id"]),
        client_order_id=client_order_id,
        venue_order_id=str(row["orderId"]),
        symbol=symbol,
        side=Side.BUY if row["isBuyer"] else Side.SELL,
        price=Decimal(row["price"]),
        quantity=Decimal(row["qty"]),
        fee=Decimal(row["commission"]),
        fee_asset=row["commissionAsset"],
        liquidity=Liquidity.MAKER if row["isMaker"] else Liquidity.TAKER,
        time_ns=from_ms(int(row["time"])),
    )


def _limit(row: Json, key: str) -> Decimal | None:
    """Return a number that the venue sets to zero when there is none."""
    return Decimal(row[key]) or None if key in row else None


def _order_type(name: str, *, trails: bool) -> OrderType | None:
    """Return the model's type; that of a take-profit which trails is none of ours."""
    if trails:
        return OrderType.TRAILING_STOP if name.startswith("STOP_LOSS") else None
    return _ORDER_TYPES.get(name)


def _digits(places: int) -> Decimal:
    return Decimal(1).scaleb(-int(places))


def _levels(rows: Iterable[list[str]]) -> tuple[BookLevel, ...]:
    return tuple((Decimal(row[0]), Decimal(row[1])) for row in rows)


def _reason(reject_reason: str, status: str) -> str:
    if status == "EXPIRED_IN_MATCH":
        return "self-trade prevention"
    return "" if reject_reason == "NONE" else reject_reason
