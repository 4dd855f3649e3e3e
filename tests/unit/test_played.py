"""Where a backtest's rules are from: tables, what the venue once said, or the venue itself."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from btx.defaults import open_venue
from btx.errors import ConfigError, TransportError, UnknownSymbolError
from btx.model.derivatives import FundingRate, MarginMode
from btx.model.instrument import Instrument
from btx.model.time import NS_PER_HOUR
from btx.model.venue import Environment, Scenario
from btx.played import PlayedRules
from btx.runtime.margining import AS_IT_IS, Margining
from btx.storage.places import history_folder
from btx.storage.venue_facts import keep_instrument, keep_rates, kept_instruments, rates_file
from tests.perpetuals import LINEAR
from tests.toy_margin import ToyMargin, loaded_on_margin
from tests.values import d


class Toy(ToyMargin):
    """The toy venue with a history of funding, in pages of two."""

    def __init__(self, rates: Sequence[FundingRate] = ()) -> None:
        super().__init__(now_minute=40 * 60)
        self.settled = list(rates)
        self.asked: list[int] = []

    async def funding_rates(self, *, instrument: Instrument, start_ns: int, end_ns: int) -> Sequence[FundingRate]:
        self.asked.append(start_ns)
        return [each for each in self.settled if start_ns <= each.time_ns < end_ns][:2]


def rules(toy: ToyMargin, **changes: Any) -> PlayedRules:
    words: dict[str, Any] = {
        "venue": "toy",
        "market": "usdm",
        "scenario": None,
        "margining": AS_IT_IS,
        "open_venue": lambda _name: loaded_on_margin(toy),
    }
    return PlayedRules(**(words | changes))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BTX_HOME", str(tmp_path))
    return history_folder(tmp_path, venue="toy", environment=Environment.BACKTEST, market="usdm")


def rate(hour: int) -> FundingRate:
    return FundingRate(symbol=LINEAR.symbol, time_ns=hour * NS_PER_HOUR, rate=d("0.0001"), mark_price=d(100 + hour))


def test_what_is_in_no_table_is_asked_of_the_venue_once_and_kept(folder: Path) -> None:
    toy = Toy()

    first = rules(toy).terms(LINEAR.symbol)
    again = rules(toy).terms(LINEAR.symbol)

    assert first == again
    assert first.instrument == LINEAR == kept_instruments(folder)[LINEAR.symbol]
    assert toy.count("instruments") == 1


def test_where_nobody_can_be_asked_it_is_told_what_to_do(folder: Path) -> None:
    toy = Toy()
    toy.faults["time"].extend([TransportError("no route")] * 9)

    with pytest.raises(ConfigError, match=r'the venue cannot be asked now.*fills="stock" needs none'):
        rules(toy).terms(LINEAR.symbol)


def test_what_the_venue_does_not_list_is_unknown(folder: Path) -> None:
    with pytest.raises(UnknownSymbolError, match="Toy lists no MOON/USDT:USDT"):
        rules(Toy()).terms("MOON/USDT:USDT")


def test_files_are_played_without_asking_and_need_a_table() -> None:
    files = Scenario(market="usdm", data={LINEAR.symbol: Path("btc.csv")})

    with pytest.raises(UnknownSymbolError, match=r"has no rules of .* in its tables"):
        rules(Toy(), scenario=files).terms(LINEAR.symbol)
    assert rules(Toy(), scenario=files).rates(LINEAR) is None


def test_leverage_and_margin_mode_are_the_users() -> None:
    margining = Margining(leverage=3, leverages={"ETH/USDT": 7}, margin_mode=MarginMode.ISOLATED)
    played = PlayedRules(venue="binance", market="usdm", scenario=None, margining=margining, open_venue=open_venue)

    btc, eth = played.terms("BTC/USDT:USDT"), played.terms("ETH/USDT:USDT")

    assert (btc.leverage, eth.leverage, btc.margin_mode) == (3, 7, MarginMode.ISOLATED)
    assert btc.tiers[0].max_leverage == 125
    assert btc.instrument.price_band is not None


def test_funding_rates_are_fetched_page_by_page_and_only_what_is_new(folder: Path) -> None:
    toy = Toy([rate(hour) for hour in (0, 8, 16)])

    first = rules(toy).rates(LINEAR)
    toy.settled.append(rate(24))
    toy.asked.clear()
    again = rules(toy).rates(LINEAR)

    assert first == (rate(0), rate(8), rate(16))
    assert again == (rate(0), rate(8), rate(16), rate(24))
    assert toy.asked[0] == 16 * NS_PER_HOUR + 1
    assert rates_file(folder, LINEAR).is_file()


def test_what_was_kept_serves_where_nothing_can_be_fetched(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    toy = Toy()
    toy.faults["time"].extend([TransportError("no route")] * 9)

    assert rules(toy).rates(LINEAR) is None
    keep_rates(folder, LINEAR, [rate(8)])
    toy.faults["time"].extend([TransportError("no route")] * 9)

    assert rules(toy).rates(LINEAR) == (rate(8),)
    assert "cannot be fetched now" in caplog.text


def test_several_instruments_are_kept_beside_each_other(folder: Path) -> None:
    other = attrs.evolve(LINEAR, symbol="ETH/USDT:USDT", base="ETH")
    keep_instrument(folder, LINEAR)
    keep_instrument(folder, other)

    assert kept_instruments(folder) == {LINEAR.symbol: LINEAR, other.symbol: other}
