"""Real sessions of three markets through the codec and the live book: it ends as the answer key says, without a gap."""

import asyncio
import gzip
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from btx.model.market import BookSnapshot
from btx.rules.book import Fit
from btx.runtime.ladder import Ladder
from btx.runtime.latest import Latest
from btx.runtime.resync import BookListener
from btx_binance import codec
from tests.unit.runtime.market_rig import MarketRig, shown
from tests.unit.runtime.rig import run
from tests.values import BTC

SESSIONS = (
    "binance_spot_btcusdt_2024-08-08T2354_0809T0005",
    "binance_usdm_btcusdt_2024-08-08T2354",
    "binance_coinm_btcusd_perp_2024-08-08T2354",
)


def frames(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the frames of depth, and the snapshot where it was recorded among them."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            message = json.loads(line)["msg"]
            frame = message.get("data", message)
            if frame.get("e") == "depthUpdate" or "lastUpdateId" in frame:
                yield frame


@pytest.mark.parametrize("session", SESSIONS)
def test_the_live_book_ends_as_the_answer_key_says(btx_data: Path, session: str) -> None:
    answer = json.loads((btx_data / f"wire/{session}.expected.json").read_text(encoding="utf-8"))

    async def scene() -> None:
        rig = MarketRig()
        rig.feed.gate = asyncio.Event()
        listener, slot = BookListener(BTC, rig.means), Latest[BookSnapshot]()
        listener.add(slot, 20)
        listener.on_up()
        ignored = 0
        for number, frame in enumerate(frames(btx_data / f"wire/{session}.jsonl.gz")):
            if "lastUpdateId" in frame:
                begun = codec.book_snapshot(frame, symbol=BTC.symbol)
                rig.feed.then = lambda _, begun=begun: begun
                ignored = sum(delta.last_sequence <= begun.sequence for delta in listener._held or ())
                rig.feed.gate.set()
                await rig.time.settle()
            else:
                listener.on_event(codec.book_delta(frame, symbol=BTC.symbol))
            if not number % 4:
                await asyncio.sleep(0)
        await asyncio.sleep(0)

        assert slot.conflated == answer["depth_applied"]  # with the snapshot before them, and the one to be read
        book = shown(slot)
        assert (book.bids[0], book.asks[0]) == (level(answer["final_best_bid"]), level(answer["final_best_ask"]))
        assert len(book.bids) == len(book.asks) == 20
        assert ignored == answer["depth_ignored_before_snapshot"]
        assert rig.told("GAP") == []  # neither a gap nor a crossed book
        listener.stop()
        await rig.stop()

    run(scene())


@pytest.mark.parametrize("session", SESSIONS)
def test_a_delta_that_is_left_out_of_a_real_session_is_noticed(btx_data: Path, session: str) -> None:
    told = [frame for frame in frames(btx_data / f"wire/{session}.jsonl.gz") if "U" in frame][:300]
    deltas = [codec.book_delta(frame, symbol=BTC.symbol) for frame in told]

    for before, left_out, after in zip(deltas, deltas[1:], deltas[2:], strict=False):
        ladder = Ladder(BookSnapshot(symbol=BTC.symbol, bids=(), asks=(), sequence=before.last_sequence), depth=1000)
        assert ladder.apply(after) is Fit.GAP
        assert ladder.apply(left_out) is ladder.apply(after) is Fit.NEXT


def level(row: list[str]) -> tuple[Decimal, Decimal]:
    return Decimal(row[0]), Decimal(row[1])
