"""What a symbol is called here and at Binance, in each market."""

import pytest

from btx.errors import DataError
from btx_binance.symbols import symbol_of, venue_symbol_of

NAMES = [
    ("spot", "BTC/USDT", "BTCUSDT"),
    ("usdm", "BTC/USDT:USDT", "BTCUSDT"),
    ("usdm", "1000SHIB/USDC:USDC", "1000SHIBUSDC"),
    ("usdm", "BTC/USDT:USDT-261225", "BTCUSDT_261225"),
    ("coinm", "BTC/USD:BTC", "BTCUSD_PERP"),
    ("coinm", "BTC/USD:BTC-261225", "BTCUSD_261225"),
]


@pytest.mark.parametrize(("market", "symbol", "venue_symbol"), NAMES)
def test_names_go_both_ways(market: str, symbol: str, venue_symbol: str) -> None:
    assert venue_symbol_of(symbol, market=market) == venue_symbol
    assert symbol_of(venue_symbol, market=market) == symbol


@pytest.mark.parametrize(
    ("market", "plain", "venue_symbol"), [("usdm", "BTC/USDT", "BTCUSDT"), ("coinm", "BTC/USD", "BTCUSD_PERP")]
)
def test_a_plain_name_is_the_perpetuals(market: str, plain: str, venue_symbol: str) -> None:
    assert venue_symbol_of(plain, market=market) == venue_symbol


@pytest.mark.parametrize(
    ("market", "venue_symbol"), [("spot", "BTCXYZ"), ("usdm", "USDT"), ("coinm", "BTCUSDT"), ("coinm", "USD_PERP")]
)
def test_a_name_without_a_known_quote_is_told(market: str, venue_symbol: str) -> None:
    with pytest.raises(DataError, match="no such symbol in the catalogue"):
        symbol_of(venue_symbol, market=market)
