"""Requests on a socket whose answers are awaited, for venues that are asked by message."""

import asyncio
import json
from collections.abc import Callable, Hashable
from typing import Any, NoReturn, TypeVar

from websockets import ConnectionClosed

from btx.bridges.sockets import Send
from btx.errors import BtxError, TransportError

__all__ = ("Requests",)

T = TypeVar("T")

_ANSWER_S = 5.0  # for a request to be answered; then the connection is taken for dead
_UNREADABLE = object()  # in place of an answer


class Requests:
    """What was asked on one connection and is not answered yet, by a key that the answer names.

    ``pause_s`` is kept between two requests of one who asks one after the other,
    however fast the answers are.
    """

    def __init__(self, venue: str, *, pause_s: float = 0.0) -> None:
        self._venue = venue
        self._pause_s = pause_s
        self._opened: asyncio.Future[Send] = asyncio.get_running_loop().create_future()
        self._waiting: dict[Hashable, asyncio.Future[Any]] = {}
        self._beats: set[Hashable] = set()

    def opened(self, send: Send) -> None:
        """The connection stands: what was asked before goes out now."""
        self._opened.set_result(send)

    async def ready(self) -> None:
        """Wait until the connection stands."""
        await self._opened

    async def ask(self, key: Hashable, text: str, *, what: str) -> Any:
        """Send a request once the connection stands, and return its answer; ``what`` it is ("a ping") goes into errors.

        Raises:
            TransportError: it could not be sent, or no answer came, or one that cannot be read.
        """
        send = await self._opened
        answer = self._waiting[key] = asyncio.get_running_loop().create_future()
        try:
            await send(text)
            async with asyncio.timeout(_ANSWER_S):
                found, _ = await asyncio.gather(answer, asyncio.sleep(self._pause_s))
        except TimeoutError:
            raise TransportError(f"{self._venue} did not answer {what} within {_ANSWER_S:.0f} s") from None
        except ConnectionClosed as error:
            raise TransportError(f"{self._venue} could not be sent {what}: {error}") from None
        finally:
            del self._waiting[key]
        if found is _UNREADABLE:
            raise TransportError(f"{self._venue}: a frame that may have answered {what} cannot be read")
        return found

    async def beat(self, key: Hashable, text: str, every_s: float) -> NoReturn:
        """Send a ping again and again.

        Raises: as :meth:`ask`.
        """
        self._beats.add(key)
        while True:
            await asyncio.sleep(every_s)
            await self.ask(key, text, what="a ping")

    def answer(self, key: Hashable, value: Any = None) -> bool:
        """Take an answer; False when nobody waits for it."""
        waiting = self._waiting.get(key)
        if waiting is None or waiting.done():
            return False
        waiting.set_result(value)
        return True

    def read(self, frame: str | bytes, hear: Callable[[Any], T]) -> tuple[Any, T]:
        """Return the message of a frame, and what ``hear`` takes it for.

        A frame that is no JSON, or breaks ``hear``, may have been an answer, and no other comes: who waits for one
        is told so at once.  But for a ping: what is pushed meanwhile comes all the same, and may be what it was.

        Raises:
            ValueError: it is no JSON.
            Exception: whatever ``hear`` raises; of a BtxError nobody is told, it says what the message is.
        """
        try:
            message = json.loads(frame)
            return message, hear(message)
        except BtxError:
            raise
        except Exception:
            for key in self._waiting.keys() - self._beats:
                self.answer(key, _UNREADABLE)
            raise
