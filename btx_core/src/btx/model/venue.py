"""Venues: what an adapter says about itself, and what it is asked to connect to."""

import enum
import math
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs

from btx.model.derivatives import MarginMode, PositionMode
from btx.model.instrument import Instrument
from btx.model.order import ListKind, OrderType, TimeInForce
from btx.model.time import Interval

__all__ = (
    "Capabilities",
    "Channel",
    "ClientIdSpec",
    "Connection",
    "ConnectionState",
    "DeadMan",
    "Endpoints",
    "Environment",
    "RateLimit",
    "Scenario",
    "SimAccount",
    "SimClock",
    "StreamState",
    "StreamStatus",
    "Subscription",
    "VenueInfo",
)


class Environment(enum.Enum):
    """Where data come from and where orders go; the value is what the user writes."""

    BACKTEST = "backtest"
    SIM = "sim"
    PAPER = "paper"
    TESTNET = "testnet"
    LIVE = "live"


class Channel(enum.Enum):
    """One kind of push."""

    BAR = "bar"
    TRADE = "trade"
    QUOTE = "quote"
    BOOK = "book"
    MARK = "mark"  # mark price and funding of a derivative
    ACCOUNT = "account"  # orders, fills and balances of the key's own account


@attrs.frozen(kw_only=True)
class Subscription:
    """One stream of one instrument; ACCOUNT has no instrument, BAR needs an interval."""

    channel: Channel
    instrument: Instrument | None = None
    interval: Interval | None = None


class StreamState(enum.Enum):
    """What a connection tells about itself."""

    SUBSCRIBED = "SUBSCRIBED"  # the venue accepted all subscriptions: nothing after this is missed
    FAULT = "FAULT"  # a frame could not be read; the connection goes on
    LOST = "LOST"  # the account stream may have missed events: reconcile
    CLOSING = "CLOSING"  # the venue will end this connection soon; it pushes until then


class ConnectionState(enum.Enum):
    """Where one of the runtime's connections stands."""

    CONNECTING = "CONNECTING"  # dialled for the first time
    CONNECTED = "CONNECTED"  # the venue accepted all subscriptions
    STALE = "STALE"  # it stands, but something that should have come over it did not
    RECONNECTING = "RECONNECTING"  # it was lost, and is dialled again
    STOPPED = "STOPPED"  # not dialled any more: asked to stop, or dialling again would not help


@attrs.frozen(kw_only=True)
class Connection:
    """How one of the runtime's connections stands, since when (wall time), and why."""

    state: ConnectionState
    since_ns: int
    reason: str = ""


@attrs.frozen(kw_only=True)
class StreamStatus:
    """A remark of a Stream in between its events; SUBSCRIBED says what all stands on the connection now."""

    state: StreamState
    detail: str = ""
    subscriptions: frozenset[Subscription] = frozenset()


@attrs.frozen(kw_only=True)
class RateLimit:
    """``limit`` units in each ``window_s`` seconds; ``scope`` says who shares them."""

    name: str
    limit: int
    window_s: float
    scope: str = "ip"  # "ip" or "account"


@attrs.frozen(kw_only=True)
class ClientIdSpec:
    """What a client order id may look like, and for how long it is unique."""

    max_len: int
    alphabet: str
    scope: str  # "open orders", "day", "account"
    queryable: bool


class DeadMan(enum.Enum):
    """What makes a venue cancel what rests when it hears nothing of us."""

    COUNTDOWN = "countdown"  # of each instrument; Broker.dead_man begins it anew, in time
    STREAM = "stream"  # of the account, from the loss of its stream on; Broker.dead_man says once how long it is


@attrs.frozen(kw_only=True)
class Capabilities:
    """What works natively at a venue in one market; the core emulates what it can and refuses the rest.

    A card says what differs from the defaults: they are those of an exchange that does little, and tells it well.
    """

    # --- what an order may be
    order_types: frozenset[OrderType]
    times_in_force: frozenset[TimeInForce]
    post_only: bool = False
    iceberg: bool = False  # display_quantity
    good_till_min_s: float = 0.0  # the shortest life of an order that is good till a time; shorter ones: emulated
    trailing_bps: tuple[int, int] | None = None  # smallest and largest trail a TRAILING_STOP may have; None: emulated
    order_lists: frozenset[ListKind] = frozenset()  # Broker.place_list
    attaching: frozenset[str] = frozenset()  # params of an order: triggers of exits that the venue makes of it
    attached_limits: frozenset[str] = frozenset()  # params of an order: limit prices of such exits
    position_trail: tuple[str, str] | None = None  # param and value that ask for a position's trailing stop
    offsets: bool = False  # an order says what it opens or closes: btx_plan splits it, accounts have lots
    prepares: bool = False  # Broker.prepare: an order has a name on the wire that is written down before it leaves

    # --- what may be done with orders that rest
    replace: bool = False  # Broker.replace: cancel and place in one request
    amend: bool = False  # Broker.amend: a LIMIT order gets another price and quantity and keeps its ids
    cancel_all: bool = False  # Broker.cancel_all: every open order of an instrument in one request
    dead_man: DeadMan | None = None  # Broker.dead_man: the venue cancels what rests when it hears nothing of us
    dead_man_s: tuple[float, float] = (0.0, math.inf)  # the shortest and the longest time it may wait

    # --- what is told of orders and the account
    error_codes: bool = True  # refusals carry a code of the venue's own; False: its words alone
    executions: bool = True  # each one is told; False: fills are made of what reports say is filled, at what average
    account_updates: bool = True  # totals and positions are pushed as they change; False: fills are, the rest is asked

    # --- what is pushed of the market
    channels: frozenset[Channel]
    streams_per_connection: int = 200  # how many subscriptions the runtime puts on one connection
    connection_life_s: float | None = None  # after which the venue ends a connection whatever happens; None: never
    closes_bars: bool = True  # pushes say when a bar is closed; False: the next bar does, or the session's clock
    sparse_bars: bool = False  # where nobody traded there is no bar: a hole in what is pushed is none in the data
    trade_ids_dense: bool = False  # each public trade's id is the one before it plus 1, so that a hole shows

    # --- what is asked for
    intervals: tuple[Interval, ...]
    history: bool = True  # Feed.bars: closed bars by request; False: only what is pushed
    archive: bool = False  # Feed.archive: whole months of bars from the venue's public files
    trades_kept: int | None = None  # so many of the newest public trades are all Feed.trades tells; None: it has them
    clock: bool = True  # Store.server_time_ns is the venue's word; False: it has no clock that could be asked

    # --- accounts; all but the currency of what is on margin
    currency: str = "USDT"  # what cash is counted in unless the user says; where coins are the margin, one
    margined: bool = False  # positions on margin: the store is a MarginStore, the feed a MarginFeed
    reduce_only: bool = False
    position_modes: frozenset[PositionMode] = frozenset()  # what an account may be switched to
    margin_modes: frozenset[MarginMode] = frozenset()
    sets_leverage: bool = True  # MarginStore.set_leverage; False: the venue alone says what margin it wants
    funding: bool = True  # of what is margined: perpetuals pay funding
    bookings: bool = True  # MarginStore.bookings lists what moved money; False: only the balance tells
    charges_closing: bool = False  # margins keep a taker's fee to close what is held; orders reserve it twice


@attrs.frozen(kw_only=True)
class VenueInfo:
    """The adapter's visiting card."""

    name: str  # binance
    title: str  # Binance
    api: int  # hook API number it was written for
    markets: tuple[str, ...]  # spot, usdm, ...; the first is the default
    environments: frozenset[Environment]
    capabilities: Mapping[str, Capabilities]  # by market
    client_id: ClientIdSpec
    limits: Mapping[str, tuple[RateLimit, ...]] = attrs.field(factory=dict)  # by market; none of its own: no limits
    # market -> operation -> limit name -> units; an operation is a port's method, of place_list each kind: place_oco;
    # where trailing stops are asked for in another way than orders, place_trailing_stop and cancel_trailing_stop
    costs: Mapping[str, Mapping[str, Mapping[str, int]]] = attrs.field(factory=dict)
    optional_keys: frozenset[str] = frozenset()  # of api_key and api_secret: what an account may do without
    settings: type[Any] | None = None  # attrs class whose fields are what ``options`` may name


@attrs.frozen(kw_only=True)
class SimAccount:
    """One account a simulator opens: key, secret, what it owns at the start, and whether the key may withdraw it."""

    api_key: str
    api_secret: str = attrs.field(repr=False)
    balances: Mapping[str, Decimal]
    may_withdraw: bool = False


@attrs.frozen(kw_only=True)
class SimClock:
    """How a simulator's market time follows wall time: at ``speed``, or step by step when it is None.

    With ``stands`` it does not run: a recording sets it from line to line. ``speed``
    says what a span of wall time is in it: how fast the market was when it was recorded.
    """

    wire_origin_ns: int
    market_origin_ns: int
    speed: float | None
    stands: bool = False


@attrs.frozen(kw_only=True)
class Scenario:
    """The world a simulator plays.

    ``data`` maps symbols (``BTC/USDT``) to kline files; without it a seeded
    synthetic market of ``symbols`` is played.  ``speed=None`` is lockstep: the
    market waits for the client.  ``until_ns`` is market time after the origin.
    With ``attach`` the world is one that runs already, and all else is as it is there.
    """

    seed: int = 1
    market: str = ""  # of VenueInfo.markets; "": the adapter's first. One world plays one market
    data: Mapping[str, Path] = attrs.field(factory=dict)
    funding: Mapping[str, Path] = attrs.field(factory=dict)  # files of funding rates by symbol; else made up
    symbols: tuple[str, ...] = ()  # of the synthetic market; empty: two of the market's
    speed: float | None = None
    until_ns: int | None = None  # market nanoseconds after the origin; None: to the end of the data
    warmup_ns: int = 0  # so much of the data lies before the origin, as history
    origin_ns: int | None = None  # None: start of the data; of the synthetic market: a fixed date
    rebase: bool = False  # move the data so that its origin is now (for clients that know one clock)
    accounts: tuple[SimAccount, ...] = ()  # empty: made from the seed
    account_count: int = 1  # so many are made where none are named
    port: int = 0  # where the venue's protocol is served; 0: any free port
    faults: str = ""  # what goes wrong, the JSON text of btx.sim.faults; "": nothing
    as_of: str = ""  # the day whose protocol the venue speaks, "2026-04-01"; "": the present one
    attach: str | None = None  # the control address of a simulator that runs already
    account: int = 1  # which of its accounts is traded on, counted from 1


@attrs.frozen(kw_only=True)
class Endpoints:
    """Where a simulator listens, whom it knows, and how its clocks run."""

    rest: str  # http://127.0.0.1:port
    stream: str  # ws://127.0.0.1:port
    trading_stream: str  # where private pushes and orders over sockets go
    control: str  # ws://127.0.0.1:port, lockstep and ledger; outside the venue's protocol
    accounts: tuple[SimAccount, ...]
    clock: SimClock
    extra: Mapping[str, str] = attrs.field(factory=dict)
    is_under_way: bool = False  # others traded there before: the clock starts now, not where the market began
