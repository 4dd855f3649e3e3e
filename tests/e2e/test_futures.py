"""Perpetuals through the real client libraries: the strategy's account is the simulator's, to the last digit."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import backtrader as bt
import pytest

import btx
from btx.bt.analyzers import Costs
from btx.errors import ConfigError
from btx.model.venue import Endpoints, Scenario
from btx.sim.texts import endpoints_from_json
from btx.storage.recorded import parts
from btx.tools.replay import run_replay
from tests.e2e.test_attach import DEADLINE_S, detached
from tests.e2e.trading import Scripted, account, world

BEFORE_MIDNIGHT_NS = 1_735_774_200_000_000_000  # 2025-01-01T23:30:00Z: funding is half an hour away
KINDS = {"fees": "FEE", "funding": "FUNDING", "realised": "REALISED"}


def margin_world(market: str, *, minutes: int, **settings: Any) -> Scenario:
    asset = "BTC" if market == "coinm" else "USDT"
    total = "10" if market == "coinm" else "100000"
    return world(
        minutes=minutes,
        market=market,
        origin_ns=BEFORE_MIDNIGHT_NS,
        accounts=(account(**{asset: total}),),
        **settings,
    )


@contextmanager
def simulator(scenario: Scenario, venue: str = "binance") -> Iterator[Endpoints]:
    with detached(scenario, venue) as child:
        assert child.stdout is not None
        try:
            yield endpoints_from_json(child.stdout.readline())
        finally:
            child.send_signal(signal.SIGTERM)
            assert child.wait(DEADLINE_S) == 0


def trade(store: Any, steps: dict[int, Any], *, datas: tuple[dict[str, Any], ...]) -> tuple[Any, dict[str, Any]]:
    """Run the steps; return the strategy, and the simulator's ledger as it was at the end."""
    ledger: dict[str, Any] = {}
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(store.getbroker(on_stop="keep"))
    for data in datas:
        cerebro.adddata(store.getdata(**data))
    cerebro.addstrategy(Scripted, steps=steps, at_end=lambda _: ledger.update(store.session.ledger()))
    cerebro.addanalyzer(Costs)
    (strategy,) = cerebro.run()
    return strategy, ledger


def agree(strategy: Any, ledger: dict[str, Any]) -> None:
    """See that wallets and positions are the simulator's."""
    wallets = {asset: Decimal(each["wallet"]) for asset, each in ledger["wallets"].items()}
    assert {asset: total for asset, total in strategy.broker.ledger().items() if total} == {
        asset: total for asset, total in wallets.items() if total
    }
    theirs = {(each["symbol"], each["position_side"]): each for each in ledger["positions"]}
    for data in strategy.datas:
        side = data.spec.position_side.value
        position = theirs.get((data.instrument.venue_symbol, side if side != "NET" else "BOTH")) or theirs.get(
            (data.instrument.venue_symbol, side), {"quantity": "0", "entry_price": "0"}
        )
        assert Decimal(repr(strategy.getposition(data).size)) == Decimal(position["quantity"])
        assert strategy.getposition(data).price == pytest.approx(float(position["entry_price"]))


def booked(ledger: dict[str, Any]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for each in ledger["bookings"]:
        sums[each["kind"]] = sums.get(each["kind"], Decimal(0)) + Decimal(each["amount"])
    return sums


def reverse(size: float) -> Any:
    return lambda strategy: strategy.order_target_size(target=size)


def end(strategy: Any) -> None:
    strategy.env.runstop()


@pytest.mark.parametrize(("market", "symbol", "unit"), [("usdm", "BTC/USDT", 0.1), ("coinm", "BTC/USD", 200)])
def test_the_account_is_the_simulators_also_after_a_restart_in_the_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, market: str, symbol: str, unit: float
) -> None:
    monkeypatch.setenv("BTX_HOME", str(tmp_path))
    datas = ({"dataname": symbol},)
    with simulator(margin_world(market, minutes=60)) as endpoints:
        store = btx.load(
            "binance", market=market, leverage=5, scenario=btx.scenario(attach=endpoints.control), keep="futures"
        )
        one = {1: reverse(unit), 8: reverse(-unit), 15: reverse(2 * unit), 22: reverse(3 * unit), 33: end}
        first, in_the_middle = trade(store, one, datas=datas)
        agree(first, in_the_middle)
        costs = first.analyzers[0].get_analysis()

        second, at_the_end = trade(store, {5: reverse(unit), 10: reverse(-unit), 20: reverse(0)}, datas=datas)

    agree(second, at_the_end)
    assert second.orders[0].info.seed
    assert second.orders[0].executed.size == pytest.approx(3 * unit)
    more = second.analyzers[0].get_analysis()
    sums = booked(at_the_end)
    assert sums["FUNDING"] != 0
    for name, kind in KINDS.items():
        both = sum(costs[name].values(), Decimal(0)) + sum(more[name].values(), Decimal(0))
        assert both == sums[kind]
    assert not any(text.startswith(("DRIFT", "HALT", "FAULT")) for text in (*first.store_notes, *second.store_notes))
    assert second.trades[-1].isclosed


def test_both_legs_trade_beside_each_other_with_brackets() -> None:
    def enter(strategy: Any) -> None:
        long, short = strategy.datas
        price = long.close[0]
        strategy.buy_bracket(
            data=long, size=0.2, exectype=bt.Order.Market, stopprice=price * 0.999, limitprice=price * 1.001
        )
        strategy.sell_bracket(
            data=short, size=0.1, exectype=bt.Order.Market, stopprice=price * 1.001, limitprice=price * 0.999
        )

    store = btx.load(
        "binance", market="usdm", leverage=5, position_mode="hedge", scenario=margin_world("usdm", minutes=60)
    )
    strategy, ledger = trade(
        store,
        {2: enter},
        datas=(
            {"dataname": "BTC/USDT", "position_side": "long"},
            {"dataname": "BTC/USDT", "position_side": "short"},
        ),
    )

    agree(strategy, ledger)
    closed = {trade.data._name for trade in strategy.trades if trade.isclosed}
    assert closed == {"BTC/USDT long", "BTC/USDT short"}
    assert not any(text.startswith(("DRIFT", "HALT", "FAULT", "NAKED")) for text in strategy.store_notes)


def test_a_position_is_worth_after_the_run_what_it_was_at_its_last_bar() -> None:
    values: list[float] = []
    steps: dict[int, Any] = {2: lambda strategy: strategy.buy(size=0.5)}
    steps |= {bar: lambda strategy: values.append(strategy.broker.getvalue()) for bar in range(5, 11)}
    store = btx.load("binance", market="usdm", scenario=margin_world("usdm", minutes=10))

    strategy, _ = trade(store, steps, datas=({"dataname": "BTC/USDT"},))

    assert len(set(values)) == len(values) > 3  # the mark price moves
    assert strategy.broker.getvalue() == values[-1]


def test_an_account_in_the_wrong_mode_is_found_at_the_start() -> None:
    store = btx.load("binance", market="usdm", scenario=margin_world("usdm", minutes=5))

    with pytest.raises(ConfigError, match=r"position_side='short'.*position_mode='hedge'"):
        trade(store, {}, datas=({"dataname": "BTC/USDT", "position_side": "short"},))


def test_the_same_symbol_owned_and_on_margin_is_traded_at_once_in_two_simulators() -> None:
    owned = btx.load("binance", scenario=world(minutes=12, origin_ns=BEFORE_MIDNIGHT_NS))
    held = btx.load("binance", market="usdm", leverage=2, scenario=margin_world("usdm", minutes=12))
    ledgers: list[dict[str, Any]] = []
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(btx.broker(owned, held))
    cerebro.adddata(owned.getdata("BTC/USDT", name="spot"))
    cerebro.adddata(held.getdata("BTC/USDT", name="perp"))

    def hedge(strategy: Any) -> None:
        strategy.buy(data=strategy.datas[0], size=0.2)
        strategy.sell(data=strategy.datas[1], size=0.1)

    def see(_strategy: Any) -> None:
        ledgers.extend(store.session.ledger() for store in (owned, held))

    cerebro.addstrategy(Scripted, steps={3: hedge}, at_end=see)
    (strategy,) = cerebro.run()

    bars = {name: [ts for each, ts in strategy.seen if each == name] for name in ("spot", "perp")}
    assert bars["spot"] == bars["perp"]  # both worlds went on step by step together
    spot, perp = ledgers
    bought = Decimal(spot["balances"]["BTC"]["free"])
    assert strategy.getposition(strategy.datas[0]).size == pytest.approx(float(bought), abs=1e-5)
    assert strategy.getposition(strategy.datas[1]).size == -0.1
    assert [Decimal(each["quantity"]) for each in perp["positions"]] == [Decimal("-0.1")]
    assert strategy.broker.ledger(owned)["USDT"] == Decimal(spot["balances"]["USDT"]["free"])
    assert strategy.broker.ledger(held)["USDT"] == Decimal(perp["wallets"]["USDT"]["wallet"])
    assert strategy.broker.getcash(strategy.datas[0]) != strategy.broker.getcash(strategy.datas[1])


def test_an_amended_order_is_one_venue_order_all_along_and_fills_as_amended_again_in_a_replay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desk: dict[str, Any] = {}

    def rest(strategy: Any) -> None:
        desk["order"] = strategy.buy(size=0.1, exectype=bt.Order.Limit, price=strategy.data.close[0] * 0.99)

    def move(strategy: Any) -> None:
        assert strategy.broker.amend(desk["order"], price=strategy.data.close[0] * 0.98, size=0.3)

    def meet(strategy: Any) -> None:
        assert strategy.broker.amend(desk["order"], price=strategy.data.close[0] * 1.001)

    def overreach(strategy: Any) -> None:
        assert strategy.broker.amend(desk["order"], size=50)  # the account has not the margin

    store = btx.load(
        "binance", market="usdm", leverage=5, limits=None, scenario=margin_world("usdm", minutes=30), record=tmp_path
    )
    strategy, ledger = trade(
        store, {2: rest, 4: move, 6: overreach, 8: meet}, datas=({"dataname": "BTC/USDT", "backfill": "1h"},)
    )

    agree(strategy, ledger)
    order = desk["order"]
    assert strategy.told(order)[:4] == ["Submitted", "Accepted", "Accepted", "Accepted"]
    assert strategy.told(order)[-1] == "Completed"
    assert order.executed.size == pytest.approx(0.3)
    assert "legs" not in order.info
    assert "Margin is insufficient" in order.info.amend_refused
    assert not any(text.startswith(("DRIFT", "HALT", "FAULT")) for text in strategy.store_notes)
    (file,) = parts(tmp_path)
    capsys.readouterr()
    assert run_replay(file, speed=None, strategy=None, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["differences"] == []
