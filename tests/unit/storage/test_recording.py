"""The flight recorder: nothing lost in silence, nothing secret in it, readable after a kill, and never in the way."""

import base64
import errno
import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs
import pytest

from btx.errors import ConfigError, DataError
from btx.model.account import AccountSnapshot, Balance
from btx.model.frames import Frame, FrameKind
from btx.model.market import Bar
from btx.model.order import Fill, OrderReport, Side, Status
from btx.model.time import NS_PER_MINUTE, Interval
from btx.model.venue import Channel
from btx.storage import recording
from btx.storage.recorded import frame_of, lines, market_ns, parts
from btx.storage.recording import Limits, Recorder, check_folder
from btx.storage.redaction import Redactor
from btx.storage.tally import Tally

KEY = "k" * 20 + "Ab/+9" + "y" * 39  # with what an address must escape
SECRET = "s3cr3t+/=" + "z" * 55
WAIT_S = 30.0


class _Clock:
    def __init__(self) -> None:
        self.now_ns = 1_000

    def wire_ns(self) -> int:
        self.now_ns += 1
        return self.now_ns

    def market_ns(self) -> int:
        return self.now_ns + 5


@pytest.fixture
def faults() -> list[str]:
    return []


@pytest.fixture
def made(tmp_path: Path, faults: list[str]) -> Iterator[Callable[..., Recorder]]:
    opened: list[Recorder] = []

    def make(**limits: Any) -> Recorder:
        recorder = Recorder(
            tmp_path,
            about={"session": "toy/sim/spot"},
            clock=_Clock(),
            secrets=(KEY, SECRET),
            on_fault=faults.append,
            limits=Limits(**{"flush_s": 0.01, **limits}),
        )
        opened.append(recorder)
        return recorder

    yield make
    for each in opened:
        each.close()


def _received(text: str | bytes, connection: int = 1) -> Frame:
    return Frame(kind=FrameKind.RECEIVED, connection=connection, text=text)


def _read(recorder: Recorder) -> list[dict[str, Any]]:
    return list(lines(parts(recorder.path)))


def _bar(minute: int, close: str = "10.50") -> Bar:
    return Bar(
        symbol="BTC/USDT",
        interval=Interval.parse("1m"),
        open_ns=minute * NS_PER_MINUTE,
        close_ns=(minute + 1) * NS_PER_MINUTE,
        open=Decimal(10),
        high=Decimal(11),
        low=Decimal(9),
        close=Decimal(close),
        volume=Decimal("1.5"),
        is_closed=True,
    )


# --- what is in it -----------------------------------------------------------------------------------------


def test_every_kind_of_frame_is_read_as_it_was_told(made: Callable[..., Recorder]) -> None:
    told = [
        Frame(kind=FrameKind.OPENED, connection=1, url="wss://toy/stream?streams=a/b"),
        Frame(kind=FrameKind.SENT, connection=1, text='{"id":1}'),
        _received('{"price":"1.0", "text":"déjà vu\\n"}'),
        _received(b"\x00\xff binary"),
        Frame(kind=FrameKind.CLOSED, connection=1, code=1006),
        Frame(kind=FrameKind.REQUEST, connection=2, url="https://toy/time?a=1", method="GET"),
        Frame(kind=FrameKind.ANSWER, connection=2, text="{}", code=429, headers={"Retry-After": "3"}),
        Frame(kind=FrameKind.ANSWER, connection=3, text="TimeoutError"),
    ]
    recorder = made()

    for frame in told:
        recorder.tap(frame)
    recorder.close()

    read = _read(recorder)
    assert [frame_of(line) for line in read] == [None, *told]
    stamps = [market_ns(line) for line in read]
    assert stamps == sorted(stamps, key=lambda each: each or 0)
    assert all(line["m"] == line["w"] + 5 for line in read[1:])


def test_the_end_says_what_was_made_of_it(made: Callable[..., Recorder]) -> None:
    recorder = made()
    account = AccountSnapshot(balances={"BTC": Balance(free=Decimal("1.50"), locked=Decimal(0))}, time_ns=1)

    recorder.data(
        counted=None,
        symbol="BTC/USDT",
        interval=Interval.parse("1m"),
        start_ns=0,
        end_ns=None,
        live=True,
        from_trades=False,
        fills=False,
    )
    recorder.market(symbol="BTC/USDT", channel=Channel.BOOK, depth=5)
    for minute in (0, 1, 1, 0, 2):  # another feed of the same bars counts no second time
        recorder.bar(_bar(minute))
    recorder.mark(None)
    recorder.mark(account, ended=True)
    recorder.close()

    read = _read(recorder)
    assert [line["k"] for line in read] == ["header", "data", "market", "bar", "bar", "bar", "mark", "trailer"]
    assert read[3]["t"] == "0 10 11 9 10.5 1.5"
    state = read[-1]["state"]
    assert state["bars"]["BTC/USDT 1m"]["count"] == 3
    assert state["balances"] == {"BTC": "1.5 + 0"}
    assert "positions" not in state


def test_the_tally_of_an_account_is_the_same_in_any_order_of_what_does_not_matter() -> None:
    fill = Fill(
        client_order_id="a1",
        fill_id="7",
        symbol="BTC/USDT",
        side=Side.BUY,
        price=Decimal("10.10"),
        quantity=Decimal(1),
        fee=Decimal("0.10"),
        fee_asset="USDT",
        time_ns=1,
    )
    bare = attrs.evolve(fill, fill_id="8", fee=None, fee_asset=None)
    new = OrderReport(client_order_id="a1", symbol="BTC/USDT", status=Status.NEW, time_ns=1)
    over = attrs.evolve(new, status=Status.FILLED, filled=Decimal(1))
    other = attrs.evolve(new, client_order_id="a2")
    one, two = Tally(), Tally()

    told = [one.account(each) for each in (new, fill, fill, bare, new, over, new, other)]
    for each in (other, bare, fill, over):
        two.account(each)

    assert [line is not None for line in told] == [True, True, False, True, False, True, False, True]
    assert told[1] == "fill BTC/USDT 7: BUY 1 at 10.1 fee 0.1 USDT"
    assert one.state(None) == two.state(None)
    assert one.state(None)["open_orders"] == {"a2": "NEW 0"}


# --- secrets ------------------------------------------------------------------------------------------------


def _spellings(secret: str) -> list[str]:
    raw = secret.encode()
    coded = [base64.b64encode(b"x" * shift + raw + b"tail").decode() for shift in range(3)]
    inner = [each[4:-8] for each in coded]
    return [secret, quote(secret, safe=""), *inner, base64.urlsafe_b64encode(raw).decode().rstrip("=")[:-1]]


def test_no_secret_is_in_the_file_in_any_spelling(made: Callable[..., Recorder]) -> None:
    recorder = made()
    basic = base64.b64encode(f"user:{SECRET}".encode()).decode()

    recorder.tap(Frame(kind=FrameKind.OPENED, connection=1, url=f"wss://toy/?key={quote(KEY)}&x=1"))
    recorder.tap(Frame(kind=FrameKind.SENT, connection=1, text=json.dumps({"params": {"apiKey": KEY, "s": SECRET}})))
    recorder.tap(Frame(kind=FrameKind.SENT, connection=1, text=f"Authorization: Basic {basic}"))
    recorder.tap(_received(f"bytes of {KEY}".encode()))
    recorder.tap(
        Frame(kind=FrameKind.REQUEST, connection=2, url=f"https://toy/o?a=1&signature={'ab' * 32}", method="POST")
    )
    recorder.tap(Frame(kind=FrameKind.ANSWER, connection=2, text='{"listenKey":"pqia91ma19a5s61cv6a81va65"}', code=200))
    recorder.tap(Frame(kind=FrameKind.OPENED, connection=3, url="wss://toy/ws/pqia91ma19a5s61cv6a81va65"))
    recorder.close()

    text = b"".join(gzip.decompress(path.read_bytes()) for path in parts(recorder.path)).decode()
    for secret in (KEY, SECRET):
        assert not [each for each in _spellings(secret) if each in text]
    assert "abab" not in text
    assert "pqia91ma" not in text
    assert [line.get("u") for line in _read(recorder)[-1:]] == ["wss://toy/ws/***"]


def test_blotting_out_leaves_json_json_and_market_data_alone() -> None:
    redact = Redactor([KEY, "short"])
    message = {"id": 1, "params": {"apiKey": "abcdefgh", "timestamp": 5, "signature": "ff"}, "ok": True}
    market = '{"stream":"btcusdt@kline_1m","data":{"tokens":[1,2],"short":1}}'

    clean = json.loads(redact(json.dumps(message)))

    assert clean == {**message, "params": {"apiKey": "***", "timestamp": 5, "signature": "***"}}
    assert redact(market) == market


# --- files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sign", "sig", "SIGN", "Sig"])
def test_a_signature_with_a_short_name_is_blotted_out_and_the_sign_of_a_number_is_not(name: str) -> None:
    redact, signature = Redactor(), "q/Z9+" * 8 + "4Y="

    assert json.loads(redact(json.dumps({"args": [{name: signature, "n": 1}]}))) == {"args": [{name: "***", "n": 1}]}
    assert redact(f"https://toy/orders?a=1&{name}={'0f' * 32}&b=2") == f"https://toy/orders?a=1&{name}=***&b=2"
    assert redact(f'{{"{name}":"-","design":"{signature}"}}') == f'{{"{name}":"-","design":"{signature}"}}'


def test_a_login_over_a_socket_is_blotted_out_whole() -> None:
    login = json.dumps({"req_id": "auth", "op": "auth", "args": ["mY.kEy", 1662350400000, "5f2d"], "x": [1]})

    assert json.loads(Redactor()(login)) == {"req_id": "auth", "op": "auth", "args": ["***"], "x": [1]}


def test_a_recording_goes_on_in_the_next_part_when_one_is_full(made: Callable[..., Recorder]) -> None:
    recorder = made(part_bytes=1_000)

    for number in range(20):
        recorder.tap(_received(os.urandom(200).hex(), connection=number))
        _until(lambda: not recorder._queue)
    recorder.close()

    files = parts(recorder.path)
    assert len(files) > 2
    read = list(lines(files))
    assert [line["c"] for line in read if line["k"] == "received"] == list(range(20))
    assert [line["part"] for line in read if line["k"] == "header"] == list(range(1, len(files) + 1))
    assert all(path.stat().st_mode & 0o077 == 0 for path in files)


def test_a_part_ends_with_its_hour(made: Callable[..., Recorder]) -> None:
    recorder = made(part_ns=1)

    recorder.tap(_received("a"))
    _until(lambda: recorder.path.name.endswith("-0002.jsonl.gz"))


def test_the_oldest_parts_go_when_all_are_too_large_but_not_what_a_replay_begins_with(
    made: Callable[..., Recorder], tmp_path: Path
) -> None:
    old = tmp_path / "another-20200101T000000-aaaaaa-0001.jsonl.gz"
    old.write_bytes(b"x" * 3_000)
    os.utime(old, (1, 1))
    recorder = made(part_bytes=1_000, keep_bytes=4_000)

    for _ in range(40):
        recorder.tap(_received(os.urandom(200).hex()))
        _until(lambda: not recorder._queue)
    recorder.close()

    left = sorted(tmp_path.glob("*.gz"))
    assert old not in left
    assert left[0].name.endswith("-0001.jsonl.gz")
    assert sum(path.stat().st_size for path in left) < 4_000 + 3 * 1_500


def test_a_full_disk_ends_the_recording_with_one_word_and_nothing_else(
    made: Callable[..., Recorder], faults: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = made()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(recorder._writer, "write", full)
    recorder.tap(_received("a"))
    _until(lambda: bool(faults))
    for _ in range(100):
        recorder.tap(_received("b"))
    recorder.close()

    assert faults == ["the recording has ended, trading goes on: No space left on device"]
    assert not recorder._queue


def test_what_the_disk_is_too_slow_for_is_counted_in_the_file_and_told_once(
    made: Callable[..., Recorder], faults: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = made(queue=10)
    go, is_writing, write = threading.Event(), threading.Event(), recorder._writer.write

    def slow(batch: list[bytes]) -> None:
        is_writing.set()
        assert go.wait(WAIT_S)
        write(batch)

    monkeypatch.setattr(recorder._writer, "write", slow)
    recorder.tap(_received("first"))
    assert is_writing.wait(WAIT_S)
    for _ in range(25):
        recorder.tap(_received("x"))
    recorder.mark(None, ended=True)  # the end is always told
    go.set()
    recorder.close()

    read = _read(recorder)
    assert recorder.dropped == 15
    assert faults == ["the disk is slower than the wire: frames are missing in the recording"]
    assert sum(line["n"] for line in read if line["k"] == "dropped") == 15
    assert sum(line["k"] == "received" for line in read) == 11
    assert read[-1]["k"] == "trailer"


def test_large_frames_fill_the_queue_before_the_memory(made: Callable[..., Recorder], tmp_path: Path) -> None:
    recorder = made(queue_bytes=1_000, flush_s=WAIT_S)

    for _ in range(5):
        recorder.tap(_received("x" * 400))
    recorder.close()

    assert recorder.dropped == 3
    assert sum(line["n"] for line in _read(recorder) if line["k"] == "dropped") == 3


def test_a_killed_process_leaves_what_was_flushed(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("recording_child.py"), str(tmp_path)], stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"flushed\n"
    child.send_signal(signal.SIGKILL)
    child.wait(WAIT_S)
    child.stdout.close()

    read = list(lines(parts(tmp_path)))

    assert [line["t"] for line in read if line["k"] == "received"] == [str(number) for number in range(100)]


def test_a_member_that_was_cut_off_ends_the_reading_without_complaint(made: Callable[..., Recorder]) -> None:
    recorder = made()
    recorder.tap(_received("a"))
    _until(lambda: not recorder._queue)
    whole = recorder.path.stat().st_size
    recorder.close()
    with recorder.path.open("ab") as file:
        file.write(gzip.compress(b'{"k":"received","c":2,"t":"b"}\n' * 50, mtime=0)[:-20])

    assert whole
    assert {line["k"] for line in _read(recorder)} == {"header", "received"}


@pytest.mark.parametrize(
    ("content", "trouble"),
    [
        (b"", "is empty"),
        (b"no gzip at all", "is no recording: those end in .jsonl.gz"),
        (gzip.compress(b"no json\n", mtime=0), "line 1 cannot be read"),
        (gzip.compress(b'{"k":"received"}\n', mtime=0), "is no recording of this version"),
        (gzip.compress(b'{"k":"header","version":99}\n', mtime=0), "is no recording of this version"),
    ],
)
def test_what_is_no_recording_is_said_to_be_none(tmp_path: Path, content: bytes, trouble: str) -> None:
    file = tmp_path / "any.jsonl.gz"
    file.write_bytes(content)

    with pytest.raises(DataError, match=trouble):
        list(lines(parts(file)))


def test_a_folder_stands_for_its_newest_recording(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no recording"):
        parts(tmp_path)
    with pytest.raises(DataError, match="there is no file"):
        parts(tmp_path / "none.jsonl.gz")
    later = tmp_path / "b-20200101T000001-bbbbbb-0002.jsonl.gz"
    later.write_bytes(b"")
    with pytest.raises(DataError, match="is not the first part"):
        parts(later)


def test_a_folder_that_cannot_be_written_is_told_before_anything_starts(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("", encoding="utf-8")

    with pytest.raises(ConfigError, match=r"record=.*cannot be made"):
        check_folder(file / "folder", said="record=that")


def test_a_thread_of_its_own_writes(made: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch) -> None:
    writers: set[str] = set()
    compress = recording.gzip.compress
    recorder = made()

    def noted(raw: bytes, level: int) -> bytes:
        writers.add(threading.current_thread().name)
        return compress(raw, level)

    monkeypatch.setattr(recording.gzip, "compress", noted)
    recorder.tap(_received("a"))
    recorder.close()

    assert writers == {"btx-recorder"}


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    waiting = threading.Event()
    while not condition():
        assert time.monotonic() < deadline
        waiting.wait(0.005)
