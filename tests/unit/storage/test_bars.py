"""The history cache on disk: what is put comes back exactly, and what is damaged is never used."""

import itertools
import os
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import attrs
import pyarrow.parquet as pq
import pytest

from btx.errors import ConfigError, DataError
from btx.model.market import Bar
from btx.model.time import NS_PER_DAY, NS_PER_MINUTE, Interval
from btx.ports import BarCache
from btx.storage.bars import BarStore
from tests.values import MINUTE, bar

DAY = 24 * 60
HOUR = Interval.parse("1h")
JUNE = 20_240 * DAY  # 2025-06-01 in minutes after the epoch
JUNE_NS = JUNE * NS_PER_MINUTE
SYMBOL = "BTC/USDT"


def minutes(first: int, count: int) -> list[Bar]:
    """Minutes that open so many minutes after the beginning of June 2025."""
    return [bar(JUNE + first + number, close=Decimal(first + number) / 8 + 95) for number in range(count)]


def span(first: int, count: int) -> tuple[int, int]:
    return (JUNE + first) * NS_PER_MINUTE, (JUNE + first + count) * NS_PER_MINUTE


def put(store: BarCache, first: int, count: int) -> None:
    store.put(SYMBOL, MINUTE, minutes(first, count), covered=[span(first, count)], source="rest")


@pytest.fixture
def store(tmp_path: Path) -> BarStore:
    return BarStore(tmp_path)


def only_file(store: BarStore) -> Path:
    (path,) = store.folder.rglob("*.parquet")
    return path


def test_what_is_put_comes_back_exactly(store: BarStore) -> None:
    put(store, -3, 8)

    assert store.bars(SYMBOL, MINUTE, 0, 2**62) == minutes(-3, 8)
    assert [path.relative_to(store.folder).as_posix() for path in sorted(store.folder.rglob("*.parquet"))] == [
        "BTC-USDT/1m/2025-05.parquet",
        "BTC-USDT/1m/2025-06.parquet",
    ]


def test_what_a_source_does_not_tell_stays_untold(store: BarStore) -> None:
    told = minutes(0, 3)
    told[1] = attrs.evolve(told[1], quote_volume=None, trades=None)

    store.put(SYMBOL, MINUTE, told[:2], covered=[], source="rest")
    store.put(SYMBOL, MINUTE, told[2:], covered=[], source="rest")

    assert store.bars(SYMBOL, MINUTE, 0, 2**62) == told


def test_numbers_of_any_length_are_kept(store: BarStore) -> None:
    texts = ["0.00000000001", "123456789012345678901234567.5", "1E+3", "7"]
    told = [
        attrs.evolve(one, volume=Decimal(text), quote_volume=Decimal(text) if text != "7" else None)
        for one, text in zip(minutes(0, 4), texts, strict=True)
    ]

    store.put(SYMBOL, MINUTE, told[:3], covered=[], source="rest")
    store.put(SYMBOL, MINUTE, told[3:], covered=[], source="rest")

    assert store.bars(SYMBOL, MINUTE, 0, 2**62) == told
    assert [*store.columns(SYMBOL, MINUTE, 0, 2**62).volume] == [float(text) for text in texts]


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1E+38", "1E-39", f"1{'0' * 30}.{'3' * 10}"])
def test_a_number_that_cannot_be_kept_is_refused_and_nothing_is_written(store: BarStore, text: str) -> None:
    strange = attrs.evolve(minutes(0, 1)[0], volume=Decimal(text))

    with pytest.raises(DataError, match=r"no number a bar can have|more than 38 digits|39 decimals, and 38 can"):
        store.put(SYMBOL, MINUTE, [strange], covered=[], source="rest")

    assert store.ls() == ()


def test_a_bar_of_another_series_or_one_that_forms_is_refused(store: BarStore) -> None:
    (one,) = minutes(0, 1)
    for strange in (attrs.evolve(one, is_closed=False), attrs.evolve(one, symbol="ETH/USDT"), bar(0, interval=HOUR)):
        with pytest.raises(DataError, match="no closed 1m bar of BTC/USDT"):
            store.put(SYMBOL, MINUTE, [strange], covered=[], source="rest")


def test_columns_are_the_floats_of_the_range_in_order(store: BarStore) -> None:
    put(store, 5, 5)
    put(store, 0, 5)
    put(store, -5, 5)

    columns = store.columns(SYMBOL, MINUTE, span(-2, 0)[0], span(7, 0)[0])

    wanted = minutes(-2, 9)
    assert len(columns) == 9
    assert [*columns.open_ns] == [one.open_ns for one in wanted]
    assert [*columns.close_ns] == [one.close_ns for one in wanted]
    for name in ("open", "high", "low", "close", "volume"):
        assert [*getattr(columns, name)] == [float(str(getattr(one, name))) for one in wanted]


def test_a_range_without_bars_has_columns_without_rows(store: BarStore) -> None:
    assert len(store.columns(SYMBOL, MINUTE, *span(0, 10))) == 0
    store.put(SYMBOL, MINUTE, [], covered=[span(0, 10)], source="rest")
    assert len(store.columns(SYMBOL, MINUTE, *span(0, 10))) == 0
    assert store.bars(SYMBOL, MINUTE, *span(0, 10)) == []


def test_only_what_was_not_fetched_is_missing(store: BarStore) -> None:
    assert store.missing(SYMBOL, MINUTE, *span(0, 100)) == (span(0, 100),)

    put(store, 10, 20)
    put(store, 50, 10)
    store.put(SYMBOL, MINUTE, [], covered=[span(60, 5)], source="rest")  # the venue has none

    assert store.missing(SYMBOL, MINUTE, *span(0, 100)) == (span(0, 10), span(30, 20), span(65, 35))
    assert store.missing(SYMBOL, HOUR, *span(0, 60)) == (span(0, 60),)
    assert store.missing(SYMBOL, MINUTE, *span(12, 6)) == ()


def test_a_part_of_a_bar_is_no_bar_that_is_missing(store: BarStore) -> None:
    put(store, 0, 10)

    assert store.missing(SYMBOL, MINUTE, JUNE_NS, span(9, 0)[0] + 1) == ()
    assert store.missing(SYMBOL, MINUTE, JUNE_NS + 1, span(10, 0)[0] + 1) == (span(10, 1),)


def test_weeks_lie_in_the_month_they_open_in(store: BarStore) -> None:
    week = Interval.parse("1w")
    opens = [(JUNE - 6 * DAY + number * 7 * DAY) for number in range(3)]  # Monday, 2025-05-26
    told = [bar(minute, interval=week) for minute in opens]

    store.put(SYMBOL, week, told, covered=[(told[0].open_ns, told[-1].close_ns)], source="rest")

    assert [(stock.bars, stock.place[-15:]) for stock in store.ls()] == [(1, "2025-05.parquet"), (2, "2025-06.parquet")]
    assert store.missing(SYMBOL, week, told[0].open_ns, told[-1].close_ns) == ()
    assert store.bars(SYMBOL, week, told[0].open_ns, told[-1].close_ns) == told


def test_a_month_and_a_minute_are_two_folders_on_any_file_system(store: BarStore) -> None:
    month = Interval.parse("1M")
    put(store, 0, 1)
    store.put(SYMBOL, month, [bar(JUNE, interval=month)], covered=[], source="rest")

    assert sorted(path.name for path in (store.folder / "BTC-USDT").iterdir()) == ["1m", "1mo"]
    assert store.verify() == ()


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("BTC/USDT:USDT", "BTC-USDT_USDT"),
        ("BTC/USDT:USDT-250627", "BTC-USDT_USDT%2D250627"),
        ("../A_B", "..-A%5FB"),
        ("A%2DB", "A%252DB"),
        ("é", "%C3%A9"),
    ],
)
def test_every_symbol_has_a_folder_of_its_own(store: BarStore, symbol: str, name: str) -> None:
    store.put(symbol, MINUTE, [attrs.evolve(minutes(0, 1)[0], symbol=symbol)], covered=[], source="rest")

    assert [path.name for path in store.folder.iterdir()] == [name]
    assert store.verify() == ()


def test_a_bar_that_is_put_again_replaces_the_old_one(store: BarStore) -> None:
    put(store, 0, 3)
    corrected = attrs.evolve(minutes(1, 1)[0], volume=Decimal("8.25"))

    store.put(SYMBOL, MINUTE, [corrected], covered=[], source="archive", remarks=["corrected"])

    assert store.bars(SYMBOL, MINUTE, 0, 2**62) == [minutes(0, 1)[0], corrected, minutes(2, 1)[0]]
    (stock,) = store.ls()
    assert (stock.sources, stock.remarks, stock.bars) == (("archive", "rest"), ("corrected",), 3)


def test_what_is_removed_is_missing_again_and_nothing_else(store: BarStore) -> None:
    put(store, 0, 3 * DAY)

    assert store.rm(SYMBOL, MINUTE, *span(DAY, DAY)) == DAY

    assert store.missing(SYMBOL, MINUTE, *span(0, 3 * DAY)) == (span(DAY, DAY),)
    assert store.rm(SYMBOL, MINUTE, end_ns=span(DAY, 0)[0]) == DAY
    assert store.rm(SYMBOL, MINUTE) == DAY
    assert store.ls() == ()
    assert store.rm(SYMBOL, MINUTE) == 0
    assert store.missing(SYMBOL, MINUTE, *span(0, 3 * DAY)) == (span(0, 3 * DAY),)


def test_others_can_read_the_files(store: BarStore) -> None:
    put(store, 0, 3)

    frame = pq.read_table(only_file(store)).to_pandas()

    assert frame["close"].tolist() == [one.close for one in minutes(0, 3)]
    assert frame["open_ns"].tolist() == [one.open_ns for one in minutes(0, 3)]
    schema = pq.read_schema(only_file(store))
    assert str(schema.field("open").type) == "decimal128(18, 0)"
    assert str(schema.field("close").type) == "decimal128(18, 3)"


# --- damage ---------------------------------------------------------------------------------------------------


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0x10
    path.write_bytes(bytes(data))


def test_every_flipped_byte_is_found(store: BarStore) -> None:
    put(store, 0, 4)
    path = only_file(store)
    whole = path.read_bytes()

    for place in range(0, len(whole), 7):
        flip(path, place)
        (damage,) = store.verify()
        assert damage.place == str(path)
        path.write_bytes(whole)
    assert store.verify() == ()


@pytest.mark.parametrize("content", [b"", b"PAR1", b"open,high\n1,2\n", None])
def test_a_file_that_is_none_or_half_is_set_aside_named_and_missing(store: BarStore, content: bytes | None) -> None:
    told: list[str] = []
    store = BarStore(store.folder, note=told.append)
    put(store, 0, 4)
    path = only_file(store)
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)

    assert store.missing(SYMBOL, MINUTE, *span(0, 4)) == (span(0, 4),)

    assert path.with_name("2025-06.parquet.corrupt").exists()
    assert not path.exists()
    (note,) = told
    assert str(path) in note
    assert "it is cut off, or no file of the history cache; it is fetched again" in note
    assert store.verify() == ()


def test_damaged_bars_are_never_returned(store: BarStore) -> None:
    for read in (store.columns, store.bars):
        put(store, 0, 4)
        path = only_file(store)
        flip(path, 40)

        with pytest.raises(DataError, match=rf"{path} is damaged: its bytes are not those that were written. It is"):
            read(SYMBOL, MINUTE, *span(0, 4))

        assert store.missing(SYMBOL, MINUTE, *span(0, 4)) == (span(0, 4),)


def test_bars_are_not_joined_to_a_damaged_file(store: BarStore) -> None:
    told: list[str] = []
    store = BarStore(store.folder, note=told.append)
    put(store, 0, 4)
    flip(only_file(store), 40)

    put(store, 4, 4)

    assert store.bars(SYMBOL, MINUTE, 0, 2**62) == minutes(4, 4)
    assert store.missing(SYMBOL, MINUTE, *span(0, 8)) == (span(0, 4),)
    assert len(told) == 1


def test_a_damaged_file_can_be_removed(store: BarStore) -> None:
    put(store, 0, 4)
    flip(only_file(store), 40)

    assert store.rm(SYMBOL, MINUTE) == 0

    assert [*store.folder.rglob("*.parquet")] == []


def test_a_file_in_the_place_of_another_is_damage(store: BarStore) -> None:
    put(store, 0, 4)
    path = only_file(store)
    elsewhere = path.with_name("2025-07.parquet")
    elsewhere.write_bytes(path.read_bytes())
    stranger = store.folder / "ETH-USDT" / "1m" / path.name
    stranger.parent.mkdir(parents=True)
    stranger.write_bytes(path.read_bytes())

    assert [(damage.place, damage.reason) for damage in store.verify()] == [
        (str(elsewhere), "its bars are not in order, each once, all of its month"),
        (str(stranger), "it holds BTC/USDT 1m: it was moved"),
    ]
    with pytest.raises(DataError, match="it holds BTC/USDT 1m: it was moved"):
        store.bars("ETH/USDT", MINUTE, *span(0, 4))


def test_a_file_of_a_later_version_is_left_alone_and_told(store: BarStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("btx.storage.partition._FORMAT", 2)
        put(store, 0, 4)

    with pytest.raises(ConfigError, match=r"2025-06.parquet: it has format 2 of btx-core .*: upgrade btx-core"):
        store.missing(SYMBOL, MINUTE, *span(0, 4))

    assert only_file(store).exists()


# --- several writers, and death ---------------------------------------------------------------------------------

CHILD = """
import sys
from pathlib import Path
from btx.storage.bars import BarStore
from tests.unit.storage.test_bars import put

store, first = BarStore(Path(sys.argv[1])), int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    put(store, first + number * 20, 10)
    print(number, flush=True)
"""


def writer(folder: Path, first: int, rounds: int) -> "subprocess.Popen[str]":
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), str(first), str(rounds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[3]), *sys.path])},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def let_go(child: "subprocess.Popen[str]") -> None:
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()


def test_two_processes_that_write_one_month_at_once_leave_the_union(store: BarStore) -> None:
    children = [writer(store.folder, first, 20) for first in (0, 10)]
    for child in children:
        let_go(child)
    for child in children:
        child.communicate(timeout=60)

    assert [child.returncode for child in children] == [0, 0]
    assert store.verify() == ()
    assert store.bars(SYMBOL, MINUTE, 0, 2**62) == minutes(0, 400)
    assert store.missing(SYMBOL, MINUTE, *span(0, 400)) == ()


@pytest.mark.parametrize("told", [0, 1, 3, 6])
def test_a_writer_killed_at_any_moment_leaves_a_valid_file(store: BarStore, told: int) -> None:
    child = writer(store.folder, 0, 10_000)
    assert child.stdout is not None
    let_go(child)
    for number in itertools.islice(itertools.count(), told):
        assert child.stdout.readline() == f"{number}\n"
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=60)

    assert store.verify() == ()
    kept = store.bars(SYMBOL, MINUTE, 0, 2**62)
    assert len(kept) >= 10 * told
    assert kept == [one for first in range(0, 2 * len(kept), 20) for one in minutes(first, 10)]
    put(store, -NS_PER_DAY // NS_PER_MINUTE, 1)  # its lock died with it
    put(store, 0, 10)
    assert [*store.folder.rglob("*.part")] == []
