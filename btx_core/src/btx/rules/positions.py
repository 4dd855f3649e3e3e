"""Positions: the exact book, what a fill does to it, and its mirror in backtrader's floats."""

from decimal import Decimal
from typing import NamedTuple, Self

import attrs

from btx.model.instrument import Instrument
from btx.model.order import Fill, Side
from btx.rules.contracts import average_price, is_inverse, value_of
from btx.rules.money import EXACT, ZERO, fine

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


@attrs.frozen(kw_only=True)
class Position:
    """What is held of one instrument: signed ``quantity``, and the ``cost`` it was opened at.

    ``cost`` is signed like ``quantity``: what it was worth at its entry prices, in
    the settle asset (quote units, of an INVERSE base units). It is kept in place of
    the average because sums are exact and averages are not.
    """

    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    multiplier: Decimal = Decimal(1)
    inverse: bool = False

    @classmethod
    def of(cls, instrument: Instrument) -> Self:
        """Return a flat position that counts as ``instrument`` does."""
        return cls(multiplier=instrument.multiplier, inverse=is_inverse(instrument))

    @property
    def price(self) -> Decimal:
        """Average entry price; zero when flat."""
        return average_price(self.quantity, self.cost, self.multiplier, inverse=self.inverse)

    def worth(self, price: Decimal) -> Decimal:
        """Return what it is worth at ``price`` in the settle asset, with the quantity's sign."""
        return value_of(self.quantity, price, self.multiplier, inverse=self.inverse)

    def profit(self, price: Decimal) -> Decimal:
        """Return what closing all of it at ``price`` would realise, in the settle asset, before fees."""
        return _gain(self.worth(price), self.cost, inverse=self.inverse)


class Booked(NamedTuple):
    """A position after a fill, and what the fill did.

    ``opened`` and ``closed`` are parts of the fill and carry its sign;
    ``realised`` is the profit of the closed part, in the settle asset, before fees.
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
    after = EXACT.add(before, signed_quantity)
    opened, closed = _split(before, after)
    taken = EXACT.minus(closed)
    multiplier, inverse = position.multiplier, position.inverse
    released = _cost_of(position, taken)
    gone = value_of(taken, price, multiplier, inverse=inverse)
    realised = _gain(gone, released, inverse=inverse)
    # What was opened is worth the whole fill less the closed part: rounding each by itself would lose a digit.
    added = EXACT.add(value_of(signed_quantity, price, multiplier, inverse=inverse), gone)
    cost = EXACT.add(EXACT.subtract(position.cost, released), added)
    left = Position(quantity=after, cost=cost, multiplier=multiplier, inverse=inverse)
    return Booked(position=left, opened=opened, closed=closed, realised=realised)


def _gain(worth: Decimal, cost: Decimal, *, inverse: bool) -> Decimal:
    """Return the profit of what cost ``cost``; a long of an INVERSE earns when it is worth fewer coins."""
    return EXACT.subtract(cost, worth) if inverse else EXACT.subtract(worth, cost)


def _cost_of(position: Position, part: Decimal) -> Decimal:
    if part in {ZERO, position.quantity}:
        return position.cost if part else ZERO
    return fine(EXACT.divide(EXACT.multiply(position.cost, part), position.quantity))


def _split(before: Decimal, after: Decimal) -> tuple[Decimal, Decimal]:
    """Return how much of the step from ``before`` to ``after`` opens, and how much closes."""
    change = EXACT.subtract(after, before)
    if before == 0 or (before > 0) == (change > 0):
        return change, ZERO
    if after == 0 or (before > 0) == (after > 0):
        return ZERO, change
    return after, EXACT.minus(before)


# --- spot: the fee may be taken from the coin that was bought -----------------------------------------


def base_change(fill: Fill, *, base: str) -> Decimal:
    """Return what a spot fill does to the holding of its base coin: bought less the fee, if paid in it."""
    fee = fill.fee if fill.fee is not None and fill.fee_asset == base else ZERO
    return EXACT.subtract(EXACT.multiply(fill.side.sign, fill.quantity), fee)


def balance_changes(fill: Fill, *, instrument: Instrument) -> dict[str, Decimal]:
    """Return what a spot fill adds to (or takes from) each asset, its fee included."""
    paid = EXACT.multiply(fill.price, fill.quantity)
    changes = {
        instrument.base: EXACT.multiply(fill.side.sign, fill.quantity),
        instrument.quote: EXACT.minus(paid) if fill.side is Side.BUY else paid,
    }
    if fill.fee is not None and fill.fee_asset is not None:
        changes[fill.fee_asset] = EXACT.subtract(changes.get(fill.fee_asset, ZERO), fill.fee)
    return changes


def split_dust(quantity: Decimal, *, step_size: Decimal) -> tuple[Decimal, Decimal]:
    """Return what of ``quantity`` can be traded, and the dust: what lies below one step. Signs are kept."""
    dust = EXACT.remainder(quantity, step_size)
    return EXACT.subtract(quantity, dust), dust


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
    quantity: Decimal = ZERO  # exact, dust included
    total: float = 0.0  # what Trade.update has summed

    @property
    def held(self) -> Decimal:
        """What counts as held: ``quantity``, or zero when that is dust."""
        return self.quantity if self.quantity.copy_abs() >= self.step_size else ZERO

    @property
    def size(self) -> float:
        """What ``Position.size`` shows."""
        return float(self.held)

    def add(self, change: Decimal) -> "Mirrored":
        """Return the mirror after ``change``, and what backtrader must be told was opened and closed."""
        after = attrs.evolve(self, quantity=EXACT.add(self.quantity, change))
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
