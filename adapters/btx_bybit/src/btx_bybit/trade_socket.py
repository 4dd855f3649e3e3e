"""Orders over a socket, ``/v5/trade``: made when it is first needed, kept, and never asked twice.

Source: https://bybit-exchange.github.io/docs/v5/websocket/trade/guideline, 2025 and 2026.
A request that left and was not answered may have been done.  ``reqId`` has 36 characters at
most and may not come again; the manual does not say whether on one connection or on none.
"""

import asyncio
import contextlib
import hashlib
import hmac
import itertools
import json
import secrets
from collections.abc import Mapping
from typing import Any, NoReturn

from websockets import ConnectionClosed

from btx.bridges.sockets import Send, SocketOptions, run_socket
from btx.bridges.verdicts import Answer, Operation, error_of, outcome_open
from btx.errors import BtxError, TransportError
from btx.model.time import to_ms
from btx.ports import Context
from btx_bybit.api import tell_usage
from btx_bybit.config import options, trade_url
from btx_bybit.errors import VERDICTS

__all__ = ("TradeSocket", "auth_args")

_OPEN_S = 10.0  # to connect and to be let in
_ANSWER_S = 10.0  # to a request; then nobody knows what became of it
_AUTH_LIFE_MS = 10_000  # how long a signature for a connection is good
_RESTARTING = "10019"  # this connection takes no new requests, and still answers those it has
_LIMITS = {"order.create": "create", "order.amend": "amend", "order.cancel": "cancel"}

Json = Mapping[str, Any]


def auth_args(context: Context) -> list[Any]:
    """Return what opens a private connection: key, the moment (ms) its signature dies, and the signature."""
    expires_ms = to_ms(context.clock.wire_ns()) + _AUTH_LIFE_MS
    secret = context.settings.api_secret.reveal()
    signature = hmac.new(secret.encode(), f"GET/realtime{expires_ms}".encode(), hashlib.sha256).hexdigest()
    return [context.settings.api_key.reveal(), expires_ms, signature]


class TradeSocket:
    """The session's socket for orders."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._connection: _Connection | None = None
        self._retired: list[_Connection] = []  # they may yet answer what they were asked
        self._opening = asyncio.Lock()
        context.resources.push_async_callback(self.close)

    async def ask(self, what: str, params: Json, *, operation: Operation) -> Json:
        """Send one request, once, and return the ``data`` of its answer.

        Raises:
            TransportError: it certainly never left.
            OutcomeUnknownError: it may have been done.
            VenueError: the venue refused.
        """
        connection = await self._standing()
        answer = await connection.ask(what, params, operation)
        tell_usage(self._context, _LIMITS[what], answer.get("header") or {})
        code = answer.get("retCode")
        if code is None:
            raise outcome_open(operation, f"Bybit's answer to {what} says nothing: {str(dict(answer))[:200]}")
        if str(code) == "0":
            data = answer.get("data")
            return data if isinstance(data, Mapping) else {}
        if str(code) == _RESTARTING and self._connection is connection:
            self._retire()
        raise self._refusal(answer, operation)

    async def close(self) -> None:
        """Hang up. Idempotent."""
        self._retire()
        while self._retired:
            await self._retired.pop().close()

    def _retire(self) -> None:
        if self._connection is not None:
            self._retired.append(self._connection)
            self._connection = None

    def _refusal(self, answer: Json, operation: Operation) -> BtxError:
        settings = self._context.settings
        headers = {name: str(text) for name, text in (answer.get("header") or {}).items()}
        now = headers.get("Timenow", "")
        said = Answer(
            status=None,
            code=str(answer.get("retCode")),
            message=str(answer.get("retMsg") or answer.get("ret_msg") or "refused"),
            headers=headers,
            answered_ms=int(now) if now.isdigit() else None,
        )
        return error_of(
            said,
            venue="Bybit",
            operation=operation,
            verdicts=VERDICTS,
            now_ms=to_ms(self._context.clock.wire_ns()),
            secrets=(settings.api_key.reveal(), settings.api_secret.reveal()),
        )

    async def _standing(self) -> "_Connection":
        async with self._opening:
            if self._connection is None or self._connection.is_over:
                self._retire()
                for each in [each for each in self._retired if each.is_over]:
                    self._retired.remove(each)
                    await each.close()
                connection = _Connection(self._context)
                try:
                    async with asyncio.timeout(_OPEN_S):
                        refused = await connection.is_open
                    if refused:
                        raise self._refusal(refused, Operation.READ)
                    self._connection = connection
                except TimeoutError:
                    raise TransportError(f"Bybit's trade socket was not open within {_OPEN_S:.0f} s") from None
                finally:
                    if self._connection is not connection:  # also where nobody waits for it any more
                        await connection.close()
            return self._connection


class _Connection:
    """One connection, from its dial to its end."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._numbers = itertools.count(1)
        self._name = secrets.token_hex(6)
        self._waiting: dict[str, asyncio.Future[Json]] = {}
        self._send: Send | None = None
        self.is_open: asyncio.Future[Json] = asyncio.get_running_loop().create_future()  # empty: it may be used
        self._tasks = [asyncio.ensure_future(self._run()), asyncio.ensure_future(self._keep())]

    @property
    def is_over(self) -> bool:
        return self._tasks[0].done()

    async def ask(self, what: str, params: Json, operation: Operation) -> Json:
        """Send a request and wait for its answer."""
        number, settings = f"{self._name}-{next(self._numbers)}", self._context.settings
        header = {
            "X-BAPI-TIMESTAMP": str(to_ms(self._context.clock.wire_ns())),
            "X-BAPI-RECV-WINDOW": str(settings.receive_window_ms),
        }
        text = json.dumps({"reqId": number, "header": header, "op": what, "args": [dict(params)]})
        answer: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            assert self._send is not None  # it was opened
            with contextlib.suppress(ConnectionClosed):  # some of it may have left: the connection's end answers
                await self._send(text)
            async with asyncio.timeout(_ANSWER_S):
                return await answer
        except TimeoutError:
            raise outcome_open(operation, f"Bybit did not answer {what} within {_ANSWER_S:.0f} s") from None
        except TransportError as error:
            raise outcome_open(operation, str(error)) from None
        finally:
            del self._waiting[number]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.is_open.cancel()

    async def _run(self) -> None:
        mine = options(self._context)
        try:
            await run_socket(
                url=trade_url(self._context),
                handler=self,
                options=SocketOptions(ping_interval_s=mine.ping_interval_s, ping_timeout_s=mine.ping_timeout_s),
                tap=self._context.tap,
                proxy=self._context.settings.proxy,
            )
        except TransportError as error:
            for waiting in (*self._waiting.values(), self.is_open):
                if not waiting.done():
                    waiting.set_exception(TransportError(str(error)))

    async def _keep(self) -> NoReturn:
        """Ping as the venue wants it: in its own words."""
        every_s = options(self._context).ping_interval_s
        while True:
            await asyncio.sleep(every_s)
            if self._send is not None:
                with contextlib.suppress(ConnectionClosed):  # the reader says so
                    await self._send('{"op":"ping"}')

    # --- btx.bridges.sockets.SocketHandler ------------------------------------------------------------------------

    async def opened(self, send: Send) -> None:
        self._send = send
        await send(json.dumps({"reqId": "auth", "op": "auth", "args": auth_args(self._context)}))

    async def frame(self, frame: str | bytes) -> None:
        try:
            message = json.loads(frame)
            op, number = message.get("op"), str(message.get("reqId") or "")
        except (AttributeError, ValueError):
            self._garbled(frame)
            raise
        if op == "auth":
            if not self.is_open.done():
                self.is_open.set_result({} if message.get("retCode") == 0 else message)
            return
        waiting = self._waiting.get(number)
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    def fault(self, detail: str) -> None:
        """Who waited for what cannot be read was told; what nobody waited for was a pong."""

    def _garbled(self, frame: str | bytes) -> None:
        """Tell who waits that its answer came and cannot be read: no other does, and an order may have been taken.

        Which answer it is may stand in what is left of it; where not, it may be anybody's.
        """
        text = frame if isinstance(frame, str) else frame.decode(errors="replace")
        named = [waiting for number, waiting in self._waiting.items() if f'"{number}"' in text]
        for waiting in named or (*self._waiting.values(), self.is_open):
            if not waiting.done():
                waiting.set_exception(TransportError("Bybit's answer on its trade socket cannot be read"))
