"""A margin account: wallets, positions, and what fills, bookings and marks do to them.

The one model of a margin account: the simulator's ledger, a backtest's broker and the display of a live
account fold the same events with these functions, so their sums agree to the last decimal::

    wallet = paid in + realised + funding - fees + everything else that was booked
    equity = wallet + unrealised
    cross wallet = wallet - the wallets of isolated positions
    available = cross wallet + unrealised of cross positions - their initial margin - what orders reserve

Everything is a frozen value. Sums over positions are kept and moved by differences, so a new mark price
costs the same with one position as with fifty; as the sums are exact, the order of updates does not matter.

Choices where the venue says nothing: an isolated position opens with the initial margin at the fill price; fees
are taken from the wallet, not from the isolated part; a partial close releases its share of the isolated wallet.
Source of the sums: https://developers.binance.com/docs/derivatives/usds-margined-futures/account/rest-api
(Account Information V3, read 2025), and ``btx.rules.margin``.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

import attrs

from btx.model.account import AccountUpdate, Booking, BookingKind, PositionReport
from btx.model.derivatives import FundingRate
from btx.model.order import Fill, PositionSide
from btx.rules import margin
from btx.rules.account import NO_SUMS, Key, MarginAccount, MarginPosition, Sums, Terms
from btx.rules.contracts import notional
from btx.rules.funding import funding_payment
from btx.rules.money import EXACT, MONEY_GRID, ZERO, booked
from btx.rules.positions import Booked, Position
from btx.rules.positions import apply_fill as turn

__all__ = (
    "Applied",
    "Funded",
    "Key",
    "MarginAccount",
    "MarginPosition",
    "Terms",
    "apply_booking",
    "apply_fill",
    "apply_funding",
    "apply_mark",
    "apply_update",
    "liquidated",
    "liquidation_price",
    "move_margin",
    "uncovered",
    "with_terms",
)


class Funded(NamedTuple):
    """An account after a funding, and what each position got (negative: paid), in the settle asset."""

    account: MarginAccount
    payments: Mapping[Key, Decimal]


class Applied(NamedTuple):
    """An account after a fill, and what the fill did.

    ``opened`` and ``closed`` are parts of the fill and carry its sign; ``realised`` is
    what was booked for the closed part, in the settle asset, before the fee.
    """

    account: MarginAccount
    opened: Decimal
    closed: Decimal
    realised: Decimal


def with_terms(account: MarginAccount, terms: Terms) -> MarginAccount:
    """Return the account with an instrument added, or traded on other terms from now on.

    Raises:
        ValueError: another margin mode while a position is open, which no venue allows.
    """
    symbol = terms.instrument.symbol
    for position in tuple(account.of_symbol(symbol)):
        if position.margin_mode is not terms.margin_mode:
            raise ValueError(f"{symbol} has an open position: close it before you change its margin mode")
        account = _put(account, attrs.evolve(position, terms=terms))
    return attrs.evolve(account, terms={**account.terms, symbol: terms})


def apply_fill(account: MarginAccount, fill: Fill) -> Applied:
    """Return the account after ``fill`` of an instrument whose terms it has.

    What the venue says was realised is booked as it says. Where it does not (it may tell it of one fill and not
    of the next), it is counted here and cut to eight decimals; either way the rest waits for the next part that is
    closed, so that a closed position has realised what was received less what was paid.

    Raises:
        KeyError: the account has no terms of the symbol.
    """
    terms = account.terms[fill.symbol]
    asset = terms.instrument.settle
    before = account.position(fill.symbol, fill.position_side) or MarginPosition(
        terms=terms,
        position_side=fill.position_side,
        book=Position.of(terms.instrument),
        mark_price=account.marks.get(fill.symbol, fill.price),
    )
    change = EXACT.multiply(fill.side.sign, fill.quantity)
    done = turn(before.book, signed_quantity=change, price=fill.price)
    exact = EXACT.add(done.realised, before.residue)
    realised = booked(exact) if fill.realised is None else fill.realised
    residue = EXACT.subtract(exact, realised)
    if residue.copy_abs() >= MONEY_GRID:  # the venue counts otherwise: what waits there is not known
        residue = ZERO
    after = attrs.evolve(before, book=done.position, residue=residue, isolated_wallet=_aside(before, done, fill.price))
    account = _put(account, after)
    if done.closed:
        account = _book(account, BookingKind.REALISED, asset, realised)
    if fill.fee is not None and fill.fee_asset is not None:
        account = _book(account, BookingKind.FEE, fill.fee_asset, EXACT.minus(fill.fee))
    return Applied(account=account, opened=done.opened, closed=done.closed, realised=realised)


def apply_booking(
    account: MarginAccount, booking: Booking, position_side: PositionSide = PositionSide.NET
) -> MarginAccount:
    """Return the account after money moved; whether it was counted before is for the caller to know.

    Funding of an isolated position is taken from what was put aside for it.
    """
    account = _book(account, booking.kind, booking.asset, booking.amount)
    if booking.kind is not BookingKind.FUNDING or booking.symbol is None:
        return account
    position = account.position(booking.symbol, position_side)
    if position is None or not position.is_isolated:
        return account
    return _put(account, attrs.evolve(position, isolated_wallet=EXACT.add(position.isolated_wallet, booking.amount)))


def apply_funding(account: MarginAccount, rate: FundingRate) -> Funded:
    """Return the account after its positions of one instrument paid or received a funding, each by itself.

    The notional is counted at the rate's own mark price, or where it has none at the account's.
    """
    payments: dict[Key, Decimal] = {}
    for position in tuple(account.of_symbol(rate.symbol)):
        instrument, mark = position.terms.instrument, rate.mark_price or position.mark_price
        amount = payments[position.key] = funding_payment(instrument, position.quantity, mark, rate.rate)
        account = _book(account, BookingKind.FUNDING, instrument.settle, amount)
        if position.is_isolated:
            aside = EXACT.add(position.isolated_wallet, amount)
            account = _put(account, attrs.evolve(position, isolated_wallet=aside))
    return Funded(account=account, payments=payments)


def apply_mark(account: MarginAccount, symbol: str, mark_price: Decimal) -> MarginAccount:
    """Return the account with an instrument's positions valued at a new mark price."""
    if account.marks.get(symbol) == mark_price:
        return account
    account = attrs.evolve(account, marks={**account.marks, symbol: mark_price})
    for position in tuple(account.of_symbol(symbol)):
        account = _put(account, attrs.evolve(position, mark_price=mark_price))
    return account


def apply_update(account: MarginAccount, update: AccountUpdate) -> MarginAccount:
    """Return the account as the venue states it; what it did not tell stays. Sums of bookings are not touched.

    Positions of symbols without terms are left out, and new ones of which no price at all is known.
    """
    told = {asset: balance.total for asset, balance in update.balances.items()}
    account = attrs.evolve(account, wallets={**account.wallets, **told})
    for report in update.positions:
        if report.symbol in account.terms:
            account = _apply_report(account, report)
    return account


def move_margin(account: MarginAccount, key: Key, amount: Decimal) -> MarginAccount:
    """Return the account with ``amount`` put aside for an isolated position, or (negative) taken back.

    Raises:
        ValueError: there is no such isolated position, or not so much to move.
    """
    position = account.positions.get(key)
    if position is None or not position.is_isolated:
        raise ValueError(f"{key.symbol} has no isolated position: there is no margin of its own to change")
    asset = position.terms.instrument.settle
    wallet = EXACT.add(position.isolated_wallet, amount)
    spare = EXACT.subtract(EXACT.add(wallet, position.unrealised), position.initial)
    if amount > account.available(asset) or (amount < 0 and min(spare, wallet) < 0):
        raise ValueError(f"{key.symbol}: {amount} {asset} cannot be moved, there is less to spare")
    return _put(account, attrs.evolve(position, isolated_wallet=wallet))


def liquidation_price(account: MarginAccount, key: Key) -> Decimal | None:
    """Return the mark price at which a position is liquidated if no other price moves; None: there is none.

    Raises:
        KeyError: no such position is open.
    """
    position = account.positions[key]
    tiers = position.tiers
    if not tiers:
        return None
    if position.is_isolated:
        return margin.liquidation_price_isolated(position.book, wallet=position.isolated_wallet, tiers=tiers)
    asset = position.terms.instrument.settle
    own = tuple(account.of_symbol(key.symbol))
    free = EXACT.subtract(account.margin_balance(asset), account.maintenance(asset))
    for each in own:
        free = EXACT.add(EXACT.subtract(free, each.unrealised), each.maintenance)
    return margin.liquidation_price_cross(
        [each.book for each in own], free=free, tiers=tiers, mark_price=position.mark_price
    )


def liquidated(account: MarginAccount, symbol: str) -> tuple[Key, ...]:
    """Return which positions must be closed now, after the mark price or a position of ``symbol`` changed.

    An isolated one goes by itself; cross positions of the settle asset go all together.
    """
    terms = account.terms[symbol]
    asset = terms.instrument.settle
    due = [each.key for each in account.of_symbol(symbol) if each.is_isolated and each.margin_ratio >= 1]
    if account.margin_ratio(asset) >= 1:
        due += [
            key
            for key, each in account.positions.items()
            if not each.is_isolated and each.terms.instrument.settle == asset
        ]
    return tuple(due)


def uncovered(before: MarginAccount, after: MarginAccount, key: Key) -> Decimal:
    """Return what the venue's insurance fund has to book after the liquidation of a position; zero when nothing.

    An isolated position never costs more than was put aside for it, cross positions not more than the wallet.
    """
    position = before.positions[key]
    asset = position.terms.instrument.settle
    kept = before.cross_wallet(asset) if position.is_isolated else ZERO
    return max(EXACT.subtract(kept, after.cross_wallet(asset)), ZERO)


def _apply_report(account: MarginAccount, report: PositionReport) -> MarginAccount:
    terms = account.terms[report.symbol]
    terms = attrs.evolve(
        terms, leverage=report.leverage or terms.leverage, margin_mode=report.margin_mode or terms.margin_mode
    )
    account = attrs.evolve(account, terms={**account.terms, report.symbol: terms})
    before = account.position(report.symbol, report.position_side)
    flat = Position.of(terms.instrument)
    book = before.book if before is not None else flat
    entry = report.entry_price
    if report.mark_price is not None:
        account = apply_mark(account, report.symbol, report.mark_price)
    mark = account.marks.get(report.symbol) or (before.mark_price if before is not None else entry)
    if mark is None:
        return account
    if report.quantity != book.quantity or (entry is not None and entry != book.price):
        paid = entry or book.price or mark
        book = turn(flat, signed_quantity=report.quantity, price=paid).position if report.quantity else flat
    aside = report.isolated_margin
    if aside is None:
        aside = before.isolated_wallet if before is not None else ZERO
    position = MarginPosition(
        terms=terms, position_side=report.position_side, book=book, mark_price=mark, isolated_wallet=aside
    )
    return _put(account, position)


def _aside(before: MarginPosition, done: Booked, price: Decimal) -> Decimal:
    """Return what is put aside for an isolated position after a fill: its share goes with what was closed."""
    if not before.is_isolated:
        return ZERO
    aside, terms = before.isolated_wallet, before.terms
    if done.closed:
        left = EXACT.add(before.quantity, done.closed)
        aside = booked(EXACT.divide(EXACT.multiply(aside, left), before.quantity))
    worth = notional(terms.instrument, done.opened, price)
    rate = attrs.evolve(before, book=done.position).closing_rate
    return EXACT.add(aside, booked(margin.initial_margin(worth, terms.leverage, fee_rate=rate)))


def _book(account: MarginAccount, kind: BookingKind, asset: str, amount: Decimal) -> MarginAccount:
    return attrs.evolve(
        account,
        wallets={**account.wallets, asset: EXACT.add(account.wallet(asset), amount)},
        bookings={**account.bookings, (kind, asset): EXACT.add(account.booked(kind, asset), amount)},
    )


def _put(account: MarginAccount, position: MarginPosition) -> MarginAccount:
    """Replace a position, or drop it when it is flat, and move the sums by the difference."""
    key, asset = position.key, position.terms.instrument.settle
    positions, sums = dict(account.positions), account.sums.get(asset, NO_SUMS)
    old = positions.get(key)
    if old is not None:
        sums = _moved(sums, old, -1)
    if position.quantity:
        positions[key] = position  # where it stood: the order is that of opening
        sums = _moved(sums, position, 1)
    else:
        positions.pop(key, None)
    return attrs.evolve(account, positions=positions, sums={**account.sums, asset: sums})


def _moved(sums: Sums, position: MarginPosition, sign: int) -> Sums:
    """Return the sums with a position added (+1) or taken out (-1)."""
    by = EXACT.add if sign > 0 else EXACT.subtract
    if position.is_isolated:
        return sums._replace(
            isolated_unrealised=by(sums.isolated_unrealised, position.unrealised),
            isolated_initial=by(sums.isolated_initial, position.initial),
            isolated_wallet=by(sums.isolated_wallet, position.isolated_wallet),
        )
    return sums._replace(
        unrealised=by(sums.unrealised, position.unrealised),
        maintenance=by(sums.maintenance, position.maintenance),
        initial=by(sums.initial, position.initial),
    )
