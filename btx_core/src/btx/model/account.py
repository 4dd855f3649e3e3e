"""Accounts: what is owned and held, and what the venue says about it."""

import enum
from collections.abc import Mapping
from decimal import Decimal

import attrs

from btx.model.derivatives import MarginMode, PositionMode
from btx.model.order import PositionSide

__all__ = (
    "AccountSnapshot",
    "AccountUpdate",
    "Balance",
    "Booking",
    "BookingKind",
    "KeyRights",
    "Lots",
    "MarginCall",
    "PositionReport",
    "SymbolTerms",
)


@attrs.frozen(kw_only=True)
class Balance:
    """One asset of an account, in its own units; ``locked`` is reserved by open orders.

    Of a margin account the total is the wallet balance: what was paid in, earned and paid, without what open
    positions would bring; nothing is locked there.
    """

    free: Decimal
    locked: Decimal

    @property
    def total(self) -> Decimal:
        """Free and locked together."""
        return self.free + self.locked


@attrs.frozen(kw_only=True)
class PositionReport:
    """A position as the venue states it; a field it did not tell is None. Money is in the settle asset."""

    symbol: str
    position_side: PositionSide = PositionSide.NET
    quantity: Decimal  # base units or contracts, negative when short; zero: there is none (any more)
    entry_price: Decimal | None = None
    mark_price: Decimal | None = None
    unrealised: Decimal | None = None
    liquidation_price: Decimal | None = None
    leverage: int | None = None
    margin_mode: MarginMode | None = None
    isolated_margin: Decimal | None = None  # the wallet of an isolated position
    time_ns: int


_not_negative = attrs.validators.ge(Decimal(0))


@attrs.frozen(kw_only=True)
class Lots:
    """What an account has long and has short of one instrument, by the trading day it was opened on, in contracts.

    For venues where both stand side by side and an order says which it opens or closes; the position is the difference.
    """

    symbol: str
    long_today: Decimal = attrs.field(default=Decimal(0), validator=_not_negative)
    long_yesterday: Decimal = attrs.field(default=Decimal(0), validator=_not_negative)
    short_today: Decimal = attrs.field(default=Decimal(0), validator=_not_negative)
    short_yesterday: Decimal = attrs.field(default=Decimal(0), validator=_not_negative)

    @property
    def net(self) -> Decimal:
        """The position: what is long less what is short."""
        return self.long_today + self.long_yesterday - self.short_today - self.short_yesterday


@attrs.frozen(kw_only=True)
class SymbolTerms:
    """How an account trades an instrument on margin, whether it holds a position or not; None: it is not told."""

    leverage: int | None = None
    margin_mode: MarginMode | None = None


@attrs.frozen(kw_only=True)
class AccountSnapshot:
    """An account as the venue states it at ``time_ns``; positions are of margin accounts, those that are open."""

    balances: Mapping[str, Balance]
    time_ns: int
    can_trade: bool = True
    positions: tuple[PositionReport, ...] = ()
    terms: Mapping[str, SymbolTerms] = attrs.field(factory=dict)  # by symbol, as far as they are told
    position_mode: PositionMode | None = None  # None where there is no such thing
    fee_tier: str | None = None  # the venue's name of the account's own, None where it does not say
    lots: tuple[Lots, ...] = ()  # what positions are made of, where ``Capabilities.offsets`` says so
    is_multi_asset: bool = False  # all assets together are margin: not modelled, found at start


@attrs.frozen(kw_only=True)
class AccountUpdate:
    """New totals of the assets, and the positions, that changed; absolute values, not differences.

    ``reason`` is the venue's own word: ORDER, FUNDING_FEE, ...
    """

    balances: Mapping[str, Balance]
    time_ns: int
    positions: tuple[PositionReport, ...] = ()
    reason: str = ""
    sequence: int | None = None  # the venue's own, where it gives one


class BookingKind(enum.Enum):
    """Why money moved."""

    FUNDING = "FUNDING"
    FEE = "FEE"
    REALISED = "REALISED"  # profit or loss of what was closed
    LIQUIDATION_FEE = "LIQUIDATION_FEE"  # to the insurance fund
    TRANSFER = "TRANSFER"
    REBATE = "REBATE"
    OTHER = "OTHER"


@attrs.frozen(kw_only=True)
class Booking:
    """One movement of money as the venue lists it; ``booking_id`` is unique with its kind, so replays are harmless."""

    booking_id: str
    kind: BookingKind
    asset: str
    amount: Decimal  # in units of the asset; positive: the account got it
    symbol: str | None = None
    fill_id: str | None = None
    time_ns: int


@attrs.frozen(kw_only=True)
class MarginCall:
    """The venue warns: these positions come close to their liquidation."""

    positions: tuple[PositionReport, ...]
    time_ns: int


@attrs.frozen(kw_only=True)
class KeyRights:
    """What an API key may do, as far as the venue tells: None is "it does not say"."""

    may_read: bool | None = None
    may_trade: bool | None = None  # in the market that was asked for
    may_withdraw: bool | None = None
    is_ip_restricted: bool | None = None
