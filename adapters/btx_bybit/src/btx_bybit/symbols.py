"""How symbols are called here, and at Bybit.

Spot: ``BTC/USDT`` is ``BTCUSDT``. Linear: ``BTC/USDT:USDT`` is ``BTCUSDT``,
``BTC/USDC:USDC`` is ``BTCPERP``, deliveries ``BTC/USDT:USDT-261225`` and
``BTC/USDC:USDC-261225`` are ``BTCUSDT-25DEC26`` and ``BTC-25DEC26``.  Inverse:
``BTC/USD:BTC`` is ``BTCUSD``, ``BTC/USD:BTC-261225`` is ``BTCUSDZ26``.  In a market
on margin the plain ``BTC/USDT`` (``BTC/USDC``, ``BTC/USD``) means the perpetual.
"""

import re
from datetime import date, timedelta

from btx.errors import DataError
from btx.rules.symbols import perpetual_of
from btx_bybit.config import INVERSE, LINEAR, SPOT

__all__ = ("symbol_of", "venue_symbol_of")

# Quote coins, for symbols that are in no catalogue (delisted, or listed since); the longest that fits wins.
_QUOTES = (
    *("USDT", "USDC", "USDE", "USD1", "USDR", "MNT", "DAI", "BTC", "ETH", "SOL"),
    *("EUR", "BRL", "PLN", "TRY", "BRZ", "USDQ"),
)
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_QUARTERS = {"H": 3, "M": 6, "U": 9, "Z": 12}  # of inverse futures, which are delivered on the month's last Friday
_LETTERS = {month: letter for letter, month in _QUARTERS.items()}
_DAY = re.compile(r"(\d{1,2})([A-Z]{3})(\d{2})")
_QUARTER = re.compile(r"(?P<base>\w+)USD(?P<letter>[HMUZ])(?P<year>\d{2})")


def symbol_of(venue_symbol: str, *, market: str) -> str:
    """Return our name of a symbol that is in no catalogue.

    Raises:
        DataError: it is not built like any that Bybit has.
    """
    if market == SPOT:
        return _split(venue_symbol)
    found = _linear(venue_symbol) if market == LINEAR else _inverse(venue_symbol)
    if found is None:
        raise DataError(f"{venue_symbol}: no such symbol in the catalogue, and it is built like none of {market}")
    return found


def venue_symbol_of(symbol: str, *, market: str) -> str:
    """Return Bybit's text for a symbol, also for the plain name of a perpetual."""
    if market == SPOT:
        return symbol.replace("/", "")
    pair, _, rest = perpetual_of(symbol).partition(":")
    base, _, quote = pair.partition("/")
    expiry = rest.partition("-")[2]
    if market == INVERSE:
        return f"{base}{quote}{_quarter_code(expiry)}"
    if expiry:
        return f"{base}{'' if quote == 'USDC' else quote}-{_day_code(expiry)}"
    return f"{base}PERP" if quote == "USDC" else f"{base}{quote}"


def _split(venue_symbol: str) -> str:
    quotes = (quote for quote in _QUOTES if venue_symbol.endswith(quote) and len(venue_symbol) > len(quote))
    quote = max(quotes, key=len, default=None)
    if quote is None:
        raise DataError(f"{venue_symbol}: no such symbol in the catalogue, and no known quote coin at its end")
    return f"{venue_symbol.removesuffix(quote)}/{quote}"


def _linear(venue_symbol: str) -> str | None:
    pair, dash, day = venue_symbol.partition("-")
    expiry = _expiry_of_day(day) if dash else ""
    if expiry is None:
        return None
    if pair.endswith("PERP") and not dash:
        base, quote = pair.removesuffix("PERP"), "USDC"
    elif pair.endswith("USDT"):
        base, quote = pair.removesuffix("USDT"), "USDT"
    else:
        base, quote = (pair, "USDC") if dash else ("", "")
    return f"{base}/{quote}:{quote}{f'-{expiry}' if expiry else ''}" if base else None


def _inverse(venue_symbol: str) -> str | None:
    if venue_symbol.endswith("USD") and venue_symbol != "USD":
        base = venue_symbol.removesuffix("USD")
        return f"{base}/USD:{base}"
    found = _QUARTER.fullmatch(venue_symbol)
    if found is None:
        return None
    base, expiry = found["base"], _last_friday(2000 + int(found["year"]), _QUARTERS[found["letter"]])
    return f"{base}/USD:{base}-{expiry:%y%m%d}"


def _expiry_of_day(text: str) -> str | None:
    """Return ``261225`` for ``25DEC26``, None for what is no day."""
    found = _DAY.fullmatch(text)
    if found is None or found[2] not in _MONTHS:
        return None
    return f"{found[3]}{_MONTHS.index(found[2]) + 1:02d}{int(found[1]):02d}"


def _day_code(expiry: str) -> str:
    return f"{int(expiry[4:6])}{_MONTHS[int(expiry[2:4]) - 1]}{expiry[:2]}"


def _quarter_code(expiry: str) -> str:
    """Return ``Z26`` for ``261225``; of a month that ends no quarter nothing is listed."""
    return f"{_LETTERS.get(int(expiry[2:4]), 'X')}{expiry[:2]}" if expiry else ""


def _last_friday(year: int, month: int) -> date:
    last = (date(year, month, 28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
    return last - timedelta(days=(last.weekday() - 4) % 7)
