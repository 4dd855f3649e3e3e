"""Public market data: time, bars, tickers, books, trades, funding, open interest (docs/v5/market, 2025)."""

import itertools
from collections.abc import Callable, Iterable
from decimal import Decimal

from btx.model.market import Bar
from btx.model.order import Side
from btx.model.time import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE, NS_PER_MS, NS_PER_S, Interval, from_ms, to_ms
from btx.sim.orders import Listing
from btx.sim.skin.text import JSON
from btx_bybit.sim.errors import invalid_category, unknown_symbol
from btx_bybit.sim.instruments import CATEGORY, CONTRACTS
from btx_bybit.sim.listings import CATEGORIES, LINEAR, contract_of, pair_of
from btx_bybit.sim.params import Param, choice, integer, text
from btx_bybit.sim.rows import side_text, usd_price
from btx_bybit.sim.tickers import best_levels, contract_ticker, open_interest, spot_ticker, turnover
from btx_bybit.sim.trade_ids import public_trade_id
from btx_bybit.sim.venue import Ask, Call, Venue
from btx_bybit.sim.wire import WireError, grid, plain

__all__ = ("CALLS", "INTERVALS", "bar_values", "book_levels", "ticker_row")

INTERVALS = {
    **{str(minutes): Interval.parse(f"{minutes}m") for minutes in (1, 3, 5, 15, 30)},
    **{str(hours * 60): Interval.parse(f"{hours}h") for hours in (1, 2, 4, 6, 12)},
    "D": Interval.parse("1d"),
    "W": Interval.parse("1w"),
    "M": Interval.parse("1M"),
}
"""The venue's words for the lengths of bars."""

_INTEREST_NS = {
    "5min": 5 * NS_PER_MINUTE,
    "15min": 15 * NS_PER_MINUTE,
    "30min": 30 * NS_PER_MINUTE,
    "1h": NS_PER_HOUR,
    "4h": 4 * NS_PER_HOUR,
    "1d": NS_PER_DAY,
}
_ZERO = Decimal(0)
_CENT = Decimal("0.00000001")
_RATIO = Decimal("0.000001")
_LOOKS = 4  # marks of a bar that is made of them: at its open, within it, and at its close
_SPOT_TRADES = 60  # "limit" of recent-trade: at most and usually (docs/v5/market/recent-trade.mdx, 2025)
_KEPT_NS = 365 * NS_PER_DAY  # how far back made-up rates are told


def _time(venue: Venue, _: Ask) -> JSON:
    now_ns = venue.world.wire_ns()
    return {"timeSecond": str(now_ns // NS_PER_S), "timeNano": str(now_ns)}


def _listing(venue: Venue, ask: Ask) -> Listing:
    category = ask.get("category", LINEAR)  # "When category is not passed, use linear by default", of bars, 2025
    if category != venue.category:
        raise unknown_symbol(is_spot=category == "spot")
    return venue.listing(ask["symbol"])


# --- bars ------------------------------------------------------------------------------------------------


def _kline(venue: Venue, ask: Ask) -> JSON:
    listing, interval = _listing(venue, ask), INTERVALS[ask["interval"]]
    limit = ask.get("limit", 200)
    start_ns, end_ns = _opens(ask)
    if start_ns is not None and end_ns is None:
        bars = venue.market.klines(listing.venue_symbol, interval, start_ns=start_ns, limit=limit)
    else:
        bars = venue.market.klines(listing.venue_symbol, interval, end_ns=end_ns, limit=limit)
        bars = tuple(bar for bar in bars if start_ns is None or bar.open_ns >= start_ns)
    rows = [bar_values(listing, bar) for bar in reversed(bars)]
    return {"symbol": listing.venue_symbol, "category": venue.category, "list": rows}


def _opens(ask: Ask) -> tuple[int | None, int | None]:
    """Return the bars' first and last opening time of a request, the last one not included."""
    start, end = ask.get("start"), ask.get("end")
    return None if start is None else from_ms(start), None if end is None else from_ms(end) + NS_PER_MS


def bar_values(listing: Listing, bar: Bar) -> list[str]:
    """Return a bar as the venue lists it: of inverse contracts volume counts dollars, and turnover coins."""
    tick = listing.instrument.tick_size
    worth = turnover(listing.instrument, bar.volume, bar.quote_volume or _ZERO)
    prices = (grid(price, tick) for price in (bar.open, bar.high, bar.low, bar.close))
    return [str(to_ms(bar.open_ns)), *prices, plain(bar.volume), plain(worth.quantize(_CENT))]


def _price_kline(price: str) -> Callable[[Venue, Ask], JSON]:
    """Return what answers bars of the mark or the index price, which are made of a few looks at it."""

    def run(venue: Venue, ask: Ask) -> JSON:
        listing, interval = _listing(venue, ask), INTERVALS[ask["interval"]]
        start_ns, end_ns = _opens(ask)
        bars = venue.market.klines(
            listing.venue_symbol, interval, start_ns=start_ns, end_ns=end_ns, limit=ask.get("limit", 200)
        )
        rows = []
        for bar in reversed(bars):
            close_ns = min(interval.close_of(bar.open_ns), venue.market.now_ns)
            span_ns = close_ns - bar.open_ns
            looks = [
                getattr(venue.world.mark_at(listing.venue_symbol, bar.open_ns + span_ns * step // _LOOKS), price)
                for step in range(_LOOKS + 1)
            ]
            values = (looks[0], max(looks), min(looks), looks[-1])
            tick = listing.instrument.tick_size
            rows.append([str(to_ms(bar.open_ns)), *(grid(each, tick) for each in values)])
        return {"symbol": listing.venue_symbol, "category": venue.category, "list": rows}

    return run


# --- tickers ---------------------------------------------------------------------------------------------


def _tickers(venue: Venue, ask: Ask) -> JSON:
    category, wanted = ask["category"], ask.get("symbol")
    listed = venue.engine.listings if category == venue.category else {}
    if wanted is not None and wanted not in listed:
        raise unknown_symbol(is_spot=category == "spot")
    rows = [
        ticker_row(venue, listing)
        for symbol, listing in listed.items()
        if wanted in {None, symbol} and ask.get("baseCoin", listing.instrument.base) == listing.instrument.base
    ]
    return {"category": category, "list": rows}


def ticker_row(venue: Venue, listing: Listing) -> JSON:
    """Return what the last 24 hours were and what stands now: what the topic tells, and what REST says besides."""
    symbol, instrument = listing.venue_symbol, listing.instrument
    if venue.is_spot:
        return spot_ticker(venue.world, symbol) | {
            **best_levels(venue.world, symbol),
            "usdIndexPrice": plain(usd_price(venue, instrument.base)),
        }
    told = contract_ticker(venue.world, symbol)
    row = {name: value for name, value in told.items() if name not in _ONLY_TOLD}
    is_dated = instrument.delivery_ns is not None
    last, index = venue.last_price(symbol), venue.desk.mark(symbol).index_price
    return row | {
        "predictedDeliveryPrice": grid(index, instrument.tick_size) if is_dated else "",
        "basisRate": plain(((last - index) / index).quantize(_CENT)) if is_dated else "",
        "basis": plain(last - index) if is_dated else "",
        "basisRateYear": "",
        "deliveryFeeRate": plain(listing.fees.taker) if is_dated else "",
        "deliveryTime": "0" if instrument.delivery_ns is None else str(to_ms(instrument.delivery_ns)),
    }


_ONLY_TOLD = frozenset({"tickDirection", "singleOpenInterest", "singleOpenInterestValue"})


# --- books and trades ------------------------------------------------------------------------------------


def _book(venue: Venue, ask: Ask) -> JSON:
    listing = _listing(venue, ask)
    symbol = listing.venue_symbol
    depth = ask.get("limit", 1 if venue.is_spot else 25)
    number = venue.market.update_id(symbol)
    return {
        "s": symbol,
        "b": book_levels(listing, itertools.islice(venue.market.levels(symbol, Side.BUY), depth)),
        "a": book_levels(listing, itertools.islice(venue.market.levels(symbol, Side.SELL), depth)),
        "ts": to_ms(venue.market.now_ns),
        "u": number,
        "seq": number,
        "cts": to_ms(venue.market.now_ns),
    }


def book_levels(listing: Listing, levels: Iterable[tuple[Decimal, Decimal]]) -> list[list[str]]:
    """Return levels of a book as texts; a size of 0 takes a level off."""
    tick = listing.instrument.tick_size
    return [[grid(price, tick), plain(quantity)] for price, quantity in levels]


def _trades(venue: Venue, ask: Ask) -> JSON:
    listing = _listing(venue, ask)
    symbol = listing.venue_symbol
    usual, most = (_SPOT_TRADES, _SPOT_TRADES) if venue.is_spot else (500, 1000)
    trades = venue.market.trades(symbol, limit=min(ask.get("limit", usual), most))
    rows = [
        {
            "execId": public_trade_id(venue.category, symbol, trade.trade_id),
            "symbol": symbol,
            "price": grid(trade.price, listing.instrument.tick_size),
            "size": plain(trade.quantity),
            "side": side_text(trade.side),
            "time": str(to_ms(trade.time_ns)),
            "isBlockTrade": False,
            "isRPITrade": False,
            "seq": str(trade.trade_id),
        }
        for trade in reversed(trades)
    ]
    return {"category": venue.category, "list": rows}


# --- funding, open interest, the rest --------------------------------------------------------------------


def _fundings(venue: Venue, ask: Ask) -> JSON:
    listing = _listing(venue, ask)
    if "startTime" in ask.values and "endTime" not in ask.values:
        raise WireError(10001, "params error: endTime is required with startTime")
    limit = ask.get("limit", 200)
    until_ns = min(from_ms(ask["endTime"]) if "endTime" in ask.values else ask.market_ns, ask.market_ns)
    reach_ns = limit * listing.funding_interval_ns
    after_ns = from_ms(ask["startTime"]) - 1 if "startTime" in ask.values else until_ns - reach_ns
    rates = venue.desk.funding_rates(
        listing.venue_symbol, after_ns=max(after_ns, ask.market_ns - _KEPT_NS), until_ns=until_ns
    )
    rows = [
        {
            "symbol": listing.venue_symbol,
            "fundingRate": plain(rate.rate),
            "fundingRateTimestamp": str(to_ms(rate.time_ns)),
        }
        for rate in reversed(rates[-limit:])
    ]
    return {"category": venue.category, "list": rows}


def _interest(venue: Venue, ask: Ask) -> JSON:
    """What was held before nobody noted: the figure of now is told once."""
    listing = _listing(venue, ask)
    step_ns = _INTEREST_NS[ask["intervalTime"]]
    row = {
        "openInterest": f"{open_interest(venue.world, listing.venue_symbol):.8f}",
        "timestamp": str(to_ms(ask.market_ns - ask.market_ns % step_ns)),
    }
    return {"symbol": listing.venue_symbol, "category": venue.category, "list": [row], "nextPageCursor": ""}


def _insurance(venue: Venue, ask: Ask) -> JSON:
    if venue.is_spot:
        return {"updatedTime": str(to_ms(ask.market_ns)), "list": []}
    fund = venue.desk.house().insurance
    by_coin: dict[str, list[str]] = {}
    for listing in venue.desk.listings.values():
        by_coin.setdefault(listing.instrument.settle, []).append(listing.venue_symbol)
    rows = [
        {
            "coin": coin,
            "symbols": ",".join(symbols),
            "balance": plain(fund[coin]),
            "value": plain((fund[coin] * usd_price(venue, coin)).quantize(_CENT)),
        }
        for coin, symbols in by_coin.items()
        if ask.get("coin", coin) == coin
    ]
    return {"updatedTime": str(to_ms(ask.market_ns)), "list": rows}


def _price_limit(venue: Venue, ask: Ask) -> JSON:
    listing = _listing(venue, ask)
    symbol, tick = listing.venue_symbol, listing.instrument.tick_size
    ratio = (pair_of if venue.is_spot else contract_of)(listing.instrument).ratio_y
    base = venue.last_price(symbol) if venue.is_spot else venue.desk.mark(symbol).mark_price
    return {
        "symbol": symbol,
        "buyLmt": grid(base * (1 + ratio), tick),
        "sellLmt": grid(base * (1 - ratio), tick),
        "ts": str(to_ms(ask.market_ns)),
    }


_SYMBOL = text("symbol", mandatory=True)
_OPTIONAL_CATEGORY = choice("category", (*CATEGORIES, "option"), error=invalid_category())
_BARS = (
    _OPTIONAL_CATEGORY,
    _SYMBOL,
    choice("interval", INTERVALS, mandatory=True),
    integer("start"),
    integer("end"),
    integer("limit", least=1, most=1000),
)


def _call(run: Callable[[Venue, Ask], JSON], path: str, *params: Param) -> Call:
    return Call(run=run, rest=("GET", f"/v5/market/{path}"), params=params)


CALLS: tuple[Call, ...] = (
    _call(_time, "time"),
    _call(_kline, "kline", *_BARS),
    _call(_price_kline("mark_price"), "mark-price-kline", *_BARS),
    _call(_price_kline("index_price"), "index-price-kline", *_BARS),
    _call(_tickers, "tickers", CATEGORY, text("symbol"), text("baseCoin"), text("expDate")),
    _call(_book, "orderbook", CATEGORY, _SYMBOL, integer("limit", least=1, most=1000)),
    _call(_trades, "recent-trade", CATEGORY, _SYMBOL, integer("limit", least=1, most=1000)),
    _call(
        _fundings,
        "funding/history",
        CONTRACTS,
        _SYMBOL,
        integer("startTime"),
        integer("endTime"),
        integer("limit", least=1, most=200),
    ),
    _call(
        _interest,
        "open-interest",
        CONTRACTS,
        _SYMBOL,
        choice("intervalTime", _INTEREST_NS, mandatory=True),
        integer("startTime"),
        integer("endTime"),
        integer("limit", least=1, most=200),
        text("cursor"),
    ),
    _call(_insurance, "insurance", text("coin")),
    _call(_price_limit, "price-limit", _OPTIONAL_CATEGORY, _SYMBOL),
)
"""Market data."""
