"""Keeps one connection alive: dials, waits, dials again, and replaces it before its time is over. Only this dials."""

import asyncio
import functools
import random
import time
from collections.abc import Awaitable, Callable, Iterable

from btx.errors import (
    AuthenticationError,
    ClockError,
    ConfigError,
    NotSupportedError,
    RateLimitedError,
    SubscriptionRefusedError,
    TransportError,
)
from btx.model.venue import Connection, ConnectionState, StreamState, StreamStatus, Subscription
from btx.ports import Sink, Stream, StreamEvent
from btx.rules.backoff import Backoff, delay_s
from btx.runtime.mailbox import Note
from btx.runtime.tasks import Tasks
from btx.runtime.wishes import Wishes

__all__ = ("REDIAL", "StreamSupervisor")

REDIAL = Backoff(base_s=0.25, cap_s=30.0)
_STEADY_S = 10.0
_OPEN_S = 30.0
_LINGER_S = 1.0
_LIFE_SHARES = (0.90, 0.98)  # of a connection's life, after which it is replaced; spread, so that not all go at once
_KINDS = {
    ConnectionState.CONNECTED: "CONNECTED",
    ConnectionState.RECONNECTING: "DISCONNECTED",
    ConnectionState.STALE: "STALE",
}
_INCURABLE = (AuthenticationError, ConfigError, NotSupportedError)


class _Dial:
    """One call of ``Stream.run``."""

    def __init__(self, dialled_at: float) -> None:
        self.dialled_at = dialled_at
        self.standing: frozenset[Subscription] | None = None  # None: nothing was accepted yet
        self.told: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # SUBSCRIBED, once more
        self.is_due: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # it must be replaced
        self.reason = "the connection ended"
        self.pause_s = 0.0
        self.is_refused = False
        self.error: Exception | None = None  # what dialling again would not cure
        self.task: asyncio.Task[None]
        self.limit: asyncio.Timeout
        self.life: asyncio.TimerHandle | None = None

    def be_due(self) -> None:
        if not self.is_due.done():
            self.is_due.set_result(None)


class StreamSupervisor:
    """Keeps ``Stream.run`` going for the subscriptions that are wanted, and tells ups and downs.

    ``on_up`` is told what stands, each time that changes; ``on_down`` of every
    loss and every dial that failed.  Changes of the state are told once each, as
    a Note.  A connection that stood for ``steady_s`` starts the back-off anew; a
    dial that is not accepted within ``open_s`` has failed.  ``on_fatal`` hears of
    what dialling again would not cure, ``on_clock_doubt`` that the venue found a
    time stamp wrong: dialling helps once its clock was read; ``on_refused``, after
    ``on_down``, that the venue will not carry something that is wanted.

    With ``life_s``, or when the venue announces the end, a second connection is
    dialled, and only when that one carries everything the first is let go,
    ``linger_s`` later: what was pushed to it is still read.  So an event may come
    twice.  ``overlaps=False`` is for streams that cannot stand twice.
    """

    def __init__(
        self,
        *,
        name: str,
        stream: Stream,
        sink: Sink,
        on_up: Callable[[frozenset[Subscription]], None],
        on_down: Callable[[str], None],
        on_fatal: Callable[[Exception], None],
        tell: Callable[[Note], None],
        on_clock_doubt: Callable[[], None] = lambda: None,
        on_refused: Callable[[], None] = lambda: None,
        backoff: Backoff = REDIAL,
        steady_s: float = _STEADY_S,
        open_s: float = _OPEN_S,
        life_s: float | None = None,
        linger_s: float = _LINGER_S,
        overlaps: bool = True,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.name = name
        self.status = Connection(state=ConnectionState.STOPPED, since_ns=time.time_ns())
        self._stream = stream
        self._sink = sink
        self._on_up = on_up
        self._on_down = on_down
        self._on_fatal = on_fatal
        self._tell = tell
        self._on_clock_doubt = on_clock_doubt
        self._on_refused = on_refused
        self._backoff = backoff
        self._steady_s = steady_s
        self._open_s = open_s
        self._life_s = life_s
        self._linger_s = linger_s
        self._overlaps = overlaps
        self._sleep = sleep
        self._wishes = Wishes()
        self._tasks = Tasks(self._on_broken)
        self._current: _Dial | None = None
        self._attempt = 0  # failed dials in a row

    @property
    def is_up(self) -> bool:
        """The venue accepted subscriptions and the connection stands."""
        return self.status.state in {ConnectionState.CONNECTED, ConnectionState.STALE}

    @property
    def standing(self) -> frozenset[Subscription]:
        """What the venue has accepted on the connection that stands now."""
        current = self._current
        return current.standing or frozenset() if current is not None and self.is_up else frozenset()

    def start(self, subscriptions: Iterable[Subscription]) -> None:
        """Dial, with these subscriptions; ``stop`` first what was started before."""
        self._wishes.set(subscriptions)
        self._change(ConnectionState.CONNECTING)
        self._tasks.start(self._run(), what=f"{self.name} stream")

    def want(self, subscriptions: Iterable[Subscription]) -> None:
        """Carry these instead; what was carried and still is goes on untouched."""
        self._wishes.set(subscriptions)

    def redial(self, reason: str) -> None:
        """Hang up, and dial again: the connection stands, but is of no use."""
        current = self._current
        if current is not None and not current.task.done():
            current.reason = reason
            current.task.cancel()

    def be_stale(self, reason: str) -> None:
        """Something that should have come over the connection did not."""
        if self.status.state is ConnectionState.CONNECTED:
            self._change(ConnectionState.STALE, reason)

    def be_fresh(self) -> None:
        """Everything comes again."""
        if self.status.state is ConnectionState.STALE:
            self._change(ConnectionState.CONNECTED)

    async def stop(self) -> None:
        """Hang up and wait for it."""
        self._change(ConnectionState.STOPPED)
        await self._tasks.stop()

    def _change(self, state: ConnectionState, reason: str = "") -> None:
        if state is self.status.state:
            return
        self.status = Connection(state=state, since_ns=time.time_ns(), reason=reason)
        if (kind := _KINDS.get(state)) is not None:
            text = f"{self.name} stream: {reason}" if reason else f"{self.name} stream"
            self._tell(Note(kind=kind, text=text, connection=self.name, status=self.status))

    def _on_broken(self, _what: str, error: Exception) -> None:
        self._change(ConnectionState.STOPPED, f"{error}")
        self._on_fatal(error)

    # --- one connection after the other --------------------------------------------------------------------

    async def _run(self) -> None:
        self._attempt = 0
        self._current = self._dial()
        while True:
            current = self._current
            await asyncio.wait({current.task, current.is_due}, return_when=asyncio.FIRST_COMPLETED)
            if not current.task.done():
                self._current = await self._replace(current)
            else:
                wait_s = self._lost(current)
                await self._sleep(wait_s)
                self._current = self._dial()

    def _lost(self, lost: _Dial) -> float:
        """Tell the loss; return how long to wait."""
        if lost.error is not None:
            raise lost.error
        stood_s = asyncio.get_running_loop().time() - lost.dialled_at
        self._attempt = 0 if lost.standing is not None and stood_s > self._steady_s else self._attempt + 1
        is_news = self.status.state is not ConnectionState.RECONNECTING
        self._change(ConnectionState.RECONNECTING, lost.reason)
        if not is_news and _is_power_of_four(self._attempt):
            text = f"{self.name} stream: not back after {self._attempt} dials: {lost.reason}"
            self._tell(Note(kind="FAULT", text=text))
        self._on_down(lost.reason)
        if lost.is_refused:
            self._on_refused()
        return self._pause_s(lost, self._attempt)

    def _pause_s(self, lost: _Dial, attempt: int) -> float:
        wait_s = delay_s(self._backoff, attempt=attempt, random=random.random())  # noqa: S311 -- jitter
        return max(wait_s, lost.pause_s)

    async def _replace(self, old: _Dial) -> _Dial:
        """Dial a second connection while the first one stands; return the one to go on with."""
        attempt = 0
        while True:
            new = self._dial()
            while not new.task.done():
                await asyncio.wait({old.task, new.task, new.told}, return_when=asyncio.FIRST_COMPLETED)
                if old.task.done():
                    return await self._outlive(old, new)
                if new.told.done() and not new.task.done():
                    new.told = asyncio.get_running_loop().create_future()
                    if (new.standing or frozenset()) >= (old.standing or frozenset()) & self._wishes.now:
                        self._current = new
                        self._tasks.start(self._let_go(old), what=f"letting the old {self.name} stream go")
                        self._stand(new)
                        return new
            attempt += 1
            self._tell(Note(kind="FAULT", text=f"{self.name} stream: its successor did not come up: {new.reason}"))
            waiting = asyncio.ensure_future(self._sleep(self._pause_s(new, attempt)))
            try:
                await asyncio.wait({old.task, waiting}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
            if old.task.done():
                return old

    async def _outlive(self, old: _Dial, new: _Dial) -> _Dial:
        """The old connection went before the new one carried everything: it is a loss, and half made good already."""
        self._lost(old)
        self._current = new
        if new.standing is not None and not new.task.done():
            self._stand(new)
        return new

    async def _let_go(self, old: _Dial) -> None:
        await asyncio.wait({old.task}, timeout=self._linger_s)
        old.task.cancel()

    def _dial(self) -> _Dial:
        loop = asyncio.get_running_loop()
        dial = _Dial(loop.time())
        dial.task = self._tasks.start(self._serve(dial), what=f"{self.name} stream")
        return dial

    async def _serve(self, dial: _Dial) -> None:
        try:
            async with asyncio.timeout(self._open_s) as dial.limit:
                await self._stream.run(wanted=self._wishes, sink=functools.partial(self._hear, dial))
        except TransportError as error:
            dial.reason, dial.is_refused = str(error), isinstance(error, SubscriptionRefusedError)
        except RateLimitedError as error:
            dial.reason, dial.pause_s = str(error), error.retry_after_s
        except ClockError as error:
            dial.reason = str(error)
            self._on_clock_doubt()
        except _INCURABLE as error:
            dial.reason, dial.error = str(error), error
        except Exception as error:  # noqa: BLE001 -- an adapter's bug must be told, not end the feeds
            is_late = isinstance(error, TimeoutError) and dial.limit.expired()
            dial.reason = f"not subscribed within {self._open_s:g} s" if is_late else f"{type(error).__name__}: {error}"
        finally:
            if dial.life is not None:
                dial.life.cancel()

    def _hear(self, dial: _Dial, event: StreamEvent) -> None:
        state = event.state if isinstance(event, StreamStatus) else None
        if state is StreamState.SUBSCRIBED:
            assert isinstance(event, StreamStatus)
            self._subscribed(dial, event.subscriptions)
        elif state is StreamState.CLOSING:
            if self._overlaps:
                dial.be_due()
        else:
            self._sink(event)

    def _subscribed(self, dial: _Dial, subscriptions: frozenset[Subscription]) -> None:
        if dial.standing is None:
            dial.limit.reschedule(None)
            if self._life_s is not None and self._overlaps:
                life_s = self._life_s * random.uniform(*_LIFE_SHARES)  # noqa: S311 -- jitter
                dial.life = asyncio.get_running_loop().call_later(life_s, dial.be_due)
        dial.standing = subscriptions
        if not dial.told.done():
            dial.told.set_result(None)
        if dial is self._current:
            self._stand(dial)

    def _stand(self, dial: _Dial) -> None:
        if not self.is_up:
            self._change(ConnectionState.CONNECTED)
        self._on_up(dial.standing or frozenset())


def _is_power_of_four(attempt: int) -> bool:
    return attempt > 1 and attempt & (attempt - 1) == 0 and attempt % 3 == 1
