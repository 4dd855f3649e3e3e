"""Symbols: what the short name of an instrument means. Pure."""

__all__ = ("perpetual_of",)

_COIN_QUOTED = "USD"  # contracts quoted in plain dollars are settled in the coin: no exchange keeps dollars


def perpetual_of(symbol: str) -> str:
    """Return the perpetual a plain symbol means in a market on margin: BTC/USDT:USDT, of BTC/USD BTC/USD:BTC.

    A day of delivery stays: of BTC/USDT-261225 BTC/USDT:USDT-261225. A symbol that names its settlement is
    returned as it is.
    """
    base, slash, rest = symbol.partition("/")
    if not slash or ":" in rest:
        return symbol
    quote, dash, day = rest.partition("-")
    return f"{base}/{quote}:{base if quote == _COIN_QUOTED else quote}{dash}{day}"
