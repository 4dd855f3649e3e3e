"""Bars made of trades do not depend on what the stream does: any cut, loss, repeat or delay gives the same bars."""

import enum
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from btx.model.market import Bar, Trade
from btx.model.time import NS_PER_S, Interval
from btx.rules.bars import TradeFold, close_due, fold
from tests.toy_venue import ToyVenue
from tests.unit.runtime.rig import run
from tests.unit.runtime.tape_rig import TapeRig
from tests.values import trade

INTERVALS = tuple(Interval.parse(text) for text in ("1s", "5s", "1m", "3t"))


class Way(enum.Enum):
    """How a trade reaches the stream."""

    PUSHED = "once"
    TWICE = "twice"
    LOST = "not at all"
    DELAYED = "after the one behind it"
    CUT = "not, and the connection is cut"
    BACK = "once, after the connection came back"


WAYS = st.lists(st.sampled_from(Way), min_size=1, max_size=60)


def cut(trades: list[Trade], interval: Interval) -> list[Bar]:
    state, bars = TradeFold(symbol="BTC/USDT", interval=interval), []
    for one in trades:
        state, closed = fold(state, one)
        bars.extend(closed)
    return [*bars, *close_due(state, now_ns=2**62)[1]]


class Played:
    """A tape that hears of trades in the ways that were drawn."""

    def __init__(self, *, dense: bool) -> None:
        self.toy = ToyVenue(now_minute=0)
        self.toy.page = 7
        self.rig = TapeRig(self.toy, dense=dense, most_held=5, poll_s=60.0)
        self.taken: list[Trade] = []
        reader: Any = self.rig.tape._reader
        reader.on_trade = self.taken.append
        self.is_up = True
        self.delayed: list[Trade] = []

    async def happen(self, one: Trade, way: Way) -> None:
        self.toy.print(one)
        if way is Way.CUT:
            self.is_up = False
            self.rig.tape.on_down("cut")
        elif way is Way.BACK and not self.is_up:
            self.is_up = True
            self.rig.tape.on_up()
        if way is Way.DELAYED:
            self.delayed.append(one)
            return
        told = {Way.LOST: 0, Way.CUT: 0, Way.TWICE: 2}.get(way, 1)
        for each in [one] * told + self.delayed:
            if self.is_up:
                self.rig.tape.on_event(each)
        self.delayed.clear()
        if way is Way.BACK:
            await self.rig.log.until(lambda: self.rig.tape.is_synced)


def play(trades: list[Trade], ways: list[Way], *, dense: bool) -> list[Trade]:
    taken: list[Trade] = []

    async def scene() -> None:
        played = Played(dense=dense)
        await played.rig.up()
        for one, way in zip(trades, ways, strict=True):
            await played.happen(one, way)
        played.rig.tape.on_down("the end")
        await played.rig.up()
        taken.extend(played.taken)
        await played.rig.stop()

    run(scene())
    return taken


def dealt(steps: list[int], ways: list[Way]) -> list[Trade]:
    at_s, trades = 0.0, []
    for number, _ in enumerate(ways, start=1):
        at_s += steps[number % len(steps)]
        trades.append(attrs.evolve(trade(number, 0, 90 + number % 11, 1 + number % 4), time_ns=int(at_s * NS_PER_S)))
    return trades


@settings(max_examples=60, deadline=None)
@given(ways=WAYS, steps=st.lists(st.integers(0, 9), min_size=1, max_size=5))
def test_whatever_the_stream_does_the_bars_are_those_of_the_trades(ways: list[Way], steps: list[int]) -> None:
    trades = dealt(steps, ways)

    taken = play(trades, ways, dense=True)

    assert taken == trades
    assert [cut(taken, interval) for interval in INTERVALS] == [cut(trades, interval) for interval in INTERVALS]


@settings(max_examples=40, deadline=None)
@given(ways=WAYS, steps=st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_where_ids_are_not_dense_cuts_and_repeats_change_nothing_either(ways: list[Way], steps: list[int]) -> None:
    # A connection that stands is believed there: what it loses or turns round shows to nobody.
    honest = [Way.PUSHED if way in {Way.LOST, Way.DELAYED} else way for way in ways]
    trades = [attrs.evolve(one, trade_id=f"x{one.trade_id}") for one in dealt(steps, ways)]

    assert play(trades, honest, dense=False) == trades
