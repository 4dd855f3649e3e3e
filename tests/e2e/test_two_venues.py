"""Two venues, two accounts each, in one cerebro: orders, cash and positions are never mixed."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import backtrader as bt
import pytest

import btx
from btx.model.venue import Endpoints
from btx.runtime.control import Control
from btx.sim.texts import endpoints_from_json

VENUES = ("binance", "bybit")
ACCOUNTS = (1, 2)
DEADLINE_S = 60
SIZES = {  # each another one, so that a fill in a wrong book shows
    ("binance", 1): Decimal("0.011"),
    ("binance", 2): Decimal("0.022"),
    ("bybit", 1): Decimal("0.033"),
    ("bybit", 2): Decimal("0.044"),
}


@pytest.fixture
def simulators() -> Iterator[dict[str, Endpoints]]:
    """A simulator of each venue, with two accounts each, a minute a second."""
    with ExitStack() as stack:
        started = {}
        for venue in VENUES:
            command = (venue, "--accounts", "2", "--speed", "60", "--detach", "--json")
            child = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "btx", "sim", *command],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(child.wait, DEADLINE_S)
            stack.callback(child.send_signal, signal.SIGTERM)
            started[venue] = child
        found = {}
        for venue, child in started.items():
            assert child.stdout is not None
            found[venue] = endpoints_from_json(child.stdout.readline())
        yield found


async def ledger(endpoints: Endpoints, number: int) -> Mapping[str, Any]:
    control = await Control.connect(endpoints.control)
    try:
        return await control.ask("ledger", api_key=endpoints.accounts[number - 1].api_key)
    finally:
        await control.close()


class Apart(bt.Strategy):
    """Buys each account's own size, then sells half of it again in the first account of each venue, and ends."""

    def __init__(self) -> None:
        self.bars = {data._name: 0 for data in self.datas}
        self.lengths = dict(self.bars)
        self.told: dict[str, list[Any]] = {data._name: [] for data in self.datas}
        self.halved: set[str] = set()

    def notify_order(self, order: Any) -> None:
        if order.status == order.Completed:
            self.told[order.data._name].append((order.isbuy(), order.executed.size))

    def next(self) -> None:
        for data in self.datas:
            name = data._name
            if data.is_live and len(data) > self.lengths[name]:  # this is its own bar, and fresh
                self.bars[name] += 1
                self.act(data, self.bars[name])
            self.lengths[name] = len(data)
        is_told = sum(map(len, self.told.values())) == len(SIZES) + len(VENUES)
        if min(self.bars.values()) >= (5 if is_told else 60):
            self.env.runstop()

    def act(self, data: Any, bar: int) -> None:
        key = key_of(data._name)
        size = float(SIZES[key])
        if bar == 1:
            self.buy(data=data, size=size)
        elif bar >= 3 and key[1] == 1 and self.told[data._name] and data._name not in self.halved:
            self.halved.add(data._name)
            self.sell(data=data, size=size / 2)


def key_of(name: str) -> tuple[str, int]:
    venue, number = name.split()
    return venue, int(number)


def test_four_accounts_at_two_venues_each_have_their_own_orders_cash_and_position(
    simulators: dict[str, Endpoints], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BTX_HOME", str(tmp_path))
    stores = {
        (venue, number): btx.load(venue, scenario=btx.scenario(attach=simulators[venue].control, account=number))
        for venue in VENUES
        for number in ACCOUNTS
    }
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(btx.broker(*stores.values()))
    for (venue, number), store in stores.items():
        data = store.getdata("BTC/USDT", timeframe=bt.TimeFrame.Minutes, max_signal_age="1d")
        cerebro.adddata(data, name=f"{venue} {number}")
    cerebro.addstrategy(Apart)
    (strategy,) = cerebro.run()

    sides = [side for told in strategy.told.values() for side, _ in told]
    assert (sides.count(True), sides.count(False)) == (4, 2)
    for data in strategy.datas:
        venue, number = key_of(data._name)
        there = asyncio.run(ledger(simulators[venue], number))
        ours = strategy.broker.ledger(stores[venue, number])
        owned = {asset: Decimal(row["free"]) + Decimal(row["locked"]) for asset, row in there["balances"].items()}
        assert {asset: total for asset, total in owned.items() if total} == {
            asset: total for asset, total in ours.items() if total
        }
        assert sum(Decimal(row["quantity"]) for row in there["fills"]) == sum(
            (abs(Decimal(str(size))) for _, size in strategy.told[data._name]), Decimal(0)
        )
        assert strategy.getposition(data).size == pytest.approx(float(owned["BTC"]), abs=1e-12)
        assert strategy.broker.getcash(data=data) == pytest.approx(float(owned["USDT"]))
