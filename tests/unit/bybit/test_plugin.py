"""The adapter's hooks, and that looking at them costs nothing."""

import asyncio
import subprocess
import sys
from decimal import Decimal

import pluggy
import pytest

from btx import hookspecs
from btx.hookspecs import API
from btx.model.calendar import ALWAYS
from btx.model.derivatives import PositionMode
from btx.model.order import OrderType, TimeInForce
from btx.model.venue import Channel, DeadMan, Environment, Scenario
from btx_bybit import plugin
from btx_bybit.broker import BybitBroker
from btx_bybit.feed import BybitFeed
from btx_bybit.limits import COSTS, LIMITS
from btx_bybit.store import BybitStore
from btx_bybit.stream import BybitStream
from tests.unit.bybit.rig import LINEAR, context

_HEAVY = ("aiohttp", "ccxt", "cryptofeed", "websockets")


def test_importing_the_plugin_imports_no_library_of_its_ports() -> None:
    script = f"import sys, btx_bybit.plugin; print([name for name in {_HEAVY} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_every_hook_fits_its_specification() -> None:
    manager = pluggy.PluginManager("btx")
    manager.add_hookspecs(hookspecs)
    manager.register(plugin)

    manager.check_pending()

    assert manager.hook.btx_venue().name == "bybit"


def test_the_visiting_card_says_what_works() -> None:
    info = plugin.btx_venue()
    spot, linear, inverse = (info.capabilities[market] for market in ("spot", "linear", "inverse"))

    assert (info.api, info.markets) == (API, ("spot", "linear", "inverse"))
    assert info.environments == {Environment.SIM, Environment.PAPER, Environment.TESTNET, Environment.LIVE}
    for each in (spot, linear, inverse):
        assert each.order_types == set(OrderType) - {OrderType.TRAILING_STOP}
        assert each.times_in_force == {TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK}
        assert (each.post_only, each.amend, each.cancel_all, each.order_lists) == (True, True, True, frozenset())
        assert (each.dead_man, each.dead_man_s) == (DeadMan.STREAM, (3.0, 300.0))
        assert [str(interval) for interval in each.intervals][::12] == ["1m", "1M"]
    assert spot.channels == set(Channel) - {Channel.MARK}
    assert (linear.position_modes, inverse.position_modes) == (set(PositionMode), {PositionMode.ONE_WAY})
    assert (linear.currency, inverse.currency) == ("USDT", "BTC")
    assert info.client_id.max_len == 36
    assert not set(" .:/#") & set(info.client_id.alphabet)


@pytest.mark.parametrize("market", ["spot", "linear", "inverse"])
def test_every_cost_counts_against_a_limit_there_is(market: str) -> None:
    names = {limit.name for limit in LIMITS[market]}

    assert {name for cost in COSTS[market].values() for name in cost} == names


def test_each_port_is_made_of_one_context() -> None:
    async def scene() -> None:
        async with context(None, environment=Environment.LIVE) as given:
            ports = (
                plugin.btx_store(given),
                plugin.btx_broker(given),
                plugin.btx_feed(given),
                plugin.btx_websocket(given),
            )
            assert list(map(type, ports)) == [BybitStore, BybitBroker, BybitFeed, BybitStream]

    asyncio.run(scene())


def test_a_contract_trades_around_the_clock_at_the_regular_rates() -> None:
    fees = plugin.btx_commission(LINEAR, None)

    assert plugin.btx_calendar(LINEAR) is ALWAYS
    assert (fees.maker, fees.taker) == (Decimal("0.0002"), Decimal("0.00055"))


@pytest.mark.parametrize(
    ("market", "symbols", "listed"),
    [
        ("", ("BTC/USDT",), ["BTC/USDT"]),
        ("linear", ("BTC/USDT", "NOPE/USDT"), ["BTC/USDT:USDT"]),  # no table has it, and no file
        ("inverse", ("BTC/USD",), ["BTC/USD:BTC"]),
    ],
)
def test_a_backtest_knows_what_the_box_lists(market: str, symbols: tuple[str, ...], listed: list[str]) -> None:
    found = plugin.btx_listed(Scenario(market=market, symbols=symbols))

    assert [each.instrument.symbol for each in found] == listed
    assert all(bool(each.tiers) is each.instrument.kind.is_margined for each in found)
    assert plugin.btx_listed(Scenario(market="linear", symbols=("NOPE/USDT",))) == ()
