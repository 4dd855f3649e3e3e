"""General and market data calls of the futures markets: what anybody may ask without a key.

developers.binance.com/docs/derivatives, market-data/rest-api (2026-05-28).
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from btx.model.instrument import InstrumentKind
from btx.model.market import Bar
from btx.model.order import Side
from btx.model.time import NS_PER_DAY, NS_PER_MS, Interval, from_ms, to_ms
from btx.sim.exchange import Listing
from btx.sim.market import PublicTrade, TradeFlow
from btx.sim.skin.text import JSON
from btx_binance.sim.futures import marks
from btx_binance.sim.futures.exchange_info import contract_type, exchange_info
from btx_binance.sim.futures.market import Dialect
from btx_binance.sim.futures.venue import FuturesVenue
from btx_binance.sim.futures.wire import pair_of, plain
from btx_binance.sim.market_data import INTERVALS
from btx_binance.sim.params import Param, Raw, choice, long, symbol
from btx_binance.sim.venue import Ask, Call, Security
from btx_binance.sim.wire import WireError, depth_levels

__all__ = ("calls", "kline_row", "ticker")

_DEPTHS = (5, 10, 20, 50, 100, 500, 1000)
_DEPTH_WEIGHTS = ((50, 2), (100, 5), (500, 10))
_KLINE_WEIGHTS = ((99, 1), (499, 2), (1000, 5))
_BASE_GRID = Decimal("0.00000001")


def _ping(_: FuturesVenue, __: Ask) -> JSON:
    return {}


def _time(venue: FuturesVenue, _: Ask) -> JSON:
    return {"serverTime": venue.wire_ms()}


def _exchange_info(venue: FuturesVenue, ask: Ask) -> JSON:
    shown = [venue.listing(venue_symbol) for venue_symbol in venue.market.venue_symbols]
    return exchange_info(shown, venue.dialect, venue.protocol, market_ns=ask.market_ns, server_time_ms=venue.wire_ms())


# --- book, trades, bars ----------------------------------------------------------------------------------


def _depth(venue: FuturesVenue, ask: Ask) -> JSON:
    instrument = venue.listing(ask["symbol"]).instrument
    limit = ask.get("limit", 500)
    if limit not in _DEPTHS:
        raise WireError(-4021, f"{limit} is not valid depth limit.")
    book = venue.market.book(instrument.venue_symbol, depth=limit)
    now_ms = to_ms(ask.market_ns)
    shown: JSON = {"lastUpdateId": book.sequence, "E": now_ms, "T": now_ms}
    if venue.dialect.is_inverse:
        shown |= {"symbol": instrument.venue_symbol, "pair": pair_of(instrument)}
    return shown | {"bids": _levels(book.bids), "asks": _levels(book.asks)}


def _levels(levels: Any) -> list[list[str]]:
    return [[plain(Decimal(price)), plain(Decimal(quantity))] for price, quantity in depth_levels(levels)]


def _depth_weight(sent: Mapping[str, Raw]) -> int:
    return next((weight for limit, weight in _DEPTH_WEIGHTS if _limit(sent, 500) <= limit), 20)


def _limit(sent: Mapping[str, Raw], default: int) -> int:
    text = str(sent.get("limit") or default)
    return int(text) if text.isdigit() else default


def _trades(venue: FuturesVenue, ask: Ask) -> list[JSON]:
    listing = venue.listing(ask["symbol"])
    trades = venue.market.trades(ask["symbol"], limit=ask.get("limit", 500), from_id=ask.get("fromId"))
    return [_trade(trade, listing) for trade in trades]


def _trade(trade: PublicTrade, listing: Listing) -> JSON:
    row: JSON = {
        "id": trade.trade_id,
        "price": plain(trade.price),
        "qty": plain(trade.quantity),
        "time": to_ms(trade.time_ns),
        "isBuyerMaker": trade.side is Side.SELL,
    }
    if listing.instrument.kind is InstrumentKind.INVERSE:
        return row | {"baseQty": plain(_base(trade.quantity, trade.price, listing))}
    return row | {"quoteQty": plain(trade.price * trade.quantity), "isRPITrade": False}


def _base(contracts: Decimal, price: Decimal, listing: Listing) -> Decimal:
    """Return what contracts are worth in the base coin."""
    return (contracts * listing.instrument.multiplier / price).quantize(_BASE_GRID)


def _agg_trades(venue: FuturesVenue, ask: Ask) -> list[JSON]:
    venue.listing(ask["symbol"])
    if "fromId" in ask.values and {"startTime", "endTime"} & ask.values.keys():
        raise WireError(-1128, "Combination of optional parameters invalid.")
    start_ns, end_ns = _span_ns(ask)
    trades = venue.market.trades(
        ask["symbol"], limit=ask.get("limit", 500), from_id=ask.get("fromId"), start_ns=start_ns, end_ns=end_ns
    )
    return [
        {
            "a": trade.trade_id,
            "p": plain(trade.price),
            "q": plain(trade.quantity),
            "f": trade.trade_id,
            "l": trade.trade_id,
            "T": to_ms(trade.time_ns),
            "m": trade.side is Side.SELL,
        }
        for trade in trades
    ]


def _klines(venue: FuturesVenue, ask: Ask) -> list[list[Any]]:
    listing = venue.listing(ask["symbol"])
    return [
        kline_row(bar, venue.market.flow(ask["symbol"], bar.open_ns, bar.close_ns), listing)
        for bar in _bars(venue, ask, ask["symbol"])
    ]


def _continuous_klines(venue: FuturesVenue, ask: Ask) -> list[list[Any]]:
    listing = _of_pair(venue, ask, contract=ask["contractType"])
    return [
        kline_row(bar, venue.market.flow(listing.venue_symbol, bar.open_ns, bar.close_ns), listing)
        for bar in _bars(venue, ask, listing.venue_symbol)
    ]


def _bars(venue: FuturesVenue, ask: Ask, venue_symbol: str) -> tuple[Bar, ...]:
    start_ns, end_ns = _span_ns(ask)
    limit = ask.get("limit", 500)
    bars = venue.market.klines(
        venue_symbol,
        Interval.parse(ask["interval"]),
        start_ns=start_ns,
        end_ns=end_ns,
        limit=limit + 1,  # the market counts a present bar that has no trade yet and does not show it
    )
    return bars[:limit] if start_ns is not None else bars[-limit:]


def kline_row(bar: Bar, flow: TradeFlow, listing: Listing) -> list[Any]:
    """Return the twelve columns of a kline; of COIN-M volumes are contracts and base coins."""
    if listing.instrument.kind is InstrumentKind.INVERSE:
        mean = (bar.quote_volume or Decimal(0)) / bar.volume if bar.volume else bar.close
        values = _base(bar.volume, mean, listing), _base(flow.taker_buy_volume, mean, listing)
    else:
        values = bar.quote_volume or Decimal(0), flow.taker_buy_quote_volume
    return [
        to_ms(bar.open_ns),
        plain(bar.open),
        plain(bar.high),
        plain(bar.low),
        plain(bar.close),
        plain(bar.volume),
        to_ms(bar.close_ns) - 1,
        plain(values[0]),
        bar.trades or 0,
        plain(flow.taker_buy_volume),
        plain(values[1]),
        "0",
    ]


def _kline_weight(sent: Mapping[str, Raw]) -> int:
    return next((weight for limit, weight in _KLINE_WEIGHTS if _limit(sent, 500) <= limit), 10)


def _span_ns(ask: Ask) -> tuple[int | None, int | None]:
    """Return the asked span as [start, end): the venue's ``endTime`` is inclusive."""
    start_ms, end_ms = ask.get("startTime"), ask.get("endTime")
    return (
        None if start_ms is None else from_ms(start_ms),
        None if end_ms is None else from_ms(end_ms) + NS_PER_MS,
    )


# --- prices and statistics -------------------------------------------------------------------------------


def _price(venue: FuturesVenue, ask: Ask) -> Any:
    def row(listing: Listing) -> JSON:
        last = venue.market.trades(listing.venue_symbol, limit=1)
        shown: JSON = {
            "symbol": listing.venue_symbol,
            "price": plain(venue.market.last_price(listing.venue_symbol)),
            "time": to_ms(last[-1].time_ns if last else ask.market_ns),
        }
        return shown | {"ps": pair_of(listing.instrument)} if venue.dialect.is_inverse else shown

    return _per_symbol(venue, ask, row)


def _book_ticker(venue: FuturesVenue, ask: Ask) -> Any:
    def row(listing: Listing) -> JSON:
        quote = venue.market.quote(listing.venue_symbol)
        shown: JSON = {
            "lastUpdateId": quote.sequence,
            "symbol": listing.venue_symbol,
            "bidPrice": plain(quote.bid_price),
            "bidQty": plain(quote.bid_quantity),
            "askPrice": plain(quote.ask_price),
            "askQty": plain(quote.ask_quantity),
            "time": to_ms(ask.market_ns),
        }
        return shown | {"pair": pair_of(listing.instrument)} if venue.dialect.is_inverse else shown

    return _per_symbol(venue, ask, row)


def _ticker_24h(venue: FuturesVenue, ask: Ask) -> Any:
    return _per_symbol(venue, ask, lambda listing: ticker(venue, listing, ask.market_ns))


def ticker(venue: FuturesVenue, listing: Listing, end_ns: int) -> JSON:
    """Return price change statistics of the last 24 hours."""
    start_ns = end_ns - NS_PER_DAY
    bar, flow = venue.market.statistics(listing.venue_symbol, start_ns, end_ns)
    last = venue.market.trades(listing.venue_symbol, limit=1)
    mean = flow.quote_volume / flow.volume if flow.volume else bar.close
    row: JSON = {
        "symbol": listing.venue_symbol,
        "priceChange": plain(bar.close - bar.open),
        "priceChangePercent": f"{(bar.close - bar.open) / bar.open * 100:.3f}",
        "weightedAvgPrice": f"{mean:.2f}",
        "lastPrice": plain(bar.close),
        "lastQty": plain(last[-1].quantity if last else None),
        "openPrice": plain(bar.open),
        "highPrice": plain(bar.high),
        "lowPrice": plain(bar.low),
        "volume": plain(flow.volume),
        "openTime": to_ms(start_ns),
        "closeTime": to_ms(end_ns),
        "firstId": flow.first_trade_id,
        "lastId": flow.last_trade_id,
        "count": flow.trades,
    }
    if venue.dialect.is_inverse:
        base = _base(flow.volume, mean, listing)
        return row | {"pair": pair_of(listing.instrument), "baseVolume": plain(base)}
    return row | {"quoteVolume": plain(flow.quote_volume)}


def _open_interest(venue: FuturesVenue, ask: Ask) -> JSON:
    """Nobody else's positions are modelled: it is what the simulator's accounts hold on the long side."""
    instrument = venue.listing(ask["symbol"]).instrument
    shown: JSON = {
        "symbol": instrument.venue_symbol,
        "openInterest": plain(venue.desk.open_interest(instrument.venue_symbol)),
        "time": to_ms(ask.market_ns),
    }
    if venue.dialect.is_inverse:
        shown |= {"pair": pair_of(instrument), "contractType": contract_type(instrument, ask.market_ns)}
    return shown


def _per_symbol(venue: FuturesVenue, ask: Ask, row: Any) -> Any:
    """Return one row of USD-M for ``symbol``, else a list; COIN-M answers with a list always."""
    if "symbol" in ask.values:
        shown = row(venue.listing(ask["symbol"]))
        return [shown] if venue.dialect.is_inverse else shown
    listings = [venue.listing(venue_symbol) for venue_symbol in venue.market.venue_symbols]
    if "pair" in ask.values:
        listings = [listing for listing in listings if pair_of(listing.instrument) == ask["pair"]]
    return [row(listing) for listing in listings]


def _of_pair(venue: FuturesVenue, ask: Ask, *, contract: str = "PERPETUAL") -> Listing:
    for listing in venue.desk.listings.values():
        if pair_of(listing.instrument) == ask["pair"] and contract_type(listing.instrument, ask.market_ns) == contract:
            return listing
    raise WireError(-4144, "Invalid pair.")


def _price_weight(sent: Mapping[str, Raw]) -> int:
    return 1 if "symbol" in sent else 2


def _book_ticker_weight(sent: Mapping[str, Raw]) -> int:
    return 2 if "symbol" in sent else 5


def _ticker_weight(sent: Mapping[str, Raw]) -> int:
    return 1 if "symbol" in sent else 40


def _interval() -> Param:
    return choice("interval", INTERVALS, error=(-1120, "Invalid interval."), mandatory=True)


_LIMIT = long("limit", maximum=1000)
_BARS_LIMIT = long("limit", maximum=1500)
_SPAN = (long("startTime"), long("endTime"))
_KLINES = (_interval(), *_SPAN, _BARS_LIMIT)
_CONTRACTS = ("PERPETUAL", "CURRENT_QUARTER", "NEXT_QUARTER")


def calls(dialect: Dialect) -> tuple[Call[FuturesVenue], ...]:
    """Return the public calls of a market."""
    root = f"{dialect.prefix}/v1"
    pair = Param(name="pair", convert=symbol().convert)
    which = (symbol(mandatory=False), *((pair,) if dialect.is_inverse else ()))
    prices = (f"{root}/ticker/price",) if dialect.is_inverse else (f"{root}/ticker/price", "/fapi/v2/ticker/price")
    return (
        Call(run=_ping, rest=("GET", f"{root}/ping")),
        Call(run=_time, rest=("GET", f"{root}/time")),
        Call(run=_exchange_info, rest=("GET", f"{root}/exchangeInfo")),
        Call(
            run=_depth,
            rest=("GET", f"{root}/depth"),
            method=None if dialect.is_inverse else "depth",
            params=(symbol(), long("limit")),
            weight=_depth_weight,
        ),
        Call(run=_trades, rest=("GET", f"{root}/trades"), params=(symbol(), _LIMIT), weight=5),
        Call(
            run=_trades,
            rest=("GET", f"{root}/historicalTrades"),
            params=(symbol(), long("fromId"), long("limit", maximum=500)),
            weight=20,
            security=Security.KEY,
        ),
        Call(
            run=_agg_trades,
            rest=("GET", f"{root}/aggTrades"),
            params=(symbol(), long("fromId"), *_SPAN, _LIMIT),
            weight=20,
        ),
        Call(run=_klines, rest=("GET", f"{root}/klines"), params=(symbol(), *_KLINES), weight=_kline_weight),
        Call(
            run=_continuous_klines,
            rest=("GET", f"{root}/continuousKlines"),
            params=(
                Param(name="pair", convert=symbol().convert, mandatory=True),
                choice("contractType", _CONTRACTS, error=(-4104, "Invalid contract type."), mandatory=True),
                *_KLINES,
            ),
            weight=_kline_weight,
        ),
        *(
            Call(
                run=_price,
                rest=("GET", path),
                method="ticker.price" if path.startswith("/fapi/v1") else None,
                params=which,
                weight=_price_weight,
            )
            for path in prices
        ),
        Call(
            run=_book_ticker,
            rest=("GET", f"{root}/ticker/bookTicker"),
            method=None if dialect.is_inverse else "ticker.book",
            params=which,
            weight=_book_ticker_weight,
        ),
        Call(run=_ticker_24h, rest=("GET", f"{root}/ticker/24hr"), params=which, weight=_ticker_weight),
        Call(run=_open_interest, rest=("GET", f"{root}/openInterest"), params=(symbol(),)),
        *marks.calls(dialect),
    )
