"""What btx.load and btx.scenario take for markets on margin: every bad input is one clear sentence."""

from pathlib import Path
from typing import Any

import pytest

import btx
from btx import worlds
from btx.errors import ConfigError
from btx.model.derivatives import MarginMode, PositionMode
from btx.model.venue import Scenario
from btx.runtime.margining import AS_IT_IS, Margining
from tests.distributions import Install, install

__all__ = ("install",)  # a fixture is asked for by its name


@pytest.fixture(autouse=True)
def acme(install: Install) -> None:
    install("acme")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"market": "spot", "leverage": 5}, r"^leverage=: positions of market 'spot' are not on margin: leave it out$"),
        ({"market": "spot", "position_mode": "hedge"}, r"^position_mode=: positions of market 'spot' are not"),
        ({"leverage": 0}, r"^leverage=0: write a whole number from 1 on, or one per symbol, like \{'BTC/USDT': 5\}$"),
        ({"leverage": True}, r"^leverage=True: write a whole number"),
        ({"leverage": 2.5}, r"^leverage=2\.5: write a whole number"),
        ({"leverage": {"BTC/USDT": "5"}}, r"^leverage=\{'BTC/USDT': '5'\}: write a whole number"),
        ({"margin_mode": "crossed"}, r"^margin_mode='crossed' is not taken here: write 'cross' or 'isolated'$"),
        ({"position_mode": "both"}, r"^position_mode='both' is not taken here: write 'hedge' or 'one_way'$"),
        ({"dead_man": "60s"}, r"^dead_man='60s': Acme usdm cancels nothing by itself: leave it out$"),
        ({"market": "spot", "scenario": Scenario(market="usdm")}, r"^the scenario is of market 'usdm': load it with"),
        (
            {"market": "spot", "scenario": Scenario(funding={"BTC/USDT": Path("f.csv")})},
            r"^funding= is of positions on margin, and those of market 'spot' are not$",
        ),
    ],
)
def test_a_word_that_says_nothing_here_is_told_in_one_sentence(words: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        btx.load("acme", **{"market": "usdm", **words})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("soon", r"^dead_man='soon' is no duration: write '60s'$"),
        (60, r"^dead_man=60 is no duration: write '60s'$"),
        ("4s", r"^dead_man='4s' is too short to be kept in time"),
    ],
)
def test_a_dead_mans_switch_has_a_time_that_can_be_kept(text: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        btx.load("binance", market="usdm", dead_man=text)
    kept = btx.load("binance", market="usdm", keep="trial", dead_man="60s")
    with pytest.raises(ConfigError, match=r"dead_man or record: load it once, or the same way$"):
        btx.load("binance", market="usdm", keep="trial", dead_man="90s")
    assert btx.load("binance", market="usdm", keep="trial", dead_man="60s") is kept


def test_leverage_and_modes_reach_the_session_as_values() -> None:
    one = btx.load("acme", market="usdm", leverage=5, margin_mode="isolated", position_mode="hedge")
    by_symbol = btx.load("acme", market="coinm", leverage={"BTC/USD": 3})

    assert one.session.margining == Margining(
        leverage=5, margin_mode=MarginMode.ISOLATED, position_mode=PositionMode.HEDGE
    )
    assert by_symbol.session.margining.leverage_of("BTC/USD:BTC", "BTC/USD") == 3
    assert by_symbol.session.margining.leverage_of("ETH/USD:ETH") is None
    assert btx.load("acme", market="spot").session.margining == AS_IT_IS


def test_an_account_loaded_again_with_another_leverage_is_refused() -> None:
    first = btx.load("acme", market="usdm", keep="trial", leverage=5)

    assert btx.load("acme", market="usdm", keep="trial", leverage=5) is first
    with pytest.raises(ConfigError, match=r"^this account at Acme is loaded already, with another .*leverage"):
        btx.load("acme", market="usdm", keep="trial", leverage=6)


def test_the_limits_that_are_on_by_default_let_a_position_have_its_leverage() -> None:
    widened = btx.load("acme", market="usdm", leverage={"BTC/USDT": 5, "ETH/USDT": 2}).session.settings.limits
    assert (widened.position_share, widened.order_share) == (5, 10)
    own = btx.limits(position="50%")
    assert btx.load("acme", market="coinm", leverage=5, limits=own).session.settings.limits == own
    assert btx.load("acme", market="spot").session.settings.limits.order_share == 1


def test_cash_is_counted_in_the_coin_where_coins_are_the_margin() -> None:
    assert btx.load("acme", market="coinm").session.settings.currency == "BTC"
    assert btx.load("acme", market="usdm").session.settings.currency == "USDT"
    assert btx.load("acme", market="usdm", currency="USDC").session.settings.currency == "USDC"
    assert (worlds.usual_total("BTC"), worlds.usual_total("USDT")) == (10, 100_000)


def test_a_plain_symbol_of_a_world_on_margin_means_the_perpetual(tmp_path: Path) -> None:
    klines, rates = tmp_path / "btc.csv", tmp_path / "funding.csv"
    for file in (klines, rates):
        file.touch()
    world = btx.scenario(data={"BTC/USDT": klines}, funding={"BTC/USDT:USDT": rates})

    played = worlds.in_market(world, "usdm", is_margined=True)

    assert played.market == "usdm"
    assert played.data == {"BTC/USDT:USDT": klines}
    assert played.funding == {"BTC/USDT:USDT": rates}
    assert played.symbols == ("BTC/USDT:USDT",)
    assert worlds.in_market(btx.scenario(symbols=["BTC/USD"]), "coinm", is_margined=True).symbols == ("BTC/USD:BTC",)


def test_a_funding_file_that_is_not_there_is_told() -> None:
    with pytest.raises(ConfigError, match=r"^funding= of BTC/USDT is 5: write the path of a file of funding rates$"):
        btx.scenario(funding={"BTC/USDT": 5})  # type: ignore[dict-item]
    with pytest.raises(ConfigError, match=r"^there is no file nowhere\.csv: funding= takes files of funding rates"):
        btx.scenario(funding={"BTC/USDT": "nowhere.csv"})


def test_a_venue_says_how_long_its_switch_may_wait() -> None:
    assert btx.load("bybit", market="spot", dead_man="300s")
    with pytest.raises(ConfigError, match=r"^dead_man='301s': Bybit linear waits for 300 s at most: write '60s'$"):
        btx.load("bybit", market="linear", dead_man="301s")
    with pytest.raises(ConfigError, match=r"^dead_man='2s' is too short to be kept in time"):
        btx.load("bybit", market="linear", dead_man="2s")


def test_a_leverage_nobody_may_set_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^leverage=: in market 'futures' the venue alone says what margin it wants"):
        btx.load("ctp", leverage=5)
