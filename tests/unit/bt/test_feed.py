"""Live data: history, then live; closed bars once each, in the order of time, stamped with their close."""

import datetime
import threading
from typing import Any

import backtrader as bt
import pytest

from btx.errors import ConfigError, UnknownSymbolError, VenueError
from btx.model.time import NS_PER_MINUTE
from btx.model.venue import Channel
from tests.unit.bt.rig import FIVE, Rig, Script, Toy, minute_of, run
from tests.values import BTC


def until(minute: int, toy: Toy) -> Any:
    """Return a script that lets the venue close one bar after the other, and stops after ``minute``."""

    def on_next(strategy: Script) -> None:
        now = minute_of(strategy.data)
        if now >= minute:
            strategy.env.runstop()
        elif strategy.data.is_live:
            toy.close(now + 1)

    return on_next


def live_from(toy: Toy, minute: int) -> Any:
    """Return what a cerebro does when its data is live: the venue closes the first bar."""

    def on_status(_data: Any, status: int, *_: Any, **__: Any) -> None:
        if status == bt.feed.DataBase.LIVE:
            toy.close(minute)

    return on_status


def test_history_comes_first_and_delayed_then_live_bars() -> None:
    toy = Toy()
    toy.write_history(range(90, 100))
    rig = Rig(toy)
    rig.add(backfill=3)
    rig.cerebro.adddatacb(live_from(toy, 100))

    strategy = rig.play(on_next=until(102, toy))

    assert strategy.bars["BTC/USDT"] == [97, 98, 99, 100, 101, 102]
    assert strategy.log == [
        ("data", "CONNECTED"),
        ("data", "DELAYED"),
        *[("next", ("BTC/USDT",))] * 3,
        ("data", "LIVE"),
        *[("next", ("BTC/USDT",))] * 3,
    ]


def test_a_bar_is_stamped_with_its_exact_close_and_carries_the_venues_open_time() -> None:
    toy = Toy()
    toy.write_history([99])
    rig = Rig(toy)
    data = rig.add(backfill=1)

    rig.play(on_next=until(99, toy))

    assert data.datetime.datetime(0) == datetime.datetime.fromisoformat("1970-01-01T01:40")
    assert data.datetime[0] == bt.date2num(datetime.datetime.fromisoformat("1970-01-01T01:40"))
    assert data.ts_ms[0] == 99 * 60_000
    assert (data.open[0], data.high[0], data.low[0], data.close[0], data.volume[0]) == (100, 110, 90, 105, 7)
    assert data.p.sessionend == datetime.time(0, 0)


def test_the_loop_waits_only_when_there_is_nothing_and_a_long_history_needs_no_waiting() -> None:
    toy = Toy(now_minute=2000)
    toy.write_history(range(500, 2000))
    rig = Rig(toy)
    data = rig.add(backfill="1d")
    waits: list[int] = []
    wakeup = data._loop.wakeup
    wait = wakeup.wait
    wakeup.wait = lambda timeout_s: (waits.append(len(data)), wait(timeout_s))

    strategy = rig.play(on_next=until(1999, toy))

    assert strategy.bars["BTC/USDT"] == list(range(560, 2000))
    assert len([length for length in waits if 0 < length < 1440]) < 20  # pages may come in between, bars do not


def test_an_arrival_ends_the_wait_and_no_poll_does() -> None:
    toy = Toy()
    rig = Rig(toy)
    data = rig.add()
    rig.cerebro.adddatacb(live_from(toy, 100))
    data._loop.wakeup.be_patient(rig)  # no timeout of any kind wakes the loop any more

    strategy = rig.play(on_next=until(110, toy))

    assert strategy.bars["BTC/USDT"] == list(range(100, 111))


def test_several_symbols_and_timeframes_come_in_the_order_of_time_whoever_is_faster() -> None:
    toy = Toy()
    toy.write_history(range(80, 100))
    toy.write_history(range(80, 100, 5), interval=FIVE)
    toy.write_history(range(83, 100), symbol="ETH/USDT")
    rig = Rig(toy)
    rig.add(backfill=15)
    rig.add("ETH/USDT", backfill="15m")
    rig.add(timeframe=bt.TimeFrame.Minutes, compression=5, backfill=3, name="BTC 5m")

    strategy = rig.play(on_next=until(99, toy))

    assert strategy.bars["BTC/USDT"] == list(range(85, 100))
    assert strategy.bars["ETH/USDT"] == list(range(85, 100))
    assert strategy.bars["BTC 5m"] == [85, 90, 95]
    assert strategy.minutes == list(range(86, 101))  # each close once: no bar overtakes another, none waits
    assert strategy.log[-1] == ("next", ("BTC/USDT", "ETH/USDT", "BTC 5m"))


def test_after_a_cut_every_missed_bar_comes_once_and_in_order_between_the_right_words() -> None:
    toy = Toy()
    rig = Rig(toy)
    rig.add()
    rig.add("ETH/USDT")
    rig.cerebro.adddatacb(live_from(toy, 100))

    def cut() -> None:
        toy.write_history(range(101, 108))
        toy.write_history(range(101, 108), symbol="ETH/USDT")
        rig.store.session.clock.offset_ns += 8 * NS_PER_MINUTE
        toy.now_ns += 8 * NS_PER_MINUTE
        toy.cut(Channel.BAR)

    def on_next(strategy: Script) -> None:
        if len(strategy) == 1:
            toy.soon(cut)
        elif minute_of(strategy.data) == 108:
            strategy.env.runstop()

    live: list[Any] = []

    def on_status(data: Any, status: int, *_: Any, **__: Any) -> None:
        if status == data.LIVE:
            live.append(data)
            if len(live) == 4:
                toy.close(108, symbol="ETH/USDT")
                toy.close(108)

    rig.cerebro.adddatacb(on_status)
    strategy = rig.play(on_next=on_next)

    assert strategy.bars["BTC/USDT"] == list(range(100, 109))
    assert strategy.statuses["BTC/USDT"] == ["CONNECTED", "LIVE", "CONNBROKEN", "DELAYED", "LIVE"]
    assert strategy.minutes == sorted(strategy.minutes)


def test_the_end_of_the_data_ends_the_run() -> None:
    toy = Toy()
    toy.write_history(range(90, 100))
    rig = Rig(toy)
    rig.add(fromdate=datetime.datetime.fromisoformat("1970-01-01T01:35"), historical=True)

    strategy = rig.play()

    assert strategy.bars["BTC/USDT"] == [95, 96, 97, 98, 99]
    assert strategy.statuses["BTC/USDT"] == ["CONNECTED", "DELAYED", "DISCONNECTED"]
    assert strategy.has_stopped


def test_todate_ends_a_live_data_after_its_last_bar() -> None:
    toy = Toy()
    toy.write_history([98, 99])
    rig = Rig(toy)
    rig.add(backfill=2, todate=datetime.datetime.fromisoformat("1970-01-01T01:42"))
    rig.cerebro.adddatacb(live_from(toy, 100))

    strategy = rig.play(on_next=lambda s: toy.close(minute_of(s.data) + 1) if s.data.is_live else None)

    assert strategy.bars["BTC/USDT"] == [98, 99, 100, 101]
    assert strategy.statuses["BTC/USDT"] == ["CONNECTED", "DELAYED", "LIVE", "DISCONNECTED"]


def test_a_feed_that_breaks_raises_its_cause_and_leaves_nothing_running() -> None:
    toy = Toy()
    toy.faults["bars"].append(VenueError("no history for you", code=-1))
    rig = Rig(toy)
    rig.add(backfill=3)
    before = set(threading.enumerate())
    rig.cerebro.addstrategy(Script)

    with pytest.raises(VenueError, match="no history for you"):
        rig.cerebro.run()

    assert set(threading.enumerate()) <= before
    assert not rig.store.session.is_running


def test_an_unknown_symbol_is_told_at_the_start_with_near_ones() -> None:
    rig = Rig()
    rig.add("BTC/USD")
    before = set(threading.enumerate())
    rig.cerebro.addstrategy(Script)

    with pytest.raises(UnknownSymbolError, match=r"did you mean .*BTC/USDT"):
        rig.cerebro.run()

    assert set(threading.enumerate()) <= before


def test_resampled_data_keep_every_part_beside_an_unaligned_symbol() -> None:
    toy = Toy()
    rig = Rig(toy)
    btc = rig.add()
    rig.add("ETH/USDT")
    rig.cerebro.resampledata(btc, name="five", timeframe=bt.TimeFrame.Minutes, compression=5)
    volumes: list[float] = []
    ready: list[Any] = []

    def on_status(data: Any, status: int, *_: Any, **__: Any) -> None:
        if status == data.LIVE:
            ready.append(data)
            if len(ready) == 2:
                for minute in range(100, 120):
                    toy.close(minute)
                    if minute % 3:
                        toy.close(minute, symbol="ETH/USDT")

    def on_next(strategy: Script) -> None:
        five = strategy.datas[2]
        if len(five) > len(volumes):
            volumes.append(five.volume[0])
            assert five.datetime[0] == strategy.data.datetime[0]
        if minute_of(strategy.data) == 119:
            strategy.env.runstop()

    rig.cerebro.adddatacb(on_status)
    strategy = rig.play(on_next=on_next)

    assert strategy.bars["BTC/USDT"] == list(range(100, 120))
    assert strategy.bars["five"] == [100, 105, 110, 115]
    assert volumes == [35.0] * 4


def test_a_copy_delivers_what_its_source_does() -> None:
    toy = Toy()
    toy.write_history(range(90, 100))
    rig = Rig(toy)
    source = rig.add(backfill=10)
    rig.cerebro.adddata(source.copyas("copy"))

    strategy = rig.play(on_next=until(99, toy))

    assert strategy.bars["copy"] == strategy.bars["BTC/USDT"] == list(range(90, 100))


def test_a_data_resampled_in_place_shows_whole_bars_only() -> None:
    toy = Toy(now_minute=21)
    toy.write_history(range(3, 21))
    rig = Rig(toy)
    data = rig.store.getdata(dataname="BTC/USDT", timeframe="1m", backfill=18)
    rig.cerebro.resampledata(data, timeframe=bt.TimeFrame.Minutes, compression=5)

    strategy = rig.play(on_next=until(15, toy))

    assert strategy.bars["BTC/USDT"] == [5, 10, 15]  # 0 began before the first minute
    assert data._timeframe == bt.TimeFrame.Minutes
    assert data._compression == 5


def test_a_small_memory_loses_no_bar_of_resampled_data() -> None:
    toy = Toy()
    toy.write_history(range(50, 100))
    rig = Rig(toy, exactbars=1)
    btc = rig.add(backfill=50)
    rig.cerebro.resampledata(btc, name="five", timeframe=bt.TimeFrame.Minutes, compression=5)

    strategy = rig.play(on_next=until(99, toy))

    assert strategy.bars["BTC/USDT"] == list(range(50, 100))
    assert strategy.bars["five"] == list(range(50, 100, 5))


def test_what_live_data_cannot_do_is_refused_where_it_is_asked_for() -> None:
    rig = Rig()
    data = rig.add()

    with pytest.raises(ConfigError, match="replaydata on live data takes timeframe and compression, not adjbartime"):
        rig.cerebro.replaydata(data, timeframe=bt.TimeFrame.Minutes, compression=5, adjbartime=True)
    with pytest.raises(ConfigError, match="choose a multiple of 1m"):
        rig.cerebro.resampledata(data, timeframe=bt.TimeFrame.Seconds, compression=90)
    with pytest.raises(ConfigError, match="boundoff"):
        rig.cerebro.resampledata(data, timeframe=bt.TimeFrame.Minutes, compression=5, boundoff=1)


def test_a_second_run_of_the_same_cerebro_starts_anew() -> None:
    toy = Toy()
    toy.write_history(range(90, 100))
    rig = Rig(toy)
    rig.cerebro.resampledata(rig.add(backfill=2), name="two", timeframe=bt.TimeFrame.Minutes, compression=2)
    first = rig.play(on_next=until(99, toy))

    again = run(rig.cerebro)

    assert first.bars["BTC/USDT"] == again.bars["BTC/USDT"] == [98, 99]
    assert first.bars["two"] == again.bars["two"] == [98]
    assert BTC.symbol in rig.store.instruments()
