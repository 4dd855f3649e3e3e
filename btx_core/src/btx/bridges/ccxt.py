"""ccxt.pro for transport, signatures and sockets, with the hardening that makes it safe to build on.

What is changed, and why (ccxt 4.5, each seen to happen):

* A handler that raises, or a frame that is no JSON, ends ccxt's receive loop for
  good while the socket stays open: frames are guarded, a bad one is a fault.
* ``watch_*`` results lose states of one order: events are taken from the raw
  frame, before ccxt folds them into its caches.
* Timestamps of signed calls drift with the local clock: they come from a hook.
* ccxt dials again and limits rates on its own: both are the runtime's.
* aiohttp sends some requests again by itself: whether that may be is decided here.
* Its errors carry the signed address, and its debug log the key: neither leaves here.
"""

import asyncio
import json
import logging
import ssl
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextvars import ContextVar
from typing import Any, NoReturn
from urllib.parse import urlsplit

import aiohttp
import ccxt
from ccxt.async_support.base.exchange import BaseExchange

from btx.bridges.verdicts import Answer, Operation, Verdict, Verdicts, error_of, no_answer, scrub
from btx.config import Secret, proxy_for, proxy_secrets
from btx.errors import AuthenticationError, BtxError, TransportError
from btx.model.frames import Frame, FrameKind
from btx.model.venue import Endpoints
from btx.ports import Tap

__all__ = (
    "Answer",
    "Client",
    "Operation",
    "Throttle",
    "Verdict",
    "Verdicts",
    "loopback",
    "scrub",
    "translate",
)

Throttle = Callable[[float], Awaitable[None]]
"""Awaited before every request with ccxt's cost of it (1 is one unit of the venue's rate limit)."""

_SUBSCRIBE_S = 10.0  # a venue that has not acknowledged by then is taken for dead
_HANG_UP_S = 0.5  # how long the closing handshake may take before the socket is cut
_FAULT_LENGTH = 300
_KEPT_HEADERS = ("content-type", "date", "retry-after", "x-")  # of an answer, in a recording

_answering: ContextVar[int | None] = ContextVar("_answering", default=None)  # the number of this task's request

# ccxt's own log says every request with its key and signature, so it is not kept.
_silent = logging.getLogger(f"{__name__}.silent")
_silent.disabled = True


def translate(
    error: Exception,
    *,
    venue: str,
    operation: Operation,
    verdicts: Verdicts,
    now_ms: int,
    secrets: Collection[str] = (),
) -> BtxError:
    """Return the btx error that says what the caller may do after ``error``; it holds no secret.

    ``now_ms`` is the wire clock: some venues name the moment a ban ends, not its length.
    """
    if isinstance(error, BtxError):
        return error
    answer = _answer_of(error)
    if answer is None:
        return _unanswered(error, venue=venue, operation=operation, secrets=secrets)
    return error_of(answer, venue=venue, operation=operation, verdicts=verdicts, now_ms=now_ms, secrets=secrets)


def _answer_of(error: BaseException) -> Answer | None:
    """Return what was answered, also where ccxt tripped over its own feet while it handled it."""
    at: BaseException | None = error
    while at is not None:
        answer: Answer | None = getattr(at, "btx_answer", None)
        if answer is not None:
            return answer
        at = at.__cause__ or at.__context__
    return None


def _unanswered(error: Exception, *, venue: str, operation: Operation, secrets: Collection[str]) -> BtxError:
    """Judge a failure in which the venue said nothing: by what stands below ccxt's exception."""
    wrapped = error.args[0] if error.args else None  # on a socket ccxt puts one exception into the other
    below = error.__cause__ or (wrapped if isinstance(wrapped, Exception) else None)
    if isinstance(error, ccxt.ExchangeClosedByUser):
        return TransportError(f"{venue} was not reached: {scrub(str(below or error), secrets)}")
    if isinstance(error, ccxt.AuthenticationError) and not isinstance(
        below, aiohttp.ClientError
    ):  # ccxt looks for the key before it sends
        return AuthenticationError(f"{venue}: {scrub(str(error), secrets)}")
    # The text of ccxt's own network errors is the signed address, so only their kind is told.
    detail = None if below is not None else ""
    return no_answer(below or error, venue=venue, operation=operation, secrets=secrets, detail=detail)


def loopback(urls: Any, endpoints: Endpoints) -> Any:
    """Return ccxt's addresses with every host replaced by a simulator's, and every path kept.

    Sockets below a key ``ws-api`` go to its trading stream, others to its market
    stream.  Nothing is left that could reach the venue itself.
    """

    def rewrite(node: Any, socket_url: str) -> Any:
        if isinstance(node, Mapping):
            return {
                key: rewrite(value, endpoints.trading_stream if key == "ws-api" else socket_url)
                for key, value in node.items()
            }
        return _rehost(node, endpoints.rest if node.startswith("http") else socket_url)

    return rewrite(urls, endpoints.stream)


def _rehost(url: str, target: str) -> str:
    new, (_, slash, path) = urlsplit(target), url.partition("://")[2].partition("/")
    return f"{new.scheme}://{new.netloc}{slash}{path}"


class _Hardened(BaseExchange):
    """Mixed in before a ccxt.pro exchange class; see the module's docstring."""

    session: Any
    ssl_context: Any
    tcp_connector: Any
    wire_ms: Callable[[], int]
    gate: Throttle | None = None
    listener: "_Listener | None" = None
    answer_headers: Mapping[str, str] = {}
    on_headers: Callable[[str, Mapping[str, str]], None] | None = None
    tap: Tap | None = None
    proxy_asked: Secret | None = None

    def nonce(self) -> int:
        return self.wire_ms()

    async def throttle(self, cost: float | None = None) -> None:
        if self.gate is not None:
            await self.gate(1.0 if cost is None else float(cost))

    def open(self, lazy: bool = False) -> None:
        """Open the session ccxt would, but for its repeats and its resolver: aiodns starts a thread that never ends."""
        if self.session is None and self.own_session and not (lazy and self.closed_by_user):
            if self.ssl_context is None:
                self.ssl_context = ssl.create_default_context(cafile=self.cafile)
            self.tcp_connector = aiohttp.TCPConnector(ssl=self.ssl_context, resolver=aiohttp.ThreadedResolver())
            self.session = aiohttp.ClientSession(connector=self.tcp_connector, trust_env=self.aiohttp_trust_env)
            # It would repeat a GET, PUT or DELETE whose kept connection ends unanswered: some amend orders by PUT.
            self.session._retry_connection = False  # noqa: SLF001 -- there is no other way to say so
        super().open(lazy)

    async def fetch(self, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        # Read by ccxt before it first waits, so that no other request comes between.
        self.aiohttp_proxy = proxy_for(url, self.proxy_asked)
        tap = self.tap
        if tap is None:
            return await super().fetch(url, method, headers, body)
        number = tap.number()
        tap(Frame(kind=FrameKind.REQUEST, connection=number, url=url, method=method, text=body or ""))
        _answering.set(number)
        try:
            return await super().fetch(url, method, headers, body)
        except BaseException as error:
            if _answering.get() is not None:  # nothing came
                kind = type(error.__cause__ or error).__name__
                tap(Frame(kind=FrameKind.ANSWER, connection=number, text=kind))
            raise
        finally:
            _answering.set(None)

    def on_rest_response(  # noqa: PLR0917 -- ccxt's signature
        self, code: Any, reason: Any, url: Any, method: Any, headers: Any, body: Any, *request: Any
    ) -> Any:
        number = _answering.get()
        if self.tap is not None and number is not None:
            _answering.set(None)
            kept = {name: text for name, text in headers.items() if name.lower().startswith(_KEPT_HEADERS)}
            self.tap(Frame(kind=FrameKind.ANSWER, connection=number, text=body, code=code, headers=kept))
        return super().on_rest_response(code, reason, url, method, headers, body, *request)

    def ws_dial_delay(self, _url: str) -> float:
        return 0.0  # who dials decides when

    def handle_errors(  # noqa: PLR0917 -- ccxt's signature
        self, status: Any, reason: Any, url: Any, method: Any, headers: Any, body: Any, reply: Any, *rest: Any
    ) -> Any:
        self.answer_headers = headers
        if self.on_headers is not None and isinstance(headers, Mapping):
            self.on_headers(url, headers)
        try:
            return super().handle_errors(status, reason, url, method, headers, body, reply, *rest)
        except Exception as error:  # goes on: a bug of the parser's, too, must say which answer it choked on
            _attach(error, status, reason, reply, headers)
            raise

    def handle_http_status_code(self, status: Any, reason: Any, url: Any, method: Any, body: Any) -> None:
        try:
            super().handle_http_status_code(status, reason, url, method, body)
        except Exception as error:  # likewise
            _attach(error, status, reason, None, self.answer_headers)
            raise

    def client(self, url: str) -> Any:
        socket_client = super().client(url)
        if "handle_message" not in vars(socket_client):
            socket_client.handle_message = self._guarded(socket_client.handle_message)
            socket_client.future = _looked_at(socket_client.future)
            socket_client.proxy = proxy_for(url, self.proxy_asked)
            if self.tap is not None:
                _tee(socket_client, self.tap)
        return socket_client

    def _guarded(self, handle: Callable[[Any], None]) -> Callable[[Any], None]:
        def guarded(message: Any) -> None:
            try:
                handle(message)
            except Exception as error:  # noqa: BLE001 -- it would end the receive loop; it is told as a fault
                self._fault(error, getattr(message, "data", message))
                if self.listener is not None and not self.listener.is_answered:
                    self.listener.lose("what answers the subscription cannot be read")  # no other answer comes

        return guarded

    def handle_message(self, client: Any, message: Any) -> None:
        if self.listener is None or not self._is_current(client):
            return
        try:
            if self.listener.on_frame(message):
                return
            super().handle_message(client, message)
        except TransportError as error:
            self.listener.lose(str(error))
        except Exception as error:  # noqa: BLE001 -- a frame can break a parser in any way; the receive loop must not end
            self._fault(error, message)

    def _fault(self, error: Exception, frame: Any) -> None:
        if self.listener is not None:
            self.listener.on_fault(f"{type(error).__name__}: {error} in {frame!r}"[:_FAULT_LENGTH])

    def on_error(self, client: Any, error: Any) -> None:
        self._lost(client, f"{type(error).__name__}: {error}")
        super().on_error(client, error)

    def on_close(self, client: Any, code: Any) -> None:
        self._lost(client, f"the connection was closed ({code})")
        super().on_close(client, code)

    def _lost(self, client: Any, reason: str) -> None:
        if self.listener is not None and self._is_current(client):
            self.listener.lose(reason)

    def _is_current(self, client: Any) -> bool:
        """A socket that was hung up may still say so late; the next one must not hear it."""
        return self.clients.get(client.url) is client


def _looked_at(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Wrap ``client.future``: ccxt rejects futures that nobody awaits, and asyncio would complain of them."""

    def future(message_hash: Any) -> Any:
        made = make(message_hash)
        made.add_done_callback(lambda done: done.cancelled() or done.exception())
        return made

    return future


def _tee(socket_client: Any, tap: Tap) -> None:
    """Tell ``tap`` what passes over a socket of ccxt's."""
    number = tap.number()
    handle, send, connected = socket_client.handle_message, socket_client.send, socket_client.on_connected_callback
    close = socket_client.aiohttp_close
    is_open = False

    def on_connected(client: Any, *rest: Any) -> Any:
        nonlocal is_open
        is_open = True
        tap(Frame(kind=FrameKind.OPENED, connection=number, url=socket_client.url))
        return connected(client, *rest)

    def on_message(message: Any) -> None:
        if message.type in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
            tap(Frame(kind=FrameKind.RECEIVED, connection=number, text=message.data))
        elif message.type in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}:
            closed(message.data if isinstance(message.data, int) else None)
        handle(message)

    async def on_send(message: Any) -> None:
        await send(message)
        text = message if isinstance(message, str) else json.dumps(message)
        tap(Frame(kind=FrameKind.SENT, connection=number, text=text))

    async def on_close() -> None:
        closed(None)
        await close()

    def closed(code: int | None) -> None:
        nonlocal is_open
        if is_open:
            is_open = False
            tap(Frame(kind=FrameKind.CLOSED, connection=number, code=code))

    socket_client.handle_message = on_message
    socket_client.send = on_send
    socket_client.on_connected_callback = on_connected
    socket_client.aiohttp_close = on_close


def _attach(error: Exception, status: Any, reason: Any, reply: Any, headers: Any) -> None:
    """Keep what was answered with the exception: attributes of the exchange may be another call's by now."""
    known = reply if isinstance(reply, Mapping) else {}
    data = known.get("data")
    code = known.get("code", known.get("retCode"))
    time = known.get("time")
    error.btx_answer = Answer(  # type: ignore[attr-defined]
        status=status if isinstance(status, int) and status > 0 else None,
        code=None if code is None else str(code),
        message=_message(known) or f"HTTP {status} {reason}",
        headers=headers if isinstance(headers, Mapping) else {},
        retry_at_ms=data.get("retryAfter") if isinstance(data, Mapping) else None,
        answered_ms=time if isinstance(time, int) else None,
    )


def _message(reply: Mapping[str, Any]) -> str:
    """Return what the venue says, with what it says of the parts of a request that has some."""
    own = str(reply.get("msg") or reply.get("retMsg") or "")
    data = reply.get("data")
    parts = [each for each in data.values() if isinstance(each, Mapping)] if isinstance(data, Mapping) else []
    return "; ".join([own, *(str(each["msg"]) for each in parts if "code" in each and "msg" in each)])


class _Listener:
    """Who hears one private connection."""

    def __init__(
        self, *, on_frame: Callable[[Any], bool], on_fault: Callable[[str], None], secrets: Collection[str]
    ) -> None:
        self.on_frame = on_frame
        self.is_answered = False  # the subscription, and not with a refusal
        self._on_fault = on_fault
        self._secrets = secrets
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def on_fault(self, detail: str) -> None:
        self._on_fault(scrub(detail, self._secrets))

    def lose(self, reason: str) -> None:
        if not self.lost.done():
            self.lost.set_result(scrub(reason, self._secrets))


class Client:
    """One ccxt.pro instance, for one account in one market; all ports of a session share it."""

    def __init__(
        self,
        exchange_class: type[Any],
        *,
        venue: str,
        verdicts: Verdicts,
        wire_ms: Callable[[], int],
        api_key: Secret,
        api_secret: Secret,
        options: Mapping[str, Any],
        sandbox: bool = False,
        endpoints: Endpoints | None = None,
        throttle: Throttle | None = None,
        on_headers: Callable[[str, Mapping[str, str]], None] | None = None,
        tap: Tap | None = None,
        proxy: Secret | None = None,
    ) -> None:
        """Build the instance; nothing is sent. ``endpoints`` are a simulator's, None the venue's own.

        ``on_headers`` is given the address and the headers of every answer, whatever it says;
        ``tap`` hears all there is. ``proxy`` as for :func:`btx.config.proxy_for`.
        """
        name = exchange_class.__name__
        self.exchange = type(name, (_Hardened, exchange_class), {})(
            {
                "apiKey": api_key.reveal(),
                "secret": api_secret.reveal(),
                "enableRateLimit": throttle is not None,
                "options": {"ws": {"keepAlive": 20_000}, **options},
            }
        )
        self.exchange.logger = _silent
        self.exchange.wire_ms = wire_ms
        self.exchange.gate = throttle
        self.exchange.on_headers = on_headers
        self.exchange.tap = tap
        self.exchange.proxy_asked = proxy
        if sandbox:
            self.exchange.set_sandbox_mode(True)
        if endpoints is not None:
            self.exchange.urls["api"] = loopback(self.exchange.urls["api"], endpoints)
            self.exchange.timeout_on_exit = 0  # it is for TLS to say good-bye
        self._venue = venue
        self._verdicts = verdicts
        self._wire_ms = wire_ms
        self._secrets = (api_key.reveal(), api_secret.reveal(), *proxy_secrets(proxy or Secret("")))

    async def ask(self, endpoint: str, params: Mapping[str, Any], *, operation: Operation = Operation.READ) -> Any:
        """Send one request, once, to an implicit ccxt endpoint (``publicGetTime``) and return its raw JSON.

        Raises:
            BtxError: see :func:`translate`.
        """
        try:
            answer = await getattr(self.exchange, endpoint)(dict(params))
            if isinstance(answer, dict | list):
                return answer
            failure = self._translate(ValueError("what came is no JSON"), operation)
        except Exception as error:  # noqa: BLE001 -- whatever it is, an order may have left: translate says so
            failure = self._translate(error, operation)
        raise failure  # outside the handler, so that ccxt's exception with its address is not its context

    async def listen(
        self,
        *,
        subscribe: Callable[[Any], Awaitable[Any]],
        on_frame: Callable[[Any], bool],
        on_fault: Callable[[str], None],
    ) -> NoReturn:
        """Be one private connection: subscribe, then hand over every frame until it is lost or cancelled.

        ``subscribe`` is given the ccxt instance.  ``on_frame`` sees each decoded
        frame first and returns True to keep it from ccxt; what it raises is a
        fault and the connection goes on, but a TransportError ends it.

        Raises:
            TransportError: the connection is lost, or the venue ended it.
            AuthenticationError: the key is not accepted.
        """
        if self.exchange.listener is not None:
            raise RuntimeError(f"{self._venue}: one private connection at a time, this account has one")
        listener = _Listener(on_frame=on_frame, on_fault=on_fault, secrets=self._secrets)
        self.exchange.listener = listener
        try:
            await self._subscribe(subscribe, listener)
            listener.is_answered = True
            reason = await listener.lost
        finally:
            self.exchange.listener = None
            await self._hang_up()
        raise TransportError(f"{self._venue}: {reason}")

    async def close(self) -> None:
        """Close every connection of this instance."""
        await self._hang_up()
        await self.exchange.close()

    def _translate(self, error: Exception, operation: Operation) -> BtxError:
        return translate(
            error,
            venue=self._venue,
            operation=operation,
            verdicts=self._verdicts,
            now_ms=self._wire_ms(),
            secrets=self._secrets,
        )

    async def _subscribe(self, subscribe: Callable[[Any], Awaitable[Any]], listener: _Listener) -> None:
        subscribing = asyncio.ensure_future(subscribe(self.exchange))
        try:
            done, _ = await asyncio.wait(
                {subscribing, listener.lost}, timeout=_SUBSCRIBE_S, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            subscribing.cancel()
        if not done:
            raise TransportError(f"{self._venue}: no answer to the subscription in {_SUBSCRIBE_S:.0f} s")
        await asyncio.wait({subscribing})
        if subscribing.cancelled():
            return  # lost before it was answered: the caller sees why
        error = subscribing.exception()
        if isinstance(error, Exception):
            failure = self._translate(error, Operation.READ)
            # Whatever else it is, a connection without a subscription is of no use: dial again, later.
            raise failure if isinstance(failure, AuthenticationError) else TransportError(str(failure))

    async def _hang_up(self) -> None:
        clients, self.exchange.clients = list((self.exchange.clients or {}).values()), {}
        for socket_client in clients:
            try:
                await asyncio.wait_for(socket_client.close(), _HANG_UP_S)
            except TimeoutError:
                continue  # aiohttp cuts a socket whose close is cancelled
