"""What the venue says of a symbol's last 24 hours and of how it stands now, over REST and sockets alike.

docs/v5/market/tickers.mdx and docs/v5/websocket/public/ticker.mdx (2025), and frames recorded at the venue on
2026-09-30.  The open interest is the long side of this simulator's accounts, counted twice as the venue counts it.
"""

from decimal import Decimal

from btx.model.instrument import Instrument, InstrumentKind
from btx.model.time import NS_PER_DAY, NS_PER_HOUR, to_ms
from btx.rules.money import EXACT
from btx.sim.market import Market, base_volume
from btx.sim.skin.text import JSON
from btx.sim.world import World
from btx_bybit.sim.listings import contract_of
from btx_bybit.sim.wire import grid, plain

__all__ = (
    "best_levels",
    "contract_ticker",
    "open_interest",
    "price_text",
    "quantity_text",
    "spot_ticker",
    "tick_direction",
    "turnover",
)

_LOOK_BACK = 20
_MINUTES_AN_HOUR = 60
_SHARE = Decimal("0.000001")


def price_text(instrument: Instrument, price: Decimal | None) -> str:
    """Return a price: on spot without padding, elsewhere with the decimals of its tick."""
    return plain(price) if instrument.kind is InstrumentKind.SPOT else grid(price, instrument.tick_size)


def quantity_text(instrument: Instrument, quantity: Decimal | None) -> str:
    """Return a quantity: on spot without padding, elsewhere with the decimals of its step."""
    return plain(quantity) if instrument.kind is InstrumentKind.SPOT else grid(quantity, instrument.step_size)


def turnover(instrument: Instrument, volume: Decimal, quote_volume: Decimal) -> Decimal:
    """Return what was turned over: quote units, of inverse contracts the coin they are worth."""
    if instrument.kind is not InstrumentKind.INVERSE:
        return quote_volume
    return base_volume(instrument, volume, quote_volume)


def tick_direction(market: Market, venue_symbol: str, number: int | None = None) -> str:
    """Return how a trade's price lies to the one before it, or to the last that was another; None: the last trade."""
    if number is None:
        last = market.trades(venue_symbol, limit=1)
        number = last[-1].trade_id if last else 0
    first = max(number - _LOOK_BACK, 1)
    prices = [each.price for each in market.trades(venue_symbol, from_id=first, limit=max(number - first + 1, 0))]
    if not prices:
        return "ZeroPlusTick"
    other = next((price for price in reversed(prices) if price != prices[-1]), prices[-1])
    zero = "Zero" if len(prices) > 1 and prices[-2] == prices[-1] else ""
    return f"{zero}{'Plus' if prices[-1] >= other else 'Minus'}Tick"


def spot_ticker(world: World, venue_symbol: str) -> JSON:
    """Return what is told of a pair."""
    instrument = world.listings[venue_symbol].instrument
    return _day(world.market, instrument) | {"usdIndexPrice": ""}


def open_interest(world: World, venue_symbol: str) -> Decimal:
    """Return what all accounts hold of a contract, both sides of each: so the venue counts."""
    return world.margin.open_interest(venue_symbol) * 2


def best_levels(world: World, venue_symbol: str) -> JSON:
    """Return the best bid and ask."""
    instrument, quote = world.listings[venue_symbol].instrument, world.market.quote(venue_symbol)
    return {
        "bid1Price": price_text(instrument, quote.bid_price),
        "bid1Size": quantity_text(instrument, quote.bid_quantity),
        "ask1Price": price_text(instrument, quote.ask_price),
        "ask1Size": quantity_text(instrument, quote.ask_quantity),
    }


def contract_ticker(world: World, venue_symbol: str) -> JSON:
    """Return what is told of a contract; what is delivered has no funding, and an end instead."""
    instrument, market = world.listings[venue_symbol].instrument, world.market
    mark = world.margin.mark(venue_symbol)
    both = open_interest(world, venue_symbol)
    one_side = both / 2
    hour_ago = market.price_at(venue_symbol, max(market.now_ns - NS_PER_HOUR, market.origin_ns))
    rules = contract_of(instrument)
    has_funding = mark.next_funding_ns is not None
    row = _day(market, instrument) | {
        "tickDirection": tick_direction(market, venue_symbol),
        "prevPrice1h": price_text(instrument, hour_ago),
        "markPrice": grid(mark.mark_price, instrument.tick_size),
        "indexPrice": grid(mark.index_price, instrument.tick_size),
        "openInterest": quantity_text(instrument, both),
        "openInterestValue": _worth(instrument, both, mark.mark_price),
        "singleOpenInterest": quantity_text(instrument, one_side),
        "singleOpenInterestValue": _worth(instrument, one_side, mark.mark_price),
        "fundingIntervalHour": str(rules.funding_minutes // _MINUTES_AN_HOUR) if has_funding else "",
        "fundingCap": plain(rules.funding_cap) if has_funding else "",
        "nextFundingTime": str(to_ms(mark.next_funding_ns)) if mark.next_funding_ns is not None else "0",
        "fundingRate": plain(mark.funding_rate),
        **best_levels(world, venue_symbol),
        "preOpenPrice": "",
        "preQty": "",
        "curPreListingPhase": "",
    }
    if instrument.delivery_ns is None:
        return row
    basis = mark.mark_price - mark.index_price
    return row | {
        "deliveryTime": str(to_ms(instrument.delivery_ns)),
        "deliveryFeeRate": "",
        "predictedDeliveryPrice": "",
        "basis": plain(basis.quantize(instrument.tick_size)),
        "basisRate": plain((basis / mark.index_price).quantize(_SHARE)),
    }


def _day(market: Market, instrument: Instrument) -> JSON:
    symbol, now_ns = instrument.venue_symbol, market.now_ns
    bar, flow = market.statistics(symbol, now_ns - NS_PER_DAY, now_ns)
    last = market.last_price(symbol)
    return {
        "symbol": symbol,
        "lastPrice": price_text(instrument, last),
        "highPrice24h": price_text(instrument, bar.high),
        "lowPrice24h": price_text(instrument, bar.low),
        "prevPrice24h": price_text(instrument, bar.open),
        "volume24h": plain(flow.volume),
        "turnover24h": plain(turnover(instrument, flow.volume, flow.quote_volume).quantize(Decimal("0.0001"))),
        "price24hPcnt": plain(((last - bar.open) / bar.open).quantize(_SHARE)),
    }


def _worth(instrument: Instrument, quantity: Decimal, price: Decimal) -> str:
    worth = EXACT.multiply(quantity, price) if instrument.kind is InstrumentKind.LINEAR else quantity / price
    return plain(worth.quantize(Decimal("0.01") if instrument.kind is InstrumentKind.LINEAR else Decimal("0.0001")))
