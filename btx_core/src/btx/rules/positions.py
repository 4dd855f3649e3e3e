"""Positions: the exact book, what a spot fill does to it, and its mirror in backtrader's floats."""

import decimal
from decimal import Decimal
from typing import NamedTuple

import attrs

from btx.model.instrument import Instrument
from btx.model.order import Fill, Side

__all__ = (
    "Booked",
    "FloatMirror",
    "Mirrored",
    "Position",
    "apply_fill",
    "balance_changes",
    "base_change",
    "split_dust",
)

# The caller's decimal context is nobody's business here; in 60 digits every sum of money is exact.
_EXACT = decimal.Context(prec=60, rounding=decimal.ROUND_HALF_EVEN)
_AVERAGE = decimal.Context(prec=28, rounding=decimal.ROUND_HALF_EVEN)
_COST_GRID = Decimal("1e-18")  # quote units; what a part of a position cost is rounded to this
_ZERO = Decimal(0)


@attrs.frozen(kw_only=True)
class Position:
    """What is held of one instrument: signed ``quantity``, and the ``cost`` it was opened at.

    ``cost`` is signed like ``quantity``: quantity times average entry price, in
    quote units. It is kept in place of the average because sums are exact and
    averages are not.
    """

    quantity: Decimal = _ZERO
    cost: Decimal = _ZERO

    @property
    def price(self) -> Decimal:
        """Average entry price; zero when flat."""
        return _AVERAGE.divide(self.cost, self.quantity) if self.quantity else _ZERO


class Booked(NamedTuple):
    """A position after a fill, and what the fill did.

    ``opened`` and ``closed`` are parts of the fill and carry its sign;
    ``realised`` is the profit of the closed part, in quote units, before fees.
    """

    position: Position
    opened: Decimal
    closed: Decimal
    realised: Decimal


def apply_fill(position: Position, *, signed_quantity: Decimal, price: Decimal) -> Booked:
    """Return ``position`` after a fill of ``signed_quantity`` (SELL is negative) at ``price``.

    A fill through zero closes all there was and opens the rest at its own price.
    Nothing is lost to rounding: when flat again, what was realised in all equals
    what was received less what was paid.
    """
    before = position.quantity
    after = _EXACT.add(before, signed_quantity)
    opened, closed = _split(before, after)
    taken = _EXACT.minus(closed)
    released = _cost_of(position, taken)
    realised = _EXACT.subtract(_EXACT.multiply(taken, price), released)
    cost = _EXACT.add(_EXACT.subtract(position.cost, released), _EXACT.multiply(opened, price))
    return Booked(position=Position(quantity=after, cost=cost), opened=opened, closed=closed, realised=realised)


def _cost_of(position: Position, part: Decimal) -> Decimal:
    if part in {_ZERO, position.quantity}:
        return position.cost if part else _ZERO
    share = _EXACT.divide(_EXACT.multiply(position.cost, part), position.quantity)
    return share.quantize(_COST_GRID, context=_EXACT)


def _split(before: Decimal, after: Decimal) -> tuple[Decimal, Decimal]:
    """Return how much of the step from ``before`` to ``after`` opens, and how much closes."""
    change = _EXACT.subtract(after, before)
    if before == 0 or (before > 0) == (change > 0):
        return change, _ZERO
    if after == 0 or (before > 0) == (after > 0):
        return _ZERO, change
    return after, _EXACT.minus(before)


# --- spot: the fee may be taken from the coin that was bought -----------------------------------------


def base_change(fill: Fill, *, base: str) -> Decimal:
    """Return what a spot fill does to the holding of its base coin: bought less the fee, if paid in it."""
    fee = fill.fee if fill.fee is not None and fill.fee_asset == base else _ZERO
    return _EXACT.subtract(_EXACT.multiply(fill.side.sign, fill.quantity), fee)


def balance_changes(fill: Fill, *, instrument: Instrument) -> dict[str, Decimal]:
    """Return what a spot fill adds to (or takes from) each asset, its fee included."""
    paid = _EXACT.multiply(fill.price, fill.quantity)
    changes = {
        instrument.base: _EXACT.multiply(fill.side.sign, fill.quantity),
        instrument.quote: _EXACT.minus(paid) if fill.side is Side.BUY else paid,
    }
    if fill.fee is not None and fill.fee_asset is not None:
        changes[fill.fee_asset] = _EXACT.subtract(changes.get(fill.fee_asset, _ZERO), fill.fee)
    return changes


def split_dust(quantity: Decimal, *, step_size: Decimal) -> tuple[Decimal, Decimal]:
    """Return what of ``quantity`` can be traded, and the dust: what lies below one step. Signs are kept."""
    dust = _EXACT.remainder(quantity, step_size)
    return _EXACT.subtract(quantity, dust), dust


# --- the mirror in floats ------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class FloatMirror:
    """An exact quantity beside the float sum backtrader makes of it.

    ``bt.Trade.update`` adds what is opened and closed in floats and takes a trade
    for closed when the sum is exactly 0.0, which after fractional fills it often
    is not.  The mirror keeps that very sum and names each change as the
    difference to where the sum must be, so it cannot drift: flat is 0.0.

    What is held below one step cannot be traded. It counts as flat, so that it
    closes the trade, and stays in ``quantity`` until later fills lift it.
    """

    step_size: Decimal
    quantity: Decimal = _ZERO  # exact, dust included
    total: float = 0.0  # what Trade.update has summed

    @property
    def held(self) -> Decimal:
        """What counts as held: ``quantity``, or zero when that is dust."""
        return self.quantity if abs(self.quantity) >= self.step_size else _ZERO

    @property
    def size(self) -> float:
        """What ``Position.size`` shows."""
        return float(self.held)

    def add(self, change: Decimal) -> "Mirrored":
        """Return the mirror after ``change``, and what backtrader must be told was opened and closed."""
        after = attrs.evolve(self, quantity=_EXACT.add(self.quantity, change))
        opens, closes = _split(self.held, after.held)
        rest = after.size if not opens else 0.0
        closed = rest - self.total if closes else 0.0
        summed = self.total + closed
        opened = after.size - summed if opens else 0.0
        return Mirrored(mirror=attrs.evolve(after, total=summed + opened), opened=opened, closed=closed)


class Mirrored(NamedTuple):
    """A mirror after a change, and the signed floats for ``Order.execute``."""

    mirror: FloatMirror
    opened: float
    closed: float
