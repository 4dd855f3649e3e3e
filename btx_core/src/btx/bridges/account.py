"""The account's stream over a socket of ours, for venues that are asked by message whose account is meant.

A venue says in an :class:`AccountDialect` what it is asked, how it answers, and what its
pushes are; the rest is here: the order of questions, refusals, pings, SUBSCRIBED.

    async def run(self, *, wanted, sink):
        await run_account(context=..., wanted=wanted, sink=sink, dialect=MyAccount(), places=PLACES, base=url)
"""

import asyncio
from collections.abc import Hashable, Iterable
from typing import Any, Protocol

import attrs

from btx.bridges.places import Places
from btx.bridges.requests import Requests
from btx.bridges.sockets import Send, SocketOptions, run_socket
from btx.bridges.tasks import either
from btx.bridges.verdicts import Answer, Operation, Verdicts, error_of
from btx.config import Settings
from btx.errors import AuthenticationError, BtxError, TransportError
from btx.model.time import to_ms
from btx.model.venue import StreamState, StreamStatus, Subscription
from btx.ports import Context, Sink, StreamEvent, Wanted

__all__ = ("AccountDialect", "Question", "Reply", "run_account")


@attrs.frozen
class Question:
    """A message that is answered under ``key``; ``what`` it is ("its login") goes into errors."""

    key: Hashable
    text: str = attrs.field(repr=False)  # it may hold a signature
    what: str


@attrs.frozen
class Reply:
    """What the venue says to the question of this key: that it is granted, or by code and text that it is not."""

    key: Hashable
    code: str | None = None
    text: str = ""


class AccountDialect(Protocol):
    """How a venue's account stream is asked for, and read."""

    @property
    def verdicts(self) -> Verdicts:
        """What refusals mean."""

    def url(self, base: str) -> str:
        """Return the address of the connection."""

    def questions(self, settings: Settings, now_ms: int) -> Iterable[Question]:
        """Return what is asked, one after the other, until the stream is subscribed; ``now_ms`` is the wire clock."""

    def hear(self, message: Any) -> Reply | None:
        """Return what a message answers; None: it is an event."""

    def events(self, message: Any) -> Iterable[StreamEvent]:
        """Return what a message says of the account, in its order.

        Raises:
            DataError: it is not known.
        """


async def run_account(
    *,
    context: Context,
    wanted: Wanted,
    sink: Sink,
    dialect: AccountDialect,
    places: Places,
    base: str,
    options: SocketOptions | None = None,
) -> None:
    """Be one connection that pushes what happens to the account, until cancelled or lost.

    Raises:
        MissingSecretError: there is no key.
        AuthenticationError: the key is not accepted.
        TransportError: the connection is lost, or something else is refused.
    """
    places.require_keys(context)
    frames = _AccountFrames(context, dialect, places.title, wanted.now, sink)
    socket = run_socket(
        url=dialect.url(base), handler=frames, options=options, tap=context.tap, proxy=context.settings.proxy
    )
    try:
        await either(socket, frames.ask())
    except TransportError:
        if frames.refused is None:
            raise
        raise _error(frames.refused, context, dialect, places.title) from None


class _AccountFrames:
    """Asks on one connection, and reads it."""

    def __init__(
        self,
        context: Context,
        dialect: AccountDialect,
        venue: str,
        subscriptions: frozenset[Subscription],
        sink: Sink,
    ) -> None:
        self._context = context
        self._dialect = dialect
        self._venue = venue
        self._subscriptions = subscriptions
        self._sink = sink
        self._requests = Requests(venue)
        self._last: Hashable = None  # the question whose answer means that all is subscribed
        self.refused: Reply | None = None

    async def ask(self) -> None:
        """Ask what is to be asked, and then wait until the connection ends."""
        await self._requests.ready()  # what is signed is good for some seconds, which a slow dial would use up
        now_ms = to_ms(self._context.clock.wire_ns())
        *before, last = self._dialect.questions(self._context.settings, now_ms)
        self._last = last.key
        for question in (*before, last):
            await self._requests.ask(question.key, question.text, what=question.what)
        await asyncio.Event().wait()

    async def opened(self, send: Send) -> None:
        self._requests.opened(send)

    async def frame(self, frame: str | bytes) -> None:
        message, reply = self._requests.read(frame, self._dialect.hear)
        if reply is None:
            for event in self._dialect.events(message):
                self._sink(event)
            return
        if reply.code is not None:
            self.refused = reply  # the venue may hang up at once: then it is still this that was wrong
            raise TransportError(f"{self._venue} refused {reply.key!r}")
        if reply.key == self._last:  # told before what is pushed behind it
            self._sink(StreamStatus(state=StreamState.SUBSCRIBED, subscriptions=self._subscriptions))
        self._requests.answer(reply.key)

    def fault(self, detail: str) -> None:
        self._sink(StreamStatus(state=StreamState.FAULT, detail=detail))


def _error(refused: Reply, context: Context, dialect: AccountDialect, venue: str) -> BtxError:
    settings = context.settings
    failure = error_of(
        Answer(status=None, code=refused.code, message=refused.text),
        venue=venue,
        operation=Operation.READ,
        verdicts=dialect.verdicts,
        now_ms=to_ms(context.clock.wire_ns()),
        secrets=(settings.api_key.reveal(), settings.api_secret.reveal()),
    )
    # Whatever else it is, a connection without a login is of no use: dial again, later.
    return failure if isinstance(failure, AuthenticationError) else TransportError(str(failure))
