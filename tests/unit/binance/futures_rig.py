"""What tests of the futures ports share: two contracts, a leg of each, and a context for their market."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import attrs

from btx.model.instrument import Instrument, InstrumentKind
from btx.model.order import Leg, OrderRequest, OrderType, Side
from btx.model.venue import Endpoints
from btx.ports import Context
from tests.unit.binance.loopback import connected

USDM = Instrument(
    venue="binance",
    symbol="BTC/USDT:USDT",
    venue_symbol="BTCUSDT",
    kind=InstrumentKind.LINEAR,
    base="BTC",
    quote="USDT",
    settle="USDT",
    tick_size=Decimal("0.1"),
    step_size=Decimal("0.001"),
    min_quantity=Decimal("0.001"),
)
COINM = attrs.evolve(
    USDM,
    symbol="BTC/USD:BTC",
    venue_symbol="BTCUSD_PERP",
    kind=InstrumentKind.INVERSE,
    quote="USD",
    settle="BTC",
    step_size=Decimal(1),
    min_quantity=Decimal(1),
    multiplier=Decimal(100),
)
MARKETS = {"usdm": USDM, "coinm": COINM}
API = {"usdm": "/fapi/v1", "coinm": "/dapi/v1"}


def leg(instrument: Instrument = USDM, **changes: Any) -> Leg:
    quantity = changes.pop("quantity", Decimal("0.002"))
    request: dict[str, Any] = {
        "instrument": instrument,
        "side": Side.BUY,
        "order_type": OrderType.LIMIT,
        "quantity": quantity,
        "price": Decimal("61837.6"),
        "signal_ns": 0,
        **changes,
    }
    return Leg(client_order_id="run1-1", request=OrderRequest(**request), quantity=quantity)


def stop(instrument: Instrument = USDM, **changes: Any) -> Leg:
    asked = {"order_type": OrderType.STOP_MARKET, "price": None, "trigger_price": Decimal(60_000), **changes}
    return leg(instrument, side=Side.SELL, **asked)


@asynccontextmanager
async def trading(
    where: Endpoints | None, market: str = "usdm", options: Mapping[str, str] | None = None, **kwargs: Any
) -> AsyncIterator[Context]:
    """Give a context of a futures market as a session would."""
    async with connected(where, **kwargs) as context:
        settings = attrs.evolve(context.settings, options=options or {})
        yield attrs.evolve(context, market=market, settings=settings)
