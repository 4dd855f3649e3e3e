"""What a margin exchange tells beside orders: money that moved, warnings, settings, marks."""

from collections.abc import Mapping
from decimal import Decimal

import attrs

from btx.model.account import BookingKind
from btx.model.derivatives import MarginMode, PositionMode
from btx.rules.money import EXACT
from btx.sim.orders import SimPosition

__all__ = ("AccountEvent", "ConfigEvent", "MarginCallEvent", "MarkChange", "Purse", "SimBooking", "WalletView")


@attrs.frozen(kw_only=True)
class SimBooking:
    """One movement of an account's money; ids increase over all accounts of an exchange.

    ``reason`` is a finer word where the kind alone does not say: INSURANCE_CLEAR, ...
    """

    booking_id: int
    kind: BookingKind
    asset: str
    amount: Decimal  # in units of the asset; positive: the account got it
    venue_symbol: str | None
    trade_id: int | None
    time_ns: int
    reason: str = ""


@attrs.frozen(kw_only=True)
class Purse:
    """One asset of a margin account by its bookings alone, in its units.

    ``wallet`` is what was paid in, earned and paid; ``cross_wallet`` is what of it no isolated position has set aside.
    """

    asset: str
    wallet: Decimal
    cross_wallet: Decimal


@attrs.frozen(kw_only=True)
class WalletView(Purse):
    """One asset of a margin account with what all of it is worth at the mark prices of now, in its units.

    ``available`` is what new positions may be opened with.
    """

    unrealised: Decimal  # of all positions
    cross_unrealised: Decimal
    position_margin: Decimal  # initial margin of the positions
    order_margin: Decimal  # what open orders reserve beyond it
    maintenance: Decimal  # of all positions
    cross_maintenance: Decimal
    available: Decimal

    @property
    def margin_balance(self) -> Decimal:
        """Wallet and what positions would bring."""
        return EXACT.add(self.wallet, self.unrealised)


@attrs.frozen(kw_only=True)
class AccountEvent:
    """Money or positions of an account changed; absolute values, after it.

    ``reason`` is ORDER, FUNDING_FEE, INSURANCE_CLEAR, MARGIN_TRANSFER, DEPOSIT, WITHDRAW or MARGIN_TYPE_CHANGE.
    ``bookings`` are the movements it tells of; ``wallets`` are of the assets that changed.
    """

    api_key: str
    sequence: int
    reason: str
    wallets: Mapping[str, Purse]
    positions: tuple[SimPosition, ...]
    bookings: tuple[SimBooking, ...]
    time_ns: int


@attrs.frozen(kw_only=True)
class MarginCallEvent:
    """Positions come close to their liquidation; told once, and again only after they were well in between."""

    api_key: str
    sequence: int
    asset: str
    cross_wallet: Decimal
    positions: tuple[SimPosition, ...]
    marks: Mapping[str, Decimal]  # by the venue's symbol
    time_ns: int


@attrs.frozen(kw_only=True)
class ConfigEvent:
    """A setting changed; only what changed is not None."""

    api_key: str
    sequence: int
    venue_symbol: str | None = None  # None: of the whole account
    leverage: int | None = None
    margin_mode: MarginMode | None = None
    position_mode: PositionMode | None = None
    time_ns: int


@attrs.frozen(kw_only=True)
class MarkChange:
    """The mark price of an instrument, as it is from ``time_ns`` on."""

    venue_symbol: str
    mark_price: Decimal
    index_price: Decimal
    funding_rate: Decimal | None  # as it stands now, settled at ``next_funding_ns``; None: it has no funding
    next_funding_ns: int | None
    time_ns: int
