"""Market streams: subscriptions spread over connections, and events to those who listen. Lives on btx-io."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from btx.model.derivatives import MarkPrice
from btx.model.instrument import Instrument
from btx.model.market import Bar, BookDelta, BookSnapshot, Quote, Trade
from btx.model.time import Interval
from btx.model.venue import Channel, Connection, StreamStatus, Subscription
from btx.ports import Stream, StreamEvent
from btx.rules.backoff import Backoff
from btx.rules.staleness import Gaps, Patience, observe, patience_s
from btx.runtime.mailbox import Note
from btx.runtime.supervisor import REDIAL, StreamSupervisor
from btx.runtime.tasks import Tasks

__all__ = ("Listener", "MarketLines")

_HANG_UP_S = 1.0
_REFUSALS = 3  # in a row, until what may be refused has to leave the connection of the others
_MOST_SUSPECT = 16  # connections at a time for what may be refused: a venue that refuses everything gets no more
_NAMED = 5
_EVENTS: Mapping[Channel, tuple[type, ...]] = {
    Channel.BAR: (Bar,),
    Channel.TRADE: (Trade,),
    Channel.QUOTE: (Quote,),
    Channel.BOOK: (BookSnapshot, BookDelta),
    Channel.MARK: (MarkPrice,),
}


class Listener(Protocol):
    """Who hears one subscription; everything is called on btx-io."""

    @property
    def subscription(self) -> Subscription:
        """What it listens to; it does not change."""

    def on_event(self, event: StreamEvent) -> None:
        """Take an event of the subscription. The same may come twice while one connection replaces another."""

    def on_up(self) -> None:
        """The venue has accepted the subscription: nothing after this is missed."""

    def on_down(self, reason: str) -> None:
        """The connection is lost, or the subscription is being renewed: what happens now is missed."""

    async def is_stale(self) -> str | None:
        """Say why the stream does not tell what it should, None when the market is merely quiet.

        Asked when nothing came for the subscription's patience; what it raises
        counts as None, and is told.
        """


class _Topic:
    """One subscription, and who hears it."""

    def __init__(self, subscription: Subscription, line: "_Line") -> None:
        self.subscription = subscription
        self.line = line
        self.listeners: tuple[Listener, ...] = ()
        self.is_up = False
        self.was_up = False  # once, so it is hardly this one that the venue refuses
        self.is_renewing = False  # it is being unsubscribed, to be subscribed again
        self.is_stale = False
        self.was_renewed = False  # and nothing has come since
        self.heard_at = 0.0
        self.longest_s = 0.0  # pause since the last look
        self.gaps = Gaps()
        self.asking: asyncio.Task[None] | None = None

    def __str__(self) -> str:
        parts = (self.subscription.instrument, self.subscription.channel.value, self.subscription.interval)
        return " ".join(str(getattr(part, "symbol", part)) for part in parts if part is not None)


class _Line:
    """One connection, and what it carries."""

    def __init__(self, supervisor: StreamSupervisor) -> None:
        self.supervisor = supervisor
        self.topics: dict[Subscription, _Topic] = {}
        self.refusals = 0  # in a row
        self.is_suspect = False  # the venue may refuse what it carries: nothing else is put on it

    def want(self) -> None:
        self.supervisor.want(each for each, topic in self.topics.items() if not topic.is_renewing)


class MarketLines:
    """All market subscriptions of a session, over as many connections as they need.

    ``size`` subscriptions go on one connection, which the venue ends after
    ``life_s``.  Adding and removing does not touch the streams that stay.
    ``on_fatal`` hears of what dialling again would not cure, ``on_fault`` of a
    frame that could not be read, before what comes after it is handed on.

    A subscription that is silent for longer than its pauses so far explain is
    doubted, whatever else comes over its connection: its listeners are asked.
    One that is stale is subscribed anew, and if that does not help the
    connection is dialled again.  ``patience=None`` leaves time out, as in
    lockstep.  While its instrument does not trade (``is_open``) its silence is
    not counted.

    What the venue refuses again and again is parted from the rest, half by half
    where it is not known which it is, until it has a connection of its own.
    """

    def __init__(
        self,
        *,
        stream: Stream,
        tell: Callable[[Note], None],
        on_fatal: Callable[[Exception], None],
        size: int = 200,
        life_s: float | None = None,
        redial: Backoff = REDIAL,
        patience: Patience | None = None,
        is_open: Callable[[Instrument], bool] = lambda _instrument: True,
        on_fault: Callable[[], None] = lambda: None,
    ) -> None:
        self._stream = stream
        self._on_fault = on_fault
        self._tell = tell
        self._on_fatal = on_fatal
        self._size = size
        self._life_s = life_s
        self._redial = redial
        self._patience = patience
        self._is_open = is_open
        self._watching: asyncio.Task[None] | None = None
        self._topics: dict[Subscription, _Topic] = {}
        # By what an event says of itself; bars of one symbol are told apart by their interval.
        self._routes: dict[tuple[type, str], tuple[_Topic, ...]] = {}
        self._lines: list[_Line] = []
        self._dialled = 0
        self._loop_time = asyncio.get_running_loop().time
        self._tasks = Tasks(lambda what, error: self._fault(f"{what}: {type(error).__name__}: {error}"))

    def states(self) -> Mapping[str, Connection]:
        """Return how each connection stands, by name. Any thread."""
        return {line.supervisor.name: line.supervisor.status for line in tuple(self._lines)}

    def add(self, listener: Listener) -> None:
        """Let somebody hear its subscription; the venue is asked only if nobody heard it so far."""
        topic = self._topics.get(listener.subscription)
        if topic is None:
            self._topics[listener.subscription] = topic = self._place(listener.subscription)
        if self._watching is None and self._patience is not None:
            self._watching = self._tasks.start(self._watch(self._patience), what="watching for silence")
        topic.listeners = (*topic.listeners, listener)
        if topic.is_up:
            listener.on_up()

    def remove(self, listener: Listener) -> None:
        """Let somebody hear nothing more; the last one of a subscription ends it. Unknown ones are no matter."""
        topic = self._topics.get(listener.subscription)
        if topic is None or listener not in topic.listeners:
            return
        topic.listeners = tuple(each for each in topic.listeners if each is not listener)
        if not topic.listeners:
            self._drop(topic)

    def renew(self, subscription: Subscription, reason: str) -> None:
        """A listener found that the stream does not tell what it should: have it subscribed anew.

        When nothing came since the last time, the whole connection is dialled again.
        """
        topic = self._topics.get(subscription)
        if topic is None or not topic.is_up or topic.is_renewing:
            return
        topic.is_stale = True
        supervisor = topic.line.supervisor
        supervisor.be_stale(f"{topic}: {reason}")
        if topic.was_renewed:
            supervisor.redial(f"{topic}: {reason}")
        else:
            topic.was_renewed = topic.is_renewing = True
            topic.line.want()

    async def stop(self) -> None:
        """Hang up everywhere."""
        lines, self._lines = self._lines, []
        self._topics.clear()
        self._routes.clear()
        await asyncio.gather(*(line.supervisor.stop() for line in lines))
        if self._watching is not None:
            self._watching.cancel()
        await self._tasks.drain(_HANG_UP_S)
        await self._tasks.stop()

    # --- which subscription is on which connection ---------------------------------------------------------

    def _place(self, subscription: Subscription) -> _Topic:
        keys = _keys(subscription)
        roomy = (each for each in self._lines if len(each.topics) < self._size and not each.is_suspect)
        line = next(roomy, None)
        is_new = line is None
        if line is None:
            line = self._new_line()
            self._lines.append(line)
        topic = line.topics[subscription] = _Topic(subscription, line)
        for key in keys:
            self._routes[key] = (*self._routes.get(key, ()), topic)
        if is_new:
            line.supervisor.start(line.topics)
        else:
            topic.is_up = subscription in line.supervisor.standing  # wanted again before it was gone
            line.want()
        return topic

    def _drop(self, topic: _Topic) -> None:
        line = topic.line
        del self._topics[topic.subscription]
        del line.topics[topic.subscription]
        for key in _keys(topic.subscription):
            left = tuple(each for each in self._routes.pop(key) if each is not topic)
            if left:
                self._routes[key] = left
        if line.topics:
            line.want()
        else:
            self._lines.remove(line)
            self._tasks.start(line.supervisor.stop(), what="hanging up")

    def _new_line(self) -> _Line:
        self._dialled += 1
        line: _Line

        supervisor = StreamSupervisor(
            name="market" if self._dialled == 1 else f"market {self._dialled}",
            stream=self._stream,
            sink=self._on_event,
            on_up=lambda standing: self._on_up(line, standing),
            on_down=lambda reason: self._on_down(line, reason),
            on_refused=lambda: self._on_refused(line),
            on_fatal=self._on_fatal,
            tell=self._tell,
            backoff=self._redial,
            life_s=self._life_s,
        )
        line = _Line(supervisor)
        return line

    # --- what the connections tell -------------------------------------------------------------------------

    def _on_up(self, line: _Line, standing: frozenset[Subscription]) -> None:
        now = self._loop_time()
        is_changed = False
        for topic in tuple(line.topics.values()):
            if topic.subscription not in standing:
                self._be_down(topic, "subscribed anew")
                is_changed = is_changed or topic.is_renewing
                topic.is_renewing = False
            elif not topic.is_up:
                topic.is_up = topic.was_up = True
                topic.heard_at = now
                for listener in topic.listeners:
                    listener.on_up()
        if is_changed:
            line.want()
        if all(topic.is_up for topic in line.topics.values()):
            line.refusals, line.is_suspect = 0, False

    def _on_refused(self, line: _Line) -> None:
        """Part what the venue may refuse from what it has carried; else one half from the other."""
        line.refusals += 1
        full = sum(each.is_suspect for each in self._lines) >= _MOST_SUSPECT
        if line.refusals < _REFUSALS or len(line.topics) < 2 or full:
            return
        everything = tuple(line.topics.values())
        suspects = tuple(topic for topic in everything if not topic.was_up) or everything
        if len(suspects) == len(everything):
            suspects = everything[: len(everything) // 2]
        else:
            line.refusals = 0
        self._part(line, suspects)

    def _part(self, line: _Line, suspects: Sequence[_Topic]) -> None:
        """Give what is down a connection of its own."""
        other = self._new_line()
        other.is_suspect, other.refusals = True, _REFUSALS - 1  # its first refusal tells enough
        self._lines.append(other)
        for topic in suspects:
            del line.topics[topic.subscription]
            other.topics[topic.subscription] = topic
            topic.line = other
        named = ", ".join(str(topic) for topic in suspects[:_NAMED])
        more = f" and {len(suspects) - _NAMED} more" if len(suspects) > _NAMED else ""
        text = f"{line.supervisor.name} stream: the venue refuses a subscription: {named}{more} now apart"
        self._fault(f"{text} as {other.supervisor.name}")
        line.want()
        other.supervisor.start(other.topics)

    def _on_down(self, line: _Line, reason: str) -> None:
        is_changed = False
        for topic in tuple(line.topics.values()):
            topic.is_stale = False  # what comes next has a connection of its own
            is_changed = is_changed or topic.is_renewing
            topic.is_renewing = False  # and so it is subscribed anew by itself
            self._be_down(topic, reason)
        if is_changed:
            line.want()

    @staticmethod
    def _be_down(topic: _Topic, reason: str) -> None:
        if topic.is_up:
            topic.is_up = False
            for listener in topic.listeners:
                listener.on_down(reason)

    def _on_event(self, event: StreamEvent) -> None:
        if type(event) is StreamStatus:
            self._fault(f"market stream: {event.detail}")
            self._on_fault()
            return
        topics = self._routes.get((type(event), getattr(event, "symbol", "")), ())
        now = self._loop_time()
        bar = event if isinstance(event, Bar) else None
        for topic in topics:
            if bar is None or _is_same(topic.subscription.interval, bar.interval):
                topic.longest_s = max(topic.longest_s, now - topic.heard_at)
                topic.heard_at = now
                if topic.is_stale:
                    self._be_fresh(topic)
                for listener in topic.listeners:
                    listener.on_event(event)

    # --- silence -----------------------------------------------------------------------------------------

    def _be_fresh(self, topic: _Topic) -> None:
        topic.is_stale = topic.was_renewed = False
        if not any(each.is_stale for each in topic.line.topics.values()):
            topic.line.supervisor.be_fresh()

    async def _watch(self, patience: Patience) -> None:
        """Look at every subscription from time to time, and doubt those that have been silent for too long."""
        while True:
            await asyncio.sleep(patience.floor_s / 4)
            now = self._loop_time()
            for topic in tuple(self._topics.values()):
                if not topic.is_up or (topic.asking is not None and not topic.asking.done()):
                    continue
                instrument = topic.subscription.instrument
                if instrument is not None and not self._is_open(instrument):
                    topic.heard_at, topic.longest_s = now, 0.0  # nobody trades: its silence says nothing
                    continue
                if now - topic.heard_at > patience_s(topic.gaps, patience):
                    topic.asking = self._tasks.start(self._ask(topic), what=f"asking whether {topic} is stale")
                elif topic.longest_s:
                    topic.gaps = observe(topic.gaps, longest_s=topic.longest_s)
                    topic.longest_s = 0.0

    async def _ask(self, topic: _Topic) -> None:
        silent_since = topic.heard_at
        for listener in topic.listeners:
            reason = await self._verdict(topic, listener)
            if topic.heard_at != silent_since or not topic.is_up:
                return  # it has spoken meanwhile
            if reason is not None:
                self.renew(topic.subscription, reason)
                topic.heard_at = self._loop_time()
                return
        now = self._loop_time()
        topic.gaps = observe(topic.gaps, longest_s=now - silent_since)  # quiet markets are asked after less often
        topic.heard_at = now
        if topic.is_stale:
            self._be_fresh(topic)

    async def _verdict(self, topic: _Topic, listener: Listener) -> str | None:
        try:
            return await listener.is_stale()
        except Exception as error:  # noqa: BLE001 -- a question that found no answer proves nothing; it is told
            self._fault(f"asking whether {topic} is stale: {type(error).__name__}: {error}")
            return None

    def _fault(self, text: str) -> None:
        self._tell(Note(kind="FAULT", text=text))


def _keys(subscription: Subscription) -> tuple[tuple[type, str], ...]:
    assert subscription.instrument is not None, "market subscriptions are of an instrument"
    return tuple((kind, subscription.instrument.symbol) for kind in _EVENTS[subscription.channel])


def _is_same(one: Interval | None, other: Interval) -> bool:
    """As ``==``, which goes through two tuples for each bar that forms."""
    return one is not None and one.count == other.count and one.unit is other.unit
