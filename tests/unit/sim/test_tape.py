"""Tapes: kline files are read as they are, or refused in one sentence with line and column."""

import gzip
from pathlib import Path

import pytest

from btx.errors import ConfigError
from btx.model.time import NS_PER_MINUTE
from btx.sim.tape import load_tape
from tests.unit.sim.toys import BARS, ETH, START_NS, write_klines
from tests.values import BTC, d

LINE = "1748736000000,10,12,9,11,3"
FULL = f"{LINE},1748736059999,31.5,7,1.5,15.75,0"


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
@pytest.mark.parametrize("header", [True, False])
def test_six_columns_keep_the_values_of_the_file(tmp_path: Path, name: str, header: bool) -> None:
    tape = load_tape(write_klines(tmp_path / name, header=header), BTC)

    assert len(tape.rows) == len(BARS)
    first = tape.rows[0]
    assert (first.open_ns, [str(value) for value in first[1:6]]) == (START_NS, list(BARS[0]))
    assert first.quote_volume is None
    assert tape.end_ns == START_NS + 5 * NS_PER_MINUTE
    assert "BTC/USDT: quote volume, trade count and taker volume" in tape.synthesised


@pytest.mark.parametrize("header", ["open_time,open,high,low,close,volume,close_time,a,b,c,d,e", "Open time,Open"])
def test_twelve_columns_tell_more(tmp_path: Path, header: str) -> None:
    tape = load_tape(write(tmp_path / "a.csv", "\ufeff" + header, FULL, ""), BTC)

    row = tape.rows[0]
    assert (row.quote_volume, row.trades, row.taker_buy_volume, row.taker_buy_quote_volume) == (
        d("31.5"),
        7,
        d("1.5"),
        d("15.75"),
    )
    assert not any("quote volume" in text for text in tape.synthesised)


def test_microseconds_of_newer_files_are_understood(tmp_path: Path) -> None:
    tape = load_tape(write(tmp_path / "a.csv", LINE.replace("1748736000000", "1748736000000000")), BTC)

    assert tape.rows[0].open_ns == START_NS


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ((LINE, "1748736060000,10,12,9"), "line 2: 4 columns; a kline file has 6 or 12"),
        (("when,open", LINE), "line 1, column 1: 'when' should be 'open_time'"),
        (("open_time,low,high,open,close,volume", LINE), "line 1, column 2: 'low' should be 'open'"),
        ((LINE, "soon,10,12,9,11,3"), "line 2, column open_time: 'soon' is no time in milliseconds"),
        (("1748736000,10,12,9,11,3",), "line 1, column open_time: 1748736000 is no time in milliseconds since 1970"),
        (("1748736000001,10,12,9,11,3",), "column open_time: 1748736000001 is not the start of a minute"),
        ((LINE, LINE), "line 2, column open_time: the bar does not come after the one before it"),
        (("1748736000000,10,x,9,11,3",), "line 1, column high: 'x' is no number"),
        (("1748736000000,10,nan,9,11,3",), "line 1, column high: 'nan' is no number"),
        (("1748736000000,10,10.5,9,11,3",), "line 1, column high: 10.5 is below open or close"),
        (("1748736000000,10,12,10.5,11,3",), "line 1, column low: 10.5 is above open or close"),
        (("1748736000000,0,12,0,11,3",), "line 1, column low: must be positive"),
        (("1748736000000,10,12,9,11,-3",), "line 1, column volume: must not be negative"),
        ((LINE, LINE.replace("1748736000000", "1748736300000")), "bars are 5 minutes apart; 1m bars are played"),
        (("open_time_ms,open,high,low,close,volume",), "the file has no bars"),
    ],
)
def test_a_bad_file_is_refused_in_one_sentence(tmp_path: Path, lines: tuple[str, ...], complaint: str) -> None:
    path = write(tmp_path / "bad.csv", *lines)

    with pytest.raises(ConfigError) as caught:
        load_tape(path, BTC)

    assert complaint in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot be read"),
        (gzip.compress(b"1748736000000", mtime=0)[:-4], "is damaged or cut off, fetch it again"),
        (gzip.compress(b"1748736000000", mtime=0)[:10] + b"\xff" * 20, "is damaged or cut off, fetch it again"),
        (b"1" * 200_000, "line 1: field larger than field limit"),
        (b"\xff\xfe\x00", "is no text file"),
    ],
)
def test_what_is_no_file_of_text_is_refused(tmp_path: Path, content: bytes | None, complaint: str) -> None:
    path = tmp_path / "bad.csv"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ConfigError, match=complaint):
        load_tape(path, BTC)


@pytest.mark.slow
def test_a_month_of_real_minutes_is_read_whole(btx_data: Path) -> None:
    for instrument, name in ((BTC, "BTCUSDT"), (ETH, "ETHUSDT")):
        tape = load_tape(btx_data / "klines" / f"binance_spot_{name}_1m_2025-06.csv.gz", instrument)
        assert len(tape.rows) == 43_200
