"""What the conformance kit does not ask of the toy venue: what it refuses, and its box without a wire."""

import asyncio
from contextlib import AsyncExitStack
from decimal import Decimal

import pytest

from btx.config import Settings
from btx.errors import ConfigError
from btx.model.order import Fill, Leg, OrderRequest, OrderType, Side
from btx.model.venue import Environment, Scenario
from btx.ports import Context
from btx.testing.toy import plugin
from btx.testing.toy.config import LINEAR, SPOT


class _Clock:
    def wire_ns(self) -> int:
        return 0

    market_ns = wire_ns


def context(environment: Environment = Environment.SIM) -> Context:
    return Context(
        settings=Settings(),
        environment=environment,
        market=SPOT,
        endpoints=None,
        clock=_Clock(),
        resources=AsyncExitStack(),
    )


def a_leg(market: str) -> Leg:
    (terms, *_) = plugin.btx_listed(Scenario(market=market))
    request = OrderRequest(
        instrument=terms.instrument,
        side=Side.BUY,
        order_type=OrderType.MARKET,
        quantity=Decimal("0.01"),
        signal_ns=0,
    )
    return Leg(client_order_id="one", request=request, quantity=request.quantity)


@pytest.mark.parametrize("market", [SPOT, LINEAR])
def test_the_box_without_its_wire_fills_an_order_at_the_rates_of_its_market(market: str) -> None:
    box, leg = plugin.btx_matcher(Scenario(market=market)), a_leg(market)

    asyncio.run(box.broker.place(leg=leg))

    (fill,) = [event for event in box.take_events() if isinstance(event, Fill)]
    rates = plugin.btx_commission(leg.request.instrument, None)
    paid = leg.quantity if market == SPOT else leg.quantity * fill.price
    assert fill.fee == paid * rates.taker
    assert box.instruments[fill.symbol] == leg.request.instrument


def test_a_plain_symbol_means_the_perpetual_in_the_market_on_margin() -> None:
    box = plugin.btx_matcher(Scenario(market=LINEAR, symbols=("ETH/USDT",)))

    assert list(box.instruments) == ["ETH/USDT:USDT"]


@pytest.mark.parametrize("environment", [Environment.SIM, Environment.LIVE, Environment.PAPER])
def test_where_there_is_no_address_no_port_is_opened(environment: Environment) -> None:
    with pytest.raises(ConfigError, match="has no addresses"):
        plugin.btx_store(context(environment))


@pytest.mark.parametrize("symbol", ["NO/SUCH", "BTC/USDT:USDT"])
def test_a_symbol_that_is_not_listed_is_named_with_those_that_are(symbol: str) -> None:
    with pytest.raises(ConfigError, match="write one of BTC/USDT, ETH/USDT, SOL/USDT"):
        plugin.btx_listed(Scenario(market=SPOT, symbols=(symbol,)))
