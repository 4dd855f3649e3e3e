"""What the short name of an instrument means."""

import pytest

from btx.rules.symbols import perpetual_of


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("BTC/USDT", "BTC/USDT:USDT"),
        ("ETH/USDC", "ETH/USDC:USDC"),
        ("BTC/USD", "BTC/USD:BTC"),
        ("BTC/USD:BTC", "BTC/USD:BTC"),
        ("BTC/USDT:USDT-261225", "BTC/USDT:USDT-261225"),
        ("BTC/USDT-261225", "BTC/USDT:USDT-261225"),
        ("BTC/USD-261225", "BTC/USD:BTC-261225"),
        ("BTCUSDT", "BTCUSDT"),
    ],
)
def test_a_plain_symbol_means_the_perpetual_and_any_other_itself(written: str, meant: str) -> None:
    assert perpetual_of(written) == meant
