"""Bars of seconds, of trades and of longer parts, on the simulator: each is what the market itself makes of them."""

import itertools
import os
from typing import Any

import backtrader as bt
import pytest

from btx.model.time import NS_PER_HOUR, NS_PER_MINUTE, Interval
from btx.model.venue import Scenario
from btx.sim.faults import Fault, FaultScript, Kind, Where, script_to_json
from btx_binance.sim.exchange_info import _FULL, _GRIDS
from tests.e2e.made_bars import Seen, Truth, name_of, play, start_of
from tests.e2e.venues import BINANCE_SPOT, CONTRACTS, PLACES, Place

LISTED = tuple(line.split()[0] for line in (_FULL + _GRIDS).splitlines() if line)
INTERVALS = ("1m", "3m", "5s", "2m", "1m made")


def world(*, minutes: int = 5, **settings: Any) -> Scenario:
    return Scenario(seed=5, until_ns=minutes * NS_PER_MINUTE, warmup_ns=NS_PER_HOUR, **settings)


def feed(symbol: str, interval: str, **settings: Any) -> dict[str, Any]:
    text, _, made = interval.partition(" ")
    return {"dataname": symbol, "timeframe": text, **({"from_trades": True} if made else {}), **settings}


def agree(seen: Seen, scenario: Scenario, place: Place = BINANCE_SPOT) -> None:
    """See that each data had every bar of the market from its first one on, and nothing else."""
    truth = Truth(scenario, place)
    for name, rows in seen.rows.items():
        assert rows, name
        symbol, text, *_ = name.split()
        bars = truth.bars(symbol, Interval.parse(text), start_of(rows))
        assert [_rounded(row) for row in rows] == [_rounded(row) for row in bars], name


def _rounded(row: Any) -> Any:
    return (*row[:-1], round(row[-1], 9))  # longer bars sum floats


@pytest.mark.parametrize("count", [10, pytest.param(len(LISTED), marks=pytest.mark.slow)])
def test_many_symbols_and_intervals_native_and_made_have_each_their_own_bars(count: int) -> None:
    if count > 10 and not os.environ.get("BTX_FULL_SIZE"):
        pytest.skip("set BTX_FULL_SIZE=1 for all symbols the simulator lists, six intervals each")
    intervals = INTERVALS if count == 10 else (*INTERVALS, "10s")
    scenario = world(symbols=LISTED[-count:], minutes=4)
    feeds = [feed(symbol, each, backfill="2m") for symbol in LISTED[-count:] for each in intervals]

    seen = play(scenario, feeds)

    names = [name_of(each) for each in feeds]
    assert len(seen.rows) == len(names) == count * len(intervals)
    assert min(map(len, seen.rows.values())) >= 2
    agree(seen, scenario)
    assert seen.stamps == sorted(seen.stamps)
    assert not [note for note in seen.notes if note.startswith(("GAP", "LATE", "FAULT"))]


def test_bars_made_of_trades_are_the_venues_own_and_ticks_are_its_trades() -> None:
    scenario = world()
    feeds = [
        feed("BTC/USDT", "1m", backfill=5),
        feed("BTC/USDT", "1m made", backfill=5),
        feed("BTC/USDT", "1t", backfill=10),
        feed("ETH/USDT", "7t", backfill="1m"),
        feed("ETH/USDT", "1s"),
    ]

    seen = play(scenario, feeds)

    agree(seen, scenario)
    assert seen.rows["BTC/USDT 1m"] == seen.rows["BTC/USDT 1m made"]
    assert len(seen.rows["BTC/USDT 1m"]) == 10
    assert seen.statuses.count("BTC/USDT 1t LIVE") == 1


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        *itertools.product(PLACES, (Kind.CUT, Kind.DUPLICATE, Kind.REORDER, Kind.TRUNCATE)),
        *itertools.product(CONTRACTS, (Kind.CUT,)),
    ],
    ids=str,
)
def test_whatever_happens_to_the_pushes_every_made_bar_is_the_markets(place: Place, kind: Kind) -> None:
    strikes = [Fault(kind=kind, where=Where.MARKET_STREAM, at=at, for_s=0.01) for at in (3, 40, 41)]
    scenario = world(minutes=4, faults=script_to_json(FaultScript(faults=tuple(strikes))))
    feeds = [feed(place.symbols[0], each, backfill="1m") for each in ("5s", "1m made", "1t", "4t")]

    seen = play(scenario, feeds, place=place)

    agree(seen, scenario, place)
    assert not [note for note in seen.notes if note.startswith(("GAP", "LATE"))]


def test_resampled_live_data_have_the_bars_that_getdata_has_from_trades_and_from_minutes() -> None:
    scenario = world(minutes=6)
    sources = [
        feed("BTC/USDT", "1t", backfill="2m"),
        feed("BTC/USDT", "5s", backfill="2m"),
        feed("BTC/USDT", "1m", backfill="2m"),
        feed("ETH/USDT", "7s", backfill="2m"),
    ]

    def resample(cerebro: bt.Cerebro, _: Any) -> None:
        trades, fives, minutes, _ = cerebro.datas
        for source, frame, factor, name in (
            (trades, bt.TimeFrame.Seconds, 5, "BTC/USDT 5s of trades"),
            (trades, bt.TimeFrame.Ticks, 4, "BTC/USDT 4t of trades"),
            (trades, bt.TimeFrame.Minutes, 1, "BTC/USDT 1m of trades"),
            (minutes, bt.TimeFrame.Minutes, 2, "BTC/USDT 2m of minutes"),
        ):
            cerebro.resampledata(source, name=name, timeframe=frame, compression=factor)
        assert fives.interval == Interval.parse("5s")

    seen = play(scenario, sources, resample)

    agree(seen, scenario)
    assert seen.rows["BTC/USDT 5s of trades"] == seen.rows["BTC/USDT 5s"]
    assert seen.rows["BTC/USDT 1m of trades"] == seen.rows["BTC/USDT 1m"]


def test_replayed_minutes_grow_with_every_trade_beside_another_symbol() -> None:
    scenario = world(minutes=3)
    feeds = [feed("BTC/USDT", "1t"), feed("ETH/USDT", "10s")]

    def replay(cerebro: bt.Cerebro, _: Any) -> None:
        cerebro.replaydata(cerebro.datas[0], name="BTC/USDT 1m", timeframe=bt.TimeFrame.Minutes, compression=1)

    seen = play(scenario, feeds, replay)

    truth = Truth(scenario)
    ticks = seen.rows["BTC/USDT 1t"]
    grown = [
        look for look, _ in itertools.groupby(seen.looks["BTC/USDT 1m"])
    ]  # the other symbol's bars show it again as it is
    assert len(grown) == len(ticks) == len(truth.trades("BTC/USDT", start_of(ticks)))
    assert [row[1] for _, row in grown] == [row[1] for row in ticks]
    last = dict(grown)
    minutes = truth.bars("BTC/USDT", Interval.parse("1m"), start_of(ticks))
    assert [_values(row) for row in last.values()] == [_values(row) for row in minutes]


def _values(row: Any) -> Any:
    return (row[0], *row[2:-1], round(row[-1], 9))
