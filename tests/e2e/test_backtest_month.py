"""A month of real perpetual minutes with real funding: money to the last decimal."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import backtrader as bt
import pytest

import btx
from btx.bt.folds import close_ns_of
from btx.model.account import BookingKind
from btx.model.time import NS_PER_DAY, NS_PER_MS
from btx.rules.account import Terms
from btx.rules.money import booked
from btx.sim.rates import load_rates
from tests.backtests import START_NS
from tests.unit.bt.bar_rig import FREE, PERP, TIERS, bars_of, flat, play

CASH = Decimal(100_000)


class Trend(bt.Strategy):
    """Always in the market with both, long or short; a stop far away; every fill is kept."""

    def __init__(self) -> None:
        self.fills: list[Any] = []
        self.crosses = [
            bt.ind.CrossOver(bt.ind.SMA(data, period=200), bt.ind.SMA(data, period=900)) for data in self.datas
        ]

    def notify_order(self, order: Any) -> None:
        if order.status in {order.Partial, order.Completed}:
            self.fills.append(order.info["fills"][-1])

    def next(self) -> None:
        for data, cross in zip(self.datas, self.crosses, strict=True):
            size = 0.1 if data is self.datas[0] else 2.0
            if cross[0]:
                self.order_target_size(data=data, target=size if cross[0] > 0 else -size)


def files(btx_data: Path, kind: str, span: str) -> dict[str, Path]:
    ending = "csv.gz" if kind == "klines" else "csv"
    word = "1m" if kind == "klines" else "funding"
    return {
        f"{coin}/USDT": btx_data / kind / f"binance_usdm_{coin}USDT_{word}_{span}.{ending}" for coin in ("BTC", "ETH")
    }


def test_fees_funding_and_what_was_realised_are_the_change_of_the_balance(btx_data: Path) -> None:
    rates = files(btx_data, "funding", "2025-03_06")
    store = btx.load(
        "binance",
        env="backtest",
        market="usdm",
        leverage=10,
        scenario=btx.scenario(data=files(btx_data, "klines", "2025-05-05_2025-06-02"), funding=rates),
    )
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(store.getbroker())
    for symbol in rates:
        cerebro.adddata(store.getdata(symbol))
    cerebro.addstrategy(Trend)

    (strategy,) = cerebro.run()

    sums = {kind: amount for (kind, _asset), amount in cerebro.broker.booked().items()}
    assert set(sums) == {BookingKind.FEE, BookingKind.REALISED, BookingKind.FUNDING}
    assert cerebro.broker.ledger()["USDT"] - CASH == sum(sums.values())
    assert sums[BookingKind.FEE] == -sum(fill.fee for fill in strategy.fills)
    assert sums[BookingKind.FUNDING] == paid(strategy.fills, rates, until_ns=close_ns_of(strategy.data.lines))
    assert len(strategy.fills) > 100


def paid(fills: list[Any], rates: dict[str, Path], *, until_ns: int) -> Decimal:
    """Count once more, from fills and files: a market order is executed when the next bar opens, after the stamp."""
    total = Decimal(0)
    for symbol, file in rates.items():
        name = f"{symbol}:USDT"
        for rate in load_rates(file, symbol=name):
            if rate.time_ns > until_ns:
                break
            held = sum(
                (
                    fill.side.sign * fill.quantity
                    for fill in fills
                    if fill.symbol == name and fill.time_ns < rate.time_ns
                ),
                Decimal(0),
            )
            assert rate.mark_price is not None
            total += booked(-held * rate.mark_price * rate.rate)
    return total


@pytest.mark.parametrize(("coin", "sum_paid"), [("BTC", "800.33680776"), ("ETH", "25.21136704")])
def test_a_constant_long_pays_what_the_recorded_rates_add_up_to(btx_data: Path, coin: str, sum_paid: str) -> None:
    """One unit from before the first stamp to after the last; each payment is cut to eight decimals."""
    perp = attrs.evolve(PERP, symbol=f"{coin}/USDT:USDT", base=coin)
    rates = load_rates(btx_data / f"funding/binance_usdm_{coin}USDT_funding_2025-03_06.csv", symbol=perp.symbol)
    hours = (rates[-1].time_ns - rates[0].time_ns) // (NS_PER_DAY // 24) + 6
    offset = (rates[0].time_ns - START_NS) // (NS_PER_MS * 60_000) - 3 * 60

    run = play(
        bars_of(*flat(*[1000.0] * hours), symbol=perp.symbol, minutes=60, offset=offset),
        {1: lambda s: s.buy(size=1)},
        terms=Terms(instrument=perp, tiers=TIERS, leverage=1),
        cash="100000",
        fee=FREE,
        funding=rates,
    )

    change = run.broker.ledger()["USDT"] - CASH
    assert change == run.broker.booked()[BookingKind.FUNDING, "USDT"]
    assert abs(change + Decimal(sum_paid)) < len(rates) * Decimal("1e-8")
