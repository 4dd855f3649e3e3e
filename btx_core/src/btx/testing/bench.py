"""A bench: the ports of one session on a simulator, their sinks, and a hand on the market's clock."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any, cast

import attrs

from btx.errors import BtxError, TransportError
from btx.model.account import AccountUpdate, Lots
from btx.model.instrument import Instrument
from btx.model.order import Fill, Leg, OrderReport, OrderRequest, OrderType, Receipt, Side, Status
from btx.model.time import Interval
from btx.model.venue import (
    Capabilities,
    Channel,
    Endpoints,
    StreamState,
    StreamStatus,
    Subscription,
    VenueInfo,
)
from btx.plugins import Venue
from btx.ports import Broker, Context, Feed, MarginFeed, MarginStore, PreparingBroker, Store, Stream
from btx.rules.capabilities import resting_time
from btx.rules.contracts import is_inverse, quantity_of
from btx.rules.orders import apply, derived_fill, new_order
from btx.runtime.control import Control
from btx.runtime.wishes import Wishes
from btx.testing import sizes
from btx.testing.card import CardFailedError, CardSkippedError, expect
from btx.testing.hearing import Heard, Time
from btx.testing.pace import Pace

__all__ = ("Bench",)

_LOOK_S = 0.02  # between two looks at what nobody pushes


@attrs.define(kw_only=True)
class Bench:
    """What a card of the ports works with.

    ``account`` hears the account's stream from the beginning; the market's are
    heard by whom :meth:`listen` makes.
    """

    venue: Venue
    market: str
    context: Context
    time: Time
    control: Control
    endpoints: Endpoints
    deadline_s: float
    pace: Pace
    symbol: str = ""
    other: str = ""  # a second symbol; empty where there is one alone
    store: Store
    broker: Broker
    feed: Feed
    stream: Stream
    account: Heard
    instruments: Mapping[str, Instrument] = attrs.field(factory=dict)
    observed: list[tuple[str, int]] = attrs.field(factory=list)
    legs: list[Leg] = attrs.field(factory=list)  # every order a card has sent
    _tasks: "dict[asyncio.Task[None], Heard]" = attrs.field(factory=dict)
    _ids: "itertools.count[int]" = attrs.field(factory=lambda: itertools.count(1))

    @property
    def info(self) -> VenueInfo:
        """The adapter's visiting card."""
        return self.venue.info

    @property
    def can(self) -> Capabilities:
        """What the market declares."""
        return self.venue.info.capabilities[self.market]

    @property
    def margin_store(self) -> MarginStore:
        """The store, where positions are on margin."""
        return cast("MarginStore", self.store)

    @property
    def margin_feed(self) -> MarginFeed:
        """The feed, where positions are on margin."""
        return cast("MarginFeed", self.feed)

    @property
    def instrument(self) -> Instrument:
        """What is traded."""
        return self.instruments[self.symbol]

    @property
    def api_key(self) -> str:
        """The account's key."""
        return self.context.settings.api_key.reveal()

    # --- the market's clock, and the simulator's books ----------------------------------------------------

    async def ask(self, operation: str, **arguments: object) -> Mapping[str, Any]:
        """Ask the simulator's control channel, as this account."""
        return await self.control.ask(operation, api_key=self.api_key, **arguments)

    async def advance(self, steps: int = 1) -> None:
        """Let the market make so many steps."""
        for _ in range(steps):
            self.time.market = (await self.ask("advance"))["market_ns"]

    async def advance_until(self, condition: Callable[[], object], what: str, *, steps: int = 90) -> None:
        """Let the market step until something is so; what a step made is heard before the next.

        Raises:
            CardFailedError: it never was; ``what`` says what was waited for.
        """
        for _ in range(steps):
            if condition():
                return
            await self.advance()
            await self.store.account()  # what the step made is on the wire before this is answered
        await self.account.until(condition, f"{what} within {steps} steps of the market")

    async def ledger(self) -> Mapping[str, Any]:
        """Return the account as the simulator has it."""
        return await self.ask("ledger")

    async def truth(self, interval: Interval, start_ns: int, end_ns: int, symbol: str = "") -> list[tuple[Any, ...]]:
        """Return the closed bars of a range as the simulator's market has them: open time, OHLC, volume."""
        rows = await self.ask(
            "truth",
            symbol=self.instruments[symbol or self.symbol].venue_symbol,
            interval=str(interval),
            start_ns=start_ns,
            end_ns=end_ns,
            limit=1000,
        )
        return [(row[0], *map(Decimal, row[1:])) for row in rows["bars"]]

    async def faults(self, *faults: Mapping[str, Any]) -> None:
        """Let these go wrong from now on, and nothing that was told before."""
        await self.ask("faults", script={"faults": list(faults)})

    async def sockets(self) -> Mapping[str, int]:
        """Return how many sockets were dialled, opened and are open at the simulator; skip where it does not say."""
        try:
            return dict((await self.ask("sockets"))["counts"])
        except TransportError as error:
            raise CardSkippedError(f"the simulator's control channel tells of no sockets: {error}") from error

    async def until_true(
        self, condition: Callable[[Any], object], look: Callable[[], Awaitable[Any]], what: str
    ) -> None:
        """Look again and again until something is so.

        Raises:
            CardFailedError: it never is; ``what`` says what was waited for.
        """
        end_s = time.monotonic() + self.deadline_s
        while not condition(await look()):
            if time.monotonic() > end_s:
                raise CardFailedError(f"expected {what} within {self.deadline_s:g} s, and it did not happen")
            await asyncio.sleep(_LOOK_S)

    async def ledger_orders(self, leg: Leg) -> list[Mapping[str, Any]]:
        """Return the orders that the simulator has of a leg: those that wait for a trigger, too."""
        ledger = await self.ledger()
        rows = (*ledger["orders"], *(each for each in ledger.get("conditionals", ()) if each["order_id"] is None))
        return [row for row in rows if row["client_order_id"] == leg.client_order_id]

    async def ledger_fills(self, leg: Leg) -> list[Mapping[str, Any]]:
        """Return the fills that the simulator has of a leg."""
        return [row for row in (await self.ledger())["fills"] if row["client_order_id"] == leg.client_order_id]

    # --- orders ---------------------------------------------------------------------------------------------

    async def price(self) -> Decimal:
        """Return the last price."""
        last = await self.feed.last_price(symbol=self.symbol)
        if last is None:
            raise CardFailedError(f"expected a last price of {self.symbol}, and Feed.last_price returned None")
        return last.price

    async def size(self, times: int = 4) -> Decimal:
        """Return a quantity that is so many times the least the instrument takes."""
        return sizes.usual(self.instrument, await self.price(), times=times)

    async def affordable(self, times: Decimal, *, as_one: bool = False) -> Decimal:
        """Return the quantity that is worth ``times`` what the account has free, or what one market order may have."""
        free, price = Decimal(0), await self.price()
        asset = self.instrument.settle if self.can.margined else self.instrument.quote
        if (balance := (await self.store.account()).balances.get(asset)) is not None:
            free = balance.free
        worth = free * price if is_inverse(self.instrument) else free
        quantity = quantity_of(self.instrument, worth * times, price)
        if as_one:
            most = (self.instrument.max_quantity, self.instrument.market_max_quantity)
            quantity = min([quantity, *(each for each in most if each is not None)])
        return sizes.floored(quantity, self.instrument)

    async def away(self, side: Side, bps: int = 200) -> Decimal:
        """Return a price on the grid that is so far from the market that an order of this side rests."""
        return sizes.on_grid(self.instrument, await self.price(), bps=-side.sign * bps)

    async def price_at(self, bps: int) -> Decimal:
        """Return the price on the grid that is so many basis points above (below: negative) the last one."""
        return sizes.on_grid(self.instrument, await self.price(), bps=bps)

    def request(self, **changes: Any) -> OrderRequest:
        """Return a request; a market order to buy the usual instrument unless said otherwise."""
        whole: dict[str, Any] = {
            "instrument": self.instrument,
            "side": Side.BUY,
            "order_type": OrderType.MARKET,
            "time_in_force": resting_time(self.can),
            "signal_ns": self.time.market,
            **changes,
        }
        return OrderRequest(**whole)

    def new_id(self) -> str:
        """Return a client order id as the core makes them: never used before."""
        return f"k{next(self._ids):x}{time.time_ns() // 1_000_000 % 0x10000000:x}"

    async def leg(self, **changes: Any) -> Leg:
        """Return one order as the adapter's own plan makes it, with its name on the wire; see :meth:`request`."""
        if "quantity" not in changes:
            changes["quantity"] = await self.size()
        request, can = self.request(**changes), self.can
        lots = None
        if can.offsets:
            held = {each.symbol: each for each in (await self.store.account()).lots}
            lots = held.get(request.instrument.symbol, Lots(symbol=request.instrument.symbol))
        (part, *_) = self.venue.plan(request, lots)
        leg = Leg(client_order_id=self.new_id(), request=request, quantity=part.quantity, offset=part.offset)
        if can.prepares:
            leg = attrs.evolve(leg, wire=await cast("PreparingBroker", self.broker).prepare(leg=leg))
        return leg

    async def place(self, leg: Leg) -> Receipt:
        """Send an order; it is taken away after the card if it rests."""
        self.legs.append(leg)
        return await self.broker.place(leg=leg)

    async def placed(self, *statuses: Status, **changes: Any) -> Leg:
        """Send an order and wait until the stream says that it has one of these statuses."""
        leg = await self.leg(**changes)
        await self.place(leg)
        await self.until_status(leg, *statuses)
        return leg

    async def bought(self, **changes: Any) -> Leg:
        """Buy at the market, and wait for all of it and its fills."""
        leg = await self.placed(Status.FILLED, **changes)
        await self.until_filled(leg)
        return leg

    async def rested(self, **changes: Any) -> Leg:
        """Send a limit order that rests, and wait until it does."""
        side = changes.setdefault("side", Side.BUY)
        return await self.placed(Status.NEW, order_type=OrderType.LIMIT, price=await self.away(side), **changes)

    async def sold(self, leg: Leg, **changes: Any) -> Leg:
        """Sell at the market what was bought, and wait for all of it and its fills."""
        return await self.bought(side=Side.SELL, quantity=self.held(leg), **changes)

    def held(self, leg: Leg) -> Decimal:
        """Return what a purchase can be sold of: on the grid, without fees that were taken in what was bought."""
        taken = Decimal(0)
        if not self.can.margined:
            base = self.instrument.base
            taken = sum((fill.fee or Decimal(0) for fill in self.fills(leg) if fill.fee_asset == base), Decimal(0))
        return sizes.floored(self.filled(leg) - taken, self.instrument)

    async def listed(self, leg: Leg) -> OrderReport | None:
        """Return an order as ``open_orders`` lists it, None when it does not."""
        every = await self.broker.open_orders(instruments=[self.instrument])
        return next((each for each in every if each.client_order_id == leg.client_order_id), None)

    def reports(self, leg: Leg) -> list[OrderReport]:
        """Return what the stream said of an order's state."""
        return [each for each in self.account.of(OrderReport) if each.client_order_id == leg.client_order_id]

    def fills(self, leg: Leg) -> list[Fill]:
        """Return the fills of an order that the stream told, each once."""
        return list({each.fill_id: each for each in self.told_fills(leg)}.values())

    def told_fills(self, leg: Leg) -> list[Fill]:
        """Return the fills of an order as often as the stream told them, those its reports imply among them."""
        order, told = new_order(leg), list[Fill]()
        for event in self.account.events:
            if not isinstance(event, OrderReport | Fill) or event.client_order_id != leg.client_order_id:
                continue
            fill = event if isinstance(event, Fill) else derived_fill(order, event)
            if fill is not None:
                told.append(fill)
                order = apply(order, fill)
        return told

    def filled(self, leg: Leg) -> Decimal:
        """Return how much of an order the stream told as filled."""
        return sum((each.quantity for each in self.fills(leg)), Decimal(0))

    async def until_status(self, leg: Leg, *wanted: Status) -> OrderReport:
        """Wait until the stream says that an order has one of these statuses; return the report."""
        names = " or ".join(each.value for each in wanted)

        def found() -> list[OrderReport]:
            return [each for each in self.reports(leg) if each.status in wanted]

        def is_over() -> bool:
            return bool(found()) or any(each.status.is_final for each in self.reports(leg))

        with contextlib.suppress(CardFailedError):
            await self.account.until(is_over, "")
        if not found():
            said = ", ".join(each.status.value for each in self.reports(leg)) or "nothing"
            raise CardFailedError(
                f"expected the account's stream to say {names} of the {leg.request.order_type.value} order "
                f"{leg.client_order_id}, and it said {said}{self.account.fault}"
            )
        return found()[-1]

    async def until_filled(self, leg: Leg) -> None:
        """Wait until the stream's fills of an order add up to its quantity."""
        await self._settled(leg, lambda: self.filled(leg) >= leg.quantity)
        expect(
            self.filled(leg) == leg.quantity,
            f"expected fills of {leg.quantity:f} for order {leg.client_order_id}, and the stream told "
            f"{self.filled(leg):f} in {len(self.fills(leg))} fills",
        )

    async def _settled(self, leg: Leg, condition: Callable[[], bool]) -> None:
        try:
            await self.account.until(condition, "")
        except CardFailedError:
            raise CardFailedError(
                f"expected fills of {leg.quantity:f} for order {leg.client_order_id}, and the stream told "
                f"{self.filled(leg):f} in {len(self.fills(leg))} fills"
            ) from None

    async def cancel(self, leg: Leg) -> None:
        """Take an order away."""
        await self.broker.cancel(leg=leg, venue_order_id=self.venue_id(leg))

    def venue_id(self, leg: Leg) -> str | None:
        """Return the venue's id of an order, as the stream told it."""
        return next((each.venue_order_id for each in reversed(self.reports(leg)) if each.venue_order_id), None)

    async def tidy(self) -> None:
        """Take away what still rests, so that the next card finds none of it.

        Raises:
            BtxError: it cannot be; the bench is of no use any more.
        """
        await self.faults()
        ledger = await self.ledger()
        rows = (
            *ledger["orders"],
            *(each | {"is_open": each["state"] == "NEW"} for each in ledger.get("conditionals", ())),
        )
        resting = {row["client_order_id"] for row in rows if row["is_open"]}
        for leg in self.legs:
            if leg.client_order_id in resting:
                await self.cancel(leg)
        self.legs.clear()
        self.mend()

    # --- streams ---------------------------------------------------------------------------------------------

    def subscription(self, channel: Channel, symbol: str | None = None, **words: Any) -> Subscription:
        """Return a subscription of the usual instrument, or of ``symbol``; bars of the shortest minutes declared."""
        if channel is Channel.ACCOUNT:
            return Subscription(channel=channel)
        if channel is Channel.BAR:
            words.setdefault("interval", sizes.shortest_minutes(self.can.intervals))
        return Subscription(channel=channel, instrument=self.instruments[symbol or self.symbol], **words)

    async def listen(self, *subscriptions: Subscription, wishes: Wishes | None = None) -> Heard:
        """Open a connection with these subscriptions, and return what hears it once they stand."""
        heard = Heard(self.deadline_s)
        wanted = wishes or Wishes(subscriptions)
        task = asyncio.ensure_future(self.stream.run(wanted=wanted, sink=heard))
        self._tasks[task] = heard

        def stands() -> bool:
            return any(each.state is StreamState.SUBSCRIBED for each in heard.of(StreamStatus))

        waiting = asyncio.ensure_future(heard.until(stands, "StreamState.SUBSCRIBED from Stream.run"))
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if task.done() and not stands():
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            del self._tasks[task]
            task.result()  # raises what ended it
            raise CardFailedError("expected Stream.run to push until it is cancelled, and it returned")
        await waiting
        return heard

    def mend(self) -> None:
        """Open the account's connection again if it went with that of a request: at some venues they are one."""
        for task, heard in tuple(self._tasks.items()):
            if heard is self.account and task.done() and isinstance(task.exception(), TransportError):
                del self._tasks[task]
                wanted = Wishes((self.subscription(Channel.ACCOUNT),))
                self._tasks[asyncio.ensure_future(self.stream.run(wanted=wanted, sink=heard))] = heard

    def run_of(self, heard: Heard) -> "asyncio.Task[None]":
        """Return the run of ``Stream.run`` that a sink hears."""
        return next(task for task, each in self._tasks.items() if each is heard)

    async def end_of(self, heard: Heard) -> BaseException | None:
        """Wait until the run that a sink hears ends by itself; return what it raised, None when it returned.

        Raises:
            CardFailedError: it goes on.
        """
        task = self.run_of(heard)
        done, _ = await asyncio.wait({task}, timeout=self.deadline_s)
        if not done:
            raise CardFailedError("expected Stream.run to end by itself, and it goes on")
        del self._tasks[task]
        return task.exception()

    async def hang_up(self, heard: Heard) -> None:
        """End the connection that a sink hears."""
        task = self.run_of(heard)
        del self._tasks[task]
        task.cancel()
        await asyncio.wait({task}, timeout=self.deadline_s)
        expect(task.done(), "expected Stream.run to end when it is cancelled, and it goes on")
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, BtxError):
            raise error

    async def hang_up_all(self) -> None:
        """End every connection."""
        for heard in list(self._tasks.values()):
            await self.hang_up(heard)

    def updates(self) -> list[AccountUpdate]:
        """Return what the stream said of balances and positions."""
        return self.account.of(AccountUpdate)
