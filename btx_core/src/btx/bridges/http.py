"""Plain HTTP, for a venue that no client library speaks to: one request at a time out, its answer or an error back.

A request is sent once, whatever its method.  What differs from venue to venue is what
an adapter gives: where the venue is, how a request is signed, and where an answer tells
an error.

    http = shared_http(context, places=PLACES, verdicts=VERDICTS, sign=sign, error=told)
    account = await http.get("/v1/account", codec.account, signed=True)
    receipt = http.answers.receipt(await http.send("/v1/place", order, Operation.PLACE), "id")
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlencode

import aiohttp
import attrs
from yarl import URL

from btx.bridges.answers import Answers
from btx.bridges.places import Places
from btx.bridges.verdicts import Answer, Operation, Verdicts, error_of, no_answer, outcome_open
from btx.config import Settings, proxy_for, proxy_secrets
from btx.errors import BtxError, DataError
from btx.model.frames import Frame, FrameKind
from btx.model.time import to_ms
from btx.ports import Context

__all__ = ("Http", "Request", "Sign", "Told", "shared_http")

T = TypeVar("T")

_TIMEOUT_S = 10.0
_KEPT_HEADERS = ("content-type", "date", "retry-after", "x-")  # of an answer, in a recording


@attrs.frozen(kw_only=True)
class Request:
    """What is about to be sent; ``query`` is encoded, ``body`` the text itself."""

    method: str
    path: str
    query: str = ""
    body: str = ""
    headers: Mapping[str, str] = attrs.field(factory=dict)

    def with_headers(self, more: Mapping[str, str]) -> "Request":
        """Return the same request with more headers."""
        return attrs.evolve(self, headers={**self.headers, **more})


Sign = Callable[[Request, Settings, int], Request]
"""Returns a request with what proves whose it is, by key and secret; the number is the wire clock in milliseconds."""

Told = Callable[[Any], tuple[str, str] | None]
"""Returns code and text of the error that an answer tells, None where it tells none."""


class Http:
    """The HTTP connection of one session: every port of the venue shares it; ``answers`` reads what comes."""

    def __init__(
        self,
        context: Context,
        *,
        places: Places,
        verdicts: Verdicts,
        sign: Sign,
        error: Told,
        used: Mapping[str, str] | None = None,
    ) -> None:
        """Open nothing yet; ``context.resources`` closes what is opened.

        ``used`` are the headers in which an answer counts what is used of a rate
        limit, each with the name of the limit on the card.
        """
        self._context = context
        self._places = places
        self._venue = places.title
        self._base_url = places.rest_url(context)
        self._verdicts = verdicts
        self._sign = sign
        self._error = error
        self._used = used or {}
        self.answers = Answers(places.title)
        self._session: aiohttp.ClientSession | None = None
        settings = context.settings
        self._secrets = (settings.api_key.reveal(), settings.api_secret.reveal(), *proxy_secrets(settings.proxy))

    async def get(
        self,
        path: str,
        decode: Callable[..., T],
        params: Mapping[str, Any] | None = None,
        *,
        signed: bool = False,
        **facts: Any,
    ) -> T:
        """Ask a question, and return what ``decode`` makes of its answer and of ``facts``.

        Raises:
            BtxError: as :meth:`ask`; DataError where the answer cannot be read.
        """
        return self.answers.read(decode, await self.ask("GET", path, params, signed=signed), **facts)

    async def rows(
        self,
        path: str,
        decode: Callable[..., T],
        params: Mapping[str, Any] | None = None,
        *,
        signed: bool = False,
        **facts: Any,
    ) -> tuple[T, ...]:
        """Ask for a list, and return what ``decode`` makes of each of its rows.

        Raises: as :meth:`get`.
        """
        rows = await self.ask("GET", path, params, signed=signed)
        return tuple(self.answers.read(decode, row, **facts) for row in rows)

    async def pages(
        self,
        path: str,
        decode: Callable[..., T],
        params: Mapping[str, Any],
        *,
        size: int,
        after: Callable[[T], Mapping[str, Any]],
        signed: bool = True,
    ) -> tuple[T, ...]:
        """Ask for a list page by page until one has fewer than ``size`` rows.

        ``after`` returns what is asked besides for the page that follows a row.

        Raises:
            BtxError: as :meth:`get`; DataError where the pages do not get further.
        """
        found: list[T] = []
        more: Mapping[str, Any] = {}
        while True:
            page = await self.rows(path, decode, {**params, **more}, signed=signed)
            found += page
            if len(page) < size:
                return tuple(found)
            before, more = more, after(page[-1])
            if more == before:
                raise DataError(f"{self._venue}'s answer cannot be read: the page of {path} after {more} ends with it")

    async def send(self, path: str, body: Mapping[str, Any], operation: Operation) -> Any:
        """Post a signed request, once, that asks for more than an answer, and return the JSON of what came.

        Raises: as :meth:`ask`.
        """
        return await self.ask("POST", path, body=body, signed=True, operation=operation)

    async def ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None = None,
        *,
        body: Mapping[str, Any] | None = None,
        signed: bool = False,
        operation: Operation = Operation.READ,
    ) -> Any:
        """Send one request, once, and return the JSON of its answer; parameters that are None are left out.

        Raises:
            BtxError: by what the venue said, or that it said nothing: see :mod:`btx.bridges.verdicts`.
            MissingSecretError: it is to be signed, and there is no key.
        """
        query = urlencode({name: value for name, value in (params or {}).items() if value is not None})
        request = Request(method=method, path=path, query=query, body="" if body is None else json.dumps(body))
        if body is not None:
            request = attrs.evolve(request, headers={"Content-Type": "application/json"})
        if signed:
            self._places.require_keys(self._context)
            request = self._sign(request, self._context.settings, self._now_ms())
        failure: BtxError
        try:
            status, headers, text = await self._send(request)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            failure = no_answer(error, venue=self._venue, operation=operation, secrets=self._secrets)
        else:
            self._observe(headers)
            answer, trouble = self._read(status, headers, text, operation)
            if trouble is None:
                return answer
            failure = trouble
        raise failure  # outside the handler, so that an exception with an address is not its context

    def _observe(self, headers: Mapping[str, str]) -> None:
        for header, limit in self._used.items():
            used = headers.get(header, "")
            if used.isdigit():
                self._context.observe(limit, int(used))

    def _now_ms(self) -> int:
        return to_ms(self._context.clock.wire_ns())

    async def _send(self, request: Request) -> tuple[int, Mapping[str, str], str]:
        url = f"{self._base_url}{request.path}{'?' if request.query else ''}{request.query}"
        number, tap = 0, self._context.tap
        if tap is not None:
            number = tap.number()
            tap(Frame(kind=FrameKind.REQUEST, connection=number, url=url, method=request.method, text=request.body))
        try:
            async with self._opened().request(
                request.method,
                URL(url, encoded=True),
                data=request.body or None,
                headers=request.headers,
                proxy=proxy_for(url, self._context.settings.proxy),
            ) as response:
                text = await response.text(errors="replace")
        except (aiohttp.ClientError, OSError, TimeoutError, asyncio.CancelledError) as error:
            if tap is not None:
                tap(Frame(kind=FrameKind.ANSWER, connection=number, text=type(error).__name__))
            raise
        if tap is not None:
            kept = {name: value for name, value in response.headers.items() if name.lower().startswith(_KEPT_HEADERS)}
            tap(Frame(kind=FrameKind.ANSWER, connection=number, text=text, code=response.status, headers=kept))
        return response.status, response.headers, text

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            # Not the resolver that aiohttp prefers: aiodns starts a thread that never ends.
            connector = aiohttp.TCPConnector(resolver=aiohttp.ThreadedResolver())
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S, sock_connect=_TIMEOUT_S)
            )
            # It would repeat a GET, PUT or DELETE whose kept connection ends unanswered: a PUT may change an order.
            self._session._retry_connection = False  # noqa: SLF001 -- there is no other way to say so
            self._context.resources.push_async_callback(self._session.close)
        return self._session

    def _read(
        self, status: int, headers: Mapping[str, str], text: str, operation: Operation
    ) -> tuple[Any, BtxError | None]:
        """Return the answer, or the error it tells."""
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        told = self._error(answer) if isinstance(answer, dict) else None
        if told is None and status < 400:
            if isinstance(answer, dict | list):
                return answer, None
            return None, outcome_open(operation, f"{self._venue}: what came is no JSON")
        code, message = told or (None, f"HTTP {status}")
        said = Answer(status=status, code=code, message=message, headers=headers)
        failure = error_of(
            said,
            venue=self._venue,
            operation=operation,
            verdicts=self._verdicts,
            now_ms=self._now_ms(),
            secrets=self._secrets,
        )
        return None, failure


def shared_http(
    context: Context,
    *,
    places: Places,
    verdicts: Verdicts,
    sign: Sign,
    error: Told,
    used: Mapping[str, str] | None = None,
) -> Http:
    """Return the session's shared connection; the first call makes it, see :class:`Http`."""
    known: Http | None = context.shared.get(__name__)
    if known is None:
        known = context.shared[__name__] = Http(
            context, places=places, verdicts=verdicts, sign=sign, error=error, used=used
        )
    return known
