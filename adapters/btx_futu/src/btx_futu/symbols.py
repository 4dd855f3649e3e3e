"""Names: an instrument is called here as Futu calls it, ``HK.00700``; it is its own base asset."""

from collections.abc import Mapping

import attrs

from btx.errors import UnknownSymbolError

__all__ = ("PLACES", "Place", "market_of", "place_of")


@attrs.frozen(kw_only=True)
class Place:
    """A market as OpenD names it: prefix of its codes, currency, and the zone its texts of time are in."""

    prefix: str
    currency: str
    zone: str


PLACES: Mapping[str, Place] = {
    "hk": Place(prefix="HK", currency="HKD", zone="Asia/Hong_Kong"),
    "us": Place(prefix="US", currency="USD", zone="America/New_York"),
}
"""By market."""

_MARKETS = {place.prefix: market for market, place in PLACES.items()}


def market_of(symbol: str) -> str:
    """Return the market of a symbol.

    Raises:
        UnknownSymbolError: it is not written like one.
    """
    market = _MARKETS.get(symbol.partition(".")[0])
    if market is None or not symbol.partition(".")[2]:
        raise UnknownSymbolError(f"{symbol!r} is no symbol of Futu's: write it like HK.00700 or US.AAPL")
    return market


def place_of(symbol: str) -> Place:
    """Return the market's own names for a symbol.

    Raises:
        UnknownSymbolError: it is not written like one.
    """
    return PLACES[market_of(symbol)]
