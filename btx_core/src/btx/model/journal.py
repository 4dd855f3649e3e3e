"""What the journal holds: one record for each thing that must outlive the process."""

from collections.abc import Mapping
from decimal import Decimal

import attrs

from btx.model.account import Booking, BookingKind, PositionReport
from btx.model.order import Group, Leg, OrderEvent
from btx.model.venue import Environment

__all__ = (
    "AccountState",
    "Booked",
    "BookingDelivered",
    "Delivered",
    "Event",
    "GroupState",
    "Halted",
    "Intent",
    "Note",
    "Record",
    "Resumed",
    "RunEnded",
    "RunStarted",
    "Sent",
    "Snapshot",
    "StrategyState",
    "UnknownRecord",
)


@attrs.frozen(kw_only=True)
class Intent:
    """A leg that is about to be sent: on disk before its first byte leaves."""

    leg: Leg
    environment: Environment
    session: str  # as in every log line: binance/live/spot
    run: str  # what the client order ids of its run begin with

    @property
    def client_order_id(self) -> str:
        return self.leg.client_order_id

    @property
    def signal_ns(self) -> int:
        """Market time: close of the bar the decision stands on."""
        return self.leg.request.signal_ns


@attrs.frozen(kw_only=True)
class Sent:
    """The leg leaves now: from here on it may rest at the venue. Without it, it certainly does not."""

    client_order_id: str
    time_ns: int  # wire time


@attrs.frozen(kw_only=True)
class Event:
    """What happened to an order: what ``rules.orders.apply`` folds."""

    order_event: OrderEvent

    @property
    def client_order_id(self) -> str:
        return self.order_event.client_order_id


@attrs.frozen(kw_only=True)
class GroupState:
    """A group as it stands from here on: on disk before its first leg; again whenever the strategy changes it."""

    group: Group
    is_over: bool = False  # nothing will be sent for it any more
    time_ns: int  # wire time

    @property
    def client_order_id(self) -> str:
        return self.group.group_id


@attrs.frozen(kw_only=True)
class Delivered:
    """The strategy was told of a fill; what has none of these is told again after a restart, as recovered."""

    client_order_id: str
    fill_id: str


@attrs.frozen(kw_only=True)
class Snapshot:
    """What the account held when everything before was counted; the fills after it explain every difference."""

    balances: Mapping[str, Decimal]  # totals by asset
    time_ns: int  # market time
    positions: tuple[PositionReport, ...] = ()  # of a margin account, those that are open


@attrs.frozen(kw_only=True)
class Booked:
    """Money moved otherwise than by a fill: funding, a liquidation's fee, a transfer. Counted once, by kind and id."""

    booking: Booking


@attrs.frozen(kw_only=True)
class BookingDelivered:
    """The strategy was told of a booking; what has none of these is told again after a restart, as recovered."""

    kind: BookingKind
    booking_id: str


@attrs.frozen(kw_only=True)
class AccountState:
    """The account as it stood at a moment, for whoever reads the story; nothing is decided by it.

    ``wallet`` is totals by asset. ``equity`` is by asset too, with what open
    positions would bring; of a spot account it is in the one currency that cash
    is counted in, and empty while a price is not known.
    """

    reason: str  # START, HOUR, FUNDING, END
    wallet: Mapping[str, Decimal]
    equity: Mapping[str, Decimal]
    positions: tuple[PositionReport, ...] = ()
    time_ns: int  # market time


@attrs.frozen(kw_only=True)
class Halted:
    """No order may be sent from here on but those that reduce; it outlives the process."""

    reason: str  # names the field that differs, or the limit that broke
    time_ns: int  # wire time


@attrs.frozen(kw_only=True)
class Resumed:
    """The user has looked, and trading goes on."""

    time_ns: int  # wire time


@attrs.frozen(kw_only=True)
class StrategyState:
    """What a strategy wants to find again after a restart: text of its own."""

    name: str
    text: str
    time_ns: int  # wire time


@attrs.frozen(kw_only=True)
class RunStarted:
    """A process began to trade."""

    run: str
    session: str
    environment: Environment
    version: str  # of btx
    time_ns: int  # wire time


@attrs.frozen(kw_only=True)
class RunEnded:
    """It ended of its own will; a run without this one crashed."""

    run: str
    reason: str = ""
    time_ns: int  # wire time


@attrs.frozen(kw_only=True)
class Note:
    """A remark for whoever reads the story; nothing is decided by it."""

    kind: str  # an upper-case word, FAULT
    text: str
    client_order_id: str | None = None
    time_ns: int  # wire time


@attrs.frozen(kw_only=True)
class UnknownRecord:
    """A record of a kind that only a newer btx can read; kept as it stands."""

    kind: str
    client_order_id: str | None
    body: str


Record = (
    Intent
    | Sent
    | Event
    | GroupState
    | Delivered
    | Snapshot
    | Booked
    | BookingDelivered
    | AccountState
    | Halted
    | Resumed
    | StrategyState
    | RunStarted
    | RunEnded
    | Note
    | UnknownRecord
)
