"""How a venue is broken: the honest one, with one of its ports exchanged for one that does one thing wrong."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager

import attrs

from btx.hookspecs import hookimpl
from btx.model.account import AccountSnapshot
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.venue import Endpoints, Scenario, VenueInfo
from btx.ports import Broker, Context, Feed, Sink, Store, Stream, StreamEvent, Wanted
from btx.rules.account import Terms
from btx.testing.toy import plugin as honest
from btx.testing.toy.config import SPOT
from btx.testing.toy.stream import ToyStream

__all__ = ("AlteredStream", "Broken", "Variant")


def _numbers(text: str) -> tuple[str, ...]:
    return tuple(text.split())


@attrs.frozen
class Broken:
    """One venue that does one thing wrong, and the numbers of the cards that say so."""

    name: str
    what: str  # it does, as a sentence without its subject
    plugin: object
    caught_by: tuple[str, ...] = attrs.field(converter=_numbers)
    market: str = attrs.field(default=SPOT, kw_only=True)


class Variant:
    """The honest venue's hooks, some of them exchanged."""

    def __init__(
        self,
        *,
        store: Callable[[Context], Store] = honest.btx_store,
        broker: Callable[[Context], Broker] = honest.btx_broker,
        feed: Callable[[Context], Feed] = honest.btx_feed,
        stream: Callable[[Context], Stream] = honest.btx_websocket,
        fees: Callable[[Instrument, AccountSnapshot | None], FeeSchedule] = honest.btx_commission,
        simulator: Callable[[Scenario], AbstractAsyncContextManager[Endpoints]] = honest.btx_simulator,
        info: VenueInfo | None = None,
    ) -> None:
        self._store = store
        self._broker = broker
        self._feed = feed
        self._stream = stream
        self._fees = fees
        self._simulator = simulator
        self._info = info or honest.btx_venue()

    @hookimpl
    def btx_venue(self) -> VenueInfo:
        """Return the visiting card."""
        return self._info

    @hookimpl
    def btx_store(self, context: Context) -> Store:
        """Return the port for the venue's facts."""
        return self._store(context)

    @hookimpl
    def btx_broker(self, context: Context) -> Broker:
        """Return the port for orders."""
        return self._broker(context)

    @hookimpl
    def btx_feed(self, context: Context) -> Feed:
        """Return the port for history."""
        return self._feed(context)

    @hookimpl
    def btx_websocket(self, context: Context) -> Stream:
        """Return the port for pushes."""
        return self._stream(context)

    @hookimpl
    def btx_commission(self, instrument: Instrument, account: AccountSnapshot | None) -> FeeSchedule:
        """Return the rates of the venue's table."""
        return self._fees(instrument, account)

    @hookimpl
    def btx_simulator(self, scenario: Scenario) -> AbstractAsyncContextManager[Endpoints]:
        """Return the venue in a box."""
        return self._simulator(scenario)

    @hookimpl
    def btx_listed(self, scenario: Scenario) -> Sequence[Terms]:
        """Return what the box lists."""
        return honest.btx_listed(scenario)


class AlteredStream(ToyStream):
    """A stream whose events are altered on their way."""

    async def run(self, *, wanted: Wanted, sink: Sink) -> None:
        """Push what :meth:`heard` makes of each event."""

        def alter(event: StreamEvent) -> None:
            for each in self.heard(event):
                sink(each)

        await super().run(wanted=wanted, sink=alter)

    def heard(self, event: StreamEvent) -> Iterable[StreamEvent]:
        """Return what is pushed in the place of an event."""
        return (event,)
