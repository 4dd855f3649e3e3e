"""Store, Broker and Feed over Binance's REST, through the session's one ccxt instance.

ccxt signs and sends; the answers are read raw by :mod:`btx_binance.codec`, because
what ccxt makes of them are floats.
"""

import functools
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

import attrs
import ccxt.pro

from btx.bridges.ccxt import Client, Operation, Throttle
from btx.errors import DataError, NotSupportedError, OutcomeUnknownError, UnknownSymbolError
from btx.model.account import AccountSnapshot
from btx.model.instrument import Instrument
from btx.model.market import Bar, BookSnapshot, Trade
from btx.model.order import Fill, Leg, ListKind, OrderList, OrderReport, OrderType, Receipt, Side, TimeInForce
from btx.model.time import Interval, from_ms, to_ms
from btx.model.venue import Environment
from btx.ports import Context
from btx_binance import codec
from btx_binance.archive import Archive
from btx_binance.config import endpoints, require_keys
from btx_binance.errors import VERDICTS
from btx_binance.limits import BOOK_DEPTH, OPEN_ORDERS_EACH, PAGE, TRADES_SPAN_MS

__all__ = ("Api", "BinanceBroker", "BinanceFeed", "BinanceStore", "api", "tell_socket_usage")

T = TypeVar("T")

_SHARED = "btx_binance.api"
_TYPES = {
    OrderType.MARKET: "MARKET",
    OrderType.LIMIT: "LIMIT",
    OrderType.STOP_MARKET: "STOP_LOSS",
    OrderType.STOP_LIMIT: "STOP_LOSS_LIMIT",
    OrderType.TAKE_PROFIT_MARKET: "TAKE_PROFIT",
    OrderType.TAKE_PROFIT_LIMIT: "TAKE_PROFIT_LIMIT",
}
_TRAILING = OrderType.TRAILING_STOP
_LIMIT_TYPES = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT_LIMIT})
_TRIGGERED = frozenset(_TYPES) - {OrderType.MARKET, OrderType.LIMIT}
_WITH_TIME_IN_FORCE = frozenset({"LIMIT", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"})
_WITH_ICEBERG = _WITH_TIME_IN_FORCE | {"LIMIT_MAKER"}
_WORKING_TYPES = frozenset({"LIMIT", "LIMIT_MAKER"})  # of the leg that triggers a list's others
_OF_LISTS = frozenset({"selfTradePreventionMode"})  # extras of a whole list; any other is a leg's
_DAYS_EACH = 30  # up to so many days trades are looked for day by day; beyond, from the account's first one on
_TIMES_IN_FORCE = {
    TimeInForce.GTC: "GTC",
    TimeInForce.IOC: "IOC",
    TimeInForce.FOK: "FOK",
}


@attrs.define(kw_only=True)
class Api:
    """What the ports of one session share: the ccxt instance, and how the venue's symbols are called here."""

    client: Client
    symbols: dict[str, str] = attrs.field(factory=dict)  # BTCUSDT -> BTC/USDT

    def symbol(self, venue_symbol: str) -> str:
        """Return our name of a symbol.

        Raises:
            DataError: it is neither in the catalogue nor ends in a known quote asset.
        """
        return self.symbols.get(venue_symbol) or codec.split_symbol(venue_symbol)


def api(context: Context) -> Api:
    """Return the session's shared connection; the first call makes it, ``context.resources`` closes it.

    A throttle under ``context.shared["throttle"]`` is awaited before each request.
    """
    known: Api | None = context.shared.get(_SHARED)
    if known is not None:
        return known
    throttle: Throttle | None = context.shared.get("throttle")
    simulator = endpoints(context)
    client = Client(
        ccxt.pro.binance,
        venue="Binance",
        verdicts=VERDICTS,
        wire_ms=lambda: to_ms(context.clock.wire_ns()),
        api_key=context.settings.api_key,
        api_secret=context.settings.api_secret,
        options={
            "defaultType": "spot",
            "recvWindow": context.settings.receive_window_ms,
            # Were ccxt to load its markets, it should ask for the spot ones and nothing else.
            "fetchMarkets": {"types": ["spot"]},
            "fetchCurrencies": False,
            "fetchMargins": False,
            "adjustForTimeDifference": False,
        },
        sandbox=context.environment is Environment.TESTNET,
        endpoints=simulator,
        throttle=throttle,
        on_headers=functools.partial(_tell_usage, context.observe),
        tap=context.tap,
        proxy=context.settings.proxy,
    )
    context.resources.push_async_callback(client.close)
    made = Api(client=client)
    context.shared[_SHARED] = made
    return made


class BinanceStore:
    """Instruments, account and time of Binance spot."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._api = api(context)

    async def instruments(self, *, symbols: Collection[str] | None = None) -> Mapping[str, Instrument]:
        """Return instruments by symbol; names the venue does not list are left out.

        Raises:
            TransportError: the venue was not reached.
        """
        rows = await self._rows(symbols)
        found = {each.symbol: each for each in (_read(codec.instrument, row) for row in rows)}
        self._api.symbols.update({each.venue_symbol: each.symbol for each in found.values()})
        if symbols is None:
            return found
        return {symbol: found[symbol] for symbol in symbols if symbol in found}

    async def account(self) -> AccountSnapshot:
        """Return balances now.

        Raises:
            MissingSecretError: there is no key.
            AuthenticationError: the key is not accepted.
        """
        require_keys(self._context)
        return _read(codec.account, await self._api.client.ask("privateGetAccount", {}))

    async def server_time_ns(self) -> int:
        """Return the venue's wire clock."""
        return _read(codec.server_time, await self._api.client.ask("publicGetTime", {}))

    async def _rows(self, symbols: Collection[str] | None) -> Sequence[Mapping[str, Any]]:
        if symbols is not None:
            names = json.dumps([_venue_symbol(symbol) for symbol in symbols], separators=(",", ":"))
            try:
                answer = await self._api.client.ask("publicGetExchangeInfo", {"symbols": names})
            except UnknownSymbolError:
                pass  # one unknown name fails them all, and it is not said which: look in the whole list
            else:
                return list(answer["symbols"])
        return list((await self._api.client.ask("publicGetExchangeInfo", {}))["symbols"])


class BinanceBroker:
    """Orders of Binance spot: all its types, order lists, and cancel-replace.

    Source: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/trading-endpoints, 2025.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._api = api(context)

    async def place(self, *, leg: Leg) -> Receipt:
        """Hand one order over; see :meth:`btx.ports.Broker.place`."""
        require_keys(self._context)
        params = {**_extras(leg), **_order_params(leg), "newOrderRespType": "ACK"}
        answer = await self._api.client.ask("privatePostOrder", params, operation=Operation.PLACE)
        return _receipt(answer, "orderId")

    async def place_list(self, *, order_list: OrderList) -> Receipt:
        """Hand an order list over; see :meth:`btx.ports.Broker.place_list`."""
        require_keys(self._context)
        endpoint, params = _list_params(order_list)
        answer = await self._api.client.ask(endpoint, params, operation=Operation.PLACE)
        return _receipt(answer, "orderListId")

    async def replace(self, *, leg: Leg, venue_order_id: str | None, new: Leg) -> Receipt:
        """Cancel ``leg`` and place ``new``; see :meth:`btx.ports.Broker.replace`.

        An order that has filled in part stays as it is (``cancelRestrictions``),
        and then nothing is placed (``STOP_ON_FAILURE``).
        """
        require_keys(self._context)
        params = {
            **_extras(new),
            **_order_params(new),
            "newOrderRespType": "ACK",
            "cancelReplaceMode": "STOP_ON_FAILURE",
            "cancelRestrictions": "ONLY_NEW",
        }
        if venue_order_id is not None:
            params["cancelOrderId"] = venue_order_id
        else:
            params["cancelOrigClientOrderId"] = leg.client_order_id
        answer = await self._api.client.ask("privatePostOrderCancelReplace", params, operation=Operation.PLACE)
        return _receipt(answer, "newOrderResponse", "orderId")

    async def cancel_all(self, *, instrument: Instrument) -> None:
        """Ask Binance to cancel every open order of an instrument; see :meth:`btx.ports.Broker.cancel_all`."""
        require_keys(self._context)
        params = {"symbol": instrument.venue_symbol}
        await self._api.client.ask("privateDeleteOpenOrders", params, operation=Operation.CANCEL)

    async def fills(self, *, instrument: Instrument, start_ns: int) -> tuple[Fill, ...]:
        """Return every fill from ``start_ns`` on, oldest first; the rows do not name the client order id.

        The newest page is asked for first: mostly it is all there is to know.

        Raises:
            DataError: there are more, and the venue does not say which.
        """
        require_keys(self._context)
        start_ms, symbol = max(-to_ms(-start_ns), 0), {"symbol": instrument.venue_symbol, "limit": PAGE}
        rows = await self._api.client.ask("privateGetMyTrades", symbol)
        if len(rows) == PAGE and _read(_time_ms, rows[0]) >= start_ms:
            first_id = await self._first_trade(symbol, start_ms, known_ms=_read(_time_ms, rows[0]))
            rows = await self._trades_from(symbol, first_id)
        fills = (_read(codec.my_trade, each, symbol=instrument.symbol, client_order_id="") for each in rows)
        return tuple(fill for fill in fills if fill.time_ns >= from_ms(start_ms))

    async def cancel(self, *, leg: Leg, venue_order_id: str | None) -> None:
        """Ask Binance to cancel; see :meth:`btx.ports.Broker.cancel`."""
        require_keys(self._context)
        params = {"symbol": leg.request.instrument.venue_symbol}
        if venue_order_id is not None:
            params["orderId"] = venue_order_id
        else:
            params["origClientOrderId"] = leg.client_order_id
        await self._api.client.ask("privateDeleteOrder", params, operation=Operation.CANCEL)

    async def query(self, *, leg: Leg) -> tuple[OrderReport | Fill, ...]:
        """Return the order's fills, oldest first, and then its state; see :meth:`btx.ports.Broker.query`.

        The fills are asked for after the state, so none that it names is missing.
        """
        require_keys(self._context)
        instrument = leg.request.instrument
        row = await self._api.client.ask(
            "privateGetOrder",
            {"symbol": instrument.venue_symbol, "origClientOrderId": leg.client_order_id},
        )
        report = _read(codec.order_report, row, symbol=instrument.symbol, client_order_id=leg.client_order_id)
        if not report.filled:
            return (report,)
        rows = await self._my_trades(instrument.venue_symbol, str(row["orderId"]))
        ours = {"symbol": instrument.symbol, "client_order_id": leg.client_order_id}
        return (*(_read(codec.my_trade, each, **ours) for each in rows), report)

    async def open_orders(self, *, instruments: Collection[Instrument]) -> tuple[OrderReport, ...]:
        """Return all orders that rest now in these instruments."""
        require_keys(self._context)
        symbols = {each.venue_symbol: each.symbol for each in instruments}
        if len(symbols) > OPEN_ORDERS_EACH:
            rows = await self._api.client.ask("privateGetOpenOrders", {})
        else:
            rows = [
                row
                for venue_symbol in symbols
                for row in await self._api.client.ask("privateGetOpenOrders", {"symbol": venue_symbol})
            ]
        named = ((_read(_symbol_of, row), row) for row in rows)
        return tuple(_read(codec.order_report, row, symbol=symbols[name]) for name, row in named if name in symbols)

    async def _my_trades(self, venue_symbol: str, order_id: str) -> list[Mapping[str, Any]]:
        return await self._trades_from({"symbol": venue_symbol, "orderId": order_id, "limit": PAGE}, 0)

    async def _trades_from(self, params: Mapping[str, Any], trade_id: int) -> list[Mapping[str, Any]]:
        """Return every trade from an id on, page after page.

        Only from an id on the oldest come first: "otherwise most recent trades are
        returned" (myTrades, "Notes", 2025), also of one order.
        """
        rows: list[Mapping[str, Any]] = []
        while True:
            page = await self._api.client.ask("privateGetMyTrades", {**params, "fromId": trade_id})
            rows.extend(page)
            if len(page) < PAGE:
                return rows
            trade_id = int(page[-1]["id"]) + 1

    async def _first_trade(self, params: Mapping[str, Any], start_ms: int, *, known_ms: int) -> int:
        """Return the id of a symbol's first trade from a time on; there is one at ``known_ms``.

        An id and a time do not go together, so it is looked for day by day. Of a
        page that is full the older end may be the one left out: then what lies
        before its first trade is asked for.

        Raises:
            DataError: the venue does not list it.
        """
        if known_ms - start_ms > _DAYS_EACH * TRADES_SPAN_MS:
            return 0
        for day_ms in range(start_ms, known_ms + 1, TRADES_SPAN_MS):
            page = await self._trades_between(params, day_ms, day_ms + TRADES_SPAN_MS - 1)
            while len(page) == PAGE:
                earlier = await self._trades_between(params, day_ms, _read(_time_ms, page[0]))
                if not earlier or earlier[0]["id"] == page[0]["id"]:
                    if len(earlier) == PAGE:
                        return 0  # more in one millisecond than a page has
                    break
                page = earlier
            if page:
                return int(page[0]["id"])
        raise DataError(f"Binance lists no trade in {params['symbol']} from {start_ms} ms on, and there is one")

    async def _trades_between(self, params: Mapping[str, Any], start_ms: int, end_ms: int) -> list[Mapping[str, Any]]:
        asked = {**params, "startTime": start_ms, "endTime": end_ms}
        return list(await self._api.client.ask("privateGetMyTrades", asked))


class BinanceFeed:
    """History of Binance spot."""

    def __init__(self, context: Context) -> None:
        self._clock = context.clock
        self._api = api(context)
        self._archive = Archive(context)

    async def bars(self, *, instrument: Instrument, interval: Interval, start_ns: int, end_ns: int) -> Sequence[Bar]:
        """Return one page of closed bars that open in ``[start_ns, end_ns)``, oldest first.

        The forming bar, which the venue returns too, is left out by the market clock.
        """
        if end_ns <= start_ns:
            return ()
        rows = await self._api.client.ask(
            "publicGetKlines",
            {
                "symbol": instrument.venue_symbol,
                "interval": str(interval),
                "startTime": -to_ms(-start_ns),  # up: the bar before must not slip in
                "endTime": to_ms(end_ns - 1),
                "limit": PAGE,
            },
        )
        now_ns = self._clock.market_ns()
        bars = (_read(codec.kline, row, symbol=instrument.symbol, interval=interval, now_ns=now_ns) for row in rows)
        return tuple(bar for bar in bars if bar.is_closed)

    async def archive(
        self, *, instrument: Instrument, interval: Interval, year: int, month: int
    ) -> Sequence[Bar] | None:
        """Return a whole month from Binance's public files, None where it has none; no key and no weight are needed."""
        return await self._archive.bars(instrument, interval, year, month)

    async def last_price(self, *, symbol: str) -> Trade | None:
        """Return the latest public trade, None when there never was one.

        Raises:
            UnknownSymbolError: the venue lists no such symbol.
        """
        params = {"symbol": _venue_symbol(symbol), "limit": 1}
        rows = await self._api.client.ask("publicGetAggTrades", params)
        return _read(codec.agg_trade, rows[-1], symbol=symbol) if rows else None

    async def book(self, *, instrument: Instrument, depth: int) -> BookSnapshot:
        """Return the best ``depth`` levels of both sides with their sequence.

        Raises:
            NotSupportedError: more levels than a request may cost.
        """
        if depth > BOOK_DEPTH:
            raise NotSupportedError(f"a book of {depth} levels: ask for {BOOK_DEPTH} at most")
        row = await self._api.client.ask("publicGetDepth", {"symbol": instrument.venue_symbol, "limit": depth})
        return _read(codec.book_snapshot, row, symbol=instrument.symbol)

    async def trades(
        self, *, instrument: Instrument, start_id: int | None = None, start_ns: int | None = None
    ) -> Sequence[Trade]:
        """Return one page of aggregate trades from an id or a time on, oldest first; with neither, the newest."""
        params: dict[str, Any] = {"symbol": instrument.venue_symbol, "limit": PAGE}
        if start_id is not None:
            params["fromId"] = start_id
        elif start_ns is not None:
            params["startTime"] = -to_ms(-start_ns)
        rows = await self._api.client.ask("publicGetAggTrades", params)
        return tuple(_read(codec.agg_trade, row, symbol=instrument.symbol) for row in rows)


def _read(decode: Callable[..., T], raw: Any, **context: Any) -> T:
    """Return what ``decode`` makes of an answer.

    Raises:
        DataError: the answer has another shape than the documentation's.
    """
    try:
        return decode(raw, **context)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise DataError(f"Binance's answer cannot be read: {error!r} in {str(raw)[:200]}") from error


def _receipt(answer: Any, *path: str) -> Receipt:
    """Return what an order was taken with.

    Raises:
        OutcomeUnknownError: the answer is none to an order, so nobody knows what became of it.
    """
    found = answer
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    if found is None:
        raise OutcomeUnknownError(f"Binance's answer to an order cannot be read: {str(answer)[:200]}")
    return Receipt(venue_order_id=str(found))


def _time_ms(row: Mapping[str, Any]) -> int:
    return int(row["time"])


def _symbol_of(row: Mapping[str, Any]) -> str:
    return str(row["symbol"])


# "X-MBX-USED-WEIGHT-(intervalNum)(intervalLetter)" and "X-MBX-ORDER-COUNT-...": rest-api.md, "IP Limits", 2025.
_USAGE = {
    "x-mbx-used-weight-1m": "weight",
    "x-mbx-order-count-10s": "orders_10s",
    "x-mbx-order-count-1d": "orders_day",
}


def _tell_usage(observe: Callable[[str, int], None], headers: Mapping[str, str]) -> None:
    """Tell what an answer's headers say of the rate limits."""
    for name, text in headers.items():
        limit = _USAGE.get(name.lower())
        if limit is not None and text.isdigit():
            observe(limit, int(text))


# The same in the "rateLimits" of an answer on a socket: web-socket-api.md, "Rate limits", 2025.
_SOCKET_USAGE = {
    ("REQUEST_WEIGHT", "MINUTE", 1): "weight",
    ("ORDERS", "SECOND", 10): "orders_10s",
    ("ORDERS", "DAY", 1): "orders_day",
}


def tell_socket_usage(observe: Callable[[str, int], None], message: Mapping[str, Any]) -> None:
    """Tell what an answer on a socket says of the rate limits."""
    for row in message.get("rateLimits") or ():
        limit = _SOCKET_USAGE.get((row.get("rateLimitType"), row.get("interval"), row.get("intervalNum")))
        if limit is not None and isinstance(row.get("count"), int):
            observe(limit, row["count"])


def _venue_symbol(symbol: str) -> str:
    """Return Binance's text for a spot symbol: the two assets, one after the other."""
    return symbol.replace("/", "")


def _extras(leg: Leg) -> dict[str, str]:
    return {key: str(value) for key, value in leg.request.params.items()}


def _order_params(leg: Leg) -> dict[str, str]:
    """Return the parameters of ``POST order`` but for the kind of answer: states come from the stream, each once."""
    return {
        "symbol": leg.request.instrument.venue_symbol,
        "side": leg.request.side.value,
        "quantity": codec.plain(leg.quantity),
        "newClientOrderId": leg.client_order_id,
        **_terms(leg),
    }


def _terms(leg: Leg, prefix: str = "") -> dict[str, str]:
    """Return an order's type, prices and time in force; of a leg of a list with the prefix the venue gives it."""
    request, order_type = leg.request, _order_type(leg)
    words = {"type": order_type}
    if request.price is not None:
        words["price"] = codec.plain(request.price)
    if request.order_type is _TRAILING:
        if request.trail_bps is None:
            raise NotSupportedError("Binance trails by basis points: a trail in money is kept by the core")
        # Without a stopPrice it follows from the next trade on; with one it would only begin to, there.
        words["trailingDelta"] = str(request.trail_bps)
    elif request.trigger_price is not None:
        words["stopPrice"] = codec.plain(request.trigger_price)
    if request.display_quantity is not None:
        if order_type not in _WITH_ICEBERG or request.time_in_force is not TimeInForce.GTC:
            raise NotSupportedError("an iceberg is an order with a limit whose time in force is GTC")
        words["icebergQty"] = codec.plain(request.display_quantity)
    if order_type in _WITH_TIME_IN_FORCE:
        words["timeInForce"] = _TIMES_IN_FORCE[request.time_in_force]
    return {_prefixed(prefix, name): value for name, value in words.items()}


def _prefixed(prefix: str, name: str) -> str:
    return f"{prefix}{name[0].upper()}{name[1:]}" if prefix else name


def _order_type(leg: Leg) -> str:
    request = leg.request
    if request.time_in_force not in _TIMES_IN_FORCE:
        raise NotSupportedError(f"Binance spot knows no time in force {request.time_in_force.value}")
    if (request.order_type in _LIMIT_TYPES) is (request.price is None) and request.order_type is not _TRAILING:
        raise NotSupportedError(f"a price is for limit orders, and they need one: not {request.order_type.value}")
    if request.order_type in _TRIGGERED and request.trigger_price is None:
        raise NotSupportedError(f"an order of type {request.order_type.value} needs a trigger price")
    if request.order_type is _TRAILING:
        return "STOP_LOSS" if request.price is None else "STOP_LOSS_LIMIT"
    if not request.post_only:
        return _TYPES[request.order_type]
    if request.order_type is not OrderType.LIMIT or request.time_in_force is not TimeInForce.GTC:
        raise NotSupportedError("a post-only order is a limit order that rests: its time in force is GTC")
    return "LIMIT_MAKER"


def _list_params(order_list: OrderList) -> tuple[str, dict[str, str]]:
    """Return the endpoint of a list and its parameters: what names a leg has the leg's place before it."""
    first = order_list.legs[0]
    params = {
        "symbol": first.request.instrument.venue_symbol,
        "listClientOrderId": order_list.list_id,
        "newOrderRespType": "ACK",
        **{name: value for leg in order_list.legs for name, value in _extras(leg).items() if name in _OF_LISTS},
    }
    if order_list.kind is ListKind.OCO:
        above, below = _above_below(order_list.legs)
        params |= {"side": first.request.side.value, "quantity": codec.plain(first.quantity)}
        return "privatePostOrderListOco", params | _leg_of_pair(above, "above") | _leg_of_pair(below, "below")
    params |= _leg_of_list(first, "working")
    if params["workingType"] not in _WORKING_TYPES:
        raise NotSupportedError(f"a list of Binance begins with a limit order: not {first.request.order_type.value}")
    if order_list.kind is ListKind.OTO:
        return "privatePostOrderListOto", params | _leg_of_list(order_list.legs[1], "pending")
    above, below = _above_below(order_list.legs[1:])
    params |= {"pendingSide": above.request.side.value, "pendingQuantity": codec.plain(above.quantity)}
    pair = _leg_of_pair(above, "pendingAbove") | _leg_of_pair(below, "pendingBelow")
    return "privatePostOrderListOtoco", params | pair


def _leg_of_list(leg: Leg, prefix: str) -> dict[str, str]:
    return {
        f"{prefix}Side": leg.request.side.value,
        f"{prefix}Quantity": codec.plain(leg.quantity),
        **_leg_of_pair(leg, prefix),
    }


def _leg_of_pair(leg: Leg, prefix: str) -> dict[str, str]:
    request = leg.request
    if request.order_type is OrderType.LIMIT and prefix not in {"working", "pending"}:
        # The limit of a pair may only make; the venue has no other.
        leg = attrs.evolve(leg, request=attrs.evolve(request, post_only=True))
    extras = {_prefixed(prefix, name): value for name, value in _extras(leg).items() if name not in _OF_LISTS}
    return {**extras, f"{prefix}ClientOrderId": leg.client_order_id, **_terms(leg, prefix)}


def _above_below(legs: Sequence[Leg]) -> tuple[Leg, Leg]:
    """Return a pair by where its orders lie: the one that needs a higher price first."""
    if len({(leg.request.side, leg.quantity) for leg in legs}) > 1:
        raise NotSupportedError("a pair of Binance has one side and one quantity")
    first, second = sorted(legs, key=_level, reverse=True)
    return first, second


def _level(leg: Leg) -> Decimal:
    """Return where an order of a pair acts: a trailing stop below the market sells, above it buys."""
    request = leg.request
    level = request.trigger_price or request.price
    if request.order_type is _TRAILING:
        return Decimal(0) if request.side is Side.SELL else Decimal("Infinity")
    if level is None:
        raise NotSupportedError("an order of a pair has a price or a trigger price")
    return level
