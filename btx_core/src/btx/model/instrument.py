"""Instruments: what is traded, with the rules an order for it must keep."""

import enum
from decimal import Decimal

import attrs

__all__ = ("Instrument", "InstrumentKind", "PriceBand", "TickStep")


class InstrumentKind(enum.Enum):
    """What an instrument is a claim on."""

    SPOT = "spot"
    LINEAR = "linear"
    INVERSE = "inverse"
    STOCK = "stock"
    FUTURE = "future"

    @property
    def is_margined(self) -> bool:
        """Whether it is held on margin, as a position, and not owned."""
        return self in _MARGINED


_MARGINED = frozenset({InstrumentKind.LINEAR, InstrumentKind.INVERSE, InstrumentKind.FUTURE})


_positive = attrs.validators.gt(Decimal(0))
_not_negative = attrs.validators.ge(Decimal(0))


@attrs.frozen(kw_only=True)
class PriceBand:
    """How far an order's price may lie from the average of the last ``minutes``: multipliers by side.

    ``minutes=0`` means the last price.
    """

    bid_up: Decimal
    bid_down: Decimal
    ask_up: Decimal
    ask_down: Decimal
    minutes: int


@attrs.frozen(kw_only=True)
class TickStep:
    """The price grid from a price on, in quote units."""

    from_price: Decimal
    tick_size: Decimal


@attrs.frozen(kw_only=True)
class Instrument:
    """One thing that can be bought and sold, with the venue's grids and limits.

    Prices are in quote units per base unit, quantities in base units or
    contracts of ``multiplier``: base units, of an INVERSE one quote units.  A limit
    the venue does not set is None; it is never a made-up large number.
    """

    venue: str
    symbol: str  # BTC/USDT, or BTC/USDT:USDT for a derivative settled in USDT
    venue_symbol: str  # the venue's own text, BTCUSDT
    kind: InstrumentKind
    base: str
    quote: str
    settle: str
    tick_size: Decimal = attrs.field(validator=_positive)  # the finest one, where it grows with the price
    step_size: Decimal = attrs.field(validator=_positive)
    min_quantity: Decimal = attrs.field(validator=_not_negative)
    max_quantity: Decimal | None = None
    market_step_size: Decimal | None = None  # only where market orders have a grid of their own
    market_min_quantity: Decimal | None = None
    market_max_quantity: Decimal | None = None
    min_price: Decimal | None = None
    max_price: Decimal | None = None
    min_notional: Decimal | None = None  # quote units
    max_notional: Decimal | None = None  # quote units
    min_notional_for_market: bool = True
    multiplier: Decimal = attrs.field(default=Decimal(1), validator=_positive)
    price_band: PriceBand | None = None
    max_orders: int | None = None  # open at once, per account
    max_conditional_orders: int | None = None  # those that wait for a trigger, likewise
    max_iceberg_orders: int | None = None
    max_iceberg_parts: int | None = None  # quantity over display quantity, rounded up
    max_position: Decimal | None = None  # base units, held and being bought
    is_trading: bool = True
    delivery_ns: int | None = None  # market time at which it is settled and gone; None: perpetual, or owned
    tick_steps: tuple[TickStep, ...] = ()  # ascending, where the price grid grows with the price; (): it is tick_size
    liquidation_fee: Decimal | None = None  # of the notional, to the venue's insurance fund

    def tick_at(self, price: Decimal) -> Decimal:
        """Return the price grid at a price."""
        ticks = [step.tick_size for step in self.tick_steps if step.from_price <= price]
        return ticks[-1] if ticks else self.tick_size

    @property
    def unit(self) -> str:
        """What quantities count, as a person says it."""
        return "contracts" if self.multiplier != 1 or self.kind is InstrumentKind.INVERSE else self.base
