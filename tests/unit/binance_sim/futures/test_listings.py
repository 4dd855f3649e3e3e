import datetime
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from btx.errors import ConfigError
from btx.model.venue import Scenario
from btx.rules.fees import at_level
from btx_binance.sim.futures.exchange_info import exchange_info
from btx_binance.sim.futures.listings import listings, named
from btx_binance.sim.futures.market import COINM, USDM, Dialect, dialect_of
from btx_binance.sim.futures.protocol import Protocol


def listed(dialect: Dialect, *symbols: str, **scenario: Any) -> Any:
    return listings(Scenario(symbols=symbols, **scenario), dialect)


@pytest.mark.parametrize(
    ("dialect", "text", "symbol", "venue_symbol"),
    [
        (USDM, "BTC/USDT", "BTC/USDT:USDT", "BTCUSDT"),
        (USDM, "btc/usdt:usdt", "BTC/USDT:USDT", "BTCUSDT"),
        (USDM, "ETHUSDC", "ETH/USDC:USDC", "ETHUSDC"),
        (USDM, "BTC/USDT:USDT-261225", "BTC/USDT:USDT-261225", "BTCUSDT_261225"),
        (COINM, "BTC/USD", "BTC/USD:BTC", "BTCUSD_PERP"),
        (COINM, "ETHUSD_PERP", "ETH/USD:ETH", "ETHUSD_PERP"),
        (COINM, "BTCUSD_261225", "BTC/USD:BTC-261225", "BTCUSD_261225"),
    ],
)
def test_a_contract_may_be_written_in_any_usual_way(
    dialect: Dialect, text: str, symbol: str, venue_symbol: str
) -> None:
    (one,) = listed(dialect, text)

    assert (one.instrument.symbol, one.venue_symbol) == (symbol, venue_symbol)
    assert named(Scenario(symbols=(text,), data={text: Path("x")}, funding={text: Path("y")}), dialect) == Scenario(
        symbols=(symbol,), data={symbol: Path("x")}, funding={symbol: Path("y")}
    )


@pytest.mark.parametrize(
    ("dialect", "text"),
    [(USDM, "BTC/USD:BTC"), (USDM, "BTC/USD"), (COINM, "BTC/USDT"), (COINM, "BTCUSD"), (USDM, "BTCUSDT_PERP"),
     (USDM, "BTC/USDT:BTC"), (USDM, "what"), (USDM, "BTC/USDT-261399")],
)  # fmt: skip
def test_what_is_no_contract_of_the_market_is_refused(dialect: Dialect, text: str) -> None:
    with pytest.raises(ConfigError, match="write it"):
        listed(dialect, text)


def test_a_market_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="'usdm'"):
        dialect_of("options")


def test_a_contract_that_is_in_no_table_lies_on_the_grid_of_its_file(tmp_path: Path) -> None:
    rows = tmp_path / "bars.csv"
    rows.write_text("open_time,open,high,low,close,volume\n1748736000000,1.2345,1.3,1.2,1.25,10.5\n")

    (one,) = listings(Scenario(data={"ODD/USDT": rows}), USDM)
    (known,) = listings(Scenario(data={"BTC/USDT": rows}), USDM)

    assert (one.instrument.tick_size, one.instrument.step_size) == (Decimal("0.0001"), Decimal("0.1"))
    assert (known.instrument.tick_size, known.instrument.min_price) == (Decimal("0.0001"), Decimal("556.8"))
    assert one.tiers[0].max_leverage == 75


def test_coin_margined_contracts_are_whole_whatever_the_volumes_of_their_file_are(tmp_path: Path) -> None:
    rows = tmp_path / "bars.csv"
    rows.write_text("open_time,open,high,low,close,volume\n1748736000000,90000.1,90001,90000,90001,10.567\n")

    for symbol in ("BTC/USD", "ODD/USD"):
        (one,) = listings(Scenario(market="coinm", data={symbol: rows}), COINM)
        assert (one.instrument.step_size, one.instrument.min_quantity) == (1, 1)


@pytest.mark.parametrize("dialect", [USDM, COINM])
def test_exchange_info_has_the_fields_and_filters_the_venue_had(dialect: Dialect, btx_data: Path) -> None:
    path = btx_data / "reference" / f"binance_{dialect.name}_exchangeInfo_2025-08-07_25sym.json"
    theirs = json.loads(path.read_text())
    made = exchange_info(
        list(listed(dialect, *dialect.usual)),
        dialect,
        Protocol(datetime.date(2025, 12, 9)),
        market_ns=1_754_600_000 * 10**9,
        server_time_ms=1,
    )

    assert made.keys() == theirs.keys()
    by_name = {row["symbol"]: row for row in theirs["symbols"]}
    limits = {(row["rateLimitType"], row["interval"], row["limit"]) for row in theirs["rateLimits"]}
    assert limits <= {(row["rateLimitType"], row["interval"], row["limit"]) for row in made["rateLimits"]}
    for row in made["symbols"]:
        their = by_name[row["symbol"]]
        assert their.keys() <= row.keys()
        same = ("contractType", "deliveryDate", "onboardDate", "marginAsset", "orderTypes", "timeInForce",
                "triggerProtect", "liquidationFee", "marketTakeBound", "contractSize", "pair",
                "pricePrecision", "quantityPrecision")  # fmt: skip
        assert {name: row.get(name) for name in same} == {name: their.get(name) for name in same}
        filters = [each for each in their["filters"] if each["filterType"] != "POSITION_RISK_CONTROL"]
        assert _values(row["filters"]) == _values(filters)


def _values(filters: list[dict[str, Any]]) -> list[Any]:
    numbers = [{name: _number(text) for name, text in each.items()} for each in filters]
    return sorted(numbers, key=lambda each: str(each["filterType"]))


def _number(text: Any) -> Any:
    try:
        return Decimal(str(text))
    except ArithmeticError:
        return text


def test_a_filter_that_the_venue_dropped_is_there_before_its_day_only() -> None:
    def names(day: str) -> set[str]:
        info = exchange_info(list(listed(USDM, "BTC/USDT")), USDM, Protocol.of(day), market_ns=0, server_time_ms=0)
        return {each["filterType"] for each in info["symbols"][0]["filters"]}

    assert names("2025-12-28") - names("2025-12-29") == {"MAX_NUM_ALGO_ORDERS"}


@pytest.mark.parametrize(("text", "words"), [("tomorrow", "is no day"), ("2025-12-08", "choose 2025-12-09")])
def test_a_day_whose_protocol_is_not_served_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Protocol.of(text)


def test_the_ladder_of_fees_falls_with_the_volume() -> None:
    (one,) = listed(USDM, "BTC/USDT")

    assert [level.volume for level in one.fees.levels] == sorted(level.volume for level in one.fees.levels)
    takers = [one.fees.taker, *(level.taker for level in one.fees.levels)]
    assert takers == sorted(takers, reverse=True)
    assert at_level(one.fees, Decimal(15_000_000), Decimal(0)).tier == "VIP 1"
