"""A start after a long life: reading a journal of 100,000 records and folding it into the orders they make.

btx        ``replay(record for _, _, record in read_journal(path).records())``: each record
           decoded and checked, each order folded, as every start does.
baseline   the same rows through ``sqlite3`` and ``json.loads``, and nothing made of them.

The journal is written by the script: 10,000 orders of ten records each (intent, sent, five
events, two fills delivered, a snapshot), as a run leaves them. What the orders occupy in
memory afterwards is counted by ``tracemalloc`` in a pass of its own, which is not timed.
"""

import asyncio
import gc
import json
import sqlite3
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

from rig import Sample, bound, facts, latencies, ratio

from btx.model.instrument import Instrument, InstrumentKind
from btx.model.journal import Delivered, Event, Intent, Record, Sent, Snapshot
from btx.model.order import Fill, Leg, OrderReport, OrderRequest, OrderType, Side, Status
from btx.model.venue import Environment
from btx.rules.recovery import History, replay
from btx.storage.journal import open_journal, read_journal

ORDERS = 10_000
PASSES = 5
COIN = Instrument(
    venue="binance",
    symbol="BTC/USDT",
    venue_symbol="BTCUSDT",
    kind=InstrumentKind.SPOT,
    base="BTC",
    quote="USDT",
    settle="USDT",
    tick_size=Decimal("0.01"),
    step_size=Decimal("0.00001"),
    min_quantity=Decimal("0.00001"),
)


def life(number: int) -> Iterator[Record]:
    name, price = f"benchrun{number:08d}", Decimal(60_000) + number
    request = OrderRequest(
        instrument=COIN, side=Side.BUY, order_type=OrderType.LIMIT, quantity=Decimal(6), price=price, signal_ns=number
    )
    leg = Leg(client_order_id=name, request=request, quantity=request.quantity)
    yield Intent(leg=leg, environment=Environment.LIVE, session="binance/live/spot", run="benchrun")
    yield Sent(client_order_id=name, time_ns=number)
    yield told(name, Status.NEW, 0)
    for part, status in ((2, Status.PARTIALLY_FILLED), (4, Status.FILLED)):
        fill_id = f"{number}.{part}"
        yield told(name, status, 2 if part == 2 else 6)
        yield Event(
            order_event=Fill(
                fill_id=fill_id,
                client_order_id=name,
                symbol=COIN.symbol,
                side=Side.BUY,
                price=price,
                quantity=Decimal(part),
                fee=Decimal("0.001"),
                fee_asset="BNB",
                time_ns=number,
            )
        )
        yield Delivered(client_order_id=name, fill_id=fill_id)
    yield Snapshot(balances={"BTC": Decimal(number), "USDT": Decimal("1234.5")}, time_ns=number)


def told(name: str, status: Status, filled: int) -> Event:
    report = OrderReport(
        client_order_id=name,
        venue_order_id=name,
        symbol=COIN.symbol,
        status=status,
        filled=Decimal(filled),
        sequence=1,
        time_ns=1,
    )
    return Event(order_event=report)


async def write(path: Path) -> int:
    journal, count = open_journal(path), 0
    for number in range(ORDERS):
        for record in life(number):
            journal.post(record)
            count += 1
    await journal.append(Sent(client_order_id="the last", time_ns=0), durable=True)
    journal.close()
    return count + 1


def bare(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT sequence, written_ns, kind, client_order_id, body FROM records")
        return sum(1 for row in rows if json.loads(row[4]) is not None)


def through_btx(path: Path) -> History:
    return replay(record for _, _, record in read_journal(path).records())


def timed(name: str, work: Callable[[Path], object], path: Path) -> Sample:
    took_ms = []
    for _ in range(PASSES):
        gc.collect()
        started_ns = time.perf_counter_ns()
        work(path)
        took_ms.append((time.perf_counter_ns() - started_ns) / 1e6)
    return Sample(name=name, latencies_ms=took_ms)


def megabytes(path: Path) -> float:
    tracemalloc.start()
    history = through_btx(path)
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(history.orders) == ORDERS, "nothing was lost, and all of it is held until here"
    return held / 1e6


def main() -> None:
    bound(120.0)
    facts("The journal: reading and folding all of it, as every start does")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.sqlite"
        count = asyncio.run(write(path))
        print(f"{count} records of {ORDERS} orders, {path.stat().st_size / 1e6:.0f} MB on disk")
        bare_pass = timed("sqlite3 and json.loads", bare, path)
        btx_pass = timed("btx, replay of the journal", through_btx, path)
        latencies((bare_pass, btx_pass))
        print(f"held afterwards: {megabytes(path):.0f} MB")
    print(f"ratio: {ratio('replay', btx_pass, bare_pass)}")


if __name__ == "__main__":
    main()
