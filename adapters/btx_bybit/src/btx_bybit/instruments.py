"""``instruments-info`` into instruments.

Source: https://bybit-exchange.github.io/docs/v5/market/instrument, 2026, and
.../order/create-order, "Open orders up limit".  The bounds of a limit order's price
(``riskParameters``) move with the mark price; an order beyond them the venue refuses.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from btx.bridges.decimals import limit
from btx.model.instrument import Instrument, InstrumentKind
from btx.model.time import from_ms
from btx_bybit.config import INVERSE, SPOT

__all__ = ("instrument",)

Json = Mapping[str, Any]

_PERPETUAL = frozenset({"LinearPerpetual", "InversePerpetual"})
_DELIVERY = frozenset({"LinearFutures", "InverseFutures"})
_OPEN_ORDERS = 500  # of an instrument; of spot in total
_SPOT_CONDITIONAL, _CONDITIONAL = 30, 10  # of an instrument


def instrument(row: Json, *, market: str) -> Instrument | None:
    """Return one instrument, None for one of a kind that is not known here."""
    return _spot(row) if market == SPOT else _contract(row, market)


def _spot(row: Json) -> Instrument:
    lot, base, quote = row["lotSizeFilter"], row["baseCoin"], row["quoteCoin"]
    step_size = Decimal(lot["basePrecision"])
    return Instrument(
        venue="bybit",
        symbol=f"{base}/{quote}",
        venue_symbol=row["symbol"],
        kind=InstrumentKind.SPOT,
        base=base,
        quote=quote,
        settle=quote,
        tick_size=Decimal(row["priceFilter"]["tickSize"]),
        step_size=step_size,
        min_quantity=step_size,  # "minOrderQty: deprecated, check minOrderAmt instead"
        max_quantity=limit(lot, "maxLimitOrderQty") or limit(lot, "maxOrderQty"),
        market_max_quantity=limit(lot, "maxMarketOrderQty"),
        min_notional=limit(lot, "minOrderAmt"),
        max_orders=_OPEN_ORDERS,
        max_conditional_orders=_SPOT_CONDITIONAL,
        is_trading=row["status"] == "Trading",
    )


def _contract(row: Json, market: str) -> Instrument | None:
    base, quote, settle = row["baseCoin"], row["quoteCoin"], row["settleCoin"]
    delivery_ns = from_ms(int(row.get("deliveryTime") or 0)) or None
    symbol = f"{base}/{quote}:{settle}"
    if row["contractType"] in _DELIVERY and delivery_ns is not None:
        symbol = f"{symbol}-{datetime.fromtimestamp(delivery_ns // 1_000_000_000, tz=UTC):%y%m%d}"
    elif row["contractType"] not in _PERPETUAL:
        return None
    lot, price = row["lotSizeFilter"], row["priceFilter"]
    return Instrument(
        venue="bybit",
        symbol=symbol,
        venue_symbol=row["symbol"],
        kind=InstrumentKind.INVERSE if market == INVERSE else InstrumentKind.LINEAR,
        base=base,
        quote=quote,
        settle=settle,
        tick_size=Decimal(price["tickSize"]),
        step_size=Decimal(lot["qtyStep"]),
        min_quantity=Decimal(lot["minOrderQty"]),
        max_quantity=limit(lot, "maxOrderQty"),
        market_max_quantity=limit(lot, "maxMktOrderQty"),
        min_price=limit(price, "minPrice"),
        max_price=limit(price, "maxPrice"),
        min_notional=limit(lot, "minNotionalValue"),
        max_orders=_OPEN_ORDERS,
        max_conditional_orders=_CONDITIONAL,
        is_trading=row["status"] == "Trading",
        delivery_ns=delivery_ns,
    )
