"""A venue inside this process: a world in lockstep, asked without a wire."""

import abc
from collections.abc import Mapping, Sequence

import attrs

from btx.errors import NotSupportedError
from btx.model.account import AccountSnapshot, AccountUpdate, Booking, SymbolTerms
from btx.model.derivatives import LeverageTier, MarginMode, MarkPrice
from btx.model.instrument import Instrument
from btx.model.order import Fill, OrderReport
from btx.model.venue import Scenario, SimAccount
from btx.ports import Broker
from btx.rules.holdings import counts
from btx.sim.conditionals import ConditionalEvent
from btx.sim.exchange import Exchange, ExecutionEvent, Listing
from btx.sim.manners import BINANCE, Manners
from btx.sim.margin_events import AccountEvent
from btx.sim.margin_exchange import MarginExchange
from btx.sim.orders import Refused
from btx.sim.paper_broker import PaperBroker
from btx.sim.paper_desk import PAPER_KEY
from btx.sim.paper_margin_broker import MarginPaperBroker
from btx.sim.paper_margin_words import booking_of, conditional_report, position_report, update_of
from btx.sim.paper_words import error_of, fill_of, report_of
from btx.sim.world import World, WorldEvent, default_account

__all__ = ("Box", "MarginBox", "SpotBox", "box_of")

_Event = OrderReport | Fill | AccountUpdate | Booking | MarkPrice


def box_of(scenario: Scenario, listings: Sequence[Listing], manners: Manners = BINANCE) -> "Box":
    """Return the box of a world: by the kind of what is listed, and with the venue's manners.

    Raises:
        ConfigError: the scenario's data cannot be played.
    """
    is_margined = all(listing.instrument.kind.is_margined for listing in listings)
    return (MarginBox if is_margined else SpotBox)(scenario, listings, manners)


@attrs.frozen
class _Clock:
    """Both clocks of the box: it has no wire."""

    world: World

    def wire_ns(self) -> int:
        return self.world.market.now_ns

    def market_ns(self) -> int:
        return self.world.market.now_ns


class Box(abc.ABC):
    """The ``Matcher`` port: the very exchange and market that the scenario's simulator plays, order by order.

    Its account is the scenario's first, under another key: nobody signs here.

    Raises:
        ConfigError: the scenario's data cannot be played.
    """

    broker: Broker

    def __init__(self, scenario: Scenario, listings: Sequence[Listing], manners: Manners = BINANCE) -> None:
        owner = scenario.accounts[0] if scenario.accounts else default_account(scenario.seed, listings)
        mine = SimAccount(api_key=PAPER_KEY, api_secret="", balances=owner.balances)
        alone = attrs.evolve(scenario, speed=None, rebase=False, accounts=(mine,), faults="")
        world = World(alone, listings, manners=manners)
        self._world = world
        self._symbols = {symbol: listing.instrument.symbol for symbol, listing in world.listings.items()}
        self._events: list[_Event] = []
        self.clock = _Clock(world)
        world.listen(self._hear)

    # --- the Matcher port -----------------------------------------------------------------------------------

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        """What is played, by symbol."""
        return {listing.instrument.symbol: listing.instrument for listing in self._world.listings.values()}

    @property
    def tiers(self) -> Mapping[str, tuple[LeverageTier, ...]]:
        """What is asked of positions on margin, by symbol."""
        return {}

    def trade_with(self, symbol: str, *, leverage: int | None, margin_mode: MarginMode | None) -> None:  # noqa: ARG002
        """Refuse: nothing is on margin here."""
        raise NotSupportedError(f"{symbol} is not traded on margin here")

    @abc.abstractmethod
    def account(self) -> AccountSnapshot:
        """Return the account as it is."""

    def market_ns(self) -> int:
        """Return the time that it is there."""
        return self._world.market.now_ns

    def advance(self, until_ns: int) -> None:
        """Let the market move; at its end it stands."""
        while self._world.market.now_ns < until_ns and not self._world.ended:
            self._world.advance(until_ns=until_ns)

    def take_events(self) -> tuple[_Event, ...]:
        """Return what happened to the account since the last time."""
        events, self._events = tuple(self._events), []
        return events

    # --- what its broker needs ------------------------------------------------------------------------------

    async def ready(self, instrument: Instrument) -> None:  # noqa: B027 -- nothing is to be got ready
        """Nothing: the book is always there."""

    # --- what happens ---------------------------------------------------------------------------------------

    @abc.abstractmethod
    def _hear(self, event: WorldEvent) -> None:
        """Keep what an event tells of the account."""

    def _hear_order(self, event: ExecutionEvent, *, is_margined: bool) -> None:
        symbol = self._symbols[event.order.venue_symbol]
        if event.fill is not None:
            self._events.append(fill_of(event.fill, symbol=symbol, sequence=event.sequence, is_margined=is_margined))
        self._events.append(report_of(event.order, symbol=symbol, sequence=event.sequence))


class SpotBox(Box):
    """What is bought is owned."""

    def __init__(self, scenario: Scenario, listings: Sequence[Listing], manners: Manners = BINANCE) -> None:
        super().__init__(scenario, listings, manners)
        self.broker = PaperBroker(self)

    @property
    def exchange(self) -> Exchange:
        """The venue without a wire."""
        return self._world.exchange

    def account(self) -> AccountSnapshot:
        return AccountSnapshot(balances=self.exchange.balances(api_key=PAPER_KEY), time_ns=self.market_ns())

    def _hear(self, event: WorldEvent) -> None:
        if isinstance(event, ExecutionEvent):
            self._hear_order(event, is_margined=False)
            if event.balances:
                self._events.append(AccountUpdate(balances=event.balances, time_ns=event.time_ns, reason="ORDER"))


class MarginBox(Box):
    """Positions are held on margin."""

    def __init__(self, scenario: Scenario, listings: Sequence[Listing], manners: Manners = BINANCE) -> None:
        super().__init__(scenario, listings, manners)
        self.broker = MarginPaperBroker(self)
        self._tell_marks()

    @property
    def exchange(self) -> MarginExchange:
        """The venue without a wire."""
        return self._world.margin

    @property
    def tiers(self) -> Mapping[str, tuple[LeverageTier, ...]]:
        return {listing.instrument.symbol: listing.tiers for listing in self._world.listings.values()}

    def trade_with(self, symbol: str, *, leverage: int | None, margin_mode: MarginMode | None) -> None:
        """Set leverage and margin mode, at the start: what is so already is no error."""
        exchange, now_ns = self.exchange, self.market_ns()
        venue_symbol = next(venues for venues, known in self._symbols.items() if known == symbol)
        try:
            if margin_mode not in {None, exchange.margin_mode(api_key=PAPER_KEY, venue_symbol=venue_symbol)}:
                exchange.set_margin_mode(api_key=PAPER_KEY, venue_symbol=venue_symbol, mode=margin_mode, now_ns=now_ns)
            if leverage is not None:
                exchange.set_leverage(api_key=PAPER_KEY, venue_symbol=venue_symbol, leverage=leverage, now_ns=now_ns)
        except Refused as refused:
            raise error_of(refused) from refused

    def account(self) -> AccountSnapshot:
        exchange, now_ns = self.exchange, self.market_ns()
        return AccountSnapshot(
            balances=exchange.balances(api_key=PAPER_KEY),
            time_ns=now_ns,
            position_mode=exchange.position_mode(api_key=PAPER_KEY),
            terms={
                symbol: SymbolTerms(
                    leverage=exchange.leverage(api_key=PAPER_KEY, venue_symbol=venue_symbol),
                    margin_mode=exchange.margin_mode(api_key=PAPER_KEY, venue_symbol=venue_symbol),
                )
                for venue_symbol, symbol in self._symbols.items()
            },
        )

    def advance(self, until_ns: int) -> None:
        super().advance(until_ns)
        self._tell_marks()

    def _hear(self, event: WorldEvent) -> None:
        match event:
            case ExecutionEvent():
                self._hear_order(event, is_margined=True)
            case ConditionalEvent(conditional=conditional):
                symbol = self._symbols[conditional.venue_symbol]
                report = conditional_report(conditional, symbol=symbol, sequence=event.sequence)
                if report is not None:
                    self._events.append(report)
            case AccountEvent():
                self._hear_account(event)

    def _hear_account(self, event: AccountEvent) -> None:
        bookings = (booking_of(each, symbol=self._symbols.get(each.venue_symbol or "")) for each in event.bookings)
        self._events.extend(booking for booking in bookings if counts(booking))
        reports = tuple(
            position_report(
                self.exchange,
                position,
                api_key=PAPER_KEY,
                symbol=self._symbols[position.venue_symbol],
                time_ns=event.time_ns,
            )
            for position in event.positions
        )
        self._events.append(update_of(event, reports))

    def _tell_marks(self) -> None:
        for venue_symbol, symbol in self._symbols.items():
            mark = self.exchange.mark(venue_symbol)
            self._events.append(
                MarkPrice(
                    symbol=symbol,
                    mark_price=mark.mark_price,
                    index_price=mark.index_price,
                    funding_rate=mark.funding_rate,
                    next_funding_ns=mark.next_funding_ns,
                    time_ns=mark.time_ns,
                )
            )
