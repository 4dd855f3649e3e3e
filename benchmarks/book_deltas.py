"""The live order book: what one depth frame costs after it is read from the socket.

btx        ``runtime.ladder.Ladder.apply`` (the book of the live path), and with the best 20
           levels of both sides made after each delta, as for a strategy that is never in arrears.
baselines  ``rules.book.apply``, which copies both sides; the C book of cryptofeed
           (``order_book.OrderBook``) with one assignment or deletion per changed level, and no
           look at sequence numbers; ``json.loads`` and the codec, which every frame passes before.

A seeded stream: 1000 levels a side, 46 changes per delta, a third of them new or gone, and a price
that walks. With ``BTX_DATA`` the recorded sessions of Binance in its place.
"""

import gzip
import json
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from order_book import OrderBook
from rig import bound, facts

from btx.model.market import BookDelta, BookSnapshot
from btx.rules import book as rules
from btx.runtime.ladder import Ladder
from btx_binance import codec

DELTAS = 5000
CHANGES = 46
ROUNDS = 3


def synthetic() -> tuple[dict[str, Any], list[str]]:
    """Return a snapshot and the frames after it."""
    dice = random.Random(1)
    mid = 6_000_000
    rows = [[[f"{(mid + sign * level) / 100:.2f}", "1.00000"] for level in range(1, 1001)] for sign in (-1, 1)]
    snapshot = {"lastUpdateId": 0, "bids": rows[0], "asks": rows[1]}
    frames = []
    for number in range(1, DELTAS + 1):
        mid += dice.choice((-1, 0, 0, 1))
        changes: dict[str, list[list[str]]] = {"b": [], "a": []}
        for _ in range(CHANGES):
            side, sign = dice.choice((("b", -1), ("a", 1)))
            price = mid + sign * (1 + int(dice.expovariate(0.01)))
            quantity = "0.00000" if dice.random() < 0.3 else f"{dice.random():.5f}"
            changes[side].append([f"{price / 100:.2f}", quantity])
        frames.append(json.dumps({"e": "depthUpdate", "E": number, "s": "X", "U": number, "u": number, **changes}))
    return snapshot, frames


def recorded(path: Path) -> tuple[dict[str, Any], list[str]]:
    snapshot: dict[str, Any] = {}
    frames = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            message = json.loads(line)["msg"]
            message = message.get("data", message)
            if "lastUpdateId" in message:
                snapshot = message
            elif message.get("e") == "depthUpdate":
                frames.append(json.dumps(message))
    return snapshot, frames


def sessions() -> Iterator[tuple[str, dict[str, Any], list[str]]]:
    if not (folder := os.environ.get("BTX_DATA")):
        yield ("seeded", *synthetic())
        return
    for path in sorted((Path(folder) / "wire").glob("binance_*_btcus*.jsonl.gz")):
        yield (path.name.split("_")[1], *recorded(path))


def copied(snapshot: BookSnapshot, deltas: Sequence[BookDelta]) -> None:
    book = rules.start(snapshot)
    for delta in deltas:
        book = rules.apply(book, delta)


def in_place(snapshot: BookSnapshot, deltas: Sequence[BookDelta]) -> None:
    book = Ladder(snapshot, depth=1000)
    for delta in deltas:
        book.apply(delta)


def shown(snapshot: BookSnapshot, deltas: Sequence[BookDelta]) -> None:
    book = Ladder(snapshot, depth=1000)
    for delta in deltas:
        book.apply(delta)
        book.top(20)


def cryptofeed(snapshot: BookSnapshot, deltas: Sequence[BookDelta]) -> None:
    book = OrderBook()
    book.bids, book.asks = dict(snapshot.bids), dict(snapshot.asks)
    for delta in deltas:
        for side, changes in ((book.bids, delta.bids), (book.asks, delta.asks)):
            for price, quantity in changes:
                if quantity:
                    side[price] = quantity
                elif price in side:
                    del side[price]


def measure(use: Callable[[BookSnapshot, Sequence[BookDelta]], None], snapshot: Any, frames: Sequence[str]) -> float:
    """Return microseconds of CPU per delta, the best of some rounds; decimals are fresh in each, as they are live."""
    best = float("inf")
    for _ in range(ROUNDS):
        begun = codec.book_snapshot(snapshot, symbol="X")
        deltas = [codec.book_delta(json.loads(frame), symbol="X") for frame in frames]
        started = time.process_time()
        use(begun, deltas)
        best = min(best, time.process_time() - started)
    return best / len(frames) * 1e6


def parsing(frames: Sequence[str]) -> float:
    started = time.process_time()
    for frame in frames:
        codec.book_delta(json.loads(frame), symbol="X")
    return (time.process_time() - started) / len(frames) * 1e6


def main() -> None:
    facts("The order book: CPU per depth frame after the socket")
    heads = ("changes", "parsing", "copied", "cryptofeed", "btx", "btx, top 20")
    print(f"{'us per delta':24}", *(f"{head:>11}" for head in heads))
    ratios = []
    for name, snapshot, frames in sessions():
        changes = sum(Decimal(len(one["b"]) + len(one["a"])) for one in map(json.loads, frames)) / len(frames)
        costs = {use: measure(use, snapshot, frames) for use in (copied, cryptofeed, in_place, shown)}
        row = (changes, parsing(frames), *costs.values())
        print(f"{name:24}", *(f"{each:11.1f}" for each in row))
        ratios.append(
            f"{name} to copying {costs[in_place] / costs[copied]:.2f}x, "
            f"to cryptofeed's {costs[in_place] / costs[cryptofeed]:.2f}x"
        )
    print(f"ratio: {' | '.join(ratios)}")


if __name__ == "__main__":
    bound(90.0)
    main()
