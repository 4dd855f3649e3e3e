"""Kline files are read as columns, folded exactly, and what is no kline file is named line by line."""

import gzip
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from btx.errors import ConfigError
from btx.model.market import Bar, BarColumns
from btx.model.time import NS_PER_MINUTE, NS_PER_MS, Interval
from btx.rules.bars import BarFold, fold_bar
from btx.storage.klines import FileBars, fold_columns, read_klines

START_MS = 1_748_736_000_000
LINES = [f"{START_MS + 60_000 * n},{100 + n},{101 + n}.5,{99 + n},{100.5 + n},{n}.00{n}" for n in range(4)]
NUMBERS = ("open", "high", "low", "close", "volume")


def written(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def rows(columns: BarColumns) -> list[tuple[Any, ...]]:
    return list(zip(*(getattr(columns, name) for name in ("open_ns", "close_ns", *NUMBERS)), strict=True))


@pytest.mark.parametrize(
    "header", [[], ["open_time,open,high,low,close,volume"], ["Open time,Open,High,Low,Close,Volume"]]
)
@pytest.mark.parametrize("more", ["", ",1748736059999,1,2,3,4,0"])
@pytest.mark.parametrize("is_zipped", [False, True])
def test_all_shapes_of_a_file_are_the_same_bars(tmp_path: Path, header: list[str], more: str, is_zipped: bool) -> None:
    names = [name + ("" if not more else ",a,b,c,d,e,f") for name in header]
    path = written(tmp_path / "k.csv", *names, *(line + more for line in LINES))
    if is_zipped:
        path.write_bytes(gzip.compress(path.read_bytes()))

    columns = read_klines(path, "BTC/USDT")

    assert columns.interval == Interval.parse("1m")
    assert columns.open_ns[1] - columns.open_ns[0] == NS_PER_MINUTE
    assert [tuple(map(str, row[2:])) for row in rows(columns)][3] == ("103.0", "104.5", "102.0", "103.5", "3.003")


def test_microseconds_and_milliseconds_may_follow_each_other(tmp_path: Path) -> None:
    path = written(tmp_path / "k.csv", LINES[0], LINES[1].replace(str(START_MS + 60_000), f"{START_MS + 60_000}000"))

    columns = read_klines(path, "BTC/USDT")

    assert list(columns.open_ns) == [START_MS * NS_PER_MS, START_MS * NS_PER_MS + NS_PER_MINUTE]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("1748736060000,100,101", "line 2: 3 columns where the first line has 6"),
        ("soon,1,1,1,1,1", "line 2, column open_time: 'soon' is no time in milliseconds"),
        ("1748736060000,1,1,x,1,1", "line 2, column low: 'x' is no number"),
        ("1748736060000,1,1,nan,1,1", "line 2, column low: is no number"),
        ("1748736060,1,1,1,1,1", "line 2, column open_time: is no time in milliseconds since 1970"),
        ("1748736000000,1,1,1,1,1", "line 2, column open_time: the bar does not come after the one before it"),
        ("1748736060000,5,4,3,4,1", "line 2, column high: is below open or close"),
        ("1748736060000,5,6,5.5,6,1", "line 2, column low: is above open or close"),
        ("1748736060000,5,6,0,6,1", "line 2, column low: must be positive"),
        ("1748736060000,5,6,4,6,-1", "line 2, column volume: must not be negative"),
        ("1748736000500,5,6,4,6,1", "bars are 500000000 ns apart"),
        ("1748736090000,5,6,4,6,1", "1m bars cannot be made of 90s bars"),
    ],
)
def test_what_is_no_bar_is_named(tmp_path: Path, line: str, sentence: str) -> None:
    path = written(tmp_path / "k.csv", LINES[0], line)

    with pytest.raises(ConfigError, match=sentence):
        fold_columns(read_klines(path, "BTC/USDT"), Interval.parse("1m"), where=str(path))


def test_files_that_are_no_files_of_bars_are_told_so(tmp_path: Path) -> None:
    cases = {
        "empty.csv": (b"", "has no bars"),
        "head.csv": (b"open_time,open,high,low,close,volume\n", "has no bars"),
        "names.csv": (b"when,open,high,low,close,volume\n1,1,1,1,1,1\n", "'when' should be 'open_time'"),
        "short.csv": (b"1748736000000,1,1,1,1\n", "5 columns; a kline file has 6 or 12"),
        "cut.csv.gz": (gzip.compress(b"1748736000000,1,1,1,1,1\n" * 99, mtime=0)[:30], "is damaged or cut off"),
        "bad.parquet": (b"PAR1 and no more", "cannot be read as Parquet"),
    }
    for name, (data, sentence) in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ConfigError, match=sentence):
            read_klines(tmp_path / name, "BTC/USDT")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_klines(tmp_path / "not-there.csv", "BTC/USDT")


@pytest.mark.parametrize("unit", ["ms", "us", "ns", "timestamp"])
def test_parquet_of_any_unit_of_time_gives_the_bars_of_the_csv(tmp_path: Path, unit: str) -> None:
    expected = read_klines(written(tmp_path / "k.csv", *LINES), "BTC/USDT")
    opens = np.array(expected.open_ns)
    stamps = {
        "ms": pa.array(opens // NS_PER_MS),
        "us": pa.array(opens // 1000),
        "ns": pa.array(opens),
        "timestamp": pa.array(opens // NS_PER_MS, pa.timestamp("ms", tz="UTC")),
    }
    table = pa.table({"open_time": stamps[unit], **{name: np.array(getattr(expected, name)) for name in NUMBERS}})
    parquet.write_table(table, tmp_path / "k.parquet")

    assert rows(read_klines(tmp_path / "k.parquet", "BTC/USDT")) == rows(expected)


def test_parquet_without_a_column_or_a_time_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "k.parquet"
    parquet.write_table(pa.table({"open": [1.0], "close": [1.0]}), path)
    with pytest.raises(ConfigError, match="has no column high, low, volume, open_time"):
        read_klines(path, "BTC/USDT")
    parquet.write_table(pa.table({"time": ["today"], **{name: [1.0] for name in NUMBERS}}), path)
    with pytest.raises(ConfigError, match="column time: string is no time"):
        read_klines(path, "BTC/USDT")
    parquet.write_table(pa.table({"time": [START_MS], **{name: ["x"] for name in NUMBERS}}), path)
    with pytest.raises(ConfigError, match="parse"):
        read_klines(path, "BTC/USDT")


@st.composite
def minutes(draw: st.DrawFn) -> list[Bar]:
    """Minutes around a change of month, some missing, with volumes of many digits."""
    first = 1_748_736_000_000_000_000 - draw(st.integers(0, 3000)) * NS_PER_MINUTE
    digits = draw(st.integers(0, 14))
    bars = []
    for number in range(draw(st.integers(1, 400))):
        if draw(st.integers(0, 60)) == 7:
            continue
        low, high = sorted((draw(st.integers(1, 10**6)), draw(st.integers(1, 10**6))))
        open_ns = first + number * NS_PER_MINUTE
        bars.append(
            Bar(
                symbol="BTC/USDT",
                interval=Interval.parse("1m"),
                open_ns=open_ns,
                close_ns=open_ns + NS_PER_MINUTE,
                open=Decimal(low).scaleb(-2),
                high=Decimal(high).scaleb(-2),
                low=Decimal(low).scaleb(-2),
                close=Decimal(high).scaleb(-2),
                volume=Decimal(draw(st.integers(0, 10**15))).scaleb(-digits),
                is_closed=True,
            )
        )
    return bars


def columns_of(bars: list[Bar], interval: str) -> BarColumns:
    from array import array

    return BarColumns(
        symbol="BTC/USDT",
        interval=Interval.parse(interval),
        open_ns=array("q", (bar.open_ns for bar in bars)),
        close_ns=array("q", (bar.close_ns for bar in bars)),
        **{name: array("d", (float(getattr(bar, name)) for bar in bars)) for name in NUMBERS},
    )


@given(minutes(), st.sampled_from(("3m", "5m", "15m", "1h", "4h", "1d", "3d", "1w", "1M")))
def test_folding_whole_columns_is_folding_bar_by_bar_in_decimals(bars: list[Bar], interval: str) -> None:
    state = BarFold(interval=Interval.parse(interval))
    expected: list[Bar] = []
    for bar in bars:
        state, closed = fold_bar(state, bar)
        expected += closed

    assert rows(fold_columns(columns_of(bars, "1m"), Interval.parse(interval))) == rows(columns_of(expected, interval))


def test_shorter_bars_and_other_symbols_are_refused(tmp_path: Path) -> None:
    source = FileBars(files={"BTC/USDT": written(tmp_path / "k.csv", *LINES)})

    with pytest.raises(ConfigError, match=r"k\.csv: 1s bars cannot be made of 1m bars"):
        source.columns("BTC/USDT", Interval.parse("1s"), None, None)
    with pytest.raises(ConfigError, match="ETH/USDT has no file"):
        source.columns("ETH/USDT", Interval.parse("1m"), None, None)
    assert source.is_whole
    assert source.words == "k.csv"


@pytest.mark.parametrize(("step", "interval"), [(1, "1d"), (7, "1w"), (31, "1M")])
def test_a_file_of_longer_bars_is_taken_as_it_is(tmp_path: Path, step: int, interval: str) -> None:
    # 2025-06-02 is a Monday; of months the first of July and of August.
    first = {1: 1_748_736_000_000, 7: 1_748_822_400_000, 31: 1_751_328_000_000}[step]
    path = written(tmp_path / "k.csv", *(f"{first + n * step * 86_400_000},1,1,1,1,1" for n in range(2)))

    assert str(read_klines(path, "BTC/USDT").interval) == interval


def data_folder() -> Path:
    import os

    return Path(os.environ.get("BTX_DATA", Path(__file__).parents[4] / "shared/data")) / "klines"


@pytest.mark.skipif(not data_folder().is_dir(), reason="BTX_DATA names no folder of real klines")
@pytest.mark.parametrize("interval", ["15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M"])
@pytest.mark.parametrize("coin", ["BTC", "ETH"])
def test_the_venues_minutes_fold_into_the_venues_own_longer_bars(coin: str, interval: str) -> None:
    minute = read_klines(data_folder() / f"binance_spot_{coin}USDT_1m_2025-06.csv.gz", coin)
    theirs = read_klines(data_folder() / f"multi_interval/binance_spot_{coin}USDT_{interval}.csv.gz", coin)

    ours = fold_columns(minute, Interval.parse(interval))

    assert len(ours) > 0
    assert set(rows(ours)) <= set(rows(theirs))
