"""What a scenario plays, and what it is called."""

from decimal import Decimal
from pathlib import Path

import pytest

from btx.errors import ConfigError
from btx.model.instrument import InstrumentKind
from btx.model.venue import Scenario
from btx_bybit.sim.listings import contract_of, listings, named, pair_of


def written(market: str, symbol: str) -> tuple[str, str]:
    """Our name and the venue's of what a scenario calls so."""
    [listing] = listings(named(Scenario(market=market, symbols=(symbol,))))
    return listing.instrument.symbol, listing.venue_symbol


@pytest.mark.parametrize(
    ("market", "symbol", "ours", "venues"),
    [
        ("", "BTC/USDT", "BTC/USDT", "BTCUSDT"),
        ("spot", "ETHBTC", "ETH/BTC", "ETHBTC"),
        ("linear", "BTC/USDT", "BTC/USDT:USDT", "BTCUSDT"),
        ("linear", "btcusdt", "BTC/USDT:USDT", "BTCUSDT"),
        ("linear", "BTC/USDC:USDC", "BTC/USDC:USDC", "BTCPERP"),
        ("linear", "ETHPERP", "ETH/USDC:USDC", "ETHPERP"),
        ("linear", "BTC/USDT:USDT-261225", "BTC/USDT:USDT-261225", "BTCUSDT-25DEC26"),
        ("linear", "BTCUSDT-5DEC25", "BTC/USDT:USDT-251205", "BTCUSDT-5DEC25"),
        ("linear", "BTC-25DEC26", "BTC/USDC:USDC-261225", "BTC-25DEC26"),
        ("inverse", "BTC/USD", "BTC/USD:BTC", "BTCUSD"),
        ("inverse", "BTCUSDZ26", "BTC/USD:BTC-261225", "BTCUSDZ26"),
        ("inverse", "ETH/USD:ETH-260327", "ETH/USD:ETH-260327", "ETHUSDH26"),
    ],
)
def test_names_are_written_either_way(market: str, symbol: str, ours: str, venues: str) -> None:
    assert written(market, symbol) == (ours, venues)
    assert written(market, venues) == (ours, venues)


@pytest.mark.parametrize(
    ("market", "symbol"),
    [
        ("options", "BTC/USDT"),
        ("spot", "BTC/USDT:USDT"),
        ("spot", "USDT"),
        ("spot", "BTC"),
        ("linear", "BTC/USD"),
        ("linear", "BTC/USDT:BTC"),
        ("linear", "BTC/USDT:USDT-261340"),
        ("linear", "BTCUSDT-40DEC26"),
        ("inverse", "BTC/USDT"),
        ("inverse", "BTC/USD:BTC-261130"),
        ("inverse", "BTCUSDT"),
    ],
)
def test_what_a_market_does_not_trade_is_said(market: str, symbol: str) -> None:
    with pytest.raises(ConfigError):
        listings(named(Scenario(market=market, symbols=(symbol,))))


@pytest.mark.parametrize(("market", "kind"), [("spot", "SPOT"), ("linear", "LINEAR"), ("inverse", "INVERSE")])
def test_a_symbol_in_no_table_gets_rules_on_a_grid_of_its_own(market: str, kind: str) -> None:
    symbol = {"spot": "NEW/USDT", "linear": "NEW/USDT:USDT", "inverse": "NEW/USD:NEW"}[market]

    [listing] = listings(Scenario(market=market, symbols=(symbol,)))

    instrument = listing.instrument
    assert instrument.kind is InstrumentKind[kind]
    assert instrument.tick_size == Decimal("0.0001")
    rules = pair_of(instrument) if market == "spot" else contract_of(instrument)
    assert rules.tick == instrument.tick_size
    assert bool(listing.tiers) is (market != "spot")


@pytest.mark.parametrize("market", ["spot", "linear", "inverse"])
def test_data_on_a_finer_grid_make_the_grid_finer(market: str, tmp_path: Path) -> None:
    symbol = {"spot": "BTC/USDT", "linear": "BTC/USDT:USDT", "inverse": "BTC/USD:BTC"}[market]
    path = tmp_path / "bars.csv"
    path.write_text("open_time,open,high,low,close,volume\n1748736000000,100.01,100.02,100.00,100.01,0.1234567\n")

    [listing] = listings(Scenario(market=market, data={symbol: path}))

    finer = Decimal(1) if market == "inverse" else Decimal("0.0000001")
    assert (listing.instrument.tick_size, listing.instrument.step_size) == (Decimal("0.01"), finer)


def test_a_plain_scenario_plays_two_symbols_of_each_market() -> None:
    played = {
        market: [each.venue_symbol for each in listings(Scenario(market=market))]
        for market in ("spot", "linear", "inverse")
    }

    assert played == {"spot": ["BTCUSDT", "ETHUSDT"], "linear": ["BTCUSDT", "ETHUSDT"], "inverse": ["BTCUSD", "ETHUSD"]}
