"""Connections to OpenD: one context of futu-api each, which lives as long as its connection and no longer.

As it comes, a context dials for ever in its constructor, and again after a loss: six seconds later the first time,
with half a packet of the old connection still in its buffer, after which it never recovers; and what is asked of it
meanwhile waits for ever.  So ours dials once, after it was seen that something listens, and is thrown away with its
connection: who dials again is the runtime.  Its calls block: they run on threads of the session's own.  Pushes are
taken off the library's network thread, and handed to the loop.
"""

import asyncio
import contextlib
import functools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from btx.errors import AuthenticationError, OutcomeUnknownError, TransportError
from btx.ports import Context
from btx_futu.config import account_number, address, is_real, options
from btx_futu.errors import error_of
from btx_futu.sdk import futu
from btx_futu.symbols import PLACES

__all__ = ("Line", "OpenD", "opend", "rows")

_SHARED = "btx_futu.opend"
_WORKERS = 8
_CLOSE_S = 2.0

Push = Callable[[int, int, Any], None]
"""Hears a push on the loop: protocol id, serial number, the message."""


class Line:
    """One connection; ``lost`` is done when it has ended, with the reason."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_push: Push | None) -> None:
        self.context: Any = None
        self.lost: asyncio.Future[str] = loop.create_future()
        self._loop = loop
        self._on_push = on_push
        self.hears = on_push is not None

    # --- called on the library's threads ----------------------------------------------------------------

    def push(self, proto_id: int, serial: int, message: Any) -> None:
        """Hand a push to the loop."""
        if self._on_push is not None:
            self._call(self._on_push, proto_id, serial, message)

    def drop(self, reason: str) -> None:
        """Tell the loop that the connection has ended."""
        self._call(self._lose, reason)

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended before the library's thread noticed
            self._loop.call_soon_threadsafe(function, *arguments)

    def _lose(self, reason: str) -> None:
        if not self.lost.done():
            self.lost.set_result(reason)


class _Once:
    """In front of a context of futu-api: it dials once, and tells what comes and that it has ended."""

    line: Line
    hears = True  # the pushes of its accounts

    def _async_sub_acc_push(self, acc_id_list: Any) -> Any:
        return super()._async_sub_acc_push(acc_id_list) if self.hears else None  # type: ignore[misc]

    def _init_connect_sync(self) -> Any:
        self.line.context = self  # so that it can be closed while its constructor waits
        self._auto_reconnect = False
        return super()._init_connect_sync()  # type: ignore[misc]

    def handle_push(self, *, proto_id: int, serial_no: int, rsp_pb: Any, **_more: Any) -> None:
        if rsp_pb is not None:
            self.line.push(proto_id, serial_no, rsp_pb)

    def on_disconnect(self, conn_id: Any, reason: Any, msg: Any) -> Any:
        try:
            return super().on_disconnect(conn_id, reason, msg)  # type: ignore[misc]
        finally:
            self.line.drop(f"{reason.name}{f': {msg}' if msg else ''}")


@functools.cache
def _classes() -> tuple[type, type]:
    library = futu()

    bases = library.OpenQuoteContext, library.OpenSecTradeContext
    quotes, trades = (type(base.__name__, (_Once, base), {}) for base in bases)
    return quotes, trades


class OpenD:
    """What the ports of one session share: a connection for questions of each kind, and the threads they wait on."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._address = address(context)
        self._dial_timeout_s = options(context).dial_timeout_s
        self._threads = ThreadPoolExecutor(max_workers=_WORKERS, thread_name_prefix="btx-futu")
        self._lines: list[Line] = []
        self._asked: dict[bool, Line] = {}  # by whether it is for trading
        self._dialling = {True: asyncio.Lock(), False: asyncio.Lock()}
        self._account: int | None = None
        self.place = PLACES[context.market]
        self.trd_env = "REAL" if is_real(context) else "SIMULATE"

    @property
    def is_paper(self) -> bool:
        """Orders are for a paper account: single executions are not told of."""
        return self.trd_env != "REAL"

    # --- connections ----------------------------------------------------------------------------------------

    async def dial(self, *, is_trade: bool, on_push: Push | None = None) -> Line:
        """Return a new connection; of one for trading the pushes of its accounts come by themselves.

        Raises:
            TransportError: OpenD is not there, or does not let us in.
            AuthenticationError: it does not accept the password that unlocks trading.
        """
        await self._probe()
        line = Line(asyncio.get_running_loop(), on_push)
        self._lines.append(line)
        try:
            await self._on_thread(self._construct, line, is_trade)
        except BaseException:
            await self.hang_up(line)
            raise
        return line

    async def hang_up(self, line: Line) -> None:
        """End a connection; whoever waits for an answer on it gets none."""
        if line in self._lines:
            self._lines.remove(line)
        if line.context is not None:
            with contextlib.suppress(RuntimeError):  # nobody starts threads any more at the end of a process
                await asyncio.shield(self._on_thread(line.context.close))

    async def _probe(self) -> None:
        """See that something listens: the library's constructor would wait for that for ever."""
        host, port = self._address
        try:
            async with asyncio.timeout(self._dial_timeout_s):
                _, writer = await asyncio.open_connection(host, port)
        except (OSError, TimeoutError) as error:
            raise TransportError(f"OpenD does not listen on {host}:{port} ({error}): start it and log in") from error
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    def _construct(self, line: Line, is_trade: bool) -> None:
        quotes, trades = _classes()
        host, port = self._address
        made = type("Connection", (trades if is_trade else quotes,), {"line": line, "hears": line.hears})
        if is_trade:
            made(filter_trdmarket=self.place.prefix, host=host, port=port, is_encrypt=False)
        else:
            made(host=host, port=port, is_encrypt=False)
        if line.context.status != futu().common.constant.ContextStatus.READY:
            raise TransportError(f"OpenD on {host}:{port} took the connection and did not let us in")
        password = self._context.settings.api_secret.reveal()
        if is_trade and not self.is_paper and password:
            code, answer = line.context.unlock_trade(password)
            if code != 0:
                raise AuthenticationError(f"OpenD does not unlock trading: {answer}")

    async def _line(self, *, is_trade: bool) -> Line:
        """Return the connection questions are asked on; what is gone is dialled anew."""
        async with self._dialling[is_trade]:
            line = self._asked.get(is_trade)
            if line is None or line.lost.done():
                if line is not None:
                    await self.hang_up(line)
                line = self._asked[is_trade] = await self.dial(is_trade=is_trade)
            return line

    # --- questions ------------------------------------------------------------------------------------------

    async def quotes(self, method: str, *arguments: Any, **words: Any) -> Any:
        """Return what a method of the quote context answers.

        Raises:
            BtxError: what its text says.
        """
        return await self.call(await self._line(is_trade=False), method, *arguments, **words)

    async def trades(self, method: str, *, acts: bool = False, **words: Any) -> Any:
        """Return what a method of the trade context answers for the session's account; ``acts``: it does something.

        Raises:
            BtxError: what its text says.
        """
        account = await self.account_number()
        line = await self._line(is_trade=True)
        return await self.call(line, method, acts=acts, trd_env=self.trd_env, acc_id=account, **words)

    async def call(self, line: Line, method: str, *arguments: Any, acts: bool = False, **words: Any) -> Any:
        """Return what a method of one connection's context answers.

        Raises:
            BtxError: what its text says.
        """
        code, answer, *more = await self._on_thread(getattr(line.context, method), *arguments, acts=acts, **words)
        if code != 0:
            raise error_of(str(answer), acts=acts)
        return (answer, *more) if more else answer

    async def account_number(self) -> int:
        """Return the number of the account orders are for.

        Raises:
            AuthenticationError: OpenD has none of that number, or none at all, in this market and environment.
        """
        if self._account is None:
            wanted = account_number(self._context)
            table = await self.call(await self._line(is_trade=True), "get_acc_list")
            there = [int(row["acc_id"]) for row in rows(table) if row["trd_env"] == self.trd_env]
            if not there or (wanted is not None and wanted not in there):
                what = "real" if not self.is_paper else "paper"
                number = f" of number {wanted}" if wanted is not None else ""
                raise AuthenticationError(f"OpenD has no {what} account{number} for {self.place.prefix} shares")
            self._account = wanted if wanted is not None else there[0]
        return self._account

    async def _on_thread(self, function: Callable[..., Any], *arguments: Any, acts: bool = False, **words: Any) -> Any:
        work = functools.partial(function, *arguments, **words)
        try:
            answer = asyncio.get_running_loop().run_in_executor(self._threads, work)
        except RuntimeError as error:  # the threads were shut down, and nothing was asked: the session ends
            raise TransportError(f"the connection to OpenD is being closed: {error}") from error
        try:
            return await answer
        except RuntimeError as error:  # of the library: it may have broken behind what it sent
            raise (OutcomeUnknownError if acts else TransportError)(f"futu-api broke: {error}") from error

    # --- the end --------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Hang up everywhere; nobody waits on a thread of ours afterwards."""
        for line in tuple(self._lines):
            await self.hang_up(line)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        self._threads.shutdown(wait=False, cancel_futures=True)


def rows(table: Any) -> Iterable[dict[str, Any]]:
    """Return the rows of a table of the library."""
    found: Iterable[dict[str, Any]] = table.to_dict("records")
    return found


def opend(context: Context) -> OpenD:
    """Return the session's shared connections; the first call makes them, ``context.resources`` closes them."""
    known: OpenD | None = context.shared.get(_SHARED)
    if known is None:
        known = context.shared[_SHARED] = OpenD(context)
        context.resources.push_async_callback(known.close)
    return known
