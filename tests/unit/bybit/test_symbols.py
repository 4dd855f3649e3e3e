"""Names of instruments, here and at Bybit."""

import pytest

from btx.errors import DataError
from btx_bybit.symbols import symbol_of, venue_symbol_of


@pytest.mark.parametrize(
    ("market", "symbol", "venue_symbol"),
    [
        ("spot", "BTC/USDT", "BTCUSDT"),
        ("spot", "ETH/BTC", "ETHBTC"),
        ("linear", "BTC/USDT:USDT", "BTCUSDT"),
        ("linear", "BTC/USDC:USDC", "BTCPERP"),
        ("linear", "BTC/USDT:USDT-261204", "BTCUSDT-4DEC26"),
        ("linear", "BTC/USDC:USDC-261225", "BTC-25DEC26"),
        ("inverse", "BTC/USD:BTC", "BTCUSD"),
        ("inverse", "BTC/USD:BTC-261225", "BTCUSDZ26"),
        ("inverse", "ETH/USD:ETH-270326", "ETHUSDH27"),
    ],
)
def test_a_name_has_one_text_at_the_venue_and_back(market: str, symbol: str, venue_symbol: str) -> None:
    assert venue_symbol_of(symbol, market=market) == venue_symbol
    assert symbol_of(venue_symbol, market=market) == symbol


@pytest.mark.parametrize(
    ("market", "plain", "venue_symbol"),
    [("linear", "BTC/USDT", "BTCUSDT"), ("linear", "BTC/USDC", "BTCPERP"), ("inverse", "BTC/USD", "BTCUSD")],
)
def test_in_a_market_on_margin_a_plain_name_means_the_perpetual(market: str, plain: str, venue_symbol: str) -> None:
    assert venue_symbol_of(plain, market=market) == venue_symbol


@pytest.mark.parametrize(
    ("market", "strange"),
    [("spot", "USDT"), ("linear", "BTC"), ("linear", "BTCUSDT-4XXX26"), ("inverse", "USD"), ("inverse", "BTCEUR")],
)
def test_what_is_built_like_no_symbol_of_the_market_is_said_to_be(market: str, strange: str) -> None:
    with pytest.raises(DataError, match=f"^{strange}: no such symbol in the catalogue"):
        symbol_of(strange, market=market)
