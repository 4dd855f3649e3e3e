"""Bars: folding neither loses nor doubles, and does not care how the way was cut."""

import csv
import functools
import gzip
import itertools
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from btx.model.market import Bar, Trade
from btx.model.order import Side
from btx.model.time import NS_PER_MINUTE, Interval, from_ms
from btx.rules.bars import Arrival, BarFold, TradeFold, close_due, fold, fold_bar, judge
from tests.values import MINUTE, bar, trade

SYMBOL = "BTC/USDT"


@st.composite
def prints(draw: st.DrawFn) -> list[Trade]:
    minutes = sorted(draw(st.lists(st.floats(0, 30, allow_nan=False), min_size=1, max_size=60)))
    return [
        trade(number, minute, draw(st.integers(1, 1000)), draw(st.integers(1, 9)))
        for number, minute in enumerate(minutes)
    ]


def cut(trades: list[Trade], interval: Interval) -> list[Bar]:
    state, bars = TradeFold(symbol=SYMBOL, interval=interval), []
    for one in trades:
        state, closed = fold(state, one)
        bars.extend(closed)
    return [*bars, *close_due(state, now_ns=2**63)[1]]


def longer(bars: list[Bar], interval: Interval) -> list[Bar]:
    state, closed = BarFold(interval=interval), []
    for one in bars:
        state, made = fold_bar(state, one)
        closed.extend(made)
    return closed


@given(trades=prints(), data=st.data())
def test_every_trade_is_in_one_bar_once_however_often_it_is_told(trades: list[Trade], data: st.DataObject) -> None:
    told = [one for one in trades for _ in range(data.draw(st.integers(1, 2)))]

    bars = cut(told, MINUTE)

    assert sum(one.volume for one in bars) == sum(one.quantity for one in trades)
    assert sum(one.trades or 0 for one in bars) == len(trades)
    assert all(before.close_ns <= after.open_ns for before, after in itertools.pairwise(bars))
    assert all(one.low <= min(one.open, one.close) <= max(one.open, one.close) <= one.high for one in bars)


@given(trades=prints())
def test_fives_folded_from_minutes_are_the_fives_cut_from_trades(trades: list[Trade]) -> None:
    every_minute = [trade("", minute + 0.5) for minute in range(30)]  # a minute without a trade has no bar
    busy = sorted([*trades, *every_minute], key=lambda one: one.time_ns)
    numbered = [attrs.evolve(one, trade_id=number) for number, one in enumerate(busy)]
    five = Interval.parse("5m")

    fives = longer(cut(numbered, MINUTE), five)

    assert fives == [one for one in cut(numbered, five) if one.open_ns < 30 * NS_PER_MINUTE]


@given(
    history=st.integers(0, 20),
    overlap=st.integers(0, 5),
    live=st.integers(0, 20),
)
def test_history_and_live_join_without_a_double_or_a_hole(history: int, overlap: int, live: int) -> None:
    last_close_ns, taken = None, []

    for one in [*map(bar, range(history)), *map(bar, range(max(history - overlap, 0), history + live))]:
        if judge(one, last_close_ns=last_close_ns) is Arrival.ACCEPT:
            taken.append(one)
            last_close_ns = one.close_ns

    assert taken == [bar(minute) for minute in range(history + live)]


LONGER = {"15m": 2880, "30m": 1440, "1h": 720, "2h": 360, "4h": 180, "6h": 120, "8h": 90, "12h": 60}
LONGER |= {"1d": 30, "3d": 9, "1w": 4, "1M": 1}


@pytest.mark.parametrize("text", LONGER)
@pytest.mark.parametrize("coin", ["BTC", "ETH"])
def test_real_minutes_of_june_2025_fold_into_the_venues_own_longer_bars(btx_data: Path, coin: str, text: str) -> None:
    interval = Interval.parse(text)
    minutes = _rows(btx_data / f"klines/binance_spot_{coin}USDT_1m_2025-06.csv.gz", MINUTE)
    theirs = {
        one.open_ns: one
        for one in _rows(btx_data / f"klines/multi_interval/binance_spot_{coin}USDT_{text}.csv.gz", interval)
    }

    ours = longer(minutes, interval)

    differences = [one for one in ours if one != theirs[one.open_ns]]
    print(f"{coin} {text}: {len(ours)} bars of {len(minutes)} minutes, {len(differences)} differences")  # noqa: T201 -- `pytest -s` shows
    assert len(ours) == LONGER[text]
    assert differences == []


def test_real_trades_become_the_minutes_of_the_answer_key(btx_data: Path) -> None:
    session = btx_data / "wire/binance_spot_btcusdt_2024-08-08T2354_0809T0005"
    answer = json.loads(session.with_suffix(".expected.json").read_text(encoding="utf-8"))
    with gzip.open(session.with_suffix(".jsonl.gz"), "rt", encoding="utf-8") as lines:
        messages = [json.loads(line)["msg"] for line in lines if '@trade"' in line]

    bars = cut([_trade(message["data"]) for message in messages], MINUTE)

    assert [(one.open_ns, one.open, one.high, one.low, one.close, one.volume, one.trades) for one in bars] == [
        (from_ms(row[0]), *map(Decimal, row[1:6]), row[6]) for row in answer["bars_1m_from_trades"]
    ]


def _trade(frame: dict[str, Any]) -> Trade:
    return Trade(
        symbol=SYMBOL,
        trade_id=frame["t"],
        price=Decimal(frame["p"]),
        quantity=Decimal(frame["q"]),
        side=Side.SELL if frame["m"] else Side.BUY,
        time_ns=from_ms(frame["T"]),
    )


@functools.cache
def _rows(path: Path, interval: Interval) -> list[Bar]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [_bar(row, interval) for row in csv.reader(lines) if row[0].isdigit()]


def _bar(row: list[str], interval: Interval) -> Bar:
    open_ns = from_ms(int(row[0]))
    first, high, low, close, volume = map(Decimal, row[1:6])
    return Bar(
        symbol=SYMBOL,
        interval=interval,
        open_ns=open_ns,
        close_ns=interval.close_of(open_ns),
        open=first,
        high=high,
        low=low,
        close=close,
        volume=volume,
        is_closed=True,
    )
