"""How symbols are called here, and at Binance.

Spot: ``BTC/USDT`` is ``BTCUSDT``. USD-M: ``BTC/USDT:USDT`` is ``BTCUSDT``, a delivery
contract ``BTC/USDT:USDT-261225`` is ``BTCUSDT_261225``. COIN-M: ``BTC/USD:BTC`` is
``BTCUSD_PERP``, ``BTC/USD:BTC-261225`` is ``BTCUSD_261225``.  In a margined market
the plain ``BTC/USDT`` (``BTC/USD``) means the perpetual.
"""

from btx.errors import DataError

__all__ = ("split_symbol", "symbol_of", "venue_symbol_of")

# Quote assets, for symbols that are in no catalogue (delisted, or listed since); the longest that fits wins.
_QUOTES = (
    *("USDT", "USDC", "FDUSD", "TUSD", "BUSD", "USDP", "DAI", "AEUR", "EURI", "XUSD", "USD1"),
    *("BTC", "ETH", "BNB", "SOL", "XRP", "TRX", "DOGE", "DOT"),
    *("EUR", "GBP", "AUD", "TRY", "BRL", "JPY", "ARS", "MXN", "PLN", "RON", "ZAR", "UAH", "IDR", "COP", "CZK"),
)


def split_symbol(venue_symbol: str) -> str:
    """Return ``BTC/USDT`` for ``BTCUSDT``, by the quote assets Binance has.

    Raises:
        DataError: it ends in none of them.
    """
    quotes = (quote for quote in _QUOTES if venue_symbol.endswith(quote) and len(venue_symbol) > len(quote))
    quote = max(quotes, key=len, default=None)
    if quote is None:
        raise DataError(f"{venue_symbol}: no such symbol in the catalogue, and no known quote asset at its end")
    return f"{venue_symbol.removesuffix(quote)}/{quote}"


def symbol_of(venue_symbol: str, *, market: str) -> str:
    """Return our name of a symbol that is in no catalogue.

    Raises:
        DataError: it ends in no known quote asset.
    """
    if market == "spot":
        return split_symbol(venue_symbol)
    pair, _, expiry = venue_symbol.partition("_")
    if market == "usdm":
        plain = split_symbol(pair)
        settle = plain.partition("/")[2]
    elif pair.endswith("USD") and pair != "USD":
        settle = pair.removesuffix("USD")
        plain = f"{settle}/USD"
    else:
        raise DataError(f"{venue_symbol}: no such symbol in the catalogue, and its quote is not USD")
    return f"{plain}:{settle}-{expiry}" if expiry and expiry != "PERP" else f"{plain}:{settle}"


def venue_symbol_of(symbol: str, *, market: str) -> str:
    """Return Binance's text for a symbol, also for the plain name of a perpetual."""
    plain, _, rest = symbol.partition(":")
    pair, expiry = plain.replace("/", ""), rest.partition("-")[2]
    if expiry:
        return f"{pair}_{expiry}"
    return f"{pair}_PERP" if market == "coinm" else pair
