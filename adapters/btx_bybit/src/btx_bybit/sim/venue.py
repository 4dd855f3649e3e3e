"""What every request and every socket of one simulated venue shares."""

import contextlib
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

import attrs

from btx.model.account import BookingKind
from btx.model.derivatives import PositionMode
from btx.model.order import PositionSide
from btx.sim.conditionals import SimConditional
from btx.sim.engine import Engine
from btx.sim.orders import Listing, Refused, SimOrder
from btx.sim.skin import venue as skins
from btx.sim.world import World
from btx_bybit.sim import ids
from btx_bybit.sim.errors import gone, unknown_symbol
from btx_bybit.sim.limits import Meters
from btx_bybit.sim.params import Param, Raw, read
from btx_bybit.sim.wire import WireError

__all__ = ("Answer", "Ask", "Call", "Venue", "perform")

_FIRST_UID = 24_600_001


@attrs.frozen(kw_only=True)
class Ask:
    """One request that was read and, where it must be, signed."""

    values: Mapping[str, Any]
    api_key: str  # "" for a public call
    market_ns: int  # when it arrived; the market was played up to then

    def get(self, name: str, default: Any = None) -> Any:
        """Return a parameter's value, or ``default`` where it was not sent."""
        return self.values.get(name, default)

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


@attrs.frozen(kw_only=True)
class Answer:
    """A result with what stands in ``retExtInfo`` beside it, and other words than OK."""

    result: Any
    ext: Mapping[str, Any] = attrs.field(factory=dict)
    message: str = "OK"


@attrs.frozen(kw_only=True)
class Call:
    """One operation of the venue, under its REST address."""

    run: Callable[["Venue", Ask], Any]
    rest: tuple[str, str]  # GET, /v5/...
    params: tuple[Param, ...] = ()
    is_signed: bool = False
    limit: int = 0  # requests per second of an account; 0: not metered
    spot_limit: int | None = None  # of spot, where it is another
    units: Callable[[Mapping[str, Any]], int] = lambda _values: 1  # how many requests it counts as

    def limit_of(self, category: str) -> int:
        """Return how many requests per second an account may make."""
        return self.spot_limit if category == "spot" and self.spot_limit is not None else self.limit


@attrs.define
class _Earned:
    """What the movements of an account's money add up to, as far as they were looked at."""

    seen: int = 0
    costs: dict[str, Decimal] = attrs.field(factory=dict)  # fees and fundings by symbol, less than zero where paid
    coins: dict[str, Decimal] = attrs.field(factory=dict)  # everything but transfers by coin


class Venue(skins.Venue):
    """The world behind the wire, and the little the wire has to remember itself."""

    def __init__(self, world: World, secrets: Mapping[str, str], category: str) -> None:
        super().__init__(world, secrets)
        self.category = category
        self.is_spot = category == "spot"
        self.meters = Meters()
        self.link_ids: dict[str, dict[str, ids.OrderKey]] = {api_key: {} for api_key in secrets}
        self.dcp_window_s: dict[str, int | None] = {}
        self.cancel_types: dict[str, str] = {}  # by the venue's order id: why it was cancelled, if not by its owner
        self._earned = {api_key: _Earned() for api_key in secrets}
        self.uids = {api_key: _FIRST_UID + number for number, api_key in enumerate(secrets)}

    @property
    def engine(self) -> Engine[Any]:
        """The exchange, of whichever kind."""
        return self.world.engine

    def listing(self, venue_symbol: str) -> Listing:
        """Return what is listed under a symbol.

        Raises:
            WireError: 10001 or 170121, nothing is.
        """
        try:
            return self.engine.listings[venue_symbol]
        except KeyError as error:
            raise unknown_symbol(is_spot=self.is_spot) from error

    def last_price(self, venue_symbol: str) -> Decimal:
        """Return the price of the latest print."""
        return self.market.last_price(venue_symbol)

    # --- orders ---------------------------------------------------------------------------------------------

    def order_id(self, order: SimOrder | SimConditional) -> str:
        """Return the venue's id of an order."""
        return ids.order_id(order, is_spot=self.is_spot)

    def parent(self, api_key: str, order: SimOrder) -> SimConditional | None:
        """Return the conditional order an order was made by."""
        if order.conditional_id is None:
            return None
        return self.desk.conditional(api_key=api_key, conditional_id=order.conditional_id)

    def latest(self, api_key: str, conditional: SimConditional) -> SimOrder | SimConditional:
        """Return what a conditional order is now: itself, or the order it made."""
        if conditional.order_id is None:
            return conditional
        return self.desk.order(api_key=api_key, venue_symbol=conditional.venue_symbol, order_id=conditional.order_id)

    def orders(self, api_key: str) -> list[SimOrder | SimConditional]:
        """Return every order of an account there ever was, the latest first; what waits for another is none yet."""
        found: list[SimOrder | SimConditional] = [
            order for order in self.engine.all_orders(api_key=api_key) if not order.is_pending
        ]
        if not self.is_spot:
            found += [each for each in self.desk.all_conditionals(api_key=api_key) if each.order_id is None]
        return sorted(found, key=lambda each: self.created_ns(api_key, each))[::-1]

    def created_ns(self, api_key: str, order: SimOrder | SimConditional) -> int:
        """Return when an order was created: one that was made by another, when that was."""
        parent = self.parent(api_key, order) if isinstance(order, SimOrder) else None
        return order.created_ns if parent is None else parent.created_ns

    def find(
        self, api_key: str, venue_symbol: str, *, order_id: str | None = None, link_id: str | None = None
    ) -> SimOrder | SimConditional:
        """Return an order by either id, as it is now; the venue's own has priority.

        Raises:
            WireError: 110001 or 170213, there is none.
        """
        key = ids.key_of(order_id, is_spot=self.is_spot) if order_id else self.link_ids[api_key].get(link_id or "")
        if key is None:
            raise gone(is_spot=self.is_spot)
        is_conditional, number = key
        found: SimOrder | SimConditional
        try:
            if is_conditional:
                found = self.latest(api_key, self.desk.conditional(api_key=api_key, conditional_id=number))
            else:
                found = self.engine.order(api_key=api_key, venue_symbol=venue_symbol, order_id=number)
        except Refused as refused:
            raise gone(is_spot=self.is_spot) from refused
        if found.venue_symbol != venue_symbol or (isinstance(found, SimOrder) and found.is_pending):
            raise gone(is_spot=self.is_spot)
        return found

    def cancel(
        self, api_key: str, order: SimOrder | SimConditional, now_ns: int, *, reason: str = "CancelByUser"
    ) -> None:
        """End an open order.

        Raises:
            Refused: it is not open.
        """
        self.cancel_types[self.order_id(order)] = reason  # before it is told
        if isinstance(order, SimConditional):
            self.desk.cancel_conditional(api_key=api_key, conditional_id=order.conditional_id, now_ns=now_ns)
            return
        exchange = self.exchange if self.is_spot else self.desk
        exchange.cancel(api_key=api_key, venue_symbol=order.venue_symbol, order_id=order.order_id, now_ns=now_ns)

    def cancel_each(
        self, api_key: str, orders: Iterable[SimOrder | SimConditional], now_ns: int, *, reason: str = "CancelByUser"
    ) -> None:
        """End those of some orders that are open; one may end with another, as orders of a pair do."""
        for order in orders:
            if order.is_open:
                with contextlib.suppress(Refused):
                    self.cancel(api_key, order, now_ns, reason=reason)

    def cancel_everything(self, api_key: str, now_ns: int) -> None:
        """End every open order of an account: its client has gone away (disconnect cancel all)."""
        self.cancel_each(api_key, self.orders(api_key), now_ns, reason="CancelByDCP")

    # --- money ----------------------------------------------------------------------------------------------

    def costs(self, api_key: str, venue_symbol: str) -> Decimal:
        """Return what trading and holding a contract has brought besides profit: fees and fundings."""
        return self._looked(api_key).costs.get(venue_symbol, Decimal(0))

    def earned(self, api_key: str, coin: str) -> Decimal:
        """Return what a coin has become more by trading contracts."""
        return self._looked(api_key).coins.get(coin, Decimal(0))

    def _looked(self, api_key: str) -> _Earned:
        earned = self._earned[api_key]
        bookings = self.desk.bookings(api_key=api_key)
        for booking in bookings[earned.seen :]:
            if booking.kind is not BookingKind.TRANSFER:
                earned.coins[booking.asset] = earned.coins.get(booking.asset, Decimal(0)) + booking.amount
            if booking.kind in {BookingKind.FEE, BookingKind.FUNDING} and booking.venue_symbol is not None:
                symbol = booking.venue_symbol
                earned.costs[symbol] = earned.costs.get(symbol, Decimal(0)) + booking.amount
        earned.seen = len(bookings)
        return earned

    # --- positions ------------------------------------------------------------------------------------------

    def position_side(self, index: int, api_key: str, venue_symbol: str) -> PositionSide:
        """Return the side a ``positionIdx`` names.

        Raises:
            WireError: 10001, the symbol has not such positions now.
        """
        sides = {0: PositionSide.NET, 1: PositionSide.LONG, 2: PositionSide.SHORT}
        is_hedged = self.desk.symbol_mode(api_key=api_key, venue_symbol=venue_symbol) is PositionMode.HEDGE
        if index not in sides or (index == 0) is is_hedged:
            raise WireError(10001, "position idx not match position mode")
        return sides[index]


def perform(venue: Venue, call: Call, api_key: str, sent: Mapping[str, Raw]) -> Answer:
    """Read the parameters of a call, count it and run it.

    Raises:
        WireError: it was not done.
    """
    values = read(call.params, sent)
    limit = call.limit_of(venue.category)
    if limit and api_key:
        venue.meters.take(api_key, call.rest[1], limit, call.units(values), venue.world.wire_ns())
    result = call.run(venue, Ask(values=values, api_key=api_key, market_ns=venue.market_ns()))
    return result if isinstance(result, Answer) else Answer(result=result)
