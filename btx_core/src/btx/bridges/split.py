"""One connection of the Stream port over several sockets, for venues whose streams are at several addresses."""

from collections.abc import Callable

import attrs

from btx.model.venue import StreamState, StreamStatus, Subscription
from btx.ports import Sink, StreamEvent, Wanted

__all__ = ("BaseOf", "Part", "Together")

BaseOf = Callable[[Subscription], str]
"""Says at which address a subscription is."""


class Part:
    """What is wanted at one address; a :class:`btx.ports.Wanted` itself."""

    def __init__(self, wanted: Wanted, base: str, base_of: BaseOf) -> None:
        self._wanted = wanted
        self._base = base
        self._base_of = base_of

    @property
    def now(self) -> frozenset[Subscription]:
        """What is wanted here at this moment; it may be nothing."""
        return self._of(self._wanted.now)

    async def changed(self, known: frozenset[Subscription]) -> frozenset[Subscription]:
        """Wait until what is wanted here differs from ``known``, and return it."""
        whole = self._wanted.now
        while self._of(whole) == known:
            whole = await self._wanted.changed(whole)
        return self._of(whole)

    def _of(self, whole: frozenset[Subscription]) -> frozenset[Subscription]:
        return frozenset(each for each in whole if self._base_of(each) == self._base)


class Together:
    """Tells SUBSCRIBED of several sockets as of one: when each that is needed stands, and what stands on all."""

    def __init__(self, wanted: Wanted, sink: Sink, base_of: BaseOf) -> None:
        self._wanted = wanted
        self._sink = sink
        self._base_of = base_of
        self._standing: dict[str, frozenset[Subscription]] = {}

    def sink_of(self, base: str) -> Sink:
        """Return what the socket at ``base`` tells its events."""

        def tell(event: StreamEvent) -> None:
            if not isinstance(event, StreamStatus) or event.state is not StreamState.SUBSCRIBED:
                self._sink(event)
                return
            self._standing[base] = event.subscriptions
            if {self._base_of(each) for each in self._wanted.now} <= self._standing.keys():
                self._sink(attrs.evolve(event, subscriptions=frozenset().union(*self._standing.values())))

        return tell
