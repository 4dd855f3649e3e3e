"""Orders as an exchange sees them: what is asked, what came of it, and why not."""

import enum
from collections.abc import Mapping
from decimal import Decimal

import attrs

from btx.model.account import Balance
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.order import OrderType, Side, Status, TimeInForce
from btx.sim.filters import FilterSet

__all__ = (
    "ExecutionEvent",
    "ExecutionKind",
    "Listing",
    "NewOrder",
    "Refusal",
    "Refused",
    "SimFill",
    "SimOrder",
)


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


class Refused(Exception):  # noqa: N818 - an answer of the venue, not a fault of the program
    """The exchange did nothing; ``reason`` says why."""

    def __init__(self, reason: Refusal, *, detail: str = "") -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason
        self.detail = detail


@attrs.frozen(kw_only=True)
class NewOrder:
    """What a client asks for. Exactly one of ``quantity`` and ``quote_quantity`` (MARKET only) is set."""

    venue_symbol: str
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce = TimeInForce.GTC
    post_only: bool = False
    quantity: Decimal | None = None
    quote_quantity: Decimal | None = None
    price: Decimal | None = None
    trigger_price: Decimal | None = None
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


@attrs.frozen(kw_only=True)
class SimOrder:
    """An order as it was at ``updated_ns``.

    ``quantity`` of an order sized in quote units is what it has executed.
    ``working_ns`` is None while an order waits for its trigger.
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

    @property
    def remaining(self) -> Decimal:
        return self.quantity - self.executed_quantity

    @property
    def is_open(self) -> bool:
        return not self.status.is_final


class ExecutionKind(enum.Enum):
    """What an execution event tells."""

    NEW = "NEW"
    TRADE = "TRADE"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"
    TRIGGERED = "TRIGGERED"


@attrs.frozen(kw_only=True)
class ExecutionEvent:
    """Something happened to an order; ``balances`` are the assets it changed, after it."""

    api_key: str
    sequence: int  # increases over all accounts of an exchange
    kind: ExecutionKind
    order: SimOrder
    fill: SimFill | None
    balances: Mapping[str, Balance]
    time_ns: int
