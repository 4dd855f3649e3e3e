"""``exchangeInfo`` of USD-M and COIN-M into instruments.

Source: https://developers.binance.com/docs/derivatives, "Exchange Information", 2026-05-28,
and recorded answers of 2025-08-07.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from btx.bridges.decimals import count, limit
from btx.model.instrument import Instrument, InstrumentKind, PriceBand
from btx.model.time import from_ms

__all__ = ("instrument",)

Json = Mapping[str, Any]

# contractType; "PERPETUAL DELIVERING" is one that ends.  A perpetual on a share or a metal trades like any other.
_PERPETUAL = frozenset({"PERPETUAL", "PERPETUAL DELIVERING", "TRADIFI_PERPETUAL"})
_DELIVERY = frozenset(
    {
        *("CURRENT_MONTH", "NEXT_MONTH", "CURRENT_QUARTER", "NEXT_QUARTER"),
        *("CURRENT_MONTH DELIVERING", "NEXT_MONTH DELIVERING", "CURRENT_QUARTER DELIVERING", "NEXT_QUARTER DELIVERING"),
    }
)
_NEVER_MS = 4133404800000  # deliveryDate of a perpetual that does not end


def instrument(row: Json, *, kind: InstrumentKind) -> Instrument | None:
    """Return one contract of ``exchangeInfo``, None for one of a type that is not known here."""
    contract_type, base, quote, settle = row["contractType"], row["baseAsset"], row["quoteAsset"], row["marginAsset"]
    if contract_type in _PERPETUAL:
        symbol = f"{base}/{quote}:{settle}"
    elif contract_type in _DELIVERY:
        symbol = f"{base}/{quote}:{settle}-{row['symbol'].rpartition('_')[2]}"
    else:
        return None
    filters = {entry["filterType"]: entry for entry in row["filters"]}
    price, lot = filters["PRICE_FILTER"], filters["LOT_SIZE"]
    market_lot, delivery_ms = filters.get("MARKET_LOT_SIZE", {}), int(row["deliveryDate"])
    return Instrument(
        venue="binance",
        symbol=symbol,
        venue_symbol=row["symbol"],
        kind=kind,
        base=base,
        quote=quote,
        settle=settle,
        tick_size=Decimal(price["tickSize"]),
        step_size=Decimal(lot["stepSize"]),
        min_quantity=Decimal(lot["minQty"]),
        max_quantity=limit(lot, "maxQty"),
        market_step_size=limit(market_lot, "stepSize"),
        market_min_quantity=limit(market_lot, "minQty"),
        market_max_quantity=limit(market_lot, "maxQty"),
        min_price=limit(price, "minPrice"),
        max_price=limit(price, "maxPrice"),
        min_notional=limit(filters.get("MIN_NOTIONAL", {}), "notional"),
        multiplier=Decimal(row.get("contractSize", 1)),
        price_band=_price_band(filters.get("PERCENT_PRICE")),
        max_orders=count(filters.get("MAX_NUM_ORDERS", {}), "limit"),
        max_conditional_orders=count(filters.get("MAX_NUM_ALGO_ORDERS", {}), "limit"),
        is_trading=row.get("status", row.get("contractStatus")) == "TRADING",
        delivery_ns=from_ms(delivery_ms) if delivery_ms != _NEVER_MS else None,
        liquidation_fee=limit(row, "liquidationFee"),
    )


def _price_band(row: Json | None) -> PriceBand | None:
    """Return PERCENT_PRICE: a buy may be only so far above the mark price, a sell only so far below it."""
    if row is None:
        return None
    return PriceBand(
        bid_up=Decimal(row["multiplierUp"]),
        bid_down=Decimal(0),
        ask_up=Decimal("Infinity"),
        ask_down=Decimal(row["multiplierDown"]),
        minutes=0,
    )
