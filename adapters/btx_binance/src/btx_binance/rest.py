"""Store, Broker and Feed over Binance's REST, through the session's one ccxt instance.

ccxt signs and sends; the answers are read raw by :mod:`btx_binance.codec`, because
what ccxt makes of them are floats.
"""

import json
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

import attrs
import ccxt.pro

from btx.bridges.ccxt import Client, Operation, Throttle
from btx.errors import DataError, NotSupportedError, UnknownSymbolError
from btx.model.account import AccountSnapshot
from btx.model.instrument import Instrument
from btx.model.market import Bar, BookSnapshot, Trade
from btx.model.order import Fill, Leg, OrderReport, OrderType, Receipt, TimeInForce
from btx.model.time import Interval, to_ms
from btx.model.venue import Environment
from btx.ports import Context
from btx_binance import codec
from btx_binance.config import endpoints, require_keys
from btx_binance.errors import VERDICTS
from btx_binance.limits import BOOK_DEPTH, OPEN_ORDERS_EACH, PAGE

__all__ = ("Api", "BinanceBroker", "BinanceFeed", "BinanceStore", "api")

T = TypeVar("T")

_SHARED = "btx_binance.api"
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
    """Orders of Binance spot: MARKET, LIMIT, and LIMIT that only makes."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._api = api(context)

    async def place(self, *, leg: Leg) -> Receipt:
        """Hand one order over; see :meth:`btx.ports.Broker.place`."""
        require_keys(self._context)
        params = {**{key: str(value) for key, value in leg.request.params.items()}, **_order_params(leg)}
        answer = await self._api.client.ask("privatePostOrder", params, operation=Operation.PLACE)
        order_id = answer.get("orderId")  # whatever the answer lacks: it was taken, and may not look like a failure
        return Receipt(venue_order_id=None if order_id is None else str(order_id))

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
        fills = (codec.my_trade(each, symbol=instrument.symbol, client_order_id=leg.client_order_id) for each in rows)
        return (*fills, report)

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
        return tuple(codec.order_report(row, symbol=symbols[row["symbol"]]) for row in rows if row["symbol"] in symbols)

    async def _my_trades(self, venue_symbol: str, order_id: str) -> list[Mapping[str, Any]]:
        rows: list[Mapping[str, Any]] = []
        params: dict[str, Any] = {"symbol": venue_symbol, "orderId": order_id, "limit": PAGE}
        while True:
            page = await self._api.client.ask("privateGetMyTrades", params)
            rows.extend(page)
            if len(page) < PAGE:
                return rows
            params["fromId"] = int(page[-1]["id"]) + 1


class BinanceFeed:
    """History of Binance spot."""

    def __init__(self, context: Context) -> None:
        self._clock = context.clock
        self._api = api(context)

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
    ) -> AsyncIterator[Trade]:
        """Yield aggregate trades from an id or a time on, oldest first, to the newest there is."""
        params: dict[str, Any] = {"symbol": instrument.venue_symbol, "limit": PAGE}
        if start_id is not None:
            params["fromId"] = start_id
        elif start_ns is not None:
            params["startTime"] = -to_ms(-start_ns)
        while True:
            rows = await self._api.client.ask("publicGetAggTrades", params)
            for row in rows:
                yield _read(codec.agg_trade, row, symbol=instrument.symbol)
            if len(rows) < PAGE:
                return
            params.pop("startTime", None)
            params["fromId"] = int(rows[-1]["a"]) + 1


def _read(decode: Callable[..., T], raw: Any, **context: Any) -> T:
    """Return what ``decode`` makes of an answer.

    Raises:
        DataError: the answer has another shape than the documentation's.
    """
    try:
        return decode(raw, **context)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise DataError(f"Binance's answer cannot be read: {error!r} in {str(raw)[:200]}") from error


def _venue_symbol(symbol: str) -> str:
    """Return Binance's text for a spot symbol: the two assets, one after the other."""
    return symbol.replace("/", "")


def _order_params(leg: Leg) -> dict[str, str]:
    """Return the parameters of ``POST order``. ACK only: states come from the stream, each once."""
    request = leg.request
    params = {
        "symbol": request.instrument.venue_symbol,
        "side": request.side.value,
        "type": _order_type(leg),
        "quantity": codec.plain(leg.quantity),
        "newClientOrderId": leg.client_order_id,
        "newOrderRespType": "ACK",
    }
    if request.order_type is OrderType.LIMIT:
        if request.price is None:
            raise NotSupportedError("a limit order needs a price")
        params["price"] = codec.plain(request.price)
        if not request.post_only:
            params["timeInForce"] = _TIMES_IN_FORCE[request.time_in_force]
    return params


def _order_type(leg: Leg) -> str:
    request = leg.request
    if request.order_type is OrderType.MARKET and not request.post_only:
        return "MARKET"
    if request.order_type is not OrderType.LIMIT:
        raise NotSupportedError(f"Binance spot orders of type {request.order_type.value} are not supported yet")
    if request.time_in_force not in _TIMES_IN_FORCE:
        raise NotSupportedError(f"Binance spot knows no time in force {request.time_in_force.value}")
    if not request.post_only:
        return "LIMIT"
    if request.time_in_force is not TimeInForce.GTC:
        raise NotSupportedError("a post-only order rests: its time in force is GTC")
    return "LIMIT_MAKER"
