"""What an account holds by our own count: totals of assets, and positions, each moved by what is known to move it.

======================== ====================================== =====================================
account                  an asset's total is moved by           a position is moved by
======================== ====================================== =====================================
spot                     fills: what was bought, sold, paid     -- (the coin is the position)
margin                   fills: what they realised, their fees  fills
                         bookings: everything else
======================== ====================================== =====================================

So each movement is counted once: fees and profits of fills by the fills, whatever list of bookings also has them.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal

import attrs

from btx.model.account import AccountSnapshot, AccountUpdate, Balance, Booking, BookingKind, PositionReport
from btx.model.instrument import Instrument
from btx.model.order import Order
from btx.rules.money import EXACT, ZERO
from btx.rules.orders import new_fills
from btx.rules.wallet import Key, MarginAccount, Terms, apply_booking, apply_fill, apply_update, with_terms

__all__ = (
    "Holding",
    "adopted",
    "after_order",
    "counts",
    "held",
    "moved",
    "stated",
    "with_instrument",
)

Holding = str | Key
"""An asset, or a position."""

_OF_FILLS = frozenset({BookingKind.FEE, BookingKind.REALISED})


def counts(booking: Booking) -> bool:
    """Say whether a booking moves the account beside its fills."""
    return booking.kind not in _OF_FILLS


def with_instrument(account: MarginAccount, instrument: Instrument) -> MarginAccount:
    """Return the account with an instrument it can have positions in; how it is traded stays, where that is known."""
    known = instrument.symbol in account.terms
    return account if known else with_terms(account, Terms(instrument=instrument))


def after_order(account: MarginAccount, before: Order, after: Order) -> MarginAccount:
    """Return the account after a step of an order: its new fills, and the fees that were told late."""
    account = with_instrument(account, after.leg.request.instrument)
    for fill in new_fills(before, after):
        account = apply_fill(account, fill).account
    told = {fill.fill_id: fill for fill in after.fills}
    for old in before.fills:
        fill = told[old.fill_id]
        late = EXACT.subtract(fill.fee or ZERO, old.fee or ZERO)
        if late and fill.fee_asset is not None:
            fee = Booking(
                booking_id=fill.fill_id,
                kind=BookingKind.FEE,
                asset=fill.fee_asset,
                amount=EXACT.minus(late),
                symbol=fill.symbol,
                time_ns=fill.time_ns,
            )
            account = apply_booking(account, fee)
    return account


def adopted(
    account: MarginAccount, totals: Mapping[str, Decimal], positions: Iterable[PositionReport], *, time_ns: int
) -> MarginAccount:
    """Return the account with these totals and positions and no others, as somebody states them."""
    reports = {Key(each.symbol, each.position_side): each for each in positions}
    gone = [
        PositionReport(symbol=key.symbol, position_side=key.position_side, quantity=ZERO, time_ns=time_ns)
        for key in account.positions
        if key not in reports
    ]
    balances = {asset: Balance(free=total, locked=ZERO) for asset, total in totals.items()}
    update = AccountUpdate(balances=balances, positions=(*reports.values(), *gone), time_ns=time_ns)
    return apply_update(attrs.evolve(account, wallets={}), update)


def held(account: MarginAccount) -> dict[Holding, Decimal]:
    """Return everything an account holds."""
    positions: dict[Holding, Decimal] = {key: position.quantity for key, position in account.positions.items()}
    return positions | dict(account.wallets.items())


def stated(snapshot: AccountSnapshot) -> dict[Holding, Decimal]:
    """Return everything the venue says an account holds."""
    totals: dict[Holding, Decimal] = {asset: balance.total for asset, balance in snapshot.balances.items()}
    return totals | {Key(each.symbol, each.position_side): each.quantity for each in snapshot.positions}


def moved(before: MarginAccount, after: MarginAccount) -> dict[Holding, Decimal]:
    """Return by how much each holding differs between two moments; what does not is left out."""
    was, now = held(before), held(after)
    steps = {each: EXACT.subtract(now.get(each, ZERO), was.get(each, ZERO)) for each in was.keys() | now.keys()}
    return {each: step for each, step in steps.items() if step}
