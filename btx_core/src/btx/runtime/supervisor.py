"""Keeps one stream alive: dials, waits, dials again. Only this dials."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection

from btx.errors import AuthenticationError, ClockError, ConfigError, NotSupportedError, RateLimitedError, TransportError
from btx.model.venue import StreamState, StreamStatus, Subscription
from btx.ports import Sink, Stream, StreamEvent
from btx.rules.backoff import Backoff, delay_s
from btx.runtime.tasks import Tasks

__all__ = ("REDIAL", "StreamSupervisor")

REDIAL = Backoff(base_s=0.25, cap_s=30.0)
_STEADY_S = 10.0


class StreamSupervisor:
    """Runs ``Stream.run`` for one set of subscriptions until stopped, and tells ups and downs.

    A connection that stood for ``steady_s`` starts the back-off anew.
    ``on_fatal`` hears of what dialling again would not cure, ``on_clock_doubt``
    that the venue found a time stamp wrong: dialling helps once its clock was read.
    """

    def __init__(
        self,
        *,
        stream: Stream,
        sink: Sink,
        on_up: Callable[[], None],
        on_down: Callable[[str], None],
        on_fatal: Callable[[Exception], None],
        on_clock_doubt: Callable[[], None] = lambda: None,
        backoff: Backoff = REDIAL,
        steady_s: float = _STEADY_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._stream = stream
        self._sink = sink
        self._on_up = on_up
        self._on_down = on_down
        self._on_fatal = on_fatal
        self._on_clock_doubt = on_clock_doubt
        self._backoff = backoff
        self._steady_s = steady_s
        self._sleep = sleep
        self._tasks = Tasks(self._on_broken)
        self._up = False

    @property
    def is_up(self) -> bool:
        """The venue accepted all subscriptions and the connection stands."""
        return self._up

    def start(self, subscriptions: Collection[Subscription]) -> None:
        """Dial, with these subscriptions; ``stop`` first what was started before."""
        self._tasks.start(self._run(tuple(subscriptions)), what="stream")

    async def stop(self) -> None:
        """Hang up and wait for it."""
        self._up = False
        await self._tasks.stop()

    def _forward(self, event: StreamEvent) -> None:
        if isinstance(event, StreamStatus) and event.state is StreamState.SUBSCRIBED:
            self._up = True
            self._on_up()
        else:
            self._sink(event)

    def _on_broken(self, _what: str, error: Exception) -> None:
        self._up = False
        self._on_fatal(error)

    async def _run(self, subscriptions: tuple[Subscription, ...]) -> None:
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            dialled_at = loop.time()
            pause_s = 0.0
            try:
                await self._stream.run(subscriptions=subscriptions, sink=self._forward)
                reason = "the connection ended"
            except TransportError as error:
                reason = str(error)
            except RateLimitedError as error:
                reason, pause_s = str(error), error.retry_after_s
            except ClockError as error:
                reason = str(error)
                self._on_clock_doubt()
            except (AuthenticationError, ConfigError, NotSupportedError):
                raise
            except Exception as error:  # noqa: BLE001 -- an adapter's bug must be told, not end the feeds
                reason = f"{type(error).__name__}: {error}"
            was_up, self._up = self._up, False
            attempt = 0 if was_up and loop.time() - dialled_at > self._steady_s else attempt + 1
            self._on_down(reason)
            wait_s = delay_s(self._backoff, attempt=attempt, random=random.random())  # noqa: S311 -- jitter
            await self._sleep(max(wait_s, pause_s))
