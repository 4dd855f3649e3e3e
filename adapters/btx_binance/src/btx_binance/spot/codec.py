"""The JSON of Binance spot into the model.

Sources: https://developers.binance.com/docs/binance-spot-api-docs: rest-api,
filters, user-data-stream. Unknown keys are ignored: the venue adds some at any time.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from btx.bridges.decimals import count, limit
from btx.model.account import AccountSnapshot, AccountUpdate, Balance
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument, InstrumentKind, PriceBand
from btx.model.order import Fill, Liquidity, OrderReport, OrderType, Side
from btx.model.time import from_ms
from btx_binance.codec import STATUSES

__all__ = (
    "account",
    "balance_update",
    "commission",
    "execution_report",
    "instrument",
    "my_trade",
    "order_report",
)

Json = Mapping[str, Any]

_ORDER_TYPES: Mapping[str, OrderType] = {
    "MARKET": OrderType.MARKET,
    "LIMIT": OrderType.LIMIT,
    "LIMIT_MAKER": OrderType.LIMIT,
    "STOP_LOSS": OrderType.STOP_MARKET,
    "STOP_LOSS_LIMIT": OrderType.STOP_LIMIT,
    "TAKE_PROFIT": OrderType.TAKE_PROFIT_MARKET,
    "TAKE_PROFIT_LIMIT": OrderType.TAKE_PROFIT_LIMIT,
}


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
        tick_size=limit(price, "tickSize") or _digits(row["quoteAssetPrecision"]),
        step_size=limit(lot, "stepSize") or _digits(row["baseAssetPrecision"]),
        min_quantity=Decimal(lot.get("minQty", 0)),
        max_quantity=limit(lot, "maxQty"),
        market_step_size=limit(market_lot, "stepSize"),
        market_min_quantity=limit(market_lot, "minQty"),
        market_max_quantity=limit(market_lot, "maxQty"),
        min_price=limit(price, "minPrice"),
        max_price=limit(price, "maxPrice"),
        min_notional=limit(notional, "minNotional"),
        max_notional=limit(notional, "maxNotional"),
        min_notional_for_market=bool(notional.get("applyMinToMarket", notional.get("applyToMarket", True))),
        price_band=_price_band(filters),
        max_orders=count(filters.get("MAX_NUM_ORDERS", {}), "maxNumOrders"),
        max_conditional_orders=count(filters.get("MAX_NUM_ALGO_ORDERS", {}), "maxNumAlgoOrders"),
        max_iceberg_orders=count(filters.get("MAX_NUM_ICEBERG_ORDERS", {}), "maxNumIcebergOrders"),
        max_iceberg_parts=count(filters.get("ICEBERG_PARTS", {}), "limit"),
        max_position=limit(filters.get("MAX_POSITION", {}), "maxPosition"),
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


def commission(row: Json) -> FeeSchedule:
    """Return ``account/commission``: the three parts of a symbol's rates together, those of the dearer side.

    ``discount`` is what the standard part is multiplied by when it is paid in the discount asset
    (rest-api, "Query Commission Rates", 2026: 0.75 charges three quarters).
    """
    parts = [row[name] for name in ("standardCommission", "specialCommission", "taxCommission") if name in row]
    side = sum((max(Decimal(part["buyer"]), Decimal(part["seller"])) for part in parts), Decimal(0))
    offer = row.get("discount", {})
    is_paid = bool(offer.get("enabledForAccount")) and bool(offer.get("enabledForSymbol"))
    return FeeSchedule(
        maker=side + sum((Decimal(part["maker"]) for part in parts), Decimal(0)),
        taker=side + sum((Decimal(part["taker"]) for part in parts), Decimal(0)),
        tier="account",
        discount_asset=offer.get("discountAsset") if is_paid else None,
        discount=1 - Decimal(offer["discount"]) if is_paid else Decimal(0),
        source="the account's own rates, GET /api/v3/account/commission",
    )


def balance_update(event: Json) -> AccountUpdate:
    """Return ``outboundAccountPosition``: the totals of the assets an event may have changed."""
    return AccountUpdate(
        balances={entry["a"]: Balance(free=Decimal(entry["f"]), locked=Decimal(entry["l"])) for entry in event["B"]},
        time_ns=from_ms(int(event["u"])),
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
        quantity=limit(event, "q"),
        price=limit(event, "p"),
        trigger_price=limit(event, "P"),
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
        quantity=limit(row, "origQty"),
        price=limit(row, "price"),
        trigger_price=limit(row, "stopPrice"),
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


def _order_type(name: str, *, trails: bool) -> OrderType | None:
    """Return the model's type; that of a take-profit which trails is none of ours."""
    if trails:
        return OrderType.TRAILING_STOP if name.startswith("STOP_LOSS") else None
    return _ORDER_TYPES.get(name)


def _digits(places: int) -> Decimal:
    return Decimal(1).scaleb(-int(places))


def _reason(reject_reason: str, status: str) -> str:
    if status == "EXPIRED_IN_MATCH":
        return "self-trade prevention"
    return "" if reject_reason == "NONE" else reject_reason
