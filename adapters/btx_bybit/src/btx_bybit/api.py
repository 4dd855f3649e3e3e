"""The session's one ccxt instance for Bybit, its answers page by page, and the venue's own counts of its limits."""

import functools
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs
import ccxt.pro

from btx.bridges.answers import Answers
from btx.bridges.api import Api, shared_api
from btx.bridges.verdicts import Operation
from btx.errors import DataError
from btx.model.venue import Environment
from btx.ports import Context
from btx_bybit import symbols
from btx_bybit.config import endpoints, host, is_demo
from btx_bybit.errors import VERDICTS
from btx_bybit.limits import ENDPOINTS, LIMITS

__all__ = ("Modes", "api", "ask", "modes", "of_symbols", "pages", "read", "receipt", "tell_usage")

_ANSWERS = Answers("Bybit")
read = _ANSWERS.read
of_symbols = _ANSWERS.of_symbols
receipt = _ANSWERS.receipt

_MOST_PAGES = 1000  # of one question; a venue that has more goes round in circles

Json = Mapping[str, Any]


def api(context: Context) -> Api:
    """Return the session's shared connection; see :func:`btx.bridges.api.shared_api`."""
    shared = shared_api(
        context,
        ccxt.pro.bybit,
        venue="Bybit",
        verdicts=VERDICTS,
        options={
            "recvWindow": context.settings.receive_window_ms,
            # What ccxt would ask the venue before a first request: which kind of account it is.
            "enableUnifiedMargin": False,
            "enableUnifiedAccount": True,
            "unifiedMarginStatus": 6,
            "adjustForTimeDifference": False,
            "fetchCurrencies": False,
        },
        endpoints=endpoints(context),
        name_of=functools.partial(symbols.symbol_of, market=context.market),
        sandbox=context.environment is Environment.TESTNET and not is_demo(context),
        demo=is_demo(context),
        on_headers=functools.partial(_on_headers, context),
    )
    shared.client.exchange.hostname = host(context)
    return shared


@attrs.define
class Modes:
    """What the ports of one session know of the account: which symbols of the venue have two positions each."""

    hedged: set[str] = attrs.field(factory=set)


def modes(context: Context) -> Modes:
    """Return what the session's ports share of it."""
    known: Modes | None = context.shared.get(__name__)
    if known is None:
        known = context.shared[__name__] = Modes()
    return known


async def ask(shared: Api, endpoint: str, params: Json, *, operation: Operation = Operation.READ) -> Json:
    """Send one request, once, and return its ``result``.

    Raises:
        BtxError: see :func:`btx.bridges.ccxt.translate`; DataError where a question has an answer without one.
    """
    answer = await shared.client.ask(endpoint, params, operation=operation)
    result = answer.get("result") if isinstance(answer, Mapping) else None
    if isinstance(result, Mapping):
        return result
    if operation is Operation.READ:
        raise DataError(f"Bybit's answer cannot be read: it has no result in {str(answer)[:200]}")
    return {}


async def pages(shared: Api, endpoint: str, params: Json) -> list[Json]:
    """Return all rows of a list that comes in pages, in the venue's order.

    Raises:
        BtxError: as :func:`ask`; DataError where the pages do not end.
    """
    rows: list[Json] = []
    cursor = ""
    for _ in range(_MOST_PAGES):
        result = await ask(shared, endpoint, {**params, "cursor": cursor} if cursor else params)
        page = list(result.get("list") or ())
        rows.extend(page)
        before, cursor = cursor, str(result.get("nextPageCursor") or "")
        if not page or not cursor or cursor == before:
            return rows
    raise DataError(f"Bybit's answer cannot be read: more than {_MOST_PAGES} pages of {endpoint}")


def tell_usage(context: Context, limit: str, headers: Json) -> None:
    """Tell what an answer says is used of a limit: headers of HTTP, or what a socket calls so.

    The venue says what remains, of a limit that may be higher than everybody's: what is left is what counts.
    """
    known = {name.lower(): str(text) for name, text in headers.items()}
    remaining = known.get("x-bapi-limit-status", "")
    whole = next((each.limit for each in LIMITS[context.market] if each.name == limit), None)
    if whole is not None and remaining.isdigit():
        context.observe(limit, max(whole - int(remaining), 0))


def _on_headers(context: Context, url: str, headers: Mapping[str, str]) -> None:
    limit = ENDPOINTS.get(urlsplit(url).path)
    if limit is not None:
        tell_usage(context, limit, headers)
