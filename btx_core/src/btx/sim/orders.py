"""Orders as an exchange sees them: what is asked, what came of it, and why not."""

import enum
from collections.abc import Mapping
from decimal import Decimal

import attrs

from btx.model.account import Balance
from btx.model.calendar import ALWAYS, Calendar
from btx.model.derivatives import LeverageTier, MarginMode
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.order import ListKind, OrderType, Origin, PositionSide, Side, Status, TimeInForce
from btx.model.time import NS_PER_S
from btx.rules.positions import Position
from btx.sim.filters import FilterSet

__all__ = (
    "LIMIT_TYPES",
    "TRIGGER_TYPES",
    "Amendment",
    "ExecutionEvent",
    "ExecutionKind",
    "Exit",
    "Listing",
    "Memo",
    "NewOrder",
    "PriceKind",
    "Refusal",
    "Refused",
    "Replacement",
    "SimFill",
    "SimOrder",
    "SimOrderList",
    "SimPosition",
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


class PriceKind(enum.Enum):
    """What wakes a conditional order up."""

    LAST = "LAST"
    MARK = "MARK"
    INDEX = "INDEX"


Memo = Mapping[str, str]
"""What a skin wants to find again on an order: the exchange carries it and never looks at it."""


@attrs.frozen(kw_only=True)
class Exit:
    """What is to close the position that an order opens, once it has: a take profit or a stop loss.

    A whole one closes all of the position and takes the place of the one there is; else it is as large as what
    the order executes, and ends together with the order's other exit.
    """

    is_profit: bool
    trigger_price: Decimal
    trigger_by: PriceKind = PriceKind.LAST
    price: Decimal | None = None  # of a limit order; None: at market
    is_whole: bool = True
    memo: Memo = attrs.field(factory=dict)

    @property
    def order_type(self) -> OrderType:
        """The order it becomes."""
        if self.price is None:
            return OrderType.TAKE_PROFIT_MARKET if self.is_profit else OrderType.STOP_MARKET
        return OrderType.TAKE_PROFIT_LIMIT if self.is_profit else OrderType.STOP_LIMIT


@attrs.frozen(kw_only=True)
class Listing:
    """One instrument as the venue lists it; the tiers, lowest first, and the funding are of what is held on margin.

    Where the ``calendar`` says that it is closed no order is taken, and the market stands still.
    """

    instrument: Instrument
    filters: FilterSet
    fees: FeeSchedule
    tiers: tuple[LeverageTier, ...] = ()
    funding_interval_ns: int = 8 * 3600 * NS_PER_S  # of a perpetual whose rates come from no file
    calendar: Calendar = ALWAYS

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
    INSUFFICIENT_MARGIN = "margin is insufficient"
    REDUCE_ONLY = "a reduce-only order has nothing to reduce"
    POSITION_SIDE = "the order's position side does not match the position mode"
    REDUCE_ONLY_IN_HEDGE = "reduce-only is not for two-sided positions, whose side says it already"
    TIER_EXCEEDED = "the position would exceed what its leverage allows"
    LEVERAGE = "leverage is not within the tiers"
    LEVERAGE_REDUCTION = "leverage of an isolated position cannot be reduced"
    HAS_POSITION = "there is a position"
    HAS_ORDERS = "there are open orders"
    NO_CHANGE = "it is so already"
    NO_POSITION = "there is no position"
    NOT_ISOLATED = "the position has no margin of its own"
    CLOSE_EXISTS = "a conditional order that closes the position waits already"
    GOOD_TILL = "the order would end too soon"
    PRICE_BEYOND_LIQUIDATION = "the trigger lies beyond what the position survives"


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

    What follows ``client_order_id`` is of markets on margin.  ``close_position``
    is a conditional order without a quantity: it closes what there is.
    ``good_till_ns`` (market time) goes with GTD and with nothing else.  ``trail_distance`` is a trail in quote
    units, in place of ``trail_bps``.  An order that ``is_exit`` was made for a position: it ends with it, and does
    not count among conditional orders.  Of conditional orders with the same ``pair`` the first to wake ends the others.
    ``locks_late`` is of orders for what is owned: they lock nothing before their trigger, and may then be refused.
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
    position_side: PositionSide = PositionSide.NET
    reduce_only: bool = False
    close_position: bool = False
    trigger_by: PriceKind = PriceKind.LAST
    good_till_ns: int | None = None
    trail_distance: Decimal | None = None
    exits: tuple[Exit, ...] = ()
    is_exit: bool = False
    pair: str = ""
    locks_late: bool = False
    memo: Memo = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class SimFill:
    """One execution of an order.

    ``base_quantity`` is what it is of the base coin: of contracts, what they are worth in it.
    ``realised`` is the profit of what it closed, in the settle asset, before fees; ``closed`` how much that was.
    """

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
    base_quantity: Decimal = Decimal(0)
    position_side: PositionSide = PositionSide.NET
    realised: Decimal = Decimal(0)
    closed: Decimal = Decimal(0)
    origin: Origin = Origin.CLIENT


@attrs.frozen(kw_only=True)
class SimOrder:
    """An order as it was at ``updated_ns``.

    ``quantity`` of an order sized in quote units is what it has executed.
    ``working_ns`` is None while an order waits for its trigger, or is
    PENDING_NEW until the working order of its list is filled.
    ``reserve_price`` is what a buy without a limit locks money at until it
    works.  A trailing order follows the market since ``trail_ns``;
    ``trail_price`` is the best price since then.  ``conditional_id`` is the
    conditional order it came from; ``executed_base`` the sum of its fills' base quantities.
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
    executed_base: Decimal = Decimal(0)
    position_side: PositionSide = PositionSide.NET
    reduce_only: bool = False
    close_position: bool = False
    good_till_ns: int | None = None
    conditional_id: int | None = None
    origin: Origin = Origin.CLIENT
    exits: tuple[Exit, ...] = ()
    locks_late: bool = False
    memo: Memo = attrs.field(factory=dict)

    @property
    def average_price(self) -> Decimal | None:
        """What it executed at on average, in quote units; of contracts by what they are worth. None: nothing yet."""
        base = self.executed_base or self.executed_quantity
        return self.executed_quote / base if base else None

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
class SimPosition:
    """A position as it was at ``updated_ns``; money in the settle asset.

    ``realised`` is what was ever realised with it, before fees; ``isolated_wallet`` the
    money that is set aside for it, zero of a crossed one.
    """

    venue_symbol: str
    position_side: PositionSide = PositionSide.NET
    book: Position
    margin_mode: MarginMode = MarginMode.CROSS
    isolated_wallet: Decimal = Decimal(0)
    leverage: int
    realised: Decimal = Decimal(0)
    residue: Decimal = Decimal(0)  # realised, and less than can be booked
    updated_ns: int

    @property
    def key(self) -> tuple[str, PositionSide]:
        """What an account keeps it under."""
        return self.venue_symbol, self.position_side

    @property
    def quantity(self) -> Decimal:
        """Base units or contracts, negative when short."""
        return self.book.quantity

    @property
    def entry_price(self) -> Decimal:
        """Average price it was opened at, not rounded; zero when flat."""
        return self.book.price


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
    position: SimPosition | None = None  # after a fill on margin


@attrs.frozen(kw_only=True)
class Replacement:
    """What came of a cancel-replace; a half that was not attempted has neither order nor refusal."""

    canceled: SimOrder | None = None
    cancel_refused: Refused | None = None
    placed: SimOrder | None = None
    place_refused: Refused | None = None


@attrs.frozen(kw_only=True)
class Amendment:
    """One change of an order in place; ``execution_id`` is the sequence of its event."""

    order_id: int
    venue_symbol: str
    execution_id: int
    old_client_order_id: str
    new_client_order_id: str
    old_quantity: Decimal
    new_quantity: Decimal
    time_ns: int
    old_price: Decimal | None = None
    new_price: Decimal | None = None
