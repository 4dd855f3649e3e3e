"""One file is bug report and regression test: a recording through the live path gives what it gave."""

import gzip
import itertools
import json
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import backtrader as bt
import pytest

import btx
from btx.bt.samples import SmaCross
from btx.model.venue import Endpoints
from btx.rules.backoff import Backoff
from btx.runtime.facts import Timing
from btx.storage.recorded import lines, parts
from btx.tools.replay import run_replay
from tests.conftest import ROOT
from tests.e2e.test_attach import simulator  # noqa: F401 -- a fixture

_CUTS = [
    {"kind": "cut", "where": "market_stream", "at": 30},
    {"kind": "cut", "where": "market_stream", "at": 80, "form": 1},
    {"kind": "truncate", "where": "market_stream", "at": 50},
    {"kind": "cut", "where": "account_stream", "at": 4},
    {"kind": "cut", "where": "account_stream", "at": 9, "form": 1},
    {"kind": "duplicate", "where": "account_stream", "at": 7},
]
_FAULTS = [
    *_CUTS,
    {"kind": "error_before", "where": "place", "at": 2},
    {"kind": "lose", "where": "place", "at": 4},
]
_TIMING = Timing(redial=Backoff(base_s=0.05, cap_s=0.5), grace_drift_s=0.1, poll_s=0.3, mark_s=0.3)


class _Trader(SmaCross):
    params = (("fast", 3), ("slow", 8), ("most", None))  # live bars, where the market does not end by itself in time

    def next(self) -> None:
        super().next()
        self.seen = getattr(self, "seen", 0) + self.data.is_live
        if self.seen == self.p.most:
            self.env.runstop()


_seeds = itertools.count(80)  # the same world is the same account, which is loaded with one folder


def _record(
    folder: Path, *, pace: float | str, minutes: int = 90, faults: Any = _FAULTS, venue: str = "binance"
) -> Path:
    waits = pace == "lockstep"  # else it is the machine that says how many minutes are over before the first bar
    until = f"{minutes}m" if waits else "2d"
    scenario = btx.scenario(seed=next(_seeds), until=until, warmup="3h", pace=pace, faults=faults)
    store = btx.load(venue, scenario=scenario, record=folder, limits=None, timing=_TIMING)
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(store.getbroker())
    for symbol in ("BTC/USDT", "ETH/USDT"):
        cerebro.adddata(store.getdata(dataname=symbol, backfill="1h", max_signal_age="1d"))
    cerebro.addstrategy(_Trader, most=None if waits else minutes)
    cerebro.addsizer(bt.sizers.PercentSizer, percents=30)
    cerebro.run()
    (file,) = parts(folder)
    return file


def _rewrite(file: Path, changed: Iterable[dict[str, Any]]) -> None:
    file.write_bytes(gzip.compress("".join(json.dumps(line) + "\n" for line in changed).encode()))


def _replayed(file: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = run_replay(file, speed=None, strategy=None, as_json=True)
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("venue", "pace", "faults"),
    [
        ("binance", "lockstep", _FAULTS),
        ("binance", 300.0, _FAULTS),
        ("bybit", "lockstep", _CUTS),
        ("bybit", 300.0, _CUTS),
    ],
    ids=["binance lockstep", "binance", "bybit lockstep", "bybit"],
)
def test_bars_orders_fills_and_balances_come_out_the_same_through_cuts_and_lost_answers(
    venue: str, pace: float | str, faults: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    is_lockstep = pace == "lockstep"
    file = _record(tmp_path, pace=pace, faults=faults, venue=venue, minutes=90 if is_lockstep else 60)
    kinds = [line["k"] for line in lines((file,))]
    # A market that runs has gone on while the machine was busy: how far it was heard is not the same each time.
    assert kinds.count("opened") >= (5 if is_lockstep else 3)  # redialled after the cuts
    assert kinds.count("order") > (3 if is_lockstep else 0)

    code, result = _replayed(file, capsys)

    assert result["differences"] == []
    assert (code, result["is_whole"]) == (0, True)
    assert min(result["bars"].values()) > (100 if is_lockstep else 60)
    assert result["events"] > (10 if is_lockstep else 0)


def test_a_frame_that_was_tampered_with_is_told_by_the_bar_it_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _record(tmp_path, pace="lockstep", minutes=20, faults=None)
    read = list(lines((file,)))
    frame = [line for line in read if line["k"] == "received" and '"x":true' in line["t"] and "ETH" in line["t"]][7]
    message = json.loads(frame["t"])
    close = message["data"]["k"]["c"]
    message["data"]["k"]["c"] = message["data"]["k"]["h"] = "9999.99"
    frame["t"] = json.dumps(message)
    _rewrite(file, read)

    code, result = _replayed(file, capsys)

    assert code == 1
    (difference,) = result["differences"]
    assert difference.startswith("ETH/USDT 1m, bar 68: ")  # after an hour of history
    assert close.rstrip("0").rstrip(".") in difference.split(" was recorded, ")[0]
    assert "9999.99" in difference.split(" was recorded, ")[1]


def test_a_good_replay_ends_without_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    file = _record(tmp_path, pace="lockstep", minutes=5, faults=None)
    *read, trailer = lines((file,))
    assert trailer["k"] == "trailer"
    (left,) = [line for line in read if line["k"] == "left"]
    told = [line for line in read if line["k"] not in {"left", "mark"}]
    assert [line["k"] for line in told[-2:]] == ["closed", "closed"]
    mark = {**trailer, "k": "mark"}
    _rewrite(file, [*told[:-1], mark, left, told[-1], trailer])  # of a strategy that is slow to go
    caplog.clear()

    with caplog.at_level("WARNING", logger="btx"):
        code, _ = _replayed(file, capsys)

    assert code == 0
    assert [record.getMessage() for record in caplog.records] == []


def test_a_balance_that_was_tampered_with_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = _record(tmp_path, pace="lockstep", minutes=20, faults=None)
    read = list(lines((file,)))
    read[-1]["state"]["balances"]["USDT"] = "1 + 0"
    _rewrite(file, read)

    code, result = _replayed(file, capsys)

    assert code == 1
    assert [each.split(":")[0] for each in result["differences"]] == ["balance of USDT"]


@pytest.mark.parametrize("is_before", [True, False], ids=["before it went", "after it began to go"])
def test_a_bar_that_only_the_replay_delivers_is_a_difference_unless_it_was_pushed_while_the_strategy_went(
    is_before: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _record(tmp_path, pace="lockstep", minutes=20, faults=None)
    read = list(lines((file,)))
    at = max(n for n, line in enumerate(read) if line["k"] == "received" and _closes_eth(line["t"]))
    (left,) = [line for line in read if line["k"] == "left"]
    was_last = {n for n, line in enumerate(read) if n > at and line["k"] == "bar"}
    changed = [line for n, line in enumerate(read) if line is not left and n not in was_last]
    changed.insert(at + is_before, left)
    _rewrite(file, changed)

    code, result = _replayed(file, capsys)

    assert (code, len(result["differences"])) == ((1, 1) if is_before else (0, 0)), result["differences"]


def _closes_eth(text: str) -> bool:
    return '"x":true' in text and "ETHUSDT" in text


def test_a_recording_that_breaks_off_is_compared_with_its_last_mark_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _record(tmp_path, pace=300.0, minutes=20, faults=None)
    read = [line for line in lines((file,)) if line["k"] != "trailer"]
    assert any(line["k"] == "mark" for line in read)
    _rewrite(file, read)

    code = run_replay(file, speed=None, strategy=None, as_json=False)

    shown = capsys.readouterr().out
    assert code == 0, shown
    assert "has no trailer, its process was killed: compared with its last mark" in shown
    assert "The live path made the same of it" in shown


def test_what_kill_9_left_is_a_recording(
    simulator: Endpoints,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BTX_RECORD", str(tmp_path / "record"))
    monkeypatch.setenv("BTX_HOME", str(tmp_path / "home"))
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.attached", simulator.control],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline().startswith(b"traded until")
    _flushed(tmp_path / "record")
    child.send_signal(signal.SIGKILL)
    child.wait(60)
    child.stdin.close()
    child.stdout.close()

    code, result = _replayed(tmp_path / "record", capsys)

    assert (code, result["differences"]) == (0, [])
    assert result["is_whole"] is False
    assert result["events"] >= 3  # one order filled, one rests


def _flushed(folder: Path) -> None:
    """Wait until a recording has an order that rests in it."""
    import threading
    import time

    deadline, pause = time.monotonic() + 60, threading.Event()
    while not any(line["k"] == "event" and "NEW 0 of 0.01" in line["t"] for line in lines(parts(folder))):
        assert time.monotonic() < deadline
        pause.wait(0.1)


def test_a_strategy_of_ones_own_sees_the_recording_and_its_orders_go_nowhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _record(tmp_path / "record", pace="lockstep", minutes=20, faults=None)
    strategy = tmp_path / "mine.py"
    strategy.write_text(
        "import backtrader as bt\n"
        "class Mine(bt.Strategy):\n"
        "    def next(self):\n"
        "        self.buy(size=1)\n"
        "    def notify_order(self, order):\n"
        "        assert order.getstatusname() in {'Submitted', 'Rejected'}, order.getstatusname()\n"
        "    def stop(self):\n"
        "        print('seen', len(self.data))\n",
        encoding="utf-8",
    )

    code = run_replay(file, speed=None, strategy=str(strategy), as_json=False)

    shown = capsys.readouterr().out
    assert code == 0, shown
    assert "seen 80" in shown

    text = strategy.read_text(encoding="utf-8").replace("self.buy(size=1)", "__import__('signal').raise_signal(2)")
    strategy.write_text(text, encoding="utf-8")
    with pytest.raises(KeyboardInterrupt):  # half a replay says nothing of the recording
        run_replay(file, speed=None, strategy=str(strategy), as_json=False)
    assert "nothing came" not in capsys.readouterr().out


class _Watch(bt.Strategy):
    params = (("most", None),)  # as above: where the market waits for nobody

    def prenext(self) -> None:
        self.next()

    def next(self) -> None:
        self.seen = getattr(self, "seen", 0) + self.data.is_live
        if self.seen == self.p.most:
            self.env.runstop()


def _watched(folder: Path, *, env: str = "sim", **feed: Any) -> Path:
    waits = env == "sim"
    until, pace = ("10m", "lockstep") if waits else ("2d", 120.0)
    scenario = btx.scenario(seed=next(_seeds), until=until, warmup="3h", pace=pace)
    store = btx.load("binance", env=env, scenario=scenario, record=folder, limits=None, timing=_TIMING)
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(store.getbroker())
    cerebro.adddata(store.getdata(dataname="BTC/USDT", **feed))
    cerebro.adddata(store.getdata(dataname="ETH/USDT", backfill="30m"))
    cerebro.addstrategy(_Watch, most=None if waits else 10)
    cerebro.run()
    (file,) = parts(folder)
    return file


def test_bars_made_of_trades_come_out_the_same_with_quotes_and_a_book_beside_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    file = _watched(tmp_path, interval="15s", quotes=True, book=10)

    code, result = _replayed(file, capsys)

    assert (code, result["differences"]) == (0, [])
    assert "FAULT" not in caplog.text
    assert result["bars"] == {"BTC/USDT 15s": 40, "ETH/USDT 1m": 40}


def test_bars_of_so_many_trades_come_out_the_same_with_the_history_that_was_counted_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _watched(tmp_path, interval="20t", backfill=3)

    code, result = _replayed(file, capsys)

    assert (code, result["differences"]) == (0, [])
    assert result["bars"]["BTC/USDT 20t"] > 3


def test_of_a_paper_account_the_bars_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = _watched(tmp_path, env="paper", backfill="30m")

    code, result = _replayed(file, capsys)

    assert (code, result["differences"]) == (0, [])
    assert result["bars"]["BTC/USDT 1m"] >= 30
    assert result["balances"] == {}


def test_what_cannot_be_read_is_no_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_replay(tmp_path / "none.jsonl.gz", speed=None, strategy=None, as_json=True) == 2
    assert "there is no file" in capsys.readouterr().err


def test_no_key_and_no_secret_of_the_account_is_in_a_recording(tmp_path: Path) -> None:
    file = _record(tmp_path, pace="lockstep", minutes=20, faults=None)

    text = gzip.decompress(file.read_bytes()).decode()

    assert "btxsim" not in text  # what the simulator's keys and secrets begin with
    assert '"signature=' not in text
    assert "signature=***" in text
