"""Positions the exchange closes: told as what it is, shown to the strategy, and booked to the last digit."""

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import backtrader as bt
import pytest

import btx
from btx.model.account import BookingKind
from btx.model.venue import Endpoints
from btx.runtime.control import Control
from tests.e2e.test_futures import agree, end, simulator, trade
from tests.e2e.trading import Scripted, account, world

BEFORE_DELIVERY_NS = 1_735_889_400_000_000_000  # 2025-01-03T07:30:00Z


def test_a_liquidation_is_warned_of_told_and_booked_like_the_venue_does() -> None:
    store = btx.load(
        "binance",
        env="sim",
        market="usdm",
        leverage=100,
        limits=None,
        scenario=world(minutes=600, market="usdm", accounts=(account(USDT="1000"),)),
    )
    found: dict[str, Any] = {}

    def at_end(_strategy: Any) -> None:
        session = store.session
        account_now = session.margin()
        assert account_now is not None
        found.update(
            ledger=session.ledger(),
            sums=dict(session.sums()),
            wallet=account_now.wallet("USDT"),
            halted=session.halted(),
        )

    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(store.getbroker(on_stop="keep"))
    cerebro.adddata(store.getdata("BTC/USDT", timeframe=bt.TimeFrame.Minutes))
    cerebro.addstrategy(
        Scripted, steps={1: lambda strategy: strategy.buy(size=90_000 / strategy.data.close[0])}, at_end=at_end
    )
    (strategy,) = cerebro.run()

    said = [str(note) for note in strategy.store_notes]
    assert len([text for text in said if text.startswith("MARGIN: ")]) == 1
    (liquidated,) = [text for text in said if text.startswith("LIQUIDATED: ")]
    assert "the exchange made an order: SELL" in liquidated
    assert strategy.position.size == 0
    assert [trade.isclosed for trade in strategy.trades][-1]
    assert found["ledger"]["positions"] == []
    assert found["wallet"] == Decimal(found["ledger"]["wallets"]["USDT"]["wallet"])
    assert found["halted"] is None
    booked: dict[Any, Decimal] = {}
    for row in found["ledger"]["bookings"]:
        key = BookingKind(row["kind"]), row["asset"]
        booked[key] = booked.get(key, Decimal(0)) + Decimal(row["amount"])
    booked.pop((BookingKind.TRANSFER, "USDT"), None)  # what it began with
    assert found["sums"] == booked
    assert (BookingKind.LIQUIDATION_FEE, "USDT") in booked


async def let_pass(endpoints: Endpoints, *, minutes: int) -> None:
    control = await Control.connect(endpoints.control)
    for _ in range(minutes):
        await control.ask("advance", api_key=endpoints.accounts[0].api_key)
    await control.close()


def test_a_contract_that_was_delivered_while_nobody_was_there_is_told_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BTX_HOME", str(tmp_path))
    symbols = "BTC/USDT:USDT-250103", "BTC/USDT:USDT"
    legs = tuple({"dataname": symbol, "position_side": side} for symbol in symbols for side in ("long", "short"))

    def enter(strategy: Any) -> None:
        long, short = strategy.datas[:2]
        price = long.close[0]
        strategy.buy_bracket(
            data=long, size=0.2, exectype=bt.Order.Market, stopprice=price * 0.9, limitprice=price * 1.1
        )
        strategy.sell(data=short, size=0.1)

    scenario = world(
        minutes=60,
        market="usdm",
        origin_ns=BEFORE_DELIVERY_NS,
        symbols=symbols,
        accounts=(account(USDT="100000"),),
    )
    with simulator(scenario) as endpoints:
        store = btx.load(
            "binance",
            market="usdm",
            position_mode="hedge",
            limits=None,
            scenario=btx.scenario(attach=endpoints.control),
            keep="delivered",
        )
        trade(store, {2: enter, 5: end}, datas=legs)
        asyncio.run(let_pass(endpoints, minutes=40))
        second, ledger = trade(store, {5: end}, datas=legs)

    assert ledger["positions"] == []
    agree(second, ledger)
    said = [text for text in second.store_notes if text.startswith(("DELIVERED", "HALT", "FOREIGN", "DRIFT", "FAULT"))]
    assert [text.partition(":")[0] for text in said] == ["DELIVERED", "DELIVERED"]
    assert {trade.data._name for trade in second.trades if trade.isclosed} == {
        f"{symbols[0]} {leg}" for leg in ("long", "short")
    }
    assert second.broker.open_orders() == []
