"""General and market data calls: what anybody may ask without a key."""

from collections.abc import Mapping
from typing import Any

from btx.model.market import Bar
from btx.model.order import Side
from btx.model.time import NS_PER_DAY, NS_PER_MINUTE, NS_PER_MS, Interval, IntervalUnit, from_ms, to_ms
from btx.sim.exchange import Listing
from btx.sim.market import PublicTrade, TradeFlow
from btx.sim.skin.text import JSON
from btx_binance.sim import wire
from btx_binance.sim.exchange_info import exchange_info
from btx_binance.sim.params import Param, Raw, boolean, choice, long, names, symbol
from btx_binance.sim.venue import Ask, Call, Venue
from btx_binance.sim.wire import WireError

__all__ = ("AVERAGE_MINUTES", "CALLS", "INTERVALS", "kline_row", "ticker")

INTERVALS = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M")
AVERAGE_MINUTES = 5
_PERMISSIONS = ("SPOT", "MARGIN", "LEVERAGED")
_BAD_COMBINATION = (-1128, "Combination of optional parameters invalid.")


def _ping(_: Venue, __: Ask) -> JSON:
    return {}


def _time(venue: Venue, _: Ask) -> JSON:
    return {"serverTime": venue.wire_ms()}


def _exchange_info(venue: Venue, ask: Ask) -> JSON:
    if len({"symbol", "symbols", "permissions"} & ask.values.keys()) > 1:
        raise WireError(*_BAD_COMBINATION)
    shown = [venue.listing(venue_symbol) for venue_symbol in _asked(ask) or venue.market.venue_symbols]
    if "SPOT" not in ask.get("permissions", _PERMISSIONS):
        shown = []
    return exchange_info(shown, venue.wire_ms())


# --- book, trades, bars ----------------------------------------------------------------------------------


def _depth(venue: Venue, ask: Ask) -> JSON:
    listing = venue.listing(ask["symbol"])
    book = venue.market.book(listing.venue_symbol, depth=max(ask.get("limit", 100), 1))
    return {
        "lastUpdateId": book.sequence,
        "bids": wire.depth_levels(book.bids),
        "asks": wire.depth_levels(book.asks),
    }


# rest-api.md, "Order book": weight by limit.
_DEPTH_WEIGHTS = ((100, 5), (500, 25), (1000, 50))


def _depth_weight(sent: Mapping[str, Raw]) -> int:
    try:
        limit = int(str(sent.get("limit") or 100))
    except ValueError:
        return 5
    return next((weight for levels, weight in _DEPTH_WEIGHTS if limit <= levels), 250)


def _trades(venue: Venue, ask: Ask) -> list[JSON]:
    venue.listing(ask["symbol"])
    trades = venue.market.trades(ask["symbol"], limit=ask.get("limit", 500), from_id=ask.get("fromId"))
    return [
        {
            "id": trade.trade_id,
            "price": wire.number(trade.price),
            "qty": wire.number(trade.quantity),
            "quoteQty": wire.number(trade.price * trade.quantity),
            "time": to_ms(trade.time_ns),
            "isBuyerMaker": trade.side is Side.SELL,
            "isBestMatch": True,
        }
        for trade in trades
    ]


def _agg_trades(venue: Venue, ask: Ask) -> list[JSON]:
    venue.listing(ask["symbol"])
    if "fromId" in ask.values and {"startTime", "endTime"} & ask.values.keys():
        raise WireError(*_BAD_COMBINATION)
    start_ns, end_ns = _span_ns(ask)
    trades = venue.market.trades(
        ask["symbol"],
        limit=ask.get("limit", 500),
        from_id=ask.get("fromId"),
        start_ns=start_ns,
        end_ns=end_ns,
    )
    return [_agg_trade(trade) for trade in trades]


def _agg_trade(trade: PublicTrade) -> JSON:
    return {
        "a": trade.trade_id,
        "p": wire.number(trade.price),
        "q": wire.number(trade.quantity),
        "f": trade.trade_id,
        "l": trade.trade_id,
        "T": to_ms(trade.time_ns),
        "m": trade.side is Side.SELL,
        "M": True,
    }


def _klines(venue: Venue, ask: Ask) -> list[list[Any]]:
    venue.listing(ask["symbol"])
    start_ns, end_ns = _span_ns(ask)
    limit = ask.get("limit", 500)
    bars = venue.market.klines(
        ask["symbol"],
        Interval.parse(ask["interval"]),
        start_ns=start_ns,
        end_ns=end_ns,
        limit=limit + 1,  # the market counts a present bar that has no trade yet and does not show it
    )
    bars = bars[:limit] if start_ns is not None else bars[-limit:] if limit else ()
    return [kline_row(bar, venue.market.flow(ask["symbol"], bar.open_ns, bar.close_ns)) for bar in bars]


def kline_row(bar: Bar, flow: TradeFlow) -> list[Any]:
    """Return the twelve columns of a kline."""
    return [
        to_ms(bar.open_ns),
        wire.number(bar.open),
        wire.number(bar.high),
        wire.number(bar.low),
        wire.number(bar.close),
        wire.number(bar.volume),
        to_ms(bar.close_ns) - 1,
        wire.number(bar.quote_volume),
        bar.trades or 0,
        wire.number(flow.taker_buy_volume),
        wire.number(flow.taker_buy_quote_volume),
        "0",
    ]


def _span_ns(ask: Ask) -> tuple[int | None, int | None]:
    """Return the asked span as [start, end): the venue's ``endTime`` is inclusive."""
    start_ms, end_ms = ask.get("startTime"), ask.get("endTime")
    return (
        None if start_ms is None else from_ms(start_ms),
        None if end_ms is None else from_ms(end_ms) + NS_PER_MS,
    )


# --- prices and statistics -------------------------------------------------------------------------------


def _average_price(venue: Venue, ask: Ask) -> JSON:
    venue.listing(ask["symbol"])
    last = venue.market.trades(ask["symbol"], limit=1)
    return {
        "mins": AVERAGE_MINUTES,
        "price": wire.number(venue.market.average_price(ask["symbol"], AVERAGE_MINUTES)),
        "closeTime": to_ms(last[-1].time_ns if last else ask.market_ns),
    }


def _price(venue: Venue, ask: Ask) -> Any:
    return _per_symbol(
        venue,
        ask,
        lambda listing: {
            "symbol": listing.venue_symbol,
            "price": wire.number(venue.market.last_price(listing.venue_symbol)),
        },
    )


def _book_ticker(venue: Venue, ask: Ask) -> Any:
    def row(listing: Listing) -> JSON:
        quote = venue.market.quote(listing.venue_symbol)
        return {
            "symbol": listing.venue_symbol,
            "bidPrice": wire.number(quote.bid_price),
            "bidQty": wire.number(quote.bid_quantity),
            "askPrice": wire.number(quote.ask_price),
            "askQty": wire.number(quote.ask_quantity),
        }

    return _per_symbol(venue, ask, row)


def _ticker_24h(venue: Venue, ask: Ask) -> Any:
    def row(listing: Listing) -> JSON:
        end_ns = ask.market_ns
        return ticker(venue, listing, end_ns - NS_PER_DAY, end_ns, is_mini=_is_mini(ask), with_quote=True)

    return _per_symbol(venue, ask, row)


def _trading_day(venue: Venue, ask: Ask) -> Any:
    def row(listing: Listing) -> JSON:
        start_ns = ask.market_ns // NS_PER_DAY * NS_PER_DAY
        return ticker(venue, listing, start_ns, start_ns + NS_PER_DAY, is_mini=_is_mini(ask))

    return _per_symbol(venue, ask, row, is_mandatory=True)


def _rolling(venue: Venue, ask: Ask) -> Any:
    window = Interval.parse(ask.get("windowSize", "1d"))

    def row(listing: Listing) -> JSON:
        end_ns = ask.market_ns
        start_ns = (end_ns - window.nominal_ns) // NS_PER_MINUTE * NS_PER_MINUTE
        return ticker(venue, listing, start_ns, end_ns, is_mini=_is_mini(ask))

    return _per_symbol(venue, ask, row, is_mandatory=True)


def _is_mini(ask: Ask) -> bool:
    return bool(ask.get("type") == "MINI")


def ticker(
    venue: Venue, listing: Listing, start_ns: int, end_ns: int, *, is_mini: bool, with_quote: bool = False
) -> JSON:
    """Return price change statistics of a span, as the ticker endpoints show them."""
    number = wire.number
    bar, flow = venue.market.statistics(listing.venue_symbol, start_ns, end_ns)
    row: JSON = {"symbol": listing.venue_symbol}
    if not is_mini:
        row |= {
            "priceChange": number(bar.close - bar.open),
            "priceChangePercent": f"{(bar.close - bar.open) / bar.open * 100:.3f}",
            "weightedAvgPrice": number(flow.quote_volume / flow.volume if flow.volume else bar.close),
        }
    if with_quote and not is_mini:
        quote = venue.market.quote(listing.venue_symbol)
        last = venue.market.trades(listing.venue_symbol, limit=1)
        row |= {
            "prevClosePrice": number(bar.open),
            "lastPrice": number(bar.close),
            "lastQty": number(last[-1].quantity if last else None),
            "bidPrice": number(quote.bid_price),
            "bidQty": number(quote.bid_quantity),
            "askPrice": number(quote.ask_price),
            "askQty": number(quote.ask_quantity),
        }
    return row | {
        "openPrice": number(bar.open),
        "highPrice": number(bar.high),
        "lowPrice": number(bar.low),
        "lastPrice": number(bar.close),
        "volume": number(flow.volume),
        "quoteVolume": number(flow.quote_volume),
        "openTime": to_ms(start_ns),
        "closeTime": to_ms(end_ns),
        "firstId": flow.first_trade_id,
        "lastId": flow.last_trade_id,
        "count": flow.trades,
    }


def _asked(ask: Ask) -> tuple[str, ...]:
    """Return the symbols a call names, none when it names none."""
    return (ask["symbol"],) if "symbol" in ask.values else ask.get("symbols", ())


def _per_symbol(venue: Venue, ask: Ask, row: Any, *, is_mandatory: bool = False) -> Any:
    """Return one row for ``symbol``, a list of rows for ``symbols`` or for none."""
    if {"symbol", "symbols"} <= ask.values.keys():
        raise WireError(*_BAD_COMBINATION)
    asked = _asked(ask)
    if is_mandatory and not asked:
        raise WireError(-1102, "Param 'symbol' or 'symbols' must be sent, but both were empty/null!")
    rows = [row(venue.listing(venue_symbol)) for venue_symbol in asked or venue.market.venue_symbols]
    return rows[0] if "symbol" in ask.values else rows


def _count(sent: Mapping[str, Raw]) -> int | None:
    """Return how many symbols a call names; None for all of them."""
    listed = sent.get("symbols")
    if listed is None:
        return None if "symbol" not in sent else 1
    return len(listed) if isinstance(listed, list) else str(listed).count(",") + 1


def _price_weight(sent: Mapping[str, Raw]) -> int:
    return 2 if "symbol" in sent else 4


def _ticker_weight(sent: Mapping[str, Raw]) -> int:
    count = _count(sent)
    if count is None:
        return 80
    return 2 if count <= 20 else 40 if count <= 100 else 80


def _window_weight(sent: Mapping[str, Raw]) -> int:
    return min(4 * (_count(sent) or 1), 200)


def _interval(name: str) -> Param:
    return choice(name, INTERVALS, error=(-1120, "Invalid interval."), mandatory=True)


_WINDOWS = (
    *(f"{count}{IntervalUnit.MINUTE.value}" for count in range(1, 60)),
    *(f"{count}{IntervalUnit.HOUR.value}" for count in range(1, 24)),
    *(f"{count}{IntervalUnit.DAY.value}" for count in range(1, 8)),
)
_LIMIT = long("limit", maximum=1000)
_SPAN = (long("startTime"), long("endTime"))
_UTC = choice("timeZone", ("0", "0:00", "00:00", "+0", "-0"))
_SYMBOLS = (symbol(mandatory=False), names("symbols"), choice("symbolStatus", ("TRADING", "HALT", "BREAK")))
_TYPE = choice("type", ("FULL", "MINI"), error=(-1139, "Invalid ticker type."))
_KLINES = (symbol(), _interval("interval"), *_SPAN, _UTC, _LIMIT)

CALLS: tuple[Call[Venue], ...] = (
    Call(run=_ping, rest=("GET", "/api/v3/ping"), method="ping"),
    Call(run=_time, rest=("GET", "/api/v3/time"), method="time"),
    Call(
        run=_exchange_info,
        rest=("GET", "/api/v3/exchangeInfo"),
        method="exchangeInfo",
        params=(*_SYMBOLS, names("permissions"), boolean("showPermissionSets")),
        weight=20,
    ),
    Call(
        run=_depth,
        rest=("GET", "/api/v3/depth"),
        method="depth",
        params=(symbol(), long("limit", maximum=5000)),
        weight=_depth_weight,
    ),
    Call(
        run=_trades,
        rest=("GET", "/api/v3/trades"),
        method="trades.recent",
        params=(symbol(), _LIMIT),
        weight=25,
    ),
    Call(
        run=_trades,
        rest=("GET", "/api/v3/historicalTrades"),
        method="trades.historical",
        params=(symbol(), long("fromId"), _LIMIT),
        weight=25,
    ),
    Call(
        run=_agg_trades,
        rest=("GET", "/api/v3/aggTrades"),
        method="trades.aggregate",
        params=(symbol(), long("fromId"), *_SPAN, _LIMIT),
        weight=4,
    ),
    Call(run=_klines, rest=("GET", "/api/v3/klines"), method="klines", params=_KLINES, weight=2),
    Call(run=_klines, rest=("GET", "/api/v3/uiKlines"), method="uiKlines", params=_KLINES, weight=2),
    Call(
        run=_average_price,
        rest=("GET", "/api/v3/avgPrice"),
        method="avgPrice",
        params=(symbol(),),
        weight=2,
    ),
    Call(
        run=_ticker_24h,
        rest=("GET", "/api/v3/ticker/24hr"),
        method="ticker.24hr",
        params=(*_SYMBOLS, _TYPE),
        weight=_ticker_weight,
    ),
    Call(
        run=_trading_day,
        rest=("GET", "/api/v3/ticker/tradingDay"),
        method="ticker.tradingDay",
        params=(*_SYMBOLS, _TYPE, _UTC),
        weight=_window_weight,
    ),
    Call(
        run=_rolling,
        rest=("GET", "/api/v3/ticker"),
        method="ticker",
        params=(*_SYMBOLS, _TYPE, choice("windowSize", _WINDOWS)),
        weight=_window_weight,
    ),
    Call(
        run=_price,
        rest=("GET", "/api/v3/ticker/price"),
        method="ticker.price",
        params=_SYMBOLS,
        weight=_price_weight,
    ),
    Call(
        run=_book_ticker,
        rest=("GET", "/api/v3/ticker/bookTicker"),
        method="ticker.book",
        params=_SYMBOLS,
        weight=_price_weight,
    ),
)
