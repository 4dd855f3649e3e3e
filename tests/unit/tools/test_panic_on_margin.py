"""Panic on margin: what may only reduce stays, and flattening closes every position, each once."""

from decimal import Decimal
from pathlib import Path

import pytest

from btx.compose import Account
from btx.config import Settings
from btx.model.order import Leg, OrderRequest, OrderType, PositionSide, Side
from btx.model.venue import Environment
from btx.plugins import Venue, new_manager
from btx.tools.accounts import Target
from btx.tools.panic import panic
from tests.toy_venue import ToyPlugin
from tests.unit.bt.margin_rig import HEDGED, PERP, MarginToy, info_of

D = Decimal


@pytest.fixture
def toy() -> MarginToy:
    return MarginToy(PERP, margining=HEDGED)


@pytest.fixture
def aim(toy: MarginToy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    monkeypatch.setenv("COLUMNS", "250")
    info, manager = info_of("usdm"), new_manager()
    manager.register(ToyPlugin(toy, info=info), name="venue toy")
    account = Account(
        venue=Venue(manager, info), environment=Environment.TESTNET, market="usdm", settings=Settings(currency="USDT")
    )
    return Target(account=account, folder=tmp_path / "world", endpoints=None, presence=None)


def rest(toy: MarginToy, name: str, side: Side, leg: PositionSide, *, reduce_only: bool = False) -> None:
    request = OrderRequest(
        instrument=PERP,
        side=side,
        order_type=OrderType.LIMIT,
        quantity=D(1),
        price=D(90),
        position_side=leg,
        reduce_only=reduce_only,
        signal_ns=0,
    )
    toy.place_foreign(name, Leg(client_order_id=name, request=request, quantity=request.quantity))


def test_orders_that_only_reduce_stay_and_the_others_go(
    aim: Target, toy: MarginToy, capsys: pytest.CaptureFixture[str]
) -> None:
    rest(toy, "exit-long", Side.SELL, PositionSide.LONG)
    rest(toy, "exit-net", Side.SELL, PositionSide.NET, reduce_only=True)
    rest(toy, "enter-short", Side.SELL, PositionSide.SHORT)
    rest(toy, "enter-net", Side.SELL, PositionSide.NET)

    assert panic(aim, symbols=("BTC/USDT",), pause_s=0.0) == 0

    out = capsys.readouterr().out
    outcomes = {name: "stays" in line for line in out.splitlines() for name in toy.orders if f"{name} " in line}
    assert outcomes == {"exit-long": True, "exit-net": True, "enter-short": False, "enter-net": False}


def test_flattening_closes_both_legs_and_sells_no_coin(
    aim: Target, toy: MarginToy, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.hold(PERP, "2", "80", PositionSide.LONG)
    toy.hold(PERP, "-3", "90", PositionSide.SHORT)

    assert panic(aim, flatten=True, pause_s=0.0) == 0

    asked = [order.leg.request for order in toy.orders.values()]
    assert {(each.side, each.quantity, each.position_side, each.reduce_only) for each in asked} == {
        (Side.SELL, D(2), PositionSide.LONG, False),
        (Side.BUY, D(3), PositionSide.SHORT, False),
    }
    assert toy.state.positions == {}
    out = " ".join(capsys.readouterr().out.split())
    assert "SELL 2 BTC/USDT:USDT filled, sold 2 at 100" in out
    assert "BUY 3 BTC/USDT:USDT filled, bought 3 at 100" in out


def test_flattening_a_net_position_cannot_turn_it_over(aim: Target, toy: MarginToy) -> None:
    toy.hold(PERP, "-1.5", "90")

    assert panic(aim, flatten=True, pause_s=0.0) == 0

    (asked,) = [order.leg.request for order in toy.orders.values()]
    assert (asked.side, asked.quantity, asked.reduce_only) == (Side.BUY, D("1.5"), True)
