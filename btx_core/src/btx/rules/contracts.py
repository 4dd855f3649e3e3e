"""Contracts: what a quantity of an instrument is worth, and what it brings, by its kind.

======== ===================== ============================ ==================================
kind     quantity is in        notional (settle asset)      profit of a signed quantity
======== ===================== ============================ ==================================
LINEAR   base units            quantity x multiplier x p    quantity x multiplier x (p - e)
INVERSE  contracts             quantity x multiplier / p    quantity x multiplier x (1/e - 1/p)
======== ===================== ============================ ==================================

p is the price, e the entry price; the multiplier of an INVERSE contract is in quote units (100 USD of BTCUSD
at Binance). SPOT, STOCK and FUTURE count like LINEAR.
Source: https://www.binance.com/en/support/announcement/a-beginner-s-guide-to-futures-trading-360039304272 (profit) and
https://www.binance.com/en/support/faq/360033544231 (notional), copies of 2025.
"""

import decimal
from decimal import Decimal

from btx.model.instrument import Instrument, InstrumentKind
from btx.rules.money import EXACT, ZERO, fine

__all__ = ("average_price", "is_inverse", "notional", "profit", "quantity_of", "quote_value", "value", "value_of")

_AVERAGE = decimal.Context(prec=28, rounding=decimal.ROUND_HALF_EVEN)


def is_inverse(instrument: Instrument) -> bool:
    """Say whether contracts are counted in quote units and settled in the base coin."""
    return instrument.kind is InstrumentKind.INVERSE


def value_of(quantity: Decimal, price: Decimal, multiplier: Decimal, *, inverse: bool) -> Decimal:
    """Return what ``quantity`` is worth in the settle asset, with its sign; see ``value``."""
    units = EXACT.multiply(quantity, multiplier)
    return fine(EXACT.divide(units, price)) if inverse else EXACT.multiply(units, price)


def value(instrument: Instrument, quantity: Decimal, price: Decimal) -> Decimal:
    """Return what ``quantity`` is worth at ``price`` in the settle asset, with the quantity's sign.

    Exact, but for the division of an INVERSE contract, which is rounded to twenty decimals.
    """
    return value_of(quantity, price, instrument.multiplier, inverse=is_inverse(instrument))


def notional(instrument: Instrument, quantity: Decimal, price: Decimal) -> Decimal:
    """Return the size of a position in the settle asset: never negative, whatever the side."""
    return value(instrument, quantity, price).copy_abs()


def quote_value(instrument: Instrument, quantity: Decimal, price: Decimal) -> Decimal:
    """Return the size in quote units, which limits are written in; never negative.

    Contracts of an INVERSE are worth the same at every price.
    """
    if is_inverse(instrument):
        return EXACT.multiply(quantity, instrument.multiplier).copy_abs()
    return notional(instrument, quantity, price)


def quantity_of(instrument: Instrument, quote_units: Decimal, price: Decimal) -> Decimal:
    """Return the quantity whose ``quote_value`` is ``quote_units``; on no grid."""
    if is_inverse(instrument):
        return EXACT.divide(quote_units, instrument.multiplier)
    return EXACT.divide(quote_units, EXACT.multiply(price, instrument.multiplier))


def profit(instrument: Instrument, quantity: Decimal, entry_price: Decimal, price: Decimal) -> Decimal:
    """Return what a signed ``quantity`` entered at ``entry_price`` has brought at ``price``, in the settle asset."""
    paid, worth = value(instrument, quantity, entry_price), value(instrument, quantity, price)
    return EXACT.subtract(paid, worth) if is_inverse(instrument) else EXACT.subtract(worth, paid)


def average_price(quantity: Decimal, cost: Decimal, multiplier: Decimal, *, inverse: bool) -> Decimal:
    """Return the price at which ``quantity`` is worth ``cost``: the harmonic mean of an INVERSE's; zero when flat."""
    if not quantity or not cost:
        return ZERO
    units = EXACT.multiply(quantity, multiplier)
    return _AVERAGE.divide(units, cost) if inverse else _AVERAGE.divide(cost, units)
