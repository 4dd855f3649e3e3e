"""Where ``fills="bars"`` and ``fills="stock"`` differ: rows of the table in docs/how-to/backtest.md, seen on both."""

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import backtrader as bt
import pytest

from btx.model.market import BarColumns
from btx.rules.account import Terms
from tests.unit.bt.bar_rig import FREE, SPOT, Run, bars_of, flat, play

LIMIT, STOP = bt.Order.Limit, bt.Order.Stop
Script = dict[int, Callable[[Any], Any]]
ETH = attrs.evolve(SPOT, symbol="ETH/USDT", base="ETH")
LONG = [bars_of(*flat(*[50] * 6)), bars_of((100, 110, 80, 100), (100, 105, 95, 100), symbol="ETH/USDT", minutes=3)]


def exits(strategy: Any) -> None:
    target = strategy.sell(size=1, price=110, exectype=LIMIT)
    strategy.sell(size=1, price=90, exectype=STOP, oco=target)


DIFFERENCES: dict[str, tuple[BarColumns | Sequence[BarColumns], Script, tuple[Any, ...], tuple[Any, ...]]] = {
    "an order on a data without a new bar": (
        LONG,
        {4: lambda s: s.buy(data=s.datas[1], size=1, price=85, exectype=LIMIT)},
        ((1, "Completed", 1.0, 85.0),),
        ((1, "Accepted", 0, 0.0),),
    ),
    "an order sent while a long bar is made": (
        [LONG[0], bars_of(*flat(100), (100, 140, 60, 120), symbol="ETH/USDT", minutes=3)],
        {4: lambda s: s.buy(data=s.datas[1], size=1)},
        ((1, "Completed", 1.0, 100.0),),
        ((1, "Completed", 1.0, 120.0),),
    ),
    "a cancel in the bar of the order": (
        bars_of(*flat(100, 100)),
        {1: lambda s: s.cancel(s.buy(size=1))},
        ((1, "Completed", 1.0, 100.0),),
        ((1, "Canceled", 0, 0.0),),
    ),
    "a gap through a limit that rests": (
        bars_of(*flat(100, 100, 95)),
        {1: lambda s: s.buy(size=1, price=98, exectype=LIMIT)},
        ((1, "Completed", 1.0, 95.0),),
        ((1, "Completed", 1.0, 98.0),),
    ),
    "a bar that spans both exits": (
        bars_of(*flat(100, 100), (100, 115, 85, 100)),
        {1: lambda s: s.buy(size=1), 2: exits},
        ((1, "Completed", 1.0, 100.0), (2, "Completed", -1.0, 110.0), (3, "Canceled", 0, 0.0)),
        ((1, "Completed", 1.0, 100.0), (2, "Canceled", 0, 0.0), (3, "Completed", -1.0, 90.0)),
    ),
    "a stop reached in the bar of its entry": (
        bars_of(*flat(100), (100, 100, 90, 94), *flat(97)),
        {1: lambda s: s.buy_bracket(size=1, price=98, stopprice=95, limitprice=110)},
        ((1, "Completed", 1.0, 98.0), (2, "Accepted", 0, 0.0), (3, "Accepted", 0, 0.0)),
        ((1, "Completed", 1.0, 98.0), (2, "Completed", -1.0, 95.0), (3, "Canceled", 0, 0.0)),
    ),
    "a stop whose trigger has passed": (
        bars_of(*flat(100, 100), (95, 100, 90, 95)),
        {2: lambda s: s.buy(size=1, price=98, exectype=STOP)},
        ((1, "Completed", 1.0, 98.0),),
        ((1, "Completed", 1.0, 95.0),),
    ),
    "a sale of what is not owned": (
        bars_of(*flat(100, 100)),
        {1: lambda s: s.sell(size=1)},
        ((1, "Completed", -1.0, 100.0),),
        ((1, "Margin", 0, 0.0),),
    ),
    "a size that is on no grid": (
        bars_of(*flat(100, 100)),
        {1: lambda s: s.buy(size=0.12345)},
        ((1, "Completed", 0.12345, 100.0),),
        ((1, "Completed", 0.123, 100.0),),
    ),
    "an order below the smallest notional": (
        bars_of(*flat(100, 100)),
        {1: lambda s: s.buy(size=0.01)},
        ((1, "Completed", 0.01, 100.0),),
        ((1, "Rejected", 0, 0.0),),
    ),
    "a share of the value in fractions": (
        bars_of(*flat(3000, 3000)),
        {1: lambda s: s.order_target_percent(target=0.5)},
        ((1, "Completed", 1.0, 3000.0),),
        ((1, "Completed", 1.666, 3000.0),),
    ),
}


def ends(run: Run) -> tuple[Any, ...]:
    last = {each[1]: (*each[1:4], round(each[4], 9)) for each in run.told}
    return tuple(last[ref] for ref in sorted(last))


@pytest.mark.parametrize("what", DIFFERENCES)
def test_a_difference_to_backtraders_own_broker_is_as_the_page_says(what: str) -> None:
    bars, script, stock, ours = DIFFERENCES[what]
    words: dict[str, Any] = {"terms": [Terms(instrument=SPOT), Terms(instrument=ETH)], "fee": FREE}

    assert ends(play(bars, script, is_stock=True, **words)) == stock
    assert ends(play(bars, script, **words)) == ours
