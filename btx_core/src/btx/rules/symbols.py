"""Symbols: what the short name of an instrument means. Pure."""

__all__ = ("perpetual_of",)

_COIN_QUOTED = "USD"  # contracts quoted in plain dollars are settled in the coin: no exchange keeps dollars


def perpetual_of(symbol: str) -> str:
    """Return the perpetual a plain symbol means in a market on margin: BTC/USDT:USDT, of BTC/USD BTC/USD:BTC.

    A symbol that names its settlement is returned as it is.
    """
    base, slash, quote = symbol.partition("/")
    if not slash or ":" in quote:
        return symbol
    return f"{symbol}:{base if quote == _COIN_QUOTED else quote}"
