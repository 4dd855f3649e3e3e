"""Indicators computed as whole arrays have the bits that backtrader's loops give them."""

import math
from typing import Any

import backtrader as bt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from btx.bt.vector import rolling_sums, vectorised
from tests.backtests import Told, both, columns

PRICES = st.lists(st.floats(0.01, 1e6), min_size=1, max_size=60)


@given(PRICES, st.integers(1, 20))
def test_rolling_sums_are_rounded_once_as_fsum_rounds(values: list[float], period: int) -> None:
    period = min(period, len(values))

    sums = rolling_sums(np.array(values), period)

    if sums is not None:
        assert sums.tolist() == [math.fsum(values[end - period : end]) for end in range(period, len(values) + 1)]


def test_prices_of_a_market_are_within_reach_and_far_apart_numbers_are_not() -> None:
    assert rolling_sums(np.linspace(20_000, 110_000, 500_000), 200) is not None
    assert rolling_sums(np.array([1e-9, 1e9]), 2) is None
    assert rolling_sums(np.array([1.0, math.nan]), 2) is None
    assert rolling_sums(np.array([0.0, -0.0]), 2) is None
    assert rolling_sums(np.zeros(3), 2).tolist() == [0.0, 0.0]


class Zoo(bt.Strategy):
    """One of each that is computed at once, and of what is like it and is not."""

    params: Any = (("close", None),)

    def __init__(self) -> None:
        close, opening, volume = self.data.close, self.data.open, self.data.volume
        moving = bt.ind.SMA(period=9)
        self.kept = [
            *(bt.ind.SMA(period=period) for period in (1, 2, 20)),
            *(bt.ind.SumN(each, period=7) for each in (close, volume, close - opening)),
            *(bt.ind.Highest(period=8), bt.ind.Lowest(period=8), bt.ind.Highest(period=70)),
            *(bt.ind.Highest(close - opening, period=3), bt.ind.FindFirstIndexHighest(period=4)),
            *(close + opening, close - 1, 2 * close, 1.5 - close, close / 7, 3 / close, close / volume),
            *(close < opening, close <= opening, close > moving, close >= moving, close == opening, close != opening),
            *(close**2, close // 3, -close, abs(close - moving), close(-3), moving(-1), close(0)),
            *(bt.And(close > opening, close > moving), bt.Or(close > opening, close < moving, volume > 20)),
            *(bt.And(close - opening, 1.0), bt.Max(close, opening, moving), bt.Min(close, moving)),
            *(bt.If(close > 99, 1, moving), bt.ind.MACDHisto(), bt.ind.BollingerBands()),
            *(bt.ind.NonZeroDifference(close, opening), bt.ind.CrossOver(close, moving), bt.ind.CrossUp(close, 100.0)),
            *(bt.ind.EMA(), bt.ind.RSI(safediv=True), bt.ind.Stochastic(safediv=True)),
            *(bt.ind.ATR(), bt.ind.CCI(), bt.ind.WMA(), bt.ind.HMA(), bt.ind.AroonUpDown(), bt.ind.Momentum()),
        ]  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_every_indicator_has_the_bits_of_backtraders_own(seed: int) -> None:
    bars = columns(seed, 300, holes=0.1)
    if seed % 2:  # a market that stands still has differences of zero
        bars.close[:] = bars.open[:]

    def build(cerebro: Any, datas: list[Any], _told: Told) -> None:
        cerebro.adddata(datas[0])
        cerebro.addstrategy(Zoo)

    alone, ours = both([bars], build)

    assert ours == alone
    assert "raised" not in alone[0]


def test_an_indicator_that_somebody_made_his_own_is_left_alone() -> None:
    class Mine(bt.ind.PeriodN):
        lines: Any = ("mine",)
        params: Any = (("period", 3),)

        def next(self) -> None:
            self.lines.mine[0] = math.fsum(self.data.get(size=3)) * self.data.close[0]

    class Uses(bt.Strategy):
        def __init__(self) -> None:
            self.mine = Mine()

    def build(cerebro: Any, datas: list[Any], _told: Told) -> None:
        cerebro.adddata(datas[0])
        cerebro.addstrategy(Uses)

    alone, ours = both([columns(3, 40)], build)

    assert ours == alone


def test_what_was_lent_to_indicators_is_taken_back() -> None:
    seen: list[Any] = []

    class Looks(bt.Strategy):
        def __init__(self) -> None:
            self.average = bt.ind.SMA(period=5)

        def stop(self) -> None:
            seen.append(set(vars(self.average)) & {"once", "forward"})

    def build(cerebro: Any, datas: list[Any], _told: Told) -> None:
        cerebro.adddata(datas[0])
        cerebro.addstrategy(Looks)

    both([columns(3, 40)], build)

    assert seen == [set(), set()]
    with vectorised([]):
        pass
