"""Orders as an exchange sees them: what is asked, what came of it, and why not."""

import enum
from collections.abc import Mapping
from decimal import Decimal

import attrs

from btx.model.account import Balance
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.order import ListKind, OrderType, Side, Status, TimeInForce
from btx.sim.filters import FilterSet

__all__ = (
    "LIMIT_TYPES",
    "TRIGGER_TYPES",
    "Amendment",
    "ExecutionEvent",
    "ExecutionKind",
    "Listing",
    "NewOrder",
    "Refusal",
    "Refused",
    "Replacement",
    "SimFill",
    "SimOrder",
    "SimOrderList",
)

LIMIT_TYPES = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT_LIMIT})
"""Order types with a limit price."""

TRIGGER_TYPES = frozenset(
    {
        OrderType.STOP_MARKET,
        OrderType.STOP_LIMIT,
        OrderType.TAKE_PROFIT_MARKET,
        OrderType.TAKE_PROFIT_LIMIT,
    }
)
"""Order types that wait for a price before they work."""


@attrs.frozen(kw_only=True)
class Listing:
    """One instrument as the venue lists it."""

    instrument: Instrument
    filters: FilterSet
    fees: FeeSchedule

    @property
    def venue_symbol(self) -> str:
        return self.instrument.venue_symbol


class Refusal(enum.Enum):
    """Why an order or a cancel was not taken."""

    UNKNOWN_SYMBOL = "unknown symbol"
    UNKNOWN_ORDER = "unknown order"
    DUPLICATE_CLIENT_ID = "client order id is in use by an open order"
    INSUFFICIENT_BALANCE = "insufficient balance"
    FILTER = "filter"  # the detail is the name of the filter, a field of FilterSet
    WOULD_TAKE = "post-only order would take"
    STOP_WOULD_TRIGGER = "trigger price is already passed"
    MARKET_HALTED = "market is not trading"
    NOT_SUPPORTED = "not supported"
    DISPLAY_TOO_LARGE = "visible quantity exceeds the quantity"
    UNKNOWN_LIST = "unknown order list"
    DUPLICATE_LIST_ID = "client list id is in use by an open order list"
    LIST_PRICES = "prices of the legs do not lie around the last price"
    CANCEL_RESTRICTED = "the order is not in the state the cancel asks for"
    AMEND_INCREASE = "an amendment may only reduce the quantity"
    AMEND_NO_CHANGE = "the amendment changes nothing"


class Refused(Exception):  # noqa: N818 - an answer of the venue, not a fault of the program
    """The exchange did nothing; ``reason`` says why."""

    def __init__(self, reason: Refusal, *, detail: str = "") -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason
        self.detail = detail


@attrs.frozen(kw_only=True)
class NewOrder:
    """What a client asks for. Exactly one of ``quantity`` and ``quote_quantity`` (MARKET only) is set.

    A stop or take profit needs ``trigger_price``, ``trail_bps``, or both: a
    trailing order with a trigger price begins to follow the market there.
    """

    venue_symbol: str
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce = TimeInForce.GTC
    post_only: bool = False
    quantity: Decimal | None = None
    quote_quantity: Decimal | None = None
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    trail_bps: int | None = None
    display_quantity: Decimal | None = None
    client_order_id: str | None = None  # None: the exchange makes one


@attrs.frozen(kw_only=True)
class SimFill:
    """One execution of a client order."""

    trade_id: int
    order_id: int
    client_order_id: str
    venue_symbol: str
    side: Side
    price: Decimal
    quantity: Decimal
    quote_quantity: Decimal
    fee: Decimal
    fee_asset: str
    is_maker: bool
    time_ns: int
    list_id: int | None = None


@attrs.frozen(kw_only=True)
class SimOrder:
    """An order as it was at ``updated_ns``.

    ``quantity`` of an order sized in quote units is what it has executed.
    ``working_ns`` is None while an order waits for its trigger, or is
    PENDING_NEW until the working order of its list is filled.
    ``reserve_price`` is what a buy without a limit locks money at until it
    works.  A trailing order follows the market since ``trail_ns``;
    ``trail_price`` is the best price since then.
    """

    order_id: int
    client_order_id: str
    venue_symbol: str
    side: Side
    order_type: OrderType
    post_only: bool
    time_in_force: TimeInForce
    quantity: Decimal
    quote_quantity: Decimal | None
    price: Decimal | None
    trigger_price: Decimal | None
    status: Status
    executed_quantity: Decimal
    executed_quote: Decimal
    fills: tuple[SimFill, ...]
    created_ns: int
    updated_ns: int
    working_ns: int | None
    display_quantity: Decimal | None = None
    reserve_price: Decimal | None = None
    trail_bps: int | None = None
    trail_ns: int | None = None
    trail_price: Decimal | None = None
    list_id: int | None = None
    reject_reason: Refusal | None = None
    amendments: int = 0

    @property
    def remaining(self) -> Decimal:
        return self.quantity - self.executed_quantity

    @property
    def is_open(self) -> bool:
        return not self.status.is_final

    @property
    def is_pending(self) -> bool:
        """Whether it waits for another order to be filled first."""
        return self.status is Status.PENDING_NEW

    @property
    def is_iceberg(self) -> bool:
        return self.display_quantity is not None


@attrs.frozen(kw_only=True)
class SimOrderList:
    """An order list as it was at ``updated_ns``; its orders in the order they were accepted.

    The first order of an OTO or OTOCO is the working one.
    """

    list_id: int
    client_list_id: str
    venue_symbol: str
    kind: ListKind
    order_ids: tuple[int, ...]
    client_order_ids: tuple[str, ...]
    is_done: bool
    created_ns: int
    updated_ns: int
    is_renamed: bool = False  # an order of it has just got another client order id

    @property
    def working_id(self) -> int | None:
        """The order that must be filled before the others are placed; None for an OCO."""
        return None if self.kind is ListKind.OCO else self.order_ids[0]

    @property
    def triggered_ids(self) -> tuple[int, ...]:
        """The orders that wait for the working one."""
        return () if self.kind is ListKind.OCO else self.order_ids[1:]

    def partners(self, order_id: int) -> tuple[int, ...]:
        """Return the orders that cannot live beside this one once it trades or triggers."""
        pair = {ListKind.OCO: self.order_ids, ListKind.OTO: (), ListKind.OTOCO: self.order_ids[1:]}[self.kind]
        return tuple(other for other in pair if other != order_id) if order_id in pair else ()


class ExecutionKind(enum.Enum):
    """What an execution event tells."""

    NEW = "NEW"
    TRADE = "TRADE"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"
    TRIGGERED = "TRIGGERED"
    REPLACED = "REPLACED"  # amended in place


@attrs.frozen(kw_only=True)
class ExecutionEvent:
    """Something happened to an order; ``balances`` are the assets it changed, after it.

    ``order_list`` is the order's list as it is from now on, where the event
    changed the list's own state.
    """

    api_key: str
    sequence: int  # increases over all accounts of an exchange
    kind: ExecutionKind
    order: SimOrder
    fill: SimFill | None
    balances: Mapping[str, Balance]
    time_ns: int
    order_list: SimOrderList | None = None
    previous_client_order_id: str | None = None  # of a REPLACED order


@attrs.frozen(kw_only=True)
class Replacement:
    """What came of a cancel-replace; a half that was not attempted has neither order nor refusal."""

    canceled: SimOrder | None = None
    cancel_refused: Refused | None = None
    placed: SimOrder | None = None
    place_refused: Refused | None = None


@attrs.frozen(kw_only=True)
class Amendment:
    """One reduction of an order's quantity; ``execution_id`` is the sequence of its event."""

    order_id: int
    venue_symbol: str
    execution_id: int
    old_client_order_id: str
    new_client_order_id: str
    old_quantity: Decimal
    new_quantity: Decimal
    time_ns: int
