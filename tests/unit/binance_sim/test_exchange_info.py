import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from btx.errors import ConfigError
from btx.model.venue import Scenario
from btx.sim.filters import PercentPrice
from btx_binance.sim.exchange_info import exchange_info, listings

D = Decimal
LATER_FILTERS = {"MAX_NUM_ICEBERG_ORDERS", "MAX_NUM_ORDER_LISTS", "MAX_NUM_ORDER_AMENDS"}


def only(symbol: str, **scenario: Any) -> Any:
    [listing] = listings(Scenario(symbols=(symbol,), **scenario))
    return listing


def test_a_well_known_symbol_has_the_venues_own_rules() -> None:
    listing = only("BTC/USDT")

    assert listing.venue_symbol == "BTCUSDT"
    assert (listing.instrument.tick_size, listing.instrument.step_size) == (D("0.01"), D("0.00001"))
    assert listing.filters.notional.min == 5
    assert listing.filters.market_lot.max == D("97.09521512")
    assert (listing.fees.maker, listing.fees.taker) == (D("0.001"), D("0.001"))


@pytest.mark.parametrize(
    ("symbol", "base", "quote"),
    [("SOLUSDT", "SOL", "USDT"), ("ETHBTC", "ETH", "BTC"), ("NEW/TRY", "NEW", "TRY"), ("abcfdusd", "ABC", "FDUSD")],
)
def test_base_and_quote_are_told_apart_by_the_slash_or_a_known_quote(symbol: str, base: str, quote: str) -> None:
    instrument = only(symbol).instrument

    assert (instrument.base, instrument.quote) == (base, quote)


def test_a_symbol_nobody_can_split_is_refused_with_the_cure() -> None:
    with pytest.raises(ConfigError, match="write them as BASE/QUOTE"):
        listings(Scenario(symbols=("WHATEVER",)))


def test_a_symbol_from_a_file_gets_its_grid_from_the_files_decimals(tmp_path: Path) -> None:
    path = tmp_path / "file.csv.gz"
    with gzip.open(path, "wt") as file:
        file.write("open_time_ms,open,high,low,close,volume\n")
        file.write("1748736000000,1.2500,1.2550,1.2,1.251,10.50\n")

    [listing] = listings(Scenario(data={"ODD/USDT": path}))

    assert (listing.instrument.tick_size, listing.instrument.step_size) == (D("0.001"), D("0.1"))


def test_data_on_a_finer_grid_than_the_table_keeps_its_own(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_text("1748736000000,104591.885,104647.11,104591.88,104647.11,10.71688\n")

    [listing] = listings(Scenario(data={"BTC/USDT": path}))

    assert listing.instrument.tick_size == D("0.001")
    assert listing.instrument.step_size == D("0.00001")


@pytest.mark.parametrize("name", ["file.csv", "file.csv.gz"])
def test_a_file_that_is_none_is_told_in_one_sentence_here_too(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("1748736000000,104591.885,104647.11,104591.88\n")

    with pytest.raises(ConfigError, match=r"line 1: 4 columns; a kline file has 6 or 12"):
        listings(Scenario(data={"BTC/USDT": path}))


def test_exchange_info_equals_the_recorded_one_where_we_offer_the_same(btx_data: Path) -> None:
    path = btx_data / "reference" / "binance_spot_exchangeInfo_2025-08-07_25sym.json"
    recorded = json.loads(path.read_text())
    real = next(row for row in recorded["symbols"] if row["symbol"] == "BTCUSDT")

    info = exchange_info([only("BTC/USDT")], 1)

    [ours] = info["symbols"]
    real_filters = {row["filterType"]: row for row in real["filters"]}
    assert info["rateLimits"] == recorded["rateLimits"]
    assert set(real) <= set(ours)
    for row in ours["filters"]:
        if row["filterType"] not in LATER_FILTERS:
            assert row == real_filters[row["filterType"]]
    for flag in ("icebergAllowed", "ocoAllowed", "otoAllowed", "cancelReplaceAllowed", "amendAllowed"):
        assert ours[flag] is real[flag] is True
    assert ours["orderTypes"] == real["orderTypes"]
    assert type(ours["permissionSets"][0]) is type(real["permissionSets"][0])


def test_every_filter_that_is_set_is_listed() -> None:
    listing = only("BTC/USDT")
    every = attrs.evolve(
        listing.filters,
        percent_price=PercentPrice(up=D("1.3"), down=D("0.7"), avg_price_mins=5),
        max_position=D(10),
    )

    [shown] = exchange_info([attrs.evolve(listing, filters=every)], 1)["symbols"]

    rows = {row["filterType"]: row for row in shown["filters"]}
    assert None not in attrs.asdict(every).values()
    assert len(rows) == len(attrs.fields(type(every)))
    assert rows["PERCENT_PRICE"] == {
        "filterType": "PERCENT_PRICE",
        "multiplierUp": "1.3",
        "multiplierDown": "0.7",
        "avgPriceMins": 5,
    }
    assert rows["MAX_POSITION"] == {"filterType": "MAX_POSITION", "maxPosition": "10.00000000"}
    assert rows["TRAILING_DELTA"]["maxTrailingBelowDelta"] == 2000
