"""What a run was seen to do, step by step, so that two runs can be laid side by side."""

from collections.abc import Mapping
from decimal import Decimal

import attrs

from btx.model.order import Liquidity

__all__ = ("BalanceStep", "FillStep", "OrderStep", "SeenBar", "Signal", "Trace")


@attrs.frozen(kw_only=True)
class SeenBar:
    """A bar as the strategy saw it: prices in quote units, volume in base units or contracts."""

    data: str  # the data's name
    open_ns: int
    close_ns: int  # its stamp
    seen_ns: int  # market time when it was shown
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal

    @property
    def values(self) -> tuple[Decimal, ...]:
        """Open, high, low, close, volume."""
        return (self.open, self.high, self.low, self.close, self.volume)


@attrs.frozen(kw_only=True)
class Signal:
    """What the strategy asked for, before anything was rounded; ``number`` counts the orders of a run from 1."""

    number: int
    data: str
    bar_ns: int  # stamp of the bar it saw
    side: str
    kind: str  # backtrader's word: Market, Limit, ...
    size: Decimal
    price: Decimal | None
    limit: Decimal | None


@attrs.frozen(kw_only=True)
class OrderStep:
    """What the strategy was told of an order, and what the order was then, on the venue's grid."""

    number: int
    status: str  # backtrader's word: Accepted, Rejected, ...
    told_ns: int  # market time
    quantity: Decimal | None = None
    price: Decimal | None = None
    trigger: Decimal | None = None
    reason: str = ""


@attrs.frozen(kw_only=True)
class FillStep:
    """One execution."""

    number: int  # of the order
    data: str
    price: Decimal
    quantity: Decimal
    fee: Decimal | None
    fee_asset: str | None
    liquidity: Liquidity | None
    time_ns: int  # market time, as the venue says


@attrs.frozen(kw_only=True)
class BalanceStep:
    """Cash and positions when the strategy had seen the bars of ``bar_ns``, before its orders of then."""

    bar_ns: int
    cash: Decimal
    positions: Mapping[str, Decimal]  # by data


@attrs.frozen(kw_only=True)
class Trace:
    """One run. ``error`` is why it broke off, empty when it ended."""

    name: str
    bars: tuple[SeenBar, ...] = ()
    signals: tuple[Signal, ...] = ()
    steps: tuple[OrderStep, ...] = ()
    fills: tuple[FillStep, ...] = ()
    balances: tuple[BalanceStep, ...] = ()
    ticks: Mapping[str, Decimal] = attrs.field(factory=dict)  # tick size by data
    error: str = ""
    read_ahead: bool = False  # it broke off because a bar was read that had not come
