"""Mark prices of one instrument: what its positions are valued, funded and liquidated at."""

import asyncio
import functools
from collections.abc import Callable
from typing import Protocol, cast

from btx.errors import BtxError
from btx.model.derivatives import MarkPrice
from btx.model.instrument import Instrument
from btx.model.venue import Channel, Subscription
from btx.ports import MarginFeed, StreamEvent
from btx.runtime.latest import Unknown
from btx.runtime.listeners import Means

__all__ = ("MarkListener", "MarkSlot", "OnMark")


class MarkSlot(Protocol):
    """What a listener fills: a :class:`btx.runtime.latest.Latest` of the strategy, or somebody on btx-io."""

    def put(self, value: MarkPrice | Unknown, *, updates: int = 1) -> None:
        """Take the newest value."""


class OnMark:
    """A slot for who works on btx-io himself: hands every mark on."""

    def __init__(self, take: Callable[[MarkPrice], None]) -> None:
        self._take = take

    def put(self, value: MarkPrice | Unknown, *, updates: int = 1) -> None:  # noqa: ARG002 -- as of any slot
        """Hand a mark on; that there is none now is no news, the last one counts until the next."""
        if isinstance(value, MarkPrice):
            self._take(value)


class MarkListener:
    """The newest mark price of one instrument; the first after a connection is asked for."""

    def __init__(self, instrument: Instrument, means: Means) -> None:
        self.subscription = Subscription(channel=Channel.MARK, instrument=instrument)
        self._instrument = instrument
        self._means = means
        self._slots: list[MarkSlot] = []
        self._mark: MarkPrice | None = None
        self._trouble = "no mark price has come so far"
        self._is_up = False
        self._asking: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    def __str__(self) -> str:
        return f"mark price of {self._instrument.symbol}"

    def add(self, slot: MarkSlot, depth: int) -> None:  # noqa: ARG002 -- it has no levels
        """Fill a slot from now on."""
        self._slots.append(slot)
        slot.put(self._mark or Unknown(f"{self}: {self._trouble}"), updates=0)

    def remove(self, slot: MarkSlot) -> bool:
        """Leave a slot alone; say whether none is left."""
        if slot in self._slots:
            self._slots.remove(slot)
        return not self._slots

    @property
    def is_settled(self) -> bool:
        """Nothing is on its way that would change what is shown."""
        return self._is_up and self._asking is None

    def has_heard(self, sequence: int) -> bool:
        """Say whether the newest mark is of this market time, or later."""
        return self._mark is not None and self._mark.time_ns >= sequence

    def catch_up(self) -> None:
        """Ask for the mark price as it is now."""
        if self._is_up and self._asking is None:
            self._asking = self._means.tasks.start(self._ask(), what=f"{self}")

    def on_up(self) -> None:
        """Pushes come from now on."""
        self._is_up = True
        self.catch_up()

    def on_down(self, reason: str) -> None:
        """A mark that is not carried on is none."""
        self._is_up = False
        self.stop()
        self._mark, self._trouble = None, reason
        for slot in self._slots:
            slot.put(Unknown(f"{self}: {reason}"), updates=0)
        self._news.set()

    def on_event(self, event: StreamEvent) -> None:
        """Take a mark price, unless it is older than what is known."""
        if not isinstance(event, MarkPrice) or (self._mark is not None and event.time_ns < self._mark.time_ns):
            return
        self._mark = event
        for slot in self._slots:
            slot.put(event)
        self._news.set()
        self._means.progressed()

    async def is_stale(self) -> str | None:
        """Return why the stream lags behind the venue, None when nothing happens there; raises what REST does."""
        there = await self._there()
        if await self._means.hears_in_time(self._news, lambda: not self._differs(there)):
            return None
        return f"{self}: the venue has {there.mark_price}, its stream stands still"

    def stop(self) -> None:
        """Ask for nothing more."""
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    async def ended(self) -> None:
        """Nothing: its requests are the desk's tasks."""

    def _differs(self, there: MarkPrice) -> bool:
        here = self._mark
        return self._is_up and (here is None or (here.time_ns < there.time_ns and here.mark_price != there.mark_price))

    async def _there(self) -> MarkPrice:
        feed = cast("MarginFeed", self._means.feed)  # marks are asked for in margined markets alone
        request = functools.partial(feed.mark_price, instrument=self._instrument)
        async with self._means.turns:
            return await self._means.guard.read("mark_price", request)

    async def _ask(self) -> None:
        try:
            self.on_event(await self._there())
        except BtxError as error:
            self._means.note("FAULT", f"{self}: {error}")  # the stream will tell
        finally:
            if self._asking is asyncio.current_task():
                self._asking = None
        self._means.progressed()
