"""Two recorded sessions, through cryptofeed's own playback and through our reading of the same frames."""

import ast
import asyncio
import gzip
import json
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from btx.model.market import Bar, BookDelta, BookLevel, BookSnapshot, Quote, Trade
from btx.rules import book as book_rules
from btx_binance.futures.stream import UsdmReader
from btx_binance.market_stream import Reading
from btx_binance.spot.stream import SpotReader

COUNTS = {  # the README of the data says them
    "BINANCE_FUTURES": {"messages": 1535, "ticker": 613, "l2_book": 756, "candles": 67, "trades": 91},
    "BINANCE_US": {"messages": 480, "ticker": 128, "l2_book": 336, "candles": 5, "trades": 11},
}
READERS: dict[str, type[Reading]] = {"BINANCE_FUTURES": UsdmReader, "BINANCE_US": SpotReader}
KINDS = {Quote: "ticker", Bar: "candles", Trade: "trades", BookDelta: "depth"}
PLAYBACK = """
import sys
from cryptofeed.raw_data_collection import playback
name, *files = sys.argv[1:]
print(playback(name, files, config={"uvloop": False, "log": {"disabled": True}}))
"""

pytestmark = pytest.mark.parametrize("name", COUNTS)


@pytest.fixture
def files(name: str, btx_data: Path, tmp_path: Path) -> list[Path]:
    """The recording, unpacked: cryptofeed reads plain files."""
    packed = sorted((btx_data / "wire" / "cryptofeed").glob(f"{name}.*.gz"))
    plain = [tmp_path / path.stem for path in packed]
    for path, target in zip(packed, plain, strict=True):
        target.write_bytes(gzip.decompress(path.read_bytes()))
    return plain


def test_cryptofeeds_own_playback_gives_the_counts_of_the_readme(name: str, files: list[Path], tmp_path: Path) -> None:
    played = subprocess.run(
        [sys.executable, "-c", PLAYBACK, name, *map(str, files)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert played.returncode == 0, played.stderr
    told = ast.literal_eval(played.stdout[played.stdout.index("{") :].replace("<class 'int'>", "int").strip())
    assert told["messages_processed"] == COUNTS[name]["messages"]
    assert told["callbacks"] == {kind: count for kind, count in COUNTS[name].items() if kind != "messages"}


def test_our_reading_of_the_same_frames_gives_the_same_counts(name: str, files: list[Path]) -> None:
    events = asyncio.run(read(READERS[name], next(path for path in files if ".ws." in path.name).read_text()))

    counts = Counter(KINDS[type(event)] for event in events)
    depth = counts.pop("depth")
    books = booked(
        [event for event in events if isinstance(event, BookDelta)],
        snapshots(next(path for path in files if ".http." in path.name)),
    )

    assert sum(counts.values()) + depth == COUNTS[name]["messages"]
    assert {**counts, "l2_book": books} == {k: count for k, count in COUNTS[name].items() if k != "messages"}


async def read(reading: type[Reading], text: str) -> list[Any]:
    """Read every frame of a recording as the live path does."""
    frames = [json.loads(line.split(": ", 1)[1])["data"] for line in text.splitlines() if "{" in line]
    reader = reading(symbols={frame["s"]: frame["s"] for frame in frames})
    return [await reader.read(frame) for frame in frames]


def snapshots(path: Path) -> dict[str, BookSnapshot]:
    """Return the books that were asked for, by symbol."""
    found = {}
    for line in path.read_text().splitlines():
        if "/depth?" in line:
            address, answer = line.split(" -> ")
            symbol = address.partition("symbol=")[2].partition("&")[0]
            body = json.loads(answer.split(": ", 1)[1].split(" header: ")[0])
            found[symbol] = BookSnapshot(
                symbol=symbol,
                bids=levels(body["bids"]),
                asks=levels(body["asks"]),
                sequence=body["lastUpdateId"],
            )
    return found


def levels(rows: list[list[str]]) -> tuple[BookLevel, ...]:
    return tuple((Decimal(price), Decimal(quantity)) for price, quantity in rows)


def booked(deltas: list[BookDelta], known: dict[str, BookSnapshot]) -> int:
    """Count what cryptofeed calls back for: each book when it begins, and each change that it takes."""
    books = {symbol: book_rules.start(snapshot) for symbol, snapshot in known.items()}
    changes = 0
    for delta in deltas:
        before = books[delta.symbol]
        books[delta.symbol] = after = book_rules.apply(before, delta)  # raises at a gap
        # Of futures cryptofeed calls back, too, for the change a snapshot ends with; it alters nothing.
        is_the_last = delta.previous_sequence is not None and delta.last_sequence == before.sequence
        changes += after is not before or is_the_last
    return len(books) + changes
