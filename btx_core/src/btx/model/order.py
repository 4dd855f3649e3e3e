"""Orders: what is asked for, what the venue said, and what came of it."""

import enum
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import attrs

from btx.model.instrument import Instrument

__all__ = (
    "VENUE_ID",
    "VENUE_MADE",
    "AmendRequested",
    "AmendResult",
    "CancelOutcome",
    "CancelRequested",
    "CancelResult",
    "Evidence",
    "Fill",
    "Group",
    "GroupKind",
    "Leg",
    "Liquidity",
    "ListKind",
    "Member",
    "Offset",
    "Order",
    "OrderEvent",
    "OrderList",
    "OrderReport",
    "OrderRequest",
    "OrderType",
    "Origin",
    "OutcomeUnknown",
    "Part",
    "Pending",
    "PlaceRefused",
    "PositionSide",
    "Prepared",
    "Receipt",
    "Side",
    "Status",
    "Terms",
    "TimeInForce",
    "TriggerBy",
    "Veto",
    "WireRef",
)


class Side(enum.Enum):
    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        """+1 for BUY, -1 for SELL."""
        return 1 if self is Side.BUY else -1


class PositionSide(enum.Enum):
    NET = "NET"
    LONG = "LONG"
    SHORT = "SHORT"


class Offset(enum.Enum):
    OPEN = "OPEN"
    CLOSE = "CLOSE"
    CLOSE_TODAY = "CLOSE_TODAY"
    CLOSE_YESTERDAY = "CLOSE_YESTERDAY"


WireRef = Mapping[str, str]
"""What else than ids names an order on the wire, in the adapter's own words: CTP's OrderRef, FrontID, SessionID."""

VENUE_ID: Final = "venue_order_id"
"""The word for the venue's own id among those of a :data:`WireRef`."""

VENUE_MADE: Final = "venue-"
"""How client order ids begin that btx gives orders of the exchange's own; its order id follows the last dash."""


class Origin(enum.Enum):
    """Who made an order: a client, or the venue itself."""

    CLIENT = "CLIENT"
    LIQUIDATION = "LIQUIDATION"
    DELEVERAGING = "DELEVERAGING"  # ADL: it is closed against somebody's liquidation
    DELIVERY = "DELIVERY"  # the contract is over
    ATTACHED = "ATTACHED"  # an exit of a position: a client asked for it, and the venue gave it a name


class OrderType(enum.Enum):
    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP_MARKET = "STOP_MARKET"
    STOP_LIMIT = "STOP_LIMIT"
    TAKE_PROFIT_MARKET = "TAKE_PROFIT_MARKET"
    TAKE_PROFIT_LIMIT = "TAKE_PROFIT_LIMIT"
    TRAILING_STOP = "TRAILING_STOP"


class TimeInForce(enum.Enum):
    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    GTD = "GTD"
    DAY = "DAY"


class TriggerBy(enum.Enum):
    """Which price a conditional order waits for."""

    LAST = "LAST"  # of the last trade
    MARK = "MARK"


class Liquidity(enum.Enum):
    MAKER = "MAKER"
    TAKER = "TAKER"


class Status(enum.Enum):
    """Where an order is. UNKNOWN is only a placement without evidence."""

    PENDING_NEW = "PENDING_NEW"
    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    PENDING_CANCEL = "PENDING_CANCEL"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    UNKNOWN = "UNKNOWN"

    @property
    def is_final(self) -> bool:
        """Nothing but a late fill can change it."""
        return self in _FINAL


_FINAL = frozenset({Status.FILLED, Status.CANCELED, Status.REJECTED, Status.EXPIRED})


class Pending(enum.Enum):
    """A request on its way that has not been answered."""

    CANCEL = "CANCEL"
    AMEND = "AMEND"


_positive = attrs.validators.gt(Decimal(0))
_optional_positive = attrs.validators.optional(_positive)


@attrs.frozen(kw_only=True)
class OrderRequest:
    """What a strategy asks for, on the instrument's grid; one request becomes 1..n legs.

    A TRAILING_STOP follows the market by ``trail_amount`` quote units or
    ``trail_bps`` basis points, one of the two; its ``trigger_price`` is where it
    stands now, and with a ``price`` it becomes a limit order when it triggers.
    """

    instrument: Instrument
    side: Side
    order_type: OrderType
    quantity: Decimal = attrs.field(validator=_positive)  # base units or contracts
    price: Decimal | None = attrs.field(default=None, validator=_optional_positive)
    trigger_price: Decimal | None = attrs.field(default=None, validator=_optional_positive)
    trigger_by: TriggerBy = TriggerBy.LAST
    time_in_force: TimeInForce = TimeInForce.GTC
    post_only: bool = False
    reduce_only: bool = False
    position_side: PositionSide = PositionSide.NET
    display_quantity: Decimal | None = attrs.field(default=None, validator=_optional_positive)  # iceberg: what shows
    trail_amount: Decimal | None = attrs.field(default=None, validator=_optional_positive)  # quote units
    trail_bps: int | None = attrs.field(default=None, validator=attrs.validators.optional(attrs.validators.gt(0)))
    expires_ns: int | None = None  # market time; with GTD and with nothing else
    signal_ns: int  # market time: close of the bar the decision stands on
    params: Mapping[str, Any] = attrs.field(factory=dict)  # venue extras the user passed through


@attrs.frozen(kw_only=True)
class Part:
    """One venue order of those a request is split into: how much of it, and what that does to the position."""

    quantity: Decimal = attrs.field(validator=_positive)  # base units or contracts
    offset: Offset = Offset.OPEN


@attrs.frozen(kw_only=True)
class Leg:
    """One venue order of a request; its id exists, and is written down, before anything is sent.

    ``member_id`` is the strategy's order it works for, where that is not this leg
    alone: an amended order, an exit of a bracket, one of several a request was split into.
    ``parent_id`` is, of an exit the venue itself made, the strategy's order that asked for it.
    A question about a TRAILING_STOP the venue has heard of carries the venue's id in ``wire``,
    as :data:`VENUE_ID`: one that is kept with a position has no other name there.
    """

    client_order_id: str
    request: OrderRequest
    quantity: Decimal = attrs.field(validator=_positive)
    offset: Offset = Offset.OPEN
    member_id: str | None = None
    group_id: str | None = None  # of the bracket or OCO group it belongs to
    list_id: str | None = None  # of the venue's own order list it is sent in
    pair_id: str | None = None  # of two of which one is to cancel the other, where the venue does not tie them
    parts: int = 1  # how many legs its request was split into
    wire: WireRef | None = None  # how it is named on the wire, where an adapter prepares that
    parent_id: str | None = None  # of an exit the venue made: the owner of the order that asked for it

    @property
    def owner_id(self) -> str:
        """The strategy's order this leg works for."""
        return self.member_id or self.client_order_id


class ListKind(enum.Enum):
    """Order lists a venue keeps itself: one cancels the other, one triggers another, one triggers such a pair."""

    OCO = "OCO"
    OTO = "OTO"
    OTOCO = "OTOCO"


@attrs.frozen(kw_only=True)
class OrderList:
    """Legs that are sent in one request and live or end together at the venue.

    OCO: two legs of one side and quantity, the one that sells higher (or buys
    lower) first. OTO and OTOCO: the working leg first, then what it triggers.
    """

    list_id: str  # ours, like a client order id
    kind: ListKind
    legs: tuple[Leg, ...]


class GroupKind(enum.Enum):
    """How a strategy tied orders together."""

    BRACKET = "BRACKET"  # exits protect what the entry filled; one exit cancels the other
    OCO = "OCO"  # the first to fill cancels the others


@attrs.frozen(kw_only=True)
class Member:
    """One order of a group as the strategy made it; it becomes 0..n legs."""

    member_id: str  # like a client order id; the first leg of an entry, or of an OCO order sent alone, has it too
    request: OrderRequest


@attrs.frozen(kw_only=True)
class Group:
    """Orders of a strategy that are tied together, as it made them; what came of it is in their legs."""

    group_id: str
    kind: GroupKind
    entry: Member | None = None  # BRACKET only
    members: tuple[Member, ...]  # the exits of a BRACKET, the alternatives of an OCO
    native_entry: bool = False  # send entry and exits as one OTO or OTOCO list: exits rest after a complete fill only
    withdrawn: tuple[str, ...] = ()  # members the strategy has cancelled

    @property
    def everyone(self) -> tuple[Member, ...]:
        """The entry, if there is one, and the members."""
        return (*((self.entry,) if self.entry is not None else ()), *self.members)

    def member(self, member_id: str) -> Member | None:
        """Return a member (or the entry) by its id, None when there is none."""
        return next((each for each in self.everyone if each.member_id == member_id), None)


@attrs.frozen(kw_only=True)
class Receipt:
    """The venue took the request; states come from the stream."""

    venue_order_id: str | None
    time_ns: int | None = None


@attrs.frozen(kw_only=True)
class Veto:
    """A refusal before sending, with its reason."""

    reason: str


# --- events: what happened to an order --------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Fill:
    """One execution; ``fill_id`` is unique within its instrument, so replays are harmless.

    ``fee`` is in units of ``fee_asset``, negative for a rebate; both are None
    where the venue did not tell yet.  ``client_order_id`` is empty where a
    venue's list of fills names only its own ids.
    """

    fill_id: str
    client_order_id: str
    venue_order_id: str | None = None
    symbol: str
    side: Side
    price: Decimal = attrs.field(validator=_positive)
    quantity: Decimal = attrs.field(validator=_positive)
    fee: Decimal | None = None
    fee_asset: str | None = None
    liquidity: Liquidity | None = None
    time_ns: int
    sequence: int | None = None
    position_side: PositionSide = PositionSide.NET
    realised: Decimal | None = None  # profit of what it closed as the venue counts it, in the settle asset
    origin: Origin = Origin.CLIENT
    offset: Offset | None = None  # what it did to the position, where orders of the venue say so


@attrs.frozen(kw_only=True)
class OrderReport:
    """A statement about an order's state, by the venue or (``inferred``) by us in its stead.

    ``filled`` is the cumulative quantity the statement names.  ``sequence`` is
    the venue's own, None where it gives none (REST answers at most venues).
    The descriptive fields let an order nobody here placed be adopted.
    ``average_price`` is that of what is filled, and is stated only where the
    venue tells of no single executions: the fills are made of its changes then.
    ``parent`` is the client order id of the order an exit is attached to, empty
    where the venue does not say.
    """

    client_order_id: str
    venue_order_id: str | None = None
    symbol: str
    status: Status
    filled: Decimal = Decimal(0)
    sequence: int | None = None
    time_ns: int
    reason: str = ""
    inferred: bool = False
    side: Side | None = None
    order_type: OrderType | None = None
    quantity: Decimal | None = None
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    position_side: PositionSide | None = None
    reduce_only: bool | None = None
    origin: Origin = Origin.CLIENT
    average_price: Decimal | None = None
    parent: str = ""


@attrs.frozen(kw_only=True)
class Prepared:
    """An order has the name it will have on the wire: on disk before it leaves, so that a restart can name it too."""

    client_order_id: str
    wire: WireRef
    time_ns: int


@attrs.frozen(kw_only=True)
class PlaceRefused:
    """The placement was refused with certainty, here or by the venue."""

    client_order_id: str
    reason: str
    insufficient_funds: bool = False
    time_ns: int


@attrs.frozen(kw_only=True)
class OutcomeUnknown:
    """A placement (or, with ``pending``, a cancel or amendment) got no answer."""

    client_order_id: str
    reason: str
    pending: Pending | None = None
    time_ns: int


@attrs.frozen(kw_only=True)
class CancelRequested:
    """Our cancel was handed over."""

    client_order_id: str
    time_ns: int


class CancelOutcome(enum.Enum):
    """How a cancel or an amendment was answered; the state itself comes from the stream."""

    TAKEN = "TAKEN"
    REFUSED = "REFUSED"


@attrs.frozen(kw_only=True)
class CancelResult:
    """The venue answered our cancel."""

    client_order_id: str
    outcome: CancelOutcome
    reason: str = ""
    time_ns: int


@attrs.frozen(kw_only=True)
class AmendRequested:
    """Our amendment of an order that keeps its ids was handed over: what its price and whole quantity should be."""

    client_order_id: str
    price: Decimal = attrs.field(validator=_positive)
    quantity: Decimal = attrs.field(validator=_positive)
    time_ns: int


@attrs.frozen(kw_only=True)
class AmendResult:
    """The venue answered our amendment, or said what the order is now; a refused one leaves it as it was."""

    client_order_id: str
    outcome: CancelOutcome
    reason: str = ""
    time_ns: int


OrderEvent = (
    Fill
    | OrderReport
    | Prepared
    | PlaceRefused
    | OutcomeUnknown
    | CancelRequested
    | CancelResult
    | AmendRequested
    | AmendResult
)


@attrs.frozen(kw_only=True)
class Terms:
    """What an amendment may change: the limit price, and the whole quantity, what has filled included."""

    price: Decimal | None
    quantity: Decimal


@attrs.frozen(kw_only=True, order=False)
class Evidence:
    """The strongest statement about an order so far; see ``btx.rules.orders`` for "strongest"."""

    status: Status
    sequence: int | None
    time_ns: int
    filled: Decimal = Decimal(0)
    reason: str = ""
    inferred: bool = False
    insufficient_funds: bool = False
    quantity: Decimal | None = None  # what the venue says was asked for; it may cut an order that only reduces


@attrs.frozen(kw_only=True)
class Order:
    """A leg and everything known about it. Made by ``rules.orders.apply`` and nothing else.

    The fields are what was said; what follows from it is a property, so that
    no order of arrival can make two parts of an order disagree.  ``leg`` has the
    price and quantity that are known to be in force.
    """

    leg: Leg
    evidence: Evidence | None = None
    fills: tuple[Fill, ...] = ()  # by (time_ns, fill_id)
    venue_order_id: str | None = None
    requested: Pending | None = None  # the cancel or amendment on its way
    unanswered: bool = False  # it got no answer
    placement_unknown: bool = False  # the placement got no answer, and nothing else was heard
    wanted: Terms | None = None  # what an amendment asks for that is not settled
    past: tuple[Terms, ...] = ()  # what the order was before each amendment that was taken

    @property
    def client_order_id(self) -> str:
        return self.leg.client_order_id

    @property
    def quantity(self) -> Decimal:
        """Base units or contracts asked for, less what the venue has cut off.

        An order that only reduces becomes smaller with its position.  While an
        amendment is not settled it is the larger of both, so that no fill ends it early.
        """
        stated = self.evidence.quantity if self.evidence is not None else None
        quantity = min(self.leg.quantity, stated) if stated else self.leg.quantity
        return max(quantity, self.wanted.quantity) if self.wanted is not None else quantity

    @property
    def terms(self) -> Terms:
        """The price and quantity that are known to be in force."""
        return Terms(price=self.leg.request.price, quantity=self.leg.quantity)

    @property
    def filled(self) -> Decimal:
        """Sum of the fills that were counted."""
        return sum((fill.quantity for fill in self.fills), Decimal(0))

    @property
    def remaining(self) -> Decimal:
        """What is left to fill; never below zero, see ``overfilled``."""
        return max(self.quantity - self.filled, Decimal(0))

    @property
    def overfilled(self) -> Decimal:
        """What was filled beyond the quantity: booked all the same, and a reason to reconcile."""
        return max(self.filled - self.quantity, Decimal(0))

    @property
    def missing(self) -> Decimal:
        """What the venue says is filled and no fill has told yet."""
        named = self.evidence.filled if self.evidence is not None else Decimal(0)
        return max(named - self.filled, Decimal(0))

    @property
    def status(self) -> Status:
        """Where the order is: fills first, then evidence, then what we asked for."""
        if self.filled >= self.quantity:
            return Status.FILLED
        if self.evidence is None and not self.fills:
            return Status.UNKNOWN if self.placement_unknown else Status.PENDING_NEW
        stated = self.evidence.status if self.evidence is not None else Status.NEW
        if stated.is_final:
            return stated
        if self.requested is Pending.CANCEL and not self.unanswered:
            return Status.PENDING_CANCEL
        if self.fills and stated in {Status.PENDING_NEW, Status.NEW}:
            return Status.PARTIALLY_FILLED
        return stated

    @property
    def pending(self) -> Pending | None:
        """The cancel or amendment that is not settled; a final order has none."""
        return None if self.status.is_final else self.requested

    @property
    def outcome_unknown(self) -> bool:
        """The placement, or the ``pending`` request, got no answer: ask the venue."""
        return self.status is Status.UNKNOWN or (self.pending is not None and self.unanswered)

    @property
    def is_settled(self) -> bool:
        """Final, and every fill the venue named has been counted."""
        return self.status.is_final and not self.missing
