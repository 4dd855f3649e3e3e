"""Fees: what a fill costs, and which tier an account trades at.

fee = notional in the settle asset x rate; the rate goes by how the order rested. Spot takes it from what is
received: a buy pays in base units, a sell in quote units. Paid in the discount coin it is less, at that
coin's price. Fees are cut to eight decimals.
Source: https://www.binance.com/en/support/faq/360033544231 (Binance Futures fees, a copy of 2025). The tier goes by the
volume of the last 30 days and the BNB held, https://www.binance.com/en/fee/schedule; volumes are added up once a day
between 01:00 and 05:00 UTC (announcement of 2024-07-18), so a day's own trades never change that day's tier. Here the
day changes at 00:00 UTC.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

import attrs

from btx.model.fees import FeeLevel, FeeSchedule
from btx.model.instrument import Instrument
from btx.model.order import Liquidity, Side
from btx.model.time import NS_PER_DAY
from btx.rules.contracts import notional
from btx.rules.money import EXACT, ZERO, booked

__all__ = ("Charge", "RollingVolume", "at_level", "fee_of", "level_of")

_DAYS = 30
_ONE = Decimal(1)


class Charge(NamedTuple):
    """A fee: units of ``asset``, negative for a rebate."""

    amount: Decimal
    asset: str


def fee_of(
    instrument: Instrument,
    schedule: FeeSchedule,
    *,
    side: Side,
    price: Decimal,
    quantity: Decimal,
    liquidity: Liquidity,
    discount_price: Decimal | None = None,
) -> Charge:
    """Return the fee of a fill.

    ``discount_price`` is what one unit of the schedule's discount asset costs in the asset the fee would
    else be in; with it the fee is in that asset and less by the discount. A rebate is never converted.
    """
    rate = schedule.maker if liquidity is Liquidity.MAKER else schedule.taker
    if not instrument.kind.is_margined and side is Side.BUY:
        worth, asset = quantity, instrument.base
    else:
        worth, asset = notional(instrument, quantity, price), instrument.settle
    fee = EXACT.multiply(worth, rate)
    if discount_price is None or schedule.discount_asset is None or fee <= 0:
        return Charge(booked(fee), asset)
    less = EXACT.multiply(fee, EXACT.subtract(_ONE, schedule.discount))
    return Charge(booked(EXACT.divide(less, discount_price)), schedule.discount_asset)


def level_of(levels: Sequence[FeeLevel], volume: Decimal, holding: Decimal = ZERO) -> FeeLevel | None:
    """Return the highest level whose volume and holding are both reached; None when there are no levels.

    ``levels`` are sorted, the lowest first; it needs nothing.
    """
    reached = [level for level in levels if volume >= level.volume and holding >= level.holding]
    return reached[-1] if reached else None


def at_level(schedule: FeeSchedule, volume: Decimal, holding: Decimal = ZERO) -> FeeSchedule:
    """Return the schedule with the rates of the level that ``volume`` and ``holding`` reach."""
    level = level_of(schedule.levels, volume, holding)
    if level is None:
        return schedule
    return attrs.evolve(schedule, maker=level.maker, taker=level.taker, tier=level.tier)


@attrs.frozen(kw_only=True)
class RollingVolume:
    """What was traded on each of the last 30 days (UTC), in the schedule's volume currency."""

    by_day: Mapping[int, Decimal] = attrs.field(factory=dict)  # days since 1970-01-01

    def add(self, amount: Decimal, time_ns: int) -> "RollingVolume":
        """Return the volume after a fill worth ``amount`` at ``time_ns``; days that no longer count are dropped."""
        day = time_ns // NS_PER_DAY
        kept = {each: volume for each, volume in self.by_day.items() if each >= day - _DAYS}
        kept[day] = EXACT.add(kept.get(day, ZERO), amount)
        return RollingVolume(by_day=kept)

    def at(self, time_ns: int) -> Decimal:
        """Return the volume the tier goes by at ``time_ns``: of the 30 days before that day."""
        day = time_ns // NS_PER_DAY
        total = ZERO
        for each, volume in self.by_day.items():
            if day - _DAYS <= each < day:
                total = EXACT.add(total, volume)
        return total
