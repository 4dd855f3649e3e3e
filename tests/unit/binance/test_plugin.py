"""The adapter's hooks, and that looking at them costs nothing."""

import asyncio
import subprocess
import sys
from decimal import Decimal

import attrs
import pluggy
import pytest

from btx import hookspecs
from btx.errors import ConfigError
from btx.hookspecs import API
from btx.model.order import ListKind, OrderType, TimeInForce
from btx.model.venue import Channel, Environment
from btx_binance import plugin
from btx_binance.config import Options, options, require_keys
from btx_binance.limits import COSTS, LIMITS, STREAMS_PER_CONNECTION
from tests.unit.binance.loopback import connected, endpoints, instrument

_HEAVY = ("aiohttp", "ccxt", "cryptofeed", "websockets")


def test_importing_the_plugin_imports_no_library_of_its_ports() -> None:
    script = f"import sys, btx_binance.plugin; print([name for name in {_HEAVY} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_every_hook_fits_its_specification() -> None:
    manager = pluggy.PluginManager("btx")
    manager.add_hookspecs(hookspecs)
    manager.register(plugin)

    manager.check_pending()

    assert manager.hook.btx_venue().name == "binance"


def test_the_visiting_card_says_what_works() -> None:
    info = plugin.btx_venue()

    spot = info.capabilities["spot"]
    assert (info.api, info.markets) == (API, ("spot", "usdm", "coinm"))
    assert info.environments == {Environment.SIM, Environment.PAPER, Environment.TESTNET, Environment.LIVE}
    assert spot.order_types == set(OrderType)
    assert spot.times_in_force == {TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK}
    assert (spot.post_only, spot.iceberg, spot.replace, spot.cancel_all) == (True, True, True, True)
    assert (spot.trailing_bps, spot.order_lists) == ((10, 2000), set(ListKind))
    assert [str(interval) for interval in spot.intervals][::14] == ["1m", "1M"]
    assert spot.channels == set(Channel) - {Channel.MARK}
    assert info.client_id.max_len == 36
    assert set("aZ09.:/_-") <= set(info.client_id.alphabet)
    assert not set(" #é") & set(info.client_id.alphabet)


@pytest.mark.parametrize("market", ["spot", "usdm", "coinm"])
def test_every_cost_counts_against_a_limit_there_is(market: str) -> None:
    names = {limit.name for limit in LIMITS[market]}

    assert {name for cost in COSTS[market].values() for name in cost} == names


@pytest.mark.parametrize(
    ("operation", "orders"), [("place", 1), ("place_oco", 2), ("place_oto", 2), ("place_otoco", 3)]
)
def test_a_list_counts_as_many_orders_as_it_has(operation: str, orders: int) -> None:
    assert COSTS["spot"][operation] == {"weight": 1, "orders_10s": orders, "orders_day": orders}


def test_fees_are_the_regular_tiers_with_their_source() -> None:
    fees = plugin.btx_commission(instrument(), None)

    assert (fees.maker, fees.taker, fees.discount_asset) == (Decimal("0.001"), Decimal("0.001"), "BNB")
    assert "2022-05-31" in fees.source


def test_a_receive_window_the_venue_refuses_is_told_before_anything_is_sent() -> None:
    async def ask(receive_window_ms: int) -> None:
        async with connected(endpoints(9)) as context:
            settings = attrs.evolve(context.settings, receive_window_ms=receive_window_ms)
            require_keys(attrs.evolve(context, settings=settings))

    asyncio.run(ask(60_000))
    with pytest.raises(ConfigError, match=r"at most 60000 ms: give less than receive_window_ms=60001$"):
        asyncio.run(ask(60_001))


@pytest.mark.parametrize(("market", "kind"), [("spot", "Spot"), ("usdm", "Futures"), ("coinm", "Futures")])
def test_each_port_is_made_by_its_hook(market: str, kind: str) -> None:
    async def make() -> list[str]:
        async with connected(endpoints(9)) as spot:
            context = attrs.evolve(spot, market=market)
            hooks = (plugin.btx_store, plugin.btx_broker, plugin.btx_feed, plugin.btx_websocket)
            return [type(hook(context)).__name__ for hook in hooks]

    assert asyncio.run(make()) == [f"{kind}{port}" for port in ("Store", "Broker", "Feed", "Stream")]


def test_a_market_on_margin_says_what_is_special_there() -> None:
    usdm, coinm = (plugin.btx_venue().capabilities[market] for market in ("usdm", "coinm"))

    assert usdm.times_in_force - coinm.times_in_force == {TimeInForce.GTD}
    assert (usdm.good_till_min_s, usdm.trailing_bps, usdm.order_lists) == (660.0, (10, 1000), frozenset())
    assert (usdm.margined, usdm.reduce_only, usdm.replace, usdm.iceberg) == (True, True, False, False)
    assert usdm.channels == set(Channel)
    assert (len(usdm.position_modes), len(usdm.margin_modes)) == (2, 2)


def test_the_options_are_seconds_and_what_is_none_is_told() -> None:
    async def read(**said: str) -> Options:
        async with connected(endpoints(9)) as context:
            return options(attrs.evolve(context, settings=attrs.evolve(context.settings, options=said)))

    assert asyncio.run(read()) == Options(ping_interval_s=10.0, ping_timeout_s=10.0)
    assert asyncio.run(read(ping_timeout_s="0.5")) == Options(ping_interval_s=10.0, ping_timeout_s=0.5)
    for text in ("soon", "0", "-1", "inf", "nan"):
        with pytest.raises(ConfigError, match=f"options ping_interval_s='{text}': give a positive number"):
            asyncio.run(read(ping_interval_s=text))


def test_a_market_connection_lives_for_a_day_and_carries_what_the_core_puts_on_it() -> None:
    spot = plugin.btx_venue().capabilities["spot"]

    assert spot.connection_life_s == 24 * 3600
    assert spot.streams_per_connection <= STREAMS_PER_CONNECTION
    assert plugin.btx_venue().settings is Options
