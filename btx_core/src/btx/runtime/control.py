"""The simulator's control channel, outside the venue's protocol: lockstep, and the oracle's ledger."""

import asyncio
import itertools
import json
from collections.abc import Mapping
from typing import Any

import aiohttp

from btx.errors import TransportError

__all__ = ("Control",)

_ANSWER_TIMEOUT_S = 60.0


class Control:
    """Requests to a simulator's control server, and what it tells unasked."""

    def __init__(
        self, session: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse, *, timeout_s: float
    ) -> None:
        self._session = session
        self._socket = socket
        self._timeout_s = timeout_s
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._events: asyncio.Queue[Mapping[str, Any] | None] = asyncio.Queue()
        self._closed = asyncio.Event()
        self._reader = asyncio.get_running_loop().create_task(self._read(), name="control channel")

    @classmethod
    async def connect(cls, url: str, *, timeout_s: float = _ANSWER_TIMEOUT_S) -> "Control":
        """Open the channel; ``timeout_s`` is how long an answer may take.

        Raises:
            TransportError: the simulator does not answer.
        """
        # Not the default resolver: where aiodns is installed it starts a thread that never ends.
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=aiohttp.ThreadedResolver()))
        try:
            async with asyncio.timeout(timeout_s):
                return cls(session, await session.ws_connect(url, max_msg_size=0), timeout_s=timeout_s)
        except (aiohttp.ClientError, OSError) as error:
            await session.close()
            said = str(error) or f"nothing came within {timeout_s:g} s"
            raise TransportError(f"the simulator's control channel at {url} does not answer: {said}") from error
        except BaseException:
            await session.close()
            raise

    async def ask(self, op: str, **arguments: object) -> Mapping[str, Any]:
        """Send one request and return its reply.

        Raises:
            TransportError: the channel closed, no answer came, or the simulator refused.
        """
        if self._closed.is_set():
            raise TransportError(f"the simulator closed its control channel before {op!r}")
        number = next(self._ids)
        self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._socket.send_json({"id": number, "op": op, **arguments})
                reply = await self._answers[number]
        except TimeoutError as error:
            raise TransportError(f"the simulator did not answer {op!r} in {self._timeout_s:g} s") from error
        except (aiohttp.ClientError, ConnectionError) as error:
            raise TransportError(f"the simulator closed its control channel during {op!r}") from error
        finally:
            del self._answers[number]
        if "error" in reply:
            raise TransportError(f"the simulator refused {op!r}: {reply['error']}")
        return reply

    async def next_event(self) -> Mapping[str, Any] | None:
        """Wait for something the simulator tells unasked, None when the channel closed."""
        return await self._events.get()

    async def wait_closed(self) -> None:
        """Wait until the channel is closed, by whichever side."""
        await self._closed.wait()

    async def close(self) -> None:
        """Close the channel."""
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self._socket.close()
        await self._session.close()

    async def _read(self) -> None:
        try:
            async for message in self._socket:
                self._take(json.loads(message.data))
        except ValueError as error:
            self._fail(TransportError(f"the simulator's control channel is not readable: {error}"))
        finally:
            self._closed.set()
            self._fail(TransportError("the simulator closed its control channel"))
            self._events.put_nowait(None)

    def _take(self, message: Mapping[str, Any]) -> None:
        answer = self._answers.get(message.get("id", 0))
        if answer is None:
            self._events.put_nowait(message)
        elif not answer.done():
            answer.set_result(message)

    def _fail(self, error: Exception) -> None:
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(error)
