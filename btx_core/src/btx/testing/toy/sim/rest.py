"""Requests over HTTP: who may ask, how often, and what each operation answers."""

import functools
import json
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import attrs
from aiohttp import web

from btx.errors import BtxError
from btx.model.order import (
    ListKind,
    OrderType,
    PositionSide,  # margin
    Side,
    TimeInForce,
)
from btx.model.time import NS_PER_MINUTE, Interval, from_ms, to_ms
from btx.sim.exchange import Exchange, Listing, NewOrder
from btx.sim.faults import Where
from btx.sim.lists import NewOrderList
from btx.sim.orders import Refused
from btx.sim.skin.mishaps import Mishaps, answered, swallowed
from btx.sim.skin.text import JSON, dumps
from btx.sim.world import World
from btx.testing.toy.sim import wire
from btx.testing.toy.sim.wire import WireError

__all__ = ("SPOT_CALLS", "Ask", "Calls", "Desk", "new_order", "which")

_PAGE = 500
_REQUESTS = 1200  # of one address, in each minute
_WINDOW_MS = 5000


@attrs.frozen(kw_only=True)
class Ask:
    """One request that was read and proved."""

    words: Mapping[str, Any]
    api_key: str  # "" for a public one
    now_ns: int  # market time

    def __getitem__(self, name: str) -> str:
        if self.words.get(name) in (None, ""):
            raise WireError(400, "bad_request", f"{name} is missing")
        return str(self.words[name])

    def whole(self, name: str) -> int | None:
        """Return a whole number, None where it was not sent."""
        return int(self[name]) if name in self.words else None

    @property
    def rows(self) -> int:
        """How many rows are asked for; never more than a page."""
        return min(self.whole("limit") or _PAGE, _PAGE)


class Desk:
    """Everything that is asked over HTTP of one world."""

    def __init__(self, world: World, mishaps: Mishaps[WireError], calls: "Calls") -> None:
        self.world = world
        self._calls = calls
        self._mishaps = mishaps
        self._minute = 0
        self._used = 0
        self._secrets = {account.api_key: account.api_secret for account in world.accounts}

    def add_routes(self, app: web.Application) -> None:
        """Serve every operation."""
        for (method, path), (where, run) in self._calls.items():
            app.router.add_route(method, f"/v1/{path}", functools.partial(self._handle, where, run))

    def prove(self, api_key: str, text: str, sign: str, *, time_ms: str, window_ms: str) -> None:
        """Look at whose a request is.

        Raises:
            WireError: nobody's.
        """
        age_ms = to_ms(self.world.wire_ns()) - int(time_ms or 0)
        if not -1000 <= age_ms <= int(window_ms or _WINDOW_MS):
            raise WireError(401, "bad_time", f"the request is {age_ms} ms old")
        if api_key not in self._secrets or not wire.proof_fits(text, sign, self._secrets[api_key]):
            raise WireError(401, "bad_key", "key or signature is not valid")

    def listing(self, venue_symbol: str) -> Listing:
        """Return what is listed under a symbol."""
        if venue_symbol not in self.world.listings:
            raise WireError(404, "unknown_symbol", f"there is no {venue_symbol}")
        return self.world.listings[venue_symbol]

    @property
    def exchange(self) -> Exchange:
        return self.world.exchange

    async def _handle(self, where: Where, run: "Run", request: web.Request) -> web.StreamResponse:
        action = self._mishaps.on_request(where, f"{request.method} {request.path}")
        if (nothing := await swallowed(self._mishaps, action, request)) is not None:
            return nothing
        response = await self._answer(where, run, request, self._mishaps.refusal(action))
        if (failure := self._mishaps.failure(action)) is not None:
            response = self._response(failure.body(), failure)
        return await answered(self._mishaps, action, request, response)

    async def _answer(self, where: Where, run: "Run", request: web.Request, refusal: WireError | None) -> web.Response:
        body = await request.text()
        try:
            if refusal is not None:
                raise refusal
            self._count()
            if where is not Where.MARKET:
                path, _, query = request.raw_path.partition("?")
                head = request.headers
                text = f"{head.get('X-TOY-TIME')}{request.method}{path}?{query}{body}"
                window_ms, time_ms = head.get("X-TOY-WINDOW", ""), head.get("X-TOY-TIME", "")
                key, sign = head.get("X-TOY-KEY", ""), head.get("X-TOY-SIGN", "")
                self.prove(key, text, sign, time_ms=time_ms, window_ms=window_ms)
            words = {**request.query, **(json.loads(body) if body else {})}
            api_key = request.headers.get("X-TOY-KEY", "")
            result = run(self, Ask(words=words, api_key=api_key, now_ns=self.world.market_ns()))
        except Refused as error:
            failure = wire.refused(error)
        except (BtxError, ValueError, KeyError, InvalidOperation) as error:
            failure = WireError(400, "bad_request", str(error))
        except WireError as error:
            failure = error
        else:
            return self._response(result, None)
        return self._response(failure.body(), failure)

    def _count(self) -> None:
        minute = self.world.wire_ns() // NS_PER_MINUTE
        self._used = 1 if minute != self._minute else self._used + 1
        self._minute = minute
        if self._used > _REQUESTS:
            left_s = 60 - self.world.wire_ns() % NS_PER_MINUTE // 10**9
            raise WireError(429, "too_fast", "too many requests", retry_after_s=left_s)

    def _response(self, value: Any, error: WireError | None) -> web.Response:
        headers = {"X-TOY-USED": str(self._used)}
        if error is not None and error.retry_after_s is not None:
            headers["Retry-After"] = str(error.retry_after_s)
        status = 200 if error is None else error.status
        return web.Response(text=dumps(value), status=status, content_type="application/json", headers=headers)


Run = Callable[[Desk, Ask], Any]
"""Answers one operation."""

Calls = Mapping[tuple[str, str], tuple[Where, Run]]
"""Operations by method and path, each with its class."""


# --- the market ---------------------------------------------------------------------------------------------


def _time(desk: Desk, _ask: Ask) -> JSON:
    return {"time": to_ms(desk.world.wire_ns())}


def _instruments(desk: Desk, _ask: Ask) -> list[JSON]:
    return [wire.instrument_row(listing) for listing in desk.world.listings.values()]


def _bars(desk: Desk, ask: Ask) -> list[JSON]:
    bars = desk.world.market.klines(
        desk.listing(ask["symbol"]).venue_symbol,
        Interval.parse(ask["interval"]),
        start_ns=from_ms(int(ask["start"])),
        end_ns=from_ms(int(ask["end"])),
        limit=ask.rows,
    )
    return [wire.bar_row(bar) for bar in bars]


def _trades(desk: Desk, ask: Ask) -> list[JSON]:
    start_ms = ask.whole("start")
    trades = desk.world.market.trades(
        desk.listing(ask["symbol"]).venue_symbol,
        limit=ask.rows,
        from_id=ask.whole("from"),
        start_ns=None if start_ms is None else from_ms(start_ms),
    )
    return [wire.trade_row(trade) for trade in trades]


def _book(desk: Desk, ask: Ask) -> JSON:
    book = desk.world.market.book(desk.listing(ask["symbol"]).venue_symbol, depth=ask.whole("depth") or 100)
    return {"bids": wire.levels(book.bids), "asks": wire.levels(book.asks), "sequence": book.sequence}


# --- the account --------------------------------------------------------------------------------------------


def _account(desk: Desk, ask: Ask) -> JSON:
    owned = wire.balances(desk.exchange.balances(api_key=ask.api_key))
    return {"balances": owned, "can_trade": True, "time": to_ms(ask.now_ns)}


def _fees(desk: Desk, ask: Ask) -> JSON:
    fees = desk.listing(ask["symbol"]).fees
    return {"maker": wire.plain(fees.maker), "taker": wire.plain(fees.taker)}


def _key(desk: Desk, ask: Ask) -> JSON:
    (account,) = (each for each in desk.world.accounts if each.api_key == ask.api_key)
    return {"read": True, "trade": True, "withdraw": account.may_withdraw}


# --- orders -------------------------------------------------------------------------------------------------


def new_order(words: Mapping[str, Any]) -> NewOrder:
    def number(name: str) -> Decimal | None:
        return None if words.get(name) is None else Decimal(words[name])

    return NewOrder(
        venue_symbol=words["symbol"],
        side=Side(words["side"]),
        order_type=OrderType(words["type"]),
        time_in_force=TimeInForce(words["time_in_force"]),
        post_only=bool(words["post_only"]),
        quantity=Decimal(words["quantity"]),
        price=number("price"),
        trigger_price=number("trigger_price"),
        client_order_id=words["client_id"],
        reduce_only=bool(words["reduce_only"]),  # margin
        position_side=PositionSide(words["position_side"]),  # margin
    )


def _place(desk: Desk, ask: Ask) -> JSON:
    order = desk.exchange.place(api_key=ask.api_key, order=new_order(ask.words), now_ns=ask.now_ns)
    return {"id": order.order_id}


def _place_list(desk: Desk, ask: Ask) -> JSON:
    kind, orders = ListKind(ask["kind"]), [new_order(words) for words in ask.words["orders"]]
    # The limit of a pair may only make: it would not rest beside its stop otherwise.
    for number in {ListKind.OCO: (0, 1), ListKind.OTO: (), ListKind.OTOCO: (1, 2)}[kind]:
        is_limit = orders[number].order_type is OrderType.LIMIT
        orders[number] = attrs.evolve(orders[number], post_only=is_limit or orders[number].post_only)
    new = NewOrderList(kind=kind, orders=tuple(orders), client_list_id=ask["client_id"])
    taken, _ = desk.exchange.place_list(api_key=ask.api_key, order_list=new, now_ns=ask.now_ns)
    return {"id": taken.list_id}


def which(ask: Ask) -> dict[str, Any]:
    return {"api_key": ask.api_key, "venue_symbol": ask["symbol"], "client_order_id": ask["client_id"]}


def _cancel(desk: Desk, ask: Ask) -> JSON:
    return {"id": desk.exchange.cancel(**which(ask), now_ns=ask.now_ns).order_id}


def _cancel_all(desk: Desk, ask: Ask) -> JSON:
    orders = desk.exchange.open_orders(api_key=ask.api_key, venue_symbol=ask["symbol"])
    if not orders:
        raise WireError(404, "unknown_order", f"nothing is open in {ask['symbol']}")
    for order in orders:
        one: dict[str, Any] = {"api_key": ask.api_key, "venue_symbol": order.venue_symbol, "order_id": order.order_id}
        if desk.exchange.order(**one).is_open:  # else it went with the other of its pair
            desk.exchange.cancel(**one, now_ns=ask.now_ns)
    return {"cancelled": len(orders)}


def _order(desk: Desk, ask: Ask) -> JSON:
    order = desk.exchange.order(**which(ask))
    return {**wire.order_row(order), "fills": [wire.fill_row(fill) for fill in order.fills]}


def _open_orders(desk: Desk, ask: Ask) -> list[JSON]:
    return [wire.order_row(order) for order in desk.exchange.open_orders(api_key=ask.api_key)]


def _fills(desk: Desk, ask: Ask) -> list[JSON]:
    after, start_ns = ask.whole("after") or 0, from_ms(int(ask["start"]))
    fills = desk.world.engine.fills(api_key=ask.api_key, venue_symbol=desk.listing(ask["symbol"]).venue_symbol)
    found = [fill for fill in fills if fill.time_ns >= start_ns and fill.trade_id > after]
    return [wire.fill_row(fill) for fill in found[: ask.rows]]


SPOT_CALLS: Calls = {
    ("GET", "time"): (Where.MARKET, _time),
    ("GET", "instruments"): (Where.MARKET, _instruments),
    ("GET", "bars"): (Where.MARKET, _bars),
    ("GET", "trades"): (Where.MARKET, _trades),
    ("GET", "book"): (Where.MARKET, _book),
    ("GET", "account"): (Where.ACCOUNT, _account),
    ("GET", "fees"): (Where.ACCOUNT, _fees),
    ("GET", "key"): (Where.ACCOUNT, _key),
    ("POST", "place"): (Where.PLACE, _place),
    ("POST", "place_list"): (Where.PLACE, _place_list),
    ("POST", "cancel"): (Where.CANCEL, _cancel),
    ("POST", "cancel_all"): (Where.CANCEL, _cancel_all),
    ("GET", "order"): (Where.QUERY, _order),
    ("GET", "open_orders"): (Where.QUERY, _open_orders),
    ("GET", "fills"): (Where.QUERY, _fills),
}
