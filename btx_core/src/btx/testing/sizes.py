"""Quantities, prices and instruments that a card can use at any venue."""

import math
from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

from btx.model.instrument import Instrument
from btx.model.time import NS_PER_MINUTE, Interval
from btx.rules.contracts import quote_value
from btx.testing.card import CardFailedError

__all__ = ("floored", "on_grid", "shortest_minutes", "two_of", "usual")

_BPS = Decimal(10_000)
_ROOM = Decimal("1.3")  # over the least notional, for a market that moves and orders away from it


def usual(instrument: Instrument, price: Decimal, *, times: int = 1) -> Decimal:
    """Return ``times`` the least quantity that every kind of order may have at this price and near it."""
    step = max(instrument.step_size, instrument.market_step_size or instrument.step_size)
    least = max(instrument.min_quantity, instrument.market_min_quantity or Decimal(0), step)
    if instrument.min_notional is not None:
        worth = quote_value(instrument, step, price)
        least = max(least, step * Decimal(math.ceil(instrument.min_notional * _ROOM / worth)))
    return times * (least / step).to_integral_value(ROUND_CEILING) * step


def floored(quantity: Decimal, instrument: Instrument) -> Decimal:
    """Return the most of a quantity that is on the instrument's grid."""
    step = max(instrument.step_size, instrument.market_step_size or instrument.step_size)
    return (quantity / step).to_integral_value(ROUND_FLOOR) * step


def on_grid(instrument: Instrument, price: Decimal, *, bps: int) -> Decimal:
    """Return the price of the grid that lies ``bps`` basis points above (below: negative) a price."""
    wanted = price * (1 + bps / _BPS)
    tick = instrument.tick_at(wanted)
    return (wanted / tick).to_integral_value(ROUND_HALF_EVEN) * tick


def shortest_minutes(intervals: Sequence[Interval]) -> Interval:
    """Return the shortest declared interval of a minute or more."""
    timed = sorted((each for each in intervals if each.nominal_ns >= NS_PER_MINUTE), key=lambda each: each.nominal_ns)
    if not timed:
        raise CardFailedError("expected an interval of a minute or more in Capabilities.intervals, and there is none")
    return timed[0]


def two_of(instruments: Mapping[str, Instrument], wished: Sequence[str]) -> tuple[str, str]:
    """Return two symbols to trade, the wished ones first; the second is empty where there is one alone."""
    names = [each for each in (*wished, *instruments) if each in instruments and instruments[each].is_trading]
    names = list(dict.fromkeys(names))
    if not names:
        raise CardFailedError("expected Store.instruments to list something that trades, and there is nothing")
    return names[0], names[1] if len(names) > 1 else ""
