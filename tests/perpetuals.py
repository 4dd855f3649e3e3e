"""The values tests of margin are made of: a linear and an inverse perpetual, and leverage tiers."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import attrs

from btx.model.derivatives import LeverageTier, MarginMode
from btx.model.instrument import InstrumentKind
from btx.model.order import Fill, Side
from btx.rules.wallet import MarginAccount, Terms, with_terms
from tests.values import BTC

LINEAR = attrs.evolve(
    BTC, symbol="BTC/USDT:USDT", kind=InstrumentKind.LINEAR, step_size=Decimal("0.001"), tick_size=Decimal("0.1")
)
INVERSE = attrs.evolve(
    BTC,
    symbol="BTC/USD:BTC",
    venue_symbol="BTCUSD_PERP",
    kind=InstrumentKind.INVERSE,
    quote="USD",
    settle="BTC",
    multiplier=Decimal(100),
    step_size=Decimal(1),
    min_quantity=Decimal(1),
    tick_size=Decimal("0.1"),
)


def tiers_of(*rows: Sequence[str | int]) -> tuple[LeverageTier, ...]:
    """Return tiers of (cap, max leverage, rate in percent); amounts follow, and the last tier has no end."""
    tiers: list[LeverageTier] = []
    floor, before, amount = Decimal(0), Decimal(0), Decimal(0)
    for cap, leverage, percent in rows:
        rate = Decimal(percent) / 100
        amount += floor * (rate - before)
        tiers.append(
            LeverageTier(
                floor=floor,
                cap=Decimal(cap),
                max_leverage=int(leverage),
                maintenance_rate=rate,
                maintenance_amount=amount,
            )
        )
        floor, before = Decimal(cap), rate
    return (*tiers[:-1], attrs.evolve(tiers[-1], cap=None))


# As they were when the venue's pages on the liquidation price were written, 2021.
BTCUSDT = tiers_of(
    (50_000, 125, "0.4"),
    (250_000, 100, "0.5"),
    (1_000_000, 50, "1"),
    (10_000_000, 20, "2.5"),
    (20_000_000, 10, "5"),
    (50_000_000, 5, "10"),
)
ETHUSDT = tiers_of(
    (10_000, 100, "0.5"),
    (100_000, 75, "0.65"),
    (500_000, 50, "1"),
    (1_000_000, 25, "2"),
    (2_000_000, 10, "5"),
    (5_000_000, 5, "10"),
    (10_000_000, 4, "12.5"),
)
BTCUSD = tiers_of(
    (5, 125, "0.4"),
    (10, 100, "0.5"),
    (20, 50, "1"),
    (50, 20, "2.5"),
    (100, 10, "5"),
    (200, 5, "10"),
    (400, 4, "12.5"),
    (1_000, 3, "15"),
)

USDT_TERMS = Terms(instrument=LINEAR, tiers=BTCUSDT, leverage=10)
COIN_TERMS = Terms(instrument=INVERSE, tiers=BTCUSD, leverage=10)


def account(money: str | int, *terms: Terms, mode: MarginMode = MarginMode.CROSS) -> MarginAccount:
    """Return an account that owns ``money`` of the settle asset and trades on ``terms``."""
    opened = MarginAccount(wallets={terms[0].instrument.settle: Decimal(money)})
    for each in terms:
        opened = with_terms(opened, attrs.evolve(each, margin_mode=mode))
    return opened


def traded(terms: Terms, quantity: str | int | Decimal, price: str | int | Decimal, **changes: Any) -> Fill:
    """Return a fill of a signed quantity."""
    signed = Decimal(quantity)
    whole = {
        "fill_id": "f1",
        "client_order_id": "a1",
        "symbol": terms.instrument.symbol,
        "side": Side.BUY if signed > 0 else Side.SELL,
        "price": Decimal(price),
        "quantity": abs(signed),
        "time_ns": 0,
    }
    return Fill(**(whole | changes))
